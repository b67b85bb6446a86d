"""Time: the only place that reads it or waits for it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import anyio

# A timer of the event loop stands still while the machine sleeps. Waking at least this often, in
# seconds, bounds how late a wait that crossed such a sleep can end.
_MAX_NAP = 30.0


class Clock(Protocol):
    """Two readings and one way to wait, behind every timer of this package.

    The readings are attributes that hold plain callables, so that a hit calls the operating
    system's own function through one load.
    """

    @property
    def boot_time(self) -> Callable[[], float]:
        """Seconds from some fixed instant; never go back, and go on while the machine sleeps."""

    @property
    def wall_time(self) -> Callable[[], float]:
        """Seconds since the Unix epoch, as the machine believes; may jump either way."""

    async def sleep_until(self, instant: float) -> None:
        """Wait until `boot_time()` has reached an instant; yield to the event loop at least once.

        Args:
            instant: In seconds of `boot_time`; infinity waits for cancellation.
        """


def _boot_time_reader() -> Callable[[], float]:
    """Choose the clock that goes on while the machine sleeps, where the system has one.

    On macOS that is the monotonic clock of POSIX, which is not the one that Python calls so. Where
    there is none, the wall clock, which is read as well, sees what this one misses.
    """
    name = "CLOCK_MONOTONIC" if platform.system() == "Darwin" else "CLOCK_BOOTTIME"
    clock = getattr(time, name, None)
    return time.monotonic if clock is None else partial(time.clock_gettime, clock)


class Instant(NamedTuple):
    """One moment by both readings of a clock, in seconds."""

    boot: float
    wall: float

    def later(self, seconds: float) -> Instant:
        """Return the moment so many seconds later, or earlier if they are negative."""
        return Instant(self.boot + seconds, self.wall + seconds)


def read(clock: Clock) -> Instant:
    """Return the present moment."""
    return Instant(clock.boot_time(), clock.wall_time())


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self.boot_time = _boot_time_reader()
        self.wall_time = time.time

    async def sleep_until(self, instant: float) -> None:
        """Wait until `boot_time()` has reached an instant; yield to the event loop at least once.

        A wait that the machine sleeps through ends at most 30 seconds after it wakes.

        Args:
            instant: In seconds of `boot_time`; infinity waits for cancellation.
        """
        nap = instant - self.boot_time()
        await anyio.sleep(min(max(nap, 0.0), _MAX_NAP))
        while (nap := instant - self.boot_time()) > 0:  # noqa: ASYNC110 - time gives no signal
            await anyio.sleep(min(nap, _MAX_NAP))
