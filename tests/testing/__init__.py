"""Tests of `okta_tokens.testing`."""
