"""Client assertions: a JWT in place of a secret (RFC 7523), by Okta's rules and in its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import okta_tokens.sandbox._answers as answers
from okta_tokens.sandbox._algorithms import (
    CLIENT_SECRET_JWT,
    HMACS,
    PRIVATE_KEY_JWT,
    SIGNATURES,
)
from okta_tokens.sandbox._answers import Refusal
from okta_tokens.sandbox._clients import SandboxClient
from okta_tokens.sandbox._jwt import Jwt, date, read, text

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LIFE: Final = 3600
"""Seconds; an assertion that expires so far ahead or further is refused."""
MIN_SECRET: Final = 32


def _refusal(description: str) -> Refusal:
    return answers.invalid_client(description, challenge=False)


WRONG_TYPE: Final = answers.invalid_request("The client_assertion_type is invalid.")
NO_ASSERTION: Final = answers.invalid_request("The request is missing the client_assertion.")
UNREADABLE: Final = _refusal("The client_assertion cannot be parsed as a signed JWT.")
NOT_THE_CLIENT: Final = _refusal(
    "The issuer and the subject of client_assertion must both be the client_id."
)
WRONG_ALGORITHM: Final = _refusal(
    f"The client_assertion must be signed with one of {', '.join((*SIGNATURES, *HMACS))}."
)
WRONG_AUDIENCE: Final = _refusal(
    "The audience claim for client_assertion must be the endpoint invoked for the request."
)
NO_KEYS: Final = _refusal(
    "The client does not have a JWKSet configured, but the client_assertion requires one."
)
WRONG_KEY_ID: Final = _refusal("The client_assertion JWT kid is invalid.")
WRONG_SIGNATURE: Final = _refusal("The client_assertion signature is invalid.")
SHORT_SECRET: Final = _refusal("The client secret is too short to verify a JWT HMAC.")
NO_EXPIRY: Final = _refusal("The client_assertion token must have an expiration.")
EXPIRED: Final = _refusal("The client_assertion token is expired.")
EXPIRES_TOO_LATE: Final = _refusal(
    "The client_assertion token has an expiration too far into the future."
)
NOT_YET_ISSUED: Final = _refusal("The client_assertion token must be issued before current time.")
NOT_YET_VALID: Final = _refusal("The client_assertion token is not valid yet.")
WRONG_JTI: Final = _refusal("The jti claim for client_assertion must be a string.")
USED: Final = _refusal("The client_assertion token has already been used.")


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a client assertion says, and whether that counts.

    Args:
        client_id: Whom it is about, as far as it can be read.
        method: ``private_key_jwt`` or ``client_secret_jwt``, by its algorithm; else ``None``.
        algorithm: Its ``alg``, or ``None``.
        kid: Its ``kid``, or ``None``.
        jti: Its ``jti`` if it has one and is rightly signed, for then that is used; else ``None``.
        until: When it expires, in seconds since the epoch.
        refusal: Why it does not count, or ``None``.
    """

    client_id: str | None = None
    method: str | None = None
    algorithm: str | None = None
    kid: str | None = None
    jti: str | None = None
    until: float = 0.0
    refusal: Refusal | None = None


def examine(
    form: Mapping[str, str], clients: Mapping[str, SandboxClient], *, url: str, now: float
) -> Assertion:
    """Examine the client assertion of a request. Whether it was used before, is not asked here.

    Args:
        form: The request's parameters.
        clients: The known clients by id.
        url: The URL that the request was sent to.
        now: Seconds since the epoch, by the server's clock.

    Raises:
        ImportError: The extra ``jwt`` is not installed.
    """
    named = form.get("client_id")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        return Assertion(named, refusal=WRONG_TYPE)
    if not form.get("client_assertion"):
        return Assertion(named, refusal=NO_ASSERTION)
    jwt = read(form["client_assertion"])
    if jwt is None:
        return Assertion(named, refusal=UNREADABLE)
    subject = text(jwt.claims.get("sub"))
    method = _method(jwt.algorithm)
    client = clients.get(subject)
    # Okta asks for the audience before it looks for a key.
    refusal = _stranger(jwt, named) or (answers.UNKNOWN_CLIENT if client is None else None)
    refusal = refusal or (WRONG_ALGORITHM if method is None else None) or _misdirected(jwt, url)
    unsigned = refusal if client is None or method is None else _unsigned(jwt, client, method)
    expiry = date(jwt.claims.get("exp"))
    return Assertion(
        client_id=subject or named,
        method=method,
        algorithm=jwt.algorithm or None,
        kid=text(jwt.header.get("kid")) or None,
        jti=text(jwt.claims.get("jti")) or None if unsigned is None else None,
        until=now if expiry is None else expiry,
        refusal=refusal or unsigned or _untimely(jwt, expiry, now) or _unusable(jwt),
    )


def _method(algorithm: str) -> str | None:
    if algorithm in SIGNATURES:
        return PRIVATE_KEY_JWT
    return CLIENT_SECRET_JWT if algorithm in HMACS else None


def _stranger(jwt: Jwt, named: str | None) -> Refusal | None:
    issuer, subject = jwt.claims.get("iss"), jwt.claims.get("sub")
    alike = isinstance(subject, str) and issuer == subject and named in {None, subject}
    return None if alike else NOT_THE_CLIENT


def _misdirected(jwt: Jwt, url: str) -> Refusal | None:
    audience = jwt.claims.get("aud")
    meant = url in audience if isinstance(audience, list) else url == audience
    return None if meant else WRONG_AUDIENCE


def _unsigned(jwt: Jwt, client: SandboxClient, method: str) -> Refusal | None:
    """Return why the signature proves nothing, or ``None`` if it is the client's."""
    # The extra is loaded where it is needed, and not before.
    from okta_tokens.sandbox import _keys  # noqa: PLC0415

    if method == CLIENT_SECRET_JWT:
        secrets = [secret for secret in client.secrets if len(secret) >= MIN_SECRET]
        if any(_keys.signed_with(jwt.text, secret) for secret in secrets):
            return None
        return SHORT_SECRET if client.secrets and not secrets else WRONG_SIGNATURE
    if not client.keys:
        return NO_KEYS
    kid = jwt.header.get("kid")
    candidates = [key for key in client.keys if kid is None or key.get("kid") == kid]
    if len(candidates) != 1:  # a key that is not named must be the only one
        return WRONG_KEY_ID
    key = _keys.public_key(candidates[0])
    return None if _keys.signed_by(jwt.text, key) else WRONG_SIGNATURE


def _untimely(jwt: Jwt, expiry: float | None, now: float) -> Refusal | None:
    if expiry is None:
        return NO_EXPIRY
    if expiry <= now:
        return EXPIRED
    if expiry >= now + MAX_LIFE:
        return EXPIRES_TOO_LATE
    if not _past(jwt, "iat", now):
        return NOT_YET_ISSUED
    return None if _past(jwt, "nbf", now) else NOT_YET_VALID


def _past(jwt: Jwt, claim: str, now: float) -> bool:
    """Return whether an optional date is none of the future, and a date at all."""
    if claim not in jwt.claims:
        return True
    at = date(jwt.claims[claim])
    return at is not None and at <= now


def _unusable(jwt: Jwt) -> Refusal | None:
    return None if text(jwt.claims.get("jti", "none is fine")) else WRONG_JTI
