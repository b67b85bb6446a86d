"""What the referee knows of each token, key and domain."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

from okta_tokens import TokenSource
from okta_tokens.errors import FetchError
from tests.simulation.rules import REQUEST_TIMEOUT
from tests.simulation.script import KeyPlan


@dataclass
class HeldToken:
    """A token that the provider received, and the instants that follow from its lifetime.

    Instants are seconds of boot time.
    """

    value: str
    sent_boot: float
    sent_wall: float
    lifetime: float
    received_at: float
    replaces_rejected: bool | None
    """Whether it replaces a rejected token; `None` if the provider may have forgotten that one."""
    used: bool = False
    failed_renewals: int = 0
    retry_after: float = -math.inf
    """The instant before which a failed renewal may not be tried again."""
    last_attempt_ended: float = -math.inf
    not_retryable: bool = False
    """Whether the last renewal failed by an error that is not retryable."""
    maybe_dropped: bool = False
    """Whether the wall clock once said that the token had expired, so that it may be dropped."""

    @cached_property
    def leeway(self) -> float:
        """Seconds before the expiry in which the token is not returned."""
        return min(5.0, self.lifetime / 20)

    @cached_property
    def lead(self) -> float:
        """Seconds before the expiry at which a renewal may start."""
        return min(max(0.2 * self.lifetime, 10.0), 600.0, self.lifetime / 2)

    @cached_property
    def backoff(self) -> tuple[float, float]:
        """The longest and the shortest wait after a failed renewal, in seconds."""
        cap = min(60.0, self.lead / 4)
        return cap, min(1.0, cap / 4)

    @cached_property
    def max_failures(self) -> float:
        """How often its renewal may fail: 13 to 29 times.

        The waits double up to the longest one, and then last at least half of it. Three failures
        more are the first one, the last one, and one for rounding.
        """
        cap, base = self.backoff
        return math.log2(cap / base) + self.lead / (cap / 2) + 3

    @cached_property
    def refresh_from(self) -> float:
        """The earliest instant of its renewal."""
        return self.sent_boot + self.lifetime - self.lead

    @cached_property
    def unusable_at(self) -> float:
        """The instant from which it is not returned."""
        return self.sent_boot + self.lifetime - self.leeway

    @cached_property
    def last_attempt_at(self) -> float:
        """The instant of the last renewal before it becomes unusable."""
        return self.unusable_at - min(REQUEST_TIMEOUT, self.lead / 3)

    def remaining(self, boot: float, wall: float) -> float:
        """Return the seconds until it expires, by the clock that is further ahead."""
        return min(self.sent_boot - boot, self.sent_wall - wall) + self.lifetime


@dataclass(slots=True)
class ServerGroup:
    """A domain's org authorization server, or its custom ones: Okta limits each group separately.

    Instants are seconds of boot time.
    """

    paused_until: float = -math.inf
    """The end of the shortest pause that Okta's 429s allow."""
    pause_ended: float = -math.inf
    """The end of the longest pause that the provider may make of them."""
    nonce: int | None = None
    """The last nonce that it returned."""
    nonce_received_at: float = math.inf
    """When the provider received that nonce for the first time."""


@dataclass(slots=True)
class DomainState:
    """What the referee knows of a domain."""

    server_groups: dict[bool, ServerGroup] = field(
        default_factory=lambda: {True: ServerGroup(), False: ServerGroup()}
    )
    """The org server by `True`, the custom servers by `False`."""
    attempting: set[int] = field(default_factory=set)
    """The numbers of the keys with an attempt under way."""
    saturated_at: float = -math.inf
    """When a renewal may last have had to wait at the gate, in seconds of boot time."""


@dataclass(slots=True)
class KeyState:
    """What the referee knows of a key.

    Instants are seconds of boot time.
    """

    plan: KeyPlan
    domain: DomainState
    source: TokenSource | None = None
    token: HeldToken | None = None
    dropped_at: float = -math.inf
    """When its last token was dropped."""
    waiters: int = 0
    wanted: bool = False
    """Whether a caller waits, or has waited, for the flight under way."""
    attempt_started: float | None = None
    last_secret: str = ""
    """The last secret that the callable returned."""
    refused_status: int = 0
    """The status of a refusal that allows an immediate retry; 0 if there was none."""
    refused_at: float = -math.inf
    retried_statuses: set[int] = field(default_factory=set)
    """Such statuses in the present attempt: each allows one immediate retry."""
    retrying: bool = False
    """Whether the secret was requested for an immediate retry that has not been sent."""
    sent_at: tuple[float, float] = (0.0, 0.0)
    """Boot time and wall time of the last request."""
    failed_attempts: int = 0
    """Failed attempts of the present flight."""
    failed_fetches: int = 0
    """Consecutive failed fetches."""
    fetch_failed_at: float = -math.inf
    """When the last fetch failed."""
    no_request_before: float = -math.inf
    """The earliest end of the cool-down."""
    attempt_failed_at: float = -math.inf
    """When the last attempt failed."""
    rejected: bool = False
    """Whether a rejected token waits for its replacement."""
    rejections: list[float] = field(default_factory=list)
    errors: list[FetchError] = field(default_factory=list)
    """The errors that callers got at `errors_at`."""
    errors_at: float = -math.inf

    @property
    def server_group(self) -> ServerGroup:
        """The group of its authorization server."""
        return self.domain.server_groups[self.plan.org_server]
