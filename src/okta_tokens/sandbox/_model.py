"""What the server knows: clients, tokens it issued, requests it received."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

CLIENT_SECRET_BASIC: Final = "client_secret_basic"  # noqa: S105 — a method's name
CLIENT_SECRET_POST: Final = "client_secret_post"  # noqa: S105 — a method's name
METHODS: Final = (CLIENT_SECRET_BASIC, CLIENT_SECRET_POST)

SCOPE_NAME: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §3.3

_PRINTABLE = re.compile(r"[\x20-\x7E]+")
_MAX_SECRETS = 2


@dataclass(frozen=True)
class SandboxClient:
    """A client that the sandbox knows.

    Args:
        client_id: The id.
        secrets: One or two secrets. Both are active, as in Okta while a secret is rotated.
        scopes: The scopes that the client's access policy grants. ``okta.*`` scopes are granted by
            the org server, all others by custom ones.
        methods: The authentication methods that are registered for the client. In Okta it is
            exactly one; the sandbox lets you register both secret methods.
        active: Whether the client is active. An inactive one is refused.
        integration: Whether the client may use its secret at the org server. Okta
            lets only API service integrations do so; every other client needs ``private_key_jwt``.

    Raises:
        ValueError: Empty or unprintable id, a colon in it, no or more than two secrets, an empty
            or unprintable one, a scope outside RFC 6749 §3.3, no or an unknown method.
    """

    client_id: str
    secrets: Sequence[str] = field(repr=False)
    scopes: Collection[str] = field(default=(), kw_only=True)
    methods: Collection[str] = field(default=METHODS, kw_only=True)
    active: bool = field(default=True, kw_only=True)
    integration: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not _PRINTABLE.fullmatch(self.client_id) or ":" in self.client_id:
            raise ValueError("client_id must be printable ASCII without a colon")
        if isinstance(self.secrets, str):
            raise ValueError("secrets must be a sequence of one or two strings")  # noqa: TRY004 — a bad value like the others
        set_field = object.__setattr__  # normalises the fields of a frozen dataclass
        set_field(self, "secrets", tuple(self.secrets))
        set_field(self, "scopes", scope_set(self.scopes))
        set_field(self, "methods", frozenset(self.methods))
        if not 1 <= len(self.secrets) <= _MAX_SECRETS:
            raise ValueError("a client has one or two secrets")
        if not all(_PRINTABLE.fullmatch(secret) for secret in self.secrets):
            raise ValueError("secrets must be printable ASCII, and not empty")
        if not self.methods or not set(METHODS).issuperset(self.methods):
            raise ValueError(f"methods must be of {', '.join(METHODS)}")


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
    ("sandbox-client-secret",),
    scopes=("customScope", "orders:read", "orders:write"),
)
"""The client that a sandbox has when none is given. Its secret is no secret."""


@dataclass(slots=True)
class IssuedToken:
    """A token that was issued.

    Args:
        value: What the client sends.
        client_id: Whom it was issued to.
        authorization_server: Who issued it; ``None`` is the org server.
        scopes: What it is good for, in the order of the request.
        issued_at: Seconds since the epoch.
        expires_at: Seconds since the epoch.
        revoked: Whether it was revoked.
    """

    value: str = field(repr=False)
    client_id: str
    authorization_server: str | None
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float
    revoked: bool = False

    def live(self, now: float) -> bool:
        """Return whether the token is neither expired nor revoked at `now`."""
        return not self.revoked and now < self.expires_at


class TokenRegistry:
    """The issued tokens, each remembered for an hour past its expiry."""

    REMEMBERED: Final = 3600.0
    """Seconds past expiry in which a token still counts as expired, not as unknown."""

    _SWEEP_FLOOR: Final = 1024

    def __init__(self) -> None:
        self._tokens: dict[str, IssuedToken] = {}
        self._sweep_at = self._SWEEP_FLOOR

    def __len__(self) -> int:
        return len(self._tokens)

    def issue(
        self,
        client_id: str,
        authorization_server: str | None,
        scopes: tuple[str, ...],
        *,
        now: float,
        lifetime: int,
    ) -> IssuedToken:
        """Issue and remember a token that lives from `now` for `lifetime` seconds."""
        if len(self._tokens) >= self._sweep_at:
            self._sweep(now)
        # Opaque. A signed token would be made here, of the same arguments.
        value = secrets.token_urlsafe(48)
        token = IssuedToken(value, client_id, authorization_server, scopes, now, now + lifetime)
        self._tokens[value] = token
        return token

    def find(self, value: str) -> IssuedToken | None:
        """Return the token with this value, live or not."""
        return self._tokens.get(value)

    def revoke(self, value: str) -> bool:
        """Revoke the token with this value; return whether it was known and not yet revoked."""
        token = self._tokens.get(value)
        if token is None or token.revoked:
            return False
        token.revoked = True
        return True

    def revoke_all(self, client_id: str | None = None) -> int:
        """Revoke all tokens, or all of one client; return how many."""
        return sum(
            self.revoke(token.value)
            for token in self._tokens.values()
            if client_id is None or token.client_id == client_id
        )

    def _sweep(self, now: float) -> None:
        oldest = now - self.REMEMBERED
        self._tokens = {v: t for v, t in self._tokens.items() if t.expires_at > oldest}
        self._sweep_at = max(self._SWEEP_FLOOR, 2 * len(self._tokens))


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request to a token, revocation or introspection endpoint. Holds no secret and no token.

    Args:
        at: When it arrived, in seconds since the epoch.
        path: The path, without the query.
        client_id: The client id it carried, or ``None``.
        method: How the client authenticated: ``client_secret_basic``, ``client_secret_post``,
            ``client_assertion``, ``multiple``, or ``None``.
        scopes: The scopes it asked for, in its order.
        user_agent: The ``User-Agent`` header.
        retry_for: The ``X-Okta-Retry-For`` header.
        retry_count: The ``X-Okta-Retry-Count`` header.
        request_id: The ``X-Okta-Request-Id`` it was answered with.
        status: The status it was answered with; ``None`` if the connection was dropped instead.
        error: The error code in the answer, or ``None``.
    """

    at: float
    path: str
    client_id: str | None
    method: str | None
    scopes: tuple[str, ...]
    user_agent: str | None
    retry_for: str | None
    retry_count: str | None
    request_id: str
    status: int | None
    error: str | None
