"""How events get to those who hear of them, and what an observer cannot do."""

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from typing import NoReturn

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey
from okta_tokens._emitter import Emitter
from okta_tokens._logging import log_event
from okta_tokens.events import Event, KeyEvicted, ProviderClosed, TokenRequested

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
KEY = TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET)), frozenset({"a"}))


def numbered(number: int) -> Event:
    """Return an event of a row."""
    return TokenRequested(key=KEY, attempt=number, renewal=False)


def index(event: Event) -> int:
    """Return which of a row of events it is."""
    assert isinstance(event, TokenRequested)
    return event.attempt


@pytest.fixture(autouse=True)
def _unconfigured_structlog() -> Iterator[None]:
    """Begin and end with structlog as an application finds it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


async def test_delivered_soon() -> None:
    """An event is delivered in the loop's next turn, and not within the call that tells it."""
    heard: list[Event] = []
    emit = Emitter([heard.append])
    emit.attach(asyncio.get_running_loop(), copy_context())
    emit(numbered(1))

    assert heard == []

    await asyncio.sleep(0)

    assert heard == [numbered(1)]


async def test_delivered_in_order() -> None:
    """Events are delivered in order, each to all observers before the next one, and once."""
    heard: list[tuple[str, int]] = []
    emit = Emitter(
        [lambda event: heard.append(("a", index(event))), lambda it: heard.append(("b", index(it)))]
    )
    emit.attach(asyncio.get_running_loop(), copy_context())
    emit(numbered(1))
    emit(numbered(2))
    await asyncio.sleep(0)
    emit(numbered(3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert heard == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]


class CountingEmitter(Emitter):
    """An emitter that knows how often it was called to deliver."""

    deliveries = 0

    def deliver(self) -> None:
        """Hand over what is pending."""
        self.deliveries += 1
        super().deliver()


async def test_delivered_together() -> None:
    """Any number of events in one turn cost the loop one callback."""
    emit = CountingEmitter([])
    emit.attach(asyncio.get_running_loop(), copy_context())
    for number in range(5):
        emit(numbered(number))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert emit.deliveries == 1


async def test_delivered_in_a_context() -> None:
    """Observers run in the context that they were given, not in that of who made the event."""
    request: ContextVar[str] = ContextVar("request", default="none")
    heard: list[str] = []
    emit = Emitter([lambda _: heard.append(request.get())])
    emit.attach(asyncio.get_running_loop(), copy_context())
    request.set("of a caller")
    emit(numbered(1))
    await asyncio.sleep(0)

    assert heard == ["none"]


async def test_events_of_observers() -> None:
    """An event that an observer causes follows those that are pending, one loop turn later."""
    heard: list[int] = []

    def observe(event: Event) -> None:
        heard.append(index(event))
        if heard == [1]:
            emit(numbered(3))

    emit = Emitter([observe])
    emit.attach(asyncio.get_running_loop(), copy_context())
    emit(numbered(1))
    emit(numbered(2))
    await asyncio.sleep(0)

    assert heard == [1, 2]

    await asyncio.sleep(0)

    assert heard == [1, 2, 3]

    emit(numbered(4))
    await asyncio.sleep(0)

    assert heard == [1, 2, 3, 4]


async def test_events_before_the_start() -> None:
    """What happened before there was a loop is delivered with the first event after that."""
    heard: list[int] = []
    emit = Emitter([lambda event: heard.append(index(event))])
    emit(numbered(1))
    emit(numbered(2))
    emit.attach(asyncio.get_running_loop(), copy_context())
    emit(numbered(3))
    await asyncio.sleep(0)

    assert heard == [1, 2, 3]


async def test_delivered_after_an_interruption() -> None:
    """What breaks a delivery off, since it is no Exception, does not end all later ones."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    heard: list[int] = []

    def observe(event: Event) -> None:
        heard.append(index(event))
        if heard == [1]:
            raise asyncio.CancelledError

    emit = Emitter([observe])
    emit.attach(loop, copy_context())
    emit(numbered(1))
    emit(numbered(2))
    await asyncio.sleep(0)
    emit(numbered(3))
    await asyncio.sleep(0)

    assert heard == [1, 2, 3]


def test_delivered_by_hand() -> None:
    """Without a loop, as at a provider's end, whoever closes it delivers what is pending."""
    heard: list[Event] = []
    emit = Emitter([heard.append])
    emit(numbered(1))
    emit(numbered(2))

    assert heard == []

    emit.deliver()
    emit.deliver()

    assert heard == [numbered(1), numbered(2)]


def test_counted_at_once() -> None:
    """Events are counted when they happen, by their type."""
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
    """An observer that raises harms nobody: the others hear of all, and a line tells who it was."""
    structlog.configure()
    heard: list[Event] = []
    emit = Emitter([broken_observer, BrokenObserver(), heard.append])
    emit(numbered(1))
    emit(numbered(2))
    with capture_logs() as lines:
        emit.deliver()

    assert heard == [numbered(1), numbered(2)]
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


def test_a_processor_that_raises() -> None:
    """A logging configuration that fails on an event harms nobody either."""

    def choke(_logger: object, _method: str, fields: EventDict) -> NoReturn:
        if fields["event"] != "okta_tokens.observer_failed":
            raise TypeError
        raise structlog.DropEvent

    structlog.configure(processors=[choke])
    heard: list[Event] = []
    emit = Emitter([log_event, heard.append])
    emit(numbered(1))
    emit.deliver()

    assert heard == [numbered(1)]


@pytest.mark.parametrize("error", [OSError("standard output is closed"), asyncio.CancelledError()])
def test_logging_that_fails_altogether(error: BaseException) -> None:
    """If not even the failure can be logged, the other observers hear of everything."""

    def choke(_logger: object, _method: str, _fields: EventDict) -> NoReturn:
        raise OSError

    def observer(_event: Event) -> NoReturn:
        raise error

    structlog.configure(processors=[choke])
    heard: list[Event] = []
    emit = Emitter([log_event, observer, heard.append])
    for number in range(4):
        emit(numbered(number))
    emit.deliver()

    assert heard == [numbered(number) for number in range(4)]


async def test_after_the_end_nothing_is_kept() -> None:
    """An emitter whose loop is gone delivers what it holds, and collects no events for ever."""
    heard: list[Event] = []
    emit = Emitter([heard.append])
    emit.attach(asyncio.get_running_loop(), copy_context())
    emit(numbered(1))
    emit.detach()
    emit(numbered(2))
    emit.deliver()
    await asyncio.sleep(0)

    assert heard == [numbered(1)]
    assert emit.counts[TokenRequested] == 2


async def test_who_is_muted_tells_nothing_of_what_was_pending() -> None:
    """In a forked child, or after its loop, an emitter counts and delivers nothing any more."""
    heard: list[Event] = []
    emit = Emitter([heard.append])
    emit.attach(asyncio.get_running_loop(), copy_context())
    emit(numbered(1))
    emit.mute()
    emit(numbered(2))
    await asyncio.sleep(0)

    assert heard == []
    assert emit.counts[TokenRequested] == 2
