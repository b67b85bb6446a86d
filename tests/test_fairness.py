"""Callers with scopes of their own starve neither renewals nor the callers of another client.

Okta is in memory, and time is virtual.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from typing import cast

import aiohttp
import pytest

from okta_tokens import ClientSecretBasic, OktaClient, RetryPolicy, TokenProvider
from okta_tokens.errors import TokenProviderError
from tests.simulation.machine import Machine, run
from tests.support import CLIENT_ID, SECRET
from tests.test_bounds import Session

LATENCY = 0.1
CROWD = 1_000
SECONDS = 20

CLIENT = OktaClient("acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET))
OTHER = OktaClient("acme.okta.com", "0oa2other", ClientSecretBasic(SECRET))


class SlowSession(Session):
    """A session whose responses take a tenth of a second, with tokens that live six seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = lambda: {"expires_in": 6}

    def post(
        self, _url: str, *, data: bytes, headers: Mapping[str, str], **_: object
    ) -> AbstractAsyncContextManager[object]:
        """Return a response that takes its time."""
        response = super().post(_url, data=data, headers=headers)

        @asynccontextmanager
        async def delayed() -> AsyncIterator[object]:
            await asyncio.sleep(LATENCY)
            async with response as received:
                yield received

        return delayed()


async def ask_without_end(provider: TokenProvider, scopes: Iterator[str]) -> None:
    """Ask for tokens, each time with other scopes."""
    while True:
        with suppress(TokenProviderError):
            await provider.get_token(CLIENT, next(scopes))


Work = Callable[[TokenProvider, int], Awaitable[object]]


async def longest_wait(places: int, work: Work) -> float:
    """Repeat some work while a crowd asks for tokens; return the longest time that it took."""
    loop = asyncio.get_running_loop()
    async with TokenProvider(
        session=cast("aiohttp.ClientSession", SlowSession()),
        clock=Machine(loop),
        retry=RetryPolicy(max_wait=8),
        max_concurrent_requests=places,
    ) as provider:
        await work(provider, 0)
        scopes = (f"x{number}" for number in count())
        crowd = [asyncio.create_task(ask_without_end(provider, scopes)) for _ in range(CROWD)]
        longest = 0.0
        end = loop.time() + SECONDS
        for number in count(1):
            await asyncio.sleep(0.05)
            began = loop.time()
            if began > end:
                break
            await work(provider, number)
            longest = max(longest, loop.time() - began)
        for task in crowd:
            task.cancel()
    return longest


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: the crowd fails very often."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("places", "longest"), [(1, 1.0), (2, 0.0), (3, 0.0), (8, 0.0)])
def test_callers_do_not_starve_renewals(places: int, longest: float) -> None:
    """The callers of a key in use never wait, or for less than a second if there is one place."""

    async def use(provider: TokenProvider, _: int) -> None:
        await provider.source(CLIENT, "a", keep_fresh=True).get_token()

    assert run(longest_wait(places, use)) <= longest


@pytest.mark.parametrize("places", [1, 2, 3, 8])
def test_a_client_with_many_callers_does_not_starve_another_one(places: int) -> None:
    """A caller of another client of the same domain waits for less than a second."""

    async def fetch(provider: TokenProvider, number: int) -> None:
        await provider.get_token(OTHER, f"s{number}")

    assert run(longest_wait(places, fetch)) < 1


@pytest.mark.parametrize("places", [1, 2, 3, 8])
def test_callers_do_not_starve_revocations(places: int) -> None:
    """A revocation takes less than a second, however many callers of its client want tokens."""
    held = {}

    async def revoke(provider: TokenProvider, number: int) -> None:
        if not number:
            for each in range(500):
                held[each] = await provider.get_token(CLIENT, f"s{each}")
        await provider.revoke(held[number])

    assert run(longest_wait(places, revoke)) < 1
