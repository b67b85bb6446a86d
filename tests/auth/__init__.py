"""Tests of `okta_tokens._auth`."""
