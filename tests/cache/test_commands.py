"""What a token costs the store: the calls of three processes, counted."""

from __future__ import annotations

import asyncio
from collections import Counter

from okta_tokens.errors import FetchError
from tests.cache.fleet import World, in_virtual_time
from tests.cache.test_turns import memory

FETCH = {"look": 2, "look_at_domain": 1, "acquire": 1, "settle": 1}


async def counted(world: World) -> dict[str, int]:
    """Let the hints of all processes end, and return the calls since the last time."""
    await asyncio.sleep(3)
    calls = memory(world).calls
    counts = {**Counter(calls)}
    calls.clear()
    return counts


async def use_until(world: World, seconds: float) -> None:
    """Let every process use its token every 30 seconds until some moment."""
    while world.loop.time() < seconds:
        await asyncio.sleep(30)
        for process in world.processes:
            try:
                await process.get()
            except FetchError:
                return


@in_virtual_time
async def test_a_token_costs_the_store_five_commands_and_two_of_each_further_process(
    world: World,
) -> None:
    """A fetch and a renewal make five calls; every other process makes two in each lifetime.

    A subscription is one more, once for each process.
    """
    async with world.fleet(3) as (one, *others):
        await one.get()
        assert await counted(world) == {**FETCH, "subscribe": 1}
        for process in others:
            await process.get()
            assert await counted(world) == {"look": 1, "look_at_domain": 1, "subscribe": 1}
        for lifetime in (3_400, 6_600):
            await use_until(world, lifetime)
            assert await counted(world) == {**FETCH, "look": 2 + 2, "look_at_domain": 1 + 2}
    assert len(world.sent) == 3


@in_virtual_time
async def test_a_withdrawn_token_costs_every_further_process_one_or_two_commands(
    world: World,
) -> None:
    """A rejected token costs each further process one call, a clearing at most two."""
    async with world.fleet(3) as fleet:
        tokens = [await process.get() for process in fleet]
        await counted(world)
        assert fleet[0].provider.invalidate(tokens[0])
        assert await counted(world) == {"reject": 1, "look": 2}
        await use_until(world, world.loop.time() + 60)
        await counted(world)
        await fleet[0].provider.clear(everywhere=True)
        calls = await counted(world)
        assert calls.pop("look", 0) <= 2  # a token that was dropped before is not looked at
        assert calls == {"clear": 1, "reject": 1, "look_at_domain": 2}
