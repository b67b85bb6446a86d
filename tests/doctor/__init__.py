"""Tests of the doctor: one file per module."""
