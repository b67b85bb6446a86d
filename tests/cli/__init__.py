"""Tests of the `okta-tokens` command: one file per module of it."""
