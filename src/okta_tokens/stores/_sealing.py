"""Seal what goes into a store: names that tell nothing, and entries that only their name opens.

From each key two others are derived (HKDF, RFC 5869): one for names, one for entries. A name is an
HMAC. An entry is a version, a nonce, and values that are encrypted and authenticated by AES-256-GCM
with version and name as associated data: what is copied to another name does not open there.
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NoBase64
from collections.abc import Iterable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from okta_tokens._model.token_key import TokenKey
from okta_tokens._sharing.store import SharedToken, UnreadableEntry

_VERSION = b"\x01"
_NONCE = 12
_KEY = 32


def generate_key() -> str:
    """Return a new key for a store: 32 random bytes in URL-safe base64."""
    return urlsafe_b64encode(os.urandom(_KEY)).decode()


class Sealer:
    """Seals and opens entries with one key.

    Args:
        secret: The key, 32 bytes.
    """

    __slots__ = ("_aead", "_name_key")

    def __init__(self, secret: bytes) -> None:
        self._name_key = _derive(secret, b"okta-tokens store v1: names")
        self._aead = AESGCM(_derive(secret, b"okta-tokens store v1: entries"))

    def name(self, *what: object) -> str:
        """Return the name of something, which tells nothing of what it is.

        Args:
            *what: Plain values.
        """
        mac = HMAC(self._name_key, SHA256())
        mac.update(json.dumps(what, separators=(",", ":")).encode())
        return urlsafe_b64encode(mac.finalize()).decode().rstrip("=")

    def seal(self, name: str, *fields: object) -> bytes:
        """Return plain values as an entry.

        Args:
            name: Under which it is kept.
            *fields: The values.
        """
        nonce = os.urandom(_NONCE)
        plain = json.dumps(fields, separators=(",", ":")).encode()
        return _VERSION + nonce + self._aead.encrypt(nonce, plain, _VERSION + name.encode())

    def open(self, name: str, entry: bytes) -> list[Any] | None:
        """Return the values of an entry; None if that is of another version.

        Args:
            name: Under which it was kept.
            entry: What was kept.

        Raises:
            UnreadableEntry: If it was not sealed with this key, under this name.
        """
        if entry[:1] != _VERSION:
            return None
        nonce, sealed = entry[1 : 1 + _NONCE], entry[1 + _NONCE :]
        try:
            plain = self._aead.decrypt(nonce, sealed, _VERSION + name.encode())
        except (InvalidTag, ValueError):  # the latter, if it is too short
            plain = None
        if plain is None:
            message = "an entry of the store was not sealed with this key for this name"
            raise UnreadableEntry(message)
        fields: list[Any] = json.loads(plain)
        return fields


def seal_token(sealer: Sealer, name: str, token: SharedToken) -> bytes:
    """Return a token as an entry.

    Args:
        sealer: Seals it.
        name: Under which it is kept.
        token: The token.
    """
    scopes = sorted(token.scopes)
    return sealer.seal(
        name, token.value, token.token_type, scopes, token.lifetime, token.expires_at
    )


def open_token(sealer: Sealer, name: str, entry: bytes) -> SharedToken | None:
    """Return the token of an entry; None if that is of another version.

    Args:
        sealer: Opens it.
        name: Under which it was kept.
        entry: What was kept.

    Raises:
        UnreadableEntry: If it was not sealed with this key, under this name.
    """
    fields = sealer.open(name, entry)
    if fields is None:
        return None
    value, token_type, scopes, lifetime, expires_at = fields
    return SharedToken(value, token_type, frozenset(scopes), lifetime, expires_at)


def load_keys(keys: object) -> list[Sealer]:
    """Return a sealer for each key; none if there is no key, a wrong one, or the same one twice.

    Args:
        keys: As `generate_key` returns them, or as bytes.
    """
    given = [keys] if isinstance(keys, str | bytes) or not isinstance(keys, Iterable) else [*keys]
    secrets = [secret for key in given if (secret := _decode(key)) is not None]
    right = len(secrets) == len(given) == len({*secrets})
    return [Sealer(secret) for secret in secrets] if right else []


def _decode(key: object) -> bytes | None:
    if not isinstance(key, str | bytes):
        return None
    try:
        secret = urlsafe_b64decode(key)
    except (NoBase64, ValueError):  # the latter, if it is not ASCII
        return None
    return secret if len(secret) == _KEY else None


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY, None, purpose).derive(secret)


def describe(key: TokenKey) -> tuple[object, ...]:
    """Return what makes a key's token another one, for whoever holds the store's keys.

    The credential is not in it: it rotates, and callables are known to their own process alone.
    """
    dpop = key.client.dpop
    return (
        key.client.origin,
        key.authorization_server,
        key.client_id,
        None if dpop is None else dpop.thumbprint,
        sorted(key.scopes),
    )
