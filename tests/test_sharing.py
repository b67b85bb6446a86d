"""Several providers, and a store whose time is the test's: what a fleet keeps and adopts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, RetryPolicy, TokenProvider
from okta_tokens.errors import FetchError, RateLimitedError
from okta_tokens.events import Event, StoreFailed, TokenAdopted
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.clock import ManualClock, settle
from tests.stores.support import MemoryTokenStore
from tests.support import CLIENT_ID, SCOPES, SECRET, World, until, world


@asynccontextmanager
async def another(here: World, retry: RetryPolicy | None = None) -> AsyncIterator[World]:
    """Run another process's provider beside a first one."""
    events: list[Event] = []
    async with TokenProvider(
        clock=here.clock, store=here.store, retry=retry, observers=[events.append]
    ) as provider:
        yield World(here.clock, here.sandbox, provider, here.client, events, here.store)


# Tokens


async def test_what_was_adopted_is_told() -> None:
    """A token of another process is told of as one that was adopted, with the life that is left."""
    async with world(lifetime=300, store=MemoryTokenStore) as here, another(here) as other:
        theirs = await here.source().get_token()
        await settle()
        await here.clock.advance(100)

        token = await other.source().get_token()

        assert token.value == theirs.value
        assert other.seen(TokenAdopted) == [
            TokenAdopted(
                key=token.key, lifetime=300, remaining=200, scopes=frozenset({"a"}), waiters=1
            )
        ]
        assert here.seen(TokenAdopted) == []


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


# Rejections


async def invalidate(here: World, token: AccessToken) -> None:
    """Report that an API rejected a token, and let the store hear of it."""
    assert here.provider.invalidate(token)
    await settle()


async def revoke(here: World, token: AccessToken) -> None:
    """Let Okta revoke a token."""
    await here.provider.revoke(token)


@pytest.mark.parametrize("end", [invalidate, revoke])
async def test_a_token_that_is_no_good_is_none_for_anybody(
    end: Callable[[World, AccessToken], Awaitable[None]],
) -> None:
    """What was rejected or revoked leaves the store; should it come back, it is not adopted."""
    async with world(store=MemoryTokenStore) as here:
        assert here.store is not None
        token = await here.source().get_token()
        await settle()
        kept = dict(here.store.tokens)
        assert kept != {}

        await end(here, token)
        assert here.store.tokens == {}
        here.store.tokens.update(kept)

        assert (await here.source().get_token()).value != token.value
        assert here.sandbox.token_requests == 2


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


# Failures


async def test_a_store_that_fails_is_told_of_once() -> None:
    """Tokens are fetched without the store, and one event says why."""
    async with world(store=MemoryTokenStore) as here:
        assert here.store is not None
        here.store.error = ConnectionError()
        for scope in ("a", "b"):
            await here.source(scope).get_token()

        (failed,) = here.seen(StoreFailed)
        assert isinstance(failed, StoreFailed)
        assert failed.reason == "ConnectionError"


async def test_a_429_is_one_for_all() -> None:
    """Who sees a 429 lets the others pause, also for other tokens."""
    patience = RetryPolicy(attempts=1, max_wait=5)
    async with (
        world(retry=patience, store=MemoryTokenStore) as here,
        another(here, patience) as other,
    ):
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError):
            await here.source().get_token()
        await settle()

        with pytest.raises(RateLimitedError) as caught:
            await other.source("b").get_token()

        left = caught.value.retry_at.timestamp() - here.clock.wall
        assert left == pytest.approx(60, abs=2)
        assert here.sandbox.token_requests == 1


async def test_who_cools_down_looks_once_a_second() -> None:
    """After a failure a process does not ask Okta, and looks for the others' luck now and then."""
    patience = RetryPolicy(attempts=1)
    async with world(retry=patience, store=MemoryTokenStore) as here, another(here) as other:
        assert here.store is not None
        here.sandbox.fail_next(Fault.status(500))
        with pytest.raises(FetchError):
            await here.source().get_token()
        here.store.calls.clear()
        for _ in range(2):
            with pytest.raises(FetchError):
                await here.source().get_token()
        assert here.store.calls == ["load"]

        theirs = await other.source().get_token()
        await settle()
        here.store.calls.clear()
        with pytest.raises(FetchError):
            await here.source().get_token()
        assert here.store.calls == []

        # A cool-down of a minute, as after a row of failures.
        here.provider._manager.entries.get_or_add(theirs.key).refuse_until += 60
        await here.clock.advance(1)
        assert (await here.source().get_token()).value == theirs.value
        assert here.store.calls == ["load"]
        assert here.sandbox.token_requests == 2


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
        source._entry.adopt_after = 0.0
        looking = asyncio.create_task(source.get_token())
        await clock.advance(0.2)
        with pytest.raises(FetchError):
            await looking
        store.takes = 0.0

        await clock.advance(1)
        await until(lambda: okta.token_requests == 2)
