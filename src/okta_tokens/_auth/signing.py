"""Signed JSON (RFC 7515): who signs it, and how it is put together."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""What Okta verifies with a public key, of assertions and of proofs."""

_EC_SIGNATURES = {"ES256": 64, "ES384": 96, "ES512": 132}  # bytes
_MAX_FILE = 64 * 1024
_NO_EXTRA = "takes an extra to sign with: pip install 'okta-tokens[jwt]'"


class PrivateKey(Protocol):
    """A private key object of the `cryptography` package."""

    def private_numbers(self) -> object:
        """Return what it is made of."""


KeyMaterial = str | bytes | Mapping[str, object] | Path | PrivateKey
"""A private key: PEM or a JWK as text, PEM or DER as bytes, a JWK, a file of one of them, or an
object of the `cryptography` package."""


class Signer(Protocol):
    """Signs; equal to another one if both sign with the same key, in the same way."""

    @property
    def algorithm(self) -> str:
        """How: the `alg` of the header."""

    @property
    def kid(self) -> str | None:
        """With which key: the `kid` of the header; None if it is not said."""

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return the signature, as RFC 7518 section 3 has it.

        Args:
            signing_input: What is signed.
        """

    def __hash__(self) -> int:
        """Return a hash that fits the equality."""


class SigningKey(Signer, Protocol):
    """A private key that signs."""

    @property
    def thumbprint(self) -> str:
        """Its SHA-256 JWK thumbprint (RFC 7638)."""

    @property
    def public_jwk(self) -> Mapping[str, object]:
        """The public key."""


async def sign_jwt(
    signer: Signer, claims: Mapping[str, object], header: Mapping[str, object]
) -> str:
    """Return a signed JWT in its compact form (RFC 7515 section 7.1).

    Args:
        signer: Signs it.
        claims: What it says.
        header: What its header says besides the algorithm.
    """
    parts = [json.dumps(it).encode() for it in ({"alg": signer.algorithm, **header}, claims)]
    signing_input = b".".join(map(encode, parts))
    return b".".join([signing_input, encode(await signer.sign(signing_input))]).decode()


def encode(octets: bytes) -> bytes:
    """Return octets in base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(octets).rstrip(b"=")


def read_file(path: Path) -> bytes:
    """Return what a file of a key holds; nothing if it cannot be read.

    Args:
        path: The file.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE)
    except (OSError, ValueError):
        return b""


def load_key(
    material: object, *, kid: str | None = None, algorithm: str | None = None
) -> SigningKey | str:
    """Return a key to sign with, or what is wrong, as the end of a sentence that begins with it.

    It is returned, not raised, since the frames here have seen the key.

    Args:
        material: The key, in any form of `KeyMaterial` but a path.
        kid: Its id; that of the JWK if None.
        algorithm: How it signs; as the JWK says, or the usual one for the key, if None.
    """
    try:
        from okta_tokens._auth.keys import read_key  # noqa: PLC0415 - of an extra, and slow to import
    except ImportError:
        return _NO_EXTRA
    return read_key(material, kid=kid, algorithm=algorithm)


def generate_key(algorithm: str) -> SigningKey | str:
    """Return a new key, or what is wrong; as `load_key` does.

    Args:
        algorithm: How it signs.
    """
    try:
        from okta_tokens._auth.keys import new_key  # noqa: PLC0415 - of an extra, and slow to import
    except ImportError:
        return _NO_EXTRA
    return new_key(algorithm)


def raw_signature(signature: bytes, algorithm: str) -> bytes | None:
    """Return a signature as RFC 7518 section 3.4 has it, also of one in DER; None if it is neither.

    Args:
        signature: What somebody else has signed; of a key on an elliptic curve in either form.
        algorithm: How.
    """
    length = _EC_SIGNATURES.get(algorithm)
    if length is None or len(signature) == length:
        return signature or None
    try:
        from cryptography.hazmat.primitives.asymmetric import utils  # noqa: PLC0415 - of an extra

        numbers = utils.decode_dss_signature(signature)
        return b"".join(number.to_bytes(length // 2, "big") for number in numbers)
    except (ImportError, ValueError, OverflowError):
        return None
