"""Notifications of a store: hints that something about an identity has changed.

A hint has no content, and may be missing, late or false. It wakes those who wait, and lets the
process look into the store; nothing is believed because of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context

from okta_tokens._model.policies import Random
from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._runtime.clock import Clock
from okta_tokens._runtime.schedule import CANCEL_AGAIN_AFTER, Schedule
from okta_tokens._sharing.calls import Calls
from okta_tokens._sharing.fleet_protocol import (
    NotificationsRefusedError,
    NotifyingStore,
    Subscription,
)
from okta_tokens.events import Event, NotificationsRefused

_MAX_WATCHED = 20_000
"""So many identities a process watches; it reads the store again and again for the others."""
_MAX_BACK_OFF = 30.0
"""Seconds between two attempts to subscribe."""
_MAX_DOUBLINGS = 10
_OWN = 1.0
"""Seconds within which the notification of a process's own call arrives."""

_REFUSED = (
    "the store refuses subscriptions, so this process learns of another one's token or rejection "
    "only when it looks into the store. Give the store's user the rights to subscribe and to "
    "publish, as the guide of the stores lists them"
)


class Notifications:
    """Own the subscription of a provider, and wake those who wait for a notification.

    One background task subscribes when the first identity is watched, and again after each loss of
    the connection.

    Args:
        store: The store; None if it sends no notifications.
        calls: Ends calls that take too long.
        timeout: Returns for how long a call may take, in seconds.
        host: The store's server, for the event about a refusal; None if the store does not name it.
        clock: Tells the time and waits.
        schedule: Ends the waits.
        random: Draws from the unit interval.
        emit: Called with every event.
    """

    def __init__(
        self,
        store: NotifyingStore | None,
        calls: Calls,
        *,
        timeout: Callable[[], float],
        host: str | None,
        clock: Clock,
        schedule: Schedule,
        random: Random,
        emit: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._calls = calls
        self._timeout = timeout
        self._host = host
        self._clock = clock
        self._schedule = schedule
        self._random = random
        self._emit = emit
        self.on_hint: Callable[[StoreIdentity], None] | None = None
        """Called with the identity of each notification, except those of this process's calls."""
        self._watched: dict[StoreIdentity, None] = {}
        self._subscription: Subscription | None = None
        self._subscribed: set[StoreIdentity] = set()
        self._task: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None  # pending while it subscribes
        self._is_over = store is None
        self._own: dict[StoreIdentity, float] = {}
        self._waiters: dict[StoreIdentity, set[asyncio.Future[None]]] = {}
        self._needed: dict[StoreIdentity, int] = {}
        self._hints: dict[StoreIdentity, int] = {}
        self._connections = 0

    def is_live(self, identity: StoreIdentity) -> bool:
        """Tell whether the notifications of an identity arrive.

        Args:
            identity: The identity.
        """
        return self._subscription is not None and identity in self._subscribed

    def wants(self, identity: StoreIdentity) -> bool:
        """Tell whether an identity can be watched, and is not.

        Args:
            identity: The identity.
        """
        return not self._is_over and identity not in self._watched

    def count(self, identity: StoreIdentity) -> int:
        """Return a number that changes with each notification; see `wait`.

        Args:
            identity: The identity.
        """
        return self._hints.get(identity, 0) + self._connections

    async def wait(self, identity: StoreIdentity, count: int, until: float) -> None:
        """Wait for a notification, or for a new or lost connection.

        Args:
            identity: The identity.
            count: What `count` returned before the caller looked into the store.
            until: When to give up, in seconds of boot time.
        """
        if self.count(identity) != count:
            return
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(identity, set())
        waiters.add(waiter)
        try:
            with self._schedule.deadline(until):
                await waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(identity, None)

    def expect(self, identity: StoreIdentity) -> None:
        """Take the next notification of an identity for that of a call that this process begins.

        Args:
            identity: The identity.
        """
        if identity in self._watched:
            self._own[identity] = self._clock.boot_time()

    async def watch(self, *identities: StoreIdentity, until: float) -> None:
        """Begin to receive the notifications of identities; go on without them if that takes long.

        Args:
            *identities: The identities.
            until: When to go on, in seconds of boot time.
        """
        if self._is_over or len(self._watched) + len(identities) > _MAX_WATCHED:
            return
        self._watched.update(dict.fromkeys(identities))
        if self._task is None:
            self._attempt = asyncio.get_running_loop().create_future()
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        if self._attempt is not None:
            with self._schedule.deadline(until):
                await asyncio.wait((self._attempt,))
        subscription = self._subscription
        missing = [identity for identity in identities if identity not in self._subscribed]
        if subscription is not None and missing:
            with suppress(Exception):  # the task notices a lost connection
                await self._calls.run(until, subscription.add, *missing)
                self._subscribed.update(missing)

    @contextmanager
    def needed(self, identity: StoreIdentity) -> Iterator[None]:
        """Return a context manager in which the notifications of an identity are not forgotten.

        Args:
            identity: The identity.
        """
        self._needed[identity] = self._needed.get(identity, 0) + 1
        try:
            yield
        finally:
            self._needed[identity] -= 1
            if not self._needed[identity]:
                del self._needed[identity]

    async def forget(self, identity: StoreIdentity) -> None:
        """Receive no more notifications of an identity, unless a fetch needs them.

        Args:
            identity: The identity.
        """
        if identity in self._needed or identity not in self._watched:
            return
        for table in (self._watched, self._hints, self._own):
            table.pop(identity, None)
        self._subscribed.discard(identity)
        if self._subscription is not None:
            with suppress(Exception):  # the task notices a lost connection
                await self._calls.run(self._deadline(), self._subscription.remove, identity)

    async def aclose(self) -> None:
        """End the subscription, and the task that receives its notifications."""
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=CANCEL_AGAIN_AFTER)

    async def _run(self) -> None:
        """Subscribe, receive notifications, and subscribe again, until the store refuses."""
        failures = 0
        while True:
            connections = self._connections
            try:
                await self._listen()
            except NotificationsRefusedError:
                self._is_over = True
                self._emit(NotificationsRefused(host=self._host, advice=_REFUSED))
            except Exception:  # noqa: BLE001 - of the store, which may be a user's
                failures = failures + 1 if self._connections == connections else 1
            finally:
                self._end_attempt()
            if self._is_over:
                return
            longest = min(_MAX_BACK_OFF, 2.0 ** min(failures, _MAX_DOUBLINGS))
            back_off = longest * (1 + self._random()) / 2
            await self._clock.sleep_until(self._clock.boot_time() + back_off)
            self._attempt = asyncio.get_running_loop().create_future()

    async def _listen(self) -> None:
        """Subscribe, and receive notifications until the connection is lost."""
        store = self._store
        assert store is not None  # noqa: S101 - narrows the type
        added = [*self._watched]
        subscription = await self._calls.run(self._deadline(), store.subscribe, *added)
        if subscription is None:
            self._is_over = True
            return
        try:
            self._subscribed = {*added}
            while missing := [*self._watched.keys() - self._subscribed]:
                await self._calls.run(self._deadline(), subscription.add, *missing)
                self._subscribed.update(missing)
            self._subscription = subscription
            self._wake_all()
            self._end_attempt()
            while True:
                self._receive(await subscription.next())
        finally:
            self._subscription = None
            self._wake_all()
            with suppress(Exception):
                await self._calls.run(self._deadline(), subscription.aclose)

    def _deadline(self) -> float:
        return self._clock.boot_time() + self._timeout()

    def _end_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None and not attempt.done():
            attempt.set_result(None)

    def _receive(self, identity: StoreIdentity) -> None:
        """Wake those who wait for a notification, and let this process look."""
        if identity not in self._watched:
            return
        self._hints[identity] = self._hints.get(identity, 0) + 1
        self._wake(identity)
        is_own = self._clock.boot_time() - self._own.pop(identity, -_OWN) < _OWN
        if not is_own and self.on_hint is not None:
            self.on_hint(identity)

    def _wake_all(self) -> None:
        """Let everyone who waits look, since a notification may have been missed."""
        self._connections += 1
        for identity in [*self._waiters]:
            self._wake(identity)

    def _wake(self, identity: StoreIdentity) -> None:
        for waiter in self._waiters.get(identity, ()):
            if not waiter.done():
                waiter.set_result(None)
