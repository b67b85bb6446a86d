"""The rules that the referee checks, with the provider's limits."""

from __future__ import annotations

import enum
from dataclasses import dataclass

MAX_CONCURRENT_REQUESTS = 8
REQUEST_TIMEOUT = 10.0
MAX_WAIT = 60.0
MAX_PAUSE = 90.0
MAX_COOLDOWN = 30.0
ATTEMPTS = 6
MAX_QUEUE_TIME = 600.0
"""Seconds for which a renewal may wait at the gate while every request of its domain hangs."""
MAX_CLOCK_SLEEP = 30.0
"""Seconds between two looks at the clock while the provider waits for an instant."""
FIRST_DAMPING, MAX_DAMPING = 5.0, 300.0
REJECTIONS_AN_HOUR = 20

TOLERANCE = 1e-6
"""Seconds that rounding may cost."""


class Rule(enum.Enum):
    """A rule that always holds."""

    LIFETIME = "no token is returned within its leeway or after its expiry, by either clock"
    SINGLE_FLIGHT = "a key has at most one request at a time, which continues if callers leave"
    UNNOTICED = "while a usable token is held, it is renewed, and no caller waits or gets an error"
    ONE_ERROR = "a failed fetch gives one error to all waiters, and to callers during a cool-down"
    IN_TIME = "no renewal starts too early or too often"
    LIMITS = (
        "a domain's requests are limited, and renewals leave places to callers; none starts in a "
        "pause"
    )
    FRESH_CREDENTIAL = "the secret is requested again for each request"
    REJECTION = "only the rejected token is dropped, and a rejected replacement is damped"
    IDLE = "an unused token is renewed only if it is kept fresh"
    NOTHING_LEFT = "every caller gets a result, and nothing is left running"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule."""

    rule: Rule
    why: str
    key: int | None
    """The number of the key, if the violation is about one key."""
    at: float
    """The event loop's time, in seconds."""

    def __str__(self) -> str:
        """Return a sentence that describes the violation."""
        key = "" if self.key is None else f", key {self.key}"
        return f"broken after {self.at:.3f} s{key}: {self.why} ({self.rule.value})"
