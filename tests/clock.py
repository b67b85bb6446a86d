"""A clock that only the test moves."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from itertools import count

from okta_tokens._runtime.schedule import Schedule, Timer


class ManualClock:
    """A clock that only the test moves. It satisfies `okta_tokens.Clock`.

    Args:
        boot: The initial boot time, in seconds.
        wall: The initial wall time, in seconds since the epoch. To let it jump, assign to the
            attribute.
    """

    def __init__(self, boot: float = 1_000.0, wall: float = 1_800_000_000.0) -> None:
        self.boot = boot
        self.wall = wall
        self.boot_time: Callable[[], float] = lambda: self.boot
        self.wall_time: Callable[[], float] = lambda: self.wall
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = count()

    async def sleep_until(self, instant: float) -> None:
        """Wait until the test has moved boot time to an instant; suspend at least once."""
        await asyncio.sleep(0)
        if instant > self.boot:
            awake = asyncio.Event()
            heapq.heappush(self._sleepers, (instant, next(self._order), awake))
            try:
                await awake.wait()
            finally:
                awake.set()  # a cancelled sleeper does not sleep any longer

    async def advance(
        self, seconds: float, wait_idle: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Move time forward. Stop at the instant of each sleeper, and let all tasks run there.

        Args:
            seconds: How far to move.
            wait_idle: Awaited at each stop instead of `settle`, by tests whose tasks wait for
                sockets.
        """
        wait_idle = wait_idle or settle
        await wait_idle()
        end = self.boot + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            instant, _, awake = heapq.heappop(self._sleepers)
            if not awake.is_set():
                self._move(max(instant, self.boot))
                awake.set()
                await wait_idle()
        self._move(end)
        await wait_idle()

    def _move(self, boot: float) -> None:
        self.wall += boot - self.boot
        self.boot = boot


async def settle(turns: int = 30) -> None:
    """Let every task run until it waits for more than the next turn of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


def call_at(schedule: Schedule, instant: float, callback: Callable[[], object]) -> Timer:
    """Set a new timer that calls a function without arguments, and return the timer."""
    timer = Timer()
    schedule.call_at(instant, lambda _: callback(), timer)
    return timer
