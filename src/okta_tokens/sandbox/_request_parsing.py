"""Parse a request into its form, its credentials and its DPoP headers, without any look-up."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from aiohttp import web

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox._algorithms import CLIENT_SECRET_BASIC, CLIENT_SECRET_POST
from okta_tokens.sandbox._dpop_proofs import Proof
from okta_tokens.sandbox._responses import ErrorResponse

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_BODY: Final = 64 * 1024
_MALFORMED_BODY: Final = b"%"  # neither a form nor JSON
_INVALID_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials in a request.

    Args:
        client_id: The client id, or ``None``.
        secret: The secret, or ``None``.
        method: The authentication method: a ``token_endpoint_auth_method``, ``client_assertion``
            (one of the two JWT methods, before the assertion is verified), ``multiple``, or
            ``None``.
        challenge: Whether the request has an ``Authorization`` header, so that an error response
            needs ``WWW-Authenticate``.
        algorithm: The ``alg`` of the assertion; ``None`` before the assertion is verified.
        kid: The ``kid`` of the assertion; ``None`` before the assertion is verified.
        verified: Whether the request has a valid assertion.
        error: The error response to an invalid assertion, or ``None``.
        form_decoded: The client id and the secret of a Basic header after form-decoding, if that
            is possible and changes them; otherwise ``None``.
    """

    client_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    method: str | None = None
    challenge: bool = False
    algorithm: str | None = None
    kid: str | None = None
    verified: bool = False
    error: ErrorResponse | None = None
    form_decoded: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request to one of the endpoints that authenticate clients.

    Args:
        form: The parameters in the body. If a parameter is repeated, `form` has its last value and
            `error` is set.
        credentials: The credentials.
        error: The error response to a malformed request; ``None`` if the request is well-formed.
        dpop_headers: The values of all ``DPoP`` headers.
        proof: The verified DPoP proof; ``None`` before verification or without ``DPoP`` headers.
    """

    form: Mapping[str, str] = field(repr=False)
    credentials: Credentials
    error: ErrorResponse | None = None
    dpop_headers: Sequence[str] = field(default=(), repr=False)
    proof: Proof | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The requested scopes without repetitions, in the order of the request."""
        return tuple(dict.fromkeys(self.form.get("scope", "").split()))


async def receive_request(request: web.BaseRequest) -> ParsedRequest:
    """Receive the body of a request, and parse the request.

    A body that is incomplete, or longer than 64 KiB, counts as malformed.
    """
    return parse_request(
        await receive_body(request),
        content_type=request.content_type,
        authorization=request.headers.getall("Authorization", []),
        query=request.rel_url.raw_query_string,
        dpop_headers=request.headers.getall("DPoP", []),
    )


async def receive_body(request: web.BaseRequest) -> bytes:
    """Return the body of a request, or what no format allows if the body is not acceptable.

    A body that is incomplete, or longer than 64 KiB, is not acceptable.
    """
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            # The rest is received, too, because the client reads no response before it is sent.
            if len(body) <= _MAX_BODY:
                body += chunk
    except (web.RequestPayloadError, ConnectionError):
        body[:] = _MALFORMED_BODY
    if len(body) > _MAX_BODY:
        body[:] = _MALFORMED_BODY
    return bytes(body)


def requested_url(request: web.BaseRequest, origin: str) -> str:
    """Return the URL of a request without its query.

    Args:
        request: The request.
        origin: The origin that the server listens on. The client may use another host name.
    """
    scheme, _, host = origin.partition("://")
    return f"{scheme}://{request.headers.get('Host', host)}{request.rel_url.raw_path}"


def parse_request(
    body: bytes,
    *,
    content_type: str,
    authorization: list[str],
    query: str,
    dpop_headers: Sequence[str] = (),
) -> ParsedRequest:
    """Parse a request.

    Args:
        body: The body.
        content_type: The media type without parameters, in lower case.
        authorization: The values of all ``Authorization`` headers.
        query: The raw query string.
        dpop_headers: The values of all ``DPoP`` headers.

    Returns:
        The parsed request, with the error response if the request is malformed.
    """
    pairs = _parse_form(body)
    form = dict(pairs or ())
    credentials = _parse_credentials(form, authorization)
    return ParsedRequest(form, credentials, _form_error(pairs, content_type, query), dpop_headers)


def _parse_form(body: bytes) -> list[tuple[str, str]] | None:
    try:
        text = body.decode("ascii")  # a form is percent-encoded, so that it is always ASCII
        if _INVALID_ESCAPE.search(text):
            return None
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:  # includes UnicodeDecodeError
        return None


_RESOURCE = "resource"
"""The only field that a request may repeat (RFC 8707 section 2)."""


def _form_error(
    pairs: list[tuple[str, str]] | None, content_type: str, query: str
) -> ErrorResponse | None:
    if content_type != _FORM:
        return okta_errors.WRONG_MEDIA_TYPE
    if pairs is None:
        return okta_errors.invalid_request("The request body is malformed.")
    if query:
        return okta_errors.invalid_request("Parameters must be sent in the request body.")
    repeated = [
        name
        for name, count in Counter(name for name, _ in pairs if name != _RESOURCE).items()
        if count > 1
    ]
    if repeated:
        return okta_errors.invalid_request("Request parameters must not be repeated.")
    return None


def _parse_credentials(form: Mapping[str, str], authorization: list[str]) -> Credentials:
    """Return the credentials in a request.

    Five cases:
    - An ``Authorization`` header alone: the credentials in that header.
    - A header together with credentials in the body, or repeated: ``multiple``. Okta counts a
      ``client_id`` alone as credentials here.
    - An assertion together with a secret: ``multiple``.
    - An assertion or a secret: that one.
    - Neither: the ``client_id``, if there is one.
    """
    client_id = form.get("client_id")
    has_assertion = "client_assertion" in form or "client_assertion_type" in form
    has_secret = "client_secret" in form
    if authorization:
        if len(authorization) > 1 or has_assertion or has_secret or client_id is not None:
            return Credentials(client_id, None, "multiple", challenge=True)
        return _parse_basic(authorization[0])
    if has_assertion and has_secret:
        return Credentials(client_id, None, "multiple")
    if has_assertion:
        return Credentials(client_id, None, "client_assertion")
    if has_secret:
        return Credentials(client_id, form["client_secret"], CLIENT_SECRET_POST)
    return Credentials(client_id)


def _parse_basic(header: str) -> Credentials:
    """Parse a Basic header, both as RFC 7617 and as RFC 6749 §2.3.1 define it."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return Credentials(challenge=True)
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # not base64, not ASCII, or the decoded bytes are not UTF-8
        return Credentials(method=CLIENT_SECRET_BASIC, challenge=True)
    client_id, colon, secret = decoded.partition(":")
    return Credentials(
        client_id or None,
        secret if colon else None,
        CLIENT_SECRET_BASIC,
        challenge=True,
        form_decoded=_form_decoded(client_id, secret) if colon else None,
    )


def _form_decoded(client_id: str, secret: str) -> tuple[str, str] | None:
    if _INVALID_ESCAPE.search(client_id) or _INVALID_ESCAPE.search(secret):
        return None
    try:
        decoded = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except UnicodeDecodeError:
        return None
    return None if decoded == (client_id, secret) else decoded
