"""Tests of `okta_tokens._model`."""
