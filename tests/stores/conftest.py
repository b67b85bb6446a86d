"""What the tests of stores share: a server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.stores.servers import Server, server


@pytest.fixture(scope="session")
async def running_server() -> AsyncIterator[Server]:
    """A server for all tests that do it no harm."""
    async with server() as made:
        yield made


@pytest.fixture
async def valkey(running_server: Server) -> Server:
    """A server that is empty."""
    await running_server.client.flushall()
    return running_server
