"""Okta's error responses, with Okta's status, code and wording.

The error responses to client assertions and to DPoP proofs are beside the rules that they report,
in `_client_assertions` and `_dpop_proofs`.
"""

from __future__ import annotations

from okta_tokens.sandbox._responses import (
    DPOP_NONCE,
    HTML,
    NO_HEADERS,
    ErrorFormat,
    ErrorResponse,
    Response,
)

_BASIC_CHALLENGE = {"WWW-Authenticate": 'Basic realm="Okta"'}  # RFC 6749 §5.2


def _in_okta_format(status: int, code: str, summary: str) -> ErrorResponse:
    return ErrorResponse(status, code, summary, ErrorFormat.OKTA)


# Malformed requests, and paths that do not exist


def invalid_request(description: str) -> ErrorResponse:
    """Return the error response to a malformed request (RFC 6749 §5.2)."""
    return ErrorResponse(400, "invalid_request", description)


def resource_not_found(authorization_server: str) -> ErrorResponse:
    """Return the error response to an authorization server id that does not exist."""
    return _in_okta_format(
        404,
        "E0000007",
        f"Not found: Resource not found: {authorization_server} (AuthorizationServer)",
    )


def method_not_allowed(allow: str) -> ErrorResponse:
    """Return the error response to an HTTP method that an endpoint does not support.

    Args:
        allow: The methods that the endpoint supports, for the ``Allow`` header.
    """
    return ErrorResponse(
        405,
        "E0000022",
        "The endpoint does not support the provided HTTP method",
        ErrorFormat.OKTA,
        {"Allow": allow},
    )


PATH_NOT_FOUND = _in_okta_format(404, "E0000008", "The requested path was not found")
WRONG_MEDIA_TYPE = _in_okta_format(
    400,
    "E0000021",
    "Bad request. Accept and/or Content-Type headers likely do not match supported values.",
)

# Okta shows the errors of its authorization endpoint to people, as a page.
NO_SIGN_IN = Response(
    400,
    b"<!doctype html><title>400</title><h1>400</h1>"
    b"<p>The sandbox signs no people in. Use the grant type client_credentials.</p>\n",
    HTML,
)

# Outages and rate limits


def server_error(status: int) -> ErrorResponse:
    """Return the error response of an outage: E0000010 for a 503, E0000009 for any other status."""
    if status == 503:  # noqa: PLR2004 — an HTTP status is its own best name
        return _in_okta_format(status, "E0000010", "Service is in read only mode.")
    return _in_okta_format(status, "E0000009", "Internal Server Error")


TOO_MANY_REQUESTS = _in_okta_format(
    429, "E0000047", "API call exceeded rate limit due to too many requests."
)

# Client authentication


def invalid_client(description: str, *, challenge: bool) -> ErrorResponse:
    """Return the error response to a client whose authentication failed.

    Args:
        description: The ``error_description``.
        challenge: Whether the client used the ``Authorization`` header. RFC 6749 §5.2 requires
            ``WWW-Authenticate`` in the response then.
    """
    headers = _BASIC_CHALLENGE if challenge else NO_HEADERS
    return ErrorResponse(401, "invalid_client", description, headers=headers)


NO_CREDENTIALS = "No client credentials found."
WRONG_CREDENTIALS = (
    "Client authentication failed. Either the client or the client credentials are invalid."
)
WRONG_SECRET = "The client secret supplied for a confidential client is invalid."  # noqa: S105 — a message
ORG_NEEDS_PRIVATE_KEY = (
    "Client Credentials requests to the Org Authorization Server must use the private_key_jwt "
    "token_endpoint_auth_method."
)
# Okta uses an OAuth code in its own format for an unknown client id.
UNKNOWN_CLIENT = _in_okta_format(401, "invalid_client", "Invalid value for 'client_id' parameter.")
MULTIPLE_CREDENTIALS = invalid_request(
    "Cannot supply multiple client credentials. Use one of the following: credentials in the "
    "Authorization header, credentials in the post body, or a client_assertion in the post body."
)

# Grant types, scopes and access policies


def invalid_scope(description: str) -> ErrorResponse:
    """Return the error response to a scope that is malformed, unknown or not allowed."""
    return ErrorResponse(400, "invalid_scope", description)


UNSUPPORTED_GRANT_TYPE = ErrorResponse(
    400,
    "unsupported_grant_type",
    "The authorization grant type is not supported by the authorization server.",
)
UNAUTHORIZED_GRANT_TYPE = ErrorResponse(
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
POLICY_REFUSED = ErrorResponse(
    400,
    "access_denied",
    "Policy evaluation failed for this request, please check the policy configurations.",
)

# DPoP nonces


def use_dpop_nonce(description: str, nonce: str) -> ErrorResponse:
    """Return the error response to a proof without an accepted nonce (RFC 9449 §8).

    Args:
        description: The ``error_description``.
        nonce: The nonce that the client must use, for the ``dpop-nonce`` header.
    """
    return ErrorResponse(400, "use_dpop_nonce", description, headers={DPOP_NONCE: nonce})
