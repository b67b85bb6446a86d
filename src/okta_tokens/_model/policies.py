"""When to renew, when to retry, when to give up: pure functions of plain values, in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields

from okta_tokens.errors import ConfigurationError

Random = Callable[[], float]
"""Draws from the unit interval, as `random.random` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """When a token is renewed, and how often a renewal that fails is tried again.

    Everything scales with the lifetime L, so that no fixed buffer swallows a short one::

        lead      = min(max(lead_fraction·L, min_lead), max_lead, L/2)
        refresh   = expiry - lead + U(0, ½)·lead          drawn once per token
        leeway    = min(max_leeway, L/20)
        unusable  = expiry - leeway
        backoff k = U(½, 1)·min(cap, base·2^(k-1))        cap = min(max_backoff, lead/4)
                                                          base = min(1, cap/4)

    Args:
        lead_fraction: The share of the lifetime by which the renewal precedes expiry.
        min_lead: The least lead, in seconds.
        max_lead: The greatest lead, in seconds.
        max_leeway: The greatest leeway, in seconds: the last moments of a token's life, in which it
            is not handed out any more, so that it does not expire on its way.
        max_backoff: The longest wait between two attempts to renew, in seconds.

    Raises:
        ConfigurationError: If a value is no positive number, or if they contradict each other.
    """

    lead_fraction: float = 0.2
    min_lead: float = 10.0
    max_lead: float = 600.0
    max_leeway: float = 5.0
    max_backoff: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what would renew too late or not at all."""
        problems = _unusable_numbers(self)
        if not problems:
            if self.lead_fraction >= 1:
                problems.append("lead_fraction must be less than 1")
            if self.min_lead > self.max_lead:
                problems.append("min_lead must not exceed max_lead")
            # Beyond this lifetime the leeway stays and the lead grows, below it the leeway shrinks
            # faster than the lead: if the renewal precedes the leeway here, it does everywhere.
            worst = 20 * self.max_leeway
            if self.lead(worst) / 2 <= self.leeway(worst):
                problems.append("max_leeway must be less than half of the lead it goes with")
        _raise_if_any("RefreshPolicy", problems)

    def lead(self, lifetime: float) -> float:
        """Return how long before expiry the renewal falls due, at the earliest."""
        wanted = max(self.lead_fraction * lifetime, self.min_lead)
        return min(wanted, self.max_lead, lifetime / 2)

    def leeway(self, lifetime: float) -> float:
        """Return how long before expiry the token is not handed out any more."""
        return min(self.max_leeway, lifetime / 20)

    def refresh_after(self, lifetime: float, random: Random) -> float:
        """Return the token's age at which its renewal falls due.

        It is drawn from the first half of the lead, so that a fleet which started together does not
        renew together.
        """
        return lifetime - self.lead(lifetime) * (1 - random() / 2)

    def backoff(self, failures: int, lifetime: float, random: Random) -> float:
        """Return the wait after the k-th failed renewal in a row."""
        cap = min(self.max_backoff, self.lead(lifetime) / 4)
        return _jittered_doubling(min(1.0, cap / 4), cap, failures, random)

    def final_call(self, lifetime: float, request_timeout: float) -> float:
        """Return how long before the token becomes unusable the last renewal is tried."""
        return min(request_timeout, self.lead(lifetime) / 3)

    def spread(self, lifetime: float, random: Random) -> float:
        """Return how far past the end of a pause a renewal moves, lest all come at once."""
        return random() * min(10.0, (self.lead(lifetime) or self.min_lead) / 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How hard a fetch tries, and how long callers wait for it.

    ::

        delay k     = U(½, 1)·min(5, 2^(k-1)/4)           before attempt k + 1 of a flight
        cool-down k = U(½, 1)·min(max_cooldown, 2^k)      after the k-th failed fetch in a row

    Args:
        attempts: Requests that a fetch with somebody waiting makes at most; a renewal makes one.
        request_timeout: For one request, from asking for the secret to the end of the answer, in
            seconds.
        total_timeout: For all attempts of a fetch, in seconds; it starts when the gate admits the
            fetch, and stands still while a place or the end of a pause is waited for.
        max_wait: What a caller waits in all, gate and pause included, in seconds.
        max_pause: The longest pause that a 429 may impose, in seconds.
        max_cooldown: The longest time for which callers get the error of the last fetch at once,
            without another request, in seconds.

    Raises:
        ConfigurationError: If a value is no positive number, or if they contradict each other.
    """

    attempts: int = 3
    request_timeout: float = 10.0
    total_timeout: float = 30.0
    max_wait: float = 60.0
    max_pause: float = 90.0
    max_cooldown: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what could never hold."""
        problems = _unusable_numbers(self)
        if not problems:
            if self.attempts != int(self.attempts):
                problems.append("attempts must be a whole number")
            if self.request_timeout > self.total_timeout:
                problems.append("request_timeout must not exceed total_timeout")
        _raise_if_any("RetryPolicy", problems)

    def delay(self, attempt: int, random: Random) -> float:
        """Return the wait after a flight's k-th failed attempt."""
        return _jittered_doubling(0.25, 5.0, attempt, random)

    def cooldown(self, failures: int, random: Random) -> float:
        """Return for how long the k-th failed fetch in a row answers later callers."""
        return _jittered_doubling(2.0, self.max_cooldown, failures, random)


def _jittered_doubling(base: float, cap: float, times: int, random: Random) -> float:
    """Return U(½, 1)·min(cap, base·2^(times-1)); the exponent is bounded lest it overflow."""
    return (1 + random()) / 2 * min(cap, base * 2.0 ** min(times - 1, 64))


def _unusable_numbers(policy: RefreshPolicy | RetryPolicy) -> list[str]:
    problems = []
    for field in fields(policy):
        value = getattr(policy, field.name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # What is less than the least normal float would be nothing once it is halved.
        if not number or not sys.float_info.min <= value <= sys.float_info.max:
            problems.append(f"{field.name} must be a positive, finite number")
    return problems


def _raise_if_any(policy: str, problems: list[str]) -> None:
    if problems:
        message = f"{policy}: {'; '.join(problems)}"
        raise ConfigurationError(message)
