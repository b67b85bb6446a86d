"""One domain: its gate, its pauses, its clock, and the attempts that make up a fetch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from okta_tokens._auth.authentication import TokenRequest
from okta_tokens._auth.dpop import DPoP
from okta_tokens._endpoint.exchange import Exchange
from okta_tokens._endpoint.token_response import (
    ImmediateRetry,
    Response,
    TokenResponse,
    build_form,
    immediate_retry_for,
    is_concurrency_limit,
    parse_revocation_response,
    parse_token_response,
    pause_of,
)
from okta_tokens._model.policies import Random, RetryPolicy
from okta_tokens._model.token import AccessToken, TokenKey
from okta_tokens._runtime.clock import Clock
from okta_tokens._runtime.flight import Flight
from okta_tokens._runtime.gate import Gate
from okta_tokens._runtime.redaction import sanitize
from okta_tokens.errors import (
    FetchError,
    ProviderStateError,
    RateLimitedError,
    TokenProviderError,
)
from okta_tokens.events import AttemptFailed, Event, RequestsPaused, TokenRequested

T = TypeVar("T", bound=TokenResponse | bool)
TokenFlight = Flight[TokenKey, AccessToken | TokenProviderError]
RevocationFlight = Flight[tuple[TokenKey, str], bool | TokenProviderError]

_UNTOLD_PAUSE = 2.0
"""Seconds; doubles with each 429 in a row that does not tell a pause worth believing."""

_MISTIMED = 20.0
"""Seconds by which a clock may turn out to be wrong before an assertion is to blame."""


@dataclass(slots=True)
class _Pause:
    """How the org's own server, or all custom ones together, asked to be left alone.

    Args:
        until: In seconds of boot time.
        strikes: How many 429s came in a row.
    """

    until: float = -math.inf
    strikes: int = 0


@dataclass(slots=True)
class _Errand(Generic[T]):
    """Something that is asked of Okta, in as many requests as it takes.

    Args:
        key: Whose token it is about.
        url: Where it is asked.
        form: The fields of the body, but for the credential.
        read: Makes sense of the answer.
        dpop: Makes the proof; None if none is wanted.
        announce: Called with the number of each request that is about to be sent, from 1.
        sent: How many were sent.
        clock_offset: By which the latest one was dated, in seconds.
        secrets: What all of them held: a server may repeat what an earlier one did.
    """

    key: TokenKey
    url: str
    form: Mapping[str, str]
    read: Callable[[Response], T | FetchError]
    dpop: DPoP | None = None
    announce: Callable[[int], object] = int
    sent: int = 0
    clock_offset: float = 0.0
    secrets: list[str] = field(default_factory=list)

    def request(self, now: float) -> TokenRequest:
        """Return a new request.

        Args:
            now: The present moment by Okta's clock, in seconds since the epoch.
        """
        return TokenRequest(self.url, self.key.client_id, {**self.form}, {}, now, self.secrets)


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
        on_pause: Called with the key and the seconds of each pause that a 429 began, if anybody is.
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
        on_pause: Callable[[TokenKey, float], object] | None = None,
    ) -> None:
        self._origin = origin
        self._exchange = exchange
        self._clock = clock
        self._policy = policy
        self._gate = Gate(places)
        self._random = random
        self._emit = emit
        self._on_pause = on_pause
        # By authorization server: what the next proof repeats (RFC 9449 section 8).
        self._nonces: dict[str | None, str] = {}
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

    def pause(self, key: TokenKey, seconds: float) -> None:
        """Leave a key's half of the domain alone, since another process was asked to.

        Args:
            key: Whose.
            seconds: For how long; as long as the policy lets pauses be at most.
        """
        pause = self._pause_for(key)
        until = self._clock.boot_time() + min(seconds, self._policy.max_pause)
        pause.until = max(pause.until, until)

    def promote(self, flight: TokenFlight) -> None:
        """Let a renewal go first from now on: somebody waits for it."""
        self._gate.promote(flight)

    def server_time(self) -> float:
        """Return the present moment by Okta's clock, in seconds since the epoch."""
        return self._clock.wall_time() + self.clock_offset

    async def fetch(self, flight: TokenFlight) -> TokenResponse | FetchError:
        """Ask for a token, as many times as it takes, or as the policy allows.

        A flight that nobody waits for makes one attempt; it gets all of them as soon as somebody
        does.

        Cancellation gives the place up and closes the connection.

        Args:
            flight: On whose behalf.

        Returns:
            The grant, or the error of the last attempt.
        """
        key = flight.key

        def read(answer: Response) -> TokenResponse | FetchError:
            return parse_token_response(answer, key.scopes, key.token_type)

        def announce(attempt: int) -> None:
            self._emit(TokenRequested(key=key, attempt=attempt, renewal=not flight.wanted))

        client = key.client
        form = build_form(key.scopes)
        errand = _Errand(key, client.token_url, form, read, client.dpop, announce)
        return await self._run(errand, flight)

    async def revoke(self, flight: RevocationFlight) -> bool | FetchError:
        """Ask for a token to be revoked; goes about it as `fetch` does.

        Args:
            flight: On whose behalf.

        Returns:
            True, or the error of the last attempt.
        """
        key, value = flight.key

        def read(answer: Response) -> bool | FetchError:
            return parse_revocation_response(answer) or True

        form = {"token": value, "token_type_hint": "access_token"}
        errand = _Errand(key, key.client.revocation_url, form, read, secrets=[value])
        return await self._run(errand, flight)

    async def _run(self, errand: _Errand[T], flight: Flight[Any, Any]) -> T | FetchError:
        """Make attempts, each in a place of its own."""
        policy, clock = self._policy, self._clock
        spent, attempt = 0.0, 0
        outcome: T | FetchError | None = None
        while True:
            refusal = await self._admit(errand, flight)
            if refusal is not None:
                refusal.attempts = errand.sent
                return outcome if isinstance(outcome, RateLimitedError) else refusal
            admitted_at = clock.boot_time()
            attempt += 1
            try:
                outcome = await self._attempt(errand, admitted_at + policy.total_timeout - spent)
            finally:
                self._gate.leave(flight)
            if not isinstance(outcome, FetchError):
                return outcome
            spent += clock.boot_time() - admitted_at
            paused = isinstance(outcome, RateLimitedError)
            delay = 0.0 if paused else policy.delay(attempt, self._random)
            spent += delay
            hopeless = not outcome.retryable or spent >= policy.total_timeout
            if hopeless or not flight.wanted or attempt >= policy.attempts:
                return outcome
            await clock.sleep_until(clock.boot_time() + delay)

    async def _admit(self, errand: _Errand[T], flight: Flight[Any, Any]) -> RateLimitedError | None:
        """Wait for the end of a pause and for a place; return the error if that takes too long."""
        pause = self._pause_for(errand.key)
        while True:
            while pause.until > self._clock.boot_time():
                refusal = self.refusal(errand.key, flight.deadline)
                if refusal is not None:
                    return refusal
                await self._clock.sleep_until(pause.until)
            await self._gate.enter(flight, urgent=flight.wanted)
            if pause.until <= self._clock.boot_time():
                return None
            self._gate.leave(flight)

    async def _attempt(self, errand: _Errand[T], deadline: float) -> T | FetchError:
        """Send a request; if it is refused for what can be mended here, once more at once.

        Each request is built anew: Okta takes an assertion for used, also when it refuses it.
        """
        outcome, request = await self._send(errand, deadline)
        amended: set[ImmediateRetry] = set()
        while isinstance(outcome, FetchError):
            moved = abs(self.clock_offset - errand.clock_offset) > _MISTIMED
            amendment = immediate_retry_for(
                outcome,
                proof=errand.dpop is not None,
                mistimed=moved and "client_assertion" in request.form,
            )
            paused = self.paused_until(errand.key) > self._clock.boot_time()
            if amendment is None or amendment in amended or paused:
                break
            amended.add(amendment)
            refused = request if amendment is ImmediateRetry.CREDENTIAL else None
            sent = errand.sent
            again, request = await self._send(errand, deadline, unlike=refused)
            if again is None or errand.sent == sent:  # what Okta said tells more
                break
            outcome = again
        assert outcome is not None  # noqa: S101 - narrows the type
        return outcome

    async def _send(
        self, errand: _Errand[T], deadline: float, unlike: TokenRequest | None = None
    ) -> tuple[T | FetchError | None, TokenRequest]:
        """Send one request.

        Args:
            errand: What is asked.
            deadline: Until when at most, in seconds of boot time.
            unlike: A request that was refused; this one is not sent if its credential is the same.

        Returns:
            What came of it, None if it was not sent; and the request.
        """
        errand.clock_offset = self.clock_offset
        request = errand.request(self.server_time())

        def proceed() -> bool:
            if unlike is not None and request.credential == unlike.credential:
                return False
            errand.sent += 1
            errand.announce(errand.sent)
            return True

        answer = await self._exchange(
            request,
            errand.key.client,
            min(self._clock.boot_time() + self._policy.request_timeout, deadline),
            dpop=errand.dpop,
            nonce=self._nonces.get(errand.key.authorization_server),
            proceed=proceed,
        )
        outcome = self._learn(errand, answer) if isinstance(answer, Response) else answer
        if isinstance(outcome, FetchError):
            outcome.key = errand.key
            outcome.attempts = errand.sent
            self._emit(AttemptFailed(key=errand.key, error=outcome))
        return outcome, request

    def _learn(self, errand: _Errand[T], answer: Response) -> T | FetchError:
        """Take from an answer what it tells of the server, then what was asked."""
        server_time = answer.server_time
        if server_time is not None:
            self.clock_offset = server_time - (answer.sent.wall + answer.received_at) / 2
        key = errand.key
        if answer.dpop_nonce is not None:
            self._nonces[key.authorization_server] = answer.dpop_nonce
        outcome = errand.read(answer)
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
            if self._on_pause is not None:
                self._on_pause(key, seconds)
        else:
            pause.strikes = 0
        return outcome

    def _extend(self, pause: _Pause, answer: Response) -> float:
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


def internal_error(what: str, error: Exception) -> ProviderStateError:
    """Return what callers get if our own code raised: it must not leave them hanging.

    Args:
        what: What died of it.
        error: The error, which is chained.
    """
    failure = ProviderStateError(
        f"the {what} died of {type(error).__name__}, a defect of okta-tokens; please report"
    )
    failure.__cause__ = sanitize(error)
    return failure
