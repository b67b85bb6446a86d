"""The machine's clocks, and the moments that are read from them."""

import asyncio
import math
import platform
import time
from collections.abc import Callable

import anyio
import pytest

from okta_tokens._runtime.clock import Clock, Instant, SystemClock, current_instant
from tests.clock import ManualClock

CLOCKS: list[Callable[[], Clock]] = [SystemClock, ManualClock]


class Turns:
    """Counts the turns of the event loop from its making to `stop`."""

    def __init__(self) -> None:
        self.count = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    async def stop(self) -> int:
        """Return how many turns there were."""
        count = self.count
        self._task.cancel()
        await asyncio.wait([self._task])
        return count


@pytest.mark.parametrize(
    ("system", "name"), [("Linux", "CLOCK_BOOTTIME"), ("Darwin", "CLOCK_MONOTONIC")]
)
def test_boot_time_counts_the_time_that_the_machine_sleeps(
    monkeypatch: pytest.MonkeyPatch, system: str, name: str
) -> None:
    """Where the system has a clock that goes on while the machine sleeps, boot time is its."""
    readings = {"its": 7_200.0}
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(time, name, "its", raising=False)
    monkeypatch.setattr(time, "clock_gettime", readings.__getitem__, raising=False)
    clock = SystemClock()
    readings["its"] += 3_600.0

    assert clock.boot_time() == 10_800.0


def test_boot_time_is_monotonic_time_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no such clock, boot time is the best that the system has."""
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    before = time.monotonic()

    reading = SystemClock().boot_time()

    assert before <= reading <= time.monotonic()


def test_boot_time_never_goes_back() -> None:
    """Of two readings of boot time the later one is never the smaller one."""
    clock = SystemClock()

    readings = [clock.boot_time() for _ in range(1_000)]

    assert readings == sorted(readings)


def test_wall_time_is_what_the_machine_believes() -> None:
    """Wall time is the operating system's own function, so that reading it costs nothing more."""
    assert SystemClock().wall_time is time.time


@pytest.mark.parametrize("make_clock", CLOCKS)
@pytest.mark.parametrize("seconds_ago", [0.0, 3_600.0, math.inf])
async def test_waiting_for_the_past_yields_once(
    make_clock: Callable[[], Clock], seconds_ago: float
) -> None:
    """Waiting for an instant that has come lets the event loop run once, and ends."""
    clock = make_clock()
    turns = Turns()

    await clock.sleep_until(clock.boot_time() - seconds_ago)

    assert await turns.stop() == 1


async def test_a_wait_never_ends_early() -> None:
    """A wait lasts until boot time has reached the instant."""
    clock = SystemClock()
    instants = [clock.boot_time() + milliseconds / 1_000 for milliseconds in range(5)]

    for instant in instants:
        await clock.sleep_until(instant)

        assert clock.boot_time() >= instant


async def test_a_wait_goes_by_boot_time_and_not_by_the_loop() -> None:
    """A wait goes on when the event loop's timer ends before boot time has reached the instant."""
    clock = SystemClock()
    start = time.monotonic()
    clock.boot_time = lambda: (time.monotonic() - start) / 3

    await clock.sleep_until(0.002)

    assert clock.boot_time() >= 0.002


async def test_a_long_wait_looks_up_every_30_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait is made of naps of 30 seconds at most, so that one slept through ends soon after."""
    clock = SystemClock()
    boot, naps = 1_000.0, []

    async def nap(seconds: float) -> None:
        nonlocal boot
        naps.append(seconds)
        boot += 3_600.0 if len(naps) == 3 else seconds

    clock.boot_time = lambda: boot
    monkeypatch.setattr(anyio, "sleep", nap)

    await clock.sleep_until(1_075.0)
    await clock.sleep_until(boot + 100_000.0)

    assert naps[:3] == [30.0, 30.0, 15.0]
    assert max(naps) == 30.0


@pytest.mark.parametrize("make_clock", CLOCKS)
async def test_waiting_for_infinity_ends_by_cancellation_alone(
    make_clock: Callable[[], Clock],
) -> None:
    """A wait for infinity goes on until it is cancelled."""
    clock = make_clock()
    waiting = asyncio.create_task(clock.sleep_until(math.inf))

    done, _ = await asyncio.wait([waiting], timeout=0.005)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert not done
    assert waiting.cancelled()


def test_a_moment_is_read_by_both_clocks() -> None:
    """The present is what both clocks say."""
    assert current_instant(ManualClock(boot=5.0, wall=7.0)) == Instant(boot=5.0, wall=7.0)


@pytest.mark.parametrize("seconds", [2.5, 0.0, -2.5])
def test_a_later_moment_is_later_by_both_clocks(seconds: float) -> None:
    """A moment some seconds later, or earlier, is so by both readings."""
    assert Instant(10.0, 20.0).later(seconds) == Instant(10.0 + seconds, 20.0 + seconds)
