"""Tests with Okta's own packages: they accept the responses and the tokens of the sandbox."""
