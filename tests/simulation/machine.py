"""A machine whose time is virtual: an event loop that never waits, and clocks that sleep and jump.

The event loop's time stands still while the machine sleeps, as Linux's monotonic clock does; boot
time goes on; wall time is whatever somebody set it to.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from okta_tokens._clock import SystemClock

T = TypeVar("T")

NEW_YEAR = 1_767_225_600.0
"""The universe's time when a simulation begins, in seconds since the epoch."""


_TURNS = 100_000
"""Turns of the event loop in which no time passes, before somebody is said to be busy for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that goes on to its next timer instead of waiting for it.

    Args:
        begin: Its time at first, in seconds.
    """

    def __init__(self, begin: float) -> None:
        self._selector_of_time = _SelectorOfTime(begin)
        super().__init__(self._selector_of_time)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._selector_of_time.now

    def skip(self, instant: float) -> bool:
        """Go on to an instant at once, if nothing would happen before; return whether that is so.

        A turn of the event loop costs more than most of what a script asks for.
        """
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # its own
        idle = not self._ready  # type: ignore[attr-defined]  # its own
        if not idle or (timers and timers[0].when() <= instant) or instant < self.time():
            return False
        self._selector_of_time.now = instant
        return True

    @property
    def _clock_resolution(self) -> float:
        """What is due in less than this many seconds is due now: nothing else is."""
        return math.ulp(self._selector_of_time.now)

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        """Ignore what asyncio found: a nanosecond is nothing to a float after half a year."""


class _SelectorOfTime(selectors.SelectSelector):
    """Select nothing, and let the time pass that should have been waited for."""

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.now = begin
        self._idle_turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits, and no timer will wake any of them")
        self._idle_turns = 0 if timeout > 0 else self._idle_turns + 1
        if self._idle_turns > _TURNS:
            raise RuntimeError("something is always ready, and no time passes")
        self.now += timeout
        return []


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
        self._selector_of_time = loop._selector_of_time
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
        return self._selector_of_time.now + self.slept

    def _read_wall_time(self) -> float:
        return NEW_YEAR + self._selector_of_time.now + self.slept + self.wall_error
