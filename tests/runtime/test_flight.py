"""One task per key, any number of waiters: who shares what, who leaves when, what stays behind."""

import asyncio
import gc
import math
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from okta_tokens._runtime.flight import Flight, SingleFlight
from okta_tokens._runtime.schedule import Schedule
from tests.clock import ManualClock, settle

START = 1_000.0
"""The instant at which a `ManualClock` begins."""

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="nobody's")


class Crew:
    """Flies: each flight lasts until the test lets it land, and notes what it saw."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.schedule = Schedule(self.clock)
        self.flights = SingleFlight[str, str](self.fly, self.schedule)
        self.started: list[str] = []
        self.seen: list[str] = []
        self.ended = 0
        self._landing: dict[str, asyncio.Future[str]] = {}

    async def fly(self, flight: Flight[str, str]) -> str:
        """Wait until `land` tells the outcome."""
        self.started.append(flight.key)
        self.seen.append(REQUEST.get())
        REQUEST.set(f"the flight's to {flight.key}")
        landing: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._landing[flight.key] = landing
        try:
            return await landing
        finally:
            self.ended += 1

    async def land(self, key: str, outcome: str) -> None:
        """Let the flight for a key end, and everybody notice."""
        await settle()
        self._landing[key].set_result(outcome)
        await settle()

    async def crash(self, key: str, error: BaseException) -> None:
        """Let the work for a key raise."""
        await settle()
        self._landing[key].set_exception(error)
        await settle()

    def join(self, key: str, deadline: float = math.inf) -> asyncio.Task[str | None]:
        """Let one more caller wait for a key, as the package's callers do."""
        return asyncio.create_task(self.call(key, deadline))

    async def call(self, key: str, deadline: float = math.inf) -> str | None:
        """Start or join the flight for a key; return its outcome, or tell that time ran out."""
        flight = self.flights.under_way.get(key) or self.flights.start(key)
        landed = await self.flights.join(flight, deadline)
        return "gave up" if landed is None else landed.result


@asynccontextmanager
async def crew() -> AsyncIterator[Crew]:
    """Have a crew, and check that it leaves nothing behind."""
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
    """All who ask for a key while its flight is under way get the outcome of one run."""
    async with crew() as it:
        callers = [it.join("rome") for _ in range(10)]
        await it.land("rome", "landed")

        assert await asyncio.gather(*callers) == ["landed"] * 10
        assert it.started == ["rome"]


async def test_work_that_somebody_waits_for_knows_it_from_its_first_step() -> None:
    """Who begins a flight to wait for it has said so before the work begins, however eager."""
    async with crew() as it:
        flight = it.flights.start("a", START + 5)
        renewal = it.flights.start("b")

        assert (flight.wanted, flight.deadline) == (True, START + 5)
        assert (renewal.wanted, renewal.deadline) == (False, -math.inf)


async def test_keys_do_not_share() -> None:
    """Each key has a flight of its own, and outcomes are not mixed up."""
    async with crew() as it:
        rome, oslo = it.join("rome"), it.join("oslo")
        await it.land("oslo", "cold")
        await it.land("rome", "warm")

        assert (await rome, await oslo) == ("warm", "cold")
        assert it.started == ["rome", "oslo"]


async def test_a_flight_that_landed_is_not_joined() -> None:
    """Who asks after the landing gets a new run, not an old outcome."""
    async with crew() as it:
        first = it.join("rome")
        await it.land("rome", "first")
        second = it.join("rome")
        await it.land("rome", "second")

        assert (await first, await second) == ("first", "second")


async def test_the_flights_under_way_are_on_the_table() -> None:
    """A flight is found by its key from its start to its landing, and not afterwards."""
    async with crew() as it:
        rome, oslo = it.flights.start("rome"), it.flights.start("oslo")
        under_way = [*it.flights.under_way.values()]
        await it.land("rome", "landed")

        assert under_way == [rome, oslo]
        assert it.flights.under_way.get("rome") is None
        assert it.flights.under_way.get("oslo") is oslo
        assert len(it.flights.under_way) == 1
        assert (rome.landed, oslo.landed) == (True, False)


async def test_a_flight_is_off_the_table_before_its_waiters_run() -> None:
    """A waiter that asks again at once begins a new flight: the old one is over."""
    async with crew() as it:

        async def twice() -> list[str | None]:
            return [await it.call("rome"), await it.call("rome")]

        caller = asyncio.create_task(twice())
        await it.land("rome", "first")
        await it.land("rome", "second")

        assert await caller == ["first", "second"]


@pytest.mark.parametrize("cancelled", [0, 5, 9])
async def test_a_waiter_that_is_cancelled_leaves_the_flight_running(cancelled: int) -> None:
    """Cancelling one of ten waiters, the first one too, changes nothing for the nine others."""
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


