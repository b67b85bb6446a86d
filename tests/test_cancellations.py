"""Cancellation at each suspension: a waiter leaves, the flight goes on, and no caller hangs.

Each test holds a flight at each of its suspensions in turn. In memory and virtual time the n-th
suspension is the same in each run. On a real socket the suspensions include those of aiohttp.
"""

import asyncio
import gc
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import NoneType
from typing import Any

import anyio
import pytest
from multidict import CIMultiDict

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import CredentialError, OAuthError, ProviderStateError
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.clock import call_at, settle
from tests.flights import (
    CLOSED,
    ENDS,
    LATENCY,
    LIFETIME,
    LONG,
    Caller,
    FlightWorld,
    Okta,
    Response,
    Scenario,
    Secret,
    Way,
    by_scope,
    by_task,
    by_timeout,
    flight,
    in_memory,
    landed,
    on_a_socket,
    oversleep,
)
from tests.simulation.machine import run
from tests.support import CLIENT_ID, SECRET, at_once, until, world
from tests.suspensions import Moment, Watch, moments

UNAVAILABLE = Response(503)
REFUSED = Response(401, (b'{"error":"invalid_client"}',))
LIMITED = Response(
    429,
    headers=CIMultiDict(
        {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "X-Rate-Limit-Reset": "1445412484"}
    ),
)
NEVER = Response(200, seconds=math.inf)
NO_NONCE = Response(400, (b'{"error":"use_dpop_nonce"}',), CIMultiDict({"DPoP-Nonce": "a-nonce"}))

secrets = itertools.count()


async def slow_secret() -> str:
    """Return the secret after `LATENCY`."""
    await asyncio.sleep(LATENCY)
    return SECRET


async def new_secret() -> str:
    """Return a different secret in each call, after `LATENCY`."""
    await asyncio.sleep(LATENCY)
    return f"{SECRET}-{next(secrets)}"


PLAIN = Scenario(suspensions=3)  # the head of the response, its body, its end

SCENARIOS = {
    "plain": PLAIN,
    # ... and the secret
    "secret": Scenario(suspensions=4, secret=slow_secret),
    # ... and two more parts of the body
    "parts": Scenario(suspensions=5, parts=3),
    # ... and the place
    "crowd": Scenario(suspensions=4, requests=2, crowded=True),
    # the head, the body, the end; a turn, the end of the pause; the head, the body, the end
    "pause": Scenario(suspensions=8, requests=2, responses=(LIMITED,)),
    # the head, the body, the end; the delay; the head, the body, the end
    "retry": Scenario(suspensions=7, requests=2, responses=(UNAVAILABLE,)),
    # the head, until the timeout; the delay; the head, the body, the end
    "time-out": Scenario(suspensions=5, requests=2, responses=(NEVER,)),
    # the head, the body, the end
    "refusal": Scenario(suspensions=3, responses=(REFUSED,), error=OAuthError),
    # the head, the body, the end; the same with the nonce
    "nonce": Scenario(suspensions=6, requests=2, responses=(NO_NONCE,), dpop=True),
    # the secret, the head, the body, the end; the same with another secret
    "rotation": Scenario(suspensions=8, requests=2, responses=(REFUSED,), secret=new_secret),
    # the place, the head, the body, the end
    "renewal": Scenario(suspensions=4, requests=3, crowded=True, renewal=True),
}


