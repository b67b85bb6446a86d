"""The model of a key: what must hold, from what Okta sent and callers reported alone.

It shares no code with the package, and knows nothing of entries, flights and timers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

REQUEST_TIMEOUT, TOTAL_TIMEOUT, MAX_WAIT = 10.0, 30.0, 60.0
ATTEMPTS = 3
MAX_PAUSE, SPREAD = 90.0, 10.0
MAX_COOLDOWN = 30.0
FIRST_DAMPING, MAX_DAMPING = 5.0, 300.0


class Now(NamedTuple):
    """A moment by both clocks, in seconds."""

    boot: float
    wall: float


@dataclass(frozen=True, slots=True)
class Token:
    """A token that Okta sent."""

    value: str
    asked: Now
    """When its request was sent: its lifetime counts from there."""
    lifetime: float
    arrived: float
    replaces_a_rejected_one: bool

    @property
    def lead(self) -> float:
        """How long before its end it may be renewed."""
        return min(max(0.2 * self.lifetime, 10.0), 600.0, self.lifetime / 2)

    @property
    def unusable_at(self) -> float:
        """When it is not handed out any more, in seconds of boot time."""
        return self.asked.boot + self.lifetime - min(5.0, self.lifetime / 20)

    @property
    def last_call(self) -> float:
        """When the last renewal is tried, in seconds of boot time."""
        return self.unusable_at - min(REQUEST_TIMEOUT, self.lead / 3)

    def left(self, now: Now) -> float:
        """Return for how long it may still be handed out, by the stricter clock."""
        late = (now.wall - self.asked.wall) - (now.boot - self.asked.boot)
        return self.unusable_at - now.boot - max(late, 0.0)


@dataclass(slots=True)
class Key:
    """The model."""

    token: Token | None = None
    used: bool = False
    kept: bool = False
    rejected: bool = False
    hopeless: bool = False
    failed_renewals: int = 0
    failed_fetches: int = 0
    renewal_failed_at: float = -math.inf
    fetch_failed_at: float = -math.inf

    def usable(self, now: Now) -> bool:
        """Whether a caller must get the token, at once; if not, nobody may have it."""
        return self.token is not None and self.token.left(now) > 0

    def refused_until(self, share: float) -> float:
        """Return until when callers get the last error at once: U(½, 1) draws the share."""
        if not self.failed_fetches:
            return -math.inf
        return self.fetch_failed_at + share * min(MAX_COOLDOWN, 2.0 ** min(self.failed_fetches, 9))

    def renewal(self, share: float) -> float:
        """Return when the next renewal is tried if the key is in use; U(½, 1) draws the share."""
        token = self.token
        if token is None or (share == 1 and self.hopeless):
            return math.inf
        if not self.failed_renewals:
            return token.asked.boot + token.lifetime - token.lead * (1.5 - share)
        cap = min(60.0, token.lead / 4)
        base = min(1.0, cap / 4)
        again = self.renewal_failed_at + share * min(
            cap, base * 2.0 ** min(self.failed_renewals - 1, 9)
        )
        if self.renewal_failed_at < token.last_call:
            return min(again, token.last_call)
        return again if again <= token.last_call or self.failed_renewals == 1 else math.inf

    def drops(self, value: str, boot: float) -> bool | None:
        """Return whether a reported token is dropped; None if the damping decides."""
        if self.token is None or self.token.value != value:
            return False
        age = boot - self.token.arrived
        if not self.token.replaces_a_rejected_one or age >= MAX_DAMPING:
            return True
        return False if age < FIRST_DAMPING else None

    def arrives(self, token: Token) -> None:
        """Take a token in."""
        self.token, self.used, self.rejected, self.hopeless = token, False, False, False
        self.failed_renewals = self.failed_fetches = 0
