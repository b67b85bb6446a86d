"""Tests of the benchmarks: of what they measure with, not of how fast anything is."""
