"""One HTTP response of an Okta endpoint, before anyone knows what it means."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Protocol

from okta_tokens._auth.dpop import is_nonce
from okta_tokens._runtime.clock import Instant
from okta_tokens._runtime.redaction import contains_secret, scrub
from okta_tokens.errors import FetchFacts

MAX_BODY = 64 * 1024
"""Bytes of a response's body that are read. A longer body is invalid."""

_IDENTIFIER = re.compile(r"[\w.@:+/=-]{1,128}", re.ASCII)
_COOKIES = {"set-cookie", "set-cookie2"}


class Headers(Protocol):
    """The headers of a response: names are case-insensitive and may occur more than once."""

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """Return every value of a header."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return every header."""


@dataclass(frozen=True, slots=True)
class Response:
    """What an endpoint sent back.

    Args:
        status: The HTTP status.
        headers: The headers.
        body: The body, at most one byte longer than `MAX_BODY`.
        sent: The moment just before the request was sent.
        received_at: When the response arrived, in seconds of wall time.
        secrets: The secrets of the request, so that no text of the response repeats them.
    """

    status: int
    headers: Headers
    body: bytes = field(repr=False)
    sent: Instant
    received_at: float
    secrets: Iterable[str] = field(default=(), repr=False)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        values = self.headers.getall(name, [])
        return values[0] if values else None

    @property
    def request_id(self) -> str | None:
        """The `X-Okta-Request-Id`, if it looks like an id."""
        return _identifier(self.header("X-Okta-Request-Id"), self.secrets)

    @property
    def dpop_nonce(self) -> str | None:
        """The `DPoP-Nonce` (RFC 9449 section 8), if it is valid."""
        nonce = self.header("DPoP-Nonce")
        return nonce if nonce and is_nonce(nonce) else None

    @property
    def server_time(self) -> float | None:
        """The `Date` header in seconds since the epoch; None if it is missing or invalid."""
        return parse_date(self.header("Date") or "")

    def json_object(self) -> Mapping[str, object]:
        """Return the body as a JSON object; an empty one if the body is anything else."""
        if len(self.body) > MAX_BODY:
            return {}
        try:
            parsed = json.loads(self.body.removeprefix(BOM_UTF8).decode())
        except (ValueError, RecursionError):
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def facts(self, fields: Mapping[str, object]) -> FetchFacts:
        """Return what every `FetchError` tells about a response.

        Args:
            fields: The body as `json_object` returns it.
        """
        headers = {
            scrub(name, self.secrets): scrub(value, self.secrets)
            for name, value in self.headers.items()
            if name.lower() not in _COOKIES
        }
        return {
            "request_id": self.request_id,
            "error_id": _identifier(fields.get("errorId"), self.secrets),
            "headers": MappingProxyType(headers),
        }


@lru_cache(maxsize=16)  # a burst of responses has the same few dates
def parse_date(text: str) -> float | None:
    """Return a `Date` header (RFC 9110 section 5.6.7) in seconds since the epoch.

    Args:
        text: The value of the header.

    Returns:
        The seconds, or None if the date is invalid.
    """
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _identifier(text: object, secrets: Iterable[str]) -> str | None:
    if isinstance(text, str) and _IDENTIFIER.fullmatch(text) and not contains_secret(text, secrets):
        return text
    return None
