"""Parse JWTs (RFC 7519) without verifying their signature."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_PARTS: Final = 3
_LATEST: Final = 1e15
"""Seconds since the epoch. Excludes NaN, infinity and numbers too large for arithmetic."""


@dataclass(frozen=True, slots=True)
class Jwt:
    """A signed JWT whose signature is not verified yet.

    Args:
        encoded: The JWT as it was sent.
        header: The header.
        claims: The claims.
    """

    encoded: str = field(repr=False)
    header: Mapping[str, object]
    claims: Mapping[str, object] = field(repr=False)

    @property
    def algorithm(self) -> str:
        """The ``alg`` of the header; empty if it is missing or not a string."""
        return text_claim(self.header.get("alg"))


def parse_jwt(value: str) -> Jwt | None:
    """Return the JWT in `value`, or ``None`` if `value` is not a JWT that can be parsed."""
    parts = value.split(".")
    if len(parts) != _PARTS or "=" in value:  # RFC 7515 §2: no padding
        return None
    try:
        header, claims = (json.loads(_decode(part)) for part in parts[:2])
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return None
    if "crit" in header:  # RFC 7515 §4.1.11: this parser supports no extensions
        return None
    return Jwt(value, header, claims)


def _decode(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True)


def text_claim(value: object) -> str:
    """Return the value of a claim that must be a string; empty if it is missing or invalid."""
    return value if isinstance(value, str) else ""


def number_claim(value: object) -> float | None:
    """Return the value of a claim in seconds since the epoch; ``None`` if it is invalid."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= _LATEST else None
