"""What a request says, read without looking anything up."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

import okta_tokens.sandbox._answers as answers
from okta_tokens.sandbox._algorithms import CLIENT_SECRET_BASIC, CLIENT_SECRET_POST
from okta_tokens.sandbox._answers import Refusal
from okta_tokens.sandbox._proofs import Proof

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_BODY: Final = 64 * 1024
_NO_FORM: Final = b"%"  # refused as malformed
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about who sends it.

    Args:
        client_id: The client id, or ``None``.
        secret: The secret, or ``None``.
        method: How they came: a ``token_endpoint_auth_method``, ``client_assertion`` (either of
            the two JWT methods, as long as nobody has looked which), ``multiple``, or ``None``.
        challenge: Whether the ``Authorization`` header was used.
        algorithm: The ``alg`` of the assertion, once somebody has looked.
        kid: The ``kid`` of the assertion, once somebody has looked.
        proven: Whether there is an assertion that counts.
        refusal: Why there is one that does not, or ``None``.
    """

    client_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    method: str | None = None
    challenge: bool = False
    algorithm: str | None = None
    kid: str | None = None
    proven: bool = False
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request to one of the endpoints that clients authenticate at.

    Args:
        form: The body's parameters. Of repeated ones the last; then there is a refusal anyway.
        credentials: Who sends it.
        refusal: Why it is refused before anything is looked up, or ``None``.
        dpop: The values of all ``DPoP`` headers.
        proof: What they prove, once somebody has looked; ``None`` if there are none.
    """

    form: Mapping[str, str] = field(repr=False)
    credentials: Credentials
    refusal: Refusal | None = None
    dpop: Sequence[str] = field(default=(), repr=False)
    proof: Proof | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are asked for, each once, in the request's order."""
        return tuple(dict.fromkeys(self.form.get("scope", "").split()))


async def receive(request: web.BaseRequest) -> ParsedRequest:
    """Receive a request's body and read what it says.

    A body that breaks off, or is longer than 64 KiB, reads as a malformed one.
    """
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            if len(body) <= _MAX_BODY:  # the rest is received, too: else no answer arrives
                body += chunk
    except (web.RequestPayloadError, ConnectionError):
        body[:] = _NO_FORM
    if len(body) > _MAX_BODY:
        body[:] = _NO_FORM
    return parse(
        bytes(body),
        content_type=request.content_type,
        authorization=request.headers.getall("Authorization", []),
        query=request.rel_url.raw_query_string,
        dpop=request.headers.getall("DPoP", []),
    )


def requested_url(request: web.BaseRequest, origin: str) -> str:
    """Return the URL that a request was sent to, without its query.

    Args:
        request: The request.
        origin: Where the server listens. The client may know it by another name.
    """
    scheme, _, host = origin.partition("://")
    return f"{scheme}://{request.headers.get('Host', host)}{request.rel_url.raw_path}"


def parse(
    body: bytes,
    *,
    content_type: str,
    authorization: list[str],
    query: str,
    dpop: Sequence[str] = (),
) -> ParsedRequest:
    """Read a request.

    Args:
        body: The body.
        content_type: The media type, without parameters, in lower case.
        authorization: The values of all ``Authorization`` headers.
        query: The raw query string.
        dpop: The values of all ``DPoP`` headers.

    Returns:
        What it says, and the refusal that it gets whoever sent it.
    """
    pairs = _pairs(body)
    form = dict(pairs or ())
    credentials = _credentials(form, authorization)
    return ParsedRequest(form, credentials, _refused_form(pairs, content_type, query), dpop)


def _pairs(body: bytes) -> list[tuple[str, str]] | None:
    try:
        text = body.decode("ascii")  # a form is percent-encoded: anything else is not one
        if _BAD_ESCAPE.search(text):
            return None
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:  # UnicodeDecodeError, too
        return None


def _refused_form(
    pairs: list[tuple[str, str]] | None, content_type: str, query: str
) -> Refusal | None:
    if content_type != _FORM:
        return answers.WRONG_MEDIA_TYPE
    if pairs is None:
        return answers.invalid_request("The request body is malformed.")
    if query:
        return answers.invalid_request("Parameters must be sent in the request body.")
    repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if repeated:
        return answers.invalid_request("Request parameters must not be repeated.")
    return None


def _credentials(form: Mapping[str, str], authorization: list[str]) -> Credentials:
    client_id = form.get("client_id")
    asserted = "client_assertion" in form or "client_assertion_type" in form
    posted = "client_secret" in form
    if authorization:
        # Okta counts a client_id alone beside the header as a second set of credentials.
        if len(authorization) > 1 or asserted or posted or client_id is not None:
            return Credentials(client_id, None, "multiple", challenge=True)
        return _basic(authorization[0])
    if asserted and posted:
        return Credentials(client_id, None, "multiple")
    if asserted:
        return Credentials(client_id, None, "client_assertion")
    if posted:
        return Credentials(client_id, form["client_secret"], CLIENT_SECRET_POST)
    return Credentials(client_id)


def _basic(header: str) -> Credentials:
    """Read RFC 7617 credentials, as Okta documents them: nothing in them is form-decoded."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return Credentials(challenge=True)
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # neither base64, nor ASCII in the first place, nor UTF-8 inside
        return Credentials(method=CLIENT_SECRET_BASIC, challenge=True)
    client_id, colon, secret = decoded.partition(":")
    return Credentials(
        client_id or None, secret if colon else None, CLIENT_SECRET_BASIC, challenge=True
    )
