"""The clients that the server knows."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from okta_tokens.sandbox._algorithms import METHODS, PRIVATE_KEY_JWT, SECRET_METHODS

SCOPE_NAME: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §3.3

_PRINTABLE = re.compile(r"[\x20-\x7E]+")
_MAX_SECRETS: Final = 2
_MAX_KEYS: Final = 50


@dataclass(frozen=True)
class SandboxClient:
    """A client that the sandbox knows.

    Args:
        client_id: The id.
        secrets: One or two secrets, or none if there are keys. Two are both active, as in Okta
            while a secret is rotated.
        scopes: The scopes that the client's access policy grants. ``okta.*`` scopes are granted by
            the org server, all others by custom ones.
        methods: The authentication methods that are registered for the client; by default those
            that its secrets and keys allow. In Okta it is exactly one.
        active: Whether the client is active. An inactive one is refused.
        integration: Whether the client may use its secret at the org server. Okta
            lets only API service integrations do so; every other client needs ``private_key_jwt``.
        keys: Up to 50 public keys as JWKs (RFC 7517), RSA of 2048 bits at least, or EC on P-256,
            P-384 or P-521. Of several each needs a ``kid`` of its own. They need the extra ``jwt``.
        dpop: Whether each token request must carry a DPoP proof (RFC 9449), which in Okta is the
            default of a new service app.

    Raises:
        ValueError: Empty or unprintable id, a colon in it, neither a secret nor a key, more than
            two secrets, an empty or unprintable one, a scope outside RFC 6749 §3.3, no or an
            unknown method, more than 50 keys, a key that is private, malformed or of another type.
        ImportError: There are keys, and the extra ``jwt`` is not installed.
    """

    client_id: str
    secrets: Sequence[str] = field(default=(), repr=False)
    scopes: Collection[str] = field(default=(), kw_only=True)
    methods: Collection[str] = field(default=METHODS, kw_only=True)
    active: bool = field(default=True, kw_only=True)
    integration: bool = field(default=False, kw_only=True)
    keys: Sequence[Mapping[str, object]] = field(default=(), kw_only=True, repr=False, hash=False)
    dpop: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not _PRINTABLE.fullmatch(self.client_id) or ":" in self.client_id:
            raise ValueError("client_id must be printable ASCII without a colon")
        if isinstance(self.secrets, str):
            raise ValueError("secrets must be a sequence of one or two strings")  # noqa: TRY004 — a bad value like the others
        set_field = object.__setattr__  # normalises the fields of a frozen dataclass
        set_field(self, "secrets", tuple(self.secrets))
        set_field(self, "scopes", scope_set(self.scopes))
        set_field(self, "keys", tuple(dict(key) for key in self.keys))
        if self.methods is METHODS:
            allowed = (*SECRET_METHODS * bool(self.secrets), *[PRIVATE_KEY_JWT] * bool(self.keys))
            set_field(self, "methods", allowed)
        set_field(self, "methods", frozenset(self.methods))
        self._check_secrets()
        self._check_keys()
        if not self.methods or not set(METHODS).issuperset(self.methods):
            raise ValueError(f"methods must be of {', '.join(METHODS)}")

    def _check_secrets(self) -> None:
        if not self.secrets and not self.keys:
            raise ValueError("a client has secrets or keys")
        if len(self.secrets) > _MAX_SECRETS:
            raise ValueError("a client has no more than two secrets")
        if not all(_PRINTABLE.fullmatch(secret) for secret in self.secrets):
            raise ValueError("secrets must be printable ASCII, and not empty")

    def _check_keys(self) -> None:
        if not self.keys:
            return
        # The extra is loaded where it is needed, and not before.
        from okta_tokens.sandbox._keys import public_key  # noqa: PLC0415

        if len(self.keys) > _MAX_KEYS:
            raise ValueError(f"a client has no more than {_MAX_KEYS} keys")
        for key in self.keys:
            public_key(key)
        names = {key["kid"] for key in self.keys if "kid" in key}
        if len(self.keys) > 1 and len(names) < len(self.keys):
            raise ValueError("of several keys each must have a kid of its own")


def scope_set(scopes: str | Collection[str]) -> frozenset[str]:
    """Return `scopes`, a space-separated string or a collection of names, as a set.

    Raises:
        ValueError: A name has characters outside RFC 6749 §3.3.
    """
    names = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
    for name in names:
        if not SCOPE_NAME.fullmatch(name):
            raise ValueError(f"not a scope name: {name!r}")
    return names


DEFAULT_CLIENT: Final = SandboxClient(
    "0oasandbox0client0id",
    ("the-well-known-secret-of-the-sandbox",),  # long enough for client_secret_jwt
    scopes=("customScope", "orders:read", "orders:write"),
)
"""The client that a sandbox has when none is given. Its secret is no secret."""
