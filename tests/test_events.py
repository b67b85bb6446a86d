"""What happens in a provider, and who hears of it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from dataclasses import FrozenInstanceError
from dataclasses import fields as fields_of
from datetime import UTC, datetime
from typing import NoReturn

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey, events
from okta_tokens._emitter import Emitter
from okta_tokens.errors import OAuthError, ProviderStateError, RateLimitedError, TransportError
from okta_tokens.events import (
    AttemptFailed,
    Event,
    FetchFailed,
    InvalidationIgnored,
    KeyEvent,
    KeyEvicted,
    KeyForgotten,
    KeyIdle,
    ProviderClosed,
    ProviderDied,
    RenewalFailed,
    RenewalPostponed,
    RenewalScheduled,
    RequestsPaused,
    TokenFetched,
    TokenInvalidated,
    TokenRequested,
    log_event,
)

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
KEY = TokenKey(
    OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET)), frozenset({"b", "a"})
)
KEY_FIELDS: dict[str, object] = {
    "domain": "acme.okta.com",
    "authorization_server": "default",
    "client_id": "0oa1",
    "requested": "a b",
}
REFUSED = OAuthError(
    "Okta refused",
    error="invalid_scope",
    description="No.",
    status=400,
    key=KEY,
    attempts=2,
    request_id="reqAb12",
)
BROKEN = TransportError("no answer", retryable=True, attempts=3, error_id="oaeAb12")

LOGGED: list[tuple[Event, str, str, dict[str, object]]] = [
    (
        TokenRequested(key=KEY, attempt=1, renewal=True),
        "debug",
        "token_requested",
        KEY_FIELDS | {"attempt": 1, "renewal": True},
    ),
    (
        TokenFetched(
            key=KEY,
            lifetime=3600.0,
            duration=0.123456,
            scopes=frozenset({"b"}),
            missing_scopes=frozenset({"a"}),
            waiters=7,
            request_id=None,
        ),
        "info",
        "token_fetched",
        KEY_FIELDS
        | {
            "lifetime": 3600.0,
            "duration": 0.123,
            "scopes": "b",
            "missing_scopes": "a",
            "waiters": 7,
            "request_id": None,
        },
    ),
    (
        AttemptFailed(key=KEY, error=REFUSED),
        "debug",
        "attempt_failed",
        KEY_FIELDS
        | {
            "error": "OAuthError",
            "code": "invalid_scope",
            "message": "Okta refused",
            "status": 400,
            "attempts": 2,
            "retryable": False,
            "request_id": "reqAb12",
        },
    ),
    (
        FetchFailed(key=KEY, error=BROKEN, waiters=1_000, cooldown=1.2345678),
        "error",
        "fetch_failed",
        KEY_FIELDS
        | {
            "error": "TransportError",
            "message": "no answer",
            "attempts": 3,
            "retryable": True,
            "error_id": "oaeAb12",
            "waiters": 1_000,
            "cooldown": 1.235,
        },
    ),
    (
        RenewalScheduled(key=KEY, after=2_880.0),
        "debug",
        "renewal_scheduled",
        KEY_FIELDS | {"after": 2_880.0},
    ),
    (
        RenewalFailed(key=KEY, error=BROKEN, failures=2, remaining=99.5, after=None),
        "warning",
        "renewal_failed",
        KEY_FIELDS
        | {
            "error": "TransportError",
            "message": "no answer",
            "attempts": 3,
            "retryable": True,
            "error_id": "oaeAb12",
            "failures": 2,
            "remaining": 99.5,
            "after": None,
        },
    ),
    (
        RenewalPostponed(key=KEY, after=31.0),
        "debug",
        "renewal_postponed",
        KEY_FIELDS | {"after": 31.0},
    ),
    (KeyIdle(key=KEY), "debug", "key_idle", KEY_FIELDS),
    (KeyForgotten(key=KEY), "debug", "key_forgotten", KEY_FIELDS),
    (KeyEvicted(key=KEY), "debug", "key_evicted", KEY_FIELDS),
    (
        TokenInvalidated(key=KEY, damping=5.0),
        "info",
        "token_invalidated",
        KEY_FIELDS | {"damping": 5.0},
    ),
    (
        InvalidationIgnored(key=KEY, remaining=4.0),
        "warning",
        "invalidation_ignored",
        KEY_FIELDS | {"remaining": 4.0},
    ),
    (
        RequestsPaused(
            origin="https://acme.okta.com",
            org_server=False,
            seconds=31.0,
            concurrency=False,
            request_id="reqAb12",
        ),
        "warning",
        "requests_paused",
        {
            "origin": "https://acme.okta.com",
            "org_server": False,
            "seconds": 31.0,
            "concurrency": False,
            "request_id": "reqAb12",
        },
    ),
    (ProviderClosed(), "info", "provider_closed", {}),
    (
        ProviderDied(error=ProviderStateError("died")),
        "error",
        "provider_died",
        {"error": "ProviderStateError", "message": "died"},
    ),
]

EVENTS = [event for event, *_ in LOGGED]


def kind_of(event: object) -> str:
    """Return the name of an event's type."""
    return type(event).__name__


def index(event: Event) -> int:
    """Return which of a row of events it is."""
    assert isinstance(event, TokenRequested)
    return event.attempt


def numbered(number: int) -> Event:
    """Return an event of a row."""
    return TokenRequested(key=KEY, attempt=number, renewal=False)


