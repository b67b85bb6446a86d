"""Public keys in files: PEM, a JWK or a JWK Set."""

from __future__ import annotations

import json
import warnings
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path

_MAX_FILE = 64 * 1024


def public_keys(path: str) -> list[Mapping[str, object]]:
    """Return the public keys in a file as JWKs (RFC 7517); whether they are any good, is not asked.

    Args:
        path: The file. PEM holds one key, without an id.

    Raises:
        ArgumentTypeError: If it cannot be read, or holds no key, or a private one in PEM.
    """
    try:
        with Path(path).open(encoding="ascii") as file:
            text = file.read(_MAX_FILE)
    except (OSError, ValueError):
        raise ArgumentTypeError(f"{path!r} cannot be read as a file of a key") from None
    if "PRIVATE KEY-----" in text:
        raise ArgumentTypeError(
            f"{path!r} holds a private key; openssl pkey -pubout makes its public one"
        )
    keys = _from_pem(text) if "-----BEGIN PUBLIC KEY-----" in text else _from_json(text)
    if not keys or not all(isinstance(key, Mapping) for key in keys):
        raise ArgumentTypeError(f"{path!r} holds neither a public key as PEM nor a JWK")
    return keys


def _from_pem(text: str) -> list[Mapping[str, object]]:
    try:
        from joserfc.errors import JoseError  # noqa: PLC0415 - of an extra
        from joserfc.jwk import ECKey, RSAKey  # noqa: PLC0415 - of an extra
    except ImportError:
        raise ArgumentTypeError(
            "a key takes an extra to read: pip install 'okta-tokens[jwt]'"
        ) from None

    for kind in (RSAKey, ECKey):
        try:
            with warnings.catch_warnings(action="ignore"):  # the sandbox refuses what is too small
                return [{**kind.import_key(text).as_dict(private=False)}]
        except (JoseError, ValueError, KeyError):  # KeyError: a curve that it does not know
            continue
    return []


def _from_json(text: str) -> list[Mapping[str, object]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    keys = value.get("keys", [value])
    return keys if isinstance(keys, list) else []
