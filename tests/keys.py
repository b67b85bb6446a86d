"""Keys for tests. Each run makes new ones."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from joserfc.jwt import Token, decode

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}


@cache
def rsa_key(bits: int = 2_048) -> rsa.RSAPrivateKey:
    """Return an RSA key. It is cached, because making one takes a tenth of a second."""
    return rsa.generate_private_key(65_537, bits)


@cache
def ec_key(algorithm: str = "ES256", number: int = 0) -> ec.EllipticCurvePrivateKey:
    """Return a key on an elliptic curve; each number has its own key."""
    return ec.generate_private_key(CURVES[algorithm]())


def pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    """Return a private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _encryption(password))


def der(key: PrivateKey, password: bytes | None = None) -> bytes:
    """Return a private key in DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, _encryption(password))


def old_pem(key: PrivateKey) -> bytes:
    """Return a private key in the form of PEM that is older than PKCS #8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public_pem(key: PrivateKey) -> bytes:
    """Return the public key in PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_der(key: PrivateKey) -> bytes:
    """Return the public key in DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: PrivateKey, **members: object) -> dict[str, object]:
    """Return a private key as a JWK with additional members."""
    return {**imported(key).as_dict(private=True), **members}


def public_jwk(key: PrivateKey, **members: object) -> dict[str, object]:
    """Return the public key as a JWK with additional members."""
    return {**imported(key).as_dict(private=False), **members}


def imported(key: PrivateKey) -> RSAKey | ECKey:
    """Return a key as a joserfc key."""
    return RSAKey.import_key(key) if isinstance(key, rsa.RSAPrivateKey) else ECKey.import_key(key)


def verified(token: str, key: PrivateKey) -> Token:
    """Verify the signature of a JWT, and return its header and claims."""
    algorithm = json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))["alg"]
    assert algorithm.startswith("RS" if isinstance(key, rsa.RSAPrivateKey) else "ES")
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = 2_048  # the public key of a proof
    return decode(token, imported(key), registry=registry)


def _encryption(password: bytes | None) -> KeySerializationEncryption:
    return NoEncryption() if password is None else BestAvailableEncryption(password)
