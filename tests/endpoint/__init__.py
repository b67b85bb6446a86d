"""Tests of `okta_tokens._endpoint`."""
