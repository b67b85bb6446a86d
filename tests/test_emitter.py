"""The delivery of events to observers, and what an observer cannot break."""

import asyncio
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NoReturn

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from okta_tokens import TokenProvider
from okta_tokens._emitter import Emitter
from okta_tokens._logging import log_event
from okta_tokens.events import (
    Event,
    KeyEvicted,
    Observer,
    ProviderClosed,
    ProviderStarted,
    TokenRequested,
)
from tests.test_events import SECRET, number_of, numbered


@pytest.fixture(autouse=True)
def _unconfigured_structlog() -> Iterator[None]:
    """Start and end with structlog as it is before an application configures it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


async def test_delivered_soon() -> None:
    """An event is delivered in the next turn of the loop, and not inside the call that emits it."""
    received: list[Event] = []
    emit = Emitter([received.append])
    emit.attach(asyncio.get_running_loop())
    emit(numbered(1))

    assert received == []

    await asyncio.sleep(0)

    assert received == [numbered(1)]


@pytest.mark.parametrize(
    ("level", "observers", "made"),
    [
        (logging.WARNING, [], []),
        (logging.DEBUG, [], [1]),
        (logging.WARNING, [lambda _: None], [1]),
    ],
    ids=["neither", "the log", "an observer"],
)
def test_an_unwanted_event_is_counted_and_not_made(
    level: int, observers: list[Observer], made: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """An event of every fetch is counted, and made only if the log or an observer wants it."""
    makes: list[int] = []

    def make() -> Event:
        makes.append(1)
        return numbered(1)

    emit = Emitter([log_event, *observers])
    with caplog.at_level(level, "okta_tokens"):
        emit.emit_lazily(type(numbered(1)), make)

    assert makes == made
    assert emit.counts[type(numbered(1))] == 1


def test_an_application_that_configured_structlog_hears_every_event() -> None:
    """If structlog is configured, an event is made, because structlog decides about it."""
    structlog.configure()
    emit = Emitter([log_event])

    with capture_logs() as lines:
        emit.emit_lazily(type(numbered(1)), lambda: numbered(1))
        emit.deliver()

    assert [line["event"] for line in lines] == [numbered(1).name]


async def test_pending_events_are_bounded() -> None:
    """If very many events wait, the newest are delivered, and all are counted."""
    received: list[Event] = []
    emit = Emitter([received.append])
    for number in range(50_003):
        emit(numbered(number))
    emit.attach(asyncio.get_running_loop())
    emit.deliver()

    assert [number_of(event) for event in received] == [*range(3, 50_003)]
    assert emit.counts.total() == 50_003


async def test_delivered_in_order() -> None:
    """Events are delivered once and in order, each to all observers before the next event."""
    received: list[tuple[str, int]] = []
    emit = Emitter(
        [
            lambda event: received.append(("a", number_of(event))),
            lambda event: received.append(("b", number_of(event))),
        ]
    )
    emit.attach(asyncio.get_running_loop())
    emit(numbered(1))
    emit(numbered(2))
    await asyncio.sleep(0)
    emit(numbered(3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert received == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]


class CountingEmitter(Emitter):
    """An emitter that counts its deliveries."""

    deliveries = 0

    def deliver(self) -> None:
        """Count the delivery, and deliver."""
        self.deliveries += 1
        super().deliver()


async def test_delivered_together() -> None:
    """All events of one turn are delivered in one callback of the loop."""
    emit = CountingEmitter([])
    emit.attach(asyncio.get_running_loop())
    for number in range(5):
        emit(numbered(number))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert emit.deliveries == 1


async def test_delivered_in_a_context() -> None:
    """Observers run in an empty context, not in that of the start or of the emitting call."""
    request: ContextVar[str] = ContextVar("request", default="none")
    received: list[str] = []
    emit = Emitter([lambda _: received.append(request.get())])
    request.set("of the start")
    emit.attach(asyncio.get_running_loop())
    request.set("of a caller")
    emit(numbered(1))
    await asyncio.sleep(0)

    assert received == ["none"]


async def test_events_of_observers() -> None:
    """An event that an observer emits is delivered one turn after the pending events."""
    received: list[int] = []

    def observe(event: Event) -> None:
        received.append(number_of(event))
        if received == [1]:
            emit(numbered(3))

    emit = Emitter([observe])
    emit.attach(asyncio.get_running_loop())
    emit(numbered(1))
    emit(numbered(2))
    await asyncio.sleep(0)

    assert received == [1, 2]

    await asyncio.sleep(0)

    assert received == [1, 2, 3]

    emit(numbered(4))
    await asyncio.sleep(0)

    assert received == [1, 2, 3, 4]


async def test_events_before_the_start() -> None:
    """Events from before the start are delivered with the first event after the start."""
    received: list[int] = []
    emit = Emitter([lambda event: received.append(number_of(event))])
    emit(numbered(1))
    emit(numbered(2))
    emit.attach(asyncio.get_running_loop())
    emit(numbered(3))
    await asyncio.sleep(0)

    assert received == [1, 2, 3]


async def test_delivered_after_an_interruption() -> None:
    """An observer's `CancelledError`, which is no `Exception`, ends no later delivery."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    received: list[int] = []

    def observe(event: Event) -> None:
        received.append(number_of(event))
        if received == [1]:
            raise asyncio.CancelledError

    emit = Emitter([observe])
    emit.attach(loop)
    emit(numbered(1))
    emit(numbered(2))
    await asyncio.sleep(0)
    emit(numbered(3))
    await asyncio.sleep(0)

    assert received == [1, 2, 3]