def combine(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of a scenario and a name for tests in which most pairs show nothing new.

    The pairs combine every scenario with the first name, the plain scenario with every name, and
    each other scenario with one more name.
    """
    first, *others = names
    turns = itertools.cycle(others)
    return [
        *((scenario, first) for scenario in SCENARIOS),
        *(("plain", name) for name in others),
        *((scenario, next(turns)) for scenario in SCENARIOS if scenario != "plain"),
    ]


in_each_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def at_each_moment(suspensions: int, check: Callable[[Moment], Coroutine[Any, Any, None]]) -> None:
    """Run a check for each moment of a coroutine with a number of suspensions."""
    for moment in moments(suspensions):
        try:
            run(check(moment))
        except BaseException as error:
            error.add_note(f"The flight was held at suspension {moment}.")
            raise


@in_each_scenario
def test_each_suspension_of_a_flight_is_known(scenario: Scenario) -> None:
    """The number of suspensions in each scenario is right, so that the tests reach all of them."""

    async def main() -> None:
        async with flight(scenario) as here:
            await here.land()

            # If a flight suspends more often than its scenario says, it has a new await: add it to
            # the scenario's comment, and raise the number. An await that no scenario reaches needs
            # a new scenario.
            assert here.watch.suspensions == scenario.suspensions
            assert here.okta.requests == scenario.requests
            assert here.resources() == landed(1 + len(here.other_callers))
        assert here.resources() == CLOSED

    run(main())


# Waiters leave

LEAVERS = {
    "all": (slice(0, 3), by_task),
    "first": (slice(0, 1), by_task),
    "last": (slice(2, 3), by_task),
    "all-by-scope": (slice(0, 3), by_scope),
    "first-by-timeout": (slice(0, 1), by_timeout),
}
"""The callers that leave, and how they leave."""


def check_results(here: FlightWorld, scenario: Scenario, results: Iterable[object]) -> None:
    """Check that all callers got the same result, and that a later caller gets it at once."""
    results = [*results]
    if scenario.error is None:
        token = at_once(here.source.get_token())
        assert all(result is token for result in results)
    else:
        with pytest.raises(scenario.error) as caught:
            at_once(here.source.get_token())
        results.append(caught.value)
        assert {type(error) for error in results} == {scenario.error}
        assert len({id(error) for error in results}) == len(results)


@pytest.mark.parametrize(("name", "leavers"), combine(LEAVERS))
def test_waiters_may_leave_a_flight_at_any_suspension(name: str, leavers: str) -> None:
    """At each suspension any waiter may leave; the others and the next caller get the result."""
    scenario = SCENARIOS[name]
    leaving, way = LEAVERS[leavers]

    async def check(moment: Moment) -> None:
        async with flight(scenario, moment, way) as here:
            if scenario.renewal:
                here.source.invalidate(at_once(here.source.get_token()))
                await here.start_callers(way)
            for caller in here.callers[leaving]:
                caller.leave()
            await settle()
            here.watch.release()
            results = await here.results()
            await here.land()

            assert {type(result) for result in results[leaving]} == {ENDS[way]}
            del results[leaving]
            check_results(here, scenario, results)
            assert here.watch.suspensions == scenario.suspensions
            assert here.okta.requests == scenario.requests
            assert here.resources() == landed(1 + len(here.other_callers))
        assert here.resources() == CLOSED

    at_each_moment(scenario.suspensions, check)


def test_a_cancelled_caller_can_rejoin_except_in_a_cancelled_scope() -> None:
    """A cancelled caller can call again and rejoin; in a cancelled scope each call is cancelled."""

    async def check(moment: Moment) -> None:
        async with flight(PLAIN, moment) as here:
            cancellations = []

            async def retry() -> object:
                for _ in range(3):
                    try:
                        return await here.source.get_token()
                    except asyncio.CancelledError as error:
                        cancellations.append(error)
                return None

            async def retry_in_scope() -> object:
                with scope:
                    return await retry()
                return None

            scope = anyio.CancelScope()
            once, again = map(asyncio.create_task, (retry(), retry_in_scope()))
            await settle()
            once.cancel()
            scope.cancel()
            await settle()
            seen = (once.done(), again.done(), len(cancellations))
            await here.land()

            assert seen == (False, True, 1 + 3)
            assert await once is at_once(here.source.get_token())
            assert await again is None
            assert here.okta.requests == 1
            assert here.resources() == landed(1)

    at_each_moment(PLAIN.suspensions, check)


def test_a_waiter_that_is_cancelled_just_before_the_landing_is_cancelled() -> None:
    """A waiter that is cancelled before the landing is cancelled, also if its turn comes later."""

    async def main() -> None:
        async with flight(PLAIN, Moment(PLAIN.suspensions, woken=True)) as here:
            here.watch.release()
            here.callers[0].leave()
            cancelled, *served = await here.results()

            assert type(cancelled) is asyncio.CancelledError
            check_results(here, PLAIN, served)

    run(main())


def test_a_waiter_that_is_cancelled_just_after_the_landing_is_cancelled() -> None:
    """A waiter that is cancelled between the landing and its next turn is cancelled."""
    rivals: list[asyncio.Task[AccessToken | None]] = []

    def racing(source: TokenSource) -> Caller:
        async def call() -> AccessToken:
            token = await source.get_token()
            for rival in rivals:
                if rival is not asyncio.current_task():
                    rival.cancel()
            return token

        rivals.append(asyncio.create_task(call()))
        return Caller(rivals[-1], rivals[-1].cancel)

    async def main() -> None:
        async with flight(PLAIN, way=racing) as here:
            winner, *others = await here.results()

            assert winner is at_once(here.source.get_token())
            assert [type(other) for other in others] == [asyncio.CancelledError] * 2

    run(main())


@asynccontextmanager
async def second_flight(moment: Moment, way: Way = by_task) -> AsyncIterator[FlightWorld]:
    """Hold the second flight of three callers that resumed too late to use their first token."""
    async with in_memory(PLAIN) as here:

        async def oversleep_and_watch() -> None:
            await here.source.get_token()
            oversleep(here, LIFETIME)
            here.watch_next(moment)

        sleeper = asyncio.create_task(oversleep_and_watch())
        await here.start_callers(way)
        await sleeper
        await here.watch.reached.wait()
        yield here


@pytest.mark.parametrize("leavers", ["first", "last", "all-by-scope"])
def test_late_waiters_may_leave_the_second_flight_at_any_suspension(leavers: str) -> None:
    """At each suspension of the flight that late waiters rejoin, any of them may leave."""
    leaving, way = LEAVERS[leavers]

    async def check(moment: Moment) -> None:
        async with second_flight(moment, way) as here:
            for caller in here.callers[leaving]:
                caller.leave()
            await settle()
            here.watch.release()
            results = await here.results()
            await here.land()

            assert {type(result) for result in results[leaving]} == {ENDS[way]}
            del results[leaving]
            check_results(here, PLAIN, results)
            assert here.okta.requests == 2
            assert here.resources() == landed(1)

    at_each_moment(PLAIN.suspensions, check)


async def test_a_cancelled_task_group_does_not_end_the_flight() -> None:
    """An error in a task group cancels the waiters in the group, not the flight."""
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
        assert here.sandbox.token_requests == 1


# The provider closes


async def close(provider: TokenProvider) -> None:
    """Close the provider."""
    await provider.aclose()


async def close_twice(provider: TokenProvider) -> None:
    """Close the provider from two tasks at once."""
    await asyncio.gather(provider.aclose(), provider.aclose())


async def cancel_the_closing(provider: TokenProvider) -> None:
    """Close the provider from a task that is cancelled meanwhile."""
    closing = asyncio.create_task(provider.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    await settle()


async def close_in_a_cancelled_scope(provider: TokenProvider) -> None:
    """Close the provider in a scope in which each await is cancelled."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await provider.aclose()
    assert scope.cancelled_caught
    await settle()


async def fail_internally(provider: TokenProvider) -> None:
    """Cause an internal error in the background work of the provider."""
    call_at(provider._schedule, -math.inf, lambda: 1 / 0)
    await settle()


Closing = Callable[[TokenProvider], Awaitable[None]]
CLOSINGS: dict[str, Closing] = {
    closing.__name__: closing
    for closing in (
        *(close, close_twice, cancel_the_closing),
        *(close_in_a_cancelled_scope, fail_internally),
    )
}


@pytest.mark.parametrize(("name", "closing"), combine(CLOSINGS))
def test_closing_ends_a_flight_at_any_suspension(name: str, closing: str) -> None:
    """At each suspension, closing raises an error in each waiter and leaves no resource in use."""
    scenario, close_provider = SCENARIOS[name], CLOSINGS[closing]

    async def check(moment: Moment) -> None:
        async with flight(scenario, moment) as here:
            await close_provider(here.provider)
            resources = here.resources()
            results = await here.results()
            others = [other.task for other in here.other_callers]
            await asyncio.gather(*others, return_exceptions=True)

            assert resources == CLOSED
            assert [type(result) for result in results] == [ProviderStateError] * len(results)
            assert len({id(result) for result in results}) == len(results)

    at_each_moment(scenario.suspensions, check)


def test_closing_ends_the_second_flight_of_late_waiters() -> None:
    """At each suspension of the flight that late waiters rejoin, closing gives each an error."""

    async def check(moment: Moment) -> None:
        async with second_flight(moment) as here:
            await here.provider.aclose()

            assert {type(result) for result in await here.results()} == {ProviderStateError}
            assert here.resources() == CLOSED

    at_each_moment(PLAIN.suspensions, check)


@in_each_scenario
def test_the_end_of_the_event_loop_ends_a_flight_at_any_suspension(scenario: Scenario) -> None:
    """At each suspension, the end of `asyncio.run` cancels all tasks and so closes the provider."""

    async def check(moment: Moment) -> None:
        async with flight(scenario, moment) as here:
            await end_the_loop()

            assert here.resources() == CLOSED
            assert all(caller.task.cancelled() for caller in here.callers)
            assert "cancelled" in repr(here.provider)

    at_each_moment(scenario.suspensions, check)


async def end_the_loop() -> None:
    """Cancel all other tasks, as `asyncio.run` does at its end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@in_each_scenario
def test_a_cancelled_flight_ends_with_an_error_at_any_suspension(scenario: Scenario) -> None:
    """If the application cancels the flight's task, waiters get an error and the next a token."""

    async def check(moment: Moment) -> None:
        async with flight(scenario, moment) as here:
            cancel(here)
            results = await here.results()
            await here.land()
            assert isinstance(here.okta, Okta)
            here.okta.responses.clear()
            later = await here.source.get_token()

            assert all(type(result) is ProviderStateError for result in results)
            assert at_once(here.source.get_token()) is later
            assert here.resources() == landed(1 + len(here.other_callers))
        assert here.resources() == CLOSED

    at_each_moment(scenario.suspensions, check)


async def ignore_a_cancellation() -> str:
    """Return the secret in spite of a cancellation."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(LONG)
    return SECRET


async def ignore_cancellations() -> str:
    """Return the secret after five cancellations."""
    for _ in range(5):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(LONG)
    return SECRET


async def replace_a_cancellation() -> str:
    """Raise another error if cancelled."""
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError as error:
        raise LookupError from error
    return SECRET


@pytest.mark.parametrize(
    ("secret", "responses"),
    [
        (ignore_a_cancellation, ()),
        (ignore_a_cancellation, (NEVER,) * 3),
        (ignore_cancellations, (NEVER,) * 3),
        (replace_a_cancellation, ()),
    ],
    ids=["token", "no-response", "several", "error"],
)
def test_closing_ends_a_flight_that_swallows_its_cancellation(
    secret: Secret, responses: tuple[Response, ...]
) -> None:
    """Closing repeats the cancellation, takes at most 5 s, and raises an error in each waiter."""

    async def main() -> None:
        async with flight(Scenario(responses=responses, secret=secret), Moment(1)) as here:
            async with asyncio.timeout(5):
                await here.provider.aclose()

            assert {type(result) for result in await here.results()} == {ProviderStateError}
            assert here.resources() == CLOSED

    run(main())


@pytest.mark.parametrize("cancelled", ["before", "after"])
def test_a_timeout_does_not_hide_a_cancellation(cancelled: str) -> None:
    """A flight that is cancelled in the turn in which its request times out has ended."""

    async def main() -> None:
        async with in_memory(Scenario(responses=(NEVER,))) as here:
            schedule = here.provider._schedule
            timeout_at = here.provider._clock.boot_time() + 10
            here.watch_next(Moment(1))
            if cancelled == "before":
                call_at(schedule, timeout_at, partial(cancel, here))
            await here.start_callers()
            if cancelled == "after":
                call_at(schedule, timeout_at, partial(cancel, here))
            here.watch.release()

            assert {type(result) for result in await here.results()} == {ProviderStateError}
            assert here.okta.requests == 1
            assert here.resources() == landed(0)

    run(main())


def cancel(here: FlightWorld) -> None:
    """Cancel the task of the flight, which the provider itself never does."""
    assert here.watch.task is not None
    here.watch.task.cancel()


async def test_a_callable_that_raises_cancelled_error_has_failed() -> None:
    """A `CancelledError` that the secret's callable raises itself does not cancel the caller."""

    async def cancelled() -> str:
        raise asyncio.CancelledError

    async with world() as here:
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(cancelled))
        caller = asyncio.create_task(here.provider.get_token(client, "a"))
        await here.all_attempts()

        with pytest.raises(CredentialError, match="CancelledError"):
            await caller


