"""Benchmarks of okta-tokens: every verdict is a ratio, or a count, taken within one run."""
