"""Tokens that one process rejects, revokes or clears: the others drop them, too."""

from __future__ import annotations

import asyncio

import pytest

from okta_tokens.errors import ConfigurationError, StoreError
from okta_tokens.events import (
    InvalidationIgnored,
    StoreFailed,
    StoreRecovered,
    TokenInvalidated,
    TokenWithdrawn,
)
from okta_tokens.stores import SharedRejection, UnreadableEntry
from tests.cache.fleet import Process, World, in_virtual_time
from tests.cache.test_turns import memory
from tests.stores.support import BasicMemoryStore, identity_of

BEFORE, AFTER = 2_900.0, 3_310.0
"""Seconds before and after the time in which the renewal of a token of an hour is due."""


async def same_token(*fleet: Process) -> str:
    """Let each process get its token, and return the value, which is the same."""
    values = [(await process.get()).value for process in fleet]
    assert len({*values}) == 1
    return values[0]


def invalidate(process: Process) -> bool:
    """Report that an API rejects the held token."""
    token = process.source().peek()
    assert token is not None
    return process.provider.invalidate(token)


@in_virtual_time
async def test_a_look_tells_that_the_held_token_was_rejected(world: World) -> None:
    """A process whose renewal looks into the store drops a token that another process rejected."""
    memory(world).notifies = False
    async with world.fleet(3) as (one, two, three):
        first = await same_token(one, two, three)
        await asyncio.sleep(BEFORE)
        assert invalidate(one)
        replacement = await same_token(one)
        assert replacement != first
        assert (await two.get()).value == first

        await asyncio.sleep(AFTER - BEFORE)
        assert await same_token(one, two, three) == replacement
        for process in (two, three):
            assert [event.key for event in process.seen(TokenWithdrawn)] == [process.source().key]
            assert process.provider.stats().tokens_withdrawn == 1
        assert not two.seen(TokenInvalidated)
        assert len(world.sent) == 2


@in_virtual_time
async def test_a_withdrawn_token_is_not_used_although_no_other_can_be_fetched(
    world: World,
) -> None:
    """In an outage, too, a process drops the token that another process rejected."""
    memory(world).notifies = False
    async with world.fleet(2) as (one, two):
        await same_token(one, two)
        await asyncio.sleep(BEFORE)
        assert invalidate(one)
        world.fail("unavailable")
        await asyncio.sleep(AFTER - BEFORE)

        await two.error()
        assert two.seen(TokenWithdrawn)


@in_virtual_time
async def test_the_damping_travels_with_the_rejection(world: World) -> None:
    """Every process keeps the replacement of a token that one of them has rejected."""
    async with world.fleet(4) as (one, two, late, last):
        await same_token(one, two)
        assert invalidate(one)
        await same_token(one, late)
        assert not invalidate(late)
        await asyncio.sleep(0)
        assert late.seen(InvalidationIgnored)
        assert not invalidate(one)

        await asyncio.sleep(6)
        assert invalidate(late)
        await asyncio.sleep(0)
        assert [event.damping for event in late.seen(TokenInvalidated)] == [10.0]
        await asyncio.sleep(1)
        ((rejection, _),) = memory(world).rejections.values()
        assert rejection.damping == 10.0
        await same_token(late, last)
        assert not invalidate(late)
        assert not invalidate(last)


@pytest.mark.parametrize(
    ("damping", "kept"), [(300.0, 300.0), (1e9, 300.0), (20.0, 20.0), (0.0, 5.0), (-1.0, 5.0)]
)
def test_the_damping_of_another_process_has_the_same_limits(damping: float, kept: float) -> None:
    """A damping in the store is used between 5 seconds and 5 minutes, and only for 5 minutes."""

    @in_virtual_time
    async def test(world: World) -> None:
        async with world.fleet(1) as (process,):
            now = world.loop.time() + 1_767_225_600.0
            identity = identity_of(process.source().key)
            memory(world).rejections[identity] = SharedRejection(damping, now), 1e9
            await process.get()
            assert not invalidate(process)
            await asyncio.sleep(0)
            assert process.seen(InvalidationIgnored)[0].kept_for == pytest.approx(kept, abs=0.2)

            other = identity_of(process.source("orders:write").key)
            memory(world).rejections[other] = SharedRejection(damping, now - 301), 1e9
            token = await process.get("orders:write")
            assert process.provider.invalidate(token)

    test()


