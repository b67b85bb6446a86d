"""Sentinels that make a replica the primary, while processes use the primary."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.stores.servers import wait_until
from tests.stores.topologies.fleet import TIMEOUT, Fleet, fleet
from tests.stores.topologies.guide import RIGHTS, RIGHTS_ON_A_SENTINEL, sentinel_client
from tests.stores.topologies.sentinels import NAME, Sentinels, sentinels

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def fleet_with_sentinels(
    folder: Path,
    unusable: list[tuple[str, int]],
    timeout: float,  # noqa: ASYNC109 - the timeout of the stores
) -> AsyncIterator[tuple[Sentinels, Fleet]]:
    """Run sentinels, and processes that use them as the guide says, with the least rights.

    Args:
        folder: An empty folder for the files of the sentinels.
        unusable: The addresses of more sentinels, which do not work, and which clients ask first.
        timeout: How many seconds a process waits for the store.
    """
    async with AsyncExitStack() as stack:
        watched = await stack.enter_async_context(
            sentinels(
                folder,
                user=f"fleet on >password {RIGHTS}",
                user_of_sentinels=f"watcher on >password {RIGHTS_ON_A_SENTINEL}",
            )
        )
        clients = []
        for _ in range(3):
            client = sentinel_client(
                NAME,
                [*unusable, *watched.addresses],
                {"username": "watcher", "password": "password"},
                username="fleet",
                password="password",
            )
            for sentinel in client.connection_pool.sentinel_manager.sentinels:
                await stack.enter_async_context(sentinel)
            clients.append(await stack.enter_async_context(client))
        yield watched, await stack.enter_async_context(fleet(clients, timeout))


@pytest.mark.parametrize("failure", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_replica_replaces_a_primary_that_fails(
    failure: signal.Signals, tmp_path: Path
) -> None:
    """When the primary dies or hangs, every process shares again by the server that replaces it."""
    async with fleet_with_sentinels(tmp_path, [], TIMEOUT) as (watched, processes):
        async with processes.under_load() as load:
            await load.renewals(1)
            watched.primary.signal(failure)
            await wait_until(watched.replica.is_primary)
            await load.renewals(2)
            await load.recovery()

        await processes.assert_unharmed(load)


async def test_sentinels_that_do_not_work_are_passed_over(tmp_path: Path, closed_port: int) -> None:
    """Processes use their store although the first sentinel is dead, and the second one hangs."""
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        unusable = [("127.0.0.1", closed_port), hanging.getsockname()]
        async with fleet_with_sentinels(tmp_path, unusable, 2) as (_, processes):
            assert await processes.requests_for_a_new_token() == 1
            assert [process.events for process in processes.processes] == [[], [], []]
