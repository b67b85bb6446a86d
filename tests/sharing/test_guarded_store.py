"""The guard of a store: time limits, failures, unreadable entries, and background calls."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenKey
from okta_tokens._model.store_identity import StoreIdentity, domain_identity
from okta_tokens._runtime.clock import current_instant
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._sharing.fleet_protocol import (
    DomainState,
    SharedFailure,
    SharedRejection,
    StoredState,
)
from okta_tokens._sharing.guarded_store import GuardedStore, StoreUnavailableError
from okta_tokens._sharing.store_protocol import SharedToken
from okta_tokens.events import Event, StoreEntryIgnored, StoreFailed, StoreRecovered
from tests.clock import ManualClock, settle
from tests.stores.support import BasicMemoryStore, MemoryTokenStore, identity_of

KEY = TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("s")), frozenset({"a"}))
ID = identity_of(KEY)
TOKEN = SharedToken("token", "Bearer", frozenset({"a"}), 300.0, 1_800_000_300.0)
FIRST_BREAK = 1.5
"""Seconds: the first break, if every draw is 0.5."""


@dataclass
class World:
    """A store, its guard, and what they emit."""

    clock: ManualClock
    store: BasicMemoryStore
    guard: GuardedStore
    schedule: Schedule
    events: list[Event]

    async def load(self) -> tuple[SharedToken, float] | None:
        """Return the stored token in the time of one call."""
        state = await self.guard.look(KEY, ID, None, self.guard.call_deadline())
        return None if state.token is None else (state.token, state.seconds)

    async def pause(self) -> tuple[float, float] | None:
        """Return the stored pause in the time of one call."""
        return (await self.guard.look_at_domain(KEY, self.guard.call_deadline())).pause


@asynccontextmanager
async def guarded(kind: type[BasicMemoryStore] = BasicMemoryStore) -> AsyncIterator[World]:
    """Run a guarded store; at the end, no task may have raised an error that no one retrieved."""
    clock = ManualClock()
    store, schedule = kind(clock), Schedule(clock)
    events: list[Event] = []
    guard = GuardedStore(
        store, clock=clock, schedule=schedule, random=lambda: 0.5, emit=events.append
    )
    errors: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    guard.attach(loop)
    running = asyncio.create_task(schedule.run())
    try:
        yield World(clock, store, guard, schedule, events)
    finally:
        store.hangs = False
        await guard.aclose()
        running.cancel()
        await asyncio.wait([running])
        gc.collect()  # asyncio reports an unretrieved error when its task is freed
        loop.set_exception_handler(None)
    assert errors == []


# Calls


async def test_a_call_returns_what_the_store_returns() -> None:
    """A token, a pause and a lease pass the guard unchanged."""
    async with guarded() as here:
        guard, deadline = here.guard, here.guard.call_deadline()
        assert await here.load() is None
        assert await here.pause() is None
        await here.store.save(ID, TOKEN, 200)
        await here.store.pause(domain_identity(KEY), 30, 1_800_000_030)

        assert await here.load() == (TOKEN, 200)
        assert await here.pause() == (30, 1_800_000_030)
        assert await guard.acquire(ID, 5, deadline) is not None
        assert await guard.acquire(ID, 5, deadline) is None
        assert guard.lease == here.store.lease
        assert here.events == []


async def test_a_call_that_fails_makes_the_store_unavailable() -> None:
    """A store that raises is unavailable, and neither the error nor the event shows its message."""
    async with guarded() as here:
        here.store.error = ConnectionError("redis://:password@host")

        with pytest.raises(StoreUnavailableError) as caught:
            await here.load()

        assert str(caught.value) == "ConnectionError"
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert here.events == [StoreFailed(host=None, reason="ConnectionError", after=FIRST_BREAK)]
        assert not here.guard.allows_call()


async def test_an_outage_names_the_server_and_what_caused_it() -> None:
    """The event has the host that the store names, and the types of the error and its causes."""
    async with guarded() as here:
        here.store.error = ConnectionError("redis://:password@cache")
        here.store.error.__cause__ = ConnectionRefusedError(111, "password")
        here.store.error.__cause__.__context__ = OSError("password")
        here.store.host = "cache:6379"  # type: ignore[attr-defined]  # optional
        guard = GuardedStore(
            here.store,
            clock=here.clock,
            schedule=here.schedule,
            random=lambda: 0.5,
            emit=here.events.append,
        )
        with pytest.raises(StoreUnavailableError):
            await guard.look(KEY, ID, None, here.clock.boot + 1)

        (failed,) = here.events
        assert isinstance(failed, StoreFailed)
        assert failed.host == "cache:6379"
        assert failed.reason == "ConnectionError: ConnectionRefusedError: OSError"


@pytest.mark.parametrize("is_leased", [False, True])
async def test_an_outage_ends_for_a_process_that_only_reads(*, is_leased: bool) -> None:
    """If a token is found during an outage, a write in the background may end the outage."""
    async with guarded() as here:
        here.store.tokens[ID] = TOKEN, here.clock.boot + 300
        here.store.error = OSError()
        with pytest.raises(StoreUnavailableError):
            await here.load()
        here.store.error = None
        if is_leased:
            await here.store.acquire(ID, 60)
        leases = dict(here.store.leases)

        assert await here.load() is not None
        await settle()

        assert here.guard.is_available
        assert [type(event) for event in here.events] == [StoreFailed, StoreRecovered]
        assert here.store.leases == leases


async def test_a_store_that_can_only_be_read_is_read_and_stays_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the write after a read fails, the outage goes on, and its break is not longer."""
    async with guarded() as here:
        here.store.tokens[ID] = TOKEN, here.clock.boot + 300
        here.store.error = OSError()
        with pytest.raises(StoreUnavailableError):
            await here.load()
        here.store.error = None

        async def refuse(*_: object) -> None:
            raise OSError

        monkeypatch.setattr(here.store, "acquire", refuse)

        assert await here.load() is not None
        await settle()

        assert not here.guard.is_available
        await here.clock.advance(FIRST_BREAK)
        assert here.guard.allows_call()