@in_virtual_time
async def test_a_revoked_token_is_dropped_without_damping(world: World) -> None:
    """A process that looks drops a token that another process revoked; its successor is normal."""
    async with world.fleet(2) as (one, two):
        first = await same_token(one, two)
        await one.provider.revoke(await one.get())
        await asyncio.sleep(AFTER)
        assert (await two.get()).value != first

        (event,) = two.seen(TokenWithdrawn)
        assert event.damping == 0.0
        assert invalidate(two)


# Clearing everywhere


@in_virtual_time
async def test_no_process_keeps_or_adopts_a_token_that_was_cleared_everywhere(
    world: World,
) -> None:
    """Tokens that were requested before are dropped at the next look, and never adopted."""
    memory(world).notifies = False
    async with world.fleet(4) as (one, two, three, late):
        first = await same_token(one, two)
        other = (await three.get("orders:write")).value
        await asyncio.sleep(100)

        await one.provider.clear(one.client, everywhere=True)

        assert (await late.get()).value != first
        assert (await late.get("orders:write")).value != other
        assert (await two.get()).value == first
        await asyncio.sleep(100)
        await two.get("orders:write")
        assert two.seen(TokenWithdrawn) == [
            TokenWithdrawn(key=two.source().key, damping=0.0),
        ]
        assert (await two.get()).value == (await late.get()).value
        await asyncio.sleep(100)
        await two.get("orders:read orders:write")
        assert len(two.seen(TokenWithdrawn)) == 1


@in_virtual_time
async def test_a_token_that_was_requested_after_the_clearing_is_kept(world: World) -> None:
    """A process that learns late of a clearing drops only the tokens from before."""
    memory(world).notifies = False
    async with world.fleet(2) as (one, two):
        await same_token(one, two)
        await asyncio.sleep(10)
        await one.provider.clear(one.client, everywhere=True)
        await asyncio.sleep(10)
        new = await two.source("orders:write").refresh()
        await asyncio.sleep(60)
        await two.get("orders:read orders:write")

        assert two.source().peek() is None
        assert two.source("orders:write").peek() == new


@in_virtual_time
async def test_all_clients_of_the_known_domains_are_cleared(world: World) -> None:
    """Without a client, `clear` concerns every client of the parts of domains with keys."""
    async with world.fleet(2) as (one, late):
        await one.get()
        first = (await one.get("orders:write")).value
        await asyncio.sleep(10)
        await one.provider.clear(everywhere=True)
        (name,) = memory(world).clearings
        assert name[1] is None

        assert (await late.get("orders:write")).value != first
        assert len(world.sent) == 3


@in_virtual_time
async def test_who_clears_adopts_no_earlier_token_either(world: World) -> None:
    """The process that clears everywhere does not adopt what it has never held."""
    async with world.fleet(2) as (one, two):
        await one.get()
        foreign = await two.get("orders:write")
        await asyncio.sleep(10)
        await one.provider.clear(one.client, everywhere=True)

        assert (await one.get("orders:write")).value != foreign.value


@in_virtual_time
async def test_a_token_that_was_under_way_during_the_clearing_is_fetched_again(
    world: World,
) -> None:
    """If a clearing becomes known while a token is fetched, the token is requested once more."""
    async with world.fleet(2) as (one, two):
        await one.get()
        two.line.takes = 5
        getting = asyncio.create_task(two.get("orders:write"))
        await asyncio.sleep(1)
        await one.provider.clear(one.client, everywhere=True)
        await asyncio.sleep(1)
        two.line.takes = 0.1
        await two.get("orders:read orders:write")
        assert (await getting).value.startswith("p1-3")
        assert len(two.line.sent) == 3


