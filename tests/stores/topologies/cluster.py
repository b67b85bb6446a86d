"""A cluster: three primaries, each with a replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from redis.crc import key_slot

from tests.stores.servers import Server, execute, server, wait_until

SIZE = 3
SLOTS = 16_384
NODE_TIMEOUT = 1_000
"""Milliseconds after which the nodes consider a node to have failed."""


@dataclass
class Cluster:
    """A cluster.

    Args:
        primaries: The nodes with slots.
        replicas: A replica of each primary, in the same order.
    """

    primaries: list[Server]
    replicas: list[Server]

    async def slots_in_use(self) -> dict[int, int]:
        """Return the slots that have entries, and the index of the primary of each."""
        return {
            key_slot(name): index
            for index, primary in enumerate(self.primaries)
            for name in await primary.names()
        }

    async def move_at_once(self, slots: Iterable[int], source: int, target: int) -> None:
        """Move slots as Valkey 9 does: the target takes them over when it has all their entries."""
        new = await execute(self.primaries[target].client, "CLUSTER MYID")
        client = self.primaries[source].client
        moves = [("SLOTSRANGE", slot, slot, "NODE", new) for slot in slots]
        await execute(client, "CLUSTER MIGRATESLOTS", *chain.from_iterable(moves))

        async def is_done() -> bool:
            states = await execute(client, "CLUSTER GETSLOTMIGRATIONS")
            return all("'success'" in str(state) for state in states)

        await wait_until(is_done)

    async def begin_to_move(self, slot: int, source: int, target: int) -> None:
        """Let a primary hand over a slot: from now on it redirects calls for what it has not."""
        ids = [await execute(node.client, "CLUSTER MYID") for node in self.primaries]
        at_source, at_target = self.primaries[source].client, self.primaries[target].client
        await execute(at_target, "CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
        await execute(at_source, "CLUSTER SETSLOT", slot, "MIGRATING", ids[target])

    async def move_entries(self, slot: int, source: int, target: int) -> None:
        """Move the entries of a slot."""
        client, port = self.primaries[source].client, self.primaries[target].port
        while names := await execute(client, "CLUSTER GETKEYSINSLOT", slot, 100):
            await execute(client, "MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *names)

    async def end_move(self, slot: int, target: int) -> None:
        """Let every primary know who has a slot now."""
        new = await execute(self.primaries[target].client, "CLUSTER MYID")
        for node in [self.primaries[target], *self.primaries]:
            await execute(node.client, "CLUSTER SETSLOT", slot, "NODE", new)


@asynccontextmanager
async def cluster(**options: Any) -> AsyncIterator[Cluster]:  # noqa: ANN401 - the servers' settings
    """Run a cluster.

    Args:
        **options: Settings of all servers, as for `started`.
    """
    options |= {
        "cluster_enabled": "yes",
        "cluster_node_timeout": NODE_TIMEOUT,
        "repl_diskless_sync_delay": 0,
    }
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(server(**options)) for _ in range(2 * SIZE)]
        made = Cluster(nodes[:SIZE], nodes[SIZE:])
        for index, primary in enumerate(made.primaries):
            first, after = (SLOTS * edge // SIZE for edge in (index, index + 1))
            await execute(primary.client, "CLUSTER ADDSLOTSRANGE", first, after - 1)
        for epoch, node in enumerate(nodes, 1):
            await execute(node.client, "CLUSTER SET-CONFIG-EPOCH", epoch)
            (bus,) = (await execute(node.client, "CONFIG GET", "cluster-port")).values()
            await execute(nodes[0].client, "CLUSTER MEET", "127.0.0.1", node.port, bus)

        for node in nodes:
            await wait_until(partial(_knows_all, node))
        for primary, replica in zip(made.primaries, made.replicas, strict=True):
            name = await execute(primary.client, "CLUSTER MYID")
            await execute(replica.client, "CLUSTER REPLICATE", name)
        for node in nodes:
            await wait_until(partial(_is_ready, node))
        for replica in made.replicas:
            await wait_until(partial(_is_replicated, replica))
        yield made


async def _knows_all(node: Server) -> bool:
    known = await execute(node.client, "CLUSTER NODES")
    return len(known) == 2 * SIZE and "handshake" not in str(known)


async def _is_ready(node: Server) -> bool:
    info = await execute(node.client, "CLUSTER INFO")
    slots = await execute(node.client, "CLUSTER SLOTS")
    has_replicas = all(len(part) == 4 for part in slots)  # the range of the slots, and two nodes
    return info["cluster_state"] == "ok" and has_replicas


async def _is_replicated(replica: Server) -> bool:
    replication = await replica.client.info("replication")
    return bool(replication["master_link_status"] == "up")
