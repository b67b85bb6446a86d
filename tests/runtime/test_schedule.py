"""Timers: which fire, when, in which order, and what wakes the task that waits for them."""

import asyncio
import gc
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens._runtime import schedule as schedule_module
from okta_tokens._runtime.schedule import Schedule, Timer
from tests.clock import ManualClock, call_at, settle

START = 1_000.0
"""The instant at which a `ManualClock` begins."""

instants = st.integers(-2, 8).map(lambda seconds: START + seconds)


class CountingClock(ManualClock):
    """A clock that records until when it was told to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []

    async def sleep_until(self, instant: float) -> None:
        """Record the instant, and sleep."""
        self.sleeps.append(instant)
        await super().sleep_until(instant)


class RestlessClock(ManualClock):
    """A clock whose sleeps end in the next turn of the event loop, whatever the time."""

    async def sleep_until(self, instant: float) -> None:
        """Yield once, also if the instant has not come."""
        del instant
        await asyncio.sleep(0)


class Fired:
    """A record of which timers fired, and when."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.log: list[tuple[object, float]] = []

    def __call__(self, name: object) -> Callable[[], None]:
        """Return a callback that records a name and the time."""
        return lambda: self.log.append((name, self._clock.boot))

    @property
    def names(self) -> list[object]:
        """The names of the timers that fired, in order."""
        return [name for name, _ in self.log]


@asynccontextmanager
async def running(schedule: Schedule) -> AsyncIterator[asyncio.Task[None]]:
    """Run a schedule in a task of its own."""
    task = asyncio.create_task(schedule.run())
    await settle()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_it_is_made_before_there_is_an_event_loop() -> None:
    """A schedule can be made, and timers set, before an event loop runs."""
    schedule = Schedule(ManualClock())

    timer = call_at(schedule, START + 1.0, lambda: None)

    assert timer.instant == START + 1.0
    assert len(schedule) == 1


async def test_timers_fire_at_their_instants_and_in_that_order() -> None:
    """A timer fires at its instant, whatever the order in which timers were set."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    for seconds in (3.0, 1.0, 2.0):
        call_at(schedule, START + seconds, fired(seconds))

    async with running(schedule):
        await clock.advance(5.0)

    assert fired.log == [(1.0, START + 1.0), (2.0, START + 2.0), (3.0, START + 3.0)]


async def test_timers_of_one_instant_fire_in_the_order_in_which_they_were_set() -> None:
    """If timers have the same instant, the one that was set first fires first."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    for name in range(20):
        call_at(schedule, START + 1.0, fired(name))

    async with running(schedule):
        await clock.advance(1.0)

    assert fired.names == [*range(20)]


async def test_a_timer_does_not_fire_before_its_instant() -> None:
    """A timer fires when its instant has come, and not earlier."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    call_at(schedule, START + 1.0, fired("timer"))

    async with running(schedule):
        await clock.advance(0.999)
        early = fired.names.copy()
        await clock.advance(0.001)

    assert early == []
    assert fired.names == ["timer"]


async def test_a_sleep_that_ends_early_fires_no_timer() -> None:
    """The time of the clock decides which timers are due, not the end of a sleep."""
    clock = RestlessClock()
    schedule, fired = Schedule(clock), Fired(clock)
    call_at(schedule, START + 1.0, fired("timer"))

    async with running(schedule):
        await settle()
        early = fired.names.copy()
        clock.boot += 1.0
        await settle()

    assert early == []
    assert fired.names == ["timer"]


async def test_all_timers_that_became_due_during_a_long_sleep_fire() -> None:
    """If time jumps over several instants, all their timers fire, in order."""
    clock = RestlessClock()
    schedule, fired = Schedule(clock), Fired(clock)
    for seconds in (2.0, 1.0, 9.0):
        call_at(schedule, START + seconds, fired(seconds))

    async with running(schedule):
        clock.boot += 5.0
        await settle()

    assert fired.names == [1.0, 2.0]


async def test_a_new_earliest_timer_shortens_the_sleep() -> None:
    """A timer that is set during a sleep and is the earliest of all fires at its instant."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    call_at(schedule, START + 10.0, fired("late"))

    async with running(schedule):
        for seconds in (5.0, 3.0, 1.0):
            call_at(schedule, START + seconds, fired(seconds))
        await clock.advance(4.0)

    assert fired.log == [(1.0, START + 1.0), (3.0, START + 3.0)]