@in_virtual_time
async def test_a_clock_that_is_ahead_clears_no_tokens_of_the_future(world: World) -> None:
    """A process whose clock is ahead by minutes clears what was requested until others see it."""
    async with world.fleet(2) as (one, two):
        await same_token(one, two)
        await one.provider.clear(one.client, everywhere=True)
        ((name, (at, end)),) = memory(world).clearings.items()
        memory(world).clearings[name] = at + 300, end
        await asyncio.sleep(100)
        await one.get("orders:write")
        await two.get("orders:read orders:write")
        await asyncio.sleep(1)

        await same_token(one, two)
        assert two.seen(TokenWithdrawn)


@in_virtual_time
async def test_a_clearing_reaches_processes_that_have_not_used_the_store_since_it_failed(
    world: World,
) -> None:
    """Minutes after a failure of the store, everyone drops cleared tokens within two seconds."""
    async with world.fleet(8) as fleet:
        memory(world).error = ConnectionError()
        for process in fleet:
            await process.get()
        memory(world).error = None
        await asyncio.sleep(300)
        assert len(memory(world).subscriptions) == len(fleet)

        await fleet[0].provider.clear(everywhere=True)
        await asyncio.sleep(3)

        assert [process.source().peek() for process in fleet] == [None] * len(fleet)


@in_virtual_time
async def test_an_unavailable_store_is_an_error_of_clear(world: World) -> None:
    """If the store fails, the tokens are forgotten here, and an error says that others keep them.

    The next call reaches the same domains, although their keys are forgotten, and also in a break.
    """
    async with world.fleet(2) as (one, two):
        await same_token(one, two)
        await asyncio.sleep(10)
        memory(world).error = ConnectionError()
        for client in (None, one.client, None):
            with pytest.raises(StoreError, match=r"failed \(ConnectionError\), so other processes"):
                await one.provider.clear(client, everywhere=True)
            assert one.source().peek() is None
        await asyncio.sleep(1.5)
        assert len(one.seen(StoreFailed)) == 1
        assert two.source().peek() is not None

        memory(world).error = None
        await one.provider.clear(everywhere=True)
        await asyncio.sleep(1)
        assert two.source().peek() is None
        assert one.seen(StoreRecovered)


@in_virtual_time
async def test_an_unreadable_entry_is_a_failure_to_clear(world: World) -> None:
    """A store that cannot read its own entries has told no other process."""
    async with world.fleet(1) as (process,):

        async def clear(*args: object) -> None:
            raise UnreadableEntry

        memory(world).clear = clear  # type: ignore[assignment]  # it fails
        with pytest.raises(StoreError, match="UnreadableEntry"):
            await process.provider.clear(process.client, everywhere=True)


@in_virtual_time
async def test_clearing_everywhere_needs_a_domain(world: World) -> None:
    """A provider that has had no keys knows no domain, so it clears nothing, and says so."""
    async with world.fleet(1) as (process,):
        with pytest.raises(ConfigurationError, match=r"has no keys.*pass the client"):
            await process.provider.clear(everywhere=True)
        await process.get()
        for _ in range(2):
            await process.provider.clear(everywhere=True)
        assert memory(world).calls.count("clear") == 2


async def refused(world: World) -> None:
    """Clear everywhere without the optional part of the store."""
    async with world.fleet(1) as (process,):
        with pytest.raises(ConfigurationError, match="everywhere: the provider has no store"):
            await process.provider.clear(everywhere=True)


def test_a_store_without_the_optional_part_cannot_clear_everywhere() -> None:
    """A store with only the seven methods cannot tell other processes."""
    in_virtual_time(refused, BasicMemoryStore)()
