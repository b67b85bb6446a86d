"""DPoP proofs: the caller holds the key that a token is bound to (RFC 9449 §4.3)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from okta_tokens.sandbox._algorithms import SIGNATURES
from okta_tokens.sandbox._jwt import Jwt, number_claim, parse_jwt, text_claim
from okta_tokens.sandbox._responses import ErrorResponse

MAX_AGE: Final = 60.0
"""Seconds after its ``iat`` for which a proof is accepted. Okta does not publish its number."""
MAX_AHEAD: Final = 5.0
"""Seconds by which an ``iat`` may be in the future."""

_REENCODED: Final = str.maketrans({"%": "%25", " ": "%20", '"': "%22", "#": "%23"})


def _invalid_proof(description: str) -> ErrorResponse:
    return ErrorResponse(400, "invalid_dpop_proof", description)


def _invalid_claim(claim: str) -> ErrorResponse:
    return _invalid_proof(f"'{claim}' claim in the DPoP proof JWT is invalid.")


MISSING: Final = _invalid_proof("The DPoP proof JWT header is missing.")
MULTIPLE: Final = _invalid_proof("There must be one DPoP proof JWT header.")
UNREADABLE: Final = _invalid_proof("DPoP proof JWT cannot be parsed.")
WRONG_TYPE: Final = _invalid_proof("'typ' in the DPoP proof JWT header must be dpop+jwt.")
WRONG_ALGORITHM: Final = _invalid_proof(
    f"'alg' in the DPoP proof JWT header must be one of {', '.join(SIGNATURES)}."
)
WRONG_KEY: Final = _invalid_proof(
    "'jwk' in the DPoP proof JWT header must be a public key, and RSA or EC."
)
WRONG_JTI: Final = _invalid_claim("jti")
WRONG_SIGNATURE: Final = _invalid_proof("The DPoP proof JWT signature is invalid.")
ALREADY_USED: Final = _invalid_proof("The DPoP proof JWT has already been used.")


@dataclass(frozen=True, slots=True)
class Proof:
    """The claims of a DPoP proof, and the error response if the proof breaks a rule.

    Args:
        jkt: The thumbprint of the key in the proof (RFC 7638) if the signature is valid, else
            ``None``.
        jti: The ``jti`` if the signature is valid, else ``None``. A valid signature uses up the
            ``jti``, even if the proof breaks another rule.
        nonce: The ``nonce``, or ``None``.
        expires_at: When the proof becomes too old, in seconds since the epoch.
        error: The error response to the first broken rule; ``None`` if the proof is valid.
    """

    jkt: str | None = None
    jti: str | None = None
    nonce: str | None = field(default=None, repr=False)
    expires_at: float = 0.0
    error: ErrorResponse | None = None


def check_proof(
    headers: Sequence[str], *, method: str, url: str, now: float, token: str | None = None
) -> Proof:
    """Check the DPoP proof of a request, except the nonce and the ``jti``.

    Args:
        headers: The values of all ``DPoP`` headers.
        method: The HTTP method of the request.
        url: The URL of the request, without the query.
        now: The server's time in seconds since the epoch.
        token: The access token in the request if the request is for a resource, else ``None``.

    Returns:
        The claims of the proof, with the error response if there is one.

    Raises:
        ImportError: The extra ``jwt`` is not installed.
    """
    if len(headers) != 1:
        return Proof(error=MULTIPLE if headers else MISSING)
    jwt = parse_jwt(headers[0])
    if jwt is None:
        return Proof(error=UNREADABLE)
    if jwt.header.get("typ") != "dpop+jwt":
        return Proof(error=WRONG_TYPE)
    if jwt.algorithm not in SIGNATURES:
        return Proof(error=WRONG_ALGORITHM)
    thumbprint = _verified_thumbprint(jwt)
    if isinstance(thumbprint, ErrorResponse):
        return Proof(error=thumbprint)
    issued = number_claim(jwt.claims.get("iat"))
    return Proof(
        jkt=thumbprint,
        jti=text_claim(jwt.claims.get("jti")) or None,
        nonce=text_claim(jwt.claims.get("nonce")) or None,
        expires_at=now if issued is None else issued + MAX_AGE,
        error=_target_error(jwt, method, url)
        or _time_error(issued, now)
        or _hash_error(jwt, token),
    )


def _verified_thumbprint(jwt: Jwt) -> str | ErrorResponse:
    """Return the thumbprint of the key in a proof, if that key made the signature."""
    # The extra is imported only when it is needed.
    from okta_tokens.sandbox import _keys  # noqa: PLC0415

    jwk = jwt.header.get("jwk")
    if not isinstance(jwk, dict):
        return WRONG_KEY
    try:
        key = _keys.public_key(jwk)
    except ValueError:
        return WRONG_KEY
    return key.thumbprint() if _keys.verify_signature(jwt.encoded, key) else WRONG_SIGNATURE


def _target_error(jwt: Jwt, method: str, url: str) -> ErrorResponse | None:
    if jwt.claims.get("htm") != method:
        return _invalid_claim("htm")
    return None if jwt.claims.get("htu") == expected_htu(url) else _invalid_claim("htu")


def expected_htu(url: str) -> str:
    """Return the ``htu`` that Okta expects for a URL.

    Okta decodes the path before the comparison, except the characters that would make it an
    invalid URL.
    """
    return unquote(url).translate(_REENCODED)


def _time_error(issued: float | None, now: float) -> ErrorResponse | None:
    if issued is None or not now - MAX_AGE <= issued <= now + MAX_AHEAD:
        return _invalid_claim("iat")
    return None


def _hash_error(jwt: Jwt, token: str | None) -> ErrorResponse | None:
    if token is None:
        return None
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
    expected = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return None if jwt.claims.get("ath") == expected else _invalid_claim("ath")
