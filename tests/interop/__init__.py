"""Tests against an independent authorization server, npm's oidc-provider."""