# Start, close and warm up are cancelled


def start_watched(
    work: Coroutine[Any, Any, Any], moment: Moment | None
) -> tuple[Watch, asyncio.Task[Any]]:
    """Run a coroutine in a task, and hold it at a moment."""
    watch = Watch(moment)
    return watch, asyncio.create_task(watch.run(work))


def test_each_suspension_of_start_warm_and_aclose_is_known() -> None:
    """`start`, `warm` and `aclose` suspend once; the tests below go through that many moments."""

    async def main() -> list[int]:
        suspensions = []
        async with in_memory(PLAIN) as here:
            provider = TokenProvider()
            for work in (provider.start(), here.provider.warm(here.source), provider.aclose()):
                watch, task = start_watched(work, None)
                await task
                suspensions.append(watch.suspensions)
        return suspensions

    assert run(main()) == [1, 1, 1]


def is_closed(provider: TokenProvider) -> bool:
    """Return whether a provider has no open session and no task."""
    return (provider._registry._session is None or provider._registry._session.closed) and (
        asyncio.all_tasks() == {asyncio.current_task()}
    )


def test_start_may_be_cancelled_at_any_suspension() -> None:
    """A cancellation before `start` or at its suspension leaves no session open and no task."""

    async def check(moment: Moment) -> None:
        provider = TokenProvider()
        watch, starting = start_watched(provider.start(), moment)
        await watch.reached.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await settle()

        assert watch.suspensions == moment.suspension
        assert is_closed(provider)
        await provider.aclose()

    at_each_moment(1, check)


