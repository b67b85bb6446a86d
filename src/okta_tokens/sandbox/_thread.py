"""An event loop in a thread of its own, for callers that run no event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_NAME: Final = "okta-tokens-sandbox"


class LoopThread:
    """A running event loop in a thread of its own.

    The thread is a daemon: a program that does not stop it ends nevertheless.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()  # here, so that the caller gets its errors
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name=_NAME, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs. In a forked child it does not."""
        return self._thread.is_alive()

    @property
    def current(self) -> bool:
        """Whether the caller is in the thread, which cannot wait for itself."""
        return threading.current_thread() is self._thread

    def run(self, function: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Call a coroutine function in the thread, and wait for its result.

        If the wait is interrupted, the coroutine is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(function(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Close the event loop, and wait until the thread has ended."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stopped.wait())