async def test_the_flight_goes_on_though_all_have_left() -> None:
    """Work that nobody waits for any more still lands, and serves who comes meanwhile."""
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


async def test_a_waiter_that_is_cancelled_in_the_turn_of_the_landing_just_leaves() -> None:
    """Neither a landing in the same turn, before or after, nor a cancellation is lost."""
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
    """A waiter waits until its deadline and no longer; the flight goes on for the others."""
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
    """Each waiter whose deadline has come is told so, in one go."""
    async with crew() as it:
        callers = [it.join("rome", START + 5.0) for _ in range(10)]
        await it.clock.advance(5.0)

        assert [caller.done() for caller in callers] == [True] * 10
        assert await asyncio.gather(*callers) == ["gave up"] * 10
        assert len(it.flights.under_way) == 1


async def test_each_waiter_has_a_deadline_of_its_own() -> None:
    """Waiters give up one after the other, each at its own instant."""
    async with crew() as it:
        callers = [it.join("rome", START + seconds) for seconds in (1.0, 2.0, 2.0, 4.0)]
        done = []
        for _ in range(4):
            await it.clock.advance(1.0)
            done.append(sum(caller.done() for caller in callers))

        assert done == [1, 3, 3, 4]


async def test_who_has_less_time_gives_up_first_whenever_they_came() -> None:
    """A waiter whose deadline is earlier than those before it does not wait for theirs."""
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


async def test_who_comes_after_all_have_given_up_has_a_deadline_too() -> None:
    """A waiter gives up at its deadline, also if nobody waited when it came."""
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
    """A waiter without any time left is told so without time passing."""
    async with crew() as it:
        caller = it.join("rome", START - 1.0)
        await settle()

        assert caller.done()
        assert await caller == "gave up"
        assert len(it.flights.under_way) == 1


async def test_deadlines_go_by_the_boot_clock_alone() -> None:
    """Neither a jump of the wall clock nor the event loop's own time ends a wait."""
    async with crew() as it:
        caller = it.join("rome", START + 0.001)
        it.clock.wall += 1_000_000.0
        await asyncio.wait([caller], timeout=0.005)
        early = caller.done()
        await it.clock.advance(0.001)

        assert not early
        assert caller.done()


async def test_a_waiter_that_has_left_is_not_told_of_its_deadline() -> None:
    """The deadline of a waiter that was cancelled harms neither it nor those behind it."""
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


async def test_waiting_for_what_has_landed_takes_no_turn() -> None:
    """A flight that has landed is not waited for, whatever the deadline."""
    async with crew() as it:
        flight = it.flights.start("rome")
        await it.land("rome", "landed")
        waiting = it.flights.join(flight, -math.inf)

        with pytest.raises(StopIteration) as finished:
            waiting.__await__().send(None)

        assert finished.value.value is flight
        assert not flight.wanted


async def test_a_landing_calls_the_deadlines_off() -> None:
    """After a landing neither a timer of its waiters nor a trace of them is left."""
    async with crew() as it:
        flight = it.flights.start("rome")
        callers = [it.join("rome", START + seconds) for seconds in range(1, 5)]
        await it.land("rome", "landed")

        assert await asyncio.gather(*callers) == ["landed"] * 4
        assert len(it.schedule) == 0
        assert len(flight._waiters) == 0


async def test_a_flight_knows_who_waits_for_it() -> None:
    """It tells whether anybody ever waited, how many do now, and when the last one gives up."""
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
    """Ten thousand waiters cost one run and one timer, and all of them get the outcome."""
    async with crew() as it:
        callers = [it.join("rome", START + 60.0 + order) for order in range(10_000)]
        await settle(3)
        timers = len(it.schedule)
        await it.land("rome", "landed")

        assert set(await asyncio.gather(*callers)) == {"landed"}
        assert it.started == ["rome"]
        assert timers == 1


async def test_closing_ends_every_flight() -> None:
    """Closing cancels the work, waits for its end, and wakes the waiters without an outcome."""
    async with crew() as it:
        callers = [it.join(key, START + 60.0) for key in ("rome", "rome", "oslo")]
        await settle()

        await it.flights.aclose()

        assert it.ended == 2
        assert len(it.flights.under_way) == 0
        assert await asyncio.gather(*callers) == [None] * 3


async def test_closing_ends_flights_in_the_order_in_which_they_began() -> None:
    """Who is told first that it is over does not depend on where the tasks lie in memory."""
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
    """Waiters are woken, too, if the work is cancelled before it has begun."""
    async with crew() as it:
        flight = it.flights.start("rome")
        waiting = asyncio.ensure_future(it.flights.join(flight, math.inf))

        await it.flights.aclose()

        assert it.started == []
        assert await waiting is flight
        assert (flight.landed, flight.result) == (True, None)


