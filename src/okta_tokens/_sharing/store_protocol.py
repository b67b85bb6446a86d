"""The protocol of a shared store, and the values that a provider keeps in one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol, runtime_checkable

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._runtime.unserializable import Unserializable


class SharedToken(Unserializable):
    """A token as processes share it; its repr does not show the value.

    A store encrypts the five values and writes them in a format of its own.

    Args:
        value: The access token.
        token_type: `Bearer` or `DPoP`.
        scopes: The granted scopes.
        lifetime: Seconds from the token request to expiry.
        expires_at: When the token expires by Okta's clock, in seconds since the Unix epoch.
    """

    __slots__ = ("expires_at", "lifetime", "scopes", "token_type", "value")

    def __init__(
        self,
        value: str,
        token_type: str,
        scopes: frozenset[str],
        lifetime: float,
        expires_at: float,
    ) -> None:
        self.value: str = value
        self.token_type: str = token_type
        self.scopes: frozenset[str] = scopes
        self.lifetime: float = lifetime
        self.expires_at: float = expires_at

    def __repr__(self) -> str:
        """Return everything except the value."""
        return (
            f"SharedToken(token_type={self.token_type!r}, scopes={self.scopes!r}, "
            f"lifetime={self.lifetime!r}, expires_at={self.expires_at!r})"
        )

    def __eq__(self, other: object) -> bool:
        """Compare all values."""
        return isinstance(other, SharedToken) and self._values() == other._values()

    def __hash__(self) -> int:
        """Return a hash that is the same for equal tokens."""
        return hash(self._values())

    def _values(self) -> tuple[Hashable, ...]:
        return (self.value, self.token_type, self.scopes, self.lifetime, self.expires_at)


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
    and a writer cannot make a process accept one. An identity tells the store nothing: the store
    derives names from it with `StoreIdentity.name` and a key of its own.

    A store may have two more attributes for events. `host` names the server, for an outage.
    `host_without_tls` is the name of another machine to which the store is connected without TLS,
    or `None`; a provider that starts emits a warning that names the machine.
    """

    @property
    def timeout(self) -> float:
        """The number of seconds that the provider waits for a call."""

    @property
    def lease(self) -> float:
        """The number of seconds that a process keeps a lease, if it does not release it."""

    async def load(self, identity: StoreIdentity) -> tuple[SharedToken, float] | None:
        """Return the stored token of an identity.

        Args:
            identity: The identity of the token.

        Returns:
            The token, and the number of seconds until the store removes it, by the store's own
            clock. `None` if no token is stored, its time is over, its format is of a version that
            this process does not know, or the token was discarded.

        Raises:
            UnreadableEntry: If the stored entry cannot be used.
        """

    async def save(self, identity: StoreIdentity, token: SharedToken, seconds: float) -> None:
        """Store a token, in place of any entry for its identity, also an unreadable one.

        Args:
            identity: The identity of the token.
            token: The token.
            seconds: After how many seconds, by its own clock, the store removes the token.
        """

    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None:
        """Remove a token if it is stored, keep any other token, and remember that it was discarded.

        Another process may save a newer token during the call. The newer token must stay. If
        anyone puts the discarded token back, `load` must not return it.

        Args:
            identity: The identity of the token.
            value: The value of the token to remove.
            seconds: For how long to remember it.

        Raises:
            UnreadableEntry: If the stored entry cannot be used.
        """

    async def acquire(self, identity: StoreIdentity, seconds: float) -> str | None:
        """Take the lease of an identity. The process with the lease fetches the token, others wait.

        Only one process at a time may get the lease of an identity.

        Args:
            identity: The identity of the token.
            seconds: After how many seconds, by the store's own clock, the lease ends, so that
                another process can take over from one that died.

        Returns:
            The identifier of the lease, for `release`; `None` if another process has the lease.
        """

    async def release(self, identity: StoreIdentity, lease: str) -> None:
        """End a lease before its time; do nothing if the lease has ended or another one began.

        Args:
            identity: The identity of the token.
            lease: The identifier that `acquire` returned.
        """

    async def pause(self, identity: StoreIdentity, seconds: float, until: float) -> None:
        """Store a pause, during which no process requests tokens from a part of a domain.

        A domain has two parts, as Okta's rate limits have: its org authorization server, and all
        its custom authorization servers together. If a longer pause is stored, it stays.

        Args:
            identity: The identity of the part.
            seconds: After how many seconds, by the store's own clock, the pause ends.
            until: When the pause ends by Okta's clock, in seconds since the Unix epoch.
        """

    async def paused(self, identity: StoreIdentity) -> tuple[float, float] | None:
        """Return the stored pause of a part of a domain.

        Args:
            identity: The identity of the part.

        Returns:
            The number of seconds until the pause ends, by the store's own clock, and when it ends
            by Okta's clock, in seconds since the Unix epoch. `None` if there is no pause.

        Raises:
            UnreadableEntry: If the stored entry cannot be used.
        """
