"""The clients that the sandbox knows."""

from __future__ import annotations

import re
import secrets as random_secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

from okta_tokens.sandbox._algorithms import METHODS, PRIVATE_KEY_JWT, SECRET_METHODS

SCOPE_NAME: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §3.3

_PRINTABLE = re.compile(r"[\x20-\x7E]+")
_MAX_SECRETS: Final = 2
_SECRET_BYTES: Final = 48  # 64 characters, as many as Okta's secrets have
_MAX_KEYS: Final = 50


@dataclass(frozen=True)
class SandboxClient:
    """A client that the sandbox knows.

    Args:
        client_id: The id.
        secrets: One or two secrets; none if the client has keys. Both secrets are active, as in
            Okta during the rotation of a secret.
        scopes: The scopes that the client's access policy grants. The org server grants ``okta.*``
            scopes, custom servers grant all others.
        methods: The authentication methods that are registered for the client; by default the
            methods that its secrets and keys allow. Okta registers exactly one.
        active: Whether the client is active. Requests of an inactive client are refused.
        integration: Whether the client may use its secret at the org server. Okta
            allows that only to API service integrations; other clients need ``private_key_jwt``.
        keys: Up to 50 public keys as JWKs (RFC 7517): RSA of 2048 bits or more, or EC on P-256,
            P-384 or P-521. If there are several keys, each needs its own ``kid``. Keys need the
            extra ``jwt``.
        dpop: Whether each token request must have a DPoP proof (RFC 9449). In Okta this is the
            default of a new service app.

    Raises:
        ValueError: The id is empty, unprintable or contains a colon; there is neither a secret nor
            a key; there are more than two secrets; a secret is empty or unprintable; a scope breaks
            RFC 6749 §3.3; there is no method or an unknown one; there are more than 50 keys; a key
            is private, malformed or of an unsupported type.
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
            raise ValueError(
                "client_id is empty, or has a colon or a character that is not printable ASCII. "
                "Use printable ASCII characters without a colon."
            )
        if isinstance(self.secrets, str):
            raise ValueError(  # noqa: TRY004 — the same error as for every other invalid value
                "secrets is a string. Use a list of one or two strings."
            )
        set_field = object.__setattr__  # the dataclass is frozen, its fields need normalization
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
            raise ValueError(
                "methods is empty, or has an unknown method. "
                f"Use one or more of {', '.join(METHODS)}."
            )

    def with_new_secret(self, secret: str | None = None, *, keep_old: bool = False) -> Self:
        """Return this client with another secret, the first of its `secrets`.

        Args:
            secret: The new secret; ``None`` makes a random one.
            keep_old: Whether the newest of the old secrets stays active, too.

        Raises:
            ValueError: The client has no secret, because it has keys; `secret` is empty or has a
                character that is not printable ASCII.
        """
        if not self.secrets:
            raise ValueError(
                "rotate_secret: the client has no secret, because it has keys. "
                "Name a client with a secret."
            )
        new = random_secrets.token_urlsafe(_SECRET_BYTES) if secret is None else secret
        return replace(self, secrets=[new, *self.secrets[:keep_old]])

    def _check_secrets(self) -> None:
        if not self.secrets and not self.keys:
            raise ValueError("secrets and keys are both empty. Give the client a secret or a key.")
        if len(self.secrets) > _MAX_SECRETS:
            raise ValueError("secrets has more than two secrets. Use one or two.")
        if not all(_PRINTABLE.fullmatch(secret) for secret in self.secrets):
            raise ValueError(
                "secrets: a secret is empty, or has a character that is not printable ASCII. "
                "Use printable ASCII characters."
            )

    def _check_keys(self) -> None:
        if not self.keys:
            return
        # The extra is imported only when it is needed.
        from okta_tokens.sandbox._keys import public_key  # noqa: PLC0415

        if len(self.keys) > _MAX_KEYS:
            raise ValueError(f"keys has more than {_MAX_KEYS} keys. Use {_MAX_KEYS} or fewer.")
        for key in self.keys:
            public_key(key)
        names = {key["kid"] for key in self.keys if "kid" in key}
        if len(self.keys) > 1 and len(names) < len(self.keys):
            raise ValueError(
                "keys: two keys have the same kid or none. Give each of several keys its own kid."
            )


def scope_set(scopes: str | Collection[str]) -> frozenset[str]:
    """Return a space-separated string or a collection of scope names as a set.

    Raises:
        ValueError: A name has a character that RFC 6749 §3.3 does not allow.
    """
    names = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
    for name in names:
        if not SCOPE_NAME.fullmatch(name):
            raise ValueError(
                f"scope {name!r} is invalid, because it is empty or has a character that RFC 6749 "
                '§3.3 does not allow. Use printable ASCII characters except space, " and \\.'
            )
    return names


DEFAULT_CLIENT: Final = SandboxClient(
    "0oasandbox0client0id",
    ("the-well-known-secret-of-the-sandbox",),  # long enough for client_secret_jwt
    scopes=("customScope", "orders:read", "orders:write"),
)
"""The client of a sandbox that was created without clients. Its secret is public."""
