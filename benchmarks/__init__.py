"""Benchmarks of okta-tokens. Every verdict is a ratio or a count from a single run."""
