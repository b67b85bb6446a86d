"""Private keys: parse every form of them, check them, and sign with them. It needs the extra."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from threading import Lock
from typing import cast

from cachetools import LRUCache
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicKey,
    RSAPublicNumbers,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
    rsa_recover_prime_factors,
)
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from cryptography.x509 import load_der_x509_certificate
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import base64_to_int

from okta_tokens._auth.key_forms import (
    CERTIFICATE,
    ENCRYPTED,
    PUBLIC,
    json_problem,
    plain_form,
    private_jwk,
)
from okta_tokens._runtime.unserializable import Unserializable

_RSA_ALGORITHMS = ("RS256", "RS384", "RS512")
_EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")
_MIN_RSA_KEY = 2_048  # bits; RFC 7518 section 3.3

_LABEL = 48  # bytes, which hold the label of a PEM block
_HEAD = 64  # bytes, which hold the content type of a PKCS #12 file
_PKCS7_DATA = bytes.fromhex("06092a864886f70d010701")

_MAX_LOADED = 64
_LOADED: LRUCache[bytes, RSAKey | ECKey] = LRUCache(_MAX_LOADED)
"""The keys of the last texts, by the digest of the text."""
_LOCK = Lock()  # worker threads load keys, too

_UNKNOWN_FORM = (
    "has no known form; give PEM or a JWK as text, PEM or DER as bytes, a JWK as a mapping, "
    "a pathlib.Path, or a key object of the cryptography package"
)
_EMPTY = "is empty; check where it comes from"
_PKCS12 = (
    "is a PKCS #12 file with a password; extract the key with `openssl pkcs12 -in FILE -nodes "
    "-nocerts -out key.pem`, and give the new file"
)
_WRONG_TYPE = "is neither RSA nor on one of the curves P-256, P-384 and P-521; make such a key"
_INCONSISTENT = "has numbers that do not belong together; export the key again"
_WRONG_ALGORITHM = "does not fit the algorithm; use"


class LoadedKey(Unserializable):
    """A private key that is ready to sign.

    Args:
        key: The key.
        algorithm: An algorithm that fits the key.
        kid: The id of the key; `None` if it has none.
    """

    __slots__ = ("_key", "_model", "algorithm", "kid", "public_jwk", "thumbprint")

    def __init__(self, key: RSAKey | ECKey, algorithm: str, kid: str | None = None) -> None:
        self._key = key
        self._model = JWSRegistry.algorithms[algorithm]
        self.algorithm = algorithm
        self.kid = kid
        self.thumbprint = key.thumbprint()
        """The SHA-256 JWK thumbprint (RFC 7638)."""
        self.public_jwk: Mapping[str, object] = key.as_dict(private=False)
        """The public key."""

    def __repr__(self) -> str:
        """Return the algorithm and the thumbprint, which is public."""
        return f"<{self.algorithm} key {self.thumbprint}>"

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return the signature in the form of RFC 7518 section 3.

        An RSA signature takes milliseconds, so a worker thread makes it and releases the
        interpreter meanwhile. A cancelled call ends at once; the thread goes on.

        Args:
            signing_input: The bytes to sign.
        """
        sign = partial(self._model.sign, signing_input, self._key)
        if isinstance(self._key, RSAKey):
            return await asyncio.to_thread(sign)
        return sign()

    def __eq__(self, other: object) -> bool:
        """Compare the key, its id and its algorithm."""
        return isinstance(other, LoadedKey) and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Return a hash that is the same for equal keys."""
        return hash(self._identity())

    @property
    def identity(self) -> str:
        """The thumbprint: it identifies the key in every process."""
        return self.thumbprint

    def _identity(self) -> tuple[str, str | None, str]:
        return (self.thumbprint, self.kid, self.algorithm)


def parse_key(material: object, *, kid: str | None, algorithm: str | None) -> LoadedKey | str:
    """Return a key that signs, or what is wrong with the key. `load_key` says more.

    Args:
        material: The key, in any form.
        kid: The id of the key; `None` for the `kid` of the JWK.
        algorithm: The algorithm; `None` for the algorithm of the JWK, else of the key.
    """
    plain = _plain(material, kid)
    key = plain if isinstance(plain, str) else _load(plain)
    if isinstance(key, str):
        return key
    members = plain if isinstance(plain, Mapping) else {}
    wanted = algorithm or members.get("alg")
    possible = _algorithms_of(key)
    if wanted and wanted not in possible:
        return f"{_WRONG_ALGORITHM} {' or '.join(possible)}"
    own_kid = members.get("kid")
    if kid is None and isinstance(own_kid, str) and own_kid:
        kid = own_kid
    return LoadedKey(key, cast("str", wanted or possible[0]), kid)


def new_key(algorithm: str) -> LoadedKey | str:
    """Return a new key, or what is wrong. `generate_key` says more.

    Args:
        algorithm: The algorithm of the key.
    """
    if algorithm in _CURVES:
        return LoadedKey(ECKey.generate_key(_CURVES[algorithm]), algorithm)
    if algorithm in _RSA_ALGORITHMS:
        return LoadedKey(RSAKey.generate_key(_MIN_RSA_KEY), algorithm)
    return f"has an unknown algorithm; use one of {', '.join((*_RSA_ALGORITHMS, *_CURVES))}"


def public_thumbprint(material: object) -> tuple[str | None, str | None]:
    """Return the thumbprint of a public key, and what is wrong. `load_thumbprint` says more.

    Args:
        material: The key, in any form.
    """
    if isinstance(material, str):
        material = material.replace("\\n", "\n").encode(errors="replace")
    jwk = material if isinstance(material, Mapping) else None
    if isinstance(material, bytes):
        jwk = _parse_json(material)
    if jwk is not None:
        members = {name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk}
        kind = ECKey if members.get("kty") == "EC" else RSAKey
        loaded: object = members
        is_private = "d" in jwk
    else:
        loaded = _load_public(material) if isinstance(material, bytes) else material
        kind = RSAKey if isinstance(loaded, RSAPublicKey) else ECKey
        is_private = hasattr(loaded, "private_bytes")
    if is_private:
        return None, "is a private key; give the public key"
    try:
        return kind.import_key(cast("dict[str, str | list[str]]", loaded)).thumbprint(), None
    except Exception:  # noqa: BLE001 - has many types, and texts that contain the members
        return None, (
            "is no public key of RSA or of an elliptic curve; give PEM or a JWK as text, PEM or "
            "DER as bytes, a JWK as a mapping, a pathlib.Path, or a key object of the "
            "cryptography package"
        )


def _load_public(material: bytes) -> object:
    load = load_pem_public_key if b"-----BEGIN " in material else load_der_public_key
    try:
        return load(material)
    except Exception:  # noqa: BLE001 - it may be a private key, which the caller must not give
        key = _plain(material, None)
        key = key if isinstance(key, str) else _load(key)
        return None if isinstance(key, str) else key.private_key


def _plain(material: object, kid: str | None) -> object:
    """Return a JWK, PEM, DER or a key object; or as a string what is wrong with the key."""
    if isinstance(material, str):
        material = material.encode(errors="replace")
    if isinstance(material, bytes):
        if not material.strip():
            return _EMPTY
        material = plain_form(material)
    if isinstance(material, bytes) and material.startswith(b"{"):
        material = _parse_json(material) or json_problem(material)
    return private_jwk(material, kid) if isinstance(material, Mapping) else material


def _parse_json(text: bytes) -> Mapping[str, object] | None:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _load(plain: object) -> RSAKey | ECKey | str:
    """Return the key of a JWK, PEM, DER or a key object, or what is wrong with it.

    The keys of the last texts are kept, for services that make their client for each request.
    """
    if isinstance(plain, bytes):
        text = plain
    elif isinstance(plain, Mapping):
        try:
            text = json.dumps({**plain}, sort_keys=True).encode()
        except (TypeError, ValueError):  # nothing but its JSON tells one key from another
            return _to_joserfc(_parse_jwk(plain))
    else:
        return _to_joserfc(plain)
    digest = blake2b(text, digest_size=32).digest()
    with _LOCK:
        known = _LOADED.get(digest)
    if known is not None:
        return known
    loaded = _to_joserfc(_parse_bytes(plain) if isinstance(plain, bytes) else _parse_jwk(plain))
    if not isinstance(loaded, str):
        with _LOCK:
            _LOADED[digest] = loaded
    return loaded


def _parse_jwk(jwk: Mapping[str, object]) -> object:
    kinds: dict[object, type[RSAKey | ECKey]] = {"RSA": RSAKey, "EC": ECKey}
    kind = kinds.get(jwk["kty"]) if isinstance(jwk.get("kty"), str) else None
    if kind is None:
        return _WRONG_TYPE
    if "d" not in jwk:
        return "is a JWK without `d`, so a public key; give the private key"
    if jwk.get("use", "sig") != "sig":
        return "is a JWK whose `use` is not sig; give a key for signing"
    members = {name: jwk[name] for name in ("kty", *kind.value_registry) if name in jwk}
    try:
        if kind is RSAKey:
            return _rsa_key(members)
        return kind.import_key(cast("dict[str, str | list[str]]", members)).private_key
    except Exception:  # noqa: BLE001 - has many types, and texts that contain the members
        return "is a JWK whose members do not make a key; export the key again"


def _rsa_key(jwk: Mapping[str, object]) -> RSAPrivateKey:
    """Return the key of a JWK; only the modulus and the two exponents are required."""
    n, e, d, *factors = (base64_to_int(cast("str", jwk[name])) for name in "nedpq" if name in jwk)
    p, q = factors or rsa_recover_prime_factors(n, e, d)
    numbers = RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa_crt_dmp1(d, p),
        dmq1=rsa_crt_dmq1(d, q),
        iqmp=rsa_crt_iqmp(p, q),
        public_numbers=RSAPublicNumbers(e, n),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _parse_bytes(text: bytes) -> object:
    is_pem = text.startswith(b"-----BEGIN ")
    load = load_pem_private_key if is_pem else load_der_private_key
    if b"OPENSSH" in text[:_LABEL]:
        load = load_ssh_private_key
    try:
        # OpenSSL would test whether the factors of an RSA key are primes. That takes up to a second
        # in which no other thread runs, not even the event loop's; `_is_consistent` takes 0.1 ms.
        return load(text, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        return ENCRYPTED
    except Exception:  # noqa: BLE001 - has many types, and the texts are not repeated
        return _UNKNOWN_FORM if is_pem else _other_der(text)


def _other_der(der: bytes) -> object:
    """Return the key of a PKCS #12 file, or what the DER is instead of a private key."""
    if _PKCS7_DATA in der[:_HEAD]:
        try:
            return load_key_and_certificates(der, None)[0] or CERTIFICATE
        except Exception:  # noqa: BLE001 - it needs a password, or is broken
            return _PKCS12
    if _is_public(der):
        return PUBLIC
    return CERTIFICATE if _is_certificate(der) else _UNKNOWN_FORM


