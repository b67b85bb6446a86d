"""Test what works with this package."""
