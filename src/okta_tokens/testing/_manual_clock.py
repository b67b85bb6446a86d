"""A clock that only the test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from weakref import WeakSet

from okta_tokens import TokenProvider
from okta_tokens._runtime.arguments import number_of
from okta_tokens.errors import ConfigurationError, ProviderStateError

_MAX_WAIT = 5.0
"""Seconds of real time for which `advance` waits at one stop."""

_POLL = 0.001
"""Seconds of real time between two looks at the requests of watched providers."""


class ManualClock:
    """A clock that only the test moves. It satisfies `okta_tokens.Clock`.

    Boot time and wall time move together, and stop at each instant for which a provider waits, so
    a test of hours takes milliseconds and everything happens in its order. A provider may run on
    another thread's event loop. A sandbox shares the clock by
    `Sandbox(wall_time=clock.wall_time)`.

    Example:
        ```python
        clock = ManualClock()
        async with TokenProvider(clock=clock) as provider:
            clock.watch(provider)
            await provider.get_token(acme, "orders:read")
            await clock.advance(3600)  # the provider renews the token meanwhile
        ```

    Args:
        boot: The initial boot time, in seconds.
        wall: The initial wall time, in seconds since the epoch. To let it jump, as when a machine's
            clock is set, assign to the attribute.
    """

    boot: float
    """The current boot time, in seconds."""
    wall: float
    """The current wall time, in seconds since the epoch."""

    def __init__(self, boot: float = 1_000.0, wall: float = 1_800_000_000.0) -> None:
        self.boot = boot
        self.wall = wall
        # Declared here, where type checkers do not take them for methods.
        self.boot_time: Callable[[], float] = lambda: self.boot
        """Returns the current boot time."""
        self.wall_time: Callable[[], float] = lambda: self.wall
        """Returns the current wall time."""
        # For what follows, and for moving. The garbage collector may end a sleeper at any time.
        self._lock = threading.RLock()
        self._sleepers: dict[_Sleeper, None] = {}  # in the order in which they fell asleep
        self._loops: set[asyncio.AbstractEventLoop] = set()
        self._providers = WeakSet[TokenProvider]()
        # The tasks of fetches whose requests no server answers.
        self._unanswered = WeakSet[asyncio.Task[None]]()
        self._is_advancing = False

    async def sleep_until(self, instant: float) -> None:
        """Wait until the test has moved boot time to an instant; suspend at least once.

        Args:
            instant: The instant, in seconds of boot time; `math.inf` waits until cancelled.
        """
        await asyncio.sleep(0)
        sleeper = _Sleeper(instant)
        with self._lock:
            if instant <= self.boot:
                return
            self._sleepers[sleeper] = None
            self._loops.add(sleeper.loop)
        try:
            await sleeper.awake.wait()
        finally:
            with self._lock:
                self._sleepers.pop(sleeper, None)

    def watch(self, provider: TokenProvider) -> None:
        """Let `advance` wait at each stop until the requests of a provider are answered.

        The clock keeps no reference to the provider.

        Args:
            provider: The provider, which has this clock.

        Raises:
            ConfigurationError: If it is not a provider with this clock.
        """
        is_provider = issubclass(type(provider), TokenProvider)
        if not is_provider or provider._clock is not self:
            message = (
                "provider: must be a TokenProvider with this clock; make it with "
                "TokenProvider(clock=clock)"
            )
            raise ConfigurationError(message)
        self._providers.add(provider)

    async def advance(
        self, seconds: float, wait_idle: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Move time forward. Stop at the instant of each sleeper, and let all tasks run there.

        At each stop, and at the end, the tasks of every event loop on which code waits for this
        clock run until they wait for something else. If a provider is watched, this waits until
        its requests are answered, but only once for 5 s of real time for a fetch that no server
        answers. A fetch that itself waits for this clock, in a back-off or a pause, is not waited
        for.

        If this call is cancelled, time stays at the stop that it has reached.

        Args:
            seconds: How far to move.
            wait_idle: Awaited at each stop instead of all that.

        Raises:
            ConfigurationError: If the number is negative or not finite.
            ProviderStateError: If another call moves the clock now.
        """
        distance = number_of(seconds)
        if distance is None or distance < 0:
            message = "seconds: must be a finite number of at least 0"
            raise ConfigurationError(message)
        with self._lock:
            if self._is_advancing:
                message = "the clock is being moved; wait for the other call of advance"
                raise ProviderStateError(message)
            self._is_advancing = True
        try:
            await self._advance(distance, wait_idle or self._wait_idle)
        finally:
            self._is_advancing = False

    def advance_from_thread(self, seconds: float) -> None:
        """Move time forward, as `advance`, in a thread without a running event loop.

        For synchronous tests whose provider runs on another thread's event loop.

        Args:
            seconds: How far to move.

        Raises:
            ConfigurationError: As for `advance`.
            ProviderStateError: As for `advance`; and if an event loop runs in this thread.
        """
        if asyncio._get_running_loop() is not None:
            message = (
                "advance_from_thread: an event loop runs in this thread; await advance instead"
            )
            raise ProviderStateError(message)
        # With a factory the runner leaves the thread's own event loop as it is.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(self.advance(seconds))

    async def _advance(self, seconds: float, wait_idle: Callable[[], Awaitable[None]]) -> None:
        await wait_idle()
        end = self.boot + seconds
        while self._wake_next(end):
            await wait_idle()
        await wait_idle()

    def _wake_next(self, end: float) -> bool:
        """Move to the instant of the next sleeper, and wake it; or move to the end.

        Args:
            end: How far to move at most, in seconds of boot time.

        Returns:
            Whether there was a sleeper.
        """
        with self._lock:
            sleeper = min([*self._sleepers], key=lambda each: each.instant, default=None)
            if sleeper is None or sleeper.instant > end:
                self._move(end)
                return False
            self._move(max(sleeper.instant, self.boot))
            self._sleepers.pop(sleeper, None)
        sleeper.wake()
        return True

    def _move(self, boot: float) -> None:
        self.wall += boot - self.boot
        self.boot = boot

    async def _wait_idle(self) -> None:
        """Wait until no event loop has more to do before the clock moves on."""
        own = asyncio.get_running_loop()
        with self._lock:
            others = [loop for loop in self._loops if loop is not own and loop.is_running()]
        waits = [asyncio.wrap_future(self._start_quiet(loop)) for loop in others]
        await self._quiet()
        if waits:
            # A bound of its own, for an event loop that is blocked or stops.
            await asyncio.wait(waits, timeout=_MAX_WAIT)

    def _start_quiet(self, loop: asyncio.AbstractEventLoop) -> Future[None]:
        """Run `_quiet` on another thread's event loop; return a future for its end."""
        done = Future[None]()

        def start() -> None:
            loop.create_task(self._quiet()).add_done_callback(lambda _: done.set_result(None))

        _call_soon(loop, start)
        return done

    async def _quiet(self) -> None:
        """Let the tasks of this event loop run, and wait for the responses to their requests."""
        await settle()
        if not self._providers:
            return
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _MAX_WAIT
        while busy := self._busy_tasks(loop):
            if loop.time() >= give_up:
                self._unanswered.update(busy)
                break
            await asyncio.sleep(_POLL)
        await settle()

    def _busy_tasks(self, loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[None]]:
        """Return the tasks of watched providers that wait for more than this clock.

        Args:
            loop: The event loop of the tasks.
        """
        with self._lock:
            excepted = {*self._unanswered, *(sleeper.task for sleeper in self._sleepers)}
        return [
            task
            for provider in [*self._providers]
            for task in provider._tasks_in_flight()
            if task not in excepted and task.get_loop() is loop and not task.done()
        ]


class _Sleeper:
    """A task that waits for an instant of a manual clock."""

    __slots__ = ("awake", "instant", "loop", "task")

    def __init__(self, instant: float) -> None:
        self.instant = instant
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        self.awake = asyncio.Event()

    def wake(self) -> None:
        """Let the task go on; call this from any thread."""
        if asyncio._get_running_loop() is self.loop:
            self.awake.set()
            return
        _call_soon(self.loop, self.awake.set)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the event loop was closed
        loop.call_soon_threadsafe(callback)


async def settle(turns: int = 30) -> None:
    """Let every task run until it waits for more than the next turn of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
