"""The lifecycle of a provider: its states, the task that owns its work, fork and loop checks."""

from __future__ import annotations

import asyncio
import copy
import enum
import os
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import NoReturn
from weakref import WeakSet

from okta_tokens._runtime.internal_error import internal_error
from okta_tokens.errors import ProviderStateError


class State(enum.Enum):
    """The state of a provider, and what to tell a caller who needs a running one."""

    NEW = "the provider is not started; enter it with `async with`, or await its start()"
    RUNNING = "the provider is already started; start it once"
    CLOSED = "the provider is closed; make another one"
    FAILED = "the provider failed by an internal error"
    LOOP_CLOSED = (
        "the event loop on which the provider was started is closed; make another provider, and "
        "close each provider before its event loop"
    )
    FORKED = "the provider was started in another process; make one in each process, after the fork"


class Lifecycle:
    """The state of one provider, and its owner task.

    ::

        new ──▶ running ──▶ closed           aclose, or the owner task was cancelled
                   ├──────▶ failed           an internal error ended the owner task
                   ├──────▶ loop closed      its event loop was closed before it
                   └──────▶ forked           in the child process

    Args:
        stop_serving: Called when the provider can neither serve nor clean up any more, since its
            event loop is closed or belongs to another process.
    """

    def __init__(self, stop_serving: Callable[[], None]) -> None:
        self.state = State.NEW
        self._stop_serving = stop_serving
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner: asyncio.Task[None] | None = None
        self._failure: ProviderStateError | None = None
        _LIFECYCLES.add(self)

    def check_new(self) -> None:
        """Return if the provider can be started.

        Raises:
            ProviderStateError: If it was started or closed before.
        """
        if self.observe() is not State.NEW:
            self._refuse()

    def check(self) -> None:
        """Return if the provider is running on this event loop.

        Raises:
            ProviderStateError: If it is not.
        """
        if self.state is State.RUNNING and asyncio.get_running_loop() is self._loop:
            return
        if self.observe() is not State.RUNNING:
            self._refuse()
        self._check_loop()

    def observe(self) -> State:
        """Return the state; check first whether the event loop was closed, which is no event."""
        loop = self._loop
        if self.state is State.RUNNING and loop is not None and loop.is_closed():
            self._stop(State.LOOP_CLOSED)
        return self.state

    async def start(self, work: Coroutine[object, object, None], context: Context) -> None:
        """Run the background work in a task of its own.

        The task lets any task of the loop close the provider, and no internal error can cancel the
        caller's code or wrap the caller's errors in a group. If this call is cancelled, so is the
        work.

        Args:
            work: Runs until it is cancelled, then cleans up.
            context: What the task runs in.
        """
        self._loop = asyncio.get_running_loop()
        self._owner = self._loop.create_task(work, context=context, name="okta_tokens")
        self.state = State.RUNNING
        try:
            # Once the work has begun, a cancellation makes it clean up.
            await asyncio.sleep(0)
        except BaseException:
            self._owner.cancel()
            raise

    async def aclose(self) -> None:
        """Cancel the background work and wait until it has cleaned up.

        If this call is cancelled, the work still cleans up.

        Raises:
            ProviderStateError: If the provider runs on another event loop, or its loop is closed.
        """
        state = self.observe()
        if state is State.NEW:
            self.state = State.CLOSED
        if self._owner is None or self._owner.done() or state is State.FORKED:
            return
        if state is State.LOOP_CLOSED:
            self._refuse()
        self._check_loop()
        if self.state is State.RUNNING:
            self.state = State.CLOSED
            # Not before the work has begun: a task that is cancelled earlier cleans nothing up.
            asyncio.get_running_loop().call_soon(self._owner.cancel)
        await asyncio.wait([self._owner])

    def fail(self, error: Exception) -> ProviderStateError:
        """Record that the background work ended by an internal error.

        Args:
            error: The error; sanitized and chained.

        Returns:
            The error that callers get from now on.
        """
        self.state = State.FAILED
        self._failure = internal_error("running the provider", error)
        return self._failure

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            message = (
                "the provider belongs to another event loop; make one in each loop, or call it "
                "from here with asyncio.run_coroutine_threadsafe"
            )
            raise ProviderStateError(message)

    def _refuse(self) -> NoReturn:
        failure = self._failure if self.state is State.FAILED else None
        raise copy.copy(failure) if failure else ProviderStateError(self.state.value)

    def _stop(self, state: State) -> None:
        """Serve no caller any more, and leave alone what only the event loop could end."""
        self.state = state
        self._stop_serving()


_LIFECYCLES: WeakSet[Lifecycle] = WeakSet()


def _stop_after_fork() -> None:
    """In a forked child: serve no token of the parent's, and use none of its connections."""
    for lifecycle in _LIFECYCLES:
        if lifecycle.state is not State.NEW:
            lifecycle._stop(State.FORKED)


# Where there is no fork, there is nothing to register.
getattr(os, "register_at_fork", dict)(after_in_child=_stop_after_fork)
