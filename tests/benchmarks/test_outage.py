"""The benchmark `outage`: moved time reaches every library, and every error is counted."""

import time

import pytest

from benchmarks.outage import LIFETIME, MovedTime, Opener, measure, own_call, peer_calls
from benchmarks.peers import AsyncLRU, available
from benchmarks.server import serve

LIBRARIES = {"okta-tokens": own_call, **{kind.name: peer_calls(kind) for kind in available()[0]}}

each_library = pytest.mark.parametrize("opened", LIBRARIES.values(), ids=LIBRARIES)


@each_library
async def test_a_token_expires_by_moved_time(opened: Opener) -> None:
    """After an hour that is moved, each library fetches a second token, and not before."""
    requests = []
    async with serve(lifetime=LIFETIME) as server:
        with MovedTime() as moved:
            async with opened(server, moved) as call:
                for seconds in (LIFETIME, LIFETIME / 2, LIFETIME / 2 + 10):
                    await moved.advance(seconds)
                    assert await call()
                    requests.append((await server.counts())["token_requests"])

    assert requests == [1, 0, 1]


@each_library
async def test_a_failed_call_is_an_error(opened: Opener) -> None:
    """Each library raises an error if it gets no token from a server that fails."""
    async with serve() as server:
        await server.fail("503")
        with MovedTime() as moved:
            async with opened(server, moved) as call:
                assert not await call()


async def test_an_outage_is_noticed_only_by_callers_of_others() -> None:
    """An outage from the 57th minute fails the calls of a library that renews at expiry."""
    pytest.importorskip("async_lru")
    async with serve(lifetime=LIFETIME) as server:
        ours = await measure("ours", own_call, server, [0, 57])
        theirs = await measure("theirs", peer_calls(AsyncLRU), server, [0, 53])

    assert (ours.outages, ours.noticed, ours.errors) == (2, 0, 0)
    assert (theirs.outages, theirs.noticed) == (2, 1)
    assert theirs.errors > 0


async def test_the_clocks_are_restored() -> None:
    """After the measurement the process has its own wall clock."""
    before = time.time()
    with MovedTime() as moved:
        await moved.advance(1_000)
        assert time.time() - before >= 1_000

    assert time.time() - before < 500
