"""Tests with Okta's own packages: the sandbox gives what they ask for, and they take it."""
