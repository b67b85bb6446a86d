"""What all tests share."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.ports import reserved_port
from tests.support import UVLOOP

if UVLOOP:
    import uvloop

    # As a policy, so that what runs a loop itself, in a thread or as the command does, has one too.
    asyncio.set_event_loop_policy(  # type: ignore[deprecated]  # the one way that reaches them all
        uvloop.EventLoopPolicy()
    )


# What the environment says of proxies is not meant for servers on this machine.
os.environ["no_proxy"] = "localhost,127.0.0.1"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run every asynchronous test on asyncio, the only event loop that aiohttp knows."""
    return "asyncio"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, unless the test does."""
    with reserved_port() as port:
        yield port
