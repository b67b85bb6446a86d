"""What names a token in a shared store: opaque to the store, and a name only under a key."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256

from okta_tokens._auth.authentication import ClientAuthentication, credential_identity
from okta_tokens._model.client import OktaClient
from okta_tokens._model.key_identity import stored_values
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.immutable import Immutable
from okta_tokens._runtime.unserializable import Unserializable

_MIN_KEY = 32  # bytes


class StoreIdentity(Immutable, Unserializable):
    """An identity of something that a store keeps: of a token, or of a part of a domain.

    The identity of a token depends on everything that decides which token Okta issues, or who may
    have the token; the credential belongs to it. So the identity contains a digest of a secret. A
    store can use it for one thing: derive a name with a key of its own.

    Identities are hashable, and equal if the values are equal.

    Args:
        *values: Values that JSON can represent.
    """

    __slots__ = ("_digest",)

    _digest: bytes

    def __init__(self, *values: object) -> None:
        text = json.dumps(values, separators=(",", ":"))
        object.__setattr__(self, "_digest", sha256(text.encode()).digest())

    def name(self, key: bytes, kind: str, *values: str) -> str:
        """Return a name that reveals nothing to those who do not have the key.

        Args:
            key: A secret key of the store, at least 32 bytes.
            kind: What the name is for; each kind has its own name.
            *values: More values on which the name depends.

        Returns:
            43 characters of URL-safe base64: an HMAC with SHA-256.

        Raises:
            ValueError: If the key is too short.
        """
        if len(key) < _MIN_KEY:
            del self, key, values
            message = f"key: must have at least {_MIN_KEY} bytes; pass a random key of the store"
            raise ValueError(message)
        import hmac  # noqa: PLC0415 - only a store needs it

        context = json.dumps([kind, *values], separators=(",", ":")).encode()
        mac = hmac.digest(key, self._digest + context, "sha256")
        return urlsafe_b64encode(mac).decode().rstrip("=")

    def __eq__(self, other: object) -> bool:
        """Compare the values."""
        return isinstance(other, StoreIdentity) and self._digest == other._digest

    def __hash__(self) -> int:
        """Return a hash that is the same for equal identities."""
        return hash(self._digest)

    def __repr__(self) -> str:
        """Return the name of the class alone."""
        return "<StoreIdentity>"


def token_identity(key: TokenKey, method: ClientAuthentication) -> StoreIdentity | None:
    """Return the identity of a token in a store.

    Args:
        key: The key of the token.
        method: The authentication with the credential that fetches the token.

    Returns:
        The identity; `None` if the credential has no stable identity, so that no process can tell
        whether it has the same credential.
    """
    credential = credential_identity(method)
    return None if credential is None else StoreIdentity(*stored_values(key, credential))


def domain_identity(key: TokenKey) -> StoreIdentity:
    """Return the identity of the part of a domain for which Okta counts requests together.

    A domain has two parts: its org authorization server, and all its custom authorization servers
    together.

    Args:
        key: A key of the part.
    """
    return part_identity(key.client)


def part_identity(client: OktaClient) -> StoreIdentity:
    """Return the identity of the part of a domain to which a client's authorization server belongs.

    Args:
        client: The client.
    """
    return StoreIdentity(client.origin, client.authorization_server is None)


def client_identity(client: OktaClient) -> StoreIdentity:
    """Return the identity of a client, whatever its credential.

    Args:
        client: The client.
    """
    return StoreIdentity(client.origin, client.authorization_server, client.client_id)
