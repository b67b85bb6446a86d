"""One domain: its gate, its pauses, its clock, and the attempts that make up a fetch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from okta_tokens._clock import Clock
from okta_tokens._exchange import Exchange
from okta_tokens._flight import Flight
from okta_tokens._gate import Gate
from okta_tokens._policy import Random, RetryPolicy
from okta_tokens._protocol import (
    Answer,
    Grant,
    is_concurrency_limit,
    pause_of,
    read_answer,
)
from okta_tokens._token import AccessToken, TokenKey
from okta_tokens.errors import FetchError, RateLimitedError, TokenProviderError
from okta_tokens.events import AttemptFailed, Event, RequestsPaused, TokenRequested

TokenFlight = Flight[TokenKey, AccessToken | TokenProviderError]

_UNTOLD_PAUSE = 2.0
"""Seconds; doubles with each 429 in a row that does not tell a pause worth believing."""


@dataclass(slots=True)
class _Pause:
    """How the org's own server, or all custom ones together, asked to be left alone.

    Args:
        until: In seconds of boot time.
        strikes: How many 429s came in a row.
    """

    until: float = -math.inf
    strikes: int = 0


class Endpoint:
    """The token endpoints of one domain.

    Okta's limits belong to the domain: so many requests at once, and so many a minute, which the
    org's own authorization server and the custom ones count apart.

    Args:
        origin: The domain, with its scheme.
        exchange: Makes one request.
        clock: Tells the time, and waits.
        policy: How hard to try.
        places: How many requests may be under way at once.
        random: Draws from the unit interval.
        emit: Hears what happens.
    """

    def __init__(
        self,
        origin: str,
        *,
        exchange: Exchange,
        clock: Clock,
        policy: RetryPolicy,
        places: int,
        random: Random,
        emit: Callable[[Event], None],
    ) -> None:
        self._origin = origin
        self._exchange = exchange
        self._clock = clock
        self._policy = policy
        self._gate = Gate(places)
        self._random = random
        self._emit = emit
        self._pauses = {True: _Pause(), False: _Pause()}
        self.clock_offset = 0.0
        """Seconds by which Okta's clock is ahead of this machine's, by its last answer."""

    def paused_until(self, key: TokenKey) -> float:
        """Return when a pause ends that concerns a key, in seconds of boot time."""
        return self._pause_for(key).until

    def refusal(self, key: TokenKey, deadline: float) -> RateLimitedError | None:
        """Return the error for those who may not wait as long as the present pause lasts.

        Args:
            key: Which token is wanted.
            deadline: Until when they may wait, in seconds of boot time.
        """
        pause, now = self._pause_for(key), self._clock.boot_time()
        if pause.until <= now or pause.until <= deadline:
            return None
        left = pause.until - now
        return RateLimitedError(
            f"Okta asked to be left alone for another {left:.0f} s; ask less often, or raise the "
            "limit",
            retry_at=datetime.fromtimestamp(self._clock.wall_time() + left, UTC),
            key=key,
            retryable=True,
        )

    def promote(self, flight: TokenFlight) -> None:
        """Let a renewal go first from now on: somebody waits for it."""
        self._gate.promote(flight)

    async def fetch(self, flight: TokenFlight) -> Grant | FetchError:
        """Make as many attempts as it takes, or as the policy allows.

        A flight that nobody waits for makes one; it gets all of them as soon as somebody does. Each
        attempt is a new request, since Okta counts one as used even when it refuses it.

        Cancellation gives the place up and closes the connection.

        Args:
            flight: On whose behalf.

        Returns:
            The grant, or the error of the last attempt.
        """
        policy, clock = self._policy, self._clock
        spent, attempt = 0.0, 0
        outcome: Grant | FetchError | None = None
        while True:
            refusal = await self._admit(flight)
            if refusal is not None:
                refusal.attempts = attempt
                return outcome if isinstance(outcome, RateLimitedError) else refusal
            admitted_at = clock.boot_time()
            attempt += 1
            try:
                outcome = await self._attempt(flight, attempt, policy.total_timeout - spent)
            finally:
                self._gate.leave(flight)
            if isinstance(outcome, Grant):
                return outcome
            spent += clock.boot_time() - admitted_at
            paused = isinstance(outcome, RateLimitedError)
            delay = 0.0 if paused else policy.delay(attempt, self._random)
            spent += delay
            hopeless = not outcome.retryable or spent >= policy.total_timeout
            if hopeless or not flight.wanted or attempt >= policy.attempts:
                return outcome
            await clock.sleep_until(clock.boot_time() + delay)

    async def _admit(self, flight: TokenFlight) -> RateLimitedError | None:
        """Wait for the end of a pause and for a place; return the error if that takes too long."""
        while True:
            pause = self._pause_for(flight.key)
            while pause.until > self._clock.boot_time():
                patience = flight.deadline if flight.wanted else -math.inf
                refusal = self.refusal(flight.key, patience)
                if refusal is not None:
                    return refusal
                await self._clock.sleep_until(pause.until)
            await self._gate.enter(flight, urgent=flight.wanted)
            if pause.until <= self._clock.boot_time():
                return None
            self._gate.leave(flight)

    async def _attempt(
        self, flight: TokenFlight, attempt: int, budget: float
    ) -> Grant | FetchError:
        key = flight.key
        self._emit(TokenRequested(key=key, attempt=attempt, renewal=not flight.wanted))
        seconds = min(self._policy.request_timeout, budget)
        answer = await self._exchange(key, self._clock.boot_time() + seconds)
        outcome = self._learn(key, answer) if isinstance(answer, Answer) else answer
        if isinstance(outcome, FetchError):
            outcome.key = key
            outcome.attempts = attempt
            self._emit(AttemptFailed(key=key, error=outcome))
        return outcome

    def _learn(self, key: TokenKey, answer: Answer) -> Grant | FetchError:
        """Take from an answer what it tells of the server, then what it tells of the token."""
        server_time = answer.server_time
        if server_time is not None:
            self.clock_offset = server_time - (answer.sent.wall + answer.received_at) / 2
        outcome = read_answer(answer, key.scopes)
        pause = self._pause_for(key)
        if isinstance(outcome, RateLimitedError):
            seconds = self._extend(pause, answer)
            outcome.retry_at = datetime.fromtimestamp(answer.received_at + seconds, UTC)
            self._emit(
                RequestsPaused(
                    origin=self._origin,
                    org_server=key.authorization_server is None,
                    seconds=seconds,
                    concurrency=is_concurrency_limit(answer),
                    request_id=answer.request_id,
                )
            )
        else:
            pause.strikes = 0
        return outcome

    def _extend(self, pause: _Pause, answer: Answer) -> float:
        """Begin or lengthen a pause after a 429; return how many seconds are left of it.

        A limit on concurrency is over as soon as another request is, so its reset, a suggestion
        that may be a minute away, does not count against a short wait that doubles.
        """
        now = self._clock.boot_time()
        if pause.until <= now:  # what else was under way when the first one came is no new strike
            pause.strikes += 1
        # An answer to an earlier request may have ended the row of 429s meanwhile.
        guess = _UNTOLD_PAUSE * 2.0 ** min(max(pause.strikes - 1, 0), 16)
        told = pause_of(answer, self.clock_offset) or guess
        if is_concurrency_limit(answer):
            told = min(told, guess)
        pause.until = max(pause.until, now + min(told, self._policy.max_pause))
        return pause.until - now

    def _pause_for(self, key: TokenKey) -> _Pause:
        return self._pauses[key.authorization_server is None]
