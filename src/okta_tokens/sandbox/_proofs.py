"""DPoP proofs: that whoever calls holds the key that a token is bound to (RFC 9449 §4.3)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from okta_tokens.sandbox._algorithms import SIGNATURES
from okta_tokens.sandbox._answers import Refusal
from okta_tokens.sandbox._jwt import Jwt, date, read, text

OLDEST: Final = 60.0
"""Seconds since the ``iat`` of a proof in which it is accepted. Okta's number is not known."""
EARLIEST: Final = 5.0
"""Seconds that an ``iat`` may lie in the future."""

_REENCODED: Final = str.maketrans({"%": "%25", " ": "%20", '"': "%22", "#": "%23"})


def _invalid(description: str) -> Refusal:
    return Refusal(400, "invalid_dpop_proof", description)


def _wrong(claim: str) -> Refusal:
    return _invalid(f"'{claim}' claim in the DPoP proof JWT is invalid.")


MISSING: Final = _invalid("The DPoP proof JWT header is missing.")
MULTIPLE: Final = _invalid("There must be one DPoP proof JWT header.")
UNREADABLE: Final = _invalid("DPoP proof JWT cannot be parsed.")
WRONG_TYPE: Final = _invalid("'typ' in the DPoP proof JWT header must be dpop+jwt.")
WRONG_ALGORITHM: Final = _invalid(
    f"'alg' in the DPoP proof JWT header must be one of {', '.join(SIGNATURES)}."
)
WRONG_KEY: Final = _invalid(
    "'jwk' in the DPoP proof JWT header must be a public key, and RSA or EC."
)
WRONG_JTI: Final = _wrong("jti")
WRONG_SIGNATURE: Final = _invalid("The DPoP proof JWT signature is invalid.")
USED: Final = _invalid("The DPoP proof JWT has already been used.")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a DPoP proof says, and whether that counts.

    Args:
        jkt: The thumbprint of its key, if it is rightly signed (RFC 7638); else ``None``.
        jti: Its ``jti`` if it has one and is rightly signed, for then that is used; else ``None``.
        nonce: Its ``nonce``, or ``None``.
        until: When it is too old, in seconds since the epoch.
        refusal: Why it does not count, or ``None``. Nonce and ``jti`` are not judged here.
    """

    jkt: str | None = None
    jti: str | None = None
    nonce: str | None = field(default=None, repr=False)
    until: float = 0.0
    refusal: Refusal | None = None


def examine(
    headers: Sequence[str], *, method: str, url: str, now: float, token: str | None = None
) -> Proof:
    """Examine the DPoP proof of a request.

    Args:
        headers: The values of all ``DPoP`` headers.
        method: The method of the request.
        url: Its URL, as it was sent, without the query.
        now: Seconds since the epoch, by the server's clock.
        token: The access token in the request, if it is for a resource.

    Raises:
        ImportError: The extra ``jwt`` is not installed.
    """
    if len(headers) != 1:
        return Proof(refusal=MULTIPLE if headers else MISSING)
    jwt = read(headers[0])
    if jwt is None:
        return Proof(refusal=UNREADABLE)
    if jwt.header.get("typ") != "dpop+jwt":
        return Proof(refusal=WRONG_TYPE)
    if jwt.algorithm not in SIGNATURES:
        return Proof(refusal=WRONG_ALGORITHM)
    signer = _signer(jwt)
    if isinstance(signer, Refusal):
        return Proof(refusal=signer)
    issued = date(jwt.claims.get("iat"))
    return Proof(
        jkt=signer,
        jti=text(jwt.claims.get("jti")) or None,
        nonce=text(jwt.claims.get("nonce")) or None,
        until=now if issued is None else issued + OLDEST,
        refusal=_misdirected(jwt, method, url) or _untimely(issued, now) or _unbound(jwt, token),
    )


def _signer(jwt: Jwt) -> str | Refusal:
    """Return the thumbprint of the key that a proof contains and is signed with."""
    # The extra is loaded where it is needed, and not before.
    from okta_tokens.sandbox import _keys  # noqa: PLC0415

    jwk = jwt.header.get("jwk")
    if not isinstance(jwk, dict):
        return WRONG_KEY
    try:
        key = _keys.public_key(jwk)
    except ValueError:
        return WRONG_KEY
    return key.thumbprint() if _keys.signed_by(jwt.text, key) else WRONG_SIGNATURE


def _misdirected(jwt: Jwt, method: str, url: str) -> Refusal | None:
    if jwt.claims.get("htm") != method:
        return _wrong("htm")
    return None if jwt.claims.get("htu") == target(url) else _wrong("htu")


def target(url: str) -> str:
    """Return the ``htu`` of a URL as Okta expects it.

    Okta decodes the path before it compares; what would be no URL then stays encoded.
    """
    return unquote(url).translate(_REENCODED)


def _untimely(issued: float | None, now: float) -> Refusal | None:
    if issued is None or not now - OLDEST <= issued <= now + EARLIEST:
        return _wrong("iat")
    return None


def _unbound(jwt: Jwt, token: str | None) -> Refusal | None:
    if token is None:
        return None
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
    expected = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return None if jwt.claims.get("ath") == expected else _wrong("ath")