def test_closing_ends_start_at_any_suspension() -> None:
    """If the provider closes before `start` or at its suspension, `start` opens no session."""

    async def check(moment: Moment) -> None:
        provider = TokenProvider()
        watch, starting = start_watched(provider.start(), moment)
        await watch.reached.wait()
        await provider.aclose()
        watch.release()
        await asyncio.wait([starting])

        assert watch.suspensions == moment.suspension
        assert is_closed(provider)
        assert "closed" in repr(provider)
        assert (starting.exception() is None) == bool(moment.suspension)

    at_each_moment(1, check)


def test_closing_before_the_first_step_of_the_background_work_cleans_up() -> None:
    """A provider that closes in the turn in which it starts closes its session."""

    async def main() -> None:
        provider = TokenProvider()
        starting = asyncio.create_task(provider.start())
        await asyncio.sleep(0)  # the task of the background work exists and has not run
        await provider.aclose()
        await asyncio.wait([starting])

        assert provider._registry._session is not None
        assert is_closed(provider)

    run(main())


def test_closing_may_be_cancelled_at_any_suspension() -> None:
    """A cancellation at the suspension of `aclose` ends the call, and the provider still closes."""

    async def check(moment: Moment) -> None:
        async with flight(PLAIN, Moment(1)) as here:
            before = here.resources()
            watch, closing = start_watched(here.provider.aclose(), moment)
            await watch.reached.wait()
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            await settle()

            assert watch.suspensions == moment.suspension
            assert here.resources() == (CLOSED if moment.suspension else before)

    at_each_moment(1, check)


