"""The lines that events become in an application's log."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NoReturn

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from okta_tokens._logging import log_event
from okta_tokens.errors import RateLimitedError
from okta_tokens.events import AttemptFailed, Event
from tests.test_events import EVENTS, EXAMPLES, KEY, numbered, type_name

KEY_FIELDS: dict[str, object] = {
    "domain": "acme.okta.com",
    "authorization_server": "default",
    "client_id": "0oa1",
    "requested": "a b",
}
NO_RESPONSE_FIELDS: dict[str, object] = {
    "error": "TransportError",
    "error_message": "no response",
    "attempts": 3,
    "retryable": True,
    "error_id": "oaeAb12",
}
RENEWAL_FIELDS: dict[str, object] = {"reason": "due", "waited": 0.0}
FIELDS: dict[str, dict[str, object]] = {
    "TokenRequested": KEY_FIELDS | {"attempt": 1, "renewal": True, "reason": "due", "waited": 0.0},
    "TokenFetched": KEY_FIELDS
    | {
        "reason": "missing",
        "waited": 0.125,
        "lifetime": 3600.0,
        "duration": 0.123,
        "scopes": "b",
        "missing_scopes": "a",
        "waiters": 7,
        "request_id": None,
    },
    "AttemptFailed": KEY_FIELDS
    | {
        "error": "OAuthError",
        "code": "invalid_scope",
        "error_message": "Okta refused",
        "reason": "missing",
        "duration": 0.25,
        "waited": 0.5,
        "status": 400,
        "attempts": 2,
        "retryable": False,
        "request_id": "reqAb12",
    },
    "FetchFailed": KEY_FIELDS
    | NO_RESPONSE_FIELDS
    | {
        "reason": "expired",
        "duration": 30.0,
        "waited": 29.5,
        "waiters": 1_000,
        "failures": 3,
        "without_token": 61.0,
        "cooldown": 1.235,
        "adopted": False,
    },
    "RenewalScheduled": KEY_FIELDS | {"after": 2_880.0},
    "RenewalFailed": KEY_FIELDS
    | NO_RESPONSE_FIELDS
    | RENEWAL_FIELDS
    | {"duration": 10.0, "failures": 2, "remaining": 99.5, "after": 8.0, "adopted": False},
    "LastRenewalFailed": KEY_FIELDS
    | NO_RESPONSE_FIELDS
    | RENEWAL_FIELDS
    | {"duration": 10.0, "failures": 3, "remaining": 9.5, "after": None, "adopted": True},
    "RenewalPostponed": KEY_FIELDS | RENEWAL_FIELDS | {"status": 429, "after": 31.0},
    "KeyRecovered": KEY_FIELDS | {"failures": 4, "seconds": 75.0},
    "TokenRenewed": KEY_FIELDS
    | RENEWAL_FIELDS
    | {
        "lifetime": 3600.0,
        "duration": 0.5,
        "scopes": "a b",
        "missing_scopes": "",
        "waiters": 0,
        "request_id": "reqAb12",
    },
    "RenewalAdopted": KEY_FIELDS
    | RENEWAL_FIELDS
    | {"duration": 0.5, "lifetime": 300.0, "remaining": 200.0, "scopes": "a", "waiters": 0},
    "ProviderStarted": {},
    "KeyIdle": KEY_FIELDS,
    "TokenRevoked": KEY_FIELDS,
    "NotificationsRefused": {"host": "cache:6379", "advice": "give the rights"},
    "TokenWithdrawn": KEY_FIELDS | {"damping": 10.0},
    "UnusualRequest": KEY_FIELDS | {"advice": "check the scope"},
    "KeyForgotten": KEY_FIELDS,
    "KeyEvicted": KEY_FIELDS,
    "TokenInvalidated": KEY_FIELDS
    | {
        "api": "https://orders.acme.com",
        "challenge": 'Bearer error="invalid_token"',
        "damping": 5.0,
    },
    "InvalidationIgnored": KEY_FIELDS
    | {"api": None, "challenge": None, "rejections": 10, "kept_for": 4.0},
    "RequestsPaused": {
        "domain": "acme.okta.com",
        "org_server": False,
        "seconds": 31.0,
        "concurrency": False,
        "status": 429,
        "waiters": 3,
        "request_id": "reqAb12",
    },
    "TokenAdopted": KEY_FIELDS
    | {
        "reason": "missing",
        "duration": 0.5,
        "waited": 0.25,
        "lifetime": 300.0,
        "remaining": 200.0,
        "scopes": "a",
        "waiters": 2,
    },
    "ScopesNotGranted": KEY_FIELDS | {"missing_scopes": "b", "scopes": "a"},
    "ClockDiffers": {"domain": "acme.okta.com", "seconds": -61.5},
    "PlainHttpUsed": {"origin": "http://okta.internal"},
    "StoreFailed": {"host": None, "reason": "ConnectionError", "after": 1.5},
    "StoreRecovered": {"seconds": 61.0},
    "StoreEntryIgnored": KEY_FIELDS,
    "TokenNotShared": KEY_FIELDS,
    "ProviderNotReused": KEY_FIELDS | {"advice": "make one provider"},
    "ClientNotReused": KEY_FIELDS | {"advice": "make one client"},
    "CacheFull": KEY_FIELDS | {"advice": "raise max_tokens"},
    "SlowCallable": KEY_FIELDS | {"seconds": 0.25, "advice": "use a thread"},
    "UnsuitableLifetime": KEY_FIELDS | {"lifetime": 15.0, "advice": "lower min_lead"},
    "SlowResponses": KEY_FIELDS | {"duration": 5.5, "advice": "check the network"},
    "StoreWithoutTls": {"host": "redis.internal", "advice": "pass a rediss:// URL"},
    "ProviderClosed": {},
    "ProviderFailed": {"error": "ProviderStateError", "error_message": "failed"},
}
"""The fields of the line for each event of `EXAMPLES`."""


@pytest.fixture(autouse=True)
def _unconfigured_structlog() -> Iterator[None]:
    """Start and end with structlog as it is before an application configures it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("event", "level", "name"), EXAMPLES, ids=[type_name(event) for event in EVENTS]
)
def test_logged_by_structlog(event: Event, level: str, name: str) -> None:
    """An application that configured structlog gets each event with plain values as fields."""
    fields = FIELDS[type_name(event)]
    structlog.configure()
    with capture_logs() as lines:
        log_event(event)

    assert lines == [{"event": f"okta_tokens.{name}", "log_level": level, **fields}]
    assert json.loads(json.dumps(fields)) == fields


