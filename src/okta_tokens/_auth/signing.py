"""Sign JSON Web Tokens (RFC 7515), and load the keys that sign them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from okta_tokens._auth.files import UnreadableFile, read_file
from okta_tokens._runtime.arguments import checked

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""The algorithms that Okta verifies with a public key, for assertions and proofs."""

_EC_SIGNATURES = {"ES256": 64, "ES384": 96, "ES512": 132}  # bytes
_NO_EXTRA = "needs the extra jwt to sign: pip install 'okta-tokens[jwt]'"


class PrivateKey(Protocol):
    """A private key object of the `cryptography` package."""

    def private_numbers(self) -> object:
        """Return the numbers of the key."""


KeyMaterial = str | bytes | Mapping[str, object] | Path | PrivateKey
"""A private key: PEM or a JWK as text, PEM or DER as bytes, a JWK, a file of one of them, or an
object of the `cryptography` package; see `PrivateKeyJWT`."""


class Signer(Protocol):
    """A key that signs; two signers are equal if key, id and algorithm are the same."""

    @property
    def algorithm(self) -> str:
        """The `alg` of the header."""

    @property
    def kid(self) -> str | None:
        """The `kid` of the header; `None` if the header has none."""

    @property
    def identity(self) -> str | None:
        """What identifies the key in every process; `None` if nothing does."""

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return the signature in the form of RFC 7518 section 3.

        Args:
            signing_input: The bytes to sign.
        """

    def __hash__(self) -> int:
        """Return a hash that is the same for equal signers."""


class SigningKey(Signer, Protocol):
    """A signer whose private key is in this process."""

    @property
    def thumbprint(self) -> str:
        """The SHA-256 JWK thumbprint (RFC 7638)."""

    @property
    def public_jwk(self) -> Mapping[str, object]:
        """The public key."""


async def sign_jwt(
    signer: Signer, claims: Mapping[str, object], header: Mapping[str, object]
) -> str:
    """Return a signed JWT in its compact form (RFC 7515 section 7.1).

    Args:
        signer: The key that signs.
        claims: The claims.
        header: The header without `alg`.
    """
    header = {"alg": signer.algorithm, **header}
    parts = [json.dumps(part).encode() for part in (header, claims)]
    signing_input = b".".join(map(encode, parts))
    return b".".join([signing_input, encode(await signer.sign(signing_input))]).decode()


def encode(data: bytes) -> bytes:
    """Return bytes in base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def read_material(key: object) -> object:
    """Return the content of a key file, an `UnreadableFile`, or the key itself if it is no path.

    Args:
        key: The key, in any form of `KeyMaterial`. The code of its subclass is not run.
    """
    return read_file(cast("Path", key)) if issubclass(type(key), Path) else key


def load_key(
    material: object, *, kid: str | None = None, algorithm: str | None = None
) -> SigningKey | str:
    """Return a key that signs, or what is wrong with the key.

    The problem is the end of a sentence that begins with "the key". It is returned, not raised,
    because this frame has seen the key.

    Args:
        material: The key, in any form of `KeyMaterial` except a path; or an `UnreadableFile`.
        kid: The id of the key; `None` for the `kid` of the JWK.
        algorithm: The algorithm; `None` for the algorithm of the JWK, else of the key.
    """
    if type(material) is UnreadableFile:
        return material.problem
    try:
        from okta_tokens._auth.keys import parse_key  # noqa: PLC0415 - needs an extra; slow import
    except ImportError:
        return _NO_EXTRA
    return checked(
        lambda: parse_key(material, kid=kid, algorithm=algorithm),
        "cannot be read: its own code raises an error; give PEM as text",
    )


def load_thumbprint(material: object) -> tuple[str | None, str | None]:
    """Return the thumbprint of a public key (RFC 7638), and what is wrong with the key.

    One of them is `None`. The problem is the end of a sentence that begins with the key's name.

    Args:
        material: PEM or a JWK as text, PEM or DER as bytes, a JWK, or a key object of the
            `cryptography` package.
    """
    if type(material) is UnreadableFile:
        return None, material.problem
    try:
        from okta_tokens._auth.keys import public_thumbprint  # noqa: PLC0415 - as for `load_key`
    except ImportError:
        return None, "needs the extra jwt: pip install 'okta-tokens[jwt]'"
    problem = "cannot be read: its own code raises an error; give PEM as text"
    return checked(lambda: public_thumbprint(material), (None, problem))


def generate_key(algorithm: str) -> SigningKey | str:
    """Return a new key, or what is wrong, as `load_key` does.

    Args:
        algorithm: The algorithm of the key.
    """
    try:
        from okta_tokens._auth.keys import new_key  # noqa: PLC0415 - needs an extra; slow import
    except ImportError:
        return _NO_EXTRA
    return new_key(algorithm)


def raw_signature(signature: bytes, algorithm: str) -> bytes | None:
    """Return a signature in the form of RFC 7518 section 3.4, converted from DER if necessary.

    Args:
        signature: A signature that was made elsewhere. For an elliptic curve it is the bytes r and
            s, or DER.
        algorithm: The algorithm that made the signature.

    Returns:
        The signature, or `None` if the bytes cannot be a signature of the algorithm.
    """
    length = _EC_SIGNATURES.get(algorithm)
    if length is None or len(signature) == length:
        return signature or None
    try:
        from cryptography.hazmat.primitives.asymmetric import utils  # noqa: PLC0415 - needs an extra

        numbers = utils.decode_dss_signature(signature)
        return b"".join(number.to_bytes(length // 2, "big") for number in numbers)
    except (ImportError, ValueError, OverflowError):
        return None
