"""The subscription of a provider: what it watches, whom it wakes, and how it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._sharing import notifications
from okta_tokens._sharing.calls import Calls
from okta_tokens._sharing.notifications import Notifications
from okta_tokens.events import Event
from tests.clock import ManualClock, settle
from tests.stores.support import MemorySubscription, MemoryTokenStore

ONE, TWO, THREE = StoreIdentity(1), StoreIdentity(2), StoreIdentity(3)


@dataclass
class World:
    """A store and the notifications of one process."""

    clock: ManualClock
    store: MemoryTokenStore
    news: Notifications
    hints: list[StoreIdentity]

    async def watch(self, *identities: StoreIdentity) -> None:
        """Watch identities; go on after a quarter of a second."""
        await self.news.watch(*identities, until=self.clock.boot + 0.25)

    def wait(self, identity: StoreIdentity) -> asyncio.Task[None]:
        """Wait for a notification for an hour."""
        count, until = self.news.count(identity), self.clock.boot + 3_600
        return asyncio.create_task(self.news.wait(identity, count, until))

    @property
    def subscription(self) -> MemorySubscription:
        """The only subscription."""
        (subscription,) = self.store.subscriptions
        return subscription


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Run the notifications of one process."""
    clock = ManualClock()
    store, schedule = MemoryTokenStore(clock), Schedule(clock)
    calls, hints, events = Calls(schedule), list[StoreIdentity](), list[Event]()
    news = Notifications(
        store,
        calls,
        timeout=lambda: 0.25,
        host=None,
        clock=clock,
        schedule=schedule,
        random=lambda: 0.5,
        emit=events.append,
    )
    news.on_hint = hints.append
    running = asyncio.create_task(schedule.run())
    try:
        yield World(clock, store, news, hints)
    finally:
        await news.aclose()
        await calls.aclose()
        running.cancel()
        await asyncio.wait([running])


async def test_all_identities_share_one_connection() -> None:
    """The first identity opens the connection, the others are added, each of them once."""
    async with world() as here:
        assert here.news.wants(ONE)
        await here.watch(ONE)
        await here.watch(ONE, TWO)
        await here.watch(TWO)
        assert here.subscription.identities == {ONE, TWO}
        assert here.news.is_live(TWO)
        assert not here.news.wants(ONE)
        assert not here.news.is_live(THREE)
        assert here.store.calls == ["subscribe"]


async def test_an_identity_that_comes_while_the_connection_is_made_is_added() -> None:
    """What is watched while the first subscription is under way is not missed."""
    async with world() as here:
        here.store.takes = 0.1
        first = asyncio.create_task(here.watch(ONE))
        await settle()
        second = asyncio.create_task(here.watch(TWO))
        await here.clock.advance(0.1)

        await asyncio.gather(first, second)
        assert here.subscription.identities == {ONE, TWO}
        assert here.news.is_live(TWO)


async def test_a_notification_wakes_every_waiter_of_its_identity() -> None:
    """All who wait for an identity are woken at once, also twice; the others go on waiting."""
    async with world() as here:
        await here.watch(ONE, TWO)
        first, second, other = here.wait(ONE), here.wait(ONE), here.wait(TWO)
        await settle()
        here.store.notify(ONE)
        here.store.notify(TWO)
        here.store.notify(TWO)
        await settle()
        assert first.done()
        assert second.done()
        assert other.done()
        assert here.hints == [ONE, TWO]


async def test_a_waiter_that_leaves_in_the_same_turn_is_not_woken() -> None:
    """A notification that arrives while a waiter is being cancelled raises no error."""
    async with world() as here:
        await here.watch(ONE)
        waiting = here.wait(ONE)
        await settle()
        waiting.cancel()
        here.news._receive(ONE)
        await asyncio.wait([waiting])
        assert waiting.cancelled()


async def test_a_notification_before_the_wait_is_not_missed() -> None:
    """A waiter that counted before a notification does not wait."""
    async with world() as here:
        await here.watch(ONE)
        count = here.news.count(ONE)
        here.store.notify(ONE)
        await settle()

        await asyncio.wait_for(here.news.wait(ONE, count, here.clock.boot + 3_600), 5)


