"""Machinery that knows no tokens: clock, schedule, single flight, gate, redaction."""