async def test_a_first_timer_ends_the_endless_sleep() -> None:
    """A timer that is set while there is no other one fires at its instant."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)

    async with running(schedule):
        call_at(schedule, START + 1.0, fired("timer"))
        await clock.advance(1.0)

    assert fired.names == ["timer"]


async def test_a_timer_that_is_not_the_earliest_ends_no_sleep() -> None:
    """Setting a timer that is due with the earliest one, or later, wakes no task."""
    clock = CountingClock()
    schedule, fired = Schedule(clock), Fired(clock)
    call_at(schedule, START + 1.0, fired("first"))

    async with running(schedule):
        for seconds in (1.0, 2.0, 3.0):
            call_at(schedule, START + seconds, fired(seconds))
            await settle()

    assert clock.sleeps == [START + 1.0]


@pytest.mark.parametrize("cancelled", [1, 3_000])
async def test_a_cancelled_timer_ends_no_sleep(cancelled: int) -> None:
    """The schedule sleeps until the earliest timer that will fire, however many were cancelled."""
    clock = CountingClock()
    schedule, fired = Schedule(clock), Fired(clock)
    for seconds in range(10_000):
        call_at(schedule, START + 10_000.0 + seconds, fired(seconds))
    for timer in [
        call_at(schedule, START + 1.0 + order, fired("never")) for order in range(cancelled)
    ]:
        schedule.cancel(timer)

    async with running(schedule):
        await settle()

    assert clock.sleeps == [START + 10_000.0]


async def test_a_timer_in_the_past_fires_at_once_but_not_within_the_call() -> None:
    """A timer whose instant has passed fires when the schedule's task runs next."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)

    async with running(schedule):
        call_at(schedule, START - 1.0, fired("timer"))
        within = fired.names.copy()
        await settle()

    assert within == []
    assert fired.log == [("timer", START)]


async def test_a_cancelled_timer_does_not_fire() -> None:
    """A cancelled timer does not fire, and the other timers do."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    timers = [call_at(schedule, START + seconds, fired(seconds)) for seconds in range(5)]

    schedule.cancel(timers[1])
    schedule.cancel(timers[3])
    async with running(schedule):
        await clock.advance(5.0)

    assert fired.names == [0, 2, 4]


async def test_a_callback_may_cancel_a_timer_that_is_due_with_it() -> None:
    """A timer that the callback of another one of the same instant cancels does not fire."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    second: list[Timer] = []
    call_at(schedule, START + 1.0, lambda: schedule.cancel(second[0]))
    second.append(call_at(schedule, START + 1.0, fired("second")))
    call_at(schedule, START + 1.0, fired("third"))

    async with running(schedule):
        await clock.advance(1.0)

    assert fired.names == ["third"]
    assert len(schedule) == 0


async def test_to_cancel_a_timer_that_cannot_fire_does_nothing() -> None:
    """To cancel a timer that has fired or was cancelled, changes nothing."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    over, cancelled, *_ = [
        call_at(schedule, START + seconds, fired(seconds)) for seconds in range(1, 21)
    ]
    schedule.cancel(cancelled)
    async with running(schedule):
        await clock.advance(1.0)

        for timer in (over, cancelled):
            schedule.cancel(timer)

        assert len(schedule) == 18
        await clock.advance(20.0)

    assert fired.names == [1, *range(3, 21)]


async def test_the_length_is_the_number_of_timers_that_will_fire() -> None:
    """Timers that have fired or were cancelled do not count."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    timers = [call_at(schedule, START + seconds, fired(seconds)) for seconds in range(1, 6)]
    lengths = [len(schedule)]
    schedule.cancel(timers[1])
    lengths.append(len(schedule))
    async with running(schedule):
        for _ in range(5):
            await clock.advance(1.0)
            lengths.append(len(schedule))

    assert lengths == [5, 4, 3, 3, 2, 1, 0]


