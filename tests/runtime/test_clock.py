"""The clocks of the machine, and instants."""

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
    """Counts the turns of the event loop, from its creation to `stop`."""

    def __init__(self) -> None:
        self.count = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    async def stop(self) -> int:
        """Return the number of turns."""
        count = self.count
        self._task.cancel()
        await asyncio.wait([self._task])
        return count


@pytest.mark.parametrize(
    ("system", "name"), [("Linux", "CLOCK_BOOTTIME"), ("Darwin", "CLOCK_MONOTONIC")]
)
def test_boot_time_continues_while_the_machine_is_suspended(
    monkeypatch: pytest.MonkeyPatch, system: str, name: str
) -> None:
    """If the system has a clock that continues during a suspension, boot time uses this clock."""
    times = {"the clock": 7_200.0}
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(time, name, "the clock", raising=False)
    monkeypatch.setattr(time, "clock_gettime", times.__getitem__, raising=False)
    clock = SystemClock()
    times["the clock"] += 3_600.0

    assert clock.boot_time() == 10_800.0


def test_boot_time_is_monotonic_time_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system has no such clock, boot time is `time.monotonic`."""
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    before = time.monotonic()

    boot_time = SystemClock().boot_time()

    assert before <= boot_time <= time.monotonic()


def test_boot_time_never_goes_back() -> None:
    """Boot time never decreases."""
    clock = SystemClock()

    times = [clock.boot_time() for _ in range(1_000)]

    assert times == sorted(times)


def test_wall_time_is_the_function_of_the_standard_library() -> None:
    """Wall time is `time.time` itself, so that a call costs nothing more."""
    assert SystemClock().wall_time is time.time


@pytest.mark.parametrize("make_clock", CLOCKS)
@pytest.mark.parametrize("seconds_ago", [0.0, 3_600.0, math.inf])
async def test_waiting_for_the_past_yields_once(
    make_clock: Callable[[], Clock], seconds_ago: float
) -> None:
    """A wait for an instant that has passed ends after one turn of the event loop."""
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


async def test_a_wait_ends_by_boot_time_and_not_by_the_time_of_the_loop() -> None:
    """A wait continues if the event loop's timer ends before boot time reaches the instant."""
    clock = SystemClock()
    start = time.monotonic()
    clock.boot_time = lambda: (time.monotonic() - start) / 3

    await clock.sleep_until(0.002)

    assert clock.boot_time() >= 0.002


async def test_a_long_wait_checks_the_time_every_30_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wait consists of sleeps of at most 30 seconds, so it ends soon after a suspension."""
    clock = SystemClock()
    boot, sleeps = 1_000.0, []

    async def sleep(seconds: float) -> None:
        nonlocal boot
        sleeps.append(seconds)
        boot += 3_600.0 if len(sleeps) == 3 else seconds

    clock.boot_time = lambda: boot
    monkeypatch.setattr(anyio, "sleep", sleep)

    await clock.sleep_until(1_075.0)
    await clock.sleep_until(boot + 100_000.0)

    assert sleeps[:3] == [30.0, 30.0, 15.0]
    assert max(sleeps) == 30.0


@pytest.mark.parametrize("make_clock", CLOCKS)
async def test_a_wait_for_infinity_ends_only_by_cancellation(
    make_clock: Callable[[], Clock],
) -> None:
    """A wait for infinity continues until it is cancelled."""
    clock = make_clock()
    waiting = asyncio.create_task(clock.sleep_until(math.inf))

    done, _ = await asyncio.wait([waiting], timeout=0.005)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert not done
    assert waiting.cancelled()


def test_the_current_instant_has_both_times() -> None:
    """The current instant consists of boot time and wall time."""
    assert current_instant(ManualClock(boot=5.0, wall=7.0)) == Instant(boot=5.0, wall=7.0)


@pytest.mark.parametrize("seconds", [2.5, 0.0, -2.5])
def test_a_later_instant_is_later_in_both_times(seconds: float) -> None:
    """An instant that is later, or earlier, by some seconds is so in both times."""
    assert Instant(10.0, 20.0).later(seconds) == Instant(10.0 + seconds, 20.0 + seconds)
