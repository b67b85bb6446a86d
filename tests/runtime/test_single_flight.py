"""Single flight: which waiters share a flight, when they leave, and that no task is left."""

import asyncio
import gc
import math
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from okta_tokens._runtime.schedule import Schedule
from okta_tokens._runtime.single_flight import Flight, SingleFlight
from tests.clock import ManualClock, settle

START = 1_000.0
"""The instant at which a `ManualClock` begins."""

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="not set")


class Crew:
    """Work for flights: each flight lasts until the test lets it land."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.schedule = Schedule(self.clock)
        self.flights = SingleFlight[str, str](self.fly, self.schedule)
        self.started: list[str] = []
        self.seen: list[str] = []
        self.ended = 0
        self._landing: dict[str, asyncio.Future[str]] = {}

    async def fly(self, flight: Flight[str, str]) -> str:
        """Wait until `land` gives the result."""
        self.started.append(flight.key)
        self.seen.append(REQUEST.get())
        REQUEST.set(f"set by the flight to {flight.key}")
        landing: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._landing[flight.key] = landing
        try:
            return await landing
        finally:
            self.ended += 1

    async def land(self, key: str, result: str) -> None:
        """Let the flight for a key land, and its waiters continue."""
        await settle()
        self._landing[key].set_result(result)
        await settle()

    async def crash(self, key: str, error: BaseException) -> None:
        """Let the work for a key raise."""
        await settle()
        self._landing[key].set_exception(error)
        await settle()

    def join(self, key: str, deadline: float = math.inf) -> asyncio.Task[str | None]:
        """Start a task that calls `call`."""
        return asyncio.create_task(self.call(key, deadline))

    async def call(self, key: str, deadline: float = math.inf) -> str | None:
        """Join the flight for a key, or start one; return its result, or `gave up`."""
        flight = self.flights.under_way.get(key) or self.flights.start(key)
        landed = await self.flights.join(flight, deadline)
        return "gave up" if landed is None else landed.result


@asynccontextmanager
async def crew() -> AsyncIterator[Crew]:
    """Make a crew, and check that no flight, task or timer is left at the end."""
    before = asyncio.all_tasks()
    crew = Crew()
    run = asyncio.create_task(crew.schedule.run())
    await settle()
    try:
        yield crew
    finally:
        await crew.flights.aclose()
        await settle()
        left = asyncio.all_tasks() - before - {run}
        timers, tasks = len(crew.schedule), len(crew.flights._tasks)
        died = run.done()
        run.cancel()
        await asyncio.wait([run])
    assert not died
    assert (left, timers, tasks, len(crew.flights.under_way)) == (set(), 0, 0, 0)


async def test_waiters_share_one_flight() -> None:
    """All callers that join a flight get the result of one run."""
    async with crew() as it:
        callers = [it.join("rome") for _ in range(10)]
        await it.land("rome", "landed")

        assert await asyncio.gather(*callers) == ["landed"] * 10
        assert it.started == ["rome"]


async def test_work_knows_from_its_first_step_whether_a_caller_waits() -> None:
    """A flight that a caller starts with a deadline is wanted before its work begins."""
    async with crew() as it:
        flight = it.flights.start("a", START + 5)
        renewal = it.flights.start("b")

        assert (flight.wanted, flight.deadline) == (True, START + 5)
        assert (renewal.wanted, renewal.deadline) == (False, -math.inf)


async def test_keys_do_not_share_flights() -> None:
    """Each key has a flight of its own, and each waiter gets the result for its key."""
    async with crew() as it:
        rome, oslo = it.join("rome"), it.join("oslo")
        await it.land("oslo", "cold")
        await it.land("rome", "warm")

        assert (await rome, await oslo) == ("warm", "cold")
        assert it.started == ["rome", "oslo"]


async def test_a_flight_that_landed_is_not_joined() -> None:
    """A caller that comes after the landing starts a new run."""
    async with crew() as it:
        first = it.join("rome")
        await it.land("rome", "first")
        second = it.join("rome")
        await it.land("rome", "second")

        assert (await first, await second) == ("first", "second")


async def test_a_flight_is_under_way_from_its_start_to_its_landing() -> None:
    """`under_way` has a flight by its key from its start to its landing, and not afterwards."""
    async with crew() as it:
        rome, oslo = it.flights.start("rome"), it.flights.start("oslo")
        under_way = [*it.flights.under_way.values()]
        await it.land("rome", "landed")

        assert under_way == [rome, oslo]
        assert it.flights.under_way.get("rome") is None
        assert it.flights.under_way.get("oslo") is oslo
        assert len(it.flights.under_way) == 1
        assert (rome.landed, oslo.landed) == (True, False)


async def test_a_flight_is_not_under_way_when_its_waiters_run() -> None:
    """A waiter that calls again at once starts a new flight."""
    async with crew() as it:

        async def twice() -> list[str | None]:
            return [await it.call("rome"), await it.call("rome")]

        caller = asyncio.create_task(twice())
        await it.land("rome", "first")
        await it.land("rome", "second")

        assert await caller == ["first", "second"]


@pytest.mark.parametrize("cancelled", [0, 5, 9])
async def test_a_waiter_that_is_cancelled_leaves_the_flight_running(cancelled: int) -> None:
    """If one of ten waiters is cancelled, also the first, the nine others get the result."""
    async with crew() as it:
        callers = [it.join("rome") for _ in range(10)]
        await settle()
        leaver = callers.pop(cancelled)
        leaver.cancel()
        await settle()
        waiting = [flight.waiting for flight in it.flights.under_way.values()]
        await it.land("rome", "landed")

        assert leaver.cancelled()
        assert waiting == [9]
        assert await asyncio.gather(*callers) == ["landed"] * 9
        assert it.started == ["rome"]


async def test_a_flight_continues_after_all_waiters_have_left() -> None:
    """A flight whose waiters were all cancelled still lands, and later callers can join it."""
    async with crew() as it:
        callers = [it.join("rome") for _ in range(3)]
        await settle()
        flight = it.flights.under_way.get("rome")
        for caller in callers:
            caller.cancel()
        await settle()
        late = it.join("rome")
        await it.land("rome", "landed")

        assert flight is not None
        assert (flight.result, flight.waiting) == ("landed", 0)
        assert await late == "landed"
        assert it.started == ["rome"]


async def test_a_waiter_that_is_cancelled_in_the_turn_of_the_landing_is_cancelled() -> None:
    """If a cancellation and the landing come in the same turn, neither is lost."""
    async with crew() as it:
        before, after, stays = (it.join("rome") for _ in range(3))
        await settle()
        before.cancel()
        it._landing["rome"].set_result("landed")
        await asyncio.sleep(0)
        moment = (it.flights.under_way.get("rome"), after.done())
        after.cancel()
        await asyncio.wait([before, after, stays])

        assert moment == (None, False)
        assert before.cancelled()
        assert after.cancelled()
        assert stays.result() == "landed"


async def test_a_waiter_gives_up_at_its_deadline() -> None:
    """A waiter waits until its deadline, and the flight continues for the others."""
    async with crew() as it:
        first, second = it.join("rome", START + 5.0), it.join("rome", START + 8.0)
        await it.clock.advance(4.999)
        early = first.done()
        await it.clock.advance(0.001)
        gave_up = (first.done(), second.done())
        third = it.join("rome", START + 9.0)
        await it.land("rome", "landed")

        assert not early
        assert gave_up == (True, False)
        assert (await first, await second, await third) == ("gave up", "landed", "landed")
        assert it.started == ["rome"]


async def test_waiters_with_one_deadline_give_up_together() -> None:
    """All waiters whose deadline has come give up in the same turn."""
    async with crew() as it:
        callers = [it.join("rome", START + 5.0) for _ in range(10)]
        await it.clock.advance(5.0)

        assert [caller.done() for caller in callers] == [True] * 10
        assert await asyncio.gather(*callers) == ["gave up"] * 10
        assert len(it.flights.under_way) == 1


async def test_each_waiter_has_a_deadline_of_its_own() -> None:
    """Each waiter gives up at its own deadline."""
    async with crew() as it:
        callers = [it.join("rome", START + seconds) for seconds in (1.0, 2.0, 2.0, 4.0)]
        done = []
        for _ in range(4):
            await it.clock.advance(1.0)
            done.append(sum(caller.done() for caller in callers))

        assert done == [1, 3, 3, 4]


async def test_the_waiter_with_the_earliest_deadline_gives_up_first() -> None:
    """A waiter that joins late, with an earlier deadline, gives up before the earlier waiters."""
    async with crew() as it:
        late, middle = it.join("a", START + 30), it.join("a", START + 20)
        await settle()
        early = it.join("a", START + 10)
        await settle()
        flight = it.flights.under_way.get("a")
        assert flight is not None
        assert flight.deadline == START + 30

        done = []
        for _ in range(3):
            await it.clock.advance(10)
            done.append([early.done(), middle.done(), late.done()])

        assert done == [[True, False, False], [True, True, False], [True, True, True]]


async def test_a_waiter_that_joins_after_all_have_given_up_has_a_deadline() -> None:
    """A waiter gives up at its deadline, also if no other waiter was left when it joined."""
    async with crew() as it:
        first = it.join("rome", START + 1.0)
        await it.clock.advance(2.0)
        second = it.join("rome", START + 3.0)
        await it.clock.advance(0.5)
        early = second.done()
        await it.clock.advance(0.5)

        assert not early
        assert second.done()
        assert (await first, await second) == ("gave up", "gave up")
        assert it.started == ["rome"]


async def test_a_deadline_that_has_passed_ends_the_wait_at_once() -> None:
    """A waiter whose deadline has passed gives up without waiting."""
    async with crew() as it:
        caller = it.join("rome", START - 1.0)
        await settle()

        assert caller.done()
        assert await caller == "gave up"
        assert len(it.flights.under_way) == 1


async def test_deadlines_are_instants_of_boot_time() -> None:
    """Neither a jump of the wall clock nor the time of the event loop ends a wait."""
    async with crew() as it:
        caller = it.join("rome", START + 0.001)
        it.clock.wall += 1_000_000.0
        await asyncio.wait([caller], timeout=0.005)
        early = caller.done()
        await it.clock.advance(0.001)

        assert not early
        assert caller.done()


async def test_the_deadline_of_a_cancelled_waiter_has_no_effect() -> None:
    """The deadline of a cancelled waiter changes nothing for it or for later waiters."""
    async with crew() as it:
        leaver, stays = it.join("rome", START + 1.0), it.join("rome", START + 2.0)
        await settle()
        leaver.cancel()
        await it.clock.advance(1.0)
        left = stays.done()
        await it.clock.advance(1.0)

        assert leaver.cancelled()
        assert not left
        assert await stays == "gave up"


async def test_to_join_a_flight_that_has_landed_takes_no_turn() -> None:
    """A waiter of a flight that has landed gets it at once, whatever the deadline."""
    async with crew() as it:
        flight = it.flights.start("rome")
        await it.land("rome", "landed")
        waiting = it.flights.join(flight, -math.inf)

        with pytest.raises(StopIteration) as finished:
            waiting.__await__().send(None)

        assert finished.value.value is flight
        assert not flight.wanted


async def test_a_landing_cancels_the_timer() -> None:
    """After a landing no timer and no waiter is left."""
    async with crew() as it:
        flight = it.flights.start("rome")
        callers = [it.join("rome", START + seconds) for seconds in range(1, 5)]
        await it.land("rome", "landed")

        assert await asyncio.gather(*callers) == ["landed"] * 4
        assert len(it.schedule) == 0
        assert len(flight._waiters) == 0


async def test_a_flight_knows_its_waiters() -> None:
    """A flight knows if a caller ever waited, how many wait, and when the last one gives up."""
    async with crew() as it:
        flight = it.flights.start("rome")
        unwanted = (flight.wanted, flight.waiting, flight.deadline)
        callers = [it.join("rome", START + seconds) for seconds in (1.0, 3.0)]
        await settle()
        wanted = (flight.wanted, flight.waiting, flight.deadline)
        await it.clock.advance(5.0)

        assert unwanted == (False, 0, -math.inf)
        assert wanted == (True, 2, START + 3.0)
        assert (flight.wanted, flight.waiting) == (True, 0)
        assert [caller.done() for caller in callers] == [True, True]


async def test_ten_thousand_wait_for_one_flight() -> None:
    """Ten thousand waiters need one run and one timer, and all of them get the result."""
    async with crew() as it:
        callers = [it.join("rome", START + 60.0 + order) for order in range(10_000)]
        await settle(3)
        timers = len(it.schedule)
        await it.land("rome", "landed")

        assert set(await asyncio.gather(*callers)) == {"landed"}
        assert it.started == ["rome"]
        assert timers == 1


async def test_closing_ends_every_flight() -> None:
    """Closing cancels the work, waits for its end, and wakes the waiters without a result."""
    async with crew() as it:
        callers = [it.join(key, START + 60.0) for key in ("rome", "rome", "oslo")]
        await settle()

        await it.flights.aclose()

        assert it.ended == 2
        assert len(it.flights.under_way) == 0
        assert await asyncio.gather(*callers) == [None] * 3


async def test_closing_ends_flights_in_the_order_in_which_they_started() -> None:
    """The order of cancellation does not depend on where the tasks lie in memory."""
    ended: list[int] = []

    async def work(flight: Flight[int, None]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(flight.key)

    flights = SingleFlight[int, None](work, Schedule(ManualClock()))
    for number in range(50):
        flights.start(number)
    await settle()

    await flights.aclose()

    assert ended == [*range(50)]


async def test_closing_ends_a_flight_that_has_not_taken_its_first_step() -> None:
    """Closing wakes the waiters, also if it cancels the work before its first step."""
    async with crew() as it:
        flight = it.flights.start("rome")
        waiting = asyncio.ensure_future(it.flights.join(flight, math.inf))

        await it.flights.aclose()

        assert it.started == []
        assert await waiting is flight
        assert (flight.landed, flight.result) == (True, None)


async def test_closing_waits_for_work_that_cleans_up() -> None:
    """Closing returns when the work is over, not when the work was cancelled."""
    cleaned_up = []

    async def work(flight: Flight[str, None]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await settle(5)
            cleaned_up.append(flight.key)

    flights = SingleFlight[str, None](work, Schedule(ManualClock()))
    flights.start("rome")
    await settle()

    await flights.aclose()

    assert cleaned_up == ["rome"]


async def test_closing_ends_flights_that_start_meanwhile() -> None:
    """Closing also ends a flight that a waiter starts during the closing."""
    async with crew() as it:

        async def call_twice() -> list[str | None]:
            return [await it.call("rome"), await it.call("rome")]

        async def clean_up(flight: Flight[str, str]) -> str:
            try:
                return await Crew.fly(it, flight)
            finally:
                await settle(5)

        it.flights._work = clean_up
        it.flights.start("oslo")
        it.flights._work = it.fly
        caller = asyncio.create_task(call_twice())
        await settle()

        await it.flights.aclose()
        await settle()

        assert await caller == [None, None]
        assert it.ended == len(it.started) == 3


async def test_closing_without_flights_returns_at_once() -> None:
    """Closing takes no turn if no flight is under way."""
    async with crew() as it:
        with pytest.raises(StopIteration):
            it.flights.aclose().send(None)


async def test_work_that_raises_wakes_the_waiters() -> None:
    """If the work raises, which it must not, its waiters find no result and the key is free."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with crew() as it:
        callers = [it.join("rome") for _ in range(3)]
        await it.crash("rome", LookupError())
        again = it.join("rome")
        await it.land("rome", "landed")

        assert await asyncio.gather(*callers) == [None] * 3
        assert await again == "landed"
    gc.collect()  # the event loop reports an error that was not retrieved when the task is gone
    assert [type(error["exception"]) for error in errors] == [LookupError]


