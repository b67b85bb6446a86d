"""Timers: one heap that holds all of them, and one task that waits for the earliest."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Self, TypeVar, overload

import anyio

from okta_tokens._runtime.clock import Clock

A = TypeVar("A")

_NO_ARGUMENT = object()

CANCEL_AGAIN_AFTER = 0.5
"""Seconds between two cancellations of a task that swallows the first one."""


class Timer:
    """A callback that is due at an instant; `Schedule.call_at` makes it."""

    __slots__ = ("argument", "callback", "instant", "order")

    def __init__(
        self, instant: float, order: int, callback: Callable[..., object], argument: object
    ) -> None:
        self.instant = instant
        self.order = order
        self.callback: Callable[..., object] | None = callback
        self.argument = argument

    def __lt__(self, other: Timer) -> bool:
        """Sort by instant; of two timers with the same instant, the older one comes first."""
        if self.instant == other.instant:
            return self.order < other.order
        return self.instant < other.instant


class Schedule:
    """A set of timers that call plain functions at instants of a clock's boot time.

    Timers change only between awaits, on the event loop that runs `run`. A cancelled timer stays in
    the heap until its instant, or until a quarter of the heap is cancelled.

    Args:
        clock: Tells the time and waits for it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[Timer] = []
        self._order = count()
        self._cancelled = 0
        self._sleep: anyio.CancelScope | None = None
        self._sleeps_until = math.inf

    def __len__(self) -> int:
        """Return the number of timers that will still fire."""
        return len(self._heap) - self._cancelled

    @overload
    def call_at(self, instant: float, callback: Callable[[], object]) -> Timer: ...

    @overload
    def call_at(self, instant: float, callback: Callable[[A], object], argument: A) -> Timer: ...

    def call_at(
        self, instant: float, callback: Callable[..., object], argument: object = _NO_ARGUMENT
    ) -> Timer:
        """Set a timer.

        Args:
            instant: When to call, in seconds of boot time. If the instant has passed, the call
                comes in the next turn of `run`, never inside this method.
            callback: The function that `run` calls. An exception that it raises ends `run`.
            argument: The argument of the call, if `callback` takes one.

        Returns:
            The timer, for `cancel`.
        """
        timer = Timer(instant, next(self._order), callback, argument)
        heapq.heappush(self._heap, timer)
        if self._sleep is not None and instant < self._sleeps_until:
            self._sleep.cancel()
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Cancel a timer; do nothing for `None` and for a timer that has fired or was cancelled."""
        if timer is None or timer.callback is None:
            return
        timer.callback = timer.argument = None
        self._cancelled += 1
        if self._cancelled * 4 > len(self._heap):
            self._heap = [timer for timer in self._heap if timer.callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

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
        """Cancel every timer."""
        for timer in self._heap:
            timer.callback = timer.argument = None
        self._heap.clear()
        self._cancelled = 0

    async def run(self) -> None:
        """Fire each timer at its instant, until this coroutine is cancelled."""
        while True:
            self._fire()
            with _CancelScope() as self._sleep:
                self._sleeps_until = self._heap[0].instant if self._heap else math.inf
                await self._clock.sleep_until(self._sleeps_until)
            self._sleep = None

    def _fire(self) -> None:
        """Fire the timers that are due.

        Three cases: a cancelled timer is dropped; a timer that one of the calls added waits for the
        next turn, even if it is due, so that other tasks get the event loop; any other is called.
        """
        now = self._clock.boot_time()
        newest = next(self._order)
        added = []
        while self._heap and self._heap[0].instant <= now:
            timer = heapq.heappop(self._heap)
            if timer.callback is None:
                self._cancelled -= 1
            elif timer.order > newest:
                added.append(timer)
            else:
                callback, timer.callback = timer.callback, None
                callback() if timer.argument is _NO_ARGUMENT else callback(timer.argument)
        for timer in added:
            heapq.heappush(self._heap, timer)


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


class Deadline:
    """A context manager that cancels its body at an instant; `Schedule.deadline` makes it.

    A body that swallows the cancellation is cancelled again every half second, until it has ended.
    A cancellation of the task by other code passes through.

    Every request enters one. It cancels the task itself, which costs less than a third of a cancel
    scope of anyio.
    """

    __slots__ = ("_instant", "_others", "_own", "_schedule", "_task", "_timer", "caught")

    def __init__(self, schedule: Schedule, instant: float) -> None:
        self._schedule = schedule
        self._instant = instant
        self._own = 0  # cancellations by this deadline
        self.caught = False
        """Whether the deadline ended the body."""

    def __enter__(self) -> Self:
        """Set the timer for the body, which runs in the current task."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows the type
        self._task = task
        self._others = task.cancelling()
        self._timer = self._schedule.call_at(self._instant, self._cancel)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Cancel the timer; return whether the body's exception is the deadline's cancellation."""
        self._schedule.cancel(self._timer)
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
        instant = self._schedule.now() + CANCEL_AGAIN_AFTER
        self._timer = self._schedule.call_at(instant, self._cancel)


def _count_cancellations() -> int:
    """Return how many cancellations of the current task are not yet complete."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
