"""A model of one key, computed only from the responses of Okta and the reports of callers.

The model shares no code with the package and has no cache entries, flights and timers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

REQUEST_TIMEOUT, TOTAL_TIMEOUT, MAX_WAIT = 10.0, 30.0, 60.0
ATTEMPTS = 6
MAX_PAUSE, SPREAD = 90.0, 10.0
MAX_COOLDOWN = 30.0
FIRST_DAMPING, MAX_DAMPING = 5.0, 300.0


class Now(NamedTuple):
    """An instant by both clocks, in seconds."""

    boot: float
    wall: float


@dataclass(frozen=True, slots=True)
class Token:
    """A token that Okta sent."""

    value: str
    requested: Now
    """When the request was sent. The lifetime counts from there."""
    lifetime: float
    arrived: float
    replaces_rejected: bool
    slowest: float
    """How long a token response took at most until then, in seconds."""

    @property
    def floor(self) -> float:
        """How long before its expiry the token may be renewed because of slow responses."""
        return min(2 * min(self.slowest, REQUEST_TIMEOUT), self.lifetime / 2)

    @property
    def lead(self) -> float:
        """How long before its expiry the token may be renewed, in seconds."""
        return min(max(0.2 * self.lifetime, 10.0), 600.0, self.lifetime / 2)

    @property
    def unusable_at(self) -> float:
        """When the leeway begins, in seconds of boot time."""
        return self.requested.boot + self.lifetime - min(5.0, self.lifetime / 20)

    @property
    def last_renewal_at(self) -> float:
        """When the last renewal is attempted, in seconds of boot time."""
        return self.unusable_at - min(REQUEST_TIMEOUT, self.lead / 3)

    def remaining(self, now: Now) -> float:
        """Return for how many seconds the token is usable, by the stricter clock."""
        drift = (now.wall - self.requested.wall) - (now.boot - self.requested.boot)
        return self.unusable_at - now.boot - max(drift, 0.0)


@dataclass(slots=True)
class Key:
    """The state of a key in the model."""

    token: Token | None = None
    used: bool = False
    kept_fresh: bool = False
    rejected: bool = False
    permanent: bool = False
    failed_renewals: int = 0
    failed_fetches: int = 0
    renewal_failed_at: float = -math.inf
    fetch_failed_at: float = -math.inf

    def usable(self, now: Now) -> bool:
        """Return whether a caller must get the token at once. If not, no caller may get it."""
        return self.token is not None and self.token.remaining(now) > 0

    def cooldown_end(self, share: float) -> float:
        """Return when the cool-down ends; the share of its length is drawn from U(½, 1)."""
        if not self.failed_fetches:
            return -math.inf
        return self.fetch_failed_at + share * min(MAX_COOLDOWN, 2.0 ** min(self.failed_fetches, 9))

    def renewal_at(self, share: float) -> float:
        """Return when a used key is renewed; the share of its wait is drawn from U(½, 1)."""
        token = self.token
        if token is None or (share == 1 and self.permanent):
            return math.inf
        if not self.failed_renewals:
            earliest = max(token.lead, token.floor) if share < 1 else token.lead / 2
            return token.requested.boot + token.lifetime - earliest
        cap = min(60.0, token.lead / 4)
        base = min(1.0, cap / 4)
        retry_at = self.renewal_failed_at + share * min(
            cap, base * 2.0 ** min(self.failed_renewals - 1, 9)
        )
        if self.renewal_failed_at < token.last_renewal_at:
            return min(retry_at, token.last_renewal_at)
        return (
            retry_at if retry_at <= token.last_renewal_at or self.failed_renewals == 1 else math.inf
        )

    def drops(self, value: str, boot: float) -> bool | None:
        """Return whether a rejected token is dropped; `None` if the random damping decides."""
        if self.token is None or self.token.value != value:
            return False
        age = boot - self.token.arrived
        if not self.token.replaces_rejected or age >= MAX_DAMPING:
            return True
        return False if age < FIRST_DAMPING else None

    def store(self, token: Token) -> None:
        """Replace the token."""
        self.token, self.used, self.rejected, self.permanent = token, False, False, False
        self.failed_renewals = self.failed_fetches = 0
