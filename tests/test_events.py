"""What happens in a provider, and who hears of it."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from dataclasses import fields as fields_of
from datetime import UTC, datetime
from typing import NoReturn

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey, events
from okta_tokens._logging import log_event
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
    ProviderFailed,
    RenewalFailed,
    RenewalPostponed,
    RenewalScheduled,
    RequestsPaused,
    StoreEntryIgnored,
    StoreFailed,
    StoreRecovered,
    TokenAdopted,
    TokenFetched,
    TokenInvalidated,
    TokenRequested,
    TokenRevoked,
    UnusualRequest,
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
            "reason": "Okta refused",
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
            "reason": "no answer",
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
            "reason": "no answer",
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
    (TokenRevoked(key=KEY), "info", "token_revoked", KEY_FIELDS),
    (
        UnusualRequest(key=KEY, advice="look again"),
        "warning",
        "unusual_request",
        {**KEY_FIELDS, "advice": "look again"},
    ),
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
    (
        TokenAdopted(key=KEY, lifetime=300.0, remaining=200.0, scopes=frozenset({"a"}), waiters=2),
        "info",
        "token_adopted",
        KEY_FIELDS | {"lifetime": 300.0, "remaining": 200.0, "scopes": "a", "waiters": 2},
    ),
    (
        StoreFailed(reason="ConnectionError", after=1.5),
        "warning",
        "store_failed",
        {"reason": "ConnectionError", "after": 1.5},
    ),
    (StoreRecovered(seconds=61.0), "info", "store_recovered", {"seconds": 61.0}),
    (StoreEntryIgnored(key=KEY), "warning", "store_entry_ignored", KEY_FIELDS),
    (ProviderClosed(), "info", "provider_closed", {}),
    (
        ProviderFailed(error=ProviderStateError("died")),
        "error",
        "provider_failed",
        {"error": "ProviderStateError", "reason": "died"},
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

    assert others == {
        *("ProviderClosed", "ProviderFailed", "RequestsPaused"),
        *("StoreFailed", "StoreRecovered"),
    }


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
from okta_tokens._logging import log_event
emit = Emitter([log_event, broken])
emit(events.ProviderFailed(error=ProviderStateError("died")))
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


def test_what_a_rate_limit_logs() -> None:
    """An error's own attributes that are no plain values are left to the message."""
    error = RateLimitedError("wait", retry_at=datetime(2027, 1, 15, tzinfo=UTC), headers={"a": "b"})
    structlog.configure()
    with capture_logs() as lines:
        log_event(AttemptFailed(key=KEY, error=error))

    assert {"retry_at", "headers", "key"}.isdisjoint(lines[0])
    assert json.dumps(lines)


async def test_an_asynchronous_logger_is_used_synchronously() -> None:
    """With structlog's asynchronous wrapper no line is lost to a coroutine that nobody awaits."""
    lines: list[EventDict] = []

    def collect(_logger: object, _method: str, fields: EventDict) -> NoReturn:
        lines.append(fields)
        raise structlog.DropEvent

    structlog.configure(wrapper_class=structlog.stdlib.AsyncBoundLogger, processors=[collect])
    log_event(numbered(1))

    assert [line["attempt"] for line in lines] == [1]
