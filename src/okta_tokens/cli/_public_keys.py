"""Public keys in files: PEM, a JWK or a JWK Set.

No message repeats the path, which may be a key that was given in place of a path.
"""

from __future__ import annotations

import json
import warnings
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path

_MAX_FILE = 64 * 1024


def public_keys(path: str) -> list[Mapping[str, object]]:
    """Load the public keys in a file as JWKs (RFC 7517), without checking how strong they are.

    Args:
        path: The file. A PEM file holds one key, without an id.

    Raises:
        ArgumentTypeError: If the file cannot be read, holds no key, or holds a private key as PEM.
    """
    try:
        with Path(path).open(encoding="ascii") as file:
            text = file.read(_MAX_FILE)
    except (OSError, ValueError):
        raise ArgumentTypeError(
            "the file cannot be read; check the path and its permissions"
        ) from None
    if "PRIVATE KEY-----" in text:
        raise ArgumentTypeError(
            "the file holds a private key; make its public key with openssl pkey -pubout"
        )
    keys = _from_pem(text) if "-----BEGIN PUBLIC KEY-----" in text else _from_json(text)
    if not keys or not all(isinstance(key, Mapping) for key in keys):
        raise ArgumentTypeError(
            "the file holds no public key; give a public RSA or EC key as PEM, a JWK or a JWK Set"
        )
    return keys


def _from_pem(text: str) -> list[Mapping[str, object]]:
    try:
        from joserfc.errors import JoseError  # noqa: PLC0415 - of an extra
        from joserfc.jwk import ECKey, RSAKey  # noqa: PLC0415 - of an extra
    except ImportError:
        raise ArgumentTypeError(
            "the file is PEM, which needs joserfc, which is not installed; run "
            "pip install 'okta-tokens[jwt]'"
        ) from None

    for kind in (RSAKey, ECKey):
        try:
            with warnings.catch_warnings(action="ignore"):  # the sandbox refuses small keys
                return [{**kind.import_key(text).as_dict(private=False)}]
        except (JoseError, ValueError, KeyError):  # KeyError: an unknown curve
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