def test_logged_by_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    """An application without structlog gets each event as one line of the logger okta_tokens."""
    caplog.set_level(logging.DEBUG, "okta_tokens")
    for event, level, name in EXAMPLES:
        caplog.clear()
        log_event(event)
        (record,) = caplog.records
        line = record.getMessage()

        assert (record.name, record.levelname.lower()) == ("okta_tokens", level)
        assert line.startswith(f"event='okta_tokens.{name}'")
        fields = FIELDS[type_name(event)]
        assert all(f"{field}={value!r}" in line for field, value in fields.items())
        assert vars(record).items() >= fields.items()
        assert vars(record)["event"] == f"okta_tokens.{name}"


def test_levels_of_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    """The level of the standard library's logger decides which events are logged."""
    caplog.set_level(logging.WARNING, "okta_tokens")
    for event in EVENTS:
        log_event(event)

    assert {record.levelname for record in caplog.records} == {"WARNING", "ERROR"}


@pytest.mark.parametrize("silenced", [False, True])
def test_an_application_without_logging_sees_warnings_and_errors(*, silenced: bool) -> None:
    """Without a logging configuration warnings and errors go to stderr, unless a handler is set."""
    code = f"""
import logging
if {silenced}:
    logging.getLogger("okta_tokens").addHandler(logging.NullHandler())
import okta_tokens.events as events
from okta_tokens.errors import ProviderStateError
def broken(event):
    raise RuntimeError
from okta_tokens._emitter import Emitter
from okta_tokens._logging import log_event
emit = Emitter([log_event, broken])
emit(events.ProviderFailed(error=ProviderStateError("failed")))
emit(events.ProviderClosed())
emit.deliver()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, timeout=20, text=True
    )

    failed = "event='okta_tokens.provider_failed' error='ProviderStateError' error_message='failed'"
    observer = "event='okta_tokens.observer_failed' observer='broken' error='RuntimeError'"
    lines = [] if silenced else [failed, observer, observer]
    assert (run.stdout, run.stderr.splitlines()) == ("", lines)


def test_an_application_that_configures_structlog_later(caplog: pytest.LogCaptureFixture) -> None:
    """Structlog may be configured at any time: its configuration applies from the next event."""
    caplog.set_level(logging.DEBUG, "okta_tokens")
    log_event(numbered(1))
    structlog.configure()
    with capture_logs() as lines:
        log_event(numbered(2))

    assert len(caplog.records) == 1
    assert [line["attempt"] for line in lines] == [2]


def test_attributes_of_an_error_that_are_not_plain_values_are_not_logged() -> None:
    """A line contains only the attributes of an error that JSON can represent."""
    error = RateLimitedError("wait", retry_at=datetime(2027, 1, 15, tzinfo=UTC), headers={"a": "b"})
    structlog.configure()
    with capture_logs() as lines:
        log_event(AttemptFailed(key=KEY, error=error, reason="due", duration=0.5, waited=0.0))

    assert {"retry_at", "headers", "key"}.isdisjoint(lines[0])
    assert json.dumps(lines)


async def test_an_asynchronous_logger_is_used_synchronously() -> None:
    """With structlog's asynchronous wrapper no line is lost in a coroutine without a task."""
    lines: list[EventDict] = []

    def collect(_logger: object, _method: str, fields: EventDict) -> NoReturn:
        lines.append(fields)
        raise structlog.DropEvent

    structlog.configure(wrapper_class=structlog.stdlib.AsyncBoundLogger, processors=[collect])
    log_event(numbered(1))

    assert [line["attempt"] for line in lines] == [1]
