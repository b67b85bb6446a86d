"""A cluster whose slots move, and whose primaries fail, while processes use it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from redis.asyncio import RedisCluster
from redis.exceptions import RedisError

from tests.stores.servers import wait_until
from tests.stores.topologies.cluster import SIZE, Cluster, cluster
from tests.stores.topologies.fleet import LONG_TIMEOUT, TIMEOUT, Fleet, fleet
from tests.stores.topologies.guide import RIGHTS, RIGHTS_ON_A_CLUSTER, cluster_client

pytestmark = pytest.mark.timeout(60)


async def close(client: RedisCluster) -> None:
    """Close a client, although redis-py closes none whose next call begins with CLUSTER SLOTS."""
    with suppress(RedisError):
        _ = await client.initialize()
    await client.aclose()


@asynccontextmanager
async def fleet_with_a_cluster(
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - the timeout of the stores
) -> AsyncIterator[tuple[Cluster, Fleet]]:
    """Run a cluster, and processes that use it as the guide says, with the least rights."""
    user = f"fleet on >password {RIGHTS} {RIGHTS_ON_A_CLUSTER}"
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(cluster(user=user))
        addresses = [("127.0.0.1", node.port) for node in nodes.primaries]
        login = {"username": "fleet", "password": "password"}
        clients = [cluster_client(addresses, **login) for _ in range(3)]
        for client in clients:
            stack.push_async_callback(close, client)
        yield nodes, await stack.enter_async_context(fleet(clients, timeout))


async def test_slots_that_move_at_once_are_used_all_the_time() -> None:
    """While Valkey moves the slots of all tokens to another primary, no process has an outage."""
    async with fleet_with_a_cluster(LONG_TIMEOUT) as (nodes, processes):
        async with processes.under_load() as load:
            await load.renewals(1)
            slots = await nodes.slots_in_use()
            for source in {*slots.values()}:
                own = [slot for slot, index in slots.items() if index == source]
                await nodes.move_at_once(own, source, (source + 1) % SIZE)
            await load.renewals(2)

        assert [process.events for process in processes.processes] == [[], [], []]
        await processes.assert_unharmed(load)


async def test_slots_that_move_entry_by_entry_cost_no_caller_a_token() -> None:
    """While two primaries have a part of a slot each, callers get tokens; then all is shared."""
    async with fleet_with_a_cluster() as (nodes, processes):
        async with processes.under_load() as load:
            await load.renewals(1)
            slots = await nodes.slots_in_use()
            moves = [(slot, source, (source + 1) % SIZE) for slot, source in slots.items()]
            for move in moves:
                await nodes.begin_to_move(*move)
            await load.renewals(2)
            for move in moves:
                await nodes.move_entries(*move)
            await load.renewals(2)
            for slot, _, target in moves:
                await nodes.end_move(slot, target)
            await load.renewals(2)
            await load.recovery()

        await processes.assert_unharmed(load)


@pytest.mark.parametrize("failure", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_replica_replaces_a_primary_that_fails(failure: signal.Signals) -> None:
    """When a primary with tokens dies or hangs, every process shares again by its replica."""
    async with fleet_with_a_cluster() as (nodes, processes):
        async with processes.under_load() as load:
            await load.renewals(1)
            index = max((await nodes.slots_in_use()).values())
            replica = nodes.replicas[index]
            nodes.primaries[index].signal(failure)
            await wait_until(replica.is_primary)
            await load.renewals(2)
            await load.recovery()

        await processes.assert_unharmed(load)
        before = await replica.names()
        while await replica.names() <= before:  # until a new token is stored there
            assert await processes.requests_for_a_new_token() == 1
