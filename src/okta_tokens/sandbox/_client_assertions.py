"""Client assertions: the signed JWT that replaces a secret (RFC 7523), checked by Okta's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox._algorithms import (
    CLIENT_SECRET_JWT,
    HMACS,
    PRIVATE_KEY_JWT,
    SIGNATURES,
)
from okta_tokens.sandbox._clients import SandboxClient
from okta_tokens.sandbox._jwt import Jwt, number_claim, parse_jwt, text_claim
from okta_tokens.sandbox._responses import ErrorResponse

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LIFETIME: Final = 3600
"""Seconds. An assertion whose remaining lifetime is this long or longer is refused."""
MIN_SECRET_LENGTH: Final = 32


def _invalid_client(description: str) -> ErrorResponse:
    return okta_errors.invalid_client(description, challenge=False)


WRONG_TYPE: Final = okta_errors.invalid_request("The client_assertion_type is invalid.")
NO_ASSERTION: Final = okta_errors.invalid_request("The request is missing the client_assertion.")
UNREADABLE: Final = _invalid_client("The client_assertion cannot be parsed as a signed JWT.")
WRONG_ISSUER_OR_SUBJECT: Final = _invalid_client(
    "The issuer and the subject of client_assertion must both be the client_id."
)
WRONG_ALGORITHM: Final = _invalid_client(
    f"The client_assertion must be signed with one of {', '.join((*SIGNATURES, *HMACS))}."
)
WRONG_AUDIENCE: Final = _invalid_client(
    "The audience claim for client_assertion must be the endpoint invoked for the request."
)
NO_KEYS: Final = _invalid_client(
    "The client does not have a JWKSet configured, but the client_assertion requires one."
)
WRONG_KEY_ID: Final = _invalid_client("The client_assertion JWT kid is invalid.")
WRONG_SIGNATURE: Final = _invalid_client("The client_assertion signature is invalid.")
SHORT_SECRET: Final = _invalid_client("The client secret is too short to verify a JWT HMAC.")
NO_EXPIRY: Final = _invalid_client("The client_assertion token must have an expiration.")
EXPIRED: Final = _invalid_client("The client_assertion token is expired.")
EXPIRES_TOO_LATE: Final = _invalid_client(
    "The client_assertion token has an expiration too far into the future."
)
NOT_YET_ISSUED: Final = _invalid_client(
    "The client_assertion token must be issued before current time."
)
NOT_YET_VALID: Final = _invalid_client("The client_assertion token is not valid yet.")
WRONG_JTI: Final = _invalid_client("The jti claim for client_assertion must be a string.")
ALREADY_USED: Final = _invalid_client("The client_assertion token has already been used.")


@dataclass(frozen=True, slots=True)
class Assertion:
    """The claims of a client assertion, and the error response if the assertion breaks a rule.

    Args:
        client_id: The client that the assertion names; ``None`` if the assertion names no client.
        method: ``private_key_jwt`` or ``client_secret_jwt``, by the algorithm; ``None`` if the
            algorithm is not supported.
        algorithm: The ``alg``, or ``None``.
        kid: The ``kid``, or ``None``.
        jti: The ``jti`` if the signature is valid, else ``None``. A valid signature uses up the
            ``jti``, even if the assertion breaks another rule.
        expires_at: The ``exp`` in seconds since the epoch.
        error: The error response to the first broken rule; ``None`` if the assertion is valid.
    """

    client_id: str | None = None
    method: str | None = None
    algorithm: str | None = None
    kid: str | None = None
    jti: str | None = None
    expires_at: float = 0.0
    error: ErrorResponse | None = None


def check_assertion(
    form: Mapping[str, str], clients: Mapping[str, SandboxClient], *, url: str, now: float
) -> Assertion:
    """Check the client assertion of a request, except whether it was used before.

    Args:
        form: The parameters of the request.
        clients: The known clients by id.
        url: The URL of the request.
        now: The server's time in seconds since the epoch.

    Returns:
        The claims of the assertion, with the error response if there is one.

    Raises:
        ImportError: The extra ``jwt`` is not installed.
    """
    client_id = form.get("client_id")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        return Assertion(client_id, error=WRONG_TYPE)
    if not form.get("client_assertion"):
        return Assertion(client_id, error=NO_ASSERTION)
    jwt = parse_jwt(form["client_assertion"])
    if jwt is None:
        return Assertion(client_id, error=UNREADABLE)
    subject = text_claim(jwt.claims.get("sub"))
    method = _method(jwt.algorithm)
    client = clients.get(subject)
    # The order of the rules is Okta's: Okta checks the audience before it looks for a key.
    error = _subject_error(jwt, client_id) or (
        okta_errors.UNKNOWN_CLIENT if client is None else None
    )
    error = error or (WRONG_ALGORITHM if method is None else None) or _audience_error(jwt, url)
    # The signature is checked in any case, because a valid one uses up the assertion.
    signature_error = (
        error if client is None or method is None else _signature_error(jwt, client, method)
    )
    expiry = number_claim(jwt.claims.get("exp"))
    return Assertion(
        client_id=subject or client_id,
        method=method,
        algorithm=jwt.algorithm or None,
        kid=text_claim(jwt.header.get("kid")) or None,
        jti=text_claim(jwt.claims.get("jti")) or None if signature_error is None else None,
        expires_at=now if expiry is None else expiry,
        error=error or signature_error or _time_error(jwt, expiry, now) or _jti_error(jwt),
    )


def _method(algorithm: str) -> str | None:
    if algorithm in SIGNATURES:
        return PRIVATE_KEY_JWT
    return CLIENT_SECRET_JWT if algorithm in HMACS else None


def _subject_error(jwt: Jwt, client_id: str | None) -> ErrorResponse | None:
    issuer, subject = jwt.claims.get("iss"), jwt.claims.get("sub")
    same = isinstance(subject, str) and issuer == subject and client_id in {None, subject}
    return None if same else WRONG_ISSUER_OR_SUBJECT


def _audience_error(jwt: Jwt, url: str) -> ErrorResponse | None:
    audience = jwt.claims.get("aud")
    matches = url in audience if isinstance(audience, list) else url == audience
    return None if matches else WRONG_AUDIENCE


def _signature_error(jwt: Jwt, client: SandboxClient, method: str) -> ErrorResponse | None:
    """Return the error response to a signature that is not the client's, or ``None``.

    Two cases:
    - `client_secret_jwt`: one of the client's secrets of 32 characters or more made the HMAC.
    - `private_key_jwt`: the key that ``kid`` names made the signature. An assertion without a
      ``kid`` needs a client with exactly one key.
    """
    # The extra is imported only when it is needed.
    from okta_tokens.sandbox import _keys  # noqa: PLC0415

    if method == CLIENT_SECRET_JWT:
        secrets = [secret for secret in client.secrets if len(secret) >= MIN_SECRET_LENGTH]
        if any(_keys.verify_hmac(jwt.encoded, secret) for secret in secrets):
            return None
        return SHORT_SECRET if client.secrets and not secrets else WRONG_SIGNATURE
    if not client.keys:
        return NO_KEYS
    kid = jwt.header.get("kid")
    candidates = [key for key in client.keys if kid is None or key.get("kid") == kid]
    if len(candidates) != 1:
        return WRONG_KEY_ID
    key = _keys.public_key(candidates[0])
    return None if _keys.verify_signature(jwt.encoded, key) else WRONG_SIGNATURE


def _time_error(jwt: Jwt, expiry: float | None, now: float) -> ErrorResponse | None:
    if expiry is None:
        return NO_EXPIRY
    if expiry <= now:
        return EXPIRED
    if expiry >= now + MAX_LIFETIME:
        return EXPIRES_TOO_LATE
    if not _absent_or_past(jwt, "iat", now):
        return NOT_YET_ISSUED
    return None if _absent_or_past(jwt, "nbf", now) else NOT_YET_VALID


def _absent_or_past(jwt: Jwt, claim: str, now: float) -> bool:
    """Return whether an optional time claim is absent, or a number that is not after `now`."""
    if claim not in jwt.claims:
        return True
    instant = number_claim(jwt.claims[claim])
    return instant is not None and instant <= now


def _jti_error(jwt: Jwt) -> ErrorResponse | None:
    valid = "jti" not in jwt.claims or text_claim(jwt.claims["jti"])
    return None if valid else WRONG_JTI
