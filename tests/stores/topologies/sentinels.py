"""A primary and a replica, and three sentinels that promote the replica."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from tests.stores.servers import Server, execute, sentinel, server, wait_until

NAME = "fleet"
SENTINELS = 3
DOWN_AFTER = 500
"""Milliseconds after which a sentinel considers the primary to be down."""


@dataclass
class Sentinels:
    """Servers with sentinels.

    Args:
        primary: The primary.
        replica: Its replica.
        addresses: The host and port of each sentinel.
    """

    primary: Server
    replica: Server
    addresses: list[tuple[str, int]]


@asynccontextmanager
async def sentinels(folder: Path, user: str, user_of_sentinels: str) -> AsyncIterator[Sentinels]:
    """Run a primary, a replica, and three sentinels of which two must agree.

    Args:
        folder: An empty folder for the files of the sentinels.
        user: A user of the servers, and the user's rights.
        user_of_sentinels: A user of the sentinels, and the user's rights.
    """
    settings = [
        f"user {user_of_sentinels}",
        f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}",
        f"sentinel failover-timeout {NAME} 5000",
    ]
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(server(user=user, repl_diskless_sync_delay=0))
        replica = await stack.enter_async_context(server(user=user))
        await replica.client.replicaof("127.0.0.1", str(primary.port))
        addresses = []
        for number in range(SENTINELS):
            (own := folder / str(number)).mkdir()
            port = await stack.enter_async_context(
                sentinel(primary, NAME, own, quorum=2, settings=settings)
            )
            addresses.append(("127.0.0.1", port))

        for _, port in addresses:
            await wait_until(partial(_is_ready, port))
        yield Sentinels(primary, replica, addresses)


async def _is_ready(port: int) -> bool:
    """Tell whether a sentinel knows the replica and the other sentinels."""
    async with Redis(port=port) as client:
        state = await execute(client, "SENTINEL MASTER", NAME)
        replicas = await execute(client, "SENTINEL SLAVES", NAME)
    links = [replica["master-link-status"] for replica in replicas]
    return bool(state["num-other-sentinels"] == SENTINELS - 1 and links == ["ok"])
