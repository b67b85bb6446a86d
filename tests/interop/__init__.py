"""Tests against an authorization server that nobody here wrote."""
