"""A provider that lives for simulated months among faults, and a referee who checks its rules."""
