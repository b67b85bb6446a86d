"""Snapshots of a provider for people and monitors: plain values, no token, no secret."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from okta_tokens._cache.entry import FOR_RENEWAL, Entry, State
from okta_tokens._endpoint.token_request import TokenFlight
from okta_tokens._model.key_identity import status_fields
from okta_tokens._runtime.clock import Instant
from okta_tokens._runtime.record import Record
from okta_tokens.events import (
    Event,
    FetchFailed,
    InvalidationIgnored,
    KeyEvicted,
    KeyForgotten,
    LastRenewalFailed,
    RenewalAdopted,
    RenewalFailed,
    RenewalPostponed,
    RequestsPaused,
    StoreFailed,
    TokenAdopted,
    TokenFetched,
    TokenInvalidated,
    TokenRenewed,
    TokenRequested,
    TokenRevoked,
    TokenWithdrawn,
)


class KeyStatus(Record):
    """The state of one key at one moment. `json.dumps(dataclasses.asdict(…))` works.

    All durations are in seconds.
    """

    domain: str
    authorization_server: str | None
    client_id: str
    authentication: str
    """How the client authenticates: `ClientSecretBasic(<read_secret>)`. It contains no secret."""
    scopes: tuple[str, ...]
    """The requested scopes, in alphabetical order."""
    parameters: tuple[str, ...]
    """The names of the client's additional parameters."""
    dpop_thumbprint: str | None
    """The thumbprint of the key to which the tokens are bound; `None` for bearer tokens."""
    state: str
    """`absent`, `fresh`, `due`, `expired` or `cooling down`."""
    remaining: float | None
    """The time until the token is no longer usable; `None` without a usable token."""
    next_action_in: float | None
    """The time until the provider's timer for the key is due; `None` without a timer."""
    paused_for: float
    """The time until a pause of the domain ends (429, `Retry-After`); 0.0 without a pause."""
    refuses_for: float
    """The time during which callers get the last error at once; 0.0 if they do not."""
    failures: int
    """The number of consecutive failed fetches and renewals."""
    last_error: str | None
    """The type and message of the last failed fetch; `None` after a success."""
    rejections: int
    """The number of times that the token was rejected by an API and kept all the same."""
    in_flight: bool
    """Whether a fetch or a renewal is in flight, or waits for a place."""
    waiters: int
    """The number of callers that wait for the flight."""
    kept_fresh: bool
    """Whether the token is renewed although no caller uses it."""
    used: bool
    """Whether the token was used since its last renewal."""


class Outlook(NamedTuple):
    """What decides the state of a key from now on, without its token: for other threads.

    An event about the key makes the outlook out of date. The time does not.
    """

    unusable_at: Instant
    """When the token becomes unusable; -inf without a token."""
    refresh_at: float
    """When the renewal is due, in seconds of boot time."""
    refuse_until: float
    """The end of the cool-down, in seconds of boot time."""
    has_token: bool
    failures: int
    """The number of consecutive failed fetches and renewals."""
    is_idle: bool
    """Whether the token is left to expire, because no caller used it since its last renewal."""

    def remaining(self, now: Instant) -> float:
        """Return the seconds until the token is unusable, by the stricter of two clocks; or 0.0.

        Args:
            now: The current time.
        """
        boot, wall = self.unusable_at
        return max(0.0, min(boot - now.boot, wall - now.wall))

    def state(self, now: Instant) -> State:
        """Return what `Entry.state` returns, unless the key has changed since.

        Args:
            now: The current time.
        """
        if self.remaining(now):
            return State.FRESH if now.boot < self.refresh_at else State.DUE
        if now.boot < self.refuse_until:
            return State.COOLING_DOWN
        return State.EXPIRED if self.has_token else State.ABSENT


class Stats(Record):
    """What a provider has done since it was made. `dataclasses.asdict` gives plain values.

    Hits are not counted, because a counter would cost a hit more than the clock does.
    """

    keys: int
    """The number of keys in the cache now."""
    in_flight: int
    """The number of fetches and renewals that are in flight now."""
    waiters: int
    """The number of callers that wait now."""
    requests: int
    """The number of requests to token endpoints."""
    tokens_fetched: int
    tokens_adopted: int
    """The number of tokens that another process had fetched."""
    store_failures: int
    """The number of outages of the shared store."""
    fetches_failed: int
    """The number of fetches that ended with an error for callers."""
    renewals_failed: int
    """The number of renewals that failed while the token was still usable."""
    renewals_postponed: int
    tokens_invalidated: int
    tokens_revoked: int
    tokens_withdrawn: int
    """The number of tokens that were dropped because another process rejected, revoked or cleared
    them."""
    invalidations_ignored: int
    pauses: int
    """The number of responses that paused the requests to a domain."""
    keys_evicted: int
    keys_forgotten: int
    store_available: bool | None
    """Whether the shared store works; `None` if there is none."""
    clock_offsets: Mapping[str, float]
    """The seconds by which Okta's clock is ahead of this machine's clock, by domain."""
    response_times: Mapping[str, float]
    """The seconds that the latest token responses took, by domain: quick to rise, slow to fall."""


