"""Fixtures and settings of all tests."""

import asyncio
import os
import random
import warnings
from collections.abc import Iterator

import pytest

from okta_tokens._cache import misuse
from tests.ports import reserved_port
from tests.support import UVLOOP

# A project of its own, whose tests tests/testing runs.
collect_ignore = ["sample_service"]

if UVLOOP:
    import uvloop

    class Loop(uvloop.Loop):
        """A loop of uvloop whose methods a test can replace."""

    class Policy(uvloop.EventLoopPolicy):  # type: ignore[misc]  # uvloop does not say what it is
        """Make such loops."""

        def _loop_factory(self) -> Loop:
            return Loop()

    # A policy, because some code under test creates its own loop: threads and the command.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # from 3.14 on
        asyncio.set_event_loop_policy(  # type: ignore[deprecated]  # no other way affects all loops
            Policy()
        )

# The proxies of the environment must not be used for servers on this machine.
os.environ["no_proxy"] = "localhost,127.0.0.1"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run every asynchronous test on asyncio, the only library that aiohttp supports."""
    return "asyncio"


@pytest.fixture(autouse=True)
def drawn_numbers_repeat(request: pytest.FixtureRequest) -> None:
    """Let each test draw the same numbers every time; `OKTA_TOKENS_SEED` selects others."""
    random.seed(os.environ.get("OKTA_TOKENS_SEED", "") + request.node.nodeid)


@pytest.fixture(autouse=True)
def other_providers_are_forgotten() -> None:
    """Forget the fetches of other tests' providers: ports, and so domains, are used again."""
    misuse.FETCHES.clear()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Reserve a port of the loopback interface on which no server listens."""
    with reserved_port() as port:
        yield port