def test_delivered_by_hand() -> None:
    """Without a loop, as at the end of a provider, `deliver` delivers the pending events once."""
    received: list[Event] = []
    emit = Emitter([received.append])
    emit(numbered(1))
    emit(numbered(2))

    assert received == []

    emit.deliver()
    emit.deliver()

    assert received == [numbered(1), numbered(2)]


def test_counted_at_once() -> None:
    """Events are counted by their type when they are emitted."""
    emit = Emitter([])
    emit(numbered(1))
    emit(numbered(2))
    emit(ProviderClosed())

    assert emit.counts == {TokenRequested: 2, ProviderClosed: 1}
    assert emit.counts[KeyEvicted] == 0


class BrokenObserver:
    """An observer that raises."""

    def __call__(self, event: Event, /) -> None:
        """Fail."""
        raise RuntimeError(SECRET)


def broken_observer(event: Event) -> None:
    """Fail."""
    raise KeyError(SECRET, event)


def test_an_observer_that_raises() -> None:
    """If an observer raises, the others get all events, and a log line names the observer."""
    structlog.configure()
    received: list[Event] = []
    emit = Emitter([broken_observer, BrokenObserver(), received.append])
    emit(numbered(1))
    emit(numbered(2))
    with capture_logs() as lines:
        emit.deliver()

    assert received == [numbered(1), numbered(2)]
    assert lines == 2 * [
        {
            "event": "okta_tokens.observer_failed",
            "log_level": "warning",
            "observer": "broken_observer",
            "error": "KeyError",
        },
        {
            "event": "okta_tokens.observer_failed",
            "log_level": "warning",
            "observer": "BrokenObserver",
            "error": "RuntimeError",
        },
    ]


REQUEST_ID: ContextVar[str] = ContextVar("REQUEST_ID")


class Attached:
    """An observer that remembers the provider, and what its context holds."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def __call__(self, event: Event, /) -> None:
        """Remember the event."""
        self.seen.append(event)

    def attach(self, provider: object) -> None:
        """Remember the provider."""
        self.seen.append((provider, REQUEST_ID.get("empty")))


class BrokenAttachment(BrokenObserver):
    """An observer that fails in each of its methods."""

    def attach(self, provider: object) -> None:
        """Fail."""
        raise asyncio.CancelledError(SECRET)


async def test_a_provider_introduces_itself_before_the_first_event() -> None:
    """`attach` gets the provider, in an empty context; if it fails, a log line names it."""
    structlog.configure()
    observer = Attached()
    provider = TokenProvider(observers=[BrokenAttachment(), print, observer])
    token = REQUEST_ID.set("a request")
    with capture_logs() as lines:
        async with provider:
            attached = [*observer.seen]
    REQUEST_ID.reset(token)

    assert attached == [(provider, "empty")]
    assert [type(event) for event in observer.seen[1:]] == [ProviderStarted, ProviderClosed]
    assert lines[0] == {
        "event": "okta_tokens.observer_failed",
        "log_level": "warning",
        "observer": "BrokenAttachment",
        "error": "CancelledError",
    }


def test_a_processor_that_raises() -> None:
    """If the logging configuration fails on an event, observers get the event."""

    def fail(_logger: object, _method: str, fields: EventDict) -> NoReturn:
        if fields["event"] != "okta_tokens.observer_failed":
            raise TypeError
        raise structlog.DropEvent

    structlog.configure(processors=[fail])
    received: list[Event] = []
    emit = Emitter([log_event, received.append])
    emit(numbered(1))
    emit.deliver()

    assert received == [numbered(1)]


@pytest.mark.parametrize("error", [OSError("standard output is closed"), asyncio.CancelledError()])
def test_logging_that_fails_altogether(error: BaseException) -> None:
    """If the failure of an observer cannot be logged, the other observers get all events."""

    def fail(_logger: object, _method: str, _fields: EventDict) -> NoReturn:
        raise OSError

    def observer(_event: Event) -> NoReturn:
        raise error

    structlog.configure(processors=[fail])
    received: list[Event] = []
    emit = Emitter([log_event, observer, received.append])
    for number in range(4):
        emit(numbered(number))
    emit.deliver()

    assert received == [numbered(number) for number in range(4)]


async def test_a_detached_emitter_keeps_no_events() -> None:
    """A detached emitter delivers the pending events, and keeps no later ones."""
    received: list[Event] = []
    emit = Emitter([received.append])
    emit.attach(asyncio.get_running_loop())
    emit(numbered(1))
    emit.detach()
    emit(numbered(2))
    emit.deliver()
    await asyncio.sleep(0)

    assert received == [numbered(1)]
    assert emit.counts[TokenRequested] == 2


async def test_a_muted_emitter_drops_the_pending_events() -> None:
    """A muted emitter, as in a forked child, counts events and delivers none."""
    received: list[Event] = []
    emit = Emitter([received.append])
    emit.attach(asyncio.get_running_loop())
    emit(numbered(1))
    emit.mute()
    emit(numbered(2))
    await asyncio.sleep(0)

    assert received == []
    assert emit.counts[TokenRequested] == 2
