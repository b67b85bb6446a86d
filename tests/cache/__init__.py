"""Tests of `okta_tokens._cache`."""
