"""Authenticate the client that sent a request."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from dataclasses import replace

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox._clients import SandboxClient
from okta_tokens.sandbox._request_parsing import Credentials, ParsedRequest
from okta_tokens.sandbox._responses import ErrorResponse


def choose_basic_encoding(
    request: ParsedRequest, clients: Mapping[str, SandboxClient]
) -> ParsedRequest:
    """Return `request` with its Basic credentials form-decoded, if the client form-encoded them.

    RFC 6749 §2.3.1 form-encodes the id and the secret before base64. RFC 7617 and Okta's
    documentation do not. Clients do either, and which of them Okta accepts is not documented, so
    the sandbox accepts both. If both readings are possible, the better match wins: a known client
    with its secret, a known client, an unknown client; then the reading without decoding.

    Args:
        request: The request.
        clients: The known clients by id.
    """
    sent = request.credentials
    if sent.form_decoded is None:
        return request
    client_id, secret = sent.form_decoded
    decoded = replace(sent, client_id=client_id, secret=secret)
    best = max((sent, decoded), key=lambda reading: _match(reading, clients))
    return replace(request, credentials=best)


def _match(credentials: Credentials, clients: Mapping[str, SandboxClient]) -> int:
    client = clients.get(credentials.client_id or "")
    if client is None:
        return 0
    return 1 + _matches_any(credentials.secret or "", client.secrets)


def authenticate(
    request: ParsedRequest, clients: Mapping[str, SandboxClient]
) -> SandboxClient | ErrorResponse:
    """Return the client that sent `request`, or the error response if authentication failed.

    The rules apply in this order: the request is well-formed; it has one set of credentials; its
    assertion, if any, is valid; it names a client; the client is known; the credentials are the
    client's.

    Args:
        request: The request, with the encoding of its Basic credentials chosen, and with its
            assertion verified if it has one.
        clients: The known clients by id.
    """
    credentials = request.credentials
    if request.error is not None:
        return request.error
    if credentials.method == "multiple":
        return okta_errors.MULTIPLE_CREDENTIALS
    if credentials.error is not None:
        return credentials.error
    if credentials.client_id is None:
        return _invalid_client(okta_errors.NO_CREDENTIALS, credentials)
    client = clients.get(credentials.client_id)
    if client is None:
        return okta_errors.UNKNOWN_CLIENT
    return _check_credentials(client, credentials)


def _check_credentials(
    client: SandboxClient, credentials: Credentials
) -> SandboxClient | ErrorResponse:
    """Return the client, or the error response to credentials that are not the client's.

    Four cases:
    - The client is inactive, or is not registered for the method: wrong credentials.
    - The assertion is valid: the client.
    - No secret: wrong credentials.
    - A secret: the client if the secret is one of the client's.
    """
    allowed = client.active and credentials.method in client.methods
    if allowed and credentials.verified:
        return client
    if not allowed or credentials.secret is None:
        return _invalid_client(okta_errors.WRONG_CREDENTIALS, credentials)
    if not _matches_any(credentials.secret, client.secrets):
        return _invalid_client(okta_errors.WRONG_SECRET, credentials)
    return client


def _invalid_client(description: str, credentials: Credentials) -> ErrorResponse:
    return okta_errors.invalid_client(description, challenge=credentials.challenge)


def _matches_any(secret: str, known: Collection[str]) -> bool:
    """Compare a secret with every known one, in a time that does not depend on the secret."""
    encoded = secret.encode()
    return sum(hmac.compare_digest(encoded, candidate.encode()) for candidate in known) > 0
