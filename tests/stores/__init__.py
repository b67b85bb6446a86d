"""Tests of shared stores, and of what providers make of them."""
