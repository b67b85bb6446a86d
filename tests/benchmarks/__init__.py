"""Tests of the benchmarks' own code. They do not judge how fast the package is."""