async def test_closing_waits_for_work_that_tidies_up() -> None:
    """Closing is over when the work is, not when it has been told to end."""
    tidied = []

    async def work(flight: Flight[str, None]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await settle(5)
            tidied.append(flight.key)

    flights = SingleFlight[str, None](work, Schedule(ManualClock()))
    flights.start("rome")
    await settle()

    await flights.aclose()

    assert tidied == ["rome"]


async def test_closing_ends_what_starts_meanwhile() -> None:
    """A flight that a waiter starts while others are being ended is ended as well."""
    async with crew() as it:

        async def insist() -> list[str | None]:
            return [await it.call("rome"), await it.call("rome")]

        async def tidy(flight: Flight[str, str]) -> str:
            try:
                return await Crew.fly(it, flight)
            finally:
                await settle(5)

        it.flights._work = tidy
        it.flights.start("oslo")
        it.flights._work = it.fly
        caller = asyncio.create_task(insist())
        await settle()

        await it.flights.aclose()
        await settle()

        assert await caller == [None, None]
        assert it.ended == len(it.started) == 3


async def test_closing_without_flights_returns_at_once() -> None:
    """Closing, also for the second time, takes no turn if nothing is under way."""
    async with crew() as it:
        with pytest.raises(StopIteration):
            it.flights.aclose().send(None)


async def test_work_that_raises_wakes_the_waiters() -> None:
    """If the work breaks its promise and raises, waiters find no outcome, and the key is free."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with crew() as it:
        callers = [it.join("rome") for _ in range(3)]
        await it.crash("rome", LookupError())
        again = it.join("rome")
        await it.land("rome", "landed")

        assert await asyncio.gather(*callers) == [None] * 3
        assert await again == "landed"
    gc.collect()  # the event loop tells of an error that nobody looked at when the task is gone
    assert [type(error["exception"]) for error in errors] == [LookupError]


async def test_a_task_that_cannot_be_made_leaves_nothing_behind() -> None:
    """If the event loop refuses to make a task, the caller hears it, and the next one may try."""
    loop = asyncio.get_running_loop()

    def refuse(*_: object, **__: object) -> asyncio.Task[Any]:
        raise MemoryError

    async with crew() as it:
        loop.set_task_factory(refuse)
        with pytest.raises(MemoryError):
            it.flights.start("rome")
        loop.set_task_factory(None)
        left = len(it.flights.under_way)
        caller = it.join("rome")
        await it.land("rome", "landed")

        assert left == 0
        assert await caller == "landed"


def test_a_flight_without_an_event_loop_leaves_nothing_behind() -> None:
    """Where no event loop runs, starting fails, and neither a flight nor a coroutine is left."""

    async def work(flight: Flight[str, None]) -> None:
        """Do nothing."""

    async def make() -> SingleFlight[str, None]:
        return SingleFlight(work, Schedule(ManualClock()))

    flights = asyncio.run(make())

    with pytest.raises(RuntimeError, match="no running event loop"):
        flights.start("rome")

    assert len(flights.under_way) == 0
    assert len(flights._tasks) == 0


async def test_a_flight_does_not_run_in_the_context_of_its_caller() -> None:
    """What the first caller has set in its context is not seen by the work."""
    async with crew() as it:
        REQUEST.set("the caller's")
        it.flights.start("rome")
        it.flights.context = Context()
        it.flights.context.run(REQUEST.set, "the provider's")
        it.flights.start("oslo")
        await settle()

        assert it.seen == ["nobody's", "the provider's"]


async def test_each_flight_runs_in_a_fresh_copy_of_the_context() -> None:
    """What one flight sets in its context is seen neither by another one nor by the provider."""
    async with crew() as it:
        it.flights.context = copy_context()
        for key in ("rome", "oslo", "rome"):
            it.flights.start(key)
            await it.land(key, "landed")

        assert it.seen == ["nobody's"] * 3
        assert it.flights.context.get(REQUEST) is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_raised_and_not_logged(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """The event loop raises it, so nobody logs besides that nobody awaited the flight."""

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


async def test_an_eager_event_loop_changes_nothing() -> None:
    """Where tasks begin at once, work that never waits lands at once, and other work is shared."""

    async def at_once(flight: Flight[str, str]) -> str:
        REQUEST.set("the flight's")
        return f"landed in {flight.key}"

    loop = asyncio.get_running_loop()
    eager = sys.version_info >= (3, 12)
    async with crew() as it:
        if sys.version_info >= (3, 12):
            # Not asyncio's own, which on 3.13.0 refuses an argument that uvloop gives it.
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
        assert REQUEST.get() == "nobody's"
        assert await asyncio.gather(*callers) == ["shared"] * 3
        assert it.started[0] == "oslo"
        assert await last is None
