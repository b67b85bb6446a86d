"""Okta's endpoints: one domain, its limits, one HTTP request, and what the response means."""
