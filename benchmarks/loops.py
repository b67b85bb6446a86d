"""The event loop on which the benchmarks run: asyncio's own, or uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")


def loop_factory(*, uvloop: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the function that creates a loop; `None` for asyncio's own.

    Args:
        uvloop: Whether to run on uvloop.

    Raises:
        ImportError: If uvloop is not installed.
    """
    return import_module("uvloop").new_event_loop if uvloop else None


def run(main: Coroutine[Any, Any, T], factory: Callable[[], asyncio.AbstractEventLoop] | None) -> T:
    """Run a coroutine on a new loop, as `asyncio.run` does from Python 3.12 on.

    Args:
        main: The coroutine.
        factory: The result of `loop_factory`.
    """
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def on_uvloop() -> bool:
    """Tell whether the running loop is uvloop."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop"
