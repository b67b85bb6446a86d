"""A server that forgets: it restarts empty, or other programs fill its memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from redis.exceptions import OutOfMemoryError

from tests.stores.servers import Server, server
from tests.stores.topologies.fleet import LONG_TIMEOUT, fleet

MORE_MEMORY = 1_000_000
"""Bytes that the server has for entries."""

pytestmark = pytest.mark.timeout(60)


async def test_a_server_may_restart_empty() -> None:
    """When the server restarts without its entries, the next renewals fill it again."""
    async with server() as shared, fleet([shared.url] * 3) as processes:
        async with processes.under_load() as load:
            await load.renewals(1)
            shared.restart()
            await load.renewals(2)
            await load.recovery()

        await processes.assert_unharmed(load)


@asynccontextmanager
async def filled(shared: Server) -> AsyncIterator[None]:
    """Let another program write as much as it can, with and without an end, large and small."""
    is_full, is_over = asyncio.Event(), asyncio.Event()

    async def fill() -> None:
        for number in count():
            try:
                end = 100 if number % 2 else None
                value = bytes(10 if number % 3 else 10_000)
                await shared.client.set(f"other:{number}", value, ex=end)
            except OutOfMemoryError:
                is_full.set()
            if number % 100 == 0 and (await shared.client.info("stats"))["evicted_keys"]:
                is_full.set()
            if is_over.is_set():
                break

    async with asyncio.TaskGroup() as group:
        group.create_task(fill())
        await is_full.wait()
        yield
        # On Python 3.11 redis-py loses cancellations.
        is_over.set()


@pytest.mark.parametrize(
    "policy",
    [
        "noeviction",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ],
)
async def test_memory_may_run_out(policy: str) -> None:
    """Whatever a full server evicts or refuses, callers get tokens, and afterwards share them.

    A server that may evict every entry is no outage.
    """
    async with (
        server(maxmemory_policy=policy) as shared,
        fleet([shared.url] * 2, LONG_TIMEOUT) as processes,
    ):
        async with processes.under_load() as load:
            await load.renewals(1)
            used = (await shared.client.info("memory"))["used_memory"]
            await shared.client.config_set("maxmemory", used + MORE_MEMORY)
            async with filled(shared):
                await load.renewals(4)
            await shared.client.config_set("maxmemory", 0)
            await load.recovery()

        if policy.startswith("allkeys"):
            assert [process.events for process in processes.processes] == [[], []]
        await processes.assert_unharmed(load, alone=len(processes.processes))
