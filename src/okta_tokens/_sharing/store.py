"""What a shared store is, as far as the provider knows: a protocol, and what is kept in one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from okta_tokens._model.token_key import TokenKey


@dataclass(frozen=True, slots=True)
class SharedToken:
    """A token as processes share it; its repr does not show the value.

    Args:
        value: The access token.
        token_type: `Bearer` or `DPoP`.
        scopes: What it holds.
        lifetime: Seconds from the request to expiry.
        expires_at: When it expires by Okta's clock, in seconds since the epoch.
    """

    value: str = field(repr=False)
    token_type: str
    scopes: frozenset[str]
    lifetime: float
    expires_at: float


class UnreadableEntry(Exception):  # noqa: N818 - it is no failure of the store's
    """Something is in the store that none of the keys opens, or that makes no sense."""


@runtime_checkable
class TokenStore(Protocol):
    """Where processes share tokens. What it raises makes the provider go on as if alone.

    Each call is cancelled when it takes longer than `timeout`. Nothing that is kept may be readable
    to whoever can read the store.
    """

    @property
    def timeout(self) -> float:
        """For how long the provider waits for a call, in seconds."""

    @property
    def lease(self) -> float:
        """For how long a process may be the one that fetches a token, in seconds."""

    async def load(self, key: TokenKey) -> tuple[SharedToken, float] | None:
        """Return the token that is kept for a key, and how long it will be; None if none is.

        Args:
            key: Which token.

        Returns:
            The seconds are by the store's own clock.

        Raises:
            UnreadableEntry: If what is kept cannot be used.
        """

    async def save(self, key: TokenKey, token: SharedToken, seconds: float) -> None:
        """Keep a token, in place of whatever is kept for its key.

        Args:
            key: Which token.
            token: The token.
            seconds: For how long, by the store's own clock.
        """

    async def discard(self, key: TokenKey, value: str) -> None:
        """Keep a token no more, if it is still this one.

        Args:
            key: Which token.
            value: The token's value.
        """

    async def acquire(self, key: TokenKey, seconds: float) -> str | None:
        """Take the lease of a key: whoever has it fetches the token, and the others wait for it.

        Args:
            key: Which token.
            seconds: For how long, by the store's own clock; then it is anybody's.

        Returns:
            What `release` takes; None if another process has the lease.
        """

    async def release(self, key: TokenKey, lease: str) -> None:
        """Give a lease back, if it is still this one.

        Args:
            key: Which token.
            lease: What `acquire` returned.
        """

    async def pause(self, key: TokenKey, seconds: float, until: float) -> None:
        """Let every process pause that would ask the same half of the key's domain.

        Args:
            key: Of which token; the custom authorization servers of a domain are one half of it,
                and the org's own is the other.
            seconds: For how long, by the store's own clock; a longer pause that is kept stays.
            until: Until when, by Okta's clock, in seconds since the epoch.
        """

    async def paused(self, key: TokenKey) -> tuple[float, float] | None:
        """Return how many seconds are left of such a pause, and until when it is; None if none is.

        Raises:
            UnreadableEntry: If what is kept cannot be used.
        """
