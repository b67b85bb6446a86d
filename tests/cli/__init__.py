"""Tests of the `okta-tokens` command, laid out like its package."""