class Readiness(Record):
    """Whether a service has the tokens that it needs. `dataclasses.asdict` gives plain values."""

    ok: bool
    """Whether the provider runs, and holds a usable token for each source."""
    reasons: tuple[str, ...]
    """Why not, in one sentence for each cause."""
    remaining: float | None
    """The seconds until the first of the tokens is no longer usable; 0.0 if one is missing, and
    `None` if there are no sources."""


def outlook(entry: Entry, now: Instant) -> Outlook:
    """Return what decides the state of a key from now on.

    Args:
        entry: The cache entry of the key.
        now: The current time.
    """
    token = entry.token
    wall = -math.inf if token is None else token._wall_expiry - token._leeway
    is_kept = entry.kept_fresh or bool(entry.used & FOR_RENEWAL)
    return Outlook(
        unusable_at=Instant(entry.unusable_at, wall),
        refresh_at=entry.refresh_at,
        refuse_until=entry.refuse_until,
        has_token=token is not None,
        failures=entry.failures,
        is_idle=now.boot >= entry.refresh_at and not is_kept,
    )


def key_status(
    entry: Entry, flight: TokenFlight | None, now: Instant, pause_end: float
) -> KeyStatus:
    """Return the status of a key.

    Args:
        entry: The cache entry of the key.
        flight: The key's flight; `None` if there is none.
        now: The current time.
        pause_end: When the pause of the key's domain ends, in seconds of boot time.
    """
    error, state = entry.error, entry.state(now)
    usable = state in {State.FRESH, State.DUE}
    return KeyStatus(
        **status_fields(entry.key),
        state=state.value,
        remaining=entry.unusable_at - now.boot if usable else None,
        next_action_in=None if entry.instant is None else entry.instant - now.boot,
        paused_for=max(0.0, pause_end - now.boot),
        refuses_for=max(0.0, entry.refuse_until - now.boot),
        failures=entry.failures,
        last_error=None if error is None else f"{type(error).__name__}: {error.args[0]}",
        rejections=entry.ignored,
        in_flight=flight is not None,
        waiters=0 if flight is None else flight.waiting,
        kept_fresh=entry.kept_fresh,
        used=bool(entry.used & FOR_RENEWAL),
    )


def count_up(
    counts: Mapping[type[Event], int],
    keys: int,
    flights: Collection[TokenFlight],
    *,
    store_available: bool | None,
    clock_offsets: Mapping[str, float],
    response_times: Mapping[str, float],
) -> Stats:
    """Return the statistics of a provider.

    Args:
        counts: The number of events by type.
        keys: The number of keys in the cache now.
        flights: The flights now.
        store_available: Whether the shared store works; `None` if there is none.
        clock_offsets: The seconds by which Okta's clock is ahead, by domain.
        response_times: The seconds that the latest token responses took, by domain.
    """
    return Stats(
        keys=keys,
        in_flight=len(flights),
        waiters=sum(flight.waiting for flight in flights),
        requests=counts[TokenRequested],
        tokens_fetched=counts[TokenFetched] + counts[TokenRenewed],
        tokens_adopted=counts[TokenAdopted] + counts[RenewalAdopted],
        store_failures=counts[StoreFailed],
        fetches_failed=counts[FetchFailed],
        renewals_failed=counts[RenewalFailed] + counts[LastRenewalFailed],
        renewals_postponed=counts[RenewalPostponed],
        tokens_invalidated=counts[TokenInvalidated],
        tokens_revoked=counts[TokenRevoked],
        tokens_withdrawn=counts[TokenWithdrawn],
        invalidations_ignored=counts[InvalidationIgnored],
        pauses=counts[RequestsPaused],
        keys_evicted=counts[KeyEvicted],
        keys_forgotten=counts[KeyForgotten],
        store_available=store_available,
        clock_offsets=clock_offsets,
        response_times=response_times,
    )
