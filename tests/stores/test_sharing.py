"""Several providers, one server, one Okta: what a fleet sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from okta_tokens import (
    ClientSecretBasic,
    DPoP,
    OktaClient,
    RetryPolicy,
    TokenProvider,
    TokenSource,
)
from okta_tokens.errors import FetchError, RateLimitedError
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.stores.servers import Server
from tests.support import CLIENT_ID, SCOPES, SECRET, until

KEYS = [generate_key()]


@asynccontextmanager
async def fleet(
    url: str, okta: Sandbox, number: int, dpop: DPoP | None = None
) -> AsyncIterator[list[TokenSource]]:
    """Run some providers with connections of their own, and return a source of each."""
    async with AsyncExitStack() as stack:
        sources = []
        for _ in range(number):
            patient = RedisTokenStore(url, keys=KEYS, timeout=5)  # on however busy a machine
            store = await stack.enter_async_context(patient)
            provider = await stack.enter_async_context(
                TokenProvider(store=store, retry=RetryPolicy(attempts=1, max_wait=5))
            )
            client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET), dpop=dpop)
            sources.append(provider.source(client, "a"))
        yield sources


@pytest.fixture
async def okta() -> AsyncIterator[Sandbox]:
    """An Okta that takes a while to answer."""
    async with Sandbox([SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES)]) as made:
        made.latency = 0.05
        yield made


async def values(sources: list[TokenSource]) -> list[str]:
    """Return the value of the token that each gives."""
    return [token.value for token in await asyncio.gather(*(it.get_token() for it in sources))]


async def test_a_fleet_that_starts_together_makes_one_request(
    valkey: Server, okta: Sandbox
) -> None:
    """However many processes start together, Okta sees one request, and all have its token."""
    async with fleet(valkey.url, okta, 30) as sources:
        assert len({*await values(sources)}) == 1

    assert okta.token_requests == 1


async def test_a_rejected_token_is_replaced_for_all(valkey: Server, okta: Sandbox) -> None:
    """When each process finds the token dead, one fetches another, and nobody gets the old one."""
    async with fleet(valkey.url, okta, 10) as sources:
        (old,) = {*await values(sources)}
        okta.revoke_all()
        for source in sources:
            source.invalidate(old)

        assert old not in await values(sources)

        assert len({*await values(sources)}) == 1
        assert okta.token_requests == 2
    async with fleet(valkey.url, okta, 1) as sources:
        assert old not in await values(sources)


async def test_a_revoked_token_is_not_adopted(valkey: Server, okta: Sandbox) -> None:
    """What one process has revoked is not in the store any more."""
    async with fleet(valkey.url, okta, 1) as (source,):
        token = await source.get_token()
        await until(lambda: not source._provider._sharing._errands)  # type: ignore[union-attr]  # there is one

        await source._provider.revoke(token)

        assert (await source.get_token()).value != token.value
    assert okta.token_requests == 2


async def test_processes_with_keys_of_their_own_share_nothing(
    valkey: Server, okta: Sandbox
) -> None:
    """Bound tokens are shared by processes that hold the same key, and by no others."""
    okta.put_client(SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES, dpop=True))
    shared = DPoP()
    for dpop, tokens in ((shared, 1), (None, 3)):
        async with AsyncExitStack() as stack:
            sources = []
            for _ in range(3):
                one = fleet(valkey.url, okta, 1, dpop=dpop or DPoP())
                sources += await stack.enter_async_context(one)

            assert len({*await values(sources)}) == tokens


async def test_a_pause_is_one_for_all(valkey: Server, okta: Sandbox) -> None:
    """A 429 of one process keeps the others from asking, also for other tokens."""
    async with fleet(valkey.url, okta, 3) as (one, two, three):
        okta.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError):
            await one.get_token()
        await until(lambda: not one._provider._sharing._errands)  # type: ignore[union-attr]  # there is one

        for source in (two, three):
            with pytest.raises(RateLimitedError):
                await source.get_token()

    assert okta.token_requests == 1


async def test_who_cools_down_adopts_what_others_got(valkey: Server, okta: Sandbox) -> None:
    """After a failed fetch a process asks Okta no more for a while, and looks in the store."""
    async with fleet(valkey.url, okta, 2) as (one, two):
        okta.fail_next(Fault.status(500))
        for _ in range(3):
            with pytest.raises(FetchError):
                await one.get_token()
        assert okta.token_requests == 1

        token = await two.get_token()
        await until(lambda: not two._provider._sharing._errands)  # type: ignore[union-attr]  # there is one
        one._entry.look_after = 0.0  # a second later

        assert (await one.get_token()).value == token.value
        assert okta.token_requests == 2
