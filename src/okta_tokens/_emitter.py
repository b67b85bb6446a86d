"""Deliver events to observers, outside of the calls that cause the events."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context

from okta_tokens._logging import event_logger, is_logged, log_event
from okta_tokens.events import Event, Observer

_MAX_PENDING = 50_000


class Emitter:
    """A callable that counts events and delivers them to observers, one loop turn later.

    If more than 50,000 events wait, because the provider is not started or the caller does not let
    the event loop run, the oldest ones are counted but not delivered.

    Args:
        observers: The observers, in the order in which each event is delivered to them.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._only_logs = all(observer is log_event for observer in self._observers)
        self._pending: deque[Event] = deque(maxlen=_MAX_PENDING)
        self._call_soon: Callable[[], object] | None = None
        self._scheduled = False
        self.counts: Counter[type[Event]] = Counter()
        """The number of events of each type."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver the events from now on, in a context of their own, which is empty at first.

        Args:
            loop: The event loop that calls the observers.
        """
        context = Context()
        self._call_soon = lambda: loop.call_soon(self.deliver, context=context)

    def introduce(self, provider: object) -> None:
        """Let each observer that has a method `attach` know the provider, in an empty context.

        A failure is logged, as that of an observer that handles an event.

        Args:
            provider: The provider.
        """
        for observer in self._observers:
            try:
                attach = getattr(observer, "attach", None)
                if attach is not None:
                    Context().run(attach, provider)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the observer's
                _log_failure(observer, error)

    def __call__(self, event: Event) -> None:
        """Count an event and keep it for delivery."""
        self.counts[type(event)] += 1
        self._pending.append(event)
        if self._call_soon is not None and not self._scheduled:
            self._scheduled = True
            self._call_soon()

    def emit_lazily(self, kind: type[Event], make: Callable[[], Event]) -> None:
        """Count an event, and make and keep it only if the log or an observer wants it.

        This is for the events of every fetch: to make one costs more than to ask.

        Args:
            kind: The type of the event.
            make: Makes the event.
        """
        if self._only_logs and not is_logged(kind):
            self.counts[kind] += 1
        else:
            self(make())

    def deliver(self) -> None:
        """Deliver the pending events; the events that observers cause wait for the next turn."""
        self._scheduled = False
        for _ in range(len(self._pending)):
            event = self._pending.popleft()
            for observer in self._observers:
                try:
                    observer(event)
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the observer's
                    _log_failure(observer, error)

    def detach(self) -> None:
        """Deliver the pending events; count later events without delivering them."""
        self._call_soon = None
        self.deliver()
        self.mute()

    def mute(self) -> None:
        """Drop the pending events; count later events without delivering them."""
        self._call_soon = None
        self._pending = deque(maxlen=0)


def _log_failure(observer: Observer, error: BaseException) -> None:
    """Log that an observer failed, unless the logging fails, too."""
    with suppress(Exception):
        event_logger().warning(
            "okta_tokens.observer_failed",
            observer=getattr(observer, "__qualname__", type(observer).__qualname__),
            error=type(error).__qualname__,
        )