def _is_certificate(der: bytes) -> bool:
    try:
        load_der_x509_certificate(der)
    except Exception:  # noqa: BLE001 - every failure says that it is no certificate
        return False
    return True


def _is_public(der: bytes) -> bool:
    try:
        load_der_public_key(der)
    except Exception:  # noqa: BLE001 - every failure says that it is not a public key
        return False
    return True


def _to_joserfc(key: object) -> RSAKey | ECKey | str:
    """Return a key of the cryptography package as a joserfc key, or what is wrong with it."""
    if isinstance(key, str):
        return key
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _MIN_RSA_KEY:
            return f"has {key.key_size} bits; use an RSA key with at least {_MIN_RSA_KEY} bits"
        return RSAKey.import_key(key) if _is_consistent(key) else _INCONSISTENT
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _EC_ALGORITHMS:
        return ECKey.import_key(key)
    if hasattr(key, "private_bytes"):
        return _WRONG_TYPE
    return PUBLIC if hasattr(key, "public_bytes") else _UNKNOWN_FORM


def _is_consistent(key: RSAPrivateKey) -> bool:
    """Tell whether the numbers of a key belong together (RFC 8017 section 3.2).

    If a character of a key is wrong, they do not.
    """
    numbers = key.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    e, n = numbers.public_numbers.e, numbers.public_numbers.n
    return (
        p * q == n
        and p % 2 == q % 2 == 1
        and min(p, q) > 1
        and e * d % (p - 1) == e * d % (q - 1) == 1
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and numbers.iqmp * q % p == 1
    )


def _algorithms_of(key: RSAKey | ECKey) -> tuple[str, ...]:
    if isinstance(key, RSAKey):
        return _RSA_ALGORITHMS
    return (_EC_ALGORITHMS[key.raw_value.curve.name],)
