"""A machine with virtual time: an event loop that never waits, and clocks that a script changes.

While the machine sleeps, the event loop's time stands still, as Linux's monotonic clock does, and
boot time continues. The wall clock may have an error.
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
"""The true time at which a simulation begins, in seconds since the epoch."""

_MAX_TURNS = 100_000
"""Turns of the event loop without passing time, after which the loop is considered endless."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that advances its time to the next timer instead of waiting for it.

    Its turns make no system calls, because there is no network.

    Args:
        begin: The initial time in seconds.
    """

    # asyncio's private attributes: the callbacks that are ready, and the heap of timers.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.now = begin
        self.turn = 0
        """The number of turns so far."""
        self._idle_turns = 0

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self.now

    def skip(self, instant: float) -> bool:
        """Advance to an instant without a turn; return False if something is due before.

        A turn costs more CPU time than most actions of a script.
        """
        timers = self._scheduled
        if self._ready or (timers and timers[0].when() <= instant) or instant < self.now:
            return False
        self.now = instant
        return True

    def _run_once(self) -> None:
        """Run one turn as asyncio does, but advance the time instead of waiting."""
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
        if self._idle_turns > _MAX_TURNS:
            raise RuntimeError("a task is always ready, so that no time passes")
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
        timer._scheduled = False  # type: ignore[attr-defined]  # asyncio counts cancelled timers
        return timer


def run(main: Coroutine[Any, Any, T], begin: float = 0.0) -> T:
    """Run a coroutine on a new virtual loop, and return its result.

    Args:
        main: The coroutine.
        begin: The loop's initial time in seconds.
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, begin)) as runner:
        return runner.run(main)


class Machine(SystemClock):
    """The clocks of a machine. The package's own code waits by them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self.slept = 0.0
        """Seconds for which the machine has slept in total."""
        self.wall_error = 0.0
        """Seconds by which the wall clock is ahead of the true time."""
        self.boot_time = self._virtual_boot_time
        self.wall_time = self._virtual_wall_time

    def true_time(self) -> float:
        """Return the true time, in seconds since the epoch."""
        return NEW_YEAR + self.boot_time()

    def _virtual_boot_time(self) -> float:
        return self._loop.now + self.slept

    def _virtual_wall_time(self) -> float:
        return NEW_YEAR + self._loop.now + self.slept + self.wall_error
