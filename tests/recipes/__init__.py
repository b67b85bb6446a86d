"""Tests that run the recipes and diffs of the guides, with the software that they are for."""
