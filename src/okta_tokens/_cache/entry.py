"""A cache entry and its life: absent, fresh, due, expired, cooling down."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any

from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Instant
from okta_tokens._runtime.schedule import Timer
from okta_tokens.errors import TokenProviderError
from okta_tokens.events import Reason

FOR_RENEWAL = 1
FOR_EVICTION = 2
USED = FOR_RENEWAL | FOR_EVICTION
"""Two bits that a use sets with one store. Renewal and eviction each clear their own bit."""

MAX_WINDOW = 1.0
"""Seconds for which the wall clock alone decides before both clocks are compared again."""

MIN_DAMPING = 5.0
MAX_DAMPING = 300.0
"""Seconds for which the replacement of a rejected token is kept although it is rejected too."""

_NEVER = math.inf
_CLOSED = -math.inf


class State(enum.Enum):
    """The state of an entry at a moment."""

    ABSENT = "absent"
    """No token is held."""
    FRESH = "fresh"
    """The token is handed out."""
    DUE = "due"
    """The token is handed out, and its renewal is due."""
    EXPIRED = "expired"
    """The token is past its leeway and is not handed out."""
    COOLING_DOWN = "cooling down"
    """No usable token is held, and callers get the error of the last fetch."""


class Damping:
    """What a key remembers about rejections, so that an API that rejects every token costs little.

    A token that replaced a rejected one, and is rejected itself within the damping window, is kept:
    an API that rejects both would reject a third one. The window doubles each time that such a
    token is dropped after the window, until a token lives for the longest window without a
    rejection.
    """

    __slots__ = ("_landed_at", "_replacement", "ignored", "is_rejected", "seconds")

    def __init__(self) -> None:
        self.seconds = MIN_DAMPING
        """The length of the window."""
        self.ignored = 0
        """How many rejections of the present token were ignored."""
        self.is_rejected = False
        """Whether the last token was rejected and dropped."""
        self._landed_at = 0.0
        self._replacement = False

    def accept(self, now: Instant) -> None:
        """Record a new token.

        Args:
            now: The present moment.
        """
        self._replacement = self.is_rejected or self.ignored > 0
        self.is_rejected, self.ignored = False, 0
        self._landed_at = now.boot

    def reject(self, now: Instant) -> float:
        """Record a rejection of the present token.

        Args:
            now: The present moment.

        Returns:
            0.0 if the token must be dropped, otherwise the seconds for which it is kept.
        """
        age = now.boot - self._landed_at
        if self._replacement and age < self.seconds:
            self.ignored += 1
            return self.seconds - age
        again = self._replacement and (self.ignored > 0 or age < MAX_DAMPING)
        self.seconds = min(2 * self.seconds, MAX_DAMPING) if again else MIN_DAMPING
        self.is_rejected = True
        return 0.0

    def carry_over(self, seconds: float) -> None:
        """Treat the next token as the replacement of one that another process rejected.

        Args:
            seconds: The length of the window in that process.
        """
        self.seconds = max(self.seconds, min(seconds, MAX_DAMPING))
        self.is_rejected = True


class Entry(Timer):
    """What the cache holds for a key: the token, its two instants, what failed, when to try again.

    Only plain functions on the provider's event loop change an entry, never across an await. A hit
    reads three fields and stores one. Within the entry's *window* the wall clock alone decides. A
    jump of the wall clock in either direction leaves the window.

    An entry is the timer of what the manager decides next about it.
    """

    __slots__ = (
        "_damping",
        "adopt_after",
        "closes",
        "detached",
        "error",
        "failed_fetches",
        "failed_renewals",
        "failing_since",
        "granted",
        "kept_fresh",
        "key",
        "lifetime",
        "opens",
        "refresh_at",
        "refuse_until",
        "renew_after",
        "token",
        "used",
    )

    def __init__(self, key: TokenKey) -> None:
        self.instant: float | None = None
        self.callback: Callable[[Any], object] | None = None
        self.key: TokenKey = key
        self.token: AccessToken | None = None
        self.opens: float = _NEVER
        """The beginning of the window, in seconds of wall time."""
        self.closes: float = _CLOSED
        """The end of the window, in seconds of wall time."""
        self.used: int = 0
        self.kept_fresh: bool = False
        self.detached: bool = False
        """True once the cache has dropped the entry: its sources must look the key up again."""
        self.lifetime: float = 0.0
        self.refresh_at: float = _NEVER
        """When the renewal is due, in seconds of boot time."""
        self.renew_after: float = _CLOSED
        """Before this instant no renewal starts, in seconds of boot time."""
        self.refuse_until: float = _CLOSED
        """The end of the cool-down, in seconds of boot time."""
        self.adopt_after: float = _CLOSED
        """Before this instant the store is not read during the cool-down, in seconds of boot
        time."""
        self.failed_renewals: int = 0
        """How many renewals have failed since the token arrived."""
        self.failed_fetches: int = 0
        """How many fetches have failed in a row."""
        self.failing_since: float = _NEVER
        """When the first of these fetches and renewals failed, in seconds of boot time."""
        self.granted: str = key.scope
        """The scopes of the last token, joined by spaces; at first, the requested ones."""
        self.error: TokenProviderError | None = None
        self._damping: Damping | None = None

    def state(self, now: Instant) -> State:
        """Return the state, a pure function of the entry and the moment.

        Args:
            now: The moment.
        """
        token = self.token
        # Both, since rounding must not let a token outlive the instant at which its timer fires.
        if token is not None and now.boot < self.unusable_at and token._usable_for(*now) > 0:
            return State.FRESH if now.boot < self.refresh_at else State.DUE
        if now.boot < self.refuse_until:
            return State.COOLING_DOWN
        return State.ABSENT if token is None else State.EXPIRED

    def open_window(self, now: Instant) -> None:
        """Let the wall clock alone decide hits for up to a second in which nothing can change.

        Args:
            now: The present moment, at which the token must be usable.
        """
        assert self.token is not None  # noqa: S101 - narrows the type
        seconds = min(MAX_WINDOW, self.token._leeway, self.token._usable_for(*now))
        for instant in (self.refresh_at, self.renew_after):
            if now.boot < instant:
                seconds = min(seconds, instant - now.boot)
        self.opens = now.wall
        self.closes = now.wall + seconds

    def close_window(self) -> None:
        """Make the next call compare both clocks."""
        self.opens = _NEVER
        self.closes = _CLOSED

    def accept(
        self, token: AccessToken, *, lifetime: float, refresh_at: float, now: Instant
    ) -> None:
        """Hold a new token, and forget earlier failures.

        Args:
            token: The token.
            lifetime: Its lifetime, in seconds.
            refresh_at: When its renewal is due, in seconds of boot time.
            now: The present moment.
        """
        self.opens, self.closes = _NEVER, _CLOSED
        self.token = token
        self.lifetime = lifetime
        self.refresh_at = refresh_at
        self.renew_after = self.refuse_until = _CLOSED
        self.failed_renewals = self.failed_fetches = 0
        self.failing_since = _NEVER
        self.error = None
        self.used &= ~FOR_RENEWAL
        if self._damping is not None:
            self._damping.accept(now)

    def reject(self, value: str, now: Instant) -> float | None:
        """Drop the token if it is the rejected one, unless damping keeps it.

        Args:
            value: The value of the rejected token.
            now: The present moment.

        Returns:
            None if the entry holds another token or none, 0.0 if the token was dropped, otherwise
            the seconds for which it is kept.
        """
        if self.token is None or self.token.value != value:
            return None
        if self._damping is None:  # most entries never need one
            self._damping = Damping()
        kept = self._damping.reject(now)
        if not kept:
            self.drop_token()
        return kept

    def carry_over(self, seconds: float) -> None:
        """Let the damping begin with the next token: another process rejected the last one.

        Args:
            seconds: How long the replacement is kept if it is rejected too.
        """
        if self._damping is None:
            self._damping = Damping()
        self._damping.carry_over(seconds)

    def fetch_reason(self) -> Reason:
        """Return why a token must be fetched if no usable one is held."""
        if self._damping is not None and self._damping.is_rejected:
            return "rejected"
        return "missing" if self.token is None else "expired"

    @property
    def failures(self) -> int:
        """How many fetches and renewals have failed in a row."""
        return self.failed_fetches + self.failed_renewals

    @property
    def unusable_at(self) -> float:
        """When the token becomes unusable, in seconds of boot time; -inf without a token."""
        token = self.token
        return _CLOSED if token is None else token._boot_expiry - token._leeway

    @property
    def ignored(self) -> int:
        """How many rejections of the present token were ignored."""
        return 0 if self._damping is None else self._damping.ignored

    @property
    def damping(self) -> float:
        """How long the replacement of the last rejected token is kept, in seconds."""
        return MIN_DAMPING if self._damping is None else self._damping.seconds

    def drop_token(self) -> None:
        """Drop the token."""
        self.close_window()
        self.token = None
        self.refresh_at = _NEVER

    def detach(self) -> None:
        """Become useless: a source that holds the entry must look the key up again."""
        self.detached = True
        self.drop_token()
