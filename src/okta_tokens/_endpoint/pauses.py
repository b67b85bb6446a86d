"""Pauses: the times for which a domain gets no requests, after a 429 or in an outage."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.clock_offset import ClockOffset
from okta_tokens._endpoint.rate_limits import is_concurrency_limit, requested_pause, retry_after
from okta_tokens._endpoint.response import Response
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock
from okta_tokens.errors import RateLimitedError, ServerError
from okta_tokens.events import RequestsPaused

if TYPE_CHECKING:
    from okta_tokens._sharing.guarded_store import GuardedStore

_DEFAULT_PAUSE = 2.0
"""Seconds: the pause after a first 429 that names none. It doubles with each consecutive 429."""
_MAX_DOUBLINGS = 16


class Pauses:
    """The pauses of one domain.

    The org authorization server has one, and all custom ones together have another: Okta counts
    them apart.

    Args:
        clock: Tells the time.
        clock_offset: What is known of Okta's clock.
        max_pause: The longest pause that the policy allows, in seconds.
        emit: Called with an event for each pause.
        count_waiters: Returns how many callers wait for a token of the domain, for the event.
        store: Shares pauses after a 429 with other processes; None if there is no store.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        clock_offset: ClockOffset,
        max_pause: float,
        emit: Emitter,
        count_waiters: Callable[[], int],
        store: GuardedStore | None,
    ) -> None:
        self._clock = clock
        self._clock_offset = clock_offset
        self._max_pause = max_pause
        self._emit = emit
        self._count_waiters = count_waiters
        self._store = store
        self._org, self._custom = Pause(), Pause()

    @property
    def are_over(self) -> bool:
        """Whether no pause lasts."""
        end = max(pause.end(urgent=False) for pause in (self._org, self._custom))
        return end <= self._clock.boot_time()

    def end(self, key: TokenKey, *, urgent: bool = False) -> float:
        """Return when the pause of a key's half of the domain ends, in seconds of boot time.

        Args:
            key: The key of a token.
            urgent: Whether the request cannot wait for the end of an outage.
        """
        return self._of(key).end(urgent=urgent)

    def error(self, key: TokenKey, deadline: float) -> RateLimitedError | ServerError | None:
        """Return the error for a caller whose deadline comes before the end of the pause.

        Args:
            key: The key of the wanted token.
            deadline: How long the caller may wait, in seconds of boot time.
        """
        pause, now = self._of(key), self._clock.boot_time()
        end = pause.end(urgent=False)
        if end <= now or end <= deadline:
            return None
        left = end - now
        retry_at = datetime.fromtimestamp(self._clock.wall_time() + left, UTC)
        if end > pause.until:
            return ServerError(
                f"Okta asked for no request for another {left:.0f} s; this is a failure of the "
                "server, so try again later",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                retry_at=retry_at,
                key=key,
                retryable=True,
            )
        return RateLimitedError(
            f"Okta's rate limit allows no request for another {left:.0f} s; send fewer requests, "
            "or raise the limit",
            retry_at=retry_at,
            key=key,
            retryable=True,
        )

    def adopt(self, key: TokenKey, seconds: float) -> None:
        """Pause a key's half of the domain, since another process received a 429.

        Args:
            key: A key of that half.
            seconds: How long; never longer than the policy's `max_pause`.
        """
        pause = self._of(key)
        pause.until = max(pause.until, self._clock.boot_time() + min(seconds, self._max_pause))

    def learn(self, key: TokenKey, response: Response, result: object) -> None:
        """Begin or lengthen a pause after a response, and note its end in the error.

        Three cases: a 429; a server error that asks for a wait (`Retry-After`); any other response,
        which ends the row of 429s.

        Args:
            key: The key of the token.
            response: The response.
            result: What the response means.
        """
        if isinstance(result, RateLimitedError):
            seconds = self._begin(key, response, result)
            result.retry_at = datetime.fromtimestamp(response.received_at + seconds, UTC)
            return
        self._of(key).consecutive_429s = 0
        if isinstance(result, ServerError):
            self._obey_retry_after(key, response, result)

    def _begin(self, key: TokenKey, response: Response, error: RateLimitedError) -> float:
        """Begin or lengthen the pause after a 429, and share it; return its seconds."""
        offset = self._clock_offset.seconds
        seconds = self._of(key).extend(
            response,
            now=self._clock.boot_time(),
            clock_offset=offset,
            max_pause=self._max_pause,
        )
        self._report(key, response, seconds, error.request_id)
        if self._store is not None:
            end = self._clock.wall_time() + offset + seconds
            self._store.publish_pause(key, seconds, until=end)
        return seconds

    def _obey_retry_after(self, key: TokenKey, response: Response, error: ServerError) -> None:
        """Note when the server wants the next request; pause the domain if the server is Okta's.

        A middlebox speaks for itself: another request may take another way.
        """
        asked = retry_after(response, self._clock_offset.seconds)
        if asked is None:
            return
        seconds = min(asked, self._max_pause)
        error.retry_at = datetime.fromtimestamp(response.received_at + seconds, UTC)
        pause, now = self._of(key), self._clock.boot_time()
        if response.is_oktas() and now + seconds > pause.end(urgent=False):
            pause.outage_until = now + seconds
            self._report(key, response, seconds, error.request_id)

    def _report(
        self, key: TokenKey, response: Response, seconds: float, request_id: str | None
    ) -> None:
        self._emit(
            RequestsPaused(
                domain=key.domain,
                org_server=key.authorization_server is None,
                seconds=seconds,
                concurrency=is_concurrency_limit(response),
                status=response.status,
                waiters=self._count_waiters(),
                request_id=request_id,
            )
        )

    def _of(self, key: TokenKey) -> Pause:
        return self._org if key.client.authorization_server is None else self._custom


class Pause:
    """The time for which one half of a domain gets no requests."""

    __slots__ = ("consecutive_429s", "outage_until", "until")

    def __init__(self) -> None:
        self.until = -math.inf
        """When the pause after a 429 ends, in seconds of boot time."""
        self.outage_until = -math.inf
        """When the pause ends for which Okta asked in a server error, in seconds of boot time."""
        self.consecutive_429s = 0
        """How many 429s arrived in a row."""

    def end(self, *, urgent: bool) -> float:
        """Return when a request may be sent, in seconds of boot time.

        Args:
            urgent: Whether the request cannot wait for the end of an outage.
        """
        return self.until if urgent else max(self.until, self.outage_until)

    def extend(
        self, response: Response, *, now: float, clock_offset: float, max_pause: float
    ) -> float:
        """Begin or lengthen the pause after a 429.

        A limit on concurrent requests is over as soon as another request has finished. Its reset
        time is a suggestion that may be a minute away, so a shorter wait that doubles is used.

        Args:
            response: The 429.
            now: The present moment, in seconds of boot time.
            clock_offset: As for `requested_pause`.
            max_pause: The longest pause that the policy allows, in seconds.

        Returns:
            The seconds that are left of the pause.
        """
        if self.until <= now:  # a 429 that arrives during the pause belongs to the same limit
            self.consecutive_429s += 1
        # A response to an earlier request may have reset the count in the meantime.
        doublings = min(max(self.consecutive_429s - 1, 0), _MAX_DOUBLINGS)
        default = _DEFAULT_PAUSE * 2.0**doublings
        seconds = requested_pause(response, clock_offset) or default
        if is_concurrency_limit(response):
            seconds = min(seconds, default)
        self.until = max(self.until, now + min(seconds, max_pause))
        return self.until - now
