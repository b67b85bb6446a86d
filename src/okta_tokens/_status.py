"""Snapshots for people and monitors: plain values, no token, no secret."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from okta_tokens._cache.entry import FOR_RENEWAL, Entry, State
from okta_tokens._endpoint.operation import TokenFlight
from okta_tokens._model.identity import status_fields
from okta_tokens._runtime.clock import Instant
from okta_tokens.events import (
    Event,
    FetchFailed,
    InvalidationIgnored,
    KeyEvicted,
    KeyForgotten,
    RenewalFailed,
    RenewalPostponed,
    RequestsPaused,
    StoreFailed,
    TokenAdopted,
    TokenFetched,
    TokenInvalidated,
    TokenRequested,
    TokenRevoked,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """How one key fares at a moment. `dataclasses.asdict` gives what `json.dumps` takes.

    Durations are in seconds.
    """

    domain: str
    authorization_server: str | None
    client_id: str
    scopes: tuple[str, ...]
    """What is asked for, in alphabetical order."""
    dpop_thumbprint: str | None
    """Of the key to which its tokens are bound; None for bearer tokens."""
    state: str
    """`absent`, `fresh`, `due`, `expired` or `cooling down`."""
    remaining: float | None
    """How long the token will still be handed out; None without a usable one."""
    next_action_in: float | None
    """When the provider looks at the key again by itself; None if it does not."""
    refuses_for: float
    """How long callers get the last error at once; 0.0 if they do not."""
    failures: int
    """How many fetches or renewals failed in a row."""
    last_error: str | None
    """The type and message of the last failed fetch; None after a success."""
    in_flight: bool
    """Whether a request is under way, or waits for its place."""
    waiters: int
    """How many callers wait for it."""
    kept_fresh: bool
    """Whether it is renewed while nobody asks."""
    used: bool
    """Whether it was used since its last renewal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a provider has done since it was made. `dataclasses.asdict` gives plain values.

    Hits are not counted: that would cost each of them more than the clock does.
    """

    keys: int
    """Keys in the cache now."""
    in_flight: int
    """Fetches and renewals under way now."""
    waiters: int
    """Callers that wait now."""
    requests: int
    """Requests to token endpoints."""
    tokens_fetched: int
    tokens_adopted: int
    """Tokens that another process had fetched."""
    store_failures: int
    """Outages of the shared store."""
    fetches_failed: int
    """Fetches that ended with an error for callers."""
    renewals_failed: int
    """Renewals that failed while the token was still good."""
    renewals_postponed: int
    tokens_invalidated: int
    tokens_revoked: int
    invalidations_ignored: int
    pauses: int
    """429s that made a domain pause."""
    keys_evicted: int
    keys_forgotten: int
    clock_offsets: Mapping[str, float]
    """By domain: seconds by which Okta's clock is ahead of this machine's."""


def key_status(entry: Entry, flight: TokenFlight | None, now: Instant) -> KeyStatus:
    """Return how a key fares, from its entry and the flight that is under way for it."""
    error, state = entry.error, entry.state(now)
    usable = state in {State.FRESH, State.DUE}
    return KeyStatus(
        **status_fields(entry.key),
        state=state.value,
        remaining=entry.unusable_at - now.boot if usable else None,
        next_action_in=None if entry.timer is None else entry.timer.instant - now.boot,
        refuses_for=max(0.0, entry.refuse_until - now.boot),
        failures=entry.failed_renewals + entry.failed_fetches,
        last_error=None if error is None else f"{type(error).__name__}: {error.args[0]}",
        in_flight=flight is not None,
        waiters=0 if flight is None else flight.waiting,
        kept_fresh=entry.kept_fresh,
        used=bool(entry.used & FOR_RENEWAL),
    )


def count_up(
    counts: Mapping[type[Event], int],
    keys: int,
    flights: Collection[TokenFlight],
    clock_offsets: Mapping[str, float],
) -> Stats:
    """Return what was done, from how often each event happened and what is there now."""
    return Stats(
        keys=keys,
        in_flight=len(flights),
        waiters=sum(flight.waiting for flight in flights),
        requests=counts[TokenRequested],
        tokens_fetched=counts[TokenFetched],
        tokens_adopted=counts[TokenAdopted],
        store_failures=counts[StoreFailed],
        fetches_failed=counts[FetchFailed],
        renewals_failed=counts[RenewalFailed],
        renewals_postponed=counts[RenewalPostponed],
        tokens_invalidated=counts[TokenInvalidated],
        tokens_revoked=counts[TokenRevoked],
        invalidations_ignored=counts[InvalidationIgnored],
        pauses=counts[RequestsPaused],
        keys_evicted=counts[KeyEvicted],
        keys_forgotten=counts[KeyForgotten],
        clock_offsets=clock_offsets,
    )
