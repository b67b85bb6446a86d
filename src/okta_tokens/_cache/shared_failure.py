"""Failures that processes share: what is written about one, and what one means to a reader.

A record is as untrusted as everything else in a store: only the errors and attributes that this
module names are made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from okta_tokens._endpoint.rate_limits import requested_wait
from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens._model.token_key import TokenKey
from okta_tokens._sharing.fleet_protocol import SharedFailure, StoredState
from okta_tokens.errors import (
    FetchError,
    InvalidResponseError,
    OAuthError,
    RateLimitedError,
    ServerError,
    TransportError,
)

FAILURE_KEPT = 60.0
"""Seconds for which a store keeps a failure after its end, so that the next one counts from it."""

CLOCK_TOLERANCE = 300.0
"""Seconds by which the clocks of processes may differ."""

_MAX_TEXT = 2_000
"""Characters of a text of an error."""
_MAX_FAILURES = 1_000_000

_TEXT, _NUMBER = frozenset({str}), frozenset({int})
_OPTIONAL_TEXT, _OPTIONAL_NUMBER = frozenset({str, type(None)}), frozenset({int, type(None)})
_COMMON = {
    "attempts": _NUMBER,
    "retryable": frozenset({bool}),
    "request_id": _OPTIONAL_TEXT,
    "error_id": _OPTIONAL_TEXT,
}
_ATTRIBUTES: Mapping[type[FetchError], Mapping[str, frozenset[type]]] = {
    OAuthError: {"error": _TEXT, "description": _TEXT, "advice": _TEXT, "status": _NUMBER},
    RateLimitedError: {"status": _OPTIONAL_NUMBER, "retry_at": _NUMBER},
    ServerError: {"status": _NUMBER, "retry_at": _OPTIONAL_NUMBER},
    InvalidResponseError: {"status": _NUMBER},
    TransportError: {},
}
"""The errors that processes share, and the types of their attributes. The time `retry_at` is a
number of seconds since the epoch, by Okta's clock."""
_KINDS = {kind.__name__: kind for kind in _ATTRIBUTES}

_FLEET_WIDE = (OAuthError, RateLimitedError, ServerError)

_NOTE = "Another process sent the request, and shares the failure through the store."


class Setback(NamedTuple):
    """A failure that processes share, and what it means for this one.

    Args:
        error: Why there is no token.
        cooldown: For how many seconds callers get the error.
        backoff: For how many seconds no renewal starts.
        adopted: Whether another process sent the request.
    """

    error: FetchError
    cooldown: float
    backoff: float
    adopted: bool


class KnownFailure(NamedTuple):
    """The failure that a store has, as this process sees it now.

    Args:
        record: What the store has.
        error: The error that it tells of.
        cooldown: The seconds that are left of the cool-down.
        backoff: The seconds that are left until renewals may start.
        age: The seconds since the request failed.
    """

    record: SharedFailure
    error: FetchError
    cooldown: float
    backoff: float
    age: float

    @property
    def holds_back(self) -> bool:
        """Whether the failure began a cool-down or a back-off for all processes."""
        return max(self.record.until, self.record.renew_at) > self.record.failed_at


def is_fleet_wide(error: FetchError) -> bool:
    """Tell whether every process would meet an error: Okta answers each of them alike.

    Args:
        error: Why there is no token.
    """
    return isinstance(error, _FLEET_WIDE)


def is_shared(error: FetchError) -> bool:
    """Tell whether processes may learn of an error. What is wrong with a credential is one's own.

    Args:
        error: Why there is no token.
    """
    return type(error) in _ATTRIBUTES


def facts_of(error: FetchError, clock_offset: float) -> dict[str, str | int | bool | None]:
    """Return the attributes of an error, as processes share them.

    Args:
        error: The error, of a type that is shared.
        clock_offset: The seconds by which Okta's clock is ahead of this machine's.
    """
    return {
        name: _fact(getattr(error, name), clock_offset)
        for name in (*_COMMON, *_ATTRIBUTES[type(error)])
    }


def message_of(error: FetchError) -> str:
    """Return the message of an error, as processes share it.

    Args:
        error: The error.
    """
    return str(error.args[0])[:_MAX_TEXT]


def known_failure(
    state: StoredState,
    key: TokenKey,
    *,
    server_time: float,
    wall_time: float,
    refresh: RefreshPolicy,
    retry: RetryPolicy,
) -> KnownFailure | None:
    """Return what the failure in a store means now; None if its record cannot be used.

    The store's clock says how much of its time is left, and so what time it is by Okta's clock. Few
    processes know that clock in an outage, so the ends by it only tell that a record is not one of
    the past. No policy of another process makes this one wait longer than its own policy allows.

    Args:
        state: What the store has, with a failure.
        key: The key of the token.
        server_time: The present moment by Okta's clock, in seconds since the epoch.
        wall_time: The present moment by this machine's clock, likewise.
        refresh: The longest back-off.
        retry: The longest cool-down and pause.
    """
    record = state.failure
    assert record is not None  # noqa: S101 - narrows the type
    end = max(record.until, record.renew_at)
    if server_time > end + FAILURE_KEPT + CLOCK_TOLERANCE:
        return None

    def left(moment: float) -> float:
        by_store = state.failure_seconds - FAILURE_KEPT - (end - moment)
        return min(
            by_store if by_store < math.inf else moment - server_time, moment - record.failed_at
        )

    age = max(0.0, -left(record.failed_at))
    error = _error_of(record, key, record.failed_at + age - wall_time)
    if error is None:
        return None
    asked = requested_wait(error, wall_time, retry.max_pause)
    longest = max(refresh.max_backoff, retry.max_pause)
    return KnownFailure(
        record,
        error,
        cooldown=max(0.0, min(left(record.until), retry.max_cooldown), asked)
        if record.until > record.failed_at
        else 0.0,
        backoff=max(0.0, min(left(record.renew_at), longest), asked),
        age=age,
    )


def _fact(value: object, clock_offset: float) -> str | int | bool | None:
    if isinstance(value, datetime):
        return math.ceil(value.timestamp() + clock_offset)
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    assert value is None or isinstance(value, int)  # noqa: S101 - narrows the type
    return value


def _error_of(record: SharedFailure, key: TokenKey, clock_offset: float) -> FetchError | None:
    """Return the error of a record; None if it is not exactly what this module writes."""
    kind = _KINDS.get(record.kind)
    numbers = (record.failed_at, record.until, record.renew_at)
    if kind is None or not all(map(math.isfinite, numbers)):
        return None
    types = {**_COMMON, **_ATTRIBUTES[kind]}
    facts: dict[str, Any] = dict(record.facts)
    texts = [record.message, *(fact for fact in facts.values() if type(fact) is str)]
    if (
        facts.keys() != types.keys()
        or not all(type(fact) in types[name] for name, fact in facts.items())
        or max(map(len, texts)) > _MAX_TEXT
        or not 0 <= record.failures <= _MAX_FAILURES
    ):
        return None
    if facts.get("retry_at") is not None:
        try:
            facts["retry_at"] = datetime.fromtimestamp(facts["retry_at"] - clock_offset, UTC)
        except (ValueError, OverflowError, OSError):
            return None
    error = kind(record.message, key=key, **facts)
    error.add_note(_NOTE)
    return error
