"""Clocks: every part of this package gets the time, and waits for it, through one of these."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import anyio

# The timers of an event loop stop while the machine is suspended. A wait is made of sleeps of at
# most this many seconds, so that it ends soon after the machine resumes.
_MAX_SLEEP = 30.0


stopwatch = time.perf_counter
"""Returns seconds, to measure for how long code blocks the event loop. That is real time, also with
a clock that a test moves. No timer uses it."""


class Clock(Protocol):
    """A source of time: boot time, wall time, and a way to wait.

    The two times are attributes that hold plain callables, so that a cache hit calls the operating
    system's function after one attribute lookup.
    """

    @property
    def boot_time(self) -> Callable[[], float]:
        """A function that returns the seconds since a fixed instant.

        Boot time never goes back, and continues while the machine is suspended.
        """

    @property
    def wall_time(self) -> Callable[[], float]:
        """A function that returns the seconds since the Unix epoch; wall time may jump."""

    async def sleep_until(self, instant: float) -> None:
        """Wait until `boot_time()` reaches an instant; yield to the event loop at least once.

        Args:
            instant: The instant, in seconds of boot time; `math.inf` waits until cancelled.
        """


def _boot_time_function() -> Callable[[], float]:
    """Return the function for a clock that continues while the machine is suspended.

    Three cases: Linux has `CLOCK_BOOTTIME`. On macOS, `CLOCK_MONOTONIC` is such a clock, but
    `time.monotonic` is not. Other systems have no such clock and get `time.monotonic`; there, only
    the wall clock shows the time of a suspension.
    """
    name = "CLOCK_MONOTONIC" if platform.system() == "Darwin" else "CLOCK_BOOTTIME"
    clock = getattr(time, name, None)
    return time.monotonic if clock is None else partial(time.clock_gettime, clock)


class Instant(NamedTuple):
    """An instant in both times of a clock, in seconds."""

    boot: float
    wall: float

    def later(self, seconds: float) -> Instant:
        """Return the instant that is some seconds later, or earlier if the number is negative."""
        return Instant(self.boot + seconds, self.wall + seconds)


def current_instant(clock: Clock) -> Instant:
    """Return the current instant of a clock."""
    return Instant(clock.boot_time(), clock.wall_time())


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self.boot_time: Callable[[], float] = _boot_time_function()
        self.wall_time: Callable[[], float] = time.time

    async def sleep_until(self, instant: float) -> None:
        """Wait until `boot_time()` reaches an instant; yield to the event loop at least once.

        If the machine was suspended beyond the instant, the wait ends at most 30 seconds after the
        machine resumes.

        Args:
            instant: The instant, in seconds of boot time; `math.inf` waits until cancelled.
        """
        seconds = instant - self.boot_time()
        await anyio.sleep(min(max(seconds, 0.0), _MAX_SLEEP))
        while (seconds := instant - self.boot_time()) > 0:  # noqa: ASYNC110 - time gives no signal
            await anyio.sleep(min(seconds, _MAX_SLEEP))
