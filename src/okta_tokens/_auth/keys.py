"""Private keys: read from whatever form they come in, checked, and signed with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
)
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

_RSA_ALGORITHMS = ("RS256", "RS384", "RS512")
_EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

_MIN_RSA_KEY = 2_048  # bits; RFC 7518 §3.3

_NO_KEY = (
    "is none that can be used; give PEM or a JWK as text, PEM or DER as bytes, a JWK as a mapping, "
    "a pathlib.Path, or a key object of the cryptography package"
)
_EMPTY = "is empty, or its file cannot be read; check the path, and who may read it"
_PUBLIC = "is a public key; it takes the private one to sign"
_ENCRYPTED = "is encrypted; decrypt it first, or give a callable that does"
_WRONG_TYPE = "is neither an RSA key nor one of the curves P-256, P-384 and P-521"
_WRONG_ALGORITHM = "does not fit the algorithm; this one signs by"


class LoadedKey:
    """A private key that is ready to sign.

    Args:
        key: The key.
        algorithm: How it signs: one that fits it.
        kid: Its id; None if it has none.
    """

    __slots__ = ("_key", "_model", "algorithm", "kid", "public_jwk", "thumbprint")

    def __init__(self, key: RSAKey | ECKey, algorithm: str, kid: str | None = None) -> None:
        self._key = key
        self._model = JWSRegistry.algorithms[algorithm]
        self.algorithm = algorithm
        self.kid = kid
        self.thumbprint = key.thumbprint()
        """Its SHA-256 JWK thumbprint (RFC 7638)."""
        self.public_jwk: Mapping[str, object] = key.as_dict(private=False)
        """The public key."""

    def __repr__(self) -> str:
        """Return which key it is; its thumbprint is public."""
        return f"<{self.algorithm} key {self.thumbprint}>"

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return a signature.

        One of RSA takes milliseconds, so a worker thread makes it, in which it does not hold the
        interpreter up. Cancellation does not wait for it.

        Args:
            signing_input: What is signed.
        """
        sign = partial(self._model.sign, signing_input, self._key)
        if isinstance(self._key, RSAKey):
            return await asyncio.to_thread(sign)
        return sign()

    def __eq__(self, other: object) -> bool:
        """Compare the key, its id and the algorithm."""
        return isinstance(other, LoadedKey) and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Return a hash that fits the equality."""
        return hash(self._identity())

    def __deepcopy__(self, memo: object) -> LoadedKey:
        """Return itself: it is immutable."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as PKCS #8, like a secret that is pickled: unencrypted."""
        return (_revive, (self._key.as_der(private=True), self.kid, self.algorithm))

    def _identity(self) -> tuple[str, str | None, str]:
        return (self.thumbprint, self.kid, self.algorithm)


def read_key(material: object, *, kid: str | None, algorithm: str | None) -> LoadedKey | str:
    """Return a key to sign with, or what is wrong with it; `load_key` says more.

    Args:
        material: The key, in any form.
        kid: Its id; that of the JWK if None.
        algorithm: How it signs; as the JWK says, or the usual one for the key, if None.
    """
    if isinstance(material, str):
        # Environment files spell the line breaks of PEM.
        material = material.replace("\\n", "\n").encode(errors="replace")
    if material == b"":
        return _EMPTY
    jwk = _jwk_of(material)
    key = _import(_from_octets(material) if jwk is None else _from_jwk(jwk))
    if isinstance(key, str):
        return key
    members = jwk or {}
    wanted = algorithm or members.get("alg")
    fitting = _fitting(key)
    if wanted and wanted not in fitting:
        return f"{_WRONG_ALGORITHM} {' or '.join(fitting)}"
    own_kid = members.get("kid")
    if kid is None and isinstance(own_kid, str) and own_kid:
        kid = own_kid
    return LoadedKey(key, cast("str", wanted or fitting[0]), kid)


def new_key(algorithm: str) -> LoadedKey | str:
    """Return a new key, or what is wrong; `generate_key` says more.

    Args:
        algorithm: How it signs.
    """
    if algorithm in _CURVES:
        return LoadedKey(ECKey.generate_key(_CURVES[algorithm]), algorithm)
    if algorithm in _RSA_ALGORITHMS:
        return LoadedKey(RSAKey.generate_key(_MIN_RSA_KEY), algorithm)
    return f"has no known algorithm; there are {', '.join((*_RSA_ALGORITHMS, *_CURVES))}"


def _revive(der: bytes, kid: str | None, algorithm: str) -> LoadedKey:
    key = read_key(der, kid=kid, algorithm=algorithm)
    assert isinstance(key, LoadedKey)  # noqa: S101 - it was one
    return key


def _jwk_of(material: object) -> Mapping[str, object] | None:
    """Return a JWK, also of its JSON; None if it is none."""
    if isinstance(material, bytes):
        try:
            material = json.loads(material)
        except (ValueError, RecursionError):
            return None
    return material if isinstance(material, Mapping) else None


def _from_jwk(jwk: Mapping[str, object]) -> object:
    kinds: dict[object, type[RSAKey | ECKey]] = {"RSA": RSAKey, "EC": ECKey}
    kind = kinds.get(jwk["kty"]) if isinstance(jwk.get("kty"), str) else None
    if kind is None:
        return _WRONG_TYPE if "kty" in jwk else _NO_KEY
    if "d" not in jwk:
        return "is a JWK without `d`, so a public key; it takes the private one to sign"
    if jwk.get("use", "sig") != "sig":
        return "is a JWK whose `use` is not sig"
    members = {name: jwk[name] for name in ("kty", *kind.value_registry) if name in jwk}
    try:
        return kind.import_key(cast("dict[str, str | list[str]]", members)).private_key
    except Exception:  # noqa: BLE001 - of many kinds, and their texts hold its members
        return "is a JWK whose members do not make a key"


def _from_octets(material: object) -> object:
    if not isinstance(material, bytes):
        return material
    is_pem = b"-----BEGIN " in material
    if is_pem and (b"BEGIN PUBLIC" in material or b"BEGIN CERTIFICATE" in material):
        return _PUBLIC
    try:
        return (load_pem_private_key if is_pem else load_der_private_key)(material, None)
    except TypeError:
        return _ENCRYPTED
    except Exception:  # noqa: BLE001 - of many kinds, and whatever it says is not repeated
        return _PUBLIC if _is_public(material) else _NO_KEY


def _is_public(der: bytes) -> bool:
    try:
        load_der_public_key(der)
    except Exception:  # noqa: BLE001 - whatever it is then
        return False
    return True


def _import(key: object) -> RSAKey | ECKey | str:
    """Return a key of the cryptography package as one of joserfc's; or what is wrong with it."""
    if isinstance(key, str):
        return key
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _MIN_RSA_KEY:
            return f"has {key.key_size} bits; an RSA key takes {_MIN_RSA_KEY} at least"
        return RSAKey.import_key(key)
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _EC_ALGORITHMS:
        return ECKey.import_key(key)
    if hasattr(key, "private_bytes"):
        return _WRONG_TYPE
    return _PUBLIC if hasattr(key, "public_bytes") else _NO_KEY


def _fitting(key: RSAKey | ECKey) -> tuple[str, ...]:
    if isinstance(key, RSAKey):
        return _RSA_ALGORITHMS
    return (_EC_ALGORITHMS[key.raw_value.curve.name],)
