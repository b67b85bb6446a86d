"""The referee's books: the rules, and what is known of each key."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from functools import cached_property

from okta_tokens import TokenSource
from okta_tokens.errors import FetchError
from tests.simulation.script import KeyPlan

PLACES = 8
REQUEST_TIMEOUT = 10.0
MAX_WAIT = 60.0
MAX_PAUSE = 90.0
MAX_COOLDOWN = 30.0
ATTEMPTS = 3
QUEUE = 600.0
"""Seconds for which a renewal may wait for a place while every request of its domain hangs."""
MAX_NAP = 30.0
FIRST_DAMPING, MAX_DAMPING = 5.0, 300.0
REJECTIONS_AN_HOUR = 20

A_MOMENT = 1e-6
"""Seconds: what rounding may cost."""


class Rule(enum.Enum):
    """What always holds."""

    LIFETIME = "no token is handed out in its last moments, by either clock"
    SINGLE_FLIGHT = "one request at a time for a key; it goes on when callers leave"
    UNNOTICED = "while a usable token is held nobody waits, nobody gets an error, and it is renewed"
    ONE_ERROR = "a failed fetch is one error for all who wait, and for a moment for all who come"
    IN_TIME = "no renewal comes early, nor too often"
    LIMITS = "so many requests at once for a domain, half of them renewals, and none in a pause"
    ANEW = "the secret is asked for again for each request"
    REJECTION = "a rejected token is dropped, that one only, and not again and again"
    IDLE = "what nobody uses is not renewed, but for what is kept fresh"
    NOTHING_LEFT = "everyone is answered, and nothing is left behind"


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken rule."""

    rule: Rule
    why: str
    key: int | None
    """The number of the key, if it is about one."""
    at: float
    """When, in seconds of the event loop's time."""

    def __str__(self) -> str:
        """Return it as a sentence or two."""
        where = "" if self.key is None else f", key {self.key}"
        return f"broken after {self.at:.3f} s{where}: {self.why} ({self.rule.value})"


@dataclass
class Held:
    """A token that arrived, and the instants that follow from it."""

    value: str
    sent_boot: float
    sent_wall: float
    lifetime: float
    arrived: float
    """When, in seconds of boot time."""
    replaces_a_rejected_one: bool | None
    """None if the provider may have forgotten the rejected one."""
    used: bool = False
    failures: int = 0
    """Renewals of it that failed."""
    try_after: float = -math.inf
    """Before this no renewal may be tried again, in seconds of boot time."""
    last_try_ended: float = -math.inf
    hopeless: bool = False
    """Whether the last error was one that no retry mends."""
    perhaps_forgotten: bool = False
    """Whether the wall clock once said that it was over: it may have been dropped since."""

    @cached_property
    def leeway(self) -> float:
        """Seconds before its end in which it is not handed out."""
        return min(5.0, self.lifetime / 20)

    @cached_property
    def lead(self) -> float:
        """Seconds before its end at which it may be renewed."""
        return min(max(0.2 * self.lifetime, 10.0), 600.0, self.lifetime / 2)

    @cached_property
    def backoff(self) -> tuple[float, float]:
        """The longest wait between two renewals of which the first failed, and the shortest."""
        cap = min(60.0, self.lead / 4)
        return cap, min(1.0, cap / 4)

    @cached_property
    def most_failures(self) -> float:
        """How often its renewal may fail: while the waits double, then at half of the longest.

        And at first, at last, and once for what was rounded: 13 to 29 times for one token.
        """
        cap, base = self.backoff
        return math.log2(cap / base) + self.lead / (cap / 2) + 3

    @cached_property
    def refresh_from(self) -> float:
        """The earliest instant of its renewal, in seconds of boot time."""
        return self.sent_boot + self.lifetime - self.lead

    @cached_property
    def refresh_until(self) -> float:
        """The latest instant of its renewal, in seconds of boot time."""
        return self.sent_boot + self.lifetime - self.lead / 2

    @cached_property
    def unusable_at(self) -> float:
        """When it is not handed out any more, in seconds of boot time."""
        return self.sent_boot + self.lifetime - self.leeway

    @cached_property
    def final_try(self) -> float:
        """When the last renewal is tried, in seconds of boot time."""
        return self.unusable_at - min(REQUEST_TIMEOUT, self.lead / 3)

    def left(self, boot: float, wall: float) -> float:
        """Return the seconds until it expires, by the stricter clock."""
        return min(self.sent_boot - boot, self.sent_wall - wall) + self.lifetime


@dataclass(slots=True)
class Side:
    """One of the two halves of a domain that Okta limits apart."""

    paused_until: float = -math.inf
    """The least that Okta asked for, in seconds of boot time."""
    pause_ended: float = -math.inf
    """The most that it can have been taken for."""
    nonce: int | None = None
    """The last one that it gave out."""
    nonce_told_at: float = math.inf
    """When the provider first learnt it, in seconds of boot time."""


@dataclass(slots=True)
class Place:
    """A domain, as far as the provider's own limits go."""

    sides: dict[bool, Side] = field(default_factory=lambda: {True: Side(), False: Side()})
    inside: set[int] = field(default_factory=set)
    """The keys for which an attempt is under way."""
    crowded_at: float = -math.inf
    """When renewals last had to wait for a place, in seconds of boot time."""


@dataclass(slots=True)
class Key:
    """What the referee knows of a key."""

    plan: KeyPlan
    place: Place
    source: TokenSource | None = None
    token: Held | None = None
    lost_at: float = -math.inf
    """When its last token was dropped, in seconds of boot time."""
    waiting: int = 0
    wanted: bool = False
    """Whether somebody waits, or has waited, for the flight under way."""
    attempt_began: float | None = None
    secret: str = ""
    """What the vault said last."""
    refused: int = 0
    """The status by which Okta refused a request that may be mended, 0 if it did not."""
    refused_at: float = -math.inf
    """When that was, in seconds of boot time."""
    mended: set[int] = field(default_factory=set)
    """Such statuses in the present attempt: each is mended once."""
    asked_again: bool = False
    """Whether the vault was asked once more because of that, and nothing was sent since."""
    sent: tuple[float, float] = (0.0, 0.0)
    ended_attempts: int = 0
    """Attempts of the present flight that have failed."""
    failures: int = 0
    """Failed fetches in a row."""
    failed_at: float = -math.inf
    """When the last fetch failed, in seconds of boot time."""
    quiet_until: float = -math.inf
    """Until when at least no request may be made, in seconds of boot time."""
    last_failure: float = -math.inf
    rejected: bool = False
    """Whether a rejected token waits for its replacement."""
    rejections: list[float] = field(default_factory=list)
    errors: list[FetchError] = field(default_factory=list)
    """What callers got at `errors_at`."""
    errors_at: float = -math.inf

    @property
    def side(self) -> Side:
        """Its half of its domain."""
        return self.place.sides[self.plan.org_server]