@pytest.fixture(autouse=True)
def _unconfigured_structlog() -> Iterator[None]:
    """Begin and end with structlog as an application finds it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_every_event_is_public() -> None:
    """Every event of the module is exported, and logged in a test below."""
    kinds = {
        name
        for name, value in vars(events).items()
        if inspect.isclass(value) and issubclass(value, Event)
    }

    assert kinds <= set(events.__all__)
    assert {kind_of(event) for event in EVENTS} == kinds - {"Event", "KeyEvent"}


def test_names() -> None:
    """Each event has a constant name of its own."""
    names = [event.name for event in EVENTS]

    assert len(set(names)) == len(names)
    assert all(type(event).name == f"okta_tokens.{name}" for event, _, name, _ in LOGGED)


@pytest.mark.parametrize("event", EVENTS, ids=kind_of)
def test_events_are_values(event: Event) -> None:
    """An event cannot be changed, and shows no secret."""
    for field in fields_of(event):
        with pytest.raises(FrozenInstanceError):
            setattr(event, field.name, None)

    assert SECRET not in repr(event)


@pytest.mark.parametrize("event", EVENTS, ids=kind_of)
def test_equality(event: Event) -> None:
    """Events are equal, and have one hash, if they are of one kind and tell the same."""
    twin = copy.copy(event)

    assert twin == event
    assert hash(twin) == hash(event)
    assert [other for other in EVENTS if other == event] == [event]


def test_inequality() -> None:
    """Events of one kind that tell something else differ; so do two kinds that tell the same."""
    assert numbered(1) != numbered(2)
    assert KeyIdle(key=KEY) != KeyForgotten(key=KEY)
    assert ProviderClosed() != "okta_tokens.provider_closed"


def test_repr() -> None:
    """The repr of an event is the call that makes an equal one."""
    event = RenewalScheduled(key=KEY, after=2.5)

    assert repr(event) == f"RenewalScheduled(key={KEY!r}, after=2.5)"
    assert repr(ProviderClosed()) == "ProviderClosed()"


def test_facts_have_names() -> None:
    """An event takes what it tells by name alone."""
    make: Callable[..., Event] = KeyIdle

    with pytest.raises(TypeError, match="positional argument"):
        make(KEY)


def test_events_of_a_key() -> None:
    """Whoever wants what happens to keys can ask for their base."""
    others = {kind_of(event) for event in EVENTS if not isinstance(event, KeyEvent)}

    assert others == {"RequestsPaused", "ProviderClosed", "ProviderDied"}


@pytest.mark.parametrize(("event", "level", "name", "fields"), LOGGED, ids=[*map(kind_of, EVENTS)])
def test_logged_by_structlog(
    event: Event, level: str, name: str, fields: dict[str, object]
) -> None:
    """An application that has configured structlog gets each event with plain values as fields."""
    structlog.configure()
    with capture_logs() as lines:
        log_event(event)

    assert lines == [{"event": f"okta_tokens.{name}", "log_level": level, **fields}]
    assert json.loads(json.dumps(fields)) == fields


@pytest.mark.parametrize(("event", "level", "name", "fields"), LOGGED, ids=[*map(kind_of, EVENTS)])
def test_logged_by_the_standard_library(
    event: Event,
    level: str,
    name: str,
    fields: dict[str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An application without structlog gets each event as one line of the logger okta_tokens."""
    caplog.set_level(logging.DEBUG, "okta_tokens")
    log_event(event)
    record = caplog.records[0]
    line = record.getMessage()

    assert len(caplog.records) == 1
    assert (record.name, record.levelname.lower()) == ("okta_tokens", level)
    assert line.startswith(f"event='okta_tokens.{name}'")
    assert all(f"{field}={value!r}" in line for field, value in fields.items())


def test_levels_of_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    """The level of the standard library's logger decides what is logged."""
    caplog.set_level(logging.WARNING, "okta_tokens")
    for event in EVENTS:
        log_event(event)

    assert {record.levelname for record in caplog.records} == {"WARNING", "ERROR"}


def test_silent_by_default() -> None:
    """A library does not configure logging: without an application's wish nothing is written."""
    code = """
import okta_tokens.events as events
from okta_tokens.errors import ProviderStateError
def broken(event):
    raise RuntimeError
from okta_tokens._emitter import Emitter
emit = Emitter([events.log_event, broken])
emit(events.ProviderDied(error=ProviderStateError("died")))
emit.deliver()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, timeout=20, text=True
    )

    assert (run.stdout, run.stderr) == ("", "")


def test_an_application_that_configures_later(caplog: pytest.LogCaptureFixture) -> None:
    """Structlog may be configured at any time: each event asks anew."""
    caplog.set_level(logging.DEBUG, "okta_tokens")
    log_event(numbered(1))
    structlog.configure()
    with capture_logs() as lines:
        log_event(numbered(2))

    assert len(caplog.records) == 1
    assert [line["attempt"] for line in lines] == [2]


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
    """An event that an observer causes follows those that are pending."""
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


def test_what_a_rate_limit_logs() -> None:
    """An error's own attributes that are no plain values are left to the message."""
    error = RateLimitedError("wait", retry_at=datetime(2027, 1, 15, tzinfo=UTC), headers={"a": "b"})
    structlog.configure()
    with capture_logs() as lines:
        log_event(AttemptFailed(key=KEY, error=error))

    assert {"retry_at", "headers", "key"}.isdisjoint(lines[0])
    assert json.dumps(lines)
