"""Keys and signatures, by joserfc: the one module that needs the extra ``jwt``.

It is imported where a key or a signature is at hand, so that a sandbox of secrets needs no extra.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Final, TypeAlias, cast

from okta_tokens.sandbox._algorithms import HMACS, SIGNATURES

try:
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OctKey, RSAKey
except ImportError as error:
    raise ImportError(
        "the sandbox needs joserfc for keys and signed JWTs: pip install 'okta-tokens[jwt]'"
    ) from error

PublicKey: TypeAlias = ECKey | RSAKey

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518 §6
_COORDINATES: Final = {"P-256": 43, "P-384": 64, "P-521": 88}
"""Characters of a coordinate: leading zeros belong to it (RFC 7518 §6.2.1.2)."""
_SMALLEST_MODULUS: Final = 2048

_REGISTRY: Final = jws.JWSRegistry(
    algorithms=[*SIGNATURES, *HMACS],
    strict_check_header=False,  # RFC 7515 §4: what is not understood is ignored
)
_REGISTRY.max_header_length = 8192  # the header of a proof holds an RSA key
_REGISTRY.max_signature_length = 2048


def public_key(jwk: Mapping[str, object]) -> PublicKey:
    """Return the public key that a JWK holds (RFC 7517).

    Raises:
        ValueError: It is private, malformed, too small, not for signatures, or of another type than
            RSA and EC on P-256, P-384 or P-521. No part of the key is in the message.
    """
    if not _PRIVATE.isdisjoint(jwk):
        raise ValueError("a key must be public, and has private parts")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("a key must be for signatures")
    curve = jwk.get("crv")
    members = cast("dict[str, str | list[str]]", {**jwk})
    try:
        if jwk.get("kty") == "RSA":
            if _bits(jwk.get("n")) < _SMALLEST_MODULUS:
                raise ValueError("too small")  # noqa: TRY301 — told below, with all that is wrong
            return RSAKey.import_key(members)
        if jwk.get("kty") == "EC" and isinstance(curve, str) and curve in _COORDINATES:
            if {len(str(jwk.get(axis))) for axis in "xy"} != {_COORDINATES[curve]}:
                raise ValueError("shortened")  # noqa: TRY301 — as above
            return ECKey.import_key(members)
    except (JoseError, ValueError, TypeError):
        # Not chained: what a library says of a key may quote it.
        raise ValueError(
            f"a key must be a well-formed JWK, of {_SMALLEST_MODULUS} bits at least if it is RSA"
        ) from None
    raise ValueError(f"a key must be RSA, or EC on {', '.join(_COORDINATES)}")


def _bits(modulus: object) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(f"{modulus}==")).bit_length()


def signed_by(jwt: str, key: PublicKey) -> bool:
    """Return whether the JWT, whose algorithm is one of Okta's, was signed by that key's holder."""
    return _verified(jwt, key)


def signed_with(jwt: str, secret: str) -> bool:
    """Return whether the JWT carries an HMAC that was made with `secret`."""
    return _verified(jwt, OctKey.import_key(secret))


def _verified(jwt: str, key: PublicKey | OctKey) -> bool:
    try:
        jws.deserialize_compact(jwt, key, registry=_REGISTRY)
    except (JoseError, ValueError):
        return False
    return True


class SigningKey:
    """The RSA key that an authorization server signs its tokens with, made when first needed."""

    @cached_property
    def _key(self) -> RSAKey:
        return RSAKey.generate_key(auto_kid=True)

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return the claims as a JWT, with RS256 as Okta's."""
        header = {"alg": "RS256", "kid": self._key.kid}
        return jws.serialize_compact(header, json.dumps(claims), self._key, ["RS256"])

    def jwks(self) -> dict[str, object]:
        """Return the public key as a JWK Set (RFC 7517 §5)."""
        return {"keys": [self._key.as_dict(private=False, use="sig", alg="RS256")]}
