"""Several providers, one store, one Okta: what a fleet sees."""

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
from okta_tokens.events import Event, TokenAdopted
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from okta_tokens.stores import RedisTokenStore, generate_key
from tests.clock import ManualClock, settle
from tests.stores.servers import Server
from tests.stores.support import MemoryTokenStore
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
        await until(lambda: not source._provider._fleet._errands)  # type: ignore[union-attr]  # there is one

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
        await until(lambda: not one._provider._fleet._errands)  # type: ignore[union-attr]  # there is one

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
        await until(lambda: not two._provider._fleet._errands)  # type: ignore[union-attr]  # there is one
        one._entry.look_after = 0.0  # a second later

        assert (await one.get_token()).value == token.value
        assert okta.token_requests == 2


async def test_one_renews_and_the_others_adopt() -> None:
    """In twenty lifetimes twenty processes make some twenty requests, and adopt the rest."""
    clock = ManualClock()
    store = MemoryTokenStore(clock)
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES)
    events: list[Event] = []
    async with (
        Sandbox([app], lifetime=300, wall_time=clock.wall_time) as okta,
        AsyncExitStack() as stack,
    ):
        client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET))
        sources = []
        for _ in range(20):
            provider = TokenProvider(store=store, clock=clock, observers=[events.append])
            await stack.enter_async_context(provider)
            sources.append(provider.source(client, "a", keep_fresh=True))

        async def quiet() -> None:
            await settle()
            before = -1
            while before != okta.token_requests:
                before = okta.token_requests
                await asyncio.sleep(0.002)  # sockets take real time
                await settle()

        starting = asyncio.gather(*(source.get_token() for source in sources))
        await clock.advance(1, quiet)
        await starting
        for _ in range(20):
            await clock.advance(250, quiet)

        assert 19 <= okta.token_requests <= 25
        assert sum(isinstance(event, TokenAdopted) for event in events) > 300


async def test_a_key_that_cools_down_is_not_forgotten_about() -> None:
    """A key that is kept fresh is fetched after its cool-down, also if a look was under way."""
    clock = ManualClock()
    store = MemoryTokenStore(clock)
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES)
    policy = RetryPolicy(attempts=1)
    async with (
        Sandbox([app], wall_time=clock.wall_time) as okta,
        TokenProvider(store=store, clock=clock, retry=policy) as provider,
    ):
        client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET))
        source = provider.source(client, "a", keep_fresh=True)
        okta.fail_next(Fault.status(500))
        with pytest.raises(FetchError):
            await source.get_token()
        cooled = source._entry.refuse_until
        await clock.advance(cooled - clock.boot - 0.05)
        store.takes = 0.1
        source._entry.look_after = 0.0
        looking = asyncio.create_task(source.get_token())
        await clock.advance(0.2)
        with pytest.raises(FetchError):
            await looking
        store.takes = 0.0

        await clock.advance(1)
        await until(lambda: okta.token_requests == 2)


def test_a_rejection_may_be_reported_while_the_loop_rests() -> None:
    """A token can be invalidated from a plain function, between two runs of the event loop."""
    with asyncio.Runner() as runner:
        clock = ManualClock()
        store = MemoryTokenStore(clock)
        okta = Sandbox([SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES)])
        provider = TokenProvider(store=store)
        runner.run(okta.start())
        runner.run(provider.start())
        client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET))
        token = runner.run(provider.get_token(client, "a"))

        assert provider.invalidate(token)

        runner.run(settle())
        assert store.tokens == {}
        runner.run(provider.aclose())
        runner.run(okta.aclose())
