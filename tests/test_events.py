"""Events: values with constant names and levels."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from dataclasses import fields as fields_of

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey, events
from okta_tokens.errors import OAuthError, ProviderStateError, TransportError
from okta_tokens.events import (
    AttemptFailed,
    CacheFull,
    ClientNotReused,
    ClockDiffers,
    Event,
    FetchFailed,
    InvalidationIgnored,
    KeyEvent,
    KeyEvicted,
    KeyForgotten,
    KeyIdle,
    KeyRecovered,
    LastRenewalFailed,
    NotificationsRefused,
    PlainHttpUsed,
    ProviderClosed,
    ProviderFailed,
    ProviderNotReused,
    ProviderStarted,
    RenewalAdopted,
    RenewalFailed,
    RenewalPostponed,
    RenewalScheduled,
    RequestsPaused,
    ScopesNotGranted,
    SlowCallable,
    SlowResponses,
    StoreEntryIgnored,
    StoreFailed,
    StoreRecovered,
    StoreWithoutTls,
    TokenAdopted,
    TokenFetched,
    TokenInvalidated,
    TokenNotShared,
    TokenRenewed,
    TokenRequested,
    TokenRevoked,
    TokenWithdrawn,
    UnsuitableLifetime,
    UnusualRequest,
)

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
KEY = TokenKey(
    OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET)), frozenset({"b", "a"})
)
ERROR_RESPONSE = OAuthError(
    "Okta refused",
    error="invalid_scope",
    description="No.",
    status=400,
    key=KEY,
    attempts=2,
    request_id="reqAb12",
)
NO_RESPONSE = TransportError("no response", retryable=True, attempts=3, error_id="oaeAb12")

EXAMPLES: list[tuple[Event, str, str]] = [
    (
        TokenRequested(key=KEY, attempt=1, renewal=True, reason="due", waited=0.0),
        "debug",
        "token_requested",
    ),
    (
        TokenFetched(
            key=KEY,
            reason="missing",
            waited=0.125,
            lifetime=3600.0,
            duration=0.123456,
            scopes=frozenset({"b"}),
            missing_scopes=frozenset({"a"}),
            waiters=7,
            request_id=None,
        ),
        "info",
        "token_fetched",
    ),
    (
        TokenRenewed(
            key=KEY,
            reason="due",
            waited=0.0,
            lifetime=3600.0,
            duration=0.5,
            scopes=frozenset({"a", "b"}),
            missing_scopes=frozenset(),
            waiters=0,
            request_id="reqAb12",
        ),
        "debug",
        "token_renewed",
    ),
    (
        RenewalAdopted(
            key=KEY,
            reason="due",
            duration=0.5,
            waited=0.0,
            lifetime=300.0,
            remaining=200.0,
            scopes=frozenset({"a"}),
            waiters=0,
        ),
        "debug",
        "renewal_adopted",
    ),
    (ProviderStarted(), "info", "provider_started"),
    (
        AttemptFailed(key=KEY, error=ERROR_RESPONSE, reason="missing", duration=0.25, waited=0.5),
        "debug",
        "attempt_failed",
    ),
    (
        FetchFailed(
            key=KEY,
            error=NO_RESPONSE,
            reason="expired",
            duration=30.0,
            waited=29.5,
            waiters=1_000,
            failures=3,
            without_token=61.0,
            cooldown=1.2345678,
            adopted=False,
        ),
        "error",
        "fetch_failed",
    ),
    (RenewalScheduled(key=KEY, after=2_880.0), "debug", "renewal_scheduled"),
    (
        RenewalFailed(
            key=KEY,
            error=NO_RESPONSE,
            reason="due",
            duration=10.0,
            waited=0.0,
            failures=2,
            remaining=99.5,
            after=8.0,
            adopted=False,
        ),
        "warning",
        "renewal_failed",
    ),
    (
        LastRenewalFailed(
            key=KEY,
            error=NO_RESPONSE,
            reason="due",
            duration=10.0,
            waited=0.0,
            failures=3,
            remaining=9.5,
            after=None,
            adopted=True,
        ),
        "error",
        "last_renewal_failed",
    ),
    (
        RenewalPostponed(key=KEY, reason="due", waited=0.0, status=429, after=31.0),
        "debug",
        "renewal_postponed",
    ),
    (KeyRecovered(key=KEY, failures=4, seconds=75.0), "info", "key_recovered"),
    (KeyIdle(key=KEY), "debug", "key_idle"),
    (
        NotificationsRefused(host="cache:6379", advice="give the rights"),
        "warning",
        "notifications_refused",
    ),
    (TokenRevoked(key=KEY), "info", "token_revoked"),
    (TokenWithdrawn(key=KEY, damping=10.0), "info", "token_withdrawn"),
    (UnusualRequest(key=KEY, advice="check the scope"), "warning", "unusual_request"),
    (ProviderNotReused(key=KEY, advice="make one provider"), "warning", "provider_not_reused"),
    (ClientNotReused(key=KEY, advice="make one client"), "warning", "client_not_reused"),
    (CacheFull(key=KEY, advice="raise max_tokens"), "warning", "cache_full"),
    (
        SlowCallable(key=KEY, seconds=0.25, advice="use a thread"),
        "warning",
        "slow_callable",
    ),
    (
        UnsuitableLifetime(key=KEY, lifetime=15.0, advice="lower min_lead"),
        "warning",
        "unsuitable_lifetime",
    ),
    (
        SlowResponses(key=KEY, duration=5.5, advice="check the network"),
        "warning",
        "slow_responses",
    ),
    (KeyForgotten(key=KEY), "debug", "key_forgotten"),
    (KeyEvicted(key=KEY), "debug", "key_evicted"),
    (
        TokenInvalidated(
            key=KEY,
            api="https://orders.acme.com",
            challenge='Bearer error="invalid_token"',
            damping=5.0,
        ),
        "info",
        "token_invalidated",
    ),
    (
        InvalidationIgnored(key=KEY, api=None, challenge=None, rejections=10, kept_for=4.0),
        "warning",
        "invalidation_ignored",
    ),
    (
        RequestsPaused(
            domain="acme.okta.com",
            org_server=False,
            seconds=31.0,
            concurrency=False,
            status=429,
            waiters=3,
            request_id="reqAb12",
        ),
        "warning",
        "requests_paused",
    ),
    (
        TokenAdopted(
            key=KEY,
            reason="missing",
            duration=0.5,
            waited=0.25,
            lifetime=300.0,
            remaining=200.0,
            scopes=frozenset({"a"}),
            waiters=2,
        ),
        "info",
        "token_adopted",
    ),
    (
        ScopesNotGranted(key=KEY, missing_scopes=frozenset({"b"}), scopes=frozenset({"a"})),
        "warning",
        "scopes_not_granted",
    ),
    (ClockDiffers(domain="acme.okta.com", seconds=-61.5), "warning", "clock_differs"),
    (PlainHttpUsed(origin="http://okta.internal"), "warning", "plain_http_used"),
    (StoreFailed(host=None, reason="ConnectionError", after=1.5), "warning", "store_failed"),
    (StoreRecovered(seconds=61.0), "info", "store_recovered"),
    (StoreEntryIgnored(key=KEY), "warning", "store_entry_ignored"),
    (
        StoreWithoutTls(host="redis.internal", advice="pass a rediss:// URL"),
        "warning",
        "store_without_tls",
    ),
    (TokenNotShared(key=KEY), "warning", "token_not_shared"),
    (ProviderClosed(), "info", "provider_closed"),
    (ProviderFailed(error=ProviderStateError("failed")), "error", "provider_failed"),
]
"""An event of each type, its level and the end of its name."""

EVENTS = [event for event, *_ in EXAMPLES]


def type_name(event: Event) -> str:
    """Return the name of an event's type."""
    return type(event).__name__


