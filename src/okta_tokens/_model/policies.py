"""When to renew, retry and give up: pure functions of plain values, in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields

from okta_tokens._runtime.arguments import configuration_error, number_of
from okta_tokens._runtime.record import Record
from okta_tokens.errors import ConfigurationError

Random = Callable[[], float]
"""Returns a random number from 0.0 to 1.0, as `random.random` does."""


_MIN_LIFETIME = 1.0
"""Seconds. Tokens that live shorter are requested once in this time."""


class RefreshPolicy(Record):
    """When a token is renewed, and how soon a failed renewal is repeated.

    Everything scales with the lifetime L, so no fixed buffer consumes a short lifetime. The draws U
    are uniform; all times are in seconds:

        lead      = min(max(lead_fraction·L, min_lead), max_lead, L/2)
        refresh   = expiry - max((1 - U(0, ½))·lead, floor)         drawn once per token
        floor     = min(2·response time, L/2)             as the domain takes for token responses
        refresh   = request + 1                           if L < 1
        leeway    = min(max_leeway, L/20)
        unusable  = expiry - leeway
        backoff k = U(½, 1)·min(cap, base·2^(k-1))        cap = min(max_backoff, lead/4)
                                                          base = min(1, cap/4)

    A token that lives less than a second expires before `refresh`. Callers get it while it is
    usable, then wait until `refresh`. So no lifetime makes a key request two tokens within half a
    second, unless the first one is rejected.

    Args:
        lead_fraction: The share of the lifetime by which the renewal precedes expiry; less than 1.
        min_lead: The shortest lead, in seconds.
        max_lead: The longest lead, in seconds.
        max_leeway: The longest leeway, in seconds. Callers do not get a token within its leeway, so
            it does not expire on its way to an API.
        max_backoff: The longest wait between two renewals of one token, in seconds.

    Raises:
        ConfigurationError: If a value is not a positive, finite number, or two values contradict
            each other.
    """

    lead_fraction: float = 0.2
    min_lead: float = 10.0
    max_lead: float = 600.0
    max_leeway: float = 5.0
    max_backoff: float = 60.0

    def _error(self) -> ConfigurationError | None:
        """Return which values are invalid, or make a renewal too late."""
        problems = _invalid_numbers(self)
        if not problems:
            if self.lead_fraction >= 1:
                problems.append("lead_fraction must be less than 1")
            if self.min_lead > self.max_lead:
                problems.append("min_lead must not exceed max_lead")
            # For longer lifetimes the leeway stays the same and the lead grows. For shorter ones
            # the leeway shrinks faster than the lead. So if the renewal precedes the leeway for
            # this lifetime, it does for every lifetime.
            worst = 20 * self.max_leeway
            if self.lead(worst) / 2 <= self.leeway(worst):
                problems.append(
                    f"max_leeway must be less than half of the lead of a token of {worst:g} s; "
                    "reduce max_leeway, or raise lead_fraction, min_lead or max_lead"
                )
        return configuration_error("RefreshPolicy", problems) if problems else None

    def lead(self, lifetime: float) -> float:
        """Return the seconds before expiry from which the renewal may be due."""
        wanted = max(self.lead_fraction * lifetime, self.min_lead)
        return min(wanted, self.max_lead, lifetime / 2)

    def leeway(self, lifetime: float) -> float:
        """Return the seconds before expiry from which callers do not get the token."""
        return min(self.max_leeway, lifetime / 20)

    def refresh_after(self, lifetime: float, random: Random, response_time: float = 0.0) -> float:
        """Return the age of the token, in seconds, at which its renewal is due.

        The age is drawn from the first half of the lead, so processes that started together do not
        renew together. Where responses take long, the renewal starts twice that time before expiry,
        but not in the first half of the lifetime. For a lifetime of less than a second the age is a
        second.

        Args:
            lifetime: The lifetime of the token, in seconds.
            random: Draws from the unit interval.
            response_time: How long the latest token responses of the domain took, in seconds.
        """
        if lifetime < _MIN_LIFETIME:
            return _MIN_LIFETIME
        lead = self.lead(lifetime) * (1 - random() / 2)
        return lifetime - max(lead, min(2 * response_time, lifetime / 2))

    def backoff(self, failures: int, lifetime: float, random: Random) -> float:
        """Return the wait, in seconds, after the k-th consecutive failed renewal."""
        cap = min(self.max_backoff, self.lead(lifetime) / 4)
        return _jittered_doubling(min(1.0, cap / 4), cap, failures, random)

    def final_call(self, lifetime: float, request_timeout: float) -> float:
        """Return the seconds before the token becomes unusable at which the last renewal starts."""
        return min(request_timeout, self.lead(lifetime) / 3)

    def spread(self, lifetime: float, random: Random) -> float:
        """Return the seconds after a pause until a renewal starts; they spread the renewals."""
        return random() * min(10.0, (self.lead(lifetime) or self.min_lead) / 8)


class RetryPolicy(Record):
    """How often a fetch is attempted, and how long callers wait for it.

    The draws U are uniform; all times are in seconds:

        delay k     = U(½, 1)·min(5, 2^(k-1)/4)           before attempt k + 1 of a flight
        cool-down k = U(½, 1)·min(max_cooldown, 2^k)      after the k-th consecutive failed fetch

    Args:
        attempts: The largest number of requests of a fetch while a caller waits; a whole number. A
            renewal makes one.
        request_timeout: The time for one request, in seconds, from the call for the secret to the
            end of the response.
        total_timeout: The time for all attempts of a fetch, in seconds. It starts when the gate
            admits the fetch, and stops while the fetch waits for a place or the end of a pause.
        max_wait: The longest time that a caller waits, in seconds, including gate and pause.
        max_pause: The longest pause that a 429 or a `Retry-After` may cause, in seconds (Okta:
            "Rate limits").
        max_cooldown: The longest time, in seconds, during which callers get the error of the last
            fetch at once, without another request.

    Raises:
        ConfigurationError: If a value is not a positive, finite number, or two values contradict
            each other.
    """

    attempts: int = 6
    request_timeout: float = 10.0
    total_timeout: float = 30.0
    max_wait: float = 60.0
    max_pause: float = 90.0
    max_cooldown: float = 30.0

    def _error(self) -> ConfigurationError | None:
        """Return which values are invalid or contradict each other."""
        problems = _invalid_numbers(self)
        if not problems:
            if self.attempts != int(self.attempts):
                problems.append("attempts must be a whole number")
            if self.request_timeout > self.total_timeout:
                problems.append("request_timeout must not exceed total_timeout")
        return configuration_error("RetryPolicy", problems) if problems else None

    def delay(self, attempt: int, random: Random) -> float:
        """Return the wait, in seconds, after the k-th failed attempt of a flight."""
        return _jittered_doubling(0.25, 5.0, attempt, random)

    def cooldown(self, failures: int, random: Random) -> float:
        """Return the seconds during which later callers get the error of the k-th failed fetch."""
        return _jittered_doubling(2.0, self.max_cooldown, failures, random)


def _jittered_doubling(base: float, cap: float, times: int, random: Random) -> float:
    """Return U(½, 1)·min(cap, base·2^(times-1)). The exponent is bounded to avoid an overflow."""
    return (1 + random()) / 2 * min(cap, base * 2.0 ** min(times - 1, 64))


def _invalid_numbers(policy: RefreshPolicy | RetryPolicy) -> list[str]:
    """Return which values are no positive numbers; replace the others by exact numbers."""
    problems = []
    for field in fields(policy):
        number = number_of(getattr(policy, field.name))
        # Half of a number below the smallest normal float may be zero.
        if number is None or number < sys.float_info.min:
            problems.append(f"{field.name} must be a positive, finite number")
        else:
            object.__setattr__(policy, field.name, number)
    return problems
