"""One heap of timers, one task that waits for the earliest. It knows nothing of tokens."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count

import anyio

from okta_tokens._clock import Clock


class Timer:
    """A callback that is due at an instant; made by `Schedule.call_at`."""

    __slots__ = ("callback", "instant")

    def __init__(self, instant: float, callback: Callable[[], None]) -> None:
        self.instant = instant
        self.callback: Callable[[], None] | None = callback


class Schedule:
    """Call plain functions at instants of a clock's boot time.

    Timers change only between awaits, on the event loop that runs `run`. A cancelled timer stays in
    the heap until it surfaces or until such timers outnumber the others.

    Args:
        clock: What tells and waits for the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0
        self._nap: anyio.CancelScope | None = None
        self._napping_until = math.inf

    def __len__(self) -> int:
        """Return how many timers are yet to come."""
        return len(self._heap) - self._cancelled

    def call_at(self, instant: float, callback: Callable[[], None]) -> Timer:
        """Arrange for a call.

        Args:
            instant: When, in seconds of boot time; a past one means at once, but not in this call.
            callback: Called from the schedule's task; an exception of it ends `run`.

        Returns:
            The timer, for `cancel`.
        """
        timer = Timer(instant, callback)
        heapq.heappush(self._heap, (instant, next(self._order), timer))
        if self._nap is not None and instant < self._napping_until:
            self._nap.cancel()
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Call a timer off; one that has fired, was cancelled, or is None is left alone."""
        if timer is None or timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        if self._cancelled * 2 > len(self._heap):
            self._heap = [item for item in self._heap if item[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def run(self) -> None:
        """Fire timers as they fall due, until cancelled."""
        while True:
            self._fire()
            with anyio.CancelScope() as self._nap:
                self._napping_until = self._heap[0][0] if self._heap else math.inf
                await self._clock.sleep_until(self._napping_until)
            self._nap = None

    def _fire(self) -> None:
        """Call what is due now. What the calls add, even in the past, waits for the next turn."""
        now = self._clock.boot_time()
        newest = next(self._order)
        added = []
        while self._heap and self._heap[0][0] <= now:
            item = heapq.heappop(self._heap)
            _, order, timer = item
            if timer.callback is None:
                self._cancelled -= 1
            elif order > newest:
                added.append(item)
            else:
                callback, timer.callback = timer.callback, None
                callback()
        for item in added:
            heapq.heappush(self._heap, item)
