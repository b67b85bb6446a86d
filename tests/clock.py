"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from itertools import count


class ManualClock:
    """Time that a test moves by hand; it satisfies `okta_tokens.Clock`."""

    def __init__(self, boot: float = 1_000.0, wall: float = 1_800_000_000.0) -> None:
        self.boot = boot
        self.wall = wall
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = count()

    def boot_time(self) -> float:
        """Return the boot time that the test has set."""
        return self.boot

    def wall_time(self) -> float:
        """Return the wall time that the test has set."""
        return self.wall

    async def sleep_until(self, instant: float) -> None:
        """Wait until the test has moved time so far; yield once in any case."""
        await asyncio.sleep(0)
        if instant > self.boot:
            awake = asyncio.Event()
            heapq.heappush(self._sleepers, (instant, next(self._order), awake))
            await awake.wait()

    async def advance(self, seconds: float) -> None:
        """Let time pass, stopping wherever somebody is to wake, and let them run there."""
        await settle()
        end = self.boot + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            instant, _, awake = heapq.heappop(self._sleepers)
            self._move(max(instant, self.boot))
            awake.set()
            await settle()
        self._move(end)
        await settle()

    def _move(self, boot: float) -> None:
        self.wall += boot - self.boot
        self.boot = boot


async def settle(turns: int = 30) -> None:
    """Let every task run until it waits for something other than the event loop's next turn."""
    for _ in range(turns):
        await asyncio.sleep(0)
