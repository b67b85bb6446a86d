"""The protocol of a shared store, and the values that a provider keeps in one."""

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
        scopes: The granted scopes.
        lifetime: Seconds from the token request to expiry.
        expires_at: When the token expires by Okta's clock, in seconds since the Unix epoch.
    """

    value: str = field(repr=False)
    token_type: str
    scopes: frozenset[str]
    lifetime: float
    expires_at: float


class UnreadableEntry(Exception):  # noqa: N818 - the store works; the entry is the problem
    """The entry for a key cannot be used: it cannot be decrypted, or its content is invalid."""


@runtime_checkable
class TokenStore(Protocol):
    """A place where processes share tokens, leases and pauses.

    The provider calls every method with a time limit of `timeout` seconds, and cancels a call that
    takes longer. A cancelled call may or may not take effect; it must not affect other calls, and
    must raise the cancellation. If a call raises an exception other than `UnreadableEntry`, or is
    cancelled, the provider considers the store unavailable, works without it, and tries again
    later.

    The provider calls the methods from one event loop, several at the same time. It may be used in
    a forked child, where it must not use the connections of the parent.

    All values must be encrypted and authenticated, so that a reader of the store learns no token,
    and a writer cannot make a process accept one.
    """

    @property
    def timeout(self) -> float:
        """The number of seconds that the provider waits for a call."""

    @property
    def lease(self) -> float:
        """The number of seconds that a process keeps a lease, if it does not release it."""

    async def load(self, key: TokenKey) -> tuple[SharedToken, float] | None:
        """Return the stored token of a key.

        Args:
            key: The key of the token.

        Returns:
            The token, and the number of seconds until the store removes it, by the store's own
            clock. `None` if no token is stored, its time is over, or its format is of a version
            that this process does not know.

        Raises:
            UnreadableEntry: If the stored entry cannot be used.
        """

    async def save(self, key: TokenKey, token: SharedToken, seconds: float) -> None:
        """Store a token, in place of any entry for its key, also an unreadable one.

        Args:
            key: The key of the token.
            token: The token.
            seconds: After how many seconds, by its own clock, the store removes the token.
        """

    async def discard(self, key: TokenKey, value: str) -> None:
        """Remove the token of a key if it has the given value; keep any other token.

        Another process may save a newer token during the call. The newer token must stay.

        Args:
            key: The key of the token.
            value: The value of the token to remove.

        Raises:
            UnreadableEntry: If the stored entry cannot be used.
        """

    async def acquire(self, key: TokenKey, seconds: float) -> str | None:
        """Take the lease of a key. The process with the lease fetches the token, others wait.

        Only one process at a time may get the lease of a key.

        Args:
            key: The key of the token.
            seconds: After how many seconds, by the store's own clock, the lease ends, so that
                another process can take over from one that died.

        Returns:
            The identifier of the lease, for `release`; `None` if another process has the lease.
        """

    async def release(self, key: TokenKey, lease: str) -> None:
        """End a lease before its time; do nothing if the lease has ended or another one began.

        Args:
            key: The key of the token.
            lease: The identifier that `acquire` returned.
        """

    async def pause(self, key: TokenKey, seconds: float, until: float) -> None:
        """Store a pause, during which no process requests tokens from a part of a domain.

        A domain has two parts, as Okta's rate limits have: its org authorization server, and all
        its custom authorization servers together. If a longer pause is stored, it stays.

        Args:
            key: A key of the part: its client's origin names the domain, and its authorization
                server is `None` for the org authorization server.
            seconds: After how many seconds, by the store's own clock, the pause ends.
            until: When the pause ends by Okta's clock, in seconds since the Unix epoch.
        """

    async def paused(self, key: TokenKey) -> tuple[float, float] | None:
        """Return the stored pause of the part of a domain to which a key belongs.

        Args:
            key: A key of the part, as for `pause`.

        Returns:
            The number of seconds until the pause ends, by the store's own clock, and when it ends
            by Okta's clock, in seconds since the Unix epoch. `None` if there is no pause.

        Raises:
            UnreadableEntry: If the stored entry cannot be used.
        """
