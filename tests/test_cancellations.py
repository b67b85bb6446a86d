"""Cancellation, wherever it strikes: a waiter leaves, the request goes on, nobody hangs.

A flight is held at each of its suspensions in turn, while something happens. In memory and virtual
time the n-th suspension is the same one each time; on a real socket they are aiohttp's own as well.
"""

import asyncio
import gc
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from types import NoneType
from typing import Any

import anyio
import pytest
from multidict import CIMultiDict

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import CredentialError, OAuthError, ProviderStateError
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.clock import settle
from tests.flights import (
    CLOSED,
    ENDS,
    LATENCY,
    LIFETIME,
    LONG,
    Answer,
    Caller,
    Here,
    Okta,
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

UNAVAILABLE = Answer(503)
REFUSED = Answer(401, (b'{"error":"invalid_client"}',))
TOO_MANY = Answer(
    429,
    headers=CIMultiDict(
        {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "X-Rate-Limit-Reset": "1445412484"}
    ),
)
NEVER = Answer(200, seconds=math.inf)
NO_NONCE = Answer(400, (b'{"error":"use_dpop_nonce"}',), CIMultiDict({"DPoP-Nonce": "a-nonce"}))

secrets = itertools.count()


async def slow_secret() -> str:
    """Return the secret after a while."""
    await asyncio.sleep(LATENCY)
    return SECRET


async def new_secret() -> str:
    """Return another secret after a while."""
    await asyncio.sleep(LATENCY)
    return f"{SECRET}-{next(secrets)}"


PLAIN = Scenario(suspensions=3)  # the answer's head, its body, the response's end

SCENARIOS = {
    "plain": PLAIN,
    # ... and the secret
    "secret": Scenario(suspensions=4, secret=slow_secret),
    # ... and two more parts of the body
    "parts": Scenario(suspensions=5, parts=3),
    # ... and the place
    "crowd": Scenario(suspensions=4, requests=2, crowded=True),
    # the head, the body, the end; a turn, the end of the pause; the head, the body, the end
    "pause": Scenario(suspensions=8, requests=2, answers=(TOO_MANY,)),
    # the head, the body, the end; the delay; the head, the body, the end
    "retry": Scenario(suspensions=7, requests=2, answers=(UNAVAILABLE,)),
    # the head, until time is up; the delay; the head, the body, the end
    "time-out": Scenario(suspensions=5, requests=2, answers=(NEVER,)),
    # the head, the body, the end
    "refusal": Scenario(suspensions=3, answers=(REFUSED,), error=OAuthError),
    # the head, the body, the end; the same with the nonce
    "nonce": Scenario(suspensions=6, requests=2, answers=(NO_NONCE,), dpop=True),
    # the secret, the head, the body, the end; the same with another secret
    "rotation": Scenario(suspensions=8, requests=2, answers=(REFUSED,), secret=new_secret),
    # the place, the head, the body, the end
    "renewal": Scenario(suspensions=4, requests=3, crowded=True, renewal=True),
}

in_each_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def at_each_moment(suspensions: int, play: Callable[[Moment], Coroutine[Any, Any, None]]) -> None:
    """Play something that happens at a suspension, once for each of them."""
    for moment in moments(suspensions):
        try:
            run(play(moment))
        except BaseException as error:
            error.add_note(f"It was at suspension {moment}.")
            raise


@in_each_scenario
def test_a_flight_suspends_as_often_as_we_think(scenario: Scenario) -> None:
    """Each await of a flight is known here, so that something strikes at each."""

    async def main() -> None:
        async with flight(scenario) as here:
            await here.landing()

            # A flight that suspends more often than its scenario says has a new await: say there
            # what it waits for, and raise the number. An await that no scenario comes by, perhaps
            # behind a condition of its own, needs a scenario that does.
            assert here.watch.suspensions == scenario.suspensions
            assert here.okta.requests == scenario.requests
            assert here.left() == landed(1 + len(here.neighbours))
        assert here.left() == CLOSED

    run(main())


# Waiters leave

LEAVERS = {
    "first": (slice(0, 1), by_task),
    "last": (slice(2, 3), by_task),
    "all": (slice(0, 3), by_task),
    "all-by-scope": (slice(0, 3), by_scope),
    "first-by-timeout": (slice(0, 1), by_timeout),
}


def check_that_all_are_served(here: Here, scenario: Scenario, outcomes: Iterable[object]) -> None:
    """Check that all got the same, and who comes now gets it at once."""
    outcomes = [*outcomes]
    if scenario.error is None:
        token = at_once(here.source.get_token())
        assert all(outcome is token for outcome in outcomes)
    else:
        with pytest.raises(scenario.error) as caught:
            at_once(here.source.get_token())
        outcomes.append(caught.value)
        assert {type(error) for error in outcomes} == {scenario.error}
        assert len({id(error) for error in outcomes}) == len(outcomes)


@pytest.mark.parametrize(("who", "way"), LEAVERS.values(), ids=LEAVERS)
@in_each_scenario
def test_waiters_may_leave_a_flight_wherever_it_is(
    scenario: Scenario, who: slice, way: Way
) -> None:
    """At each await of a flight any waiter may leave; the others, and the next one, are served."""

    async def play(moment: Moment) -> None:
        async with flight(scenario, moment, way) as here:
            if scenario.renewal:
                here.source.invalidate(at_once(here.source.get_token()))
                await here.come(way)
            for caller in here.callers[who]:
                caller.leave()
            await settle()
            here.watch.release()
            outcomes = await here.outcomes()
            await here.landing()

            assert [type(outcome) for outcome in outcomes[who]] == [ENDS[way]] * len(outcomes[who])
            del outcomes[who]
            check_that_all_are_served(here, scenario, outcomes)
            assert here.watch.suspensions == scenario.suspensions
            assert here.okta.requests == scenario.requests
            assert here.left() == landed(1 + len(here.neighbours))
        assert here.left() == CLOSED

    at_each_moment(scenario.suspensions, play)


def test_who_insists_is_served_if_cancelled_once_and_not_if_cancelled_for_good() -> None:
    """A caller who asks again rejoins the flight; in a cancelled scope it is cancelled again."""

    async def play(moment: Moment) -> None:
        async with flight(PLAIN, moment) as here:
            cancellations = []

            async def insist() -> object:
                for _ in range(3):
                    try:
                        return await here.source.get_token()
                    except asyncio.CancelledError as error:
                        cancellations.append(error)
                return None

            async def insist_in_a_scope() -> object:
                with scope:
                    return await insist()
                return None

            scope = anyio.CancelScope()
            once, again = map(asyncio.create_task, (insist(), insist_in_a_scope()))
            await settle()
            once.cancel()
            scope.cancel()
            await settle()
            moment_after = (once.done(), again.done(), len(cancellations))
            await here.landing()

            assert moment_after == (False, True, 1 + 3)
            assert await once is at_once(here.source.get_token())
            assert await again is None
            assert here.okta.requests == 1
            assert here.left() == landed(1)

    at_each_moment(PLAIN.suspensions, play)


def test_a_waiter_that_is_cancelled_just_before_the_landing_is_cancelled() -> None:
    """A token that lands before the cancelled waiter has had its turn does not bring it back."""

    async def main() -> None:
        async with flight(PLAIN, Moment(PLAIN.suspensions, woken=True)) as here:
            here.watch.release()
            here.callers[0].leave()
            cancelled, *served = await here.outcomes()

            assert type(cancelled) is asyncio.CancelledError
            check_that_all_are_served(here, PLAIN, served)

    run(main())


def test_a_waiter_that_is_cancelled_just_after_the_landing_is_cancelled() -> None:
    """A cancellation that comes when the token has, and the waiter has not, is not swallowed."""
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
            winner, *others = await here.outcomes()

            assert winner is at_once(here.source.get_token())
            assert [type(other) for other in others] == [asyncio.CancelledError] * 2

    run(main())


@asynccontextmanager
async def second_flight(moment: Moment, way: Way = by_task) -> AsyncIterator[Here]:
    """Hold the flight of three callers for whom the machine woke too late to use their token."""
    async with in_memory(PLAIN) as here:

        async def oversleep_and_watch() -> None:
            await here.source.get_token()
            oversleep(here, LIFETIME)
            here.watch_next(moment)

        sleeper = asyncio.create_task(oversleep_and_watch())
        await here.come(way)
        await sleeper
        await here.watch.reached.wait()
        yield here


@pytest.mark.parametrize(("who", "way"), LEAVERS.values(), ids=LEAVERS)
def test_who_came_too_late_to_use_a_token_may_leave_the_second_flight(who: slice, way: Way) -> None:
    """At each await of the flight that late waiters join, any of them may leave, too."""

    async def play(moment: Moment) -> None:
        async with second_flight(moment, way) as here:
            for caller in here.callers[who]:
                caller.leave()
            await settle()
            here.watch.release()
            outcomes = await here.outcomes()
            await here.landing()

            assert [type(outcome) for outcome in outcomes[who]] == [ENDS[way]] * len(outcomes[who])
            del outcomes[who]
            check_that_all_are_served(here, PLAIN, outcomes)
            assert here.okta.requests == 2
            assert here.left() == landed(1)

    at_each_moment(PLAIN.suspensions, play)


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
        assert here.sandbox.token_requests == 1


# The provider closes


async def close(provider: TokenProvider) -> None:
    """Close."""
    await provider.aclose()


async def close_twice(provider: TokenProvider) -> None:
    """Close from two tasks at once."""
    await asyncio.gather(provider.aclose(), provider.aclose())


async def leave_the_closing(provider: TokenProvider) -> None:
    """Close from a task that is cancelled meanwhile."""
    closing = asyncio.create_task(provider.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    await settle()


async def close_in_a_cancelled_scope(provider: TokenProvider) -> None:
    """Close where each await is cancelled at once."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await provider.aclose()
    assert scope.cancelled_caught
    await settle()


async def die(provider: TokenProvider) -> None:
    """Let the provider's own background work die."""
    provider._schedule.call_at(-math.inf, lambda: 1 / 0)
    await settle()


Closing = Callable[[TokenProvider], Awaitable[None]]
CLOSINGS: list[Closing] = [close, close_twice, leave_the_closing, close_in_a_cancelled_scope, die]


@pytest.mark.parametrize("closing", CLOSINGS)
@in_each_scenario
def test_closing_ends_a_flight_wherever_it_is(scenario: Scenario, closing: Closing) -> None:
    """At each await of a flight, closing tells every waiter, and leaves nothing behind."""

    async def play(moment: Moment) -> None:
        async with flight(scenario, moment) as here:
            await closing(here.provider)
            left = here.left()
            outcomes = await here.outcomes()
            await asyncio.gather(*(it.task for it in here.neighbours), return_exceptions=True)

            assert left == CLOSED
            assert [type(outcome) for outcome in outcomes] == [ProviderStateError] * len(outcomes)
            assert len({id(outcome) for outcome in outcomes}) == len(outcomes)

    at_each_moment(scenario.suspensions, play)


def test_closing_tells_also_those_who_came_too_late_to_use_a_token() -> None:
    """At each await of the flight that late waiters join, closing tells them."""

    async def play(moment: Moment) -> None:
        async with second_flight(moment) as here:
            await here.provider.aclose()

            assert {type(outcome) for outcome in await here.outcomes()} == {ProviderStateError}
            assert here.left() == CLOSED

    at_each_moment(PLAIN.suspensions, play)


@in_each_scenario
def test_the_end_of_the_event_loop_ends_a_flight_wherever_it_is(scenario: Scenario) -> None:
    """At each await of a flight, cancelling all tasks at once, as `asyncio.run` does, closes."""

    async def play(moment: Moment) -> None:
        async with flight(scenario, moment) as here:
            await end_the_loop()

            assert here.left() == CLOSED
            assert all(caller.task.cancelled() for caller in here.callers)
            assert "closed" in repr(here.provider)

    at_each_moment(scenario.suspensions, play)


async def end_the_loop() -> None:
    """Cancel every other task, as `asyncio.run` does at its end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@in_each_scenario
def test_a_flight_that_a_stranger_cancels_hangs_nobody(scenario: Scenario) -> None:
    """At each await of a flight, cancelling its task tells its waiters; the next one is served."""

    async def play(moment: Moment) -> None:
        async with flight(scenario, moment) as here:
            cancel(here)
            outcomes = await here.outcomes()
            await here.landing()
            assert isinstance(here.okta, Okta)
            here.okta.answers.clear()
            later = await here.source.get_token()

            assert all(type(outcome) is ProviderStateError for outcome in outcomes)
            assert at_once(here.source.get_token()) is later
            assert here.left() == landed(1 + len(here.neighbours))
        assert here.left() == CLOSED

    at_each_moment(scenario.suspensions, play)


async def is_stubborn() -> str:
    """Return the secret all the same."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(LONG)
    return SECRET


async def is_obstinate() -> str:
    """Begin again, a few times."""
    for _ in range(5):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(LONG)
    return SECRET


async def is_confused() -> str:
    """Take it for an error of the callable's own."""
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError as error:
        raise LookupError from error
    return SECRET


@pytest.mark.parametrize("answers", [(), (NEVER,) * 3], ids=["a-token", "no-answer"])
@pytest.mark.parametrize("secret", [is_stubborn, is_obstinate, is_confused])
def test_a_flight_that_swallows_its_cancellation_ends_all_the_same(
    secret: Secret, answers: tuple[Answer, ...]
) -> None:
    """Closing cancels again what goes on, is over in seconds, and tells every waiter."""

    async def main() -> None:
        async with flight(Scenario(answers=answers, secret=secret), Moment(1)) as here:
            async with asyncio.timeout(5):
                await here.provider.aclose()

            assert {type(outcome) for outcome in await here.outcomes()} == {ProviderStateError}
            assert here.left() == CLOSED

    run(main())


@pytest.mark.parametrize("cancelled", ["before", "after"])
def test_a_time_out_does_not_hide_a_cancellation(cancelled: str) -> None:
    """A flight that is cancelled in the turn in which its request's time is up is over."""

    async def main() -> None:
        async with in_memory(Scenario(answers=(NEVER,))) as here:
            schedule = here.provider._schedule
            time_is_up = here.provider._clock.boot_time() + 10
            here.watch_next(Moment(1))
            if cancelled == "before":
                schedule.call_at(time_is_up, cancel, here)
            await here.come()
            if cancelled == "after":
                schedule.call_at(time_is_up, cancel, here)
            here.watch.release()

            assert {type(outcome) for outcome in await here.outcomes()} == {ProviderStateError}
            assert here.okta.requests == 1
            assert here.left() == landed(0)

    run(main())


def cancel(here: Here) -> None:
    """Cancel the flight, as nobody but a stranger does it."""
    assert here.watch.task is not None
    here.watch.task.cancel()


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


# Start, close and warm up are cancelled


def watched(
    work: Coroutine[Any, Any, Any], moment: Moment | None
) -> tuple[Watch, asyncio.Task[Any]]:
    """Run something in a task, to be held at a moment."""
    watch = Watch(moment)
    return watch, asyncio.create_task(watch.run(work))


def test_start_and_warm_and_close_suspend_as_often_as_we_think() -> None:
    """Each of them awaits one thing; whoever adds another raises the number of moments below."""

    async def main() -> list[int]:
        suspensions = []
        async with in_memory(PLAIN) as here:
            provider = TokenProvider()
            for work in (provider.start(), here.provider.warm(here.source), provider.aclose()):
                watch, task = watched(work, None)
                await task
                suspensions.append(watch.suspensions)
        return suspensions

    assert run(main()) == [1, 1, 1]


def is_closed(provider: TokenProvider) -> bool:
    """Tell whether nothing of a provider is left, or nothing has ever been."""
    return (provider._registry._session is None or provider._registry._session.closed) and (
        asyncio.all_tasks() == {asyncio.current_task()}
    )


def test_a_start_may_be_cancelled_wherever_it_is() -> None:
    """At each await of `start`, and before it, a cancellation leaves nothing behind."""

    async def play(moment: Moment) -> None:
        provider = TokenProvider()
        watch, starting = watched(provider.start(), moment)
        await watch.reached.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await settle()

        assert watch.suspensions == moment.suspension
        assert is_closed(provider)
        await provider.aclose()

    at_each_moment(1, play)


def test_closing_ends_a_start_wherever_it_is() -> None:
    """At each await of `start`, and before it, closing leaves nothing behind, and lets it end."""

    async def play(moment: Moment) -> None:
        provider = TokenProvider()
        watch, starting = watched(provider.start(), moment)
        await watch.reached.wait()
        await provider.aclose()
        watch.release()
        await asyncio.wait([starting])

        assert watch.suspensions == moment.suspension
        assert is_closed(provider)
        assert "closed" in repr(provider)
        assert (starting.exception() is None) == bool(moment.suspension)

    at_each_moment(1, play)


def test_closing_may_be_cancelled_wherever_it_is() -> None:
    """At each await of `aclose` a cancellation leaves, and the provider closes all the same."""

    async def play(moment: Moment) -> None:
        async with flight(PLAIN, Moment(1)) as here:
            before = here.left()
            watch, closing = watched(here.provider.aclose(), moment)
            await watch.reached.wait()
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            await settle()

            assert watch.suspensions == moment.suspension
            assert here.left() == (CLOSED if moment.suspension else before)

    at_each_moment(1, play)


def test_warming_up_may_be_cancelled_wherever_it_is() -> None:
    """At each await of `warm` a cancellation leaves, and what was asked for arrives."""

    async def play(moment: Moment) -> None:
        async with in_memory(PLAIN) as here:
            sources = [here.provider.source(here.client, scopes) for scopes in ("a", "b", "c")]
            watch, warming = watched(here.provider.warm(*sources, timeout=5), moment)
            await watch.reached.wait()
            await settle()
            warming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await warming
            await asyncio.sleep(1)

            assert watch.suspensions == moment.suspension
            assert here.okta.requests == (3 if moment.suspension else 0)
            assert here.left() == landed(here.okta.requests)

    at_each_moment(1, play)


@pytest.mark.parametrize("cancelled", ["before", "after"])
def test_warming_up_does_not_hide_a_cancellation(cancelled: str) -> None:
    """A cancellation that comes in the turn in which the time of `warm` is up is not lost."""

    async def main() -> None:
        async with in_memory(Scenario(answers=(NEVER,))) as here:
            schedule = here.provider._schedule
            time_is_up = here.provider._clock.boot_time() + 5
            warming = asyncio.create_task(here.provider.warm(here.source, timeout=5))
            if cancelled == "before":
                schedule.call_at(time_is_up, warming.cancel)
            await settle()
            if cancelled == "after":
                schedule.call_at(time_is_up, warming.cancel)

            with pytest.raises(asyncio.CancelledError):
                await warming

    run(main())


def test_closing_ends_warming_up_wherever_it_is() -> None:
    """At each await of `warm`, closing tells whoever waits for it, unless all have come."""

    async def play(moment: Moment) -> None:
        async with in_memory(PLAIN) as here:
            watch, warming = watched(here.provider.warm(here.source, timeout=5), moment)
            await watch.reached.wait()
            await settle()
            await here.provider.aclose()
            watch.release()
            await asyncio.wait([warming])

            assert type(warming.exception()) is (NoneType if moment.woken else ProviderStateError)
            assert watch.suspensions == moment.suspension
            assert here.left() == CLOSED

    at_each_moment(1, play)


# On a real socket, where the suspensions are aiohttp's own as well


async def at_each_real_moment(
    play: Callable[[Here], Coroutine[Any, Any, None]], fault: Fault | None = None
) -> None:
    """Play what happens to a flight, once for each of its suspensions, or for the first of many.

    How many there are is aiohttp's business, and a matter of what arrives together.
    """
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=["a"])
    async with Sandbox([app]) as sandbox:
        sandbox.fault = fault
        for moment in moments(12):
            async with on_a_socket(sandbox, moment) as here:
                if here.watch.ended.is_set():
                    break
                await play(here)
            assert here.left() == CLOSED
    gc.collect()  # a connection that nobody has closed says so when it goes

    assert moment > Moment(3)  # the name, the connection, the answer's head


@pytest.mark.parametrize(
    "who", [slice(0, 1), slice(2, 3), slice(0, 3)], ids=["first", "last", "all"]
)
async def test_waiters_may_leave_a_real_flight_wherever_it_is(who: slice) -> None:
    """At each await of a real flight any waiter may leave; the others, and the next, are served."""

    async def play(here: Here) -> None:
        for caller in here.callers[who]:
            caller.leave()
        await settle()
        here.watch.release()
        outcomes = await here.outcomes()
        await here.landing()

        assert {type(outcome) for outcome in outcomes[who]} == {asyncio.CancelledError}
        del outcomes[who]
        check_that_all_are_served(here, PLAIN, outcomes)
        assert here.okta.requests == 1
        assert here.left() == landed(1)

    await at_each_real_moment(play)


@pytest.mark.parametrize(
    ("closing", "fault"),
    [*((closing, None) for closing in CLOSINGS), (close, Fault.drip(0.0001))],
    ids=[*(closing.__name__ for closing in CLOSINGS), "close-in-the-body"],
)
async def test_closing_ends_a_real_flight_wherever_it_is(
    closing: Closing, fault: Fault | None
) -> None:
    """At each await of a real flight, closing tells every waiter, and leaves nothing behind."""

    async def play(here: Here) -> None:
        await closing(here.provider)
        left = here.left()
        outcomes = await here.outcomes()

        assert left == CLOSED
        assert here.provider._registry._session is not None
        assert here.provider._registry._session.closed
        assert {type(outcome) for outcome in outcomes} == {ProviderStateError}

    await at_each_real_moment(play, fault)


async def test_the_end_of_the_event_loop_ends_a_closing_wherever_it_is() -> None:
    """Whichever turn of a closing is the event loop's last one, the session is closed."""

    def live_and_die(origin: str, turns: int) -> TokenProvider:
        async def main() -> TokenProvider:
            provider = await TokenProvider().start()
            client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
            call = asyncio.gather(provider.get_token(client, "a"), return_exceptions=True)
            await until(lambda: sandbox.token_requests > requests)
            closing = asyncio.create_task(provider.aclose())
            for _ in range(turns):
                await asyncio.sleep(0)
            told.append(call.done() and closing.done())
            return provider

        return asyncio.run(main())

    told: list[bool] = []
    async with Sandbox([SandboxClient(CLIENT_ID, [SECRET], scopes=["a"])]) as sandbox:
        sandbox.latency = 1
        while not any(told):
            requests = sandbox.token_requests
            provider = await asyncio.to_thread(live_and_die, sandbox.origin, len(told))

            assert provider._registry._session is not None
            assert provider._registry._session.closed
            assert len(provider._schedule) == 0
    gc.collect()

    assert len(told) > 3
