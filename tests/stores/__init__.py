"""Tests of shared stores, and of providers that use them."""
