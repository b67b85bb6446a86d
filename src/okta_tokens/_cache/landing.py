"""Landings: what the result of a flight changes in its cache entry, and what the waiters get.

Everything here decides in plain functions, between the end of a fetch and the waiters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from okta_tokens._cache.entry import USED, Entry
from okta_tokens._cache.misuse import Misuse
from okta_tokens._cache.renewals import USABLE, Renewals, is_retryable
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.rate_limits import requested_wait
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_request import Result, TokenFlight, reason_of
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.policies import Random, RefreshPolicy, RetryPolicy
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, Instant, current_instant
from okta_tokens.errors import (
    InvalidResponseError,
    RateLimitedError,
    TokenProviderError,
)
from okta_tokens.events import (
    FetchFailed,
    KeyRecovered,
    LastRenewalFailed,
    Reason,
    RenewalAdopted,
    RenewalFailed,
    RenewalScheduled,
    ScopesNotGranted,
    TokenAdopted,
    TokenFetched,
    TokenRenewed,
)

if TYPE_CHECKING:
    from okta_tokens._cache.shared_failure import Setback
    from okta_tokens._cache.shared_fetch import SharedFetch


class Landing:
    """Change cache entries by the results of their flights.

    Args:
        renewals: Sets the timers of the entries.
        misuse: Judges what arrives.
        sharing: Shares tokens with other processes; None if there is no store.
        clock: Tells the time.
        refresh: When tokens are renewed.
        retry: How long a cool-down lasts.
        registry: Has the endpoint of each domain.
        random: Draws from the unit interval.
        emit: Called with every event.
    """

    def __init__(  # noqa: PLR0913 - each is another part, and given once
        self,
        renewals: Renewals,
        misuse: Misuse,
        sharing: SharedFetch | None,
        *,
        clock: Clock,
        refresh: RefreshPolicy,
        retry: RetryPolicy,
        registry: EndpointRegistry,
        random: Random,
        emit: Emitter,
    ) -> None:
        self._renewals = renewals
        self._misuse = misuse
        self._sharing = sharing
        self._clock = clock
        self._refresh = refresh
        self._retry = retry
        self._registry = registry
        self._random = random
        self._emit = emit

    def land(
        self,
        flight: TokenFlight,
        entry: Entry,
        result: TokenResponse | TokenProviderError,
        setback: Setback | None = None,
    ) -> Result:
        """Change the entry of a flight by its result, and return what the waiters get.

        Six cases:

        1. The entry cools down and the store has no token: nothing changes.
        2. A token that is usable: the entry holds it from now on.
        3. A renewal met a 429: it moves to the end of the pause.
        4. A renewal met another process's failure, and there is time for another one: it moves to
           the end of the shared back-off.
        5. Another error while a usable token is held: the renewal failed, and no caller notices.
        6. Another error without a usable token: callers get the error, and the entry cools down.

        A token that is past its leeway on arrival counts as an error.

        Args:
            flight: The flight, whose key was not cleared.
            entry: The entry of its key, which is in the cache.
            result: What the fetch returned.
            setback: For how long the error holds back all processes; None if they do not share it.
        """
        now = current_instant(self._clock)
        self._misuse.check_callable(entry.key)
        if result is entry.error:
            if entry.instant is None:  # its timer fired while this flight was under way
                self._renewals.set_timer(entry, now.boot)
            return result
        if isinstance(result, TokenResponse):
            token = self._make_token(entry.key, result)
            if token._usable_for(*now) > 0:
                self._accept(entry, token, result, now, flight)
                return token
            result = lifetime_too_short(
                "it arrived", flight.key, attempts=1, request_id=result.request_id
            )
        if isinstance(result, RateLimitedError) and not flight.wanted:
            self._renewals.postpone(entry, now, flight, result.status)
        elif entry.state(now) not in USABLE:
            self._fail_fetch(entry, result, now, flight, setback)
        elif setback is None or not setback.adopted or self._renewals.is_last(entry, now):
            self._fail_renewal(entry, result, now, flight, setback)
        else:
            status = getattr(result, "status", None)
            self._renewals.postpone(entry, now, flight, status, after=setback.backoff)
        return result

    def land_disowned(
        self, flight: TokenFlight, result: TokenResponse | TokenProviderError
    ) -> Result:
        """Return what the waiters of a flight get whose key was cleared; nothing is kept.

        Args:
            flight: The flight.
            result: What the fetch returned.
        """
        if not isinstance(result, TokenResponse):
            return result
        token = self._make_token(flight.key, result)
        if self._sharing is not None:
            self._sharing.discard(token)
        return token

    def _make_token(self, key: TokenKey, response: TokenResponse) -> AccessToken:
        return AccessToken(
            response.value,
            response.token_type,
            response.scope,
            key,
            expiry=response.sent.later(response.lifetime),
            leeway=self._refresh.leeway(response.lifetime),
            clock=self._clock,
            identity=response.identity,
        )

    # A token arrived

    def _accept(
        self,
        entry: Entry,
        token: AccessToken,
        response: TokenResponse,
        now: Instant,
        flight: TokenFlight,
    ) -> None:
        """Hold a token, and set the timer of its renewal."""
        lifetime = response.lifetime
        response_time = self._registry.endpoint(entry.key).response_time
        age = self._refresh.refresh_after(lifetime, self._random, response_time)
        refresh_at = response.sent.boot + age
        recovered = None if entry.error is None else _recovered(entry, now)
        if response.damping:
            entry.carry_over(response.damping)
        entry.accept(token, lifetime=lifetime, refresh_at=refresh_at, now=now)
        if flight.is_awaited:
            entry.used = USED
        if token._scope != entry.granted:
            self._report_scopes(entry, token)
        self._misuse.check_lifetime(entry.key, lifetime)
        if response.adopted:
            self._report_adopted(token, response, now, flight)
        else:
            fetched = TokenRenewed if flight.reason == "due" else TokenFetched
            self._emit.emit_lazily(
                fetched,
                lambda: fetched(
                    key=entry.key,
                    reason=reason_of(flight),
                    waited=flight.waited(now.boot),
                    lifetime=lifetime,
                    duration=now.boot - response.sent.boot,
                    scopes=token.scopes,
                    missing_scopes=entry.key.scopes - token.scopes,
                    waiters=flight.waiting,
                    request_id=response.request_id,
                ),
            )
            self._misuse.check_response_time(entry.key, response_time, lifetime)
            self._misuse.check_provider(entry.key, now=now.boot, usable_until=entry.unusable_at)
        if recovered is not None:
            self._emit(recovered)
        self._emit.emit_lazily(
            RenewalScheduled,
            lambda: RenewalScheduled(key=entry.key, after=refresh_at - now.boot),
        )
        self._renewals.set_timer(entry, refresh_at)

    def _report_adopted(
        self, token: AccessToken, response: TokenResponse, now: Instant, flight: TokenFlight
    ) -> None:
        """Tell that the token is another process's."""
        adopted = RenewalAdopted if flight.reason == "due" else TokenAdopted
        self._emit(
            adopted(
                **_fields_of(flight, now),
                lifetime=response.lifetime,
                remaining=response.sent.boot + response.lifetime - now.boot,
                scopes=token.scopes,
                waiters=flight.waiting,
            )
        )

    def _report_scopes(self, entry: Entry, token: AccessToken) -> None:
        """Tell that a token has fewer scopes than requested, once for each change."""
        entry.granted = token._scope
        missing = entry.key.scopes - token.scopes
        if missing:
            self._emit(ScopesNotGranted(key=entry.key, missing_scopes=missing, scopes=token.scopes))

    # No token arrived

    def _fail_renewal(
        self,
        entry: Entry,
        error: TokenProviderError,
        now: Instant,
        flight: TokenFlight,
        setback: Setback | None,
    ) -> None:
        """Begin the back-off, in which callers still get the token that is held."""
        after = self._renewals.back_off(
            entry, error, now, None if setback is None else setback.backoff
        )
        is_last = after is None or entry.renew_after >= entry.unusable_at
        kind = LastRenewalFailed if is_last else RenewalFailed
        self._emit(
            kind(
                **_fields_of(flight, now),
                error=error,
                failures=entry.failed_renewals,
                remaining=entry.unusable_at - now.boot,
                after=after,
                adopted=setback is not None and setback.adopted,
            )
        )

    def _fail_fetch(
        self,
        entry: Entry,
        error: TokenProviderError,
        now: Instant,
        flight: TokenFlight,
        setback: Setback | None,
    ) -> None:
        """Begin the cool-down, in which later callers get the error."""
        cooldown = self._cool_down(entry, error, now, setback)
        last_token = entry.failing_since if entry.token is None else entry.unusable_at
        self._emit(
            FetchFailed(
                **_fields_of(flight, now),
                error=error,
                waiters=flight.waiting,
                failures=entry.failed_fetches,
                without_token=now.boot - last_token,
                cooldown=cooldown,
                adopted=setback is not None and setback.adopted,
            )
        )

    def _cool_down(
        self, entry: Entry, error: TokenProviderError, now: Instant, setback: Setback | None
    ) -> float:
        """Let later callers get an error, and return for how many seconds."""
        entry.failed_fetches += 1
        entry.failing_since = min(entry.failing_since, now.boot)
        if setback is None:
            cooldown = self._retry.cooldown(entry.failed_fetches, self._random)
            cooldown = max(cooldown, requested_wait(error, now.wall, self._retry.max_pause))
        else:
            cooldown = setback.cooldown
        # For renewals too: a wall clock that is set right again may make a token usable again.
        entry.refuse_until = entry.renew_after = now.boot + cooldown
        entry.error = error
        if not entry.kept_fresh:
            # Long enough to count consecutive failures; then a mistyped scope is forgotten.
            self._renewals.set_timer(entry, entry.refuse_until + self._renewals.failures_kept)
        elif is_retryable(error):
            self._renewals.set_timer(entry, entry.refuse_until)
        return cooldown


class _FlightFields(TypedDict):
    """What an event tells about the flight that caused it."""

    key: TokenKey
    reason: Reason
    waited: float
    duration: float


def _fields_of(flight: TokenFlight, now: Instant) -> _FlightFields:
    return {
        "key": flight.key,
        "reason": reason_of(flight),
        "waited": flight.waited(now.boot),
        "duration": now.boot - flight.started_at,
    }


def _recovered(entry: Entry, now: Instant) -> KeyRecovered:
    seconds = now.boot - entry.failing_since
    return KeyRecovered(key=entry.key, failures=entry.failures, seconds=seconds)


def lifetime_too_short(
    event: str, key: TokenKey, *, attempts: int = 0, request_id: str | None = None
) -> InvalidResponseError:
    """Return the error for a token that no caller can use.

    Args:
        event: When the token was past its leeway.
        key: The key of the token.
        attempts: The number of requests.
        request_id: The `X-Okta-Request-Id` of the response.
    """
    return InvalidResponseError(
        f"the token was past its leeway when {event}; its lifetime is too short for this machine "
        "or network, so raise the lifetime in the authorization server's access policy",
        status=200,
        key=key,
        attempts=attempts,
        retryable=True,
        request_id=request_id,
    )
