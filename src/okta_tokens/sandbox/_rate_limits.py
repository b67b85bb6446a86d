"""Rate limits: the window in which requests are counted, and the headers that report it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

NOMINAL_LIMIT: Final = 2000
"""The limit in the headers if no limit is enforced: the largest one that Okta publishes."""


@dataclass(frozen=True, slots=True)
class RateState:
    """The values of the three rate-limit headers.

    Args:
        limit: Requests per window.
        remaining: Requests that are left in the window.
        reset: The end of the window, in seconds since the epoch.
        exceeded: Whether this request exceeds the limit.
    """

    limit: int
    remaining: int
    reset: float
    exceeded: bool = False

    def headers(self, offset: float = 0.0) -> dict[str, str]:
        """Return the rate-limit headers.

        Args:
            offset: Seconds by which the server's clock is ahead.
        """
        return {
            "X-Rate-Limit-Limit": str(self.limit),
            "X-Rate-Limit-Remaining": str(self.remaining),
            "X-Rate-Limit-Reset": str(math.ceil(self.reset + offset)),
        }


class RateWindow:
    """A counter of requests per window. A request outside the open window opens a new one.

    Args:
        limit: Requests per window; ``None`` counts requests and refuses none. It may be set at any
            time.
        seconds: The length of the window.
    """

    def __init__(self, limit: int | None, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds
        self._opened = -math.inf
        self._used = 0

    def take(self, now: float) -> RateState:
        """Count one request at `now`, in seconds since the epoch, and return the new state."""
        if not self._opened <= now < self._opened + self._seconds:
            self._opened, self._used = now, 0
        self._used += 1
        reset = self._opened + self._seconds
        if self.limit is None:
            return RateState(NOMINAL_LIMIT, max(NOMINAL_LIMIT - self._used, 1), reset)
        remaining = self.limit - self._used
        return RateState(self.limit, max(remaining, 0), reset, exceeded=remaining < 0)