def test_warming_up_may_be_cancelled_at_any_suspension() -> None:
    """A cancellation at the suspension of `warm` ends the call, and the tokens still arrive."""

    async def check(moment: Moment) -> None:
        async with in_memory(PLAIN) as here:
            sources = [here.provider.source(here.client, scopes) for scopes in ("a", "b", "c")]
            watch, warming = start_watched(here.provider.warm(*sources, timeout=5), moment)
            await watch.reached.wait()
            await settle()
            warming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await warming
            await asyncio.sleep(1)

            assert watch.suspensions == moment.suspension
            assert here.okta.requests == (3 if moment.suspension else 0)
            assert here.resources() == landed(here.okta.requests)

    at_each_moment(1, check)


@pytest.mark.parametrize("cancelled", ["before", "after"])
def test_warming_up_does_not_hide_a_cancellation(cancelled: str) -> None:
    """A cancellation in the turn in which `warm` times out is not lost."""

    async def main() -> None:
        async with in_memory(Scenario(responses=(NEVER,))) as here:
            schedule = here.provider._schedule
            timeout_at = here.provider._clock.boot_time() + 5
            warming = asyncio.create_task(here.provider.warm(here.source, timeout=5))
            if cancelled == "before":
                call_at(schedule, timeout_at, warming.cancel)
            await settle()
            if cancelled == "after":
                call_at(schedule, timeout_at, warming.cancel)

            with pytest.raises(asyncio.CancelledError):
                await warming

    run(main())