async def test_a_wait_ends_at_its_time() -> None:
    """Without a notification a wait ends when the caller said."""
    async with world() as here:
        await here.watch(ONE)
        waiting = asyncio.create_task(
            here.news.wait(ONE, here.news.count(ONE), here.clock.boot + 2)
        )
        await here.clock.advance(1.9)
        assert not waiting.done()
        await here.clock.advance(0.1)
        assert waiting.done()


async def test_a_lost_and_a_new_connection_wake_everyone() -> None:
    """Who waits looks after the loss of the connection, and again when there is another one."""
    async with world() as here:
        await here.watch(ONE)
        waiting = here.wait(ONE)
        await settle()
        here.store.disconnect()
        await settle()
        assert waiting.done()
        assert not here.news.is_live(ONE)
        assert not here.news.wants(ONE)
        await here.watch(TWO)

        waiting = here.wait(TWO)
        await here.clock.advance(1.5)
        assert waiting.done()
        assert here.news.is_live(ONE)
        assert here.news.is_live(TWO)


async def test_a_connection_that_breaks_while_identities_are_added_is_made_again() -> None:
    """An error of `add` ends neither the wait of a caller nor the notifications."""
    async with world() as here:
        await here.watch(ONE)
        subscription = here.subscription
        here.store.subscriptions.clear()
        await here.watch(TWO)
        assert not here.news.is_live(TWO)
        subscription.disconnect()
        await settle()
        here.store.takes = 0.1
        attempt = asyncio.create_task(here.clock.advance(1.55))
        await attempt
        added = asyncio.create_task(here.watch(THREE))
        await settle()
        here.store.error = ConnectionError()
        await here.clock.advance(0.2)
        await added
        here.store.error = None
        await here.clock.advance(60)

        assert here.subscription.identities == {ONE, TWO, THREE}


async def test_the_notification_of_an_own_call_is_no_hint() -> None:
    """The next notification within a second after an own call is its; a later one is a hint."""
    async with world() as here:
        await here.watch(ONE)
        here.news.expect(ONE)
        here.news.expect(THREE)
        here.store.notify(ONE)
        await settle()
        assert here.hints == []
        here.store.notify(ONE)
        await settle()
        assert here.hints == [ONE]
        here.news.expect(ONE)
        await here.clock.advance(1)
        here.store.notify(ONE)
        await settle()
        assert here.hints == [ONE, ONE]


async def test_a_forgotten_identity_causes_no_hint() -> None:
    """A notification that is under way when an identity is forgotten changes nothing."""
    async with world() as here:
        await here.watch(ONE, TWO)
        here.store.notify(ONE)
        await here.news.forget(ONE)
        await here.news.forget(THREE)
        await settle()
        assert here.hints == []
        assert here.subscription.identities == {TWO}

        with here.news.needed(TWO):
            with here.news.needed(TWO):
                await here.news.forget(TWO)
            await here.news.forget(TWO)
            assert here.news.is_live(TWO)
        here.store.disconnect()
        await settle()
        await here.news.forget(TWO)
        assert here.news.wants(TWO)


async def test_an_error_of_the_connection_while_an_identity_is_forgotten_is_no_error() -> None:
    """An identity is forgotten although the connection has broken."""
    async with world() as here:
        await here.watch(ONE)
        here.store.subscriptions.clear()
        await here.news.forget(ONE)
        assert here.news.wants(ONE)


async def test_a_process_watches_a_bounded_number_of_identities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the limit a process reads the store again and again instead."""
    monkeypatch.setattr(notifications, "_MAX_WATCHED", 2)
    async with world() as here:
        await here.watch(ONE, TWO)
        await here.watch(THREE)
        assert here.subscription.identities == {ONE, TWO}


async def test_closing_ends_a_connection_that_swallows_its_cancellation() -> None:
    """A `next` that swallows its cancellation is cancelled again."""
    async with world() as here:
        swallowed = 0

        async def never(_: MemorySubscription) -> StoreIdentity:
            nonlocal swallowed
            while swallowed < 2:
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    swallowed += 1
            raise ConnectionError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemorySubscription, "next", never)
            await here.watch(ONE)
            await asyncio.wait_for(here.news.aclose(), 5)

        assert swallowed == 2
        assert here.store.subscriptions == {}
