"""The lifecycle of a provider: start, close, failure and fork."""

import asyncio
import gc

import pytest

from okta_tokens import (
    ClientSecretBasic,
    OktaClient,
    RetryPolicy,
    TokenProvider,
)
from okta_tokens._lifecycle import Lifecycle, State, _stop_after_fork
from okta_tokens.errors import ProviderStateError
from okta_tokens.events import (
    FetchFailed,
    ProviderClosed,
    ProviderFailed,
    TokenFetched,
)
from okta_tokens.sandbox import Sandbox
from tests.clock import call_at
from tests.support import CLIENT_ID, SECRET, at_once, default_client, until, world

ACME = OktaClient("acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET))


# Start


async def test_a_provider_must_be_started() -> None:
    """A new provider makes sources, and every other call says how to start the provider."""
    provider = TokenProvider()
    source = provider.source(ACME, "a")

    with pytest.raises(ProviderStateError, match="async with"):
        await source.get_token()
    with pytest.raises(ProviderStateError, match="async with"):
        await provider.warm(source)


async def test_a_provider_is_started_once() -> None:
    """A second start, and a start after closing, raise an error."""
    provider = TokenProvider()
    assert await provider.start() is provider
    with pytest.raises(ProviderStateError) as caught:
        await provider.start()
    assert str(caught.value) == "the provider is already started; start it once"
    assert "okta_tokens" in {task.get_name() for task in asyncio.all_tasks()}
    await provider.aclose()
    with pytest.raises(ProviderStateError, match="closed"):
        await provider.start()


async def test_a_cancelled_start_closes_the_provider() -> None:
    """If `start()` is cancelled, the provider is closed and so is its session."""
    provider = TokenProvider()
    starting = asyncio.create_task(provider.start())
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    await provider.aclose()

    assert starting.cancelled()
    assert provider._registry._session is not None
    assert provider._registry._session.closed
    with pytest.raises(ProviderStateError, match="closed"):
        await provider.start()


# Close


async def test_a_closed_provider_hands_out_no_token() -> None:
    """A closed provider does not hand out the tokens that it held."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        await here.provider.aclose()

        with pytest.raises(ProviderStateError, match="closed"):
            at_once(source.get_token())
        with pytest.raises(ProviderStateError, match="closed"):
            at_once(here.provider.get_token(here.client, "a"))
        assert source.invalidate("anything") is False


async def test_closing_wakes_every_waiter() -> None:
    """Each waiter gets its own `ProviderStateError` when the provider is closed."""
    async with world() as here:
        here.sandbox.latency = 5
        callers = [asyncio.ensure_future(here.source().get_token()) for _ in range(10)]
        await here.requests(1)
        await here.provider.aclose()
        errors = await asyncio.gather(*callers, return_exceptions=True)

        assert len(here.seen(ProviderClosed)) == 1
        assert all(isinstance(error, ProviderStateError) for error in errors)
        assert {str(error) for error in errors} == {
            (
                "the provider was closed, or failed, while this caller waited for a token; make "
                "another provider"
            )
        }
        assert len({id(error) for error in errors}) == 10


async def test_a_closing_provider_counts_as_closed() -> None:
    """A call during `aclose()` gets the same error as a call after it."""
    async with world() as here:
        closing = asyncio.ensure_future(here.provider.aclose())
        await asyncio.sleep(0)

        assert repr(here.provider).startswith("<TokenProvider closed")
        with pytest.raises(ProviderStateError, match="closed; make another one"):
            await here.source().get_token()
        await closing


async def test_closing_is_idempotent() -> None:
    """Closing twice, closing concurrently, and closing a new provider raise no error."""
    fresh = TokenProvider()
    await fresh.aclose()
    await fresh.aclose()
    with pytest.raises(ProviderStateError, match="closed"):
        await fresh.start()

    async with TokenProvider() as provider:
        await asyncio.gather(provider.aclose(), provider.aclose())
        await provider.aclose()


async def test_closing_leaves_nothing_behind() -> None:
    """After closing there is no task, timer or connection of the provider."""
    before = asyncio.all_tasks()
    async with Sandbox() as sandbox:
        client = default_client(sandbox)
        sandbox.latency = 0.2
        provider = await TokenProvider().start()
        await provider.get_token(client, "customScope")
        waiting = asyncio.ensure_future(provider.get_token(client, "orders:read"))
        await until(lambda: sandbox.token_requests == 2)
        session = provider._registry._session
        await provider.aclose()
        with pytest.raises(ProviderStateError):
            await waiting

        new = [repr(task) for task in asyncio.all_tasks() - before]
        assert all("RequestHandler" in task for task in new)  # the sandbox's own
        assert session is not None
        assert session.closed
        assert len(provider._schedule) == 0


async def test_a_provider_can_be_closed_in_another_task() -> None:
    """A provider may be started in one task and closed in another one."""
    async with Sandbox() as sandbox:
        client, provider = default_client(sandbox), TokenProvider()
        await asyncio.create_task(provider.start())
        assert (await provider.get_token(client, "customScope")).value
        await asyncio.create_task(provider.aclose())

        assert "closed" in repr(provider)


async def test_an_error_of_the_body_is_raised_unchanged() -> None:
    """An exception in the `async with` body is neither wrapped in a group nor replaced."""
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with TokenProvider():
            raise error

    assert caught.value is error


async def test_a_cancelled_close_still_closes() -> None:
    """If `aclose()` is cancelled, the provider still closes completely."""
    async with world() as here:
        here.sandbox.latency = 5
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        closing = asyncio.ensure_future(here.provider.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(ProviderStateError):
            await caller

        await here.provider.aclose()
        assert here.provider._registry._session is not None
        assert here.provider._registry._session.closed


async def test_closing_during_the_start_closes_the_session() -> None:
    """A provider that is closed before its background work has begun closes its session."""
    provider = TokenProvider()
    starting = asyncio.create_task(provider.start())
    closing = asyncio.create_task(provider.aclose())
    await asyncio.wait([starting, closing])

    assert provider._registry._session is not None
    assert provider._registry._session.closed
    with pytest.raises(ProviderStateError, match="closed"):
        await provider.get_token(ACME, "a")


async def test_the_end_of_the_loop_closes_a_forgotten_provider() -> None:
    """The end of `asyncio.run` closes a provider that its user did not close, without a warning."""

    async def forget() -> TokenProvider:
        async with Sandbox() as sandbox:
            provider = await TokenProvider().start()
            await provider.get_token(default_client(sandbox), "customScope")
            return provider

    provider = await asyncio.to_thread(asyncio.run, forget())
    gc.collect()

    assert provider._registry._session is not None
    assert provider._registry._session.closed
    with pytest.raises(ProviderStateError, match="event loop of the provider has ended"):
        await provider.get_token(ACME, "a")


async def test_closing_ends_a_flight_that_swallows_its_cancellation() -> None:
    """A callable for the secret that catches its cancellation does not keep the provider open."""
    called = asyncio.Event()

    async def secret() -> str:
        called.set()
        try:
            await asyncio.sleep(30)
        except BaseException:  # noqa: BLE001 - as some users write it
            return SECRET
        raise AssertionError

    async with world() as here:
        here.sandbox.latency = 30
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(secret))
        caller = asyncio.ensure_future(here.provider.get_token(client, "a"))
        await called.wait()
        await asyncio.wait_for(here.provider.aclose(), 5)

        with pytest.raises(ProviderStateError):
            await caller


@pytest.mark.parametrize("result", ["token", "error"])
async def test_the_result_of_a_flight_after_closing_is_dropped(result: str) -> None:
    """A waiter gets the error of a closed provider even if its flight ends with another result."""
    called = asyncio.Event()

    async def secret() -> str:
        called.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as error:
            if result == "error":
                raise LookupError from error
        return SECRET

    async with world(retry=RetryPolicy(attempts=1)) as here:
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(secret))
        caller = asyncio.ensure_future(here.provider.get_token(client, "a"))
        await called.wait()
        await here.provider.aclose()

        with pytest.raises(ProviderStateError):
            await caller
        assert here.seen(FetchFailed) == here.seen(TokenFetched) == []
        assert len(here.provider._schedule) == 0


# Failure


async def test_an_internal_error_ends_the_provider() -> None:
    """If the background work raises, waiters and later callers get an error with the cause."""
    async with world() as here:
        here.sandbox.latency = 5
        source = here.source()
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(1)

        def fail() -> None:
            secret = SECRET
            raise ZeroDivisionError(len(secret) - len(SECRET))

        call_at(here.provider._schedule, 0, fail)
        with pytest.raises(ProviderStateError):
            await caller
        with pytest.raises(
            ProviderStateError, match=r"^Internal error in okta-tokens while running the"
        ) as caught:
            await source.get_token()

        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert caught.value.__cause__.__traceback__ is None
        await here.provider.aclose()
        (failed,) = here.seen(ProviderFailed)
        assert str(failed.error) == str(caught.value)
        assert failed.error.__cause__ is caught.value.__cause__
        assert not here.seen(ProviderClosed)


# Fork


async def test_a_new_provider_may_start_after_a_fork() -> None:
    """After a fork a running provider refuses calls, and a new provider can be started."""
    fresh, running = TokenProvider(), await TokenProvider().start()
    state = running._lifecycle.state
    _stop_after_fork()
    try:
        with pytest.raises(ProviderStateError, match="after the fork"):
            await running.get_token(ACME, "a")
        async with fresh:
            assert "running" in repr(fresh)
    finally:
        running._lifecycle.state = state
        await running.aclose()


async def test_a_fork_comes_before_an_earlier_failure() -> None:
    """In a forked child a failed provider reports the fork, not the failure in the parent."""
    async with world() as here:
        source = here.source()
        call_at(here.provider._schedule, 0, lambda: 1 / 0)
        await until(lambda: "failed" in repr(here.provider))
        _stop_after_fork()

        with pytest.raises(ProviderStateError, match="after the fork"):
            await source.get_token()


def test_a_loop_that_was_closed_is_noticed() -> None:
    """The state of a running provider tells that its event loop was closed, and serving ends."""
    ends: list[str] = []
    lifecycle = Lifecycle(lambda: ends.append("stopped"))
    loop = asyncio.new_event_loop()
    lifecycle._loop, lifecycle.state = loop, State.RUNNING
    assert lifecycle.observe() is State.RUNNING
    loop.close()

    assert lifecycle.observe() is State.LOOP_CLOSED
    assert ends == ["stopped"]


def test_a_repr_names_the_state_in_words() -> None:
    """The repr of a provider names its state with spaces."""
    provider = TokenProvider()
    provider._lifecycle.state = State.LOOP_CLOSED

    assert repr(provider) == "<TokenProvider loop closed: 0 keys, 0 in flight>"
