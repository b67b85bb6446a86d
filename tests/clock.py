"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from itertools import count


class ManualClock:
    """Time that a test moves by hand; it satisfies `okta_tokens.Clock`.

    Args:
        boot: What boot time begins with.
        wall: What wall time begins with. A test that lets it jump assigns to the attribute.
    """

    def __init__(self, boot: float = 1_000.0, wall: float = 1_800_000_000.0) -> None:
        self.boot = boot
        self.wall = wall
        self.boot_time: Callable[[], float] = lambda: self.boot
        self.wall_time: Callable[[], float] = lambda: self.wall
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = count()

    async def sleep_until(self, instant: float) -> None:
        """Wait until the test has moved time so far; yield once in any case."""
        await asyncio.sleep(0)
        if instant > self.boot:
            awake = asyncio.Event()
            heapq.heappush(self._sleepers, (instant, next(self._order), awake))
            try:
                await awake.wait()
            finally:
                awake.set()  # who was cancelled does not sleep any more

    async def advance(
        self, seconds: float, rest: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Let time pass, stopping wherever somebody is to wake, and let them run there.

        Args:
            seconds: How much.
            rest: Awaited at each stop, for what takes real time: sockets.
        """
        rest = rest or settle
        await rest()
        end = self.boot + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            instant, _, awake = heapq.heappop(self._sleepers)
            if not awake.is_set():
                self._move(max(instant, self.boot))
                awake.set()
                await rest()
        self._move(end)
        await rest()

    def _move(self, boot: float) -> None:
        self.wall += boot - self.boot
        self.boot = boot


async def settle(turns: int = 30) -> None:
    """Let every task run until it waits for something other than the event loop's next turn."""
    for _ in range(turns):
        await asyncio.sleep(0)
