"""Stores in memory, with a clock that a test moves."""

from __future__ import annotations

import asyncio
import math
from itertools import count

from okta_tokens import Clock, TokenKey
from okta_tokens._model.store_identity import token_identity
from okta_tokens.stores import (
    DomainState,
    NotificationsRefusedError,
    SharedFailure,
    SharedRejection,
    SharedToken,
    StoredState,
    StoreIdentity,
    UnreadableEntry,
)


class BasicMemoryStore:
    """A store in this process that fails as a test says, with the seven methods of `TokenStore`.

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
        self._lease_numbers = count()

    async def load(self, identity: StoreIdentity) -> tuple[SharedToken, float] | None:
        """See `TokenStore`."""
        return self._token(identity, await self._now("load"))

    async def save(self, identity: StoreIdentity, token: SharedToken, seconds: float) -> None:
        """See `TokenStore`."""
        self.tokens[identity] = token, await self._now("save") + seconds

    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None:
        """See `TokenStore`."""
        self._discard(identity, value, await self._now("discard") + seconds)

    async def acquire(self, identity: StoreIdentity, seconds: float) -> str | None:
        """See `TokenStore`."""
        now = await self._now("acquire")
        if self.leases.get(identity, ("", 0.0))[1] > now:
            return None
        lease = f"lease {next(self._lease_numbers)}"
        self.leases[identity] = lease, now + seconds
        return lease

    async def release(self, identity: StoreIdentity, lease: str) -> None:
        """See `TokenStore`."""
        await self._now("release")
        self._release(identity, lease)

    async def pause(self, identity: StoreIdentity, seconds: float, until: float) -> None:
        """See `TokenStore`."""
        end = await self._now("pause") + seconds
        self.pauses[identity] = max(self.pauses.get(identity, (0.0, 0.0)), (end, until))

    async def paused(self, identity: StoreIdentity) -> tuple[float, float] | None:
        """See `TokenStore`."""
        return self._pause(identity, await self._now("paused"))

    def _token(self, identity: StoreIdentity, now: float) -> tuple[SharedToken, float] | None:
        token, end = self.tokens.get(identity, (None, 0.0))
        if token is None or end <= now:
            return None
        if self.garbled:
            raise UnreadableEntry
        return None if self._is_discarded(identity, token.value, now) else (token, end - now)

    def _is_discarded(self, identity: StoreIdentity, value: str, now: float) -> bool:
        return self.discarded.get((identity, value), 0.0) > now

    def _discard(self, identity: StoreIdentity, value: str, end: float) -> None:
        self.discarded[identity, value] = end
        if self.garbled:
            raise UnreadableEntry
        if identity in self.tokens and self.tokens[identity][0].value == value:
            del self.tokens[identity]

    def _release(self, identity: StoreIdentity, lease: str) -> None:
        if self.leases.get(identity, ("", 0.0))[0] == lease:
            del self.leases[identity]

    def _pause(self, identity: StoreIdentity, now: float) -> tuple[float, float] | None:
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


class NotifyingMemoryStore(BasicMemoryStore):
    """A store in this process that also notifies.

    Args:
        clock: The clock of the store.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.notifies = True
        """Whether `subscribe` returns a subscription."""
        self.refuses_subscriptions = False
        """Whether the server refuses subscriptions."""
        self.subscriptions: dict[MemorySubscription, None] = {}
        """The open subscriptions of all processes, in the order in which they were opened."""

    async def save(self, identity: StoreIdentity, token: SharedToken, seconds: float) -> None:
        """See `TokenStore`."""
        await super().save(identity, token, seconds)
        self.notify(identity)

    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None:
        """See `TokenStore`."""
        try:
            await super().discard(identity, value, seconds)
        finally:
            self.notify(identity)

    async def release(self, identity: StoreIdentity, lease: str) -> None:
        """See `TokenStore`."""
        await super().release(identity, lease)
        self.notify(identity)

    async def subscribe(self, *identities: StoreIdentity) -> MemorySubscription | None:
        """See `NotifyingStore`."""
        await self._now("subscribe")
        if self.refuses_subscriptions:
            raise NotificationsRefusedError
        if not self.notifies:
            return None
        subscription = MemorySubscription(self)
        self.subscriptions[subscription] = None
        await subscription.add(*identities)
        return subscription

    def notify(self, identity: StoreIdentity) -> None:
        """Notify the processes that something about an identity changed."""
        for subscription in self.subscriptions:
            subscription.notify(identity)

    def disconnect(self) -> None:
        """Break the connections of all subscriptions."""
        for subscription in [*self.subscriptions]:
            subscription.disconnect()


