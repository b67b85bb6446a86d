"""What the server answers: two error formats, and every refusal in Okta's own words.

Okta speaks two formats at the same endpoint. OAuth's (RFC 6749 §5.2) is
``{"error", "error_description"}``. Okta's own is ``{"errorCode", "errorSummary", …}``; it comes for
rate limits, outages, unknown paths, and for an unknown client id.
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

_BASIC_CHALLENGE = {"WWW-Authenticate": 'Basic realm="Okta"'}  # RFC 6749 §5.2


class ErrorFormat(Enum):
    """Which of the two formats a refusal is written in."""

    OAUTH = "oauth"
    OKTA = "okta"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer.

    Args:
        status: The HTTP status.
        body: The body's bytes.
        content_type: The ``Content-Type`` header.
        headers: Further headers.
        error: The error code in the body, for the records; ``None`` if there is none.
    """

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal, before it becomes an answer with an id of its own.

    Args:
        status: The HTTP status.
        error: OAuth's ``error``, or Okta's ``errorCode``.
        description: OAuth's ``error_description``, or Okta's ``errorSummary``.
        format: Which of the two formats.
        headers: Further headers.
    """

    status: int
    error: str
    description: str
    format: ErrorFormat = ErrorFormat.OAUTH
    headers: Mapping[str, str] = field(default_factory=dict)

    def answer(self) -> Answer:
        """Write the refusal out; in Okta's format with a fresh ``errorId``."""
        if self.format is ErrorFormat.OAUTH:
            body: dict[str, object] = {
                "error": self.error,
                "error_description": self.description,
            }
        else:
            body = {
                "errorCode": self.error,
                "errorSummary": self.description,
                "errorLink": self.error,
                "errorId": new_id("oae"),
                "errorCauses": [],
            }
        return json_answer(body, status=self.status, headers=self.headers, error=self.error)


def json_answer(
    body: Mapping[str, object],
    *,
    status: int = 200,
    headers: Mapping[str, str] = NO_HEADERS,
    error: str | None = None,
) -> Answer:
    """Return an answer whose body is `body` as JSON."""
    return Answer(status, json.dumps(body).encode(), JSON, headers, error)


def new_id(prefix: str = "") -> str:
    """Return a fresh id in the shape of Okta's request ids and error ids."""
    return prefix + secrets.token_urlsafe(16)


def _okta(status: int, code: str, summary: str) -> Refusal:
    return Refusal(status, code, summary, ErrorFormat.OKTA)


def invalid_request(description: str) -> Refusal:
    """Return the refusal of a malformed request (RFC 6749 §5.2)."""
    return Refusal(400, "invalid_request", description)


def invalid_client(description: str, *, challenge: bool) -> Refusal:
    """Return the refusal of a client that did not prove who it is.

    Args:
        description: What is said about it.
        challenge: Whether the client used the ``Authorization`` header, which by RFC 6749 §5.2
            is answered with ``WWW-Authenticate``.
    """
    headers = _BASIC_CHALLENGE if challenge else NO_HEADERS
    return Refusal(401, "invalid_client", description, headers=headers)


def invalid_scope(description: str) -> Refusal:
    """Return the refusal of a scope that is malformed, unknown or not to be had here."""
    return Refusal(400, "invalid_scope", description)


def resource_not_found(authorization_server: str) -> Refusal:
    """Return Okta's answer to an authorization server id that does not exist."""
    return _okta(
        404,
        "E0000007",
        f"Not found: Resource not found: {authorization_server} (AuthorizationServer)",
    )


def method_not_allowed(allow: str) -> Refusal:
    """Return Okta's answer to a method that an endpoint does not have; `allow` lists its own."""
    return Refusal(
        405,
        "E0000022",
        "The endpoint does not support the provided HTTP method",
        ErrorFormat.OKTA,
        {"Allow": allow},
    )


def server_error(status: int) -> Refusal:
    """Return an outage in Okta's format: E0000010 for a 503, else E0000009."""
    if status == 503:  # noqa: PLR2004 — an HTTP status is its own best name
        return _okta(status, "E0000010", "Service is in read only mode.")
    return _okta(status, "E0000009", "Internal Server Error")


NO_CREDENTIALS = "No client credentials found."
WRONG_CREDENTIALS = (
    "Client authentication failed. Either the client or the client credentials are invalid."
)
WRONG_SECRET = "The client secret supplied for a confidential client is invalid."  # noqa: S105 — a message
ORG_NEEDS_PRIVATE_KEY = (
    "Client Credentials requests to the Org Authorization Server must use the private_key_jwt "
    "token_endpoint_auth_method."
)

PATH_NOT_FOUND = _okta(404, "E0000008", "The requested path was not found")
WRONG_MEDIA_TYPE = _okta(
    400,
    "E0000021",
    "Bad request. Accept and/or Content-Type headers likely do not match supported values.",
)
TOO_MANY_REQUESTS = _okta(429, "E0000047", "API call exceeded rate limit due to too many requests.")
# An unknown client id: an OAuth code in Okta's format.
UNKNOWN_CLIENT = _okta(401, "invalid_client", "Invalid value for 'client_id' parameter.")
MULTIPLE_CREDENTIALS = invalid_request(
    "Cannot supply multiple client credentials. Use one of the following: credentials in the "
    "Authorization header, credentials in the post body, or a client_assertion in the post body."
)
UNSUPPORTED_GRANT_TYPE = Refusal(
    400,
    "unsupported_grant_type",
    "The authorization grant type is not supported by the authorization server.",
)
UNAUTHORIZED_GRANT_TYPE = Refusal(
    400,
    "unauthorized_client",
    "The client is not authorized to use the provided grant type. "
    "Configured grant types: [client_credentials].",
)
NO_SCOPES = invalid_scope("No scopes were requested.")
MALFORMED_SCOPE = invalid_scope("The requested scope is invalid, unknown, or malformed.")
OPENID_SCOPE = invalid_scope("Cannot request 'openid' scopes using client credentials.")
CUSTOM_SCOPE = invalid_scope("Custom scopes are not allowed for this request.")
UNKNOWN_SCOPE = invalid_scope(
    "One or more scopes are not configured for the authorization server resource."
)
POLICY_REFUSED = Refusal(
    400,
    "access_denied",
    "Policy evaluation failed for this request, please check the policy configurations.",
)
