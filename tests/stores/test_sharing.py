"""What a fleet of processes sees: several providers, one server, one Okta."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

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


@dataclass
class Process:
    """A provider with its own connections to the store, and a source of it."""

    provider: TokenProvider
    source: TokenSource

    async def store_calls_are_over(self) -> None:
        """Wait until the provider has no call of the store in the background."""
        store = self.provider._store
        assert store is not None
        await until(lambda: not store._background)


@asynccontextmanager
async def fleet(
    url: str, okta: Sandbox, size: int, dpop: DPoP | None = None
) -> AsyncIterator[list[Process]]:
    """Run some processes that share a store."""
    async with AsyncExitStack() as stack:
        processes = []
        for _ in range(size):
            # A timeout that a busy machine does not reach.
            store = RedisTokenStore(url, keys=KEYS, timeout=5)
            provider = TokenProvider(
                store=await stack.enter_async_context(store),
                retry=RetryPolicy(attempts=1, max_wait=5),
            )
            await stack.enter_async_context(provider)
            client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET), dpop=dpop)
            processes.append(Process(provider, provider.source(client, "a")))
        yield processes


@pytest.fixture
async def okta() -> AsyncIterator[Sandbox]:
    """An Okta that takes 50 ms to respond."""
    async with Sandbox([SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES)]) as sandbox:
        sandbox.latency = 0.05
        yield sandbox


async def values(processes: list[Process]) -> list[str]:
    """Return the value of the token that each process gets."""
    tokens = await asyncio.gather(*(process.source.get_token() for process in processes))
    return [token.value for token in tokens]


async def test_a_fleet_that_starts_together_makes_one_request(
    valkey: Server, okta: Sandbox
) -> None:
    """If many processes start together, Okta gets one request, and every process its token."""
    async with fleet(valkey.url, okta, 30) as processes:
        assert len({*await values(processes)}) == 1

    assert okta.token_requests == 1


async def test_a_rejected_token_is_replaced_for_all(valkey: Server, okta: Sandbox) -> None:
    """If every process rejects the token, one fetches another, and no process gets the old one."""
    async with fleet(valkey.url, okta, 10) as processes:
        (old,) = {*await values(processes)}
        okta.revoke_all()
        for process in processes:
            process.source.invalidate(old)

        assert old not in await values(processes)

        assert len({*await values(processes)}) == 1
        assert okta.token_requests == 2
    async with fleet(valkey.url, okta, 1) as processes:
        assert old not in await values(processes)


async def test_a_revoked_token_is_not_adopted(valkey: Server, okta: Sandbox) -> None:
    """A token that a process revokes is removed from the store."""
    async with fleet(valkey.url, okta, 1) as (process,):
        token = await process.source.get_token()
        await process.store_calls_are_over()

        await process.provider.revoke(token)

        assert (await process.source.get_token()).value != token.value
    assert okta.token_requests == 2


async def test_processes_with_dpop_keys_of_their_own_share_nothing(
    valkey: Server, okta: Sandbox
) -> None:
    """Processes share bound tokens if they have the same DPoP key, and only then."""
    okta.put_client(SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES, dpop=True))
    shared = DPoP()
    for dpop, tokens in ((shared, 1), (None, 3)):
        async with AsyncExitStack() as stack:
            processes = []
            for _ in range(3):
                one = fleet(valkey.url, okta, 1, dpop=dpop or DPoP())
                processes += await stack.enter_async_context(one)

            assert len({*await values(processes)}) == tokens


async def test_a_pause_applies_to_all_processes(valkey: Server, okta: Sandbox) -> None:
    """After a 429 of one process the other processes send no request, for other tokens either."""
    async with fleet(valkey.url, okta, 3) as (one, two, three):
        okta.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError):
            await one.source.get_token()
        await one.store_calls_are_over()

        for process in (two, three):
            with pytest.raises(RateLimitedError):
                await process.source.get_token()

    assert okta.token_requests == 1


async def test_a_key_that_cools_down_adopts_the_token_of_another_process(
    valkey: Server, okta: Sandbox
) -> None:
    """During the cool-down a process sends no request, but loads from the store."""
    async with fleet(valkey.url, okta, 2) as (one, two):
        okta.fail_next(Fault.status(500))
        for _ in range(3):
            with pytest.raises(FetchError):
                await one.source.get_token()
        assert okta.token_requests == 1

        token = await two.source.refresh()
        await two.store_calls_are_over()
        one.source._entry.adopt_after = 0.0  # the instant at which it may load again

        assert (await one.source.get_token()).value == token.value
        assert okta.token_requests == 2
