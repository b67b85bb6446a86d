"""One Okta domain: its gate, its pauses, its clock offset, and the attempts of an operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cachetools import LRUCache

from okta_tokens._auth.authentication import (
    ClientAuthentication,
    TokenRequest,
    authenticate,
    resolve,
)
from okta_tokens._auth.client_secret import SWAPPED
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.clock_offset import ClockOffset, estimated_offset
from okta_tokens._endpoint.error_response import ImmediateRetry, immediate_retry_for
from okta_tokens._endpoint.exchange import Exchange
from okta_tokens._endpoint.pauses import Pauses
from okta_tokens._endpoint.rate_limits import requested_wait
from okta_tokens._endpoint.response import Response
from okta_tokens._endpoint.token_request import (
    FetchOperation,
    Operation,
    RevocationFlight,
    TokenFlight,
    reason_of,
)
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.policies import Random, RetryPolicy
from okta_tokens._runtime.clock import Clock
from okta_tokens._runtime.gate import Gate, Lane
from okta_tokens._runtime.schedule import Deadline, Schedule
from okta_tokens.errors import (
    ConfigurationError,
    CredentialError,
    FetchError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from okta_tokens.events import AttemptFailed, ClockDiffers

if TYPE_CHECKING:
    from okta_tokens._sharing.guarded_store import GuardedStore

T = TypeVar("T", bound=TokenResponse | bool)

BeforeRetry = Callable[[FetchError, float], Awaitable[T | FetchError | None]]
"""Waits after a failed attempt for some seconds, and returns a result from elsewhere, or None."""

_MISTIMED = 20.0
"""Seconds. An assertion whose clock was wrong by more than this may have been refused for that."""

_MAX_OFFSET = 30.0
"""Seconds by which this machine's clock and Okta's may differ before an event tells so."""

_ABANDONED = (
    "every caller gave up before there was a place for the request; send fewer requests with "
    "different scopes at once, or raise TokenProvider's max_concurrent_requests"
)

_MAX_NONCES = 100
"""How many authorization servers of a domain the endpoint remembers the nonces of."""


class Endpoint:
    """The token and revocation endpoints of one domain.

    Okta's limits belong to the domain: a number of concurrent requests, and a number of requests
    per minute, which Okta counts apart for the org authorization server and the custom ones.

    Args:
        origin: The domain with its scheme.
        exchange: Sends one request.
        clock: Tells the time and waits.
        schedule: Ends requests that take too long.
        policy: How often and how long to try.
        gate: Bounds how many requests are under way at once.
        random: Draws from the unit interval.
        emit: Called with every event.
        store: Shares pauses with other processes; None if there is no store.
        configuration_error: Why no request can be sent; None if requests can be sent.
    """

    def __init__(  # noqa: PLR0913 - each is another part, and given once
        self,
        origin: str,
        *,
        exchange: Exchange,
        clock: Clock,
        schedule: Schedule,
        policy: RetryPolicy,
        gate: Gate,
        random: Random,
        emit: Emitter,
        store: GuardedStore | None = None,
        configuration_error: ConfigurationError | None = None,
    ) -> None:
        self.configuration_error = configuration_error
        self._origin = origin
        self._exchange = exchange
        self._clock = clock
        self._schedule = schedule
        self._policy = policy
        self._gate = gate
        self._random = random
        self._emit = emit
        # By authorization server: the nonce that the next proof repeats (RFC 9449 section 8).
        self._nonces: LRUCache[str | None, str] = LRUCache(_MAX_NONCES)
        self._under_way: dict[Operation[Any], None] = {}
        self._clock_offset = ClockOffset()
        self.pauses: Pauses = Pauses(
            clock=clock,
            clock_offset=self._clock_offset,
            max_pause=policy.max_pause,
            emit=emit,
            count_waiters=self._count_waiters,
            store=store,
        )
        self.response_time: float = 0.0
        """How long the latest token responses took, in seconds: quick to rise, slow to fall."""

    @property
    def clock_offset(self) -> float:
        """Seconds by which Okta's clock is ahead of this machine's."""
        return self._clock_offset.seconds

    @property
    def is_idle(self) -> bool:
        """Whether no operation is under way, and no pause lasts."""
        return not self._under_way and self.pauses.are_over

    def promote(self, flight: TokenFlight) -> None:
        """Let a renewal through the gate as one of the callers' fetches: a caller waits for it."""
        self._gate.promote(flight, Lane.FOREGROUND)

    def urge(self, flight: TokenFlight) -> None:
        """Let a renewal through the gate before everything else: this is its last chance."""
        flight.urgent = True
        self._gate.promote(flight, Lane.URGENT)

    @property
    def is_clock_known(self) -> bool:
        """Whether a response of Okta has told how far its clock is ahead."""
        return self._clock_offset.is_known

    def server_time(self) -> float:
        """Return the present moment by Okta's clock, in seconds since the epoch."""
        return self._clock.wall_time() + self.clock_offset

    async def resolve(self, operation: FetchOperation) -> ClientAuthentication | None:
        """Get the credential of the first attempt before there is a place for the attempt.

        Cancellation passes through to the callable for the credential.

        Args:
            operation: The operation. If its callable fails or takes too long, its first attempt
                fails with the error.

        Returns:
            The authentication with its credential, or None if there is none.
        """
        seconds = self._policy.request_timeout
        resolved: ClientAuthentication | CredentialError = CredentialError(
            f"the callable for the client's secret or key returned nothing within {seconds:g} s "
            "(RetryPolicy.request_timeout); make it quicker",
            retryable=True,
        )
        with self._schedule.deadline(self._clock.boot_time() + seconds):
            resolved = await resolve(operation.key.client.authentication, operation.key.client_id)
        operation.resolved = resolved
        return None if isinstance(resolved, CredentialError) else resolved

    async def run(
        self, operation: Operation[T], before_retry: BeforeRetry[T] | None = None
    ) -> T | FetchError:
        """Make attempts, each in a place of its own; meanwhile the endpoint is not idle.

        A flight without a waiter makes one attempt. It gets as many as the policy allows as soon as
        a caller waits. The loop ends in five cases: an attempt succeeds; its error is final, or the
        time is used up; no caller waits, or the attempts are used up; `before_retry` returns a
        result; `_enter` returns an error.

        Cancellation gives the place up and closes the connection.

        Args:
            operation: What Okta is asked to do.
            before_retry: Waits between two attempts, for as long as it is told at least. It may
                find the result elsewhere. By default, nothing else happens in the meantime.

        Returns:
            The result, or the error of the last attempt.
        """
        policy, clock, flight = self._policy, self._clock, operation.flight
        spent, attempt = 0.0, 0
        result: T | FetchError | None = None
        self._under_way[operation] = None
        try:
            while True:
                error = None if self._enters_at_once(operation) else await self._enter(operation)
                if error is not None:
                    error.attempts = operation.requests_sent
                    return _error_of_pause(result, error)
                entered_at = clock.boot_time()
                attempt += 1
                deadline = entered_at + policy.total_timeout - spent
                try:
                    result, refusal = await self._send(operation, deadline)
                    if refusal is not None:
                        result = await self._send_changed(operation, deadline, refusal)
                finally:
                    self._gate.leave(flight)
                if not isinstance(result, FetchError):
                    return result
                failed_at = clock.boot_time()
                spent += failed_at - entered_at
                delay = self._delay(operation, result, attempt)
                is_final = not result.retryable or spent + delay >= policy.total_timeout
                if is_final or not flight.wanted or attempt >= policy.attempts:
                    return result
                found = await (before_retry or self._wait)(result, delay)
                if found is not None:
                    return found
                spent += clock.boot_time() - failed_at
        finally:
            del self._under_way[operation]

    async def _wait(self, _: FetchError, delay: float) -> None:
        await self._clock.sleep_until(self._clock.boot_time() + delay)

    def _pause_end(self, operation: Operation[T]) -> float:
        return self.pauses.end(operation.key, urgent=operation.flight.urgent)

    def _delay(self, operation: Operation[T], error: FetchError, attempt: int) -> float:
        """Return how long to wait after a failed attempt, in seconds, beside the pause if any."""
        now = self._clock.boot_time()
        if isinstance(error, RateLimitedError) or self._pause_end(operation) > now:
            return 0.0
        delay = self._policy.delay(attempt, self._random)
        return max(delay, requested_wait(error, self._clock.wall_time(), self._policy.max_pause))

    def _enters_at_once(self, operation: Operation[T]) -> bool:
        """Take a place if a request can be sent now, and none waits: the usual case."""
        if self._pause_end(operation) > self._clock.boot_time():
            return False
        return self._gate.try_enter(operation.flight, _lane_of(operation.flight))

    async def _enter(self, operation: Operation[T]) -> FetchError | None:
        """Wait for the end of a pause and for a place; return why no request can be sent.

        Two cases: a pause outlasts the last waiter; every waiter gave up before there was a place
        for the fetch, and other flights need the place.
        """
        flight = operation.flight
        while True:
            while (end := self._pause_end(operation)) > self._clock.boot_time():
                error = self.pauses.error(operation.key, flight.deadline)
                if error is not None:
                    return error
                await self._clock.sleep_until(end)
            await self._gate.enter(flight, _lane_of(flight), operation.owner)
            now = self._clock.boot_time()
            abandoned = len(self._gate) > 0 and operation.is_abandoned(now)
            if self._pause_end(operation) <= now and not abandoned:
                return None
            self._gate.leave(flight)
            if abandoned:
                return TransportError(_ABANDONED, key=operation.key, retryable=True)

    async def _send_changed(
        self, operation: Operation[T], deadline: float, refusal: _Refusal
    ) -> T | FetchError:
        """Send another request after a refusal whose reason a change removes.

        Each change is made once. No request follows while the domain is paused, or if the
        credential to change has not changed: then the first refusal is the result. Each request
        is built anew, since Okta counts an assertion as used even if it refuses the request.
        """
        result: T | FetchError = refusal.error
        made: set[ImmediateRetry] = set()
        last: _Refusal | None = refusal
        while last is not None and last.change not in made:
            made.add(last.change)
            sent = operation.requests_sent
            next_result, last = await self._send(operation, deadline, last)
            if operation.requests_sent == sent:
                break  # no request was sent, so the refusal tells more
            result = next_result
        return result

    async def _send(
        self, operation: Operation[T], deadline: float, refusal: _Refusal | None = None
    ) -> tuple[T | FetchError, _Refusal | None]:
        """Build one request, send it, and parse its response.

        Args:
            operation: What Okta is asked to do.
            deadline: When to give up at the latest, in seconds of boot time.
            refusal: The refusal of the last request. If the credential has to change and has not
                changed, no request is sent.

        Returns:
            The result; and the refusal, if a changed request may succeed at once.
        """
        began = self._clock.boot_time()
        seconds = min(self._policy.request_timeout, deadline - began)
        request = operation.new_request()
        response: Response | FetchError | None = None
        with Deadline(self._schedule, began + seconds):
            response = await self._prepare(operation, request)
            if response is None and refusal is not None and refusal.covers(request):
                return refusal.error, None
            if response is None:
                operation.count_request(self._emit, self._clock.boot_time)
                response = await self._exchange.send(request, operation.key.client)
        if response is None:
            response = self._timeout_error(seconds)
        if isinstance(response, FetchError):
            result, change = response, None
        else:
            outcome = self._handle(operation, request, response)
            if not isinstance(outcome, FetchError):
                return outcome, None
            result = outcome
            change = self._immediate_retry(operation, request, response, result)
        if result.args != (SWAPPED,):
            result.key = operation.key
        result.attempts = operation.requests_sent
        now = self._clock.boot_time()
        self._emit(
            AttemptFailed(
                key=operation.key,
                error=result,
                reason=reason_of(operation.flight),
                duration=now - began,
                waited=operation.flight.waited(now),
            )
        )
        return result, None if change is None else _Refusal(request, result, change)

    async def _prepare(
        self, operation: Operation[T], request: TokenRequest
    ) -> CredentialError | None:
        """Add credential and proof to a request, or return why there is no credential.

        The proof comes last and is dated then, since Okta accepts only fresh proofs. Cancellation
        leaves an RSA signature to its thread.
        """
        authentication = operation.known_authentication() or await operation.resolve()
        if isinstance(authentication, CredentialError):
            return authentication
        operation.authentication = authentication
        operation.clock_offset = offset = self._clock_offset.seconds
        request.now = self._clock.wall_time() + offset
        begun = self._clock.boot_time()
        error = await authenticate(authentication, request)
        if error is None and operation.dpop is not None:
            now = request.now + self._clock.boot_time() - begun
            nonce = self._nonces.get(operation.key.authorization_server)
            proof = await operation.dpop.prove("POST", request.url, now, nonce=nonce)
            request.headers["DPoP"] = proof
            request.secrets.append(proof)
        return error

    def _immediate_retry(
        self,
        operation: Operation[T],
        request: TokenRequest,
        response: Response,
        error: FetchError,
    ) -> ImmediateRetry | None:
        """Return what to change before the request is sent again at once, or None."""
        if self.pauses.end(operation.key) > self._clock.boot_time():
            return None
        return _change_for(operation, request, response, error, self.clock_offset)

    def _timeout_error(self, seconds: float) -> TransportError:
        return TransportError(
            f"no response from {self._origin} within {seconds:.3g} s; check that this machine can "
            "reach it, and that the callable for the secret or key, if there is one, is quick",
            retryable=True,
        )

    def _handle(
        self, operation: Operation[T], request: TokenRequest, response: Response
    ) -> T | FetchError:
        """Update clock offset, nonce and pause from a response, and return what it means."""
        result = operation.parse(response)
        if isinstance(result, TokenResponse) or response.is_oktas():
            self._learn(operation, request, response, result)
        seconds = self._clock.boot_time() - response.sent.boot
        # A longer time is one for which the machine slept.
        if isinstance(result, TokenResponse) and seconds <= self._policy.request_timeout:
            self.response_time = max(seconds, (3 * self.response_time + seconds) / 4)
        self.pauses.learn(operation.key, response, result)
        return result

    def _count_waiters(self) -> int:
        """Return how many callers wait for the operations that are under way."""
        return sum(operation.flight.waiting for operation in self._under_way)

    def _learn(
        self,
        operation: Operation[T],
        request: TokenRequest,
        response: Response,
        result: T | FetchError,
    ) -> None:
        """Learn clock offset and nonce from a response of Okta."""
        if operation.dpop is not None and response.dpop_nonce is not None:
            self._nonces[operation.key.authorization_server] = response.dpop_nonce
        server_time = response.server_time
        if server_time is not None:
            offset = estimated_offset(server_time, response.sent.wall, response.received_at)
            change = None
            if isinstance(result, FetchError):
                change = _change_for(operation, request, response, result, offset)
            before = self._clock_offset.seconds
            self._clock_offset.learn(offset, refused_for_time=change is ImmediateRetry.TIME)
            if abs(before) <= _MAX_OFFSET < abs(self._clock_offset.seconds):
                seconds = self._clock_offset.seconds
                self._emit(ClockDiffers(domain=operation.key.domain, seconds=seconds))


