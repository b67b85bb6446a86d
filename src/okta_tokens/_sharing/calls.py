"""Calls of a store that end for the caller at a deadline, whatever the store does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

from okta_tokens._runtime.schedule import CANCEL_AGAIN_AFTER, Schedule, Timer

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class CallTimeoutError(Exception):
    """The call did not end in time."""


class Calls:
    """Calls of code of a user's, each in a task of its own.

    A call that is late is cancelled, and cancelled again every half second until it has ended. No
    one waits for it any more: code that swallows its cancellation holds up no fetch.

    Args:
        schedule: Ends calls that take too long.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self, deadline: float, method: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Return what a call returns, or raise what it raises.

        Cancellation cancels the call, and does not wait for its end.

        Args:
            deadline: When to give up, in seconds of boot time.
            method: The asynchronous function.
            *args: Its arguments.

        Raises:
            CallTimeoutError: If the deadline comes first.
        """
        task = asyncio.get_running_loop().create_task(_await(method, *args))
        self._tasks.add(task)
        task.add_done_callback(self._end)
        try:
            with self._schedule.deadline(deadline):
                await asyncio.wait((task,))
        finally:
            if not task.done():
                self._abandon(_Abandoned(task))
        if task.done():
            return task.result()
        raise CallTimeoutError

    async def aclose(self) -> None:
        """Wait until each call has ended that was cancelled; cancel it again if need be."""
        while self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_AGAIN_AFTER)
            for task in self._tasks:
                task.cancel()

    def _end(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio logs an error that no one has retrieved

    def _abandon(self, call: _Abandoned) -> None:
        if not call.task.done():
            call.task.cancel()
            again = self._schedule.now() + CANCEL_AGAIN_AFTER
            self._schedule.call_at(again, self._abandon, call)


class _Abandoned(Timer):
    """A call that no one waits for any more."""

    __slots__ = ("task",)

    def __init__(self, task: asyncio.Task[object]) -> None:
        super().__init__()
        self.task = task


async def _await(method: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    return await method(*args)
