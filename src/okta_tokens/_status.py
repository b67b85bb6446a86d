"""Snapshots for people and monitors: plain values, no token, no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    fetches_failed: int
    """Fetches that ended with an error for callers."""
    renewals_failed: int
    """Renewals that failed while the token was still good."""
    renewals_postponed: int
    tokens_invalidated: int
    invalidations_ignored: int
    pauses: int
    """429s that made a domain pause."""
    keys_evicted: int
    keys_forgotten: int
    clock_offsets: Mapping[str, float]
    """By domain: seconds by which Okta's clock is ahead of this machine's."""
