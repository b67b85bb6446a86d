"""Encrypt the entries of a store, and derive their names.

Each key yields two derived keys (HKDF, RFC 5869): one for names, one for entries. A name contains
an HMAC of the identity, so it reveals nothing. An entry consists of a version, a nonce, and values
that AES-256-GCM encrypts and authenticates. The version and the name are the associated data, so an
entry that is copied to another name cannot be decrypted there.
"""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._runtime.arguments import checked, text_of
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens._sharing.store_protocol import UnreadableEntry

T = TypeVar("T")

_VERSION = b"\x01"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")  # 32 bytes in URL-safe base64 (RFC 4648 section 5)


def generate_key() -> str:
    """Return a new key for a store: 32 random bytes in URL-safe base64."""
    return urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode()


class Sealer(Unserializable):
    """Names, encrypts and decrypts entries with one key.

    Args:
        secret: The key, 32 bytes.
    """

    __slots__ = ("_aead", "_name_key")

    def __init__(self, secret: bytes) -> None:
        self._name_key = _derive(secret, b"okta-tokens store v1: names")
        self._aead = AESGCM(_derive(secret, b"okta-tokens store v1: entries"))

    def name(self, identity: StoreIdentity, kind: str, *values: str) -> str:
        """Return the name of an entry, which reveals nothing.

        Args:
            identity: What the entry is about.
            kind: What the entry contains.
            *values: More values on which the name depends.

        Returns:
            43 characters of URL-safe base64.
        """
        return identity.name(self._name_key, kind, *values)

    def seal(self, name: str, *fields: object) -> bytes:
        """Encrypt values as an entry.

        Args:
            name: The name of the entry.
            *fields: Values that JSON can represent.
        """
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(fields, separators=(",", ":")).encode()
        return _VERSION + nonce + self._aead.encrypt(nonce, plain, _VERSION + name.encode())

    def open(self, name: str, entry: bytes) -> list[Any] | None:
        """Decrypt an entry.

        Args:
            name: The name of the entry.
            entry: The entry.

        Returns:
            The values; `None` if a version of this package that is unknown here wrote the entry.

        Raises:
            UnreadableEntry: If the entry was not encrypted with this key for this name.
        """
        if entry[:1] != _VERSION:
            return None
        nonce, sealed = entry[1 : 1 + _NONCE_BYTES], entry[1 + _NONCE_BYTES :]
        try:
            plain = self._aead.decrypt(nonce, sealed, _VERSION + name.encode())
        except (InvalidTag, ValueError):  # ValueError: the entry is too short
            plain = None
        if plain is None:  # raised here, so that the error has no context
            message = (
                "an entry in the store cannot be decrypted: it was damaged, copied to another "
                "name, or written by another program. The next fetch replaces it."
            )
            raise UnreadableEntry(message)
        fields: list[Any] = json.loads(plain)
        return fields


class Drawer:
    """The entries about one identity under one key.

    All names begin with the same text, whose part in braces decides where a cluster keeps an entry.

    Args:
        sealer: Names, encrypts and decrypts the entries.
        prefix: The beginning of the names of all entries.
        identity: What the entries are about.
    """

    __slots__ = ("_beginning", "_identity", "_sealer")

    def __init__(self, sealer: Sealer, prefix: str, identity: StoreIdentity) -> None:
        self._sealer = sealer
        self._identity = identity
        self._beginning = f"{prefix}{{{sealer.name(identity, 'tag')}}}:"

    def name(self, kind: str) -> str:
        """Return the name of an entry, or of a channel.

        Args:
            kind: What the entry contains.
        """
        return self._beginning + kind

    def digest(self, value: str) -> str:
        """Return what stands for a token of the identity among the discarded ones.

        Args:
            value: The value of the token.
        """
        return self._sealer.name(self._identity, "discarded", value)

    def name_with(self, kind: str, other: StoreIdentity) -> str:
        """Return the name of an entry that is about two identities, which a cluster keeps here.

        Args:
            kind: What the entry contains.
            other: The other identity.
        """
        return f"{self._beginning}{kind}:{self._sealer.name(other, kind)}"

    def seal(self, name: str, *fields: object) -> bytes:
        """Encrypt values as an entry.

        Args:
            name: The name of the entry.
            *fields: Values that JSON can represent.
        """
        return self._sealer.seal(name, *fields)

    def open(self, name: str, entry: bytes, make: Callable[..., T]) -> T | None:
        """Decrypt an entry.

        Args:
            name: The name of the entry.
            entry: The entry.
            make: Makes the record of the values; it raises a `TypeError` or `ValueError` if there
                is no such record.

        Returns:
            The record; `None` if a version of this package that is unknown here wrote the entry.

        Raises:
            UnreadableEntry: If the entry was not encrypted with this key for this name, or has
                other values.
        """
        fields = self._sealer.open(name, entry)
        if fields is None:
            return None
        with suppress(TypeError, ValueError):
            return make(*fields)
        del self, fields, make, entry
        message = "an entry in the store has other values than it should have"
        raise UnreadableEntry(message)


def load_keys(keys: object) -> list[Sealer]:
    """Make a sealer for each key.

    Args:
        keys: One key or several, as `generate_key` returns them, or as bytes.

    Returns:
        The sealers in the order of the keys. An empty list if there is no key, a key is invalid, or
        two keys are the same.
    """
    secrets = [_decode(key) for key in _items(keys)]
    valid = [secret for secret in secrets if secret is not None]
    are_valid = len(valid) == len(secrets) == len({*secrets})
    return [Sealer(secret) for secret in valid] if are_valid else []


def key_problem(keys: object) -> str:
    """Return what is wrong with keys of which `load_keys` makes no sealers, without the keys.

    Args:
        keys: What the user gave.
    """
    texts = [_text(key) or "" for key in _items(keys)]
    if any(len(_KEY.findall(text)) > 1 for text in texts):
        return "keys: one string holds several keys; split it, for example with .split()"
    if any(_KEY.fullmatch(text.strip()) for text in texts if text != text.strip()):
        return "keys: a key begins or ends with white space; remove it, for example with .strip()"
    return (
        "keys: must be one or more different keys of 32 bytes in URL-safe base64, 44 characters "
        "each, in a list; make a key with `okta-tokens store-key`"
    )


def is_key(text: str) -> bool:
    """Tell whether a text is a key.

    Args:
        text: A text that should be something else.
    """
    return _decode(text) is not None


def _items(keys: object) -> list[object]:
    """Return the keys in their order: of one key, of a list or a tuple."""
    kind = type(keys)
    if issubclass(kind, str | bytes):
        return [keys]
    if not issubclass(kind, list | tuple):  # a set has no first key
        return []
    return checked(lambda: [*cast("Iterable[object]", keys)], [])


def _text(key: object) -> str | None:
    if issubclass(type(key), bytes):
        return bytes.decode(cast("bytes", key), "latin-1")
    return text_of(key)


def _decode(key: object) -> bytes | None:
    """Return the bytes of a key. Python's decoder skips characters that are not base64."""
    text = _text(key)
    if text is None or not _KEY.fullmatch(text):
        return None
    secret = urlsafe_b64decode(text)
    return secret if urlsafe_b64encode(secret).decode() == text else None


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, None, purpose).derive(secret)