def numbered(number: int) -> Event:
    """Return an event with a number."""
    return TokenRequested(key=KEY, attempt=number, renewal=False, reason="missing", waited=0.0)


def number_of(event: Event) -> int:
    """Return the number of an event that `numbered` made."""
    assert isinstance(event, TokenRequested)
    return event.attempt


BASES = {"Event", "FailureEvent", "FetchEvent", "KeyEvent"}


def test_every_event_is_public() -> None:
    """The module exports each event class, and `EXAMPLES` has an event of each."""
    classes = {
        name
        for name, value in vars(events).items()
        if inspect.isclass(value) and issubclass(value, Event)
    }

    assert classes <= set(events.__all__)
    assert {type_name(event) for event in EVENTS} == classes - BASES


def test_names_and_levels() -> None:
    """Each event class has a name of its own, derived from the class's name, and its level."""
    names = [event.name for event in EVENTS]

    assert len(set(names)) == len(names)
    for event, level, name in EXAMPLES:
        assert (type(event).name, type(event).level) == (f"okta_tokens.{name}", level)


def test_a_new_event_class_states_only_its_level() -> None:
    """A subclass with a level is a complete event class; one without is a base of others."""

    class CacheEvent(Event):
        size: int

    class CacheBecameFull(CacheEvent, level="info"):
        after: float

    event = CacheBecameFull(size=3, after=1.5)

    assert (event.name, event.level) == ("okta_tokens.cache_became_full", "info")
    assert (event.size, event.after) == (3, 1.5)
    assert not hasattr(CacheEvent, "name")
    assert not hasattr(CacheEvent, "level")


