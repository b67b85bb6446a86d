"""The benchmark `outage`: moved time reaches every library, and every error is counted."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, encode_basic_auth

from benchmarks.outage import (
    LIFETIME,
    Call,
    MovedTime,
    Noticed,
    Opener,
    measure,
    own_call,
    peer_calls,
)
from benchmarks.peers import available
from benchmarks.server import CLIENT_ID, SECRET, Server, serve

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


@asynccontextmanager
async def kept_for_55_minutes(server: Server, _moved: MovedTime) -> AsyncIterator[Call]:
    """Keep a token for 55 minutes, then fetch another one."""
    fetch_at = 0.0
    form = {"grant_type": "client_credentials", "scope": "s0"}
    headers = {"Authorization": encode_basic_auth(CLIENT_ID, SECRET)}
    async with ClientSession(headers=headers) as session:

        async def call() -> bool:
            nonlocal fetch_at
            if time.time() >= fetch_at:
                async with session.post(server.token_url, data=form) as response:
                    if response.status != 200:
                        return False
                    fetch_at = time.time() + 3_300
            return True

        yield call


async def test_an_outage_is_noticed_if_the_token_is_kept_for_a_fixed_time() -> None:
    """A provider bridges an outage from the 53rd minute; a token kept for 55 minutes does not."""
    async with serve(lifetime=LIFETIME) as server:
        ours = await measure("ours", own_call, server, [0, 53])
        theirs = await measure("theirs", kept_for_55_minutes, server, [0, 53])

    assert (ours.outages, ours.noticed, ours.errors) == (2, 0, 0)
    # The outage of 240 s begins at 3,180 s; the calls from 3,300 s to 3,420 s fail.
    assert theirs == Noticed(outages=2, noticed=1, errors=13, requests=2 + 2 + 13)


async def test_the_clocks_are_restored() -> None:
    """After the measurement the process has its own wall clock."""
    before = time.time()
    with MovedTime() as moved:
        await moved.advance(1_000)
        assert time.time() - before >= 1_000

    assert time.time() - before < 500
