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
from http import HTTPStatus
from itertools import islice
from types import MappingProxyType
from typing import Protocol

from okta_tokens._auth.dpop import is_nonce
from okta_tokens._endpoint.known_texts import is_known_text, is_oauth_code
from okta_tokens._runtime.clock import Instant
from okta_tokens._runtime.redaction import SecretSearch, contains_secret, may_reveal, scrub
from okta_tokens.errors import FetchFacts

MAX_BODY = 64 * 1024
"""Bytes of a response's body that are read. A longer body is invalid."""

_MAX_HEADERS = 32
_MAX_HEADER = 256  # characters
_MAX_DATE = 64  # characters
_IDENTIFIER = re.compile(r"[\w.@:+/=-]{1,128}", re.ASCII)
_OKTA_FIELDS = {
    "access_token": re.compile(r".+"),
    "error": re.compile(r"[a-z_]+"),
    "errorCode": re.compile(r"E[0-9]{7}"),
}
"""The fields of Okta's JSON, and their shapes: middleboxes send `"error": "Bad Gateway"`."""
_MAX_CHALLENGES = 16
_MAX_CHALLENGE = 4096  # characters
_CHALLENGE_ERROR = re.compile(r'(?<![^\s,])(?i:error)\s*=\s*"?([a-z_]+)')
_CHALLENGE_DESCRIPTION = re.compile(r'(?i:error_description)\s*=\s*"([^"]*)"')
_COOKIES = {"set-cookie", "set-cookie2"}


class Headers(Protocol):
    """The headers of a response: names are case-insensitive and may occur more than once."""

    def get(self, name: str, /) -> str | None:
        """Return the first value of a header, or None."""

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """Return every value of a header."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return every header."""


@dataclass(slots=True)
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
        return self.headers.get(name)

    def request_id(self, token: str) -> str | None:
        """Return the `X-Okta-Request-Id` of a token response, if it looks like an id.

        Args:
            token: The token, of which the id may reveal no part either.
        """
        sent = self.header("X-Okta-Request-Id")
        if sent is None or not _IDENTIFIER.fullmatch(sent):
            return None
        if may_reveal(sent, self.secrets, token) and contains_secret(sent, [*self.secrets, token]):
            return None
        return sent

    @property
    def dpop_nonce(self) -> str | None:
        """The `DPoP-Nonce` (RFC 9449 section 8), if it is valid."""
        nonce = self.header("DPoP-Nonce")
        return nonce if nonce and is_nonce(nonce) else None

    @property
    def server_time(self) -> float | None:
        """The `Date` header in seconds since the epoch; None if it is missing or invalid."""
        return parse_date((self.header("Date") or "")[:_MAX_DATE])

    @property
    def challenge(self) -> tuple[str, str]:
        """The error code and the description in `WWW-Authenticate`, as sent; empty without a code.

        Some servers name the error of a 4xx only there. Only codes of a token endpoint count:
        `invalid_token` (RFC 6750 section 3.1) is the code of an API gateway.
        """
        if not HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return "", ""
        for value in self.headers.getall("WWW-Authenticate", [])[:_MAX_CHALLENGES]:
            found = _CHALLENGE_ERROR.search(value, 0, _MAX_CHALLENGE)
            if found is not None and is_oauth_code(found[1]):
                described = _CHALLENGE_DESCRIPTION.search(value, 0, _MAX_CHALLENGE)
                return found[1], described[1] if described else ""
        return "", ""

    def json_object(self) -> Mapping[str, object]:
        """Return the body as a JSON object; an empty one if the body is anything else."""
        if len(self.body) > MAX_BODY:
            return {}
        try:
            parsed = json.loads(self.body.removeprefix(BOM_UTF8).decode())
        except (ValueError, RecursionError):
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def is_oktas(self) -> bool:
        """Tell whether Okta sent the response, and not a middlebox in front of Okta.

        Three cases: the body has Okta's fields; the response, which then is no server error, has an
        `X-Okta-Request-Id`; `WWW-Authenticate` has an error code of a token endpoint.
        """
        sent_id = self.header("X-Okta-Request-Id") or ""
        if self.status < HTTPStatus.INTERNAL_SERVER_ERROR and (
            _IDENTIFIER.fullmatch(sent_id) or self.challenge[0]
        ):
            return True
        fields = self.json_object()
        values = ((fields.get(name), shape) for name, shape in _OKTA_FIELDS.items())
        return any(isinstance(value, str) and shape.fullmatch(value) for value, shape in values)

    def facts(self, fields: Mapping[str, object], search: SecretSearch) -> FetchFacts:
        """Return what every `FetchError` tells about a response: ids, and the first 32 headers.

        Args:
            fields: The body as `json_object` returns it.
            search: The search for the secrets of the request and the tokens of the body.
        """
        headers = ((name, value) for name, value in self.headers.items() if not _is_cookie(name))
        shown = {
            shown_text(name, search, _MAX_HEADER): scrub(value, search, _MAX_HEADER)
            for name, value in islice(headers, _MAX_HEADERS)
        }
        return {
            "request_id": _identifier(self.header("X-Okta-Request-Id"), search),
            "error_id": _identifier(fields.get("errorId"), search),
            "headers": MappingProxyType(shown),
        }


def shown_text(text: str, search: SecretSearch, max_length: int) -> str:
    """Return a text of the server as it is shown: one of Okta's own, or scrubbed.

    Args:
        text: What the server sent.
        search: The search for the secrets of the request and the tokens of the body.
        max_length: The length of the result, in characters.
    """
    return text if is_known_text(text) else scrub(text, search, max_length)


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


def _is_cookie(name: str) -> bool:
    return name.lower() in _COOKIES


def _identifier(text: object, search: SecretSearch) -> str | None:
    if isinstance(text, str) and _IDENTIFIER.fullmatch(text) and not search.finds(text):
        return text
    return None
