"""A machine whose time is virtual: an event loop that never waits, and clocks that sleep and jump.

The event loop's time stands still while the machine sleeps, as Linux's monotonic clock does; boot
time goes on; wall time is whatever somebody set it to.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from okta_tokens._runtime.clock import SystemClock

T = TypeVar("T")

NEW_YEAR = 1_767_225_600.0
"""The universe's time when a simulation begins, in seconds since the epoch."""


_TURNS = 100_000
"""Turns of the event loop in which no time passes, before somebody is said to be busy for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that goes on to its next timer instead of waiting for it.

    There is no network, so its turns ask nothing of the operating system.

    Args:
        begin: Its time at first, in seconds.
    """

    # What asyncio keeps for itself: the callbacks that are due, and a heap of those that are not.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.now = begin
        self.turn = 0
        """How many turns there were."""
        self._idle_turns = 0

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self.now

    def skip(self, instant: float) -> bool:
        """Go on to an instant at once, if nothing would happen before; return whether that is so.

        A turn of the event loop costs more than most of what a script asks for.
        """
        timers = self._scheduled
        if self._ready or (timers and timers[0].when() <= instant) or instant < self.now:
            return False
        self.now = instant
        return True

    def _run_once(self) -> None:
        """Take one turn, as asyncio does, and let the time pass that it would wait for."""
        ready = self._ready
        self._forget_cancelled_timers()
        timers = self._scheduled
        self.turn += 1
        self._idle_turns += 1
        if not ready:
            if not timers:
                raise RuntimeError("every task waits, and no timer will wake any of them")
            if timers[0].when() > self.now:
                self.now, self._idle_turns = timers[0].when(), 0
        if self._idle_turns > _TURNS:
            raise RuntimeError("something is always ready, and no time passes")
        while timers and timers[0].when() <= self.now:
            ready.append(self._pop_timer())
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _forget_cancelled_timers(self) -> None:
        if self._timer_cancelled_count > len(self._scheduled) // 2 + 100:
            self._scheduled = [timer for timer in self._scheduled if not timer.cancelled()]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0
        while self._scheduled and self._scheduled[0].cancelled():
            self._pop_timer()
            self._timer_cancelled_count -= 1

    def _pop_timer(self) -> asyncio.TimerHandle:
        timer = heapq.heappop(self._scheduled)
        timer._scheduled = False  # type: ignore[attr-defined]  # asyncio's: it counts cancelled ones
        return timer


def run(main: Coroutine[Any, Any, T], begin: float = 0.0) -> T:
    """Run a coroutine on a virtual loop of its own, and return what it returns.

    Args:
        main: The coroutine.
        begin: The loop's time at first, in seconds.
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, begin)) as runner:
        return runner.run(main)


class Machine(SystemClock):
    """The clocks of one machine. How to wait by them is the package's own business."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self.slept = 0.0
        """Seconds for which it has slept in all."""
        self.wall_error = 0.0
        """Seconds by which its wall clock is ahead of the universe's time."""
        self.boot_time = self._read_boot_time
        self.wall_time = self._read_wall_time

    def universe_time(self) -> float:
        """Return the true time, in seconds since the epoch."""
        return NEW_YEAR + self.boot_time()

    def _read_boot_time(self) -> float:
        return self._loop.now + self.slept

    def _read_wall_time(self) -> float:
        return NEW_YEAR + self._loop.now + self.slept + self.wall_error
