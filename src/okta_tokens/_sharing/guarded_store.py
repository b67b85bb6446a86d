"""A store behind a guard: it may fail, hang or lie, and the provider works as if it were alone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import TypeVar, TypeVarTuple, cast

from okta_tokens._model.policies import Random
from okta_tokens._model.store_identity import StoreIdentity, client_identity, domain_identity
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.arguments import checked, text_of
from okta_tokens._runtime.clock import Clock
from okta_tokens._runtime.schedule import CANCEL_AGAIN_AFTER, Schedule, Timer
from okta_tokens._sharing.calls import Calls, CallTimeoutError
from okta_tokens._sharing.circuit_breaker import CircuitBreaker
from okta_tokens._sharing.fleet_protocol import (
    DomainState,
    FleetStore,
    NotifyingStore,
    SharedFailure,
    SharedRejection,
    StoredState,
)
from okta_tokens._sharing.notifications import Notifications
from okta_tokens._sharing.store_protocol import SharedToken, TokenStore, UnreadableEntry
from okta_tokens.events import Event, StoreEntryIgnored, StoreWithoutTls

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_MAX_CAUSES = 4
"""Errors of which an outage names the type: the last one and what caused it."""

_INVALID_ENTRY_INTERVAL = 60.0
"""Seconds between two events about entries that cannot be used."""

_AT_ONCE = 0.001
"""Seconds until a lease ends that was taken as a test."""

_NO_TLS = (
    "the connection to the store has no TLS, so its password and the encrypted tokens cross the "
    "network in the clear; whoever reads the password can delete the tokens, and make every "
    "process fetch its own. Pass a rediss:// URL, or a client with ssl=True"
)


class StoreUnavailableError(Exception):
    """The store failed or timed out: continue without it. The argument is the reason."""


class Lease(Timer):
    """The right to fetch a token for all processes; it is made longer until it is given back.

    Args:
        identity: The identity of the token.
        id: What the store returned.
        seconds: How long the lease lasts.
    """

    __slots__ = ("id", "identity", "seconds")

    def __init__(self, identity: StoreIdentity, id: str, seconds: float) -> None:  # noqa: A002
        super().__init__()
        self.identity: StoreIdentity = identity
        self.id: str = id
        self.seconds: float = seconds


class GuardedStore:
    """Call a store in the time that it is given, and not at all while it keeps failing.

    The optional parts of a store (`fleet_protocol`) need not be there: what the store cannot do is
    not done.

    Args:
        store: The store that processes share.
        clock: Tells the time.
        schedule: Ends calls that take too long.
        random: Draws from the unit interval.
        emit: Called with every event.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        clock: Clock,
        schedule: Schedule,
        random: Random,
        emit: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._fleet: FleetStore | None = _part(
            lambda: store if isinstance(store, FleetStore) else None
        )
        self._schedule = schedule
        self._calls = Calls(schedule)
        self._clock = clock
        self._emit = emit
        host = _text_of(store, "host")
        self._breaker = CircuitBreaker(clock, random, emit, host)
        self.notifications: Notifications = Notifications(
            _part(lambda: store if isinstance(store, NotifyingStore) else None),
            self._calls,
            timeout=lambda: store.timeout,
            host=host,
            clock=clock,
            schedule=schedule,
            random=random,
            emit=emit,
        )
        self._reported_at = -math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._background: set[asyncio.Task[None]] = set()
        self.allows_call: Callable[[], bool] = self._breaker.allows_call
        self.record_success: Callable[[], None] = self._breaker.record_success

    @property
    def lease(self) -> float:
        """For how long a process may be the only one that fetches a token, in seconds."""
        return self._store.lease

    @property
    def is_available(self) -> bool:
        """Whether the last calls of the store succeeded."""
        return self._breaker.is_available

    @property
    def shares_failures(self) -> bool:
        """Whether the store has the part for failures, rejections and clearings."""
        return self._fleet is not None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run background calls on a loop, each in an empty context; tell if the store has no TLS.

        Args:
            loop: The event loop of the provider, which has just started.
        """
        self._loop = loop
        host = _text_of(self._store, "host_without_tls")
        if host is not None:
            self._emit(StoreWithoutTls(host=host, advice=_NO_TLS))

    def call_deadline(self) -> float:
        """Return when a call that begins now must end, in seconds of boot time."""
        return self._clock.boot_time() + self._store.timeout

    async def look(
        self, key: TokenKey, identity: StoreIdentity, held: AccessToken | None, deadline: float
    ) -> StoredState:
        """Return what is stored about an identity; nothing, if an entry cannot be used.

        Args:
            key: The key of the token, for the event about an entry that cannot be used.
            identity: The identity of the token.
            held: The token that this process holds, or None.
            deadline: When to give up, in seconds of boot time.

        Raises:
            StoreUnavailableError: If the store fails or times out.
        """
        fleet = self._fleet
        try:
            if fleet is not None:
                # No argument of the calls below is the value: a cancellation passes their frames.
                found = await self._call(
                    deadline, lambda: fleet.look(identity, None if held is None else held.value)
                )
            else:
                loaded = await self._call(deadline, self._store.load, identity)
                found = StoredState() if loaded is None else StoredState(*loaded)
        except UnreadableEntry:
            self.report_invalid_entry(key)
            return StoredState()
        if found.token is not None and not self.is_available:
            self.run_in_background(self._try_to_write(identity))
        return found

    async def look_at_domain(self, key: TokenKey, deadline: float) -> DomainState:
        """Return what is stored about a half of a domain; nothing, if an entry cannot be used.

        Args:
            key: A key of that half.
            deadline: When to give up, in seconds of boot time.

        Raises:
            StoreUnavailableError: If the store fails or times out.
        """
        domain, fleet = domain_identity(key), self._fleet
        try:
            if fleet is not None:
                return await self._call(
                    deadline, fleet.look_at_domain, domain, client_identity(key.client)
                )
            return DomainState(await self._call(deadline, self._store.paused, domain))
        except UnreadableEntry:
            self.report_invalid_entry(key)
            return DomainState()

    async def acquire(
        self, identity: StoreIdentity, seconds: float, deadline: float
    ) -> Lease | None:
        """Take the lease of an identity; return None if another process has it.

        A store that can make it longer does so, until the lease is given back.

        Args:
            identity: The identity of the token.
            seconds: How long the lease lasts if this process dies.
            deadline: When to give up, in seconds of boot time.

        Raises:
            StoreUnavailableError: If the store fails or times out.
        """
        id_ = await self._call(deadline, self._store.acquire, identity, seconds)
        if id_ is None:
            return None
        lease = Lease(identity, id_, seconds)
        if self._fleet is not None:
            self._schedule.call_at(self._clock.boot_time() + seconds / 2, self._extend, lease)
        return lease

    def release(self, lease: Lease) -> None:
        """Give a lease back, in the background.

        Args:
            lease: What `acquire` returned.
        """
        self._schedule.cancel(lease)
        self.notifications.expect(lease.identity)
        self._in_background(self._write(self._store.release, lease.identity, lease.id))

    def settle(
        self,
        identity: StoreIdentity,
        outcome: SharedToken | SharedFailure,
        seconds: float,
        lease: Lease | None,
    ) -> None:
        """Share the outcome of a fetch and give the lease back, in the background.

        Not every store can share a failure.

        Args:
            identity: The identity of the token.
            outcome: The token, or why there is none.
            seconds: How long the store keeps the outcome.
            lease: What `acquire` returned; None if another process has the lease.
        """
        if lease is not None:
            self._schedule.cancel(lease)
        self.notifications.expect(identity)
        self._in_background(self._settle(identity, outcome, seconds, lease))

    def publish_pause(self, key: TokenKey, seconds: float, *, until: float) -> None:
        """Let other processes pause, too, in the background.

        Args:
            key: A key of the half of a domain that the pause concerns.
            seconds: How long.
            until: The end by Okta's clock, in seconds since the epoch.
        """
        self._in_background(self._write(self._store.pause, domain_identity(key), seconds, until))

    def reject(
        self,
        identity: StoreIdentity,
        value: str,
        seconds: float,
        rejection: SharedRejection | None = None,
    ) -> None:
        """Let no process use a token any more, in the background.

        Args:
            identity: The identity of the token.
            value: The token's value.
            seconds: How long the store remembers it.
            rejection: What an API's rejection of the token means for its successor; None if no API
                rejected it. Not every store can share it.
        """
        fleet, store = self._fleet, self._store
        self.notifications.expect(identity)
        # No argument of the calls below is the value: a cancellation passes their frames.
        self._in_background(
            self._write(
                lambda: (
                    store.discard(identity, value, seconds)
                    if fleet is None
                    else fleet.reject(identity, value, seconds, rejection)
                )
            )
        )

    async def clear(
        self, domain: StoreIdentity, client: StoreIdentity | None, at: float, seconds: float
    ) -> None:
        """Let no process use a token that was requested earlier.

        The store is called during a break, too: a process that has not needed the store since a
        failure does not know that the store works again, and a person waits for the result.

        Args:
            domain: The identity of a half of a domain.
            client: The identity of a client of it; None for all of them.
            at: The present moment by Okta's clock, in seconds since the epoch.
            seconds: How long the store remembers it.

        Raises:
            StoreUnavailableError: If the store fails or times out.
        """
        assert self._fleet is not None  # noqa: S101 - narrows the type
        try:
            await self._write(self._fleet.clear, domain, client, at, seconds)
        except UnreadableEntry as error:
            raise StoreUnavailableError(_describe(error)) from None
        self._breaker.record_success()

    def report_invalid_entry(self, key: TokenKey) -> None:
        """Emit the event that an entry cannot be used, at most once a minute.

        Args:
            key: The key of the entry.
        """
        now = self._clock.boot_time()
        if now >= self._reported_at + _INVALID_ENTRY_INTERVAL:
            self._reported_at = now
            self._emit(StoreEntryIgnored(key=key))

    async def aclose(self) -> None:
        """Wait for background calls, for as long as one call may take; then cancel them."""
        await self.notifications.aclose()
        if self._background:
            await asyncio.wait(self._background, timeout=self._store.timeout)
        while self._background:
            for task in self._background:
                task.cancel()
            await asyncio.wait(self._background, timeout=CANCEL_AGAIN_AFTER)
        await self._calls.aclose()

    async def _call(self, deadline: float, method: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call a method of the store.

        Raises:
            StoreUnavailableError: If the store fails or times out.
            UnreadableEntry: As from the store.
        """
        try:
            result = await self._calls.run(deadline, method, *args)
        except UnreadableEntry:
            raise
        except CallTimeoutError:
            reason = f"no response within {self._store.timeout:g} s"
        except Exception as error:  # noqa: BLE001 - the provider works without the store
            reason = _describe(error)
        else:
            self._breaker.record_answer()
            return result
        self._breaker.record_failure(reason)
        raise StoreUnavailableError(reason)

    async def _write(self, method: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        await self._call(self.call_deadline(), method, *args)

    def _extend(self, lease: Lease) -> None:
        """Make a lease longer, in the background, when half of its time has passed."""
        fleet = self._fleet
        assert fleet is not None  # noqa: S101 - narrows the type
        self._in_background(self._write(fleet.extend, lease.identity, lease.id, lease.seconds))
        again = self._clock.boot_time() + lease.seconds / 2
        self._schedule.call_at(again, self._extend, lease)

    async def _settle(
        self,
        identity: StoreIdentity,
        outcome: SharedToken | SharedFailure,
        seconds: float,
        lease: Lease | None,
    ) -> None:
        """Share an outcome; give the lease back even if the store cannot keep the outcome."""
        try:
            if self._fleet is not None:
                # During the rotation of a secret, the lease may be that of the old one's identity.
                is_its = lease is not None and lease.identity == identity
                id_ = lease.id if lease is not None and is_its else None
                await self._write(self._fleet.settle, identity, outcome, seconds, id_)
                lease = None if is_its else lease
            elif isinstance(outcome, SharedToken):
                await self._write(self._store.save, identity, outcome, seconds)
        finally:
            if lease is not None:
                await self._write(self._store.release, lease.identity, lease.id)

    def _in_background(self, work: Coroutine[object, object, None]) -> None:
        """Run a call that no caller waits for, unless the circuit breaker is open."""
        if self._loop is None or not self._breaker.allows_call():
            work.close()
            return
        self.run_in_background(self._run_quietly(work))

    def run_in_background(self, work: Coroutine[object, object, None]) -> None:
        """Run something in a context of its own, until the provider is closed.

        Args:
            work: What to run; it raises no error.
        """
        assert self._loop is not None  # noqa: S101 - narrows the type
        task = self._loop.create_task(work, context=Context())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _run_quietly(self, work: Coroutine[object, object, None]) -> None:
        with suppress(StoreUnavailableError, UnreadableEntry):
            await work
            self._breaker.record_success()

    async def _try_to_write(self, identity: StoreIdentity) -> None:
        """Take a lease and end it, to learn if the store can be written again.

        A process that finds every token in the store does not write, so it would not notice the end
        of an outage. A failure is not recorded: a store that is full can still be read.
        """
        store, fleet, deadline = self._store, self._fleet, self.call_deadline()
        with suppress(Exception):
            lease = await self._calls.run(deadline, store.acquire, identity, store.timeout)
            self._breaker.record_success()
            if lease is not None and fleet is not None:
                # A release would notify all processes, each of which does the same now.
                await self._calls.run(deadline, fleet.extend, identity, lease, _AT_ONCE)
            elif lease is not None:
                await self._calls.run(deadline, store.release, identity, lease)


def _part(find: Callable[[], T | None]) -> T | None:
    """Return a store if it has an optional part; to find out runs code of the user's."""
    return checked(find, None)


def _text_of(store: TokenStore, attribute: str) -> str | None:
    """Return an optional attribute of a store, which may be a user's own class."""
    return text_of(checked(lambda: getattr(store, attribute, None), None))


def _describe(error: BaseException) -> str:
    """Return the types of an error and of what caused it, whose texts may hold the password."""
    names, cause = list[str](), cast("BaseException | None", error)
    while cause is not None and len(names) < _MAX_CAUSES:
        names.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return ": ".join(names)
