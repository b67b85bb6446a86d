"""One heap of timers, one task that waits for the earliest. It knows nothing of tokens."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import TypeVar, overload

import anyio

from okta_tokens._runtime.clock import Clock

A = TypeVar("A")

_NOTHING = object()


class Timer:
    """A callback that is due at an instant; made by `Schedule.call_at`."""

    __slots__ = ("argument", "callback", "instant", "order")

    def __init__(
        self, instant: float, order: int, callback: Callable[..., object], argument: object
    ) -> None:
        self.instant = instant
        self.order = order
        self.callback: Callable[..., object] | None = callback
        self.argument = argument

    def __lt__(self, other: Timer) -> bool:
        """Sort by instant; of one instant, whoever came first."""
        if self.instant == other.instant:
            return self.order < other.order
        return self.instant < other.instant


class Schedule:
    """Call plain functions at instants of a clock's boot time.

    Timers change only between awaits, on the event loop that runs `run`. A cancelled timer stays in
    the heap until it surfaces or until such timers are a quarter of all.

    Args:
        clock: What tells and waits for the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[Timer] = []
        self._order = count()
        self._cancelled = 0
        self._nap: anyio.CancelScope | None = None
        self._napping_until = math.inf

    def __len__(self) -> int:
        """Return how many timers are yet to come."""
        return len(self._heap) - self._cancelled

    @overload
    def call_at(self, instant: float, callback: Callable[[], object]) -> Timer: ...

    @overload
    def call_at(self, instant: float, callback: Callable[[A], object], argument: A) -> Timer: ...

    def call_at(
        self, instant: float, callback: Callable[..., object], argument: object = _NOTHING
    ) -> Timer:
        """Arrange for a call.

        Args:
            instant: When, in seconds of boot time; a past one means at once, but not in this call.
            callback: Called from the schedule's task; an exception of it ends `run`.
            argument: What it is called with, if it takes an argument.

        Returns:
            The timer, for `cancel`.
        """
        timer = Timer(instant, next(self._order), callback, argument)
        heapq.heappush(self._heap, timer)
        if self._nap is not None and instant < self._napping_until:
            self._nap.cancel()
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Call a timer off; one that has fired, was cancelled, or is None is left alone."""
        if timer is None or timer.callback is None:
            return
        timer.callback = timer.argument = None
        self._cancelled += 1
        if self._cancelled * 4 > len(self._heap):
            self._heap = [timer for timer in self._heap if timer.callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def clear(self) -> None:
        """Call every timer off."""
        for timer in self._heap:
            timer.callback = timer.argument = None
        self._heap.clear()
        self._cancelled = 0

    async def run(self) -> None:
        """Fire timers as they fall due, until cancelled."""
        while True:
            self._fire()
            with anyio.CancelScope() as self._nap:
                self._napping_until = self._heap[0].instant if self._heap else math.inf
                await self._clock.sleep_until(self._napping_until)
            self._nap = None

    def _fire(self) -> None:
        """Call what is due now. What the calls add, even in the past, waits for the next turn."""
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
                callback() if timer.argument is _NOTHING else callback(timer.argument)
        for timer in added:
            heapq.heappush(self._heap, timer)
