"""Tests of the adapters on real sockets: a sandbox issues the tokens, and an API checks them."""
