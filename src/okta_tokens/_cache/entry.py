"""An entry of the cache, and its life: absent, fresh, due, expired, cooling down."""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Container

from okta_tokens._model.token import AccessToken, TokenKey
from okta_tokens._runtime.clock import Instant
from okta_tokens._runtime.schedule import Timer
from okta_tokens.errors import TokenProviderError

FOR_RENEWAL = 1
FOR_EVICTION = 2
USED = FOR_RENEWAL | FOR_EVICTION
"""Two bits that a use sets by one store; renewal and eviction each clear their own."""

MAX_WINDOW = 1.0
"""Seconds for which one clock may decide before the two are compared again."""

FIRST_DAMPING = 5.0
MAX_DAMPING = 300.0
"""Seconds for which a token that replaced a rejected one is kept although it is rejected too."""

_REMEMBERED = 4
"""Rejected tokens of a key that are not adopted from a store again."""

_NEVER = math.inf
_CLOSED = -math.inf


class State(enum.Enum):
    """What an entry has to offer at some moment."""

    ABSENT = "absent"
    """No token is held."""
    FRESH = "fresh"
    """The token is handed out."""
    DUE = "due"
    """The token is handed out, and it is time to renew it."""
    EXPIRED = "expired"
    """The token is not handed out any more."""
    COOLING_DOWN = "cooling down"
    """No usable token is held, and the last fetch failed a moment ago."""


class Damping:
    """What a key remembers of rejections, lest one rejection after the other burns tokens.

    A token that replaced a rejected one, and is rejected itself within the damping window, is kept:
    whoever rejects both would reject a third. The window doubles each time that such a token is
    dropped after all, until one lives for the longest window without being rejected.
    """

    __slots__ = ("_landed_at", "_rejected", "_replacement", "ignored", "seconds", "values")

    def __init__(self) -> None:
        self.seconds = FIRST_DAMPING
        """The length of the window."""
        self.ignored = 0
        """How many rejections of the present token were ignored."""
        self.values: deque[str] = deque(maxlen=_REMEMBERED)
        """The last tokens that were rejected."""
        self._landed_at = 0.0
        self._rejected = False
        self._replacement = False

    def accept(self, now: Instant) -> None:
        """Take note of a new token."""
        self._replacement = self._rejected or self.ignored > 0
        self._rejected, self.ignored = False, 0
        self._landed_at = now.boot

    def reject(self, now: Instant) -> float:
        """Return 0.0 if the rejected token is to be dropped; else for how many seconds it is kept.

        Args:
            now: The present moment.
        """
        age = now.boot - self._landed_at
        if self._replacement and age < self.seconds:
            self.ignored += 1
            return self.seconds - age
        again = self._replacement and (self.ignored > 0 or age < MAX_DAMPING)
        self.seconds = min(2 * self.seconds, MAX_DAMPING) if again else FIRST_DAMPING
        self._rejected = True
        return 0.0