class _Refusal(NamedTuple):
    """A request that Okta refused, and the change with which it may succeed at once."""

    request: TokenRequest
    error: FetchError
    change: ImmediateRetry

    def covers(self, request: TokenRequest) -> bool:
        """Tell whether Okta would refuse another request for the same credential."""
        is_about_credential = self.change is ImmediateRetry.CREDENTIAL
        return is_about_credential and request.credential == self.request.credential


def _error_of_pause(last: object, error: FetchError) -> FetchError:
    """Return the error of a fetch that a pause ends.

    Args:
        last: The error of its last attempt, which says more if it began the pause; None if there
            was no attempt.
        error: Why no other attempt is made.
    """
    if isinstance(last, RateLimitedError | ServerError) and last.retry_at is not None:
        return last
    return error


def _lane_of(flight: TokenFlight | RevocationFlight) -> Lane:
    if flight.urgent:
        return Lane.URGENT
    return Lane.FOREGROUND if flight.wanted else Lane.BACKGROUND


def _change_for(
    operation: Operation[T],
    request: TokenRequest,
    response: Response,
    error: FetchError,
    clock_offset: float,
) -> ImmediateRetry | None:
    """Return what was wrong with a refused request, if Okta's clock has an offset, or None."""
    clock_was_wrong = abs(clock_offset - operation.clock_offset) > _MISTIMED
    return immediate_retry_for(
        response,
        error,
        proof=operation.dpop is not None,
        mistimed=clock_was_wrong and "client_assertion" in request.form,
    )
