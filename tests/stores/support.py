"""A store in memory, with a clock that a test moves."""

from __future__ import annotations

import asyncio

from okta_tokens import Clock, TokenKey
from okta_tokens.stores import SharedToken, UnreadableEntry


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
        self.leases: dict[object, tuple[str, float]] = {}
        self.pauses: dict[object, tuple[float, float]] = {}
        self._clock = clock

    async def load(self, key: TokenKey) -> tuple[SharedToken, float] | None:
        """See `TokenStore`."""
        now = await self._now("load")
        token, end = self.tokens.get(_name(key), (None, 0.0))
        if token is None or end <= now:
            return None
        if self.garbled:
            raise UnreadableEntry
        return token, end - now

    async def save(self, key: TokenKey, token: SharedToken, seconds: float) -> None:
        """See `TokenStore`."""
        self.tokens[_name(key)] = token, await self._now("save") + seconds

    async def discard(self, key: TokenKey, value: str) -> None:
        """See `TokenStore`."""
        await self._now("discard")
        if self.garbled:
            raise UnreadableEntry
        if _name(key) in self.tokens and self.tokens[_name(key)][0].value == value:
            del self.tokens[_name(key)]

    async def acquire(self, key: TokenKey, seconds: float) -> str | None:
        """See `TokenStore`."""
        now = await self._now("acquire")
        if self.leases.get(_name(key), ("", 0.0))[1] > now:
            return None
        lease = f"lease {len(self.calls)}"
        self.leases[_name(key)] = lease, now + seconds
        return lease

    async def release(self, key: TokenKey, lease: str) -> None:
        """See `TokenStore`."""
        await self._now("release")
        if self.leases.get(_name(key), ("", 0.0))[0] == lease:
            del self.leases[_name(key)]

    async def pause(self, key: TokenKey, seconds: float, until: float) -> None:
        """See `TokenStore`."""
        end = await self._now("pause") + seconds
        self.pauses[_half(key)] = max(self.pauses.get(_half(key), (0.0, 0.0)), (end, until))

    async def paused(self, key: TokenKey) -> tuple[float, float] | None:
        """See `TokenStore`."""
        now = await self._now("paused")
        if self.garbled:
            raise UnreadableEntry
        end, until = self.pauses.get(_half(key), (0.0, 0.0))
        return (end - now, until) if end > now else None

    async def _now(self, call: str) -> float:
        self.calls.append(call)
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.error is not None:
            raise self.error
        await self._clock.sleep_until(self._clock.boot_time() + self.takes)
        return self._clock.boot_time()


def _name(key: TokenKey) -> object:
    dpop = key.client.dpop
    return (
        *(key.client.origin, key.authorization_server, key.client_id, key.scopes),
        None if dpop is None else dpop.thumbprint,
    )


def _half(key: TokenKey) -> object:
    return key.client.origin, key.authorization_server is None
