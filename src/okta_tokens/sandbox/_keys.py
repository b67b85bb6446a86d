"""Keys and signatures. This is the only module that needs the extra ``jwt`` (joserfc).

Other modules import this one inside functions, so that a sandbox without keys needs no extra.
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
        "joserfc is not installed. The sandbox needs it for keys and signed JWTs. "
        "Install it: pip install 'okta-tokens[jwt]'"
    ) from error

PublicKey: TypeAlias = ECKey | RSAKey

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518 §6
_COORDINATES: Final = {"P-256": 43, "P-384": 64, "P-521": 88}
"""Characters of a coordinate, leading zeros included (RFC 7518 §6.2.1.2)."""
_MIN_RSA_BITS: Final = 2048

_REGISTRY: Final = jws.JWSRegistry(
    algorithms=[*SIGNATURES, *HMACS],
    strict_check_header=False,  # RFC 7515 §4: unknown members are ignored
)
_REGISTRY.max_header_length = 8192  # the header of a proof contains an RSA key
_REGISTRY.max_signature_length = 2048


def public_key(jwk: Mapping[str, object]) -> PublicKey:
    """Return the public key in a JWK (RFC 7517).

    Raises:
        ValueError: The key is private, malformed, too small, not for signatures, or neither RSA nor
            EC on P-256, P-384 or P-521. The message contains no part of the key.
    """
    if not _PRIVATE.isdisjoint(jwk):
        raise ValueError("keys: a key has private parts. Give the sandbox only public keys.")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("keys: the use of a key is not 'sig'. Give the sandbox a signature key.")
    curve = jwk.get("crv")
    members = cast("dict[str, str | list[str]]", {**jwk})
    try:
        if jwk.get("kty") == "RSA":
            if _bits(jwk.get("n")) < _MIN_RSA_BITS:
                raise ValueError("too small")  # noqa: TRY301 — one message below for every defect
            return RSAKey.import_key(members)
        if jwk.get("kty") == "EC" and isinstance(curve, str) and curve in _COORDINATES:
            if {len(str(jwk.get(axis))) for axis in "xy"} != {_COORDINATES[curve]}:
                raise ValueError("wrong length")  # noqa: TRY301 — as above
            return ECKey.import_key(members)
    except (JoseError, ValueError, TypeError):
        # Not chained, because the library's message may quote the key.
        raise ValueError(
            "keys: a key is not a well-formed JWK, or is RSA and too short. "
            f"Give the sandbox a well-formed JWK; RSA needs {_MIN_RSA_BITS} bits or more."
        ) from None
    raise ValueError(
        "keys: the type of a key is not supported. "
        f"Give the sandbox a key that is RSA, or EC on {', '.join(_COORDINATES)}."
    )


def _bits(modulus: object) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(f"{modulus}==")).bit_length()


def verify_signature(jwt: str, key: PublicKey) -> bool:
    """Return whether `key` verifies the signature of a JWT with one of Okta's algorithms."""
    return _verify(jwt, key)


def verify_hmac(jwt: str, secret: str) -> bool:
    """Return whether `secret` verifies the HMAC of a JWT with one of Okta's algorithms."""
    return _verify(jwt, OctKey.import_key(secret))


def _verify(jwt: str, key: PublicKey | OctKey) -> bool:
    try:
        jws.deserialize_compact(jwt, key, registry=_REGISTRY)
    except (JoseError, ValueError):
        return False
    return True


class SigningKey:
    """The RSA key that signs the tokens. It is generated at the first use."""

    @cached_property
    def _key(self) -> RSAKey:
        return RSAKey.generate_key(auto_kid=True)

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return a JWT with the claims, signed with RS256 like Okta's tokens."""
        header = {"alg": "RS256", "kid": self._key.kid}
        return jws.serialize_compact(header, json.dumps(claims), self._key, ["RS256"])

    def jwks(self) -> dict[str, object]:
        """Return the public key as a JWK Set (RFC 7517 §5)."""
        return {"keys": [self._key.as_dict(private=False, use="sig", alg="RS256")]}
