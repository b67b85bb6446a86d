"""Tests of the guard of a shared store and of the circuit breaker."""
