"""Pictures of measured data: `python -m benchmarks report FOLDER`."""

from __future__ import annotations

from typing import Any, TypeAlias

Data: TypeAlias = dict[str, Any]
"""Measured data, as it is in a JSON file."""