async def test_a_task_that_cannot_be_created_leaves_no_flight() -> None:
    """If the event loop cannot create a task, `start` raises, and the next caller may try."""
    loop = asyncio.get_running_loop()

    def fail(*_: object, **__: object) -> asyncio.Task[Any]:
        raise MemoryError

    async with crew() as it:
        loop.set_task_factory(fail)
        with pytest.raises(MemoryError):
            it.flights.start("rome")
        loop.set_task_factory(None)
        left = len(it.flights.under_way)
        caller = it.join("rome")
        await it.land("rome", "landed")

        assert left == 0
        assert await caller == "landed"


def test_a_start_without_an_event_loop_leaves_no_flight() -> None:
    """Without a running event loop `start` raises, and no flight and no coroutine is left."""

    async def work(flight: Flight[str, None]) -> None:
        """Return at once."""

    async def make() -> SingleFlight[str, None]:
        return SingleFlight(work, Schedule(ManualClock()))

    flights = asyncio.run(make())

    with pytest.raises(RuntimeError, match="no running event loop"):
        flights.start("rome")

    assert len(flights.under_way) == 0
    assert len(flights._tasks) == 0


async def test_a_flight_runs_in_the_context_of_the_caller_who_waits_or_in_an_empty_one() -> None:
    """A fetch sees what its caller set, a renewal does not, and what either sets stays its own."""
    async with crew() as it:
        REQUEST.set("set by the caller")
        it.flights.start("rome")
        it.flights.start("oslo", START + 1.0)
        await it.land("rome", "landed")
        it.flights.start("rome")
        await settle()

        assert it.seen == ["not set", "set by the caller", "not set"]
        assert REQUEST.get() == "set by the caller"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exception_that_ends_the_program_is_raised_and_not_logged(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """The event loop raises the exception, and asyncio does not log it a second time."""

    async def work(_: Flight[str, str]) -> str:
        raise kind

    async def main() -> str | None:
        flights = SingleFlight[str, str](work, Schedule(ManualClock()))
        landed = await flights.join(flights.start("rome"), math.inf)
        await asyncio.sleep(30)
        return landed.result if landed else None

    with pytest.raises(kind):
        asyncio.run(main())
    gc.collect()

    assert caplog.records == []


async def test_to_disown_a_key_without_a_flight_does_nothing() -> None:
    """A key may be disowned whether or not a flight is under way for it."""
    async with crew() as it:
        it.flights.disown("rome")

        assert it.flights.under_way == {}


async def test_an_eager_event_loop_changes_nothing() -> None:
    """With eager tasks, work that does not wait lands at once, and other work is shared."""

    async def at_once(flight: Flight[str, str]) -> str:
        REQUEST.set("set by the flight")
        return f"landed in {flight.key}"

    loop = asyncio.get_running_loop()
    eager = sys.version_info >= (3, 12)
    async with crew() as it:
        if sys.version_info >= (3, 12):
            # asyncio's own factory does not accept, on 3.13.0, an argument that uvloop passes.
            loop.set_task_factory(
                lambda loop, work, **options: asyncio.Task(
                    work, **{**options, "loop": loop, "eager_start": True}
                )
            )
        it.flights._work = at_once
        flight = it.flights.start("rome")
        landed, known = flight.landed, len(it.flights.under_way)
        await it.flights.join(flight, START + 1.0)
        it.flights._work = it.fly
        callers = [it.join("oslo") for _ in range(3)]
        await it.land("oslo", "shared")
        last = it.join("rome")
        await settle()
        loop.set_task_factory(None)
        await it.flights.aclose()

        assert (landed, known) == ((True, 0) if eager else (False, 1))
        assert flight.result == "landed in rome"
        assert REQUEST.get() == "not set"
        assert await asyncio.gather(*callers) == ["shared"] * 3
        assert it.started[0] == "oslo"
        assert await last is None