class Entry:
    """What the cache holds for a key: the token, its two instants, what failed, when to try again.

    It is changed by plain functions on the provider's event loop only, and never across an await.
    A hit reads three of its fields and stores one: within its *window* the wall clock alone
    decides, and a jump of that clock, either way, leaves the window.
    """

    __slots__ = (
        "_damping",
        "closes",
        "detached",
        "error",
        "failed_fetches",
        "failed_renewals",
        "kept_fresh",
        "key",
        "lifetime",
        "look_after",
        "opens",
        "refresh_at",
        "refuse_until",
        "renew_after",
        "timer",
        "token",
        "used",
    )

    def __init__(self, key: TokenKey) -> None:
        self.key = key
        self.token: AccessToken | None = None
        self.opens = _NEVER
        """The window's beginning, in seconds of wall time."""
        self.closes = _CLOSED
        """The window's end, in seconds of wall time."""
        self.used = 0
        self.kept_fresh = False
        self.detached = False
        """True once the cache has dropped it: whoever still holds it looks the key up again."""
        self.timer: Timer | None = None
        """What happens next to it in the background."""
        self.lifetime = 0.0
        self.refresh_at = _NEVER
        """When the renewal falls due, in seconds of boot time."""
        self.renew_after = _CLOSED
        """Before this no renewal is tried, in seconds of boot time."""
        self.refuse_until = _CLOSED
        """Until this callers get `error`, in seconds of boot time."""
        self.look_after = _CLOSED
        """Before this nobody looks into the store while it cools down, in seconds of boot time."""
        self.failed_renewals = 0
        """How many renewals failed since the token arrived."""
        self.failed_fetches = 0
        """How many fetches failed in a row."""
        self.error: TokenProviderError | None = None
        self._damping: Damping | None = None

    def state(self, now: Instant) -> State:
        """Return what it has to offer; a pure function of the entry and the moment."""
        token = self.token
        # Both, since rounding must not let a token outlive the instant at which a timer looks.
        if token is not None and now.boot < self.unusable_at and token._usable_for(*now) > 0:
            return State.FRESH if now.boot < self.refresh_at else State.DUE
        if now.boot < self.refuse_until:
            return State.COOLING_DOWN
        return State.ABSENT if token is None else State.EXPIRED

    def open_window(self, now: Instant) -> None:
        """Let hits be decided by the wall clock alone for a moment, while nothing can change.

        Only for an entry whose token is usable.
        """
        assert self.token is not None  # noqa: S101 - narrows the type
        seconds = min(MAX_WINDOW, self.token._leeway, self.token._usable_for(*now))
        for instant in (self.refresh_at, self.renew_after):
            if now.boot < instant:
                seconds = min(seconds, instant - now.boot)
        self.opens = now.wall
        self.closes = now.wall + seconds

    def close_window(self) -> None:
        """Make the next call look at both clocks."""
        self.opens = _NEVER
        self.closes = _CLOSED

    def accept(
        self, token: AccessToken, *, lifetime: float, refresh_at: float, now: Instant
    ) -> None:
        """Take a token in, and forget what failed.

        Args:
            token: What arrived.
            lifetime: Its lifetime, in seconds.
            refresh_at: When its renewal falls due, in seconds of boot time.
            now: The present moment.
        """
        self.close_window()
        self.token = token
        self.lifetime = lifetime
        self.refresh_at = refresh_at
        self.renew_after = self.refuse_until = _CLOSED
        self.failed_renewals = self.failed_fetches = 0
        self.error = None
        self.used &= ~FOR_RENEWAL
        if self._damping is not None:
            self._damping.accept(now)

    def reject(self, value: str, now: Instant) -> float | None:
        """Drop the token if it is the rejected one, unless that would burn tokens for nothing.

        Args:
            value: The rejected token.
            now: The present moment.

        Returns:
            None if it is another token that is held, or none; 0.0 if the token was dropped; else
            the seconds for which it is kept.
        """
        if self.token is None or self.token.value != value:
            return None
        if self._damping is None:  # most entries never need one
            self._damping = Damping()
        kept = self._damping.reject(now)
        if not kept:
            self.remember(value)
            self.drop_token()
        return kept

    def remember(self, value: str) -> None:
        """Take note of a token that is not to be adopted from a store again."""
        self._damping = self._damping or Damping()
        self._damping.values.append(value)

    @property
    def unusable_at(self) -> float:
        """When the token is not handed out any more, in seconds of boot time; long ago if none."""
        token = self.token
        return _CLOSED if token is None else token._boot_expiry - token._leeway

    @property
    def rejected(self) -> Container[str]:
        """The values of tokens that were rejected lately."""
        return () if self._damping is None else self._damping.values

    @property
    def ignored(self) -> int:
        """How many rejections of the present token were ignored."""
        return 0 if self._damping is None else self._damping.ignored

    @property
    def damping(self) -> float:
        """How long a replacement of the token that was last rejected is kept, in seconds."""
        return FIRST_DAMPING if self._damping is None else self._damping.seconds

    def drop_token(self) -> None:
        """Hold no token any more."""
        self.close_window()
        self.token = None
        self.refresh_at = _NEVER

    def detach(self) -> None:
        """Become useless: whoever holds it must look the key up again."""
        self.detached = True
        self.drop_token()
