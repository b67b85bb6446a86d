"""Single flight: one task per key, any number of waiters. It knows nothing of tokens."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from functools import partial
from typing import Any, Generic, TypeVar

from okta_tokens._runtime.schedule import Schedule, Timer

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_CANCEL_AGAIN_AFTER = 0.5
"""Seconds of the event loop's time between two cancellations of a flight that does not end."""


class Flight(Generic[K, T]):
    """Some work under way for a key, and who waits for it; made by `SingleFlight.start`."""

    __slots__ = (
        "_deadlines",
        "_timer",
        "_waiters",
        "deadline",
        "interrupted",
        "key",
        "landed",
        "outcome",
        "wanted",
    )

    def __init__(self, key: K) -> None:
        self.key = key
        self.outcome: T | None = None
        """What the work returned; None until it landed, and for good if it was cancelled."""
        self.landed = False
        self.interrupted = False
        """Whether the work met with what ends the program."""
        self.wanted = False
        """Whether somebody has ever waited for it."""
        self.deadline = float("-inf")
        """When the last of them gives up, in seconds of boot time."""
        # Those who wait, by their deadlines; two rows, since a pair for each of a hundred thousand
        # waiters is one more object each for the garbage collector to look at.
        self._waiters: deque[asyncio.Future[Flight[K, T] | None]] = deque()
        self._deadlines: deque[float] = deque()
        self._timer: Timer | None = None

    @property
    def waiting(self) -> int:
        """How many wait for it now."""
        return sum(not landed.done() for landed in self._waiters)


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
        self.under_way: dict[K, Flight[K, T]] = {}
        """Every flight that has not landed, by its key; to be read only."""
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their departure

    def start(self, key: K, deadline: float | None = None) -> Flight[K, T]:
        """Begin the work for a key for which none is under way.

        Args:
            key: Which one.
            deadline: When the waiter on whose behalf it is gives up; None if nobody waits. Told
                here since an eager event loop begins the work within this call.
        """
        flight: Flight[K, T] = Flight(key)
        self.under_way[key] = flight
        if deadline is not None:
            flight.wanted, flight.deadline = True, deadline
        work = self._fly(flight)
        try:
            task = asyncio.get_running_loop().create_task(work, context=self.context.copy())
        except BaseException:
            work.close()
            self._release(flight)
            raise
        self._tasks[task] = None
        task.add_done_callback(partial(self._end, flight))
        return flight

    def join(self, flight: Flight[K, T], deadline: float) -> asyncio.Future[Flight[K, T] | None]:
        """Line up to wait until a flight lands.

        A plain function, since each coroutine between a caller and the future that it waits for
        costs every waiter a tenth of what waiting costs.

        Args:
            flight: Which one.
            deadline: When to give up, in seconds of boot time.

        Returns:
            To be awaited by one waiter, who may be cancelled meanwhile: the flight if it
            landed, and its `outcome` says with what; None if the deadline came first.
        """
        landed: asyncio.Future[Flight[K, T] | None] = asyncio.get_running_loop().create_future()
        if flight.landed:
            landed.set_result(flight)
            return landed
        flight.wanted = True
        if deadline >= flight.deadline:  # the last to come is nearly always the last to give up
            flight._waiters.append(landed)
            flight._deadlines.append(deadline)
            flight.deadline = deadline
        else:
            place = bisect_right(flight._deadlines, deadline)
            flight._waiters.insert(place, landed)
            flight._deadlines.insert(place, deadline)
        if flight._timer is None or deadline < flight._timer.instant:
            self._watch(flight)
        return landed

    async def aclose(self) -> None:
        """Cancel every flight and wait until each is over. Waiters find that it has no outcome."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # Whoever swallowed the cancellation hears it again.
            await asyncio.wait(self._tasks, timeout=_CANCEL_AGAIN_AFTER)

    async def _fly(self, flight: Flight[K, T]) -> None:
        try:
            flight.outcome = await self._work(flight)
        except (KeyboardInterrupt, SystemExit):
            flight.interrupted = True
            raise
        finally:
            self._release(flight)

    def _end(self, flight: Flight[K, T], task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        # A task that is cancelled before its first step never gets as far as releasing anybody.
        self._release(flight)
        if flight.interrupted:
            task.exception()  # the event loop raises it, so nobody is to log that nobody awaited it

    def _release(self, flight: Flight[K, T]) -> None:
        """Take a flight off the table and wake whoever waits; once."""
        if flight.landed:
            return
        flight.landed = True
        del self.under_way[flight.key]
        self._schedule.cancel(flight._timer)
        for landed in flight._waiters:
            if not landed.done():
                landed.set_result(flight)
        flight._waiters.clear()
        flight._deadlines.clear()

    def _watch(self, flight: Flight[K, T]) -> None:
        """Set one timer, for the waiter that gives up first: they queue in that order."""
        self._schedule.cancel(flight._timer)
        flight._timer = self._schedule.call_at(flight._deadlines[0], self._give_up, flight)

    def _give_up(self, flight: Flight[K, T]) -> None:
        """Wake the waiters whose deadline has come, and watch for the next one."""
        now = flight._deadlines[0]  # the timer is always that of the first
        while flight._deadlines and flight._deadlines[0] <= now:
            flight._deadlines.popleft()
            landed = flight._waiters.popleft()
            if not landed.done():
                landed.set_result(None)
        flight._timer = None
        if flight._waiters:
            self._watch(flight)
