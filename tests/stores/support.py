"""A store in memory, with a clock that a test moves."""

from __future__ import annotations

import asyncio

from okta_tokens import Clock, TokenKey
from okta_tokens._model.store_identity import token_identity
from okta_tokens.stores import SharedToken, StoreIdentity, UnreadableEntry


class MemoryTokenStore:
    """A store in this process that fails as a test says.

    Args:
        clock: The clock of the store.
    """

    def __init__(self, clock: Clock) -> None:
        self.timeout = 0.25
        self.lease = 5.0
        self.error: Exception | None = None
        """The error that every call raises."""
        self.hangs = False
        """Whether calls never end."""
        self.takes = 0.0
        """The duration of a call, in seconds."""
        self.garbled = False
        """Whether every entry is unreadable."""
        self.calls: list[str] = []
        """The names of the methods that were called, in order."""
        self.tokens: dict[object, tuple[SharedToken, float]] = {}
        self.discarded: dict[object, float] = {}
        self.leases: dict[object, tuple[str, float]] = {}
        self.pauses: dict[object, tuple[float, float]] = {}
        self._clock = clock

    async def load(self, identity: StoreIdentity) -> tuple[SharedToken, float] | None:
        """See `TokenStore`."""
        now = await self._now("load")
        token, end = self.tokens.get(identity, (None, 0.0))
        if token is None or end <= now:
            return None
        if self.garbled:
            raise UnreadableEntry
        if self.discarded.get((identity, token.value), 0.0) > now:
            return None
        return token, end - now

    async def save(self, identity: StoreIdentity, token: SharedToken, seconds: float) -> None:
        """See `TokenStore`."""
        self.tokens[identity] = token, await self._now("save") + seconds

    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None:
        """See `TokenStore`."""
        self.discarded[identity, value] = await self._now("discard") + seconds
        if self.garbled:
            raise UnreadableEntry
        if identity in self.tokens and self.tokens[identity][0].value == value:
            del self.tokens[identity]

    async def acquire(self, identity: StoreIdentity, seconds: float) -> str | None:
        """See `TokenStore`."""
        now = await self._now("acquire")
        if self.leases.get(identity, ("", 0.0))[1] > now:
            return None
        lease = f"lease {len(self.calls)}"
        self.leases[identity] = lease, now + seconds
        return lease

    async def release(self, identity: StoreIdentity, lease: str) -> None:
        """See `TokenStore`."""
        await self._now("release")
        if self.leases.get(identity, ("", 0.0))[0] == lease:
            del self.leases[identity]

    async def pause(self, identity: StoreIdentity, seconds: float, until: float) -> None:
        """See `TokenStore`."""
        end = await self._now("pause") + seconds
        self.pauses[identity] = max(self.pauses.get(identity, (0.0, 0.0)), (end, until))

    async def paused(self, identity: StoreIdentity) -> tuple[float, float] | None:
        """See `TokenStore`."""
        now = await self._now("paused")
        if self.garbled:
            raise UnreadableEntry
        end, until = self.pauses.get(identity, (0.0, 0.0))
        return (end - now, until) if end > now else None

    async def _now(self, call: str) -> float:
        self.calls.append(call)
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.error is not None:
            raise self.error
        await self._clock.sleep_until(self._clock.boot_time() + self.takes)
        return self._clock.boot_time()


def identity_of(key: TokenKey) -> StoreIdentity:
    """Return the identity of the token of a key whose client has a fixed credential."""
    identity = token_identity(key, key.client.authentication)
    assert identity is not None
    return identity