def test_cancelled_timers_do_not_pile_up() -> None:
    """However many timers are cancelled, at most a quarter of the heap is their instants."""
    schedule = Schedule(ManualClock())
    timers = [call_at(schedule, START + order, lambda: None) for order in range(1_000)]

    while timers:
        schedule.cancel(timers.pop())

        assert len(schedule._heap) <= 4 / 3 * len(timers) + 16


async def test_a_schedule_goes_on_although_only_cancelled_timers_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any number of cancelled timers, and none that will fire, do not end the schedule."""
    monkeypatch.setattr(schedule_module, "_MAX_POPS", 4)
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    for order in range(10):
        schedule.cancel(call_at(schedule, START + order, fired("cancelled")))
    async with running(schedule):
        call_at(schedule, START + 20, fired("set later"))
        await clock.advance(20)

    assert fired.names == ["set later"]


def test_a_timer_that_is_moved_again_and_again_takes_bounded_memory() -> None:
    """To move a timer needs no more memory, however often it is done."""
    schedule = Schedule(ManualClock())
    timer = Timer()

    for order in range(1_000):
        schedule.call_at(START + order % 7, print, timer)

        assert len(schedule) == 1
        assert len(schedule._heap) <= 18


async def test_a_timer_that_is_set_again_is_moved() -> None:
    """A timer that is set while it is set fires once, at its last instant."""
    clock = ManualClock()
    schedule = Schedule(clock)
    fired: list[tuple[object, float]] = []
    timers = Timer(), Timer()
    for seconds in (1.0, 2.0):
        for timer in timers:
            schedule.call_at(
                START + seconds, lambda timer: fired.append((timer, clock.boot)), timer
            )

    async with running(schedule):
        await clock.advance(5.0)

    assert fired == [(timers[0], START + 2.0), (timers[1], START + 2.0)]


async def test_a_callback_may_move_a_timer_that_is_due_with_it() -> None:
    """A timer that a callback of its turn moves fires once, not before the next turn."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    moved = Timer()
    call_at(schedule, START, lambda: schedule.call_at(START, lambda _: fired("moved")(), moved))
    schedule.call_at(START, lambda _: fired("too early")(), moved)
    call_at(schedule, START, fired("other"))

    async with running(schedule):
        await settle()

    assert fired.names == ["other", "moved"]


@pytest.mark.parametrize("others", range(3))
def test_a_cancelled_timer_lets_go_of_its_callback(others: int) -> None:
    """A cancelled timer keeps no callback alive, and the schedule does not keep the timer."""
    schedule = Schedule(ManualClock())
    kept = [call_at(schedule, START, lambda: None) for _ in range(others)]
    timer = call_at(schedule, START, lambda: None)

    schedule.cancel(timer)

    assert (timer.instant, timer.callback) == (None, None)
    assert len(schedule) == len(kept)
    assert timer not in gc.get_referents(schedule._timers, *schedule._timers.values())


async def test_all_timers_are_cancelled_together() -> None:
    """After clearing, no timer fires; timers that are set later still fire."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    timers = [call_at(schedule, START + seconds, fired(seconds)) for seconds in (1.0, 2.0, 3.0)]
    schedule.cancel(timers[0])

    schedule.clear()

    assert len(schedule) == 0
    call_at(schedule, START + 2.0, fired("later"))
    for timer in timers:
        schedule.cancel(timer)
    assert len(schedule) == 1
    async with running(schedule):
        await clock.advance(5.0)
    assert fired.names == ["later"]


async def test_a_callback_gets_its_timer() -> None:
    """A callback is called with its timer, which is not set any more then."""
    clock = ManualClock()
    schedule = Schedule(clock)
    found: list[tuple[Timer, float | None]] = []
    timer = Timer()
    schedule.call_at(START, lambda timer: found.append((timer, timer.instant)), timer)

    async with running(schedule):
        await clock.advance(0.0)

    assert found == [(timer, None)]


async def test_a_timer_that_a_callback_sets_in_the_past_waits_for_the_next_turn() -> None:
    """A timer that a callback sets does not fire in the same turn, even if it is due."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)

    def first() -> None:
        call_at(schedule, START, fired("added"))
        asyncio.get_running_loop().call_soon(fired("the event loop's next turn"))

    call_at(schedule, START + 1.0, first)
    call_at(schedule, START + 0.5, fired("earlier"))
    async with running(schedule):
        await clock.advance(1.0)

    assert fired.names == ["earlier", "the event loop's next turn", "added"]