def test_events_cannot_be_changed() -> None:
    """No field of an event can be set or deleted."""
    for event in EVENTS:
        for field in fields_of(event):
            with pytest.raises(FrozenInstanceError):
                setattr(event, field.name, None)
            with pytest.raises(FrozenInstanceError):
                delattr(event, field.name)


def test_events_show_no_secret() -> None:
    """The repr of an event contains no secret."""
    for event in EVENTS:
        assert SECRET not in repr(event)


def test_equality() -> None:
    """Events are equal, and have the same hash, if their types and their fields are equal."""
    for event in EVENTS:
        twin = copy.copy(event)

        assert twin == event
        assert hash(twin) == hash(event)
        assert [other for other in EVENTS if other == event] == [event]


def test_inequality() -> None:
    """Events with different fields differ, and events of different types with equal fields."""
    assert numbered(1) != numbered(2)
    assert KeyIdle(key=KEY) != KeyForgotten(key=KEY)
    assert ProviderClosed() != "okta_tokens.provider_closed"


def test_repr() -> None:
    """The repr of an event is the call that makes an equal one."""
    event = RenewalScheduled(key=KEY, after=2.5)

    assert repr(event) == f"RenewalScheduled(key={KEY!r}, after=2.5)"
    assert repr(ProviderClosed()) == "ProviderClosed()"


def test_fields_are_passed_by_name() -> None:
    """An event class takes no positional arguments."""
    make: Callable[..., Event] = KeyIdle

    with pytest.raises(TypeError, match="positional argument"):
        make(KEY)


def test_events_about_a_key() -> None:
    """`KeyEvent` is the base of all events except those about the provider, a domain or a store."""
    others = {type_name(event) for event in EVENTS if not isinstance(event, KeyEvent)}

    assert others == {
        *("ClockDiffers", "PlainHttpUsed", "ProviderClosed", "ProviderFailed", "ProviderStarted"),
        *("NotificationsRefused", "RequestsPaused"),
        *("StoreFailed", "StoreRecovered", "StoreWithoutTls"),
    }


@pytest.mark.parametrize(
    "values", [{}, {"key": KEY, "other": 1}, {"key": KEY, "after": 1.0, "other": 1}]
)
def test_an_event_takes_exactly_its_fields(values: dict[str, object]) -> None:
    """An event with a missing or an unknown field is a `TypeError`."""
    with pytest.raises(TypeError, match=r"^RenewalScheduled takes exactly these keyword arguments"):
        RenewalScheduled(**values)  # type: ignore[arg-type]  # deliberately


def test_an_event_class_shows_its_signature() -> None:
    """The signature of an event class names its fields, though one constructor serves all."""
    assert [*inspect.signature(RenewalScheduled).parameters] == ["key", "after"]
