"""Timers: one schedule that holds all of them, and one task that waits for the earliest."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from okta_tokens._runtime.clock import Clock

T = TypeVar("T", bound="Timer")

CANCEL_AGAIN_AFTER = 0.5
"""Seconds between two cancellations of a task that swallows the first one."""

_MIN_STALE = 16
"""So many instants of cancelled timers may stay in a small heap."""
_MAX_POPS = 1_000
"""More instants of cancelled timers at the top are cheaper removed by a new heap."""
_DUE = math.nan
"""The instant of a timer that fires in the present turn; it is equal to no instant."""


class Timer:
    """Something that a schedule calls back at an instant: the base class of whatever waits.

    An object that waits is its own timer. So a cache entry, of which there are many, needs no
    second object. A subclass with a constructor of its own sets both attributes to `None` itself:
    each fetch makes three timers, and three more calls would cost it a hundredth.
    """

    __slots__ = ("callback", "instant")

    instant: float | None
    """When the schedule calls back, in seconds of boot time; `None` if the timer is not set."""
    callback: Callable[[Any], object] | None

    def __init__(self) -> None:
        """Make a timer that is not set."""
        self.instant = self.callback = None


class Schedule:
    """A set of timers that call plain functions at instants of a clock's boot time.

    Timers change only between awaits, on the event loop that runs `run`. The order of instants is a
    heap of numbers, which are compared in C, and are nothing to the garbage collector. The instant
    of a cancelled timer may stay in the heap until a quarter of the heap is such ones.

    Args:
        clock: Tells the time and waits for it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[float] = []
        # By instant: the timer, or in the order in which they were set the timers that share it.
        self._timers: dict[float, Timer | dict[Timer, None]] = {}
        self._sleep: anyio.CancelScope | None = None
        self._sleeps_until = math.inf

    def __len__(self) -> int:
        """Return the number of timers that will still fire."""
        return sum(map(len, map(_each, self._timers.values())))

    def call_at(self, instant: float, callback: Callable[[T], object], timer: T) -> None:
        """Set a timer; if it is set already, move it.

        Args:
            instant: When to call, in seconds of boot time; `math.inf` never calls. If the instant
                has passed, the call comes in the next turn of `run`, never inside this method.
            callback: The function that `run` calls with the timer, which is no longer set then. An
                exception that it raises ends `run`.
            timer: The timer.
        """
        if timer.instant is not None:
            self.cancel(timer)
        timer.instant, timer.callback = instant, callback
        others = self._timers.get(instant)
        if others is None:
            self._timers[instant] = timer
            heapq.heappush(self._heap, instant)
        elif isinstance(others, Timer):
            self._timers[instant] = {others: None, timer: None}
        else:
            others[timer] = None
        if instant < self._sleeps_until and self._sleep is not None:
            self._sleep.cancel()

    def cancel(self, timer: Timer) -> None:
        """Cancel a timer; do nothing for one that is not set."""
        if timer.instant is None:
            return
        timers = self._timers.get(timer.instant)
        if timers is timer:
            del self._timers[timer.instant]
        elif isinstance(timers, dict):
            timers.pop(timer, None)
        timer.instant = timer.callback = None
        if len(self._heap) > 4 / 3 * len(self._timers) + _MIN_STALE:
            self._rebuild()

    def deadline(self, instant: float) -> Deadline:
        """Return a context manager that cancels its body at an instant.

        Use it as `with schedule.deadline(instant) as deadline:`. When the deadline comes, the code
        after the body continues, and `deadline.caught` is true.

        Args:
            instant: The deadline, in seconds of boot time; `math.inf` sets no deadline.
        """
        return Deadline(self, instant)

    def now(self) -> float:
        """Return the present moment, in seconds of boot time."""
        return self._clock.boot_time()

    def clear(self) -> None:
        """Let no timer fire any more."""
        self._timers.clear()
        self._heap.clear()

    async def run(self) -> None:
        """Fire each timer at its instant, until this coroutine is cancelled."""
        while True:
            self._fire()
            with _CancelScope() as self._sleep:
                self._sleeps_until = self._next_instant()
                await self._clock.sleep_until(self._sleeps_until)
            self._sleep = None

    def _next_instant(self) -> float:
        """Return the instant of the earliest timer, so that no cancelled one ends the sleep."""
        for _ in range(_MAX_POPS):
            if not self._heap:
                return math.inf
            if self._heap[0] in self._timers:
                return self._heap[0]
            heapq.heappop(self._heap)
        self._rebuild()
        return self._heap[0] if self._heap else math.inf

    def _rebuild(self) -> None:
        """Remove the instants of cancelled timers from the heap: 8 ms for a hundred thousand."""
        self._heap = [*self._timers]
        heapq.heapify(self._heap)

    def _fire(self) -> None:
        """Fire the timers that are due.

        A timer that one of the calls sets waits for the next turn, even if it is due, so that other
        tasks get the event loop. One that a call cancels does not fire.
        """
        now = self._clock.boot_time()
        due: list[Timer] = []
        while self._heap and self._heap[0] <= now:
            timers = self._timers.pop(heapq.heappop(self._heap), {})
            due += _each(timers)
        for timer in due:
            timer.instant = _DUE
        for timer in due:
            callback = timer.callback
            if timer.instant is _DUE and callback is not None:
                timer.instant = timer.callback = None
                callback(timer)


