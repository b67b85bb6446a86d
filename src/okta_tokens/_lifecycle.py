"""The lifecycle of a provider: its states, the task that owns its work, fork and loop checks."""

from __future__ import annotations

import asyncio
import copy
import enum
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent import futures
from contextlib import suppress
from contextvars import Context
from typing import Any, NoReturn, TypeVar
from weakref import WeakSet

from okta_tokens._runtime.internal_error import internal_error
from okta_tokens.errors import ProviderStateError

T = TypeVar("T")

_MAX_CALL = 60.0
"""Seconds for which a thread waits for the event loop to call a plain function."""

_CHECK_INTERVAL = 1.0
"""Seconds after which a waiting thread looks again whether the provider still runs."""


class State(enum.Enum):
    """The state of a provider, and what to tell a caller who needs a running one."""

    NEW = "the provider is not started; enter it with `async with`, or await its start()"
    RUNNING = "the provider is already started; start it once"
    CLOSED = "the provider is closed; make another one"
    FAILED = "the provider failed by an internal error"
    CANCELLED = (
        "the task of the provider was cancelled, as every task is when asyncio.run or "
        "async_to_sync returns; make another provider, and keep its event loop running, for "
        "example in a thread of its own"
    )
    LOOP_CLOSED = (
        "the event loop of the provider has ended, as it does when asyncio.run or async_to_sync "
        "returns; make another provider on an event loop that lasts, for example in a thread of "
        "its own, and close each provider before its event loop"
    )
    FORKED = "the provider was started in another process; make one in each process, after the fork"


_ENDS_WITH_LOOP = {State.RUNNING, State.CANCELLED}


class Lifecycle:
    """The state of one provider, its owner task, and the way to its event loop from other threads.

    ::

        new ──▶ running ──▶ closed           aclose, or start was cancelled
                   ├──────▶ failed           an internal error ended the owner task
                   ├──────▶ cancelled ──┐    other code cancelled the owner task
                   ├──────▶ loop closed ◀┘   its event loop was closed before it
                   └──────▶ forked           in the child process

    Args:
        stop_serving: Called when the provider can neither serve nor clean up any more, since its
            event loop is closed or belongs to another process.
    """

    def __init__(self, stop_serving: Callable[[], None]) -> None:
        self.state: State = State.NEW
        self._stop_serving = stop_serving
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None  # of the event loop
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
        self.check_running()
        self._check_loop()

    def check_running(self) -> None:
        """Return if the provider is running, on whichever event loop; call this from any thread.

        Raises:
            ProviderStateError: If it is not.
        """
        if self.observe() is not State.RUNNING:
            self._refuse()

    def observe(self) -> State:
        """Return the state; check first whether the event loop was closed, which is no event."""
        loop = self._loop
        if loop is not None and self.state in _ENDS_WITH_LOOP and loop.is_closed():
            self._stop(State.LOOP_CLOSED)
        return self.state

    def has_ended(self) -> bool:
        """Tell whether the provider serves no caller any more; call this from any thread."""
        return self.observe() not in {State.NEW, State.RUNNING}

    async def start(self, work: Coroutine[object, object, None]) -> None:
        """Run the background work in a task of its own, and in an empty context.

        The task lets any task of the loop close the provider, and no internal error can cancel the
        caller's code or wrap the caller's errors in a group. If this call is cancelled, so is the
        work.

        Args:
            work: Runs until it is cancelled, then cleans up.
        """
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._owner = self._loop.create_task(work, context=Context(), name="okta_tokens")
        self.state = State.RUNNING
        try:
            # Once the work has begun, a cancellation makes it clean up.
            await asyncio.sleep(0)
        except BaseException:
            self.state = State.CLOSED
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

    def cancelled(self) -> None:
        """Record that the background work was cancelled, by `aclose` or by other code."""
        if self.state is State.RUNNING:
            self.state = State.CANCELLED

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

    def call_soon(self, callback: Callable[[T], object], argument: T) -> None:
        """Let the event loop of a started provider call a plain function; call from any thread.

        Args:
            callback: The function, which runs in an empty context.
            argument: Its argument.
        """
        assert self._loop is not None  # noqa: S101 - narrows the type
        with suppress(RuntimeError):  # the event loop was closed
            self._loop.call_soon_threadsafe(callback, argument, context=Context())

    def is_loop_thread(self) -> bool:
        """Tell whether this thread runs the event loop of a provider that was started.

        It is also true while the loop rests between two runs: nothing runs it while the thread
        waits.
        """
        return self._thread == threading.get_ident() or asyncio._get_running_loop() is self._loop

    def run_from_thread(
        self, make: Callable[[], Coroutine[Any, Any, T]], *, name: str, timeout: float
    ) -> T:
        """Run a coroutine on the provider's event loop, and wait for its result in this thread.

        If the wait ends early, the coroutine is cancelled.

        Args:
            make: Makes the coroutine.
            name: The public name of the call, for errors.
            timeout: How long to wait, in seconds.

        Raises:
            ProviderStateError: If the provider does not run, or stops meanwhile, or if this is the
                thread of its event loop.
            TimeoutError: If there is no result in time.
        """
        self.check_running()
        loop = self._loop
        assert loop is not None  # noqa: S101 - narrows the type
        if self.is_loop_thread():
            message = (
                f"{name}: this is the thread of the provider's event loop, which fetches no token "
                "while the thread waits, and no usable token is held; await get_token instead, or "
                "let `await provider.warm(source)` fetch the token before, for a source with "
                "keep_fresh=True"
            )
            raise ProviderStateError(message)
        coroutine = make()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # the event loop was closed since the check
            coroutine.close()
            self.observe()
            self._refuse()
        try:
            while not futures.wait([future], min(timeout, _CHECK_INTERVAL)).done:
                timeout -= _CHECK_INTERVAL
                self.check_running()
                if timeout <= 0:
                    message = (
                        f"{name}: no result in time; a fetch continues, so call it again later, or "
                        "raise its timeout"
                    )
                    raise TimeoutError(message)
            return future.result()
        except futures.CancelledError:
            self.check_running()
            message = f"{name}: the call was cancelled on the provider's event loop; call it again"
            raise ProviderStateError(message) from None
        finally:
            if loop.is_closed():
                coroutine.close()
            else:
                future.cancel()

    def problem(self) -> str | None:
        """Return why the provider hands out no token, or None if it runs; call from any thread."""
        if self.observe() is State.RUNNING:
            return None
        failure = self._failure if self.state is State.FAILED else None
        return str(failure or self.state.value)

    def call(self, function: Callable[[], T], *, name: str) -> T:
        """Call a plain function that changes the provider's state, and return its result.

        In another thread than the event loop's, wait until the event loop has called it. If the
        provider does not run, no event loop can interfere, and the call is made here.

        Args:
            function: The function.
            name: The public name of the call, for errors.

        Raises:
            ProviderStateError: If the provider stops meanwhile.
            TimeoutError: If the event loop is not free within a minute.
        """
        if self.observe() is not State.RUNNING or self.is_loop_thread():
            return function()

        async def call() -> T:
            return function()

        return self.run_from_thread(call, name=name, timeout=_MAX_CALL)

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            message = (
                "the provider belongs to another event loop; call "
                "`await asyncio.to_thread(source.get_token_from_thread)` here, or make a provider "
                "in each loop"
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
