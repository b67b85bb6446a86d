"""Cancellation, wherever it strikes: a waiter leaves, the request goes on, nobody hangs."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens._endpoint import TokenFlight
from okta_tokens.errors import CredentialError, ProviderStateError
from okta_tokens.sandbox import Fault
from tests.support import CLIENT_ID, SECRET, World, at_once, until, world


async def waiters(here: World, number: int) -> list[asyncio.Task[str]]:
    """Let some callers wait for one token, until its request has reached the sandbox."""
    here.sandbox.latency = 0.05
    source = here.source()
    tasks = [asyncio.create_task(source.access_token()) for _ in range(number)]
    await here.requests(1)
    return tasks


async def test_when_the_first_of_ten_is_cancelled_nine_get_the_token() -> None:
    """Whoever asked first does not own the request."""
    async with world() as here:
        first, *others = await waiters(here, 10)
        first.cancel()

        values = await asyncio.gather(*others)

        assert first.cancelled()
        assert len(set(values)) == 1
        assert here.sandbox.token_requests == 1


async def test_when_all_are_cancelled_the_token_lands_all_the_same() -> None:
    """The request counts against the limit already, and the next caller wants its result."""
    async with world() as here:
        tasks = await waiters(here, 10)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await here.quiet()

        assert at_once(here.source().access_token())
        assert here.sandbox.token_requests == 1


async def test_a_waiter_that_is_cancelled_as_the_flight_lands_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cancellation that comes together with the token is not swallowed."""
    async with world() as here:
        (task,) = await waiters(here, 1)
        flights = here.provider._keeper.flights
        release = flights._release

        def release_and_cancel(flight: TokenFlight) -> None:
            release(flight)
            task.cancel()

        monkeypatch.setattr(flights, "_release", release_and_cancel)

        with pytest.raises(asyncio.CancelledError):
            await task
        assert at_once(here.source().access_token())


async def test_a_waiter_may_use_anyios_cancel_scopes() -> None:
    """A time-out of anyio's around a call ends that call alone."""
    async with world() as here:
        (other,) = await waiters(here, 1)
        with anyio.move_on_after(0.001) as scope:
            await here.source().get_token()

        assert scope.cancelled_caught
        assert await other


async def test_cancelling_the_callers_task_group_leaves_the_provider_alone() -> None:
    """An error in the caller's task group ends its waiters, not the flight."""
    async with world() as here:
        here.sandbox.latency = 0.05
        source = here.source()

        async def fail() -> None:
            await here.requests(1)
            raise LookupError

        async def both() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(source.get_token)
                group.start_soon(fail)

        with pytest.raises(ExceptionGroup):
            await both()
        await here.quiet()

        assert at_once(source.access_token())


async def in_the_secret(here: World) -> None:
    """Wait until the flight asks for the secret."""
    await until(lambda: here.provider.stats().requests == 1)


async def in_the_request(here: World) -> None:
    """Wait until the sandbox has the request."""
    await here.requests(1)


async def in_the_body(here: World) -> None:
    """Wait until a part of the answer has been sent."""
    await here.requests(1)
    await asyncio.sleep(0.03)


async def in_the_delay(here: World) -> None:
    """Wait until the flight waits for its second attempt."""
    await here.failures(1)


async def in_the_pause(here: World) -> None:
    """Wait until the flight waits for the end of a pause."""
    await until(lambda: here.provider.stats().pauses == 1)


PLACES: list[tuple[Callable[[World], Awaitable[None]], Fault | None]] = [
    (in_the_secret, None),
    (in_the_request, None),
    (in_the_body, Fault.drip(0.01)),
    (in_the_delay, Fault.status(503)),
    (in_the_pause, Fault.rate_limited(reset_in=30)),
]


@pytest.mark.parametrize(("place", "fault"), PLACES)
async def test_closing_ends_a_flight_wherever_it_is(
    place: Callable[[World], Awaitable[None]], fault: Fault | None
) -> None:
    """At each await of a flight, closing tells its waiters and leaves no task behind."""

    async def slow_secret() -> str:
        await asyncio.sleep(0.01)
        return SECRET

    async with world() as here:
        here.sandbox.latency = 0.02
        here.sandbox.fault = fault
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(slow_secret))
        calls = [asyncio.create_task(here.provider.get_token(client, "a")) for _ in range(3)]
        await place(here)
        await here.provider.aclose()

        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, ProviderStateError) for outcome in outcomes)
        assert not here.provider._keeper.flights._tasks
        assert len(here.provider._schedule) == 0


@pytest.mark.parametrize(("place", "fault"), PLACES)
async def test_a_flight_goes_on_wherever_its_waiters_leave_it(
    place: Callable[[World], Awaitable[None]], fault: Fault | None
) -> None:
    """At each await of a flight, its waiters may leave, and the next caller gets its token."""

    async def slow_secret() -> str:
        await asyncio.sleep(0.01)
        return SECRET

    async with world() as here:
        here.sandbox.latency = 0.02
        if fault is not None:
            here.sandbox.fail_next(fault)
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(slow_secret))
        source = here.provider.source(client, "a")
        calls = [asyncio.create_task(source.get_token()) for _ in range(3)]
        await place(here)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        late = asyncio.create_task(source.access_token())
        while not late.done():
            await here.clock.advance(0.5)
            await asyncio.sleep(0.002)

        assert await late
        assert here.sandbox.token_requests <= 2


async def test_a_callable_that_cancels_itself_is_an_error() -> None:
    """A `CancelledError` that nobody sent to us does not pass for one that somebody did."""

    async def cancelled() -> str:
        raise asyncio.CancelledError

    async with world() as here:
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(cancelled))
        caller = asyncio.create_task(here.provider.get_token(client, "a"))
        for failures in (1, 2, 3):
            await here.failures(failures)
            await here.clock.advance(0.5)

        with pytest.raises(CredentialError, match="CancelledError"):
            await caller


async def test_a_cancelled_start_leaves_nothing_behind() -> None:
    """A start that is cancelled closes the provider."""
    provider = TokenProvider()
    starting = asyncio.create_task(provider.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await provider.aclose()

    assert provider._session is not None
    assert provider._session.closed
