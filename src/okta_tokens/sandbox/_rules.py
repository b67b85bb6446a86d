"""Okta's rules: pure functions that turn a request into a grant or a refusal."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from okta_tokens.sandbox import _answers as answers
from okta_tokens.sandbox._answers import Refusal
from okta_tokens.sandbox._model import (
    CLIENT_SECRET_BASIC,
    CLIENT_SECRET_POST,
    SCOPE_NAME,
    SandboxClient,
)

MAX_SCOPE_LENGTH: Final = 1024
OPENID_SCOPES: Final = frozenset(
    {"openid", "profile", "email", "address", "phone", "offline_access", "device_sso"}
)

_FORM: Final = "application/x-www-form-urlencoded"
_OTHER_GRANTS: Final = frozenset(
    {
        "authorization_code",
        "password",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    }
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about who sends it.

    Args:
        client_id: The client id, or ``None``.
        secret: The secret, or ``None``.
        method: How they came: a ``token_endpoint_auth_method``, ``client_assertion`` (either of
            the two JWT methods), ``multiple``, or ``None``.
        challenge: Whether the ``Authorization`` header was used.
    """

    client_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    method: str | None = None
    challenge: bool = False


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request to one of the endpoints that clients authenticate at.

    Args:
        form: The body's parameters. Of repeated ones the last; then there is a refusal anyway.
        credentials: Who sends it.
        refusal: Why it is refused before anything is looked up, or ``None``.
    """

    form: Mapping[str, str] = field(repr=False)
    credentials: Credentials
    refusal: Refusal | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are asked for, each once, in the request's order."""
        return tuple(dict.fromkeys(self.form.get("scope", "").split()))


@dataclass(frozen=True, slots=True)
class Policy:
    """What an authorization server grants.

    Args:
        org: Whether it is the org's own server.
        known_scopes: The scopes that are configured for it.
        default_scopes: The scopes that are granted when none are asked for.
    """

    org: bool
    known_scopes: Collection[str]
    default_scopes: tuple[str, ...] = ()


def parse(
    body: bytes, *, content_type: str, authorization: list[str], query: str
) -> ParsedRequest:
    """Read a request.

    Args:
        body: The body.
        content_type: The media type, without parameters, in lower case.
        authorization: The values of all ``Authorization`` headers.
        query: The raw query string.

    Returns:
        What it says, and the refusal that it gets whoever sent it.
    """
    pairs = _pairs(body)
    form = dict(pairs or ())
    credentials = _credentials(form, authorization)
    return ParsedRequest(form, credentials, _refused_form(pairs, content_type, query))


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
    except (binascii.Error, UnicodeDecodeError):
        return Credentials(method=CLIENT_SECRET_BASIC, challenge=True)
    client_id, colon, secret = decoded.partition(":")
    return Credentials(
        client_id or None, secret if colon else None, CLIENT_SECRET_BASIC, challenge=True
    )


def authenticate(
    request: ParsedRequest, clients: Mapping[str, SandboxClient]
) -> SandboxClient | Refusal:
    """Return the client that sent `request`, or the refusal of one that did not prove it.

    Args:
        request: The request.
        clients: The known clients by id.
    """
    credentials = request.credentials
    if request.refusal is not None:
        return request.refusal
    if credentials.method == "multiple":
        return answers.MULTIPLE_CREDENTIALS
    challenge = credentials.challenge
    wrong = answers.invalid_client(answers.WRONG_CREDENTIALS, challenge=challenge)
    if credentials.method == "client_assertion":
        return wrong  # no client of the sandbox has a key registered
    if credentials.client_id is None:
        return answers.invalid_client(answers.NO_CREDENTIALS, challenge=challenge)
    client = clients.get(credentials.client_id)
    if client is None:
        return answers.UNKNOWN_CLIENT
    if not client.active or credentials.method not in client.methods or credentials.secret is None:
        return wrong
    if not _matches(credentials.secret, client.secrets):
        return answers.invalid_client(answers.WRONG_SECRET, challenge=challenge)
    return client


def _matches(secret: str, known: Collection[str]) -> bool:
    """Compare with every known secret, in a time that tells nothing about them."""
    offered = secret.encode()
    return any([hmac.compare_digest(offered, candidate.encode()) for candidate in known])


def grant(
    request: ParsedRequest, client: SandboxClient, policy: Policy
) -> tuple[str, ...] | Refusal:
    """Return the scopes of the token that `client` gets, or why it gets none.

    Args:
        request: The token request, its client authenticated.
        client: That client.
        policy: The authorization server's.
    """
    grant_type = request.form.get("grant_type", "")
    if not grant_type:
        return answers.invalid_request("The request is missing the 'grant_type' parameter.")
    if grant_type != "client_credentials":
        known = grant_type in _OTHER_GRANTS
        return answers.UNAUTHORIZED_GRANT_TYPE if known else answers.UNSUPPORTED_GRANT_TYPE
    if policy.org and not client.api_service_integration:
        return answers.invalid_client(
            answers.ORG_NEEDS_PRIVATE_KEY, challenge=request.credentials.challenge
        )
    text = request.form.get("scope", "")
    scopes = request.scopes or policy.default_scopes
    if not scopes:
        return answers.NO_SCOPES
    if len(text) > MAX_SCOPE_LENGTH or (text and not _well_formed(text)):
        return answers.MALFORMED_SCOPE
    return _refused_scopes(scopes, client, policy) or scopes


def _well_formed(scope: str) -> bool:
    """Return whether single spaces divide names in RFC 6749 §3.3's characters."""
    return all(SCOPE_NAME.fullmatch(name) for name in scope.split(" "))


def _refused_scopes(
    scopes: tuple[str, ...], client: SandboxClient, policy: Policy
) -> Refusal | None:
    if not OPENID_SCOPES.isdisjoint(scopes):
        return answers.OPENID_SCOPE
    if policy.org and not all(scope.startswith("okta.") for scope in scopes):
        return answers.CUSTOM_SCOPE
    if not all(scope in policy.known_scopes for scope in scopes):
        return answers.UNKNOWN_SCOPE
    if not all(scope in client.scopes for scope in scopes):
        # Okta does not narrow: a token with fewer scopes than asked for is not minted.
        return answers.UNKNOWN_SCOPE if policy.org else answers.POLICY_REFUSED
    return None
