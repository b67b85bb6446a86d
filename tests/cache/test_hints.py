"""Notifications: a hint causes a look, and what it finds reaches every process in a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from okta_tokens._model.store_identity import part_identity
from okta_tokens.events import (
    NotificationsRefused,
    RenewalAdopted,
    StoreFailed,
    TokenAdopted,
    TokenWithdrawn,
)
from tests.cache.fleet import Process, World, in_virtual_time
from tests.cache.test_turns import errors_of, memory
from tests.cache.test_withdrawals import AFTER, BEFORE, invalidate, same_token
from tests.stores.support import NotifyingMemoryStore, identity_of


def held(process: Process) -> str | None:
    """Return the value of the token that a process holds."""
    token = process.source().peek()
    return None if token is None else token.value


# The end of another process's fetch


@in_virtual_time
async def test_the_last_of_eight_cold_processes_waits_little_longer_than_one(world: World) -> None:
    """The last process has its token within 1.2 times the exchange plus 20 ms."""
    world.store.takes = 0.002
    async with world.fleet(8) as fleet:
        for process in fleet:
            process.line.takes = 0.3
        begun = world.loop.time()
        await asyncio.gather(*(process.get() for process in fleet))

        assert world.loop.time() - begun <= 1.2 * 0.3 + 0.02
        assert len(world.sent) == 1


@in_virtual_time
async def test_a_cold_process_sends_few_commands(world: World) -> None:
    """Of 50 processes that start together, none sends the store more than six commands."""
    commands = Counter[object]()
    async with world.fleet(50) as fleet:
        for process in fleet:
            calls = process.provider._store._calls  # type: ignore[union-attr]  # there is a store
            run = calls.run

            async def counted(*args: object, run: object = run, name: object = process) -> object:
                commands[id(name)] += 1
                return await run(*args)  # type: ignore[operator]  # the method

            calls.run = counted  # type: ignore[method-assign]  # to count
        await asyncio.gather(*(process.get() for process in fleet))
        await asyncio.sleep(3)

        assert len(world.sent) == 1
        assert sum(bool(process.seen(TokenAdopted)) for process in fleet) == 49
        assert max(commands.values()) <= 6
        assert len(memory(world).subscriptions) == 50


@in_virtual_time
async def test_false_notifications_make_a_waiting_process_look_as_often_as_without(
    world: World,
) -> None:
    """A thousand false notifications in five seconds cause few looks of a process that waits."""
    async with world.fleet(2) as (one, two):
        one.line.takes = two.line.takes = 5.5
        getting = [asyncio.create_task(process.get()) for process in (one, two)]
        await asyncio.sleep(0.2)
        memory(world).calls.clear()
        for _ in range(1_000):
            memory(world).notify(identity_of(one.source().key))
            await asyncio.sleep(0.005)

        assert 8 * 4 <= memory(world).calls.count("look") <= 8 * 5 + 5
        await asyncio.gather(*getting)


@in_virtual_time
async def test_a_dead_holder_of_a_lease_sends_no_notification(world: World) -> None:
    """If the holder of a lease dies, another process takes over as soon as the lease has ended."""
    async with world.fleet(1) as (process,):
        await world.store.acquire(identity_of(process.source().key), 5)
        begun = world.loop.time()
        await process.get()

        assert 5 <= world.loop.time() - begun <= 5.4


@in_virtual_time
async def test_a_lost_connection_is_made_again(world: World) -> None:
    """While a connection is lost, a process polls; then it subscribes to everything again."""
    async with world.fleet(2) as (one, two):
        await same_token(one, two)
        await one.get("orders:write")
        one.line.takes = 5
        slow = asyncio.create_task(one.get("orders:read orders:write"))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(two.get("orders:read orders:write"))
        await asyncio.sleep(0.1)
        memory(world).disconnect()
        memory(world).error = None
        begun = world.loop.time()
        assert (await slow).value == (await waiting).value
        assert world.loop.time() - begun < 5.3
        await asyncio.sleep(10)

        assert len(memory(world).subscriptions) == 2
        (first, second) = memory(world).subscriptions
        assert {len(first.identities), len(second.identities)} == {3, 4}
        assert invalidate(one)
        await asyncio.sleep(1)
        assert held(two) is None


@in_virtual_time
async def test_a_refused_subscription_is_one_event_and_no_failure_of_the_store(
    world: World,
) -> None:
    """A process without the right to subscribe polls, and says so once."""
    memory(world).refuses_subscriptions = True
    async with world.fleet(2) as fleet:
        begun = world.loop.time()
        assert await errors_of(fleet) == ["", ""]
        assert world.loop.time() - begun < 0.6
        await asyncio.gather(*(process.get("orders:write") for process in fleet))
        await asyncio.sleep(100)

        for process in fleet:
            (event,) = process.seen(NotificationsRefused)
            assert "rights" in event.advice
            assert not process.seen(StoreFailed)
        assert memory(world).calls.count("subscribe") == 2


@in_virtual_time
async def test_a_subscription_that_hangs_delays_one_fetch_by_half_a_timeout(world: World) -> None:
    """A server that never answers a subscription is asked for it more and more rarely."""
    store, asked = memory(world), list[float]()

    async def subscribe(*identities: object) -> None:
        asked.append(world.loop.time())
        await asyncio.get_running_loop().create_future()

    store.subscribe = subscribe  # type: ignore[method-assign]  # it hangs
    async with world.fleet(1) as (process,):
        begun = world.loop.time()
        await process.get()
        assert world.loop.time() - begun == pytest.approx(store.timeout / 2 + 0.1, abs=0.01)
        begun = world.loop.time()
        await process.get("orders:write")
        assert world.loop.time() - begun <= store.timeout / 2 + 0.11
        await asyncio.sleep(300)

        gaps = [after - before for before, after in pairwise(asked)]
        assert gaps[0] < 2.5
        assert 15 < gaps[-1] < 31
        assert not process.seen(StoreFailed)


# Tokens that others drop or renew


@in_virtual_time
async def test_an_invalidated_token_is_dropped_by_all_within_a_second(world: World) -> None:
    """A rejection by one process reaches the others within a second, and costs one request."""
    async with world.fleet(5) as fleet:
        first = await same_token(*fleet)
        await asyncio.sleep(2)
        assert invalidate(fleet[0])
        await asyncio.sleep(1)

        assert [held(process) for process in fleet] == [None] * 5
        assert all(process.seen(TokenWithdrawn) for process in fleet[1:])
        assert await same_token(*fleet) != first
        assert len(world.sent) == 2


@in_virtual_time
async def test_a_cleared_client_is_known_to_all_within_a_second(world: World) -> None:
    """Clearing a client everywhere reaches the others within a second."""
    async with world.fleet(3) as (one, two, three):
        await same_token(one, two)
        await three.get("orders:write")
        await asyncio.sleep(2)
        await one.provider.clear(one.client, everywhere=True)
        await asyncio.sleep(1)

        assert held(two) is None
        assert three.source("orders:write").peek() is None


@in_virtual_time
async def test_a_notification_lets_no_token_be_dropped_by_itself(world: World) -> None:
    """A thousand false notifications cause one look per second, and change nothing."""
    async with world.fleet(1) as (process,):
        first = await same_token(process)
        await asyncio.sleep(2)
        store, identity = memory(world), identity_of(process.source().key)
        store.calls.clear()
        for _ in range(1_000):
            store.notify(identity)
            store.notify(part_identity(process.client))
            await asyncio.sleep(0.01)

        assert held(process) == first
        assert 8 <= store.calls.count("look") <= 11
        assert 8 <= store.calls.count("look_at_domain") <= 11
        assert len(store.calls) <= 22


@in_virtual_time
async def test_a_renewed_token_is_adopted_after_the_notification(world: World) -> None:
    """A process whose key is used adopts the newer token at once; its own renewal looks no more."""
    async with world.fleet(3) as (one, two, idle):
        await same_token(one, two, idle)
        await asyncio.sleep(100)
        await one.source().refresh()
        renewed = held(one)
        await asyncio.sleep(1)
        assert held(two) == renewed
        assert two.seen(RenewalAdopted)

        await two.provider.get_token(two.client, "orders:read")
        await asyncio.sleep(AFTER)
        memory(world).calls.clear()
        assert held(two) is not None


@in_virtual_time
async def test_the_held_token_is_not_adopted_again(world: World) -> None:
    """A process keeps its token although the store says that the same token expires later."""
    async with world.fleet(1) as (process,):
        await same_token(process)
        await asyncio.sleep(100)
        ((identity, (token, end)),) = memory(world).tokens.items()
        token.expires_at += 50
        memory(world).tokens[identity] = token, end + 50
        memory(world).notify(identity_of(process.source().key))
        await asyncio.sleep(2)

        assert memory(world).calls[-2:] == ["look", "look_at_domain"]
        assert not process.seen(RenewalAdopted)


@in_virtual_time
async def test_a_flight_under_way_needs_no_look(world: World) -> None:
    """A notification about a key whose flight is under way causes no look of its own."""
    async with world.fleet(1) as (process,):
        await same_token(process)
        await asyncio.sleep(10)
        process.line.takes = 5
        refreshing = asyncio.create_task(process.source().refresh())
        await asyncio.sleep(0.1)
        memory(world).calls.clear()
        memory(world).notify(identity_of(process.source().key))
        await asyncio.sleep(2)

        assert memory(world).calls == []
        await refreshing


@in_virtual_time
async def test_a_notification_during_a_fetch_ends_no_subscription(world: World) -> None:
    """The look that a notification causes does not end the notifications that a fetch needs."""
    async with world.fleet(1) as (process,):
        process.line.takes = 5
        getting = asyncio.create_task(process.get())
        await asyncio.sleep(1)
        identity = identity_of(process.source().key)
        memory(world).notify(identity)
        await asyncio.sleep(2)
        (subscription,) = memory(world).subscriptions
        assert identity in subscription.identities
        await getting
        assert memory(world).calls.count("subscribe") == 1


@in_virtual_time
async def test_an_unused_token_is_not_replaced(world: World) -> None:
    """A process that did not use its token since the last renewal does not adopt a newer one."""
    async with world.fleet(2) as (one, two):
        await same_token(one, two)
        for _ in range(2):
            await one.source().refresh()
            await asyncio.sleep(2)
        entry = two.source()._entry
        assert entry.token is not None
        before = entry.token.value
        await one.source().refresh()
        await asyncio.sleep(2)

        assert entry.token.value == before


@in_virtual_time
async def test_hints_about_keys_that_are_gone_end_their_subscription(world: World) -> None:
    """A process that no longer holds a token of an identity ends the notifications about it."""
    async with world.fleet(2) as (one, two):
        await same_token(one, two)
        await two.provider.clear()
        identity = identity_of(one.source().key)
        await asyncio.sleep(2)
        await one.get()
        await asyncio.sleep(2)
        subscriptions = [identity in one.identities for one in memory(world).subscriptions]
        assert sorted(subscriptions) == [False, True]

        assert (await two.get()).value
        await asyncio.sleep(1)
        assert all(identity in one.identities for one in memory(world).subscriptions)


@in_virtual_time
async def test_a_store_that_is_down_is_not_asked_after_a_notification(world: World) -> None:
    """During a break of the store a notification causes no call."""
    async with world.fleet(1) as (process,):
        await same_token(process)
        await asyncio.sleep(BEFORE)
        store = memory(world)
        store.error = ConnectionError()
        for _ in range(30):
            store.notify(identity_of(process.source().key))
            store.notify(part_identity(process.client))
            await asyncio.sleep(1)

        assert len(store.calls) < 20
        assert held(process)


async def woken(world: World) -> None:
    """Adopt another process's token after a notification of a store without the other part."""
    async with world.fleet(2) as fleet:
        for process in fleet:
            process.line.takes = 3
        begun = world.loop.time()
        assert await errors_of(fleet) == ["", ""]
        assert world.loop.time() - begun < 3.1
        assert len(world.sent) == 1


def test_a_store_that_only_notifies_wakes_who_waits() -> None:
    """Notifications serve a store with the seven methods, too."""
    in_virtual_time(woken, NotifyingMemoryStore)()
