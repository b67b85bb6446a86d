"""The responses of the server: successful ones, and error responses in two formats.

Okta uses two error formats at the same endpoint. OAuth's format (RFC 6749 §5.2) is
``{"error", "error_description"}``. Okta's own format is ``{"errorCode", "errorSummary", …}``. Okta
uses its own format for rate limits, outages, unknown paths and unknown client ids.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
JSON = "application/json"
HTML = "text/html; charset=utf-8"
DPOP_NONCE = "dpop-nonce"  # in Okta's spelling


@dataclass(frozen=True, slots=True)
class Response:
    """A complete HTTP response.

    Args:
        status: The HTTP status.
        body: The bytes of the body.
        content_type: The ``Content-Type`` header.
        headers: Further headers.
        error_code: The error code in the body, which the request log shows; ``None`` if the body
            has no error code.
    """

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    error_code: str | None = None


class ErrorFormat(Enum):
    """The format of an error response."""

    OAUTH = "oauth"
    OKTA = "okta"


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error response that is not rendered yet, so that it has no ``errorId``.

    Args:
        status: The HTTP status.
        code: The ``error`` of OAuth's format, or the ``errorCode`` of Okta's.
        description: The ``error_description`` of OAuth's format, or the ``errorSummary`` of Okta's.
        format: The format of the body.
        headers: Further headers.
    """

    status: int
    code: str
    description: str
    format: ErrorFormat = ErrorFormat.OAUTH
    headers: Mapping[str, str] = field(default_factory=dict)

    def render(self) -> Response:
        """Return the complete response. Okta's format gets a new ``errorId`` each time."""
        if self.format is ErrorFormat.OAUTH:
            body: dict[str, object] = {
                "error": self.code,
                "error_description": self.description,
            }
        else:
            body = {
                "errorCode": self.code,
                "errorSummary": self.description,
                "errorLink": self.code,
                "errorId": new_id("oae"),
                "errorCauses": [],
            }
        return json_response(body, status=self.status, headers=self.headers, error_code=self.code)


def json_response(
    body: Mapping[str, object],
    *,
    status: int = 200,
    headers: Mapping[str, str] = NO_HEADERS,
    error_code: str | None = None,
) -> Response:
    """Return a response whose body is `body` as JSON."""
    return Response(status, json.dumps(body).encode(), JSON, headers, error_code)


def new_id(prefix: str = "") -> str:
    """Return a new id in the format of Okta's request ids and error ids."""
    return prefix + secrets.token_urlsafe(16)