async def test_callbacks_that_set_timers_for_ever_do_not_starve_the_event_loop() -> None:
    """Other tasks run between a timer in the past and the timer that its callback sets."""
    clock = ManualClock()
    schedule = Schedule(clock)
    calls = 0

    def again() -> None:
        nonlocal calls
        calls += 1
        if calls < 1_000:
            call_at(schedule, START - 1.0, again)

    call_at(schedule, START, again)
    async with running(schedule):
        await settle(10)

        assert 1 < calls < 50


async def test_callbacks_that_set_timers_for_ever_do_not_starve_other_timers() -> None:
    """All timers that are due fire in one turn, whatever their callbacks set in the past."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)

    def again() -> None:
        call_at(schedule, START - 1.0, again)

    call_at(schedule, START, again)
    call_at(schedule, START + 1.0, fired("patient"))
    clock.boot += 2.0
    async with running(schedule):
        await settle(3)

        assert fired.names == ["patient"]


async def test_an_error_of_a_callback_ends_the_run() -> None:
    """`run` raises the error of a callback, and calls no other one."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)

    def fail() -> None:
        raise LookupError

    call_at(schedule, START + 1.0, fail)
    call_at(schedule, START + 1.0, fired("next"))
    async with running(schedule) as task:
        await clock.advance(1.0)

        assert isinstance(task.exception(), LookupError)
        assert fired.names == []


@pytest.mark.parametrize("timer_first", [False, True])
async def test_a_cancellation_that_coincides_with_the_end_of_a_sleep_is_not_lost(
    *, timer_first: bool
) -> None:
    """The run ends when it is cancelled, also if a new timer ends its sleep in the same turn."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    call_at(schedule, START + 10.0, fired("late"))
    async with running(schedule) as task:
        if timer_first:
            call_at(schedule, START + 1.0, fired("early"))
        task.cancel()
        if not timer_first:
            call_at(schedule, START + 1.0, fired("early"))
        await settle()

        assert task.cancelled()
        assert len(schedule) == 2


async def test_the_timers_of_a_run_that_ended_fire_in_the_next_run() -> None:
    """Timers can be set while the schedule does not run, and fire when it runs again."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)
    async with running(schedule):
        call_at(schedule, START + 1.0, fired("first"))
    call_at(schedule, START + 0.5, fired("second"))

    async with running(schedule):
        await clock.advance(1.0)

    assert fired.names == ["second", "first"]


async def wait_for_deadline(schedule: Schedule) -> None:
    """Wait for ever, with a deadline after a second."""
    with schedule.deadline(START + 1.0):
        await asyncio.Event().wait()


async def test_a_deadline_cancels_its_body_at_its_instant() -> None:
    """The body is cancelled at the deadline, not before it, and the code after it continues."""
    clock = ManualClock()
    schedule = Schedule(clock)
    cancelled: list[bool] = []

    async def wait_for_ever() -> None:
        with schedule.deadline(START + 1.0) as deadline:
            await asyncio.Event().wait()
        cancelled.append(deadline.caught)

    async with running(schedule):
        body = asyncio.create_task(wait_for_ever())
        await clock.advance(0.999)
        early = cancelled.copy()
        await clock.advance(0.001)
        await body

    assert early == []
    assert cancelled == [True]