class MemoryTokenStore(NotifyingMemoryStore):
    """A store in this process with both optional parts.

    Args:
        clock: The clock of the store.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.failures: dict[object, tuple[SharedFailure, float]] = {}
        self.rejections: dict[object, tuple[SharedRejection, float]] = {}
        self.clearings: dict[tuple[object, object], tuple[float, float]] = {}

    async def look(self, identity: StoreIdentity, held: str | None) -> StoredState:
        """See `FleetStore`."""
        now = await self._now("look")
        failure, failure_end = self.failures.get(identity, (None, 0.0))
        rejection, rejection_end = self.rejections.get(identity, (None, 0.0))
        token, seconds = self._token(identity, now) or (None, 0.0)
        return StoredState(
            token,
            seconds,
            failure if failure_end > now else None,
            rejection if rejection_end > now else None,
            held is not None and self._is_discarded(identity, held, now),
            failure_end - now if failure_end > now else math.inf,
        )

    async def settle(
        self,
        identity: StoreIdentity,
        outcome: SharedToken | SharedFailure,
        seconds: float,
        lease: str | None,
    ) -> None:
        """See `FleetStore`."""
        end = await self._now("settle") + seconds
        if isinstance(outcome, SharedToken):
            self.tokens[identity] = outcome, end
            self.failures.pop(identity, None)
        else:
            self.failures[identity] = outcome, end
        if lease is not None:
            self._release(identity, lease)
        self.notify(identity)

    async def extend(self, identity: StoreIdentity, lease: str, seconds: float) -> None:
        """See `FleetStore`."""
        now = await self._now("extend")
        found, end = self.leases.get(identity, ("", 0.0))
        if found == lease and end > now:
            self.leases[identity] = lease, now + seconds

    async def reject(
        self,
        identity: StoreIdentity,
        value: str,
        seconds: float,
        rejection: SharedRejection | None,
    ) -> None:
        """See `FleetStore`."""
        end = await self._now("reject") + seconds
        if rejection is not None:
            self.rejections[identity] = rejection, end
        self.notify(identity)
        self._discard(identity, value, end)

    async def look_at_domain(self, domain: StoreIdentity, client: StoreIdentity) -> DomainState:
        """See `FleetStore`."""
        now = await self._now("look_at_domain")
        found = [self.clearings.get((domain, of), (0.0, 0.0)) for of in (client, None)]
        moments = [at for at, end in found if end > now]
        return DomainState(self._pause(domain, now), max(moments, default=None))

    async def clear(
        self, domain: StoreIdentity, client: StoreIdentity | None, at: float, seconds: float
    ) -> None:
        """See `FleetStore`."""
        now = await self._now("clear")
        earlier, end = self.clearings.get((domain, client), (at, 0.0))
        if earlier <= at or end <= now:
            self.clearings[domain, client] = at, now + seconds
        self.notify(domain)


class MemorySubscription:
    """A subscription to a store in memory.

    Args:
        store: The store.
    """

    def __init__(self, store: NotifyingMemoryStore) -> None:
        self._store = store
        self.identities: set[StoreIdentity] = set()
        """The identities whose notifications arrive."""
        self._waiting: dict[StoreIdentity, None] = {}
        self._arrival = asyncio.Event()

    async def add(self, *identities: StoreIdentity) -> None:
        """See `Subscription`."""
        self._check()
        self.identities.update(identities)

    async def remove(self, *identities: StoreIdentity) -> None:
        """See `Subscription`."""
        self._check()
        self.identities.difference_update(identities)

    async def next(self) -> StoreIdentity:
        """See `Subscription`."""
        while not self._waiting:
            self._check()
            self._arrival.clear()
            await self._arrival.wait()
        identity = next(iter(self._waiting))
        del self._waiting[identity]
        return identity

    async def aclose(self) -> None:
        """See `Subscription`."""
        self.disconnect()

    def notify(self, identity: StoreIdentity) -> None:
        """Let a notification arrive, if its identity was added."""
        if identity in self.identities:
            self._waiting[identity] = None
            self._arrival.set()

    def disconnect(self) -> None:
        """Break the connection."""
        self._store.subscriptions.pop(self, None)
        self._waiting.clear()
        self._arrival.set()

    def _check(self) -> None:
        if self not in self._store.subscriptions:
            raise ConnectionError


def identity_of(key: TokenKey) -> StoreIdentity:
    """Return the identity of the token of a key whose client has a fixed credential."""
    identity = token_identity(key, key.client.authentication)
    assert identity is not None
    return identity
