"""Rate windows: how many requests, and until when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

NOMINAL_LIMIT: Final = 2000
"""What the headers show where nothing is limited: Okta's largest published limit."""


@dataclass(frozen=True, slots=True)
class RateState:
    """What the three rate-limit headers say.

    Args:
        limit: Requests per window.
        remaining: Requests that are left of them.
        reset: When the window ends, in seconds since the epoch.
        exceeded: Whether this request was one too many.
    """

    limit: int
    remaining: int
    reset: float
    exceeded: bool = False

    def headers(self, offset: float = 0.0) -> dict[str, str]:
        """Return the headers, for a server whose clock is `offset` seconds off."""
        return {
            "X-Rate-Limit-Limit": str(self.limit),
            "X-Rate-Limit-Remaining": str(self.remaining),
            "X-Rate-Limit-Reset": str(math.ceil(self.reset + offset)),
        }


class RateWindow:
    """Counts requests per window. A window opens with the first request that finds none open.

    Args:
        limit: Requests per window; ``None`` counts and shows, and never refuses.
        seconds: The window's length.
    """

    def __init__(self, limit: int | None, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._opened = -math.inf
        self._used = 0

    def take(self, now: float) -> RateState:
        """Count one request at `now`, in seconds since the epoch."""
        if not self._opened <= now < self._opened + self._seconds:
            self._opened, self._used = now, 0
        self._used += 1
        reset = self._opened + self._seconds
        if self._limit is None:
            return RateState(NOMINAL_LIMIT, max(NOMINAL_LIMIT - self._used, 1), reset)
        left = self._limit - self._used
        return RateState(self._limit, max(left, 0), reset, exceeded=left < 0)
