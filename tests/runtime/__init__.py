"""Tests of `okta_tokens._runtime`."""
