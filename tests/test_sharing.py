"""Several providers that share a store, on a clock that the tests move."""

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
async def another_process(here: World, retry: RetryPolicy | None = None) -> AsyncIterator[World]:
    """Run the provider of another process that shares the store."""
    events: list[Event] = []
    async with TokenProvider(
        clock=here.clock, store=here.store, retry=retry, observers=[events.append]
    ) as provider:
        yield World(here.clock, here.sandbox, provider, here.client, events, here.store)


# Tokens


async def test_refresh_adopts_no_token_and_shares_its_own() -> None:
    """A refresh fetches although another process has a token; the others adopt what it got."""
    async with (
        world(store=MemoryTokenStore) as here,
        another_process(here) as other,
        another_process(here) as third,
    ):
        held = await here.source().get_token()
        await settle()
        refreshed = await other.source().refresh()
        await settle()
        adopted = await third.source().get_token()

        assert refreshed.value != held.value
        assert adopted.value == refreshed.value
        assert here.sandbox.token_requests == 2


async def test_a_refresh_during_the_cool_down_fetches() -> None:
    """With a store, too, `refresh` sends a request although the last fetch has just failed."""
    retry = RetryPolicy(attempts=1)
    async with world(store=MemoryTokenStore, retry=retry) as here:
        here.sandbox.fail_next(Fault.status(503))
        with pytest.raises(FetchError):
            await here.source().get_token()

        assert (await here.source().refresh()).value


async def test_no_process_adopts_a_token_that_was_cleared() -> None:
    """`clear` discards the tokens in the store: those held, and one that is under way."""
    async with world(store=MemoryTokenStore) as here, another_process(here) as other:
        held = await here.source().get_token()
        await settle()
        await here.provider.clear()
        await settle()
        fetched = await other.source().get_token()
        assert fetched.value != held.value

        here.sandbox.latency = 0.05
        waiting = asyncio.ensure_future(here.source("b").get_token())
        await until(lambda: here.sandbox.token_requests == 3)
        await here.provider.clear()
        disowned = await waiting
        await settle()

        assert (await other.source("b").get_token()).value != disowned.value


async def test_an_adopted_token_emits_an_event() -> None:
    """The event of an adopted token holds the token's remaining life."""
    async with world(lifetime=300, store=MemoryTokenStore) as here, another_process(here) as other:
        shared = await here.source().get_token()
        await settle()
        await here.clock.advance(100)

        token = await other.source().get_token()

        assert token.value == shared.value
        assert other.seen(TokenAdopted) == [
            TokenAdopted(
                key=token.key,
                reason="missing",
                duration=0.0,
                waited=0.0,
                lifetime=300,
                remaining=200,
                scopes=frozenset({"a"}),
                waiters=1,
            )
        ]
        assert here.seen(TokenAdopted) == []


async def test_one_process_renews_and_the_others_adopt() -> None:
    """Eight processes make about one request per lifetime together, and adopt the other tokens."""
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
        for _ in range(8):
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
        for _ in range(10):
            await clock.advance(250, quiet)

        adopted = sum(isinstance(event, TokenAdopted) for event in events)
        assert 9 <= okta.token_requests <= 13
        assert adopted > 60


# Rejections


async def invalidate(here: World, token: AccessToken) -> None:
    """Report that an API rejected a token, and wait for the store."""
    assert here.provider.invalidate(token)
    await settle()


async def revoke(here: World, token: AccessToken) -> None:
    """Let Okta revoke a token."""
    await here.provider.revoke(token)


@pytest.mark.parametrize("drop", [invalidate, revoke])
async def test_a_rejected_or_revoked_token_is_not_adopted(
    drop: Callable[[World, AccessToken], Awaitable[None]],
) -> None:
    """A rejected or revoked token leaves the store, and is not adopted if it comes back."""
    async with world(store=MemoryTokenStore) as here:
        assert here.store is not None
        token = await here.source().get_token()
        await settle()
        stored = dict(here.store.tokens)
        assert stored != {}

        await drop(here, token)
        assert here.store.tokens == {}
        here.store.tokens.update(stored)

        assert (await here.source().get_token()).value != token.value
        assert here.sandbox.token_requests == 2


def test_a_token_can_be_invalidated_between_runs_of_the_loop() -> None:
    """A token can be invalidated from a plain function while the event loop does not run."""
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


async def test_an_unavailable_store_emits_one_event() -> None:
    """Tokens are fetched without the store, and one event names the reason."""
    async with world(store=MemoryTokenStore) as here:
        assert here.store is not None
        here.store.error = ConnectionError()
        for scope in ("a", "b"):
            await here.source(scope).get_token()

        (failed,) = here.seen(StoreFailed)
        assert failed.reason == "ConnectionError"


async def test_a_429_pauses_every_process() -> None:
    """A 429 of one process pauses the domain for the others, also for other tokens."""
    retry = RetryPolicy(attempts=1, max_wait=5)
    async with (
        world(retry=retry, store=MemoryTokenStore) as here,
        another_process(here, retry) as other,
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


async def test_a_key_that_cools_down_polls_the_store_once_a_second() -> None:
    """During a cool-down a process loads from the store once a second, and adopts a token."""
    retry = RetryPolicy(attempts=1)
    async with world(retry=retry, store=MemoryTokenStore) as here, another_process(here) as other:
        assert here.store is not None
        here.sandbox.fail_next(Fault.status(500))
        with pytest.raises(FetchError):
            await here.source().get_token()
        await settle()
        here.store.calls.clear()
        for _ in range(2):
            with pytest.raises(FetchError):
                await here.source().get_token()
        assert here.store.calls == ["look"]

        shared = await other.source().refresh()
        await settle()
        here.store.calls.clear()
        with pytest.raises(FetchError):
            await here.source().get_token()
        assert here.store.calls == []

        # A cool-down of a minute, as after several failures in a row.
        here.provider._manager.entries.get_or_add(shared.key).refuse_until += 60
        await here.clock.advance(1)
        assert (await here.source().get_token()).value == shared.value
        assert here.store.calls == ["look"]
        assert here.sandbox.token_requests == 2


async def test_a_key_that_is_kept_fresh_is_fetched_after_its_cool_down() -> None:
    """A key that is kept fresh is fetched after its cool-down, even if a flight was under way."""
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
        await clock.advance(source._entry.refuse_until - clock.boot - 0.05)
        store.takes = 0.1
        source._entry.adopt_after = 0.0
        adopting = asyncio.create_task(source.get_token())
        await clock.advance(0.2)
        with pytest.raises(FetchError):
            await adopting
        store.takes = 0.0

        await clock.advance(1)
        await until(lambda: okta.token_requests == 2)
