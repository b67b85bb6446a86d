"""JWTs as they arrive, read before anything in them is believed (RFC 7519)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_PARTS: Final = 3
_LATEST: Final = 1e15
"""Seconds since the epoch; neither NaN nor infinity, nor a number too large to reckon with."""


@dataclass(frozen=True, slots=True)
class Jwt:
    """A signed JWT, in whose signature nobody has looked yet.

    Args:
        text: All of it.
        header: The header.
        claims: The claims.
    """

    text: str = field(repr=False)
    header: Mapping[str, object]
    claims: Mapping[str, object] = field(repr=False)

    @property
    def algorithm(self) -> str:
        """The ``alg`` of the header; empty if it is no text."""
        return text(self.header.get("alg"))


def read(value: str) -> Jwt | None:
    """Return the JWT that `value` is, or ``None`` if it is none that can be understood."""
    parts = value.split(".")
    if len(parts) != _PARTS or "=" in value:  # RFC 7515 §2: without padding
        return None
    try:
        header, claims = (json.loads(_decoded(part)) for part in parts[:2])
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return None
    if "crit" in header:  # RFC 7515 §4.1.11: no extension is understood here
        return None
    return Jwt(value, header, claims)


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True)


def text(value: object) -> str:
    """Return a claim that should be a text; an empty one if it is none."""
    return value if isinstance(value, str) else ""


def date(value: object) -> float | None:
    """Return a claim that should be seconds since the epoch, or ``None`` if it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= _LATEST else None
