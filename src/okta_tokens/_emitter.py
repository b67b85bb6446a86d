"""Hand events to observers, apart from what they tell of."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context

from okta_tokens._logging import event_logger
from okta_tokens.events import Event, Observer


class Emitter:
    """Hand events to observers, one loop turn after what they tell of.

    Args:
        observers: Who hears of them, in this order.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._pending: deque[Event] = deque()
        self._later: Callable[[], object] | None = None
        self._scheduled = False
        self.counts = Counter[type[Event]]()
        """How often each event has happened."""

    def attach(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        """Deliver from a loop, in a context."""
        self._later = lambda: loop.call_soon(self.deliver, context=context)

    def __call__(self, event: Event) -> None:
        """Count an event, and keep it for delivery."""
        self.counts[type(event)] += 1
        self._pending.append(event)
        if self._later is not None and not self._scheduled:
            self._scheduled = True
            self._later()

    def deliver(self) -> None:
        """Hand over what is pending."""
        self._scheduled = False
        for _ in range(len(self._pending)):  # what observers add waits for another turn
            event = self._pending.popleft()
            for observer in self._observers:
                try:
                    observer(event)
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the observer's
                    _report(observer, error)

    def detach(self) -> None:
        """Hand over what is pending; what comes afterwards is counted, and heard by nobody."""
        self._later = None
        self.deliver()
        self.mute()

    def mute(self) -> None:
        """Let nobody hear of what comes, nor of what is pending; it is counted all the same."""
        self._later = None
        self._pending = deque(maxlen=0)


def _report(observer: Observer, error: BaseException) -> None:
    """Log that an observer failed; what logs may be what failed."""
    with suppress(Exception):
        event_logger().warning(
            "okta_tokens.observer_failed",
            observer=getattr(observer, "__qualname__", type(observer).__qualname__),
            error=type(error).__qualname__,
        )
