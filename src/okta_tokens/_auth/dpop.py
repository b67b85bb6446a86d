"""DPoP (RFC 9449): tokens that are bound to a key, and the proofs that a client has the key."""

from __future__ import annotations

import re
import uuid
from hashlib import sha256

from okta_tokens._auth.signing import (
    ALGORITHMS,
    KeyMaterial,
    SigningKey,
    encode,
    generate_key,
    load_key,
    read_material,
    sign_jwt,
)
from okta_tokens._runtime.arguments import text_of
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.errors import ConfigurationError

_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # RFC 9449 section 8.1


def is_nonce(text: str) -> bool:
    """Tell whether a text is a DPoP nonce (RFC 9449 section 8.1) of at most 1,024 characters.

    Args:
        text: The value of a `DPoP-Nonce` header.
    """
    return _NONCE.fullmatch(text) is not None


class DPoP(Unserializable):
    """A key to which the tokens of a client are bound (RFC 9449; Okta: "Configure OAuth 2.0 DPoP").

    Okta's API services apps require DPoP by default. A stolen token is useless without the key,
    because each request with the token carries a proof that is signed with the key. It needs the
    extra `jwt`. Two clients that get the same instance share the key.

    Args:
        key: The private key in any form that `PrivateKeyJWT` takes, except a callable. Do not use
            the key with which the client authenticates. `None` makes a new key; give a key if
            several processes share tokens.
        algorithm: `ES256`, `ES384`, `ES512`, `RS256`, `RS384` or `RS512`; `None` for the algorithm
            of the key, and `ES256` for a new key. To sign with RSA takes about ten times as long as
            with an elliptic curve.

    Raises:
        ConfigurationError: If the key cannot be used, see `PrivateKeyJWT`.
    """

    __slots__ = ("_key",)

    def __init__(self, key: KeyMaterial | None = None, *, algorithm: str | None = None) -> None:
        loaded: SigningKey | str
        wanted = text_of(algorithm)
        if algorithm is not None and wanted not in ALGORITHMS:
            loaded = f"must have one of the algorithms {', '.join(ALGORITHMS)}"
        elif key is None:
            loaded = generate_key(wanted or "ES256")
        else:
            loaded = load_key(read_material(key), algorithm=wanted)
        if isinstance(loaded, str):
            del self, key, algorithm, wanted  # an error tracker records the locals
            message = f"DPoP: the key {loaded}"
            raise ConfigurationError(message)
        self._key = loaded

    @property
    def algorithm(self) -> str:
        """The algorithm that signs the proofs."""
        return self._key.algorithm

    @property
    def thumbprint(self) -> str:
        """The SHA-256 thumbprint of the key (RFC 7638), to which tokens are bound; it is public."""
        return self._key.thumbprint

    def __eq__(self, other: object) -> bool:
        """Compare the keys."""
        return isinstance(other, DPoP) and self._key == other._key

    def __hash__(self) -> int:
        """Return a hash that is the same for equal keys."""
        return hash(self._key)

    def __repr__(self) -> str:
        """Return the algorithm and the thumbprint of the key; never the private part."""
        return f"DPoP({self._key!r})"

    async def prove(
        self, method: str, uri: str, now: float, *, nonce: str | None, token: str | None = None
    ) -> str:
        """Return a new proof for one request (RFC 9449 section 4.2).

        A cancelled call ends at once. A signature of RSA that has begun goes on in its thread.

        Args:
            method: The request's HTTP method.
            uri: The request's URI without query and fragment.
            now: The current time by the server's clock, in seconds since the epoch.
            nonce: The last nonce of the server; `None` if it sent none.
            token: The access token that the request carries; `None` for a token request.

        Returns:
            The value of the `DPoP` header.
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
            del token  # a cancellation passes the frames that await
        header = {"typ": "dpop+jwt", "jwk": self._key.public_jwk}
        return await sign_jwt(self._key, claims, header)
