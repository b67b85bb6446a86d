"""Records of failures: what is written about an error, and what a reader makes of a record."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, RefreshPolicy, RetryPolicy, TokenKey
from okta_tokens._cache.shared_failure import (
    FAILURE_KEPT,
    KnownFailure,
    facts_of,
    is_fleet_wide,
    is_shared,
    known_failure,
    message_of,
)
from okta_tokens.errors import (
    CredentialError,
    FetchError,
    InvalidResponseError,
    OAuthError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from okta_tokens.stores import SharedFailure, StoredState

KEY = TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("s")), frozenset({"a"}))
NOW = 1_800_000_000.0
SOON = datetime.fromtimestamp(NOW + 20, UTC)
ERRORS: list[FetchError] = [
    OAuthError(
        "Okta refused",
        error="invalid_client",
        description="wrong",
        status=401,
        advice="change it",
        attempts=2,
        request_id="req1",
        error_id="oae1",
    ),
    RateLimitedError("too many", retry_at=SOON, status=429, retryable=True),
    RateLimitedError("paused", retry_at=SOON, retryable=True),
    ServerError("broken", status=503, retryable=True, attempts=6),
    ServerError("wait", status=503, retry_at=SOON, retryable=True),
    InvalidResponseError("not JSON", status=200),
    TransportError("no connection", retryable=True),
]


def record_of(error: FetchError, **changes: Any) -> SharedFailure:  # noqa: ANN401 - of any field
    """Return the record of an error that happened now, with a cool-down and a longer back-off."""
    record = SharedFailure(
        type(error).__name__, message_of(error), facts_of(error, 0.0), 3, NOW, NOW + 10, NOW + 25
    )
    return record._replace(**changes)


def read(
    record: SharedFailure, *, left: float = 25.0, server_time: float = NOW, offset: float = 0.0
) -> KnownFailure | None:
    """Return what a record means to a process.

    Args:
        record: The record.
        left: The seconds that are left of the longer period, by the store's clock.
        server_time: The present moment by Okta's clock, as the process knows it.
        offset: The seconds by which Okta's clock is ahead of the machine's.
    """
    return known_failure(
        StoredState(failure=record, failure_seconds=left + FAILURE_KEPT),
        KEY,
        server_time=server_time,
        wall_time=server_time - offset,
        refresh=RefreshPolicy(),
        retry=RetryPolicy(),
    )


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}: {error}")
def test_an_error_of_another_process_has_the_same_attributes(error: FetchError) -> None:
    """Type, message and attributes of an error pass through the store; its key is the reader's."""
    found = read(record_of(error))

    assert found is not None
    assert type(found.error) is type(error)
    assert found.error.args == error.args
    note = "Another process sent the request, and shares the failure through the store."
    assert vars(found.error) == {**vars(error), "key": KEY, "__notes__": [note]}


def test_only_what_okta_says_to_every_process_is_everyones_failure() -> None:
    """Refusals, rate limits and server errors meet all processes; a credential is one's own."""
    kinds = {type(error): is_fleet_wide(error) for error in ERRORS if is_shared(error)}

    assert kinds == {
        OAuthError: True,
        RateLimitedError: True,
        ServerError: True,
        InvalidResponseError: False,
        TransportError: False,
    }
    assert not is_shared(CredentialError("no key"))


def test_long_texts_are_cut() -> None:
    """A message or a description has at most 2,000 characters in a record."""
    error = OAuthError("m" * 9_000, error="e", description="d" * 9_000, status=400)
    found = read(record_of(error))

    assert found is not None
    assert isinstance(found.error, OAuthError)
    assert found.error.args == ("m" * 2_000,)
    assert found.error.description == "d" * 2_000


FACTS = facts_of(ERRORS[4], 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "CredentialError"},
        {"kind": "KeyError"},
        {"message": "m" * 2_001},
        {"facts": {}},
        {"facts": {**FACTS, "more": 1}},
        {"facts": {**FACTS, "status": "503"}},
        {"facts": {**FACTS, "status": True}},
        {"facts": {**FACTS, "retryable": 1}},
        {"facts": {**FACTS, "request_id": "x" * 2_001}},
        {"facts": {**FACTS, "retry_at": 10**30}},
        {"failures": -1},
        {"failures": 10**9},
        {"until": math.inf},
        {"renew_at": math.nan},
        {"failed_at": -math.inf},
    ],
    ids=str,
)
def test_a_record_that_lies_is_no_failure(changes: dict[str, Any]) -> None:
    """A record with another error, attribute, type or size than this package writes is ignored."""
    assert read(record_of(ERRORS[4])) is not None
    assert read(record_of(ERRORS[4], **changes)) is None


@pytest.mark.parametrize(
    ("left", "cooldown", "backoff"),
    [(25.0, 10.0, 25.0), (20.0, 5.0, 20.0), (15.0, 0.0, 15.0), (0.0, 0.0, 0.0), (-9.0, 0.0, 0.0)],
)
@pytest.mark.parametrize("error", [-120.0, 0.0, 120.0])
def test_the_stores_clock_ends_a_failure(
    left: float, cooldown: float, backoff: float, error: float
) -> None:
    """The store's clock tells what is left of a failure, whatever this machine's clock says."""
    found = read(record_of(ERRORS[3]), left=left, server_time=NOW + error)

    assert found is not None
    assert (found.cooldown, found.backoff, found.age) == (cooldown, backoff, 25.0 - left)


def test_a_failure_holds_no_longer_than_it_said() -> None:
    """Who writes to the store cannot lengthen a failure, and cannot repeat one of the past."""
    record = record_of(ERRORS[3])
    found = read(record, left=9_999.0)
    assert found is not None
    assert (found.cooldown, found.backoff, found.age) == (10.0, 25.0, 0.0)

    past = NOW + 25 + FAILURE_KEPT + 300
    assert read(record, server_time=past) is not None
    assert read(record, server_time=past + 1) is None


def test_a_failure_holds_no_longer_than_the_readers_policy_allows() -> None:
    """Another process's policy may have longer periods; the reader's own maximum holds."""
    record = record_of(ERRORS[3], until=NOW + 3_600, renew_at=NOW + 7_200)
    found = read(record, left=7_200)

    assert found is not None
    assert (found.cooldown, found.backoff) == (30.0, 90.0)


def test_okta_s_clock_ends_a_failure_if_the_store_does_not_tell_the_time() -> None:
    """Without the time that is left in the store, the ends by Okta's clock count."""
    found = read(record_of(ERRORS[3]), left=math.inf, server_time=NOW + 4)

    assert found is not None
    assert (found.cooldown, found.backoff, found.age) == (6.0, 21.0, 4.0)


@pytest.mark.parametrize("offset", [0.0, 500.0])
@pytest.mark.parametrize("unknown", [0.0, 120.0, -120.0])
def test_the_wait_that_a_server_asks_for_holds_for_all(offset: float, unknown: float) -> None:
    """`Retry-After` lengthens the cool-down and the back-off, by each machine's own clock.

    The machine may not know Okta's clock: the record tells what time it is.
    """
    record = record_of(ERRORS[4], renew_at=NOW + 10)
    found = read(record, left=10.0, server_time=NOW + unknown, offset=offset + unknown)

    assert found is not None
    assert isinstance(found.error, ServerError)
    assert found.error.retry_at == datetime.fromtimestamp(NOW + 20 - offset, UTC)
    assert (found.cooldown, found.backoff) == (20.0, 20.0)

    renewal = read(record._replace(until=NOW), left=10.0)
    assert renewal is not None
    assert renewal.cooldown == 0.0
