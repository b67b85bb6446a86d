"""Tests of the sandbox: one file per module, on real sockets where a socket matters."""
