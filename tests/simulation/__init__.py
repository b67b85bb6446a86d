"""A provider in months of virtual time with faults, and a referee that checks its rules."""
