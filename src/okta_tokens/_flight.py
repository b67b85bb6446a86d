"""Single flight: one task per key, any number of waiters. It knows nothing of tokens."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextvars import Context
from operator import itemgetter
from typing import Any, Generic, TypeVar

from okta_tokens._schedule import Schedule, Timer

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_PATIENCE = 0.5
"""Seconds of the event loop's time between two cancellations of a flight that does not end."""


class Flight(Generic[K, T]):
    """Some work under way for a key, and who waits for it; made by `SingleFlight.start`."""

    __slots__ = ("_timer", "_waiters", "deadline", "key", "landed", "outcome", "waiting", "wanted")

    def __init__(self, key: K) -> None:
        self.key = key
        self.outcome: T | None = None
        """What the work returned; None until it landed, and for good if it was cancelled."""
        self.landed = False
        self.wanted = False
        """Whether somebody has ever waited for it."""
        self.waiting = 0
        """How many wait for it now."""
        self.deadline = float("-inf")
        """When the last of them gives up, in seconds of boot time."""
        self._waiters: deque[tuple[float, asyncio.Future[bool]]] = deque()
        self._timer: Timer | None = None


class SingleFlight(Generic[K, T]):
    """Share one run of some work among all who want its outcome at the same time.

    A flight belongs to this object, not to whoever asked first: waiters come and go, the work goes
    on. It runs in a task of its own, in a copy of one context. (An asyncio task, since one in
    anyio's task group costs three times as much; `aclose` leaves none behind all the same.)

    The state changes only between awaits, on one event loop.

    Args:
        work: What a flight does; called with the flight. Its errors are values that it returns.
        schedule: Tells waiters when their deadline has come.
    """

    def __init__(
        self, work: Callable[[Flight[K, T]], Coroutine[Any, Any, T]], schedule: Schedule
    ) -> None:
        self._work = work
        self._schedule = schedule
        self.context = Context()
        """What every flight runs in a copy of."""
        self._flights: dict[K, Flight[K, T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many flights are under way."""
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight[K, T]]:
        """Iterate over a copy of the flights that are under way."""
        return iter([*self._flights.values()])

    def get(self, key: K) -> Flight[K, T] | None:
        """Return the flight that is under way for a key, or None."""
        return self._flights.get(key)

    def start(self, key: K, deadline: float | None = None) -> Flight[K, T]:
        """Begin the work for a key for which none is under way.

        Args:
            key: Which one.
            deadline: When the waiter on whose behalf it is gives up; None if nobody waits. Told
                here since an eager event loop begins the work within this call.
        """
        flight = self._flights[key] = Flight[K, T](key)
        if deadline is not None:
            flight.wanted, flight.deadline = True, deadline
        work = self._fly(flight)
        try:
            task = asyncio.get_running_loop().create_task(work, context=self.context.copy())
        except BaseException:
            work.close()
            self._release(flight)
            raise
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step never gets as far as releasing anybody.
        task.add_done_callback(lambda _: self._release(flight))
        return flight

    async def wait(self, flight: Flight[K, T], deadline: float) -> bool:
        """Wait for a flight to land.

        A waiter that is cancelled just leaves.

        Args:
            flight: Which one.
            deadline: When to give up, in seconds of boot time.

        Returns:
            True if it landed: `flight.outcome` says with what. False if the deadline came first.
        """
        if flight.landed:
            return True
        landed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue(flight, deadline, landed)
        flight.wanted = True
        flight.waiting += 1
        try:
            return await landed
        finally:
            flight.waiting -= 1

    async def aclose(self) -> None:
        """Cancel every flight and wait until each is over. Waiters find that it has no outcome."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # Whoever swallowed the cancellation hears it again.
            await asyncio.wait(self._tasks, timeout=_PATIENCE)

    async def _fly(self, flight: Flight[K, T]) -> None:
        try:
            flight.outcome = await self._work(flight)
        finally:
            self._release(flight)

    def _release(self, flight: Flight[K, T]) -> None:
        """Take a flight off the table and wake whoever waits; once."""
        if flight.landed:
            return
        flight.landed = True
        del self._flights[flight.key]
        self._schedule.cancel(flight._timer)
        for _, landed in flight._waiters:
            if not landed.done():
                landed.set_result(True)
        flight._waiters.clear()

    def _queue(self, flight: Flight[K, T], deadline: float, landed: asyncio.Future[bool]) -> None:
        """Line a waiter up by its deadline, which is nearly always the last."""
        waiters = flight._waiters
        if deadline >= flight.deadline:
            waiters.append((deadline, landed))
            flight.deadline = deadline
        else:
            waiters.insert(bisect_right(waiters, deadline, key=itemgetter(0)), (deadline, landed))
        if flight._timer is None or deadline < flight._timer.instant:
            self._watch(flight)

    def _watch(self, flight: Flight[K, T]) -> None:
        """Set one timer, for the waiter that gives up first: they queue in that order."""
        self._schedule.cancel(flight._timer)
        first = flight._waiters[0][0]
        flight._timer = self._schedule.call_at(first, lambda: self._give_up(flight))

    def _give_up(self, flight: Flight[K, T]) -> None:
        """Wake the waiters whose deadline has come, and watch for the next one."""
        now = flight._timer.instant if flight._timer else float("-inf")
        while flight._waiters and flight._waiters[0][0] <= now:
            landed = flight._waiters.popleft()[1]
            if not landed.done():
                landed.set_result(False)
        flight._timer = None
        if flight._waiters:
            self._watch(flight)