def _each(timers: Timer | dict[Timer, None]) -> Collection[Timer]:
    return (timers,) if isinstance(timers, Timer) else timers


class _CancelScope:
    """A cancel scope that catches only its own cancellation.

    If a caller cancels the task in the same turn of the event loop, the exception is that of both
    cancellations. anyio before 4.16 catches it, and the caller's cancellation is lost.
    """

    __slots__ = ("_cancellations", "_scope")

    def __enter__(self) -> anyio.CancelScope:
        """Return the cancel scope of the body."""
        self._cancellations = _count_cancellations()
        self._scope = anyio.CancelScope()
        return self._scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Return whether the body's exception is the cancellation of this scope alone."""
        caught = self._scope.__exit__(kind, error, traceback)
        return caught and _count_cancellations() <= self._cancellations


class Deadline(Timer):
    """A context manager that cancels its body at an instant; `Schedule.deadline` makes it.

    A body that swallows the cancellation is cancelled again every half second, until it has ended.
    A cancellation of the task by other code passes through.

    Every request enters one. It cancels the task itself, which costs less than a third of a cancel
    scope of anyio.
    """

    __slots__ = ("_end", "_others", "_own", "_schedule", "_task", "caught")

    def __init__(self, schedule: Schedule, end: float) -> None:
        self.instant: float | None = None
        self.callback: Callable[[Any], object] | None = None
        self._schedule = schedule
        self._end = end
        self._own = 0  # cancellations by this deadline
        self.caught: bool = False
        """Whether the deadline ended the body."""

    def __enter__(self) -> Self:
        """Set the timer for the body, which runs in the current task."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows the type
        self._task = task
        self._others = task.cancelling()
        self._schedule.call_at(self._end, Deadline._cancel, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Cancel the timer; return whether the body's exception is the deadline's cancellation."""
        self._schedule.cancel(self)
        if not self._own:
            return False
        for _ in range(self._own):
            self._task.uncancel()
        # Another cancellation, also one of the same turn of the event loop, is not caught.
        is_cancelled = isinstance(error, asyncio.CancelledError)
        self.caught = is_cancelled and self._task.cancelling() <= self._others
        return self.caught

    def _cancel(self) -> None:
        self._own += 1
        self._task.cancel()
        self._schedule.call_at(self._schedule.now() + CANCEL_AGAIN_AFTER, Deadline._cancel, self)


def _count_cancellations() -> int:
    """Return how many cancellations of the current task are not yet complete."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
