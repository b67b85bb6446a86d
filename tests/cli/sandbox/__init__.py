"""Tests of `okta-tokens sandbox`: one file per module."""
