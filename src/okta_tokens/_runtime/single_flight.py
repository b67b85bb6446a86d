"""Single flight: at most one task per key, and any number of waiters that share its result."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from okta_tokens._runtime.schedule import CANCEL_AGAIN_AFTER, Schedule, Timer

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Flight(Timer, Generic[K, T]):
    """One run of the work for a key, and its waiters; `SingleFlight.start` makes it.

    It is the timer of its earliest deadline.
    """

    __slots__ = (
        "_deadlines",
        "_waiters",
        "deadline",
        "forced",
        "interrupted",
        "key",
        "landed",
        "reason",
        "result",
        "started_at",
        "urgent",
        "wanted",
        "wanted_since",
    )

    def __init__(self, key: K) -> None:
        self.instant: float | None = None
        self.callback: Callable[[Any], object] | None = None
        self.key: K = key
        self.result: T | None = None
        """What the work returned; `None` before the landing, and if the work was cancelled."""
        self.landed: bool = False
        """Whether the work is over."""
        self.interrupted: bool = False
        """Whether the work ended by `KeyboardInterrupt` or `SystemExit`."""
        self.wanted: bool = False
        """Whether a caller has ever waited for this flight."""
        self.wanted_since: float = 0.0
        """When the first caller came, in seconds of boot time."""
        self.urgent: bool = False
        """Whether the work is of no use if it does not begin now."""
        self.forced: bool = False
        """Whether the work must be done, even if its result is at hand."""
        self.reason: str = ""
        """Why the work is done, for whoever reports about it."""
        self.started_at: float = 0.0
        """When the flight started, in seconds of boot time."""
        self.deadline: float = -math.inf
        """When the last waiter gives up, in seconds of boot time."""
        # The waiters in the order of their deadlines. Two lists, because a list of pairs would give
        # the garbage collector one more object for each of a hundred thousand waiters.
        self._waiters: list[asyncio.Future[Flight[K, T] | None]] = []
        self._deadlines: list[float] = []

    @property
    def waiting(self) -> int:
        """The number of callers that wait for this flight now."""
        return sum(not waiter.done() for waiter in self._waiters)

    @property
    def is_awaited(self) -> bool:
        """Whether a caller waits for this flight now."""
        return any(not waiter.done() for waiter in self._waiters)

    def waited(self, now: float) -> float:
        """Return the seconds since the first caller came; 0.0 if no caller came.

        Args:
            now: The present moment, in seconds of boot time.
        """
        return now - self.wanted_since if self.wanted else 0.0


class SingleFlight(Generic[K, T]):
    """The flights of some work: callers that want the same key at the same time share one run.

    This object owns its flights, not the first caller: waiters come and go, and the work continues.
    Each flight runs in a task of its own. The task is one of asyncio, because a task in a task
    group of anyio costs three times as much; `aclose` waits for each.

    The state changes only between awaits, on one event loop.

    Args:
        work: The coroutine function that a flight runs; its argument is the flight. It returns its
            errors and raises none.
        schedule: Wakes waiters at their deadlines.
    """

    def __init__(
        self, work: Callable[[Flight[K, T]], Coroutine[Any, Any, T]], schedule: Schedule
    ) -> None:
        self._work = work
        self._schedule = schedule
        self._on_deadline, self._on_end = self._give_up, self._end  # one method for all flights
        self.under_way: dict[K, Flight[K, T]] = {}
        """Every flight that has not landed and is not disowned, by its key; read-only for users of
        this class."""
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order in which they started

    def start(
        self,
        key: K,
        deadline: float | None = None,
        *,
        reason: str = "",
        urgent: bool = False,
        forced: bool = False,
    ) -> Flight[K, T]:
        """Start the flight for a key that has none under way.

        What the work depends on is an argument, because an eager task starts the work inside this
        call. If a caller waits, the work runs in a copy of the caller's context. Otherwise it runs
        in an empty context, so that no request of the past is named in its logs and traces.

        Args:
            key: The key.
            deadline: When the first waiter gives up, in seconds of boot time; `None` if no caller
                waits.
            reason: Why the work is done, for whoever reports about it.
            urgent: Whether the work is of no use if it does not begin now.
            forced: Whether the work must be done, even if its result is at hand.

        Returns:
            The flight; if its task was eager, it may have landed.
        """
        flight: Flight[K, T] = Flight(key)
        self.under_way[key] = flight
        flight.started_at = self._schedule.now()
        if deadline is not None:
            flight.wanted, flight.wanted_since = True, flight.started_at
            flight.deadline = deadline
        flight.reason, flight.urgent, flight.forced = reason, urgent, forced
        context = Context() if deadline is None else copy_context()
        work = self._run(flight)
        try:
            task = asyncio.get_running_loop().create_task(work, context=context)
        except BaseException:
            work.close()
            self._land(flight)
            raise
        self._tasks[task] = None
        task.add_done_callback(partial(self._on_end, flight))
        return flight

    def join(self, flight: Flight[K, T], deadline: float) -> asyncio.Future[Flight[K, T] | None]:
        """Add a waiter to a flight.

        This is a plain function, because each coroutine between a caller and its future adds a
        tenth to the cost of waiting.

        Args:
            flight: The flight, which may have landed.
            deadline: When the waiter gives up, in seconds of boot time.

        Returns:
            A future for one waiter, which may cancel it. Its result is the flight if the flight
            landed, and `None` if the deadline came first.
        """
        waiter: asyncio.Future[Flight[K, T] | None] = asyncio.get_running_loop().create_future()
        if flight.landed:
            waiter.set_result(flight)
            return waiter
        if not flight.wanted:
            flight.wanted, flight.wanted_since = True, self._schedule.now()
        if deadline >= flight.deadline:  # nearly always: the newest waiter has the latest deadline
            flight._waiters.append(waiter)
            flight._deadlines.append(deadline)
            flight.deadline = deadline
        else:
            index = bisect_right(flight._deadlines, deadline)
            flight._waiters.insert(index, waiter)
            flight._deadlines.insert(index, deadline)
        if flight.instant is None or deadline < flight.instant:
            self._set_timer(flight)
        return waiter

    def disown(self, key: K) -> None:
        """Let later callers of a key start another flight; the one under way goes on, if any.

        Args:
            key: The key.
        """
        self.under_way.pop(key, None)

    def owns(self, flight: Flight[K, T]) -> bool:
        """Tell whether a flight is the one under way for its key.

        Args:
            flight: A flight that has not landed.
        """
        return self.under_way.get(flight.key) is flight

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks of the flights, in the order of their start; call from any thread."""
        return [*self._tasks]

    async def aclose(self) -> None:
        """Cancel every flight and wait until each is over; its waiters find no result.

        Work that suppresses its cancellation is cancelled again every half second.
        """
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=CANCEL_AGAIN_AFTER)

    async def _run(self, flight: Flight[K, T]) -> None:
        try:
            flight.result = await self._work(flight)
        except (KeyboardInterrupt, SystemExit):
            flight.interrupted = True
            raise
        finally:
            self._land(flight)

    def _end(self, flight: Flight[K, T], task: asyncio.Task[None]) -> None:
        """Forget the task of a flight."""
        del self._tasks[task]
        if not flight.landed:  # the task was cancelled before its first step
            self._land(flight)
        if flight.interrupted:
            # The event loop raises the exception. To retrieve it here keeps asyncio from logging
            # that it was never retrieved.
            task.exception()

    def _land(self, flight: Flight[K, T]) -> None:
        """Remove a flight from those under way, and wake its waiters."""
        flight.landed = True
        if self.owns(flight):
            del self.under_way[flight.key]
        self._schedule.cancel(flight)
        for waiter in flight._waiters:
            if not waiter.done():
                waiter.set_result(flight)
        flight._waiters.clear()
        flight._deadlines.clear()

    def _set_timer(self, flight: Flight[K, T]) -> None:
        """Let `_give_up` wake waiters at the earliest deadline, which is the first in the queue."""
        self._schedule.call_at(flight._deadlines[0], self._on_deadline, flight)

    def _give_up(self, flight: Flight[K, T]) -> None:
        """Wake the waiters whose deadline has come, and set the timer for the next deadline."""
        end = bisect_right(flight._deadlines, self._schedule.now())
        for waiter in flight._waiters[:end]:
            if not waiter.done():
                waiter.set_result(None)
        del flight._waiters[:end], flight._deadlines[:end]
        if flight._waiters:
            self._set_timer(flight)