def test_closing_ends_warming_up_at_any_suspension() -> None:
    """If the provider closes during `warm`, `warm` raises an error unless all tokens are there."""

    async def check(moment: Moment) -> None:
        async with in_memory(PLAIN) as here:
            watch, warming = start_watched(here.provider.warm(here.source, timeout=5), moment)
            await watch.reached.wait()
            await settle()
            await here.provider.aclose()
            watch.release()
            await asyncio.wait([warming])

            assert type(warming.exception()) is (NoneType if moment.woken else ProviderStateError)
            assert watch.suspensions == moment.suspension
            assert here.resources() == CLOSED

    at_each_moment(1, check)


# On a real socket, where aiohttp suspends, too


async def at_each_real_moment(
    check: Callable[[FlightWorld], Coroutine[Any, Any, None]], fault: Fault | None = None
) -> None:
    """Run a check for each moment of a real flight, up to its twelfth suspension.

    The number of suspensions depends on aiohttp, and on how the bytes arrive.
    """
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=["a"])
    async with Sandbox([app]) as sandbox:
        sandbox.fault = fault
        for moment in moments(12):
            async with on_a_socket(sandbox, moment) as here:
                if here.watch.ended.is_set():
                    break
                await check(here)
            assert here.resources() == CLOSED
    gc.collect()  # a connection that is not closed emits a ResourceWarning

    assert moment > Moment(3)  # the name lookup, the connection, the head of the response


@pytest.mark.parametrize("leaving", [slice(0, 1), slice(0, 3)], ids=["first", "all"])
async def test_waiters_may_leave_a_real_flight_at_any_suspension(leaving: slice) -> None:
    """At each suspension any waiter may leave; the others and the next caller get the token."""

    async def check(here: FlightWorld) -> None:
        for caller in here.callers[leaving]:
            caller.leave()
        await settle()
        here.watch.release()
        results = await here.results()
        await here.land()

        assert {type(result) for result in results[leaving]} == {asyncio.CancelledError}
        del results[leaving]
        check_results(here, PLAIN, results)
        assert here.okta.requests == 1
        assert here.resources() == landed(1)

    await at_each_real_moment(check)


@pytest.mark.parametrize(
    ("closing", "fault"),
    [*((closing, None) for closing in CLOSINGS.values()), (close, Fault.drip(0.0001))],
    ids=[*CLOSINGS, "close_in_the_body"],
)
async def test_closing_ends_a_real_flight_at_any_suspension(
    closing: Closing, fault: Fault | None
) -> None:
    """At each suspension, closing raises an error in each waiter and closes every connection."""

    async def check(here: FlightWorld) -> None:
        await closing(here.provider)
        resources = here.resources()
        results = await here.results()

        assert resources == CLOSED
        assert here.provider._registry._session is not None
        assert here.provider._registry._session.closed
        assert {type(result) for result in results} == {ProviderStateError}

    await at_each_real_moment(check, fault)


async def test_the_event_loop_may_end_at_any_turn_of_a_closing() -> None:
    """If the event loop ends at any turn of a closing, the session is closed."""

    def run_and_close(origin: str, turns: int) -> TokenProvider:
        async def main() -> TokenProvider:
            provider = await TokenProvider().start()
            client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
            call = asyncio.gather(provider.get_token(client, "a"), return_exceptions=True)
            await until(lambda: sandbox.token_requests > requests)
            closing = asyncio.create_task(provider.aclose())
            for _ in range(turns):
                await asyncio.sleep(0)
            finished.append(call.done() and closing.done())
            return provider

        return asyncio.run(main())

    finished: list[bool] = []
    async with Sandbox([SandboxClient(CLIENT_ID, [SECRET], scopes=["a"])]) as sandbox:
        sandbox.latency = 1
        while not any(finished):
            requests = sandbox.token_requests
            provider = await asyncio.to_thread(run_and_close, sandbox.origin, len(finished))

            assert provider._registry._session is not None
            assert provider._registry._session.closed
            assert len(provider._schedule) == 0
    gc.collect()

    assert len(finished) > 3
