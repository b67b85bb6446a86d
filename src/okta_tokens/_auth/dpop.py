"""Proofs of possession (RFC 9449): a token that is of use only to whoever has the key."""

from __future__ import annotations

import re
import uuid
from hashlib import sha256
from pathlib import Path

from okta_tokens._auth.signing import (
    ALGORITHMS,
    KeyMaterial,
    SigningKey,
    encode,
    generate_key,
    load_key,
    read_file,
    sign_jwt,
)
from okta_tokens.errors import ConfigurationError

_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # RFC 9449 section 8.1


def is_nonce(text: str) -> bool:
    """Tell whether a text is a DPoP nonce (RFC 9449 section 8.1) of at most 1,024 characters.

    Args:
        text: The value of a `DPoP-Nonce` header.
    """
    return _NONCE.fullmatch(text) is not None


class DPoP:
    """Ask for tokens that are bound to a key (RFC 9449), as Okta's API services apps do by default.

    Whoever steals such a token cannot use it: each request that carries it carries a proof as well,
    signed with the key. The extra `jwt` has what it takes.

    It belongs to the client that it is given to: two clients that share one share the key.

    Args:
        key: The private key, as for `PrivateKeyJWT`, but no callable, and not the key with which
            the client authenticates. None makes a new one, which is right unless tokens are shared
            by several processes.
        algorithm: `ES256`, `ES384`, `ES512`, `RS256`, `RS384` or `RS512`; if None, what the key is
            made for, and for a new one `ES256`. To make a key for RSA takes a moment, and to sign
            with it ten times as long.

    Raises:
        ConfigurationError: If the key cannot be used, as for `PrivateKeyJWT`.
    """

    __slots__ = ("_key",)

    def __init__(self, key: KeyMaterial | None = None, *, algorithm: str | None = None) -> None:
        loaded: SigningKey | str
        if algorithm is not None and algorithm not in ALGORITHMS:
            loaded = f"must be for one of the algorithms {', '.join(ALGORITHMS)}"
        elif key is None:
            loaded = generate_key(algorithm or "ES256")
        else:
            material = read_file(key) if isinstance(key, Path) else key
            loaded = load_key(material, algorithm=algorithm)
            del material
        if isinstance(loaded, str):
            del self, key, algorithm  # an error tracker records the locals of the frame that raises
            message = f"DPoP: the key {loaded}"
            raise ConfigurationError(message)
        self._key = loaded

    @property
    def algorithm(self) -> str:
        """How proofs are signed."""
        return self._key.algorithm

    @property
    def thumbprint(self) -> str:
        """The SHA-256 thumbprint of the key (RFC 7638): what a token is bound to; no secret."""
        return self._key.thumbprint

    def __eq__(self, other: object) -> bool:
        """Compare the keys."""
        return isinstance(other, DPoP) and self._key == other._key

    def __hash__(self) -> int:
        """Return a hash that fits the equality."""
        return hash(self._key)

    def __repr__(self) -> str:
        """Return which key it is; never the private part."""
        return f"DPoP({self._key!r})"

    async def prove(
        self, method: str, uri: str, now: float, *, nonce: str | None, token: str | None = None
    ) -> str:
        """Return a new proof, for one request (RFC 9449 section 4.2).

        Args:
            method: The request's HTTP method.
            uri: The request's URI without query and fragment.
            now: The present moment by the server's clock, in seconds since the epoch.
            nonce: What the server gave out to be repeated; None if it gave nothing.
            token: The access token that the request carries; None in a token request.

        Cancellation does not wait for a signature of RSA, which goes on in its thread.
        """
        claims: dict[str, object] = {
            "jti": uuid.uuid4().hex,
            "htm": method,
            "htu": uri,
            "iat": int(now),
        }
        if nonce is not None:
            claims["nonce"] = nonce
        if token is not None:
            claims["ath"] = encode(sha256(token.encode()).digest()).decode()
        header = {"typ": "dpop+jwt", "jwk": self._key.public_jwk}
        return await sign_jwt(self._key, claims, header)