async def test_a_body_that_ends_before_its_deadline_leaves_no_timer() -> None:
    """A deadline counts as a timer while its body runs, and is cancelled when the body ends."""
    schedule = Schedule(ManualClock())

    with schedule.deadline(START + 1.0) as deadline:
        assert len(schedule) == 1

    assert len(schedule) == 0
    assert not deadline.caught


async def test_an_error_passes_through_a_deadline() -> None:
    """An exception of the body is raised as it is, and no timer stays behind."""
    schedule = Schedule(ManualClock())

    with pytest.raises(LookupError), schedule.deadline(START + 1.0):
        raise LookupError

    assert len(schedule) == 0


async def test_a_cancellation_from_outside_passes_through_a_deadline() -> None:
    """A deadline stops only its own cancellation: a cancelled task ends as cancelled."""
    clock = ManualClock()
    schedule = Schedule(clock)

    async with running(schedule):
        task = asyncio.create_task(wait_for_deadline(schedule))
        await settle()
        task.cancel()
        await asyncio.wait([task])

    assert task.cancelled()
    assert len(schedule) == 0


async def test_a_cancellation_in_the_turn_of_the_deadline_passes_through_it() -> None:
    """A task that is cancelled at the instant of its deadline ends as cancelled."""
    clock = ManualClock()
    schedule = Schedule(clock)

    async with running(schedule):
        task = asyncio.create_task(wait_for_deadline(schedule))
        await settle()
        call_at(schedule, START + 1.0, task.cancel)
        await clock.advance(1.0)
        await asyncio.wait([task])

    assert task.cancelled()


async def test_a_body_that_swallows_its_cancellation_is_cancelled_again() -> None:
    """A deadline cancels every half second until the body ends, and leaves no cancellation."""
    clock = ManualClock()
    schedule = Schedule(clock)
    swallowed: list[float] = []

    async def swallow_twice() -> int:
        with schedule.deadline(START + 1.0) as deadline:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if len(swallowed) == 2:
                        raise
                    swallowed.append(clock.boot_time())
        assert deadline.caught
        task = asyncio.current_task()
        return -1 if task is None else task.cancelling()

    async with running(schedule):
        task = asyncio.create_task(swallow_twice())
        await clock.advance(1.0)
        await clock.advance(1.0)
        await settle()
        left = task.result()

    assert swallowed == [START + 1.0, START + 1.5]
    assert left == 0
    assert len(schedule) == 0


async def test_a_deadline_at_infinity_never_comes() -> None:
    """A deadline of infinity cancels nothing, however much time passes."""
    clock = ManualClock()
    schedule = Schedule(clock)

    async with running(schedule):
        with schedule.deadline(math.inf) as deadline:
            await clock.advance(1e9)

    assert not deadline.caught


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(
    before=st.lists(st.tuples(instants, st.booleans()), max_size=12),
    during=st.lists(st.tuples(instants, st.booleans()), max_size=12),
)
async def test_every_timer_that_is_not_cancelled_fires_once_in_order(
    before: list[tuple[float, bool]], during: list[tuple[float, bool]]
) -> None:
    """Each timer fires once unless it was cancelled, never early, in the order of instants."""
    clock = ManualClock()
    schedule, fired = Schedule(clock), Fired(clock)

    def add(first: int, some: list[tuple[float, bool]]) -> None:
        timers = [
            call_at(schedule, instant, fired(first + order))
            for order, (instant, _) in enumerate(some)
        ]
        for timer, (_, stays) in zip(timers, some, strict=True):
            if not stays:
                schedule.cancel(timer)

    add(0, before)
    async with running(schedule):
        await clock.advance(2.5)
        add(len(before), during)
        await clock.advance(10.0)

    expected = [
        (max(instant, START if order < len(before) else START + 2.5), instant, order)
        for order, (instant, stays) in enumerate([*before, *during])
        if stays
    ]
    assert fired.log == [(order, fires_at) for fires_at, _, order in sorted(expected)]
    assert len(schedule) == 0