async def test_to_test_whether_the_store_can_be_written_notifies_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After an outage each process writes once as a test; others need not look because of it."""
    async with guarded(MemoryTokenStore) as here:
        store = here.store
        assert isinstance(store, MemoryTokenStore)
        store.tokens[ID] = TOKEN, here.clock.boot + 300
        store.error = OSError()
        with pytest.raises(StoreUnavailableError):
            await here.load()
        store.error = None
        notified: list[object] = []
        monkeypatch.setattr(store, "notify", notified.append)

        await here.load()
        await settle()

        assert here.guard.is_available
        assert notified == []
        await here.clock.advance(0.01)
        assert await store.acquire(ID, 1.0)


async def test_a_call_that_hangs_ends_at_its_deadline() -> None:
    """A store that does not respond is unavailable once the deadline has passed."""
    async with guarded() as here:
        here.store.hangs = True
        assert here.guard.call_deadline() == here.clock.boot + here.store.timeout
        call = asyncio.create_task(here.load())

        await here.clock.advance(here.store.timeout - 0.01)
        assert not call.done()
        await here.clock.advance(0.01)

        with pytest.raises(StoreUnavailableError):
            await call
        assert here.events == [
            StoreFailed(host=None, reason="no response within 0.25 s", after=FIRST_BREAK)
        ]


async def test_a_call_that_ended_leaves_no_timer() -> None:
    """The timer of a call is cancelled as soon as the store responds."""
    async with guarded() as here:
        await here.load()

        assert len(here.schedule) == 0


async def test_an_unreadable_entry_is_not_an_outage() -> None:
    """An unreadable entry is no entry, and the store stays available."""
    async with guarded() as here:
        await here.store.save(ID, TOKEN, 200)
        here.store.garbled = True

        assert await here.load() is None
        assert await here.pause() is None
        here.guard.reject(ID, TOKEN.value, 100)
        await settle()

        assert here.guard.allows_call()
        assert here.events == [StoreEntryIgnored(key=KEY)]


async def test_unreadable_entries_are_reported_once_a_minute() -> None:
    """At most one event per minute tells that an entry cannot be used."""
    async with guarded() as here:
        for seconds, events in ((0, 1), (59.9, 1), (0.1, 2), (1, 2)):
            here.clock.boot += seconds
            here.guard.report_invalid_entry(KEY)

            assert here.events == [StoreEntryIgnored(key=KEY)] * events


async def test_a_call_that_swallows_its_cancellation_holds_no_caller() -> None:
    """The caller goes on at the deadline, and the call is cancelled every half second."""
    swallowed = []

    async def load(identity: StoreIdentity) -> None:
        for _ in range(3):
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                swallowed.append(here.clock.boot - begun)
        raise MemoryError  # which no one retrieves

    async with guarded() as here:
        here.store.load = load  # type: ignore[method-assign]  # a store that goes on
        begun = here.clock.boot
        call = asyncio.create_task(here.load())
        await here.clock.advance(here.store.timeout)

        with pytest.raises(StoreUnavailableError):
            await call
        await here.clock.advance(5)

        assert swallowed == [0.25, 0.75, 1.25]
        assert len(here.schedule) == 0


async def test_a_cancelled_call_ends_at_once() -> None:
    """Cancellation cancels the call of the store, and closing waits for the end of the call."""
    ended = []

    async def load(identity: StoreIdentity) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            ended.append(identity)

    async with guarded() as here:
        here.store.load = load  # type: ignore[method-assign]  # it ends slowly
        call = asyncio.create_task(here.load())
        await settle()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert ended == []

        await here.guard.aclose()

        assert ended == [ID]


# The optional parts

FAILURE = SharedFailure("ServerError", "503", {"status": 503}, 1, 0.0, 10.0, 20.0)
REJECTION = SharedRejection(5.0, 0.0)


async def test_a_store_with_the_optional_parts_is_asked_for_all_with_one_call() -> None:
    """A look returns token, failure, rejection, and whether the held token is discarded."""
    async with guarded(MemoryTokenStore) as here:
        held = AccessToken(
            "held",
            "Bearer",
            "a",
            KEY,
            expiry=current_instant(here.clock),
            leeway=0,
            clock=here.clock,
        )
        here.guard.reject(ID, "held", 100, REJECTION)
        lease = await here.guard.acquire(ID, 5, here.guard.call_deadline())
        assert lease is not None
        for _ in range(3):
            await here.clock.advance(2.5)
            assert here.store.leases[ID][1] == here.clock.boot + 5
        here.guard.settle(ID, FAILURE, 70, lease)
        await settle()
        state = await here.guard.look(KEY, ID, held, here.guard.call_deadline())

        assert state == StoredState(None, 0.0, FAILURE, REJECTION, True, 70)  # noqa: FBT003 - a field
        assert here.store.leases == {}
        assert len(here.schedule) == 0
        assert here.store.calls == ["acquire", "reject", *["extend"] * 3, "settle", "look"]
        assert await here.guard.look_at_domain(KEY, here.guard.call_deadline()) == DomainState()


async def test_a_store_without_the_optional_parts_does_what_it_can() -> None:
    """Without them a failure only ends the lease, and a lease is not extended."""
    async with guarded() as here:
        lease = await here.guard.acquire(ID, 5, here.guard.call_deadline())
        assert lease is not None
        await here.clock.advance(4)
        here.guard.settle(ID, FAILURE, 70, lease)
        here.guard.settle(ID, FAILURE, 70, None)
        here.guard.reject(ID, "x", 100, REJECTION)
        await settle()

        assert here.store.calls == ["acquire", "release", "discard"]
        assert await here.guard.look(KEY, ID, None, here.guard.call_deadline()) == StoredState()


async def test_a_clearing_waits_for_the_store_also_in_a_break() -> None:
    """A clearing that the store does not take is an error, and the next one is tried at once."""
    domain = domain_identity(KEY)
    async with guarded(MemoryTokenStore) as here:
        await here.guard.clear(domain, None, 5.0, 100.0)
        here.store.error = ConnectionError()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="ConnectionError"):
                await here.guard.clear(domain, ID, 5.0, 100.0)
        assert isinstance(here.store, MemoryTokenStore)
        assert here.store.clearings == {(domain, None): (5.0, here.clock.boot + 100)}
        here.store.error = None
        assert not here.guard.allows_call()
        await here.guard.clear(domain, ID, 5.0, 100.0)
        assert here.store.calls == ["clear"] * 4
        assert (domain, ID) in here.store.clearings
        assert here.guard.is_available


# Background calls


async def test_a_published_token_is_saved_and_its_lease_given_back() -> None:
    """A token is saved before its lease is given back; without a lease it is only saved."""
    async with guarded() as here:
        lease = await here.guard.acquire(ID, 5, here.guard.call_deadline())
        here.store.calls.clear()

        here.guard.settle(ID, TOKEN, 200, lease)
        await settle()
        here.guard.settle(ID, TOKEN, 100, None)
        await settle()

        assert here.store.calls == ["save", "release", "save"]
        assert here.store.leases == {}
        assert await here.load() == (TOKEN, 100)


@pytest.mark.parametrize(
    ("kind", "method"), [(BasicMemoryStore, "save"), (MemoryTokenStore, "settle")]
)
async def test_a_lease_is_given_back_although_the_token_cannot_be_saved(
    kind: type[BasicMemoryStore], method: str
) -> None:
    """If the store cannot save a token, another process can still take the lease."""

    async def save(identity: StoreIdentity, token: SharedToken, *rest: object) -> None:
        raise MemoryError(identity, token, rest)

    async with guarded(kind) as here:
        lease = await here.guard.acquire(ID, 5, here.guard.call_deadline())
        setattr(here.store, method, save)  # a store that is full

        here.guard.settle(ID, TOKEN, 200, lease)
        await settle()

        assert here.store.leases == {}
        assert here.events == [StoreFailed(host=None, reason="MemoryError", after=FIRST_BREAK)]


async def test_a_pause_a_discard_and_a_release_are_background_calls() -> None:
    """The store gets the pause, the discarded token and the lease, and no caller waits."""
    async with guarded() as here:
        await here.store.save(ID, TOKEN, 200)
        lease = await here.guard.acquire(ID, 5, here.guard.call_deadline())
        assert lease is not None

        here.guard.publish_pause(KEY, 30, until=1_800_000_030)
        here.guard.reject(ID, "another", 100)
        await settle()
        assert here.store.tokens != {}
        here.guard.reject(ID, TOKEN.value, 100)
        here.guard.release(lease)
        await settle()

        assert (here.store.tokens, here.store.leases) == ({}, {})
        assert await here.pause() == (30, 1_800_000_030)


async def test_a_background_call_that_fails_emits_the_event() -> None:
    """A background call that fails emits the event of the outage, and raises nothing."""
    async with guarded() as here:
        here.store.error = ConnectionError()
        here.guard.reject(ID, "x", 100)
        await settle()

        assert here.events == [StoreFailed(host=None, reason="ConnectionError", after=FIRST_BREAK)]


async def test_an_unavailable_store_gets_no_background_call() -> None:
    """During a break a background call is dropped; after the break it ends the outage."""
    async with guarded() as here:
        here.store.error = ConnectionError()
        here.guard.reject(ID, "x", 100)
        await settle()
        here.store.error = None
        here.store.calls.clear()

        here.guard.reject(ID, "x", 100)
        await settle()
        assert here.store.calls == []

        await here.clock.advance(FIRST_BREAK)
        here.guard.reject(ID, "x", 100)
        await settle()
        assert here.store.calls == ["discard"]
        assert here.events[1:] == [StoreRecovered(seconds=FIRST_BREAK)]


async def test_before_the_start_there_is_no_background_call() -> None:
    """A guard that is not attached to an event loop drops background calls without a warning."""
    clock = ManualClock()
    store = BasicMemoryStore(clock)
    guard = GuardedStore(
        store, clock=clock, schedule=Schedule(clock), random=lambda: 0.5, emit=lambda _: None
    )

    guard.reject(ID, "x", 100)
    gc.collect()
    await settle()

    assert store.calls == []


async def test_background_calls_run_in_the_context_of_the_provider() -> None:
    """A background call does not see the context variables of the caller that caused it."""
    variable: ContextVar[str] = ContextVar("variable", default="the provider's")
    seen = []

    async def discard(identity: StoreIdentity, value: str, seconds: float) -> None:
        seen.append((identity, value, seconds, variable.get()))

    async with guarded() as here:
        here.store.discard = discard  # type: ignore[method-assign]  # to observe the context
        variable.set("a caller's")
        here.guard.reject(ID, "x", 100)
        await settle()

    assert seen == [(ID, "x", 100, "the provider's")]


# Closing


async def test_closing_waits_for_background_calls() -> None:
    """A token that was fetched just before the end is saved for other processes."""
    async with guarded() as here:
        lease = await here.guard.acquire(ID, 5, here.guard.call_deadline())
        here.guard.settle(ID, TOKEN, 200, lease)

        await here.guard.aclose()

        assert len(here.store.tokens) == 1
        assert here.store.leases == {}


async def test_closing_does_not_wait_for_a_store_that_hangs() -> None:
    """Closing cancels a call that does not end within the store's timeout."""
    async with guarded() as here:
        here.store.timeout = 0.01
        here.store.hangs = True
        here.guard.reject(ID, "x", 100)
        await settle()

        await asyncio.wait_for(here.guard.aclose(), 5)

        assert not here.guard._background


async def test_closing_cancels_again() -> None:
    """A store that swallows a cancellation is cancelled again."""
    swallowed = []

    async def discard(identity: StoreIdentity, value: str, seconds: float) -> None:
        for _ in range(2):
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                swallowed.append((identity, value, seconds))

    async with guarded() as here:
        here.store.discard = discard  # type: ignore[method-assign]  # a store that does not end
        here.store.timeout = 0.01
        here.guard.reject(ID, "x", 100)
        await settle()

        await asyncio.wait_for(here.guard.aclose(), 5)

    assert swallowed == [(ID, "x", 100)] * 2
