"""A circuit breaker: no calls to a store that keeps failing."""

from __future__ import annotations

import math
from collections.abc import Callable

from okta_tokens._model.policies import Random
from okta_tokens._runtime.clock import Clock
from okta_tokens.events import Event, StoreFailed, StoreRecovered

_MAX_BREAK = 30.0
"""Seconds for which a store that keeps failing gets no calls."""

_PROBE_INTERVAL = 1.0
"""Seconds between two probes after the break."""

_MAX_DOUBLINGS = 10


class CircuitBreaker:
    """Decide whether a store gets calls.

    ::

        break k = U(½, 1)·min(30, 2^k)      after the k-th failure in a row, in seconds

    Calls that fail during a break began before it, and count as one failure with the call that
    began the break. After the break, one caller per second may probe the store, until the store
    answers.

    Args:
        clock: Tells the time.
        random: Draws from the unit interval.
        emit: Called with `StoreFailed` after the first failure, and with `StoreRecovered`.
        host: The store's server, for these events; None if the store does not name it.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        emit: Callable[[Event], None],
        host: str | None = None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._emit = emit
        self._host = host
        self._failures = 0
        self._failed_at = 0.0
        self._break_ends = -math.inf
        self._open_until = -math.inf

    @property
    def is_available(self) -> bool:
        """Whether the last calls of the store succeeded."""
        return not self._failures

    def allows_call(self) -> bool:
        """Tell whether the store may be called now; after a break this counts as the probe."""
        if not self._failures:
            return True
        now = self._clock.boot_time()
        if now < self._open_until:
            return False
        self._open_until = now + _PROBE_INTERVAL
        return True

    def record_failure(self, reason: str) -> None:
        """Begin a break after a failed call, unless one lasts.

        Args:
            reason: The type of the error, or that there was no response in time.
        """
        now = self._clock.boot_time()
        first = not self._failures
        if first:
            self._failed_at = now
        elif now < self._break_ends:
            return
        self._failures += 1
        longest = min(_MAX_BREAK, 2.0 ** min(self._failures, _MAX_DOUBLINGS))
        self._break_ends = self._open_until = now + longest * (1 + self._random()) / 2
        if first:
            self._emit(StoreFailed(host=self._host, reason=reason, after=self._open_until - now))

    def record_answer(self) -> None:
        """Let the next call through at once if the store has answered a probe after the break.

        Otherwise a caller that needs the store would be turned away because another has just read.
        """
        now = self._clock.boot_time()
        if self._failures and now >= self._break_ends:
            self._open_until = now

    def record_success(self) -> None:
        """End the break after a successful write: a store that is full can still be read."""
        if self._failures:
            self._failures = 0
            self._emit(StoreRecovered(seconds=self._clock.boot_time() - self._failed_at))
