"""Keep tokens: what a caller gets, what a flight leaves behind, what happens in the background.

Everything here decides in plain functions, save what waits for a flight, and what flies.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Callable

from okta_tokens._cache.entry import FOR_RENEWAL, MAX_DAMPING, USED, Entry, State
from okta_tokens._cache.entry_cache import EntryCache
from okta_tokens._cache.sharing import Sharing
from okta_tokens._endpoint.endpoint import Endpoint, TokenFlight, internal_error
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.policies import Random, RefreshPolicy, RetryPolicy
from okta_tokens._model.token import AccessToken, TokenKey, advice_for
from okta_tokens._runtime.clock import Clock, Instant, read
from okta_tokens._runtime.flight import SingleFlight
from okta_tokens._runtime.schedule import Schedule
from okta_tokens.errors import (
    FetchError,
    InvalidResponseError,
    ProviderStateError,
    RateLimitedError,
    TokenProviderError,
    TransportError,
)
from okta_tokens.events import (
    Event,
    FetchFailed,
    InvalidationIgnored,
    KeyEvicted,
    KeyForgotten,
    KeyIdle,
    RenewalFailed,
    RenewalPostponed,
    RenewalScheduled,
    TokenAdopted,
    TokenFetched,
    TokenInvalidated,
    UnusualRequest,
)

Outcome = AccessToken | TokenProviderError

_USABLE = {State.FRESH, State.DUE}

_BETWEEN_LOOKS = 1.0
"""Seconds between two looks into the store while a key cools down."""


class TokenManager:
    """Hold the entries of a provider, and start, join and land the flights that fill them.

    Args:
        clock: Tells the time.
        schedule: Calls back when something falls due.
        refresh: When tokens are renewed.
        retry: How long callers wait, and for how long an error answers them.
        max_tokens: How many entries are kept.
        endpoint: Returns the endpoint of a key's domain.
        random: Draws from the unit interval.
        emit: Hears what happens.
        fleet: Shares tokens with other processes; None if this one is alone.
    """

    def __init__(  # noqa: PLR0913 - each is another part, and given once
        self,
        *,
        clock: Clock,
        schedule: Schedule,
        refresh: RefreshPolicy,
        retry: RetryPolicy,
        max_tokens: int,
        endpoint: Callable[[TokenKey], Endpoint],
        random: Random,
        emit: Callable[[Event], None],
        fleet: Sharing | None = None,
    ) -> None:
        self._clock = clock
        self._schedule = schedule
        self._refresh = refresh
        self._retry = retry
        self._endpoint = endpoint
        self._random = random
        self._emit = emit
        self._sharing = fleet
        self._look = self._fall_due  # one bound method for all timers
        self._is_shut = False
        self.entries = EntryCache(max_tokens, self._evicted)
        self.flights = SingleFlight[TokenKey, Outcome](self._fly, schedule)

    # What callers get

    def deadline(self) -> float:
        """Return when a caller who begins to wait now gives up, in seconds of boot time."""
        return self._clock.boot_time() + self._retry.max_wait

    def ask(
        self, entry: Entry, deadline: float
    ) -> AccessToken | asyncio.Future[TokenFlight | None]:
        """Return a usable token, or what to wait for: a flight that is joined, or begun.

        Args:
            entry: Whose token; an entry that is in the cache.
            deadline: When the caller gives up, in seconds of boot time.

        Raises:
            FetchError: A copy of what a flight ended with a moment ago; or because a pause outlasts
                the deadline.
        """
        key = entry.key
        flight = self.flights.under_way.get(key)
        if flight is None or entry.token is not None:
            held = self._offer(entry)
            if held is not None:
                return held
            flight = flight or self._depart(key, deadline)
        if not flight.wanted:
            self._endpoint(key).promote(flight)
        return self.flights.join(flight, deadline)

    def take(self, key: TokenKey, flight: TokenFlight | None) -> AccessToken | None:
        """Return the token that a caller has waited for; None if it is past its use meanwhile.

        Args:
            key: Whose token.
            flight: The one that landed; None if the deadline came first.

        Raises:
            FetchError: A copy of what the flight ended with; or because the deadline has come.
            ProviderStateError: If the provider was closed meanwhile.
        """
        if flight is None:
            raise self._too_slow(key)
        outcome = flight.outcome
        if isinstance(outcome, AccessToken):
            left = outcome._usable_for(self._clock.boot_time(), self._clock.wall_time())
            return outcome if left > 0 else None
        if outcome is None:
            message = "the provider was closed, or died, while this caller waited for a token"
            raise ProviderStateError(message)
        raise copy.copy(outcome)

    async def ask_again(self, key: TokenKey, deadline: float) -> AccessToken:
        """Return a usable token to a caller who came too late to use what a flight brought; once.

        Raises:
            FetchError: As from `ask` and `take`; or because it is too late for this one as well.
            ProviderStateError: If the provider was closed meanwhile.
        """
        offer = self.ask(self.entries.get_or_add(key), deadline)
        token = offer if isinstance(offer, AccessToken) else self.take(key, await offer)
        if token is not None:
            return token
        message = (
            "the token was past its use before the caller could have it, twice; its lifetime is "
            "too short for this machine or network"
        )
        raise InvalidResponseError(message, status=200, key=key, retryable=True)

    def _offer(self, entry: Entry) -> AccessToken | None:
        """Return the token that an entry holds, if it is usable; see to its renewal if it is time.

        Raises:
            FetchError: A copy of the last error, while the entry cools down.
        """
        now = read(self._clock)
        state = entry.state(now)
        if entry.token is not None and state in _USABLE:
            entry.used = USED
            if state is State.DUE:
                self._renew(entry, now)
            entry.open_window(now)
            return entry.token
        if entry.error is not None and state is State.COOLING_DOWN:
            if self._sharing is None or now.boot < entry.look_after:
                raise copy.copy(entry.error)
            entry.look_after = now.boot + _BETWEEN_LOOKS
        return None

    def _depart(self, key: TokenKey, deadline: float) -> TokenFlight:
        """Begin a flight for a caller.

        Raises:
            RateLimitedError: If a pause outlasts the caller's patience.
        """
        refusal = self._endpoint(key).refusal(key, deadline)
        if refusal is not None:
            raise refusal
        entry = self.entries.get_or_add(key)
        if (
            not entry.lifetime
            and not entry.failed_fetches
            and (advice := "; ".join(advice_for(key)))
        ):
            self._emit(UnusualRequest(key=key, advice=advice))
        return self.flights.start(key, deadline)

    def _too_slow(self, key: TokenKey) -> FetchError:
        """Return the error for a caller who has waited for as long as the policy allows."""
        return self._endpoint(key).refusal(key, -math.inf) or TransportError(
            f"no token within {self._retry.max_wait:g} s; requests to the domain wait for "
            "a place, or are slow; they go on, so a later call may find a token",
            key=key,
            retryable=True,
        )

    def reject(self, key: TokenKey, value: str) -> bool:
        """Drop a token that somebody rejected; return whether it was held and dropped."""
        entry = self.entries.get(key)
        now = read(self._clock)
        kept = None if entry is None else entry.reject(value, now)
        if entry is None or kept is None:
            return False
        if kept:
            if entry.ignored == 1:  # a busy caller rejects it a thousand times
                self._emit(InvalidationIgnored(key=key, remaining=kept))
            return False
        self._emit(TokenInvalidated(key=key, damping=entry.damping))
        if self._sharing is not None:
            self._sharing.discard(key, value)
        # A key that nobody asks for again is forgotten, but not before the longest damping is over:
        # callers who come once a minute, to an API that rejects every token, must not start anew.
        next_look = entry.refuse_until if entry.kept_fresh else now.boot + MAX_DAMPING
        self._call(entry, max(now.boot, next_look))
        return True

    def forget(self, key: TokenKey, value: str) -> None:
        """Hand a token out no more, and fetch no other one until somebody asks."""
        if self._sharing is not None:
            self._sharing.discard(key, value)
        entry = self.entries.get(key)
        if entry is None or entry.token is None or entry.token.value != value:
            return
        entry.remember(value)
        entry.drop_token()
        self._schedule.cancel(entry.timer)
        entry.timer = None
        if not entry.kept_fresh:
            self._call(entry, self._clock.boot_time() + self._retry.max_cooldown)

    def keep_fresh(self, key: TokenKey) -> bool:
        """Renew a key also while nobody asks; return False if too many are kept already."""
        entry = self.entries.get(key) or Entry(key)
        kept = self.entries.keep(entry)
        if kept and entry.token is not None:
            self._call(entry, max(entry.refresh_at, entry.refuse_until))
        return kept

    # What a flight leaves behind

    async def _fly(self, flight: TokenFlight) -> Outcome:
        """Fetch a token and land it; between the answer and the waiters nothing is awaited."""
        try:
            outcome: TokenResponse | TokenProviderError = await self._fetch(flight)
        except Exception as error:  # noqa: BLE001 - a defect here must not leave callers hanging
            outcome = internal_error("fetch", error)
        if self._is_shut:
            raise asyncio.CancelledError  # once more: the callable for the secret swallowed it
        return self._land(flight, outcome)

    async def _fetch(self, flight: TokenFlight) -> TokenResponse | TokenProviderError:
        if self._sharing is None:
            return await self._endpoint(flight.key).fetch(flight)

        def is_rejected(value: str) -> bool:
            return value in self.entries.get_or_add(flight.key).rejected

        entry = self.entries.get_or_add(flight.key)
        if entry.error is not None and entry.state(read(self._clock)) is State.COOLING_DOWN:
            # Another process may have had better luck; Okta is not asked.
            return await self._sharing.look(flight, is_rejected) or entry.error
        return await self._sharing.fetch(flight, is_rejected)

    def _land(self, flight: TokenFlight, outcome: TokenResponse | TokenProviderError) -> Outcome:
        entry = self.entries.get_or_add(flight.key)
        now = read(self._clock)
        if outcome is entry.error:  # which was looked at again, and has counted before
            if entry.timer is None:  # it fell due while this flight was under way
                self._call(entry, now.boot)
            return outcome
        if isinstance(outcome, TokenResponse):
            token = self._make_token(entry.key, outcome)
            if token._usable_for(*now) > 0:
                self._land_token(entry, token, outcome, now, flight.waiting)
                return token
            outcome = _too_late(outcome, flight.key)
        if isinstance(outcome, RateLimitedError) and not flight.wanted:
            self._postpone(entry, now)
        elif entry.state(now) in _USABLE:
            self._land_failed_renewal(entry, outcome, now)
        else:
            self._land_failed_fetch(entry, outcome, now, flight.waiting)
        return outcome

    def _make_token(self, key: TokenKey, grant: TokenResponse) -> AccessToken:
        return AccessToken(
            grant.value,
            grant.token_type,
            grant.scopes,
            key,
            *grant.sent.later(grant.lifetime),
            self._refresh.leeway(grant.lifetime),
            self._clock,
        )

    def _land_token(
        self, entry: Entry, token: AccessToken, grant: TokenResponse, now: Instant, waiters: int
    ) -> None:
        lifetime = grant.lifetime
        refresh_at = grant.sent.boot + self._refresh.refresh_after(lifetime, self._random)
        entry.accept(token, lifetime=lifetime, refresh_at=refresh_at, now=now)
        if waiters:
            entry.used = USED
        if grant.adopted:
            self._emit(
                TokenAdopted(
                    key=entry.key,
                    lifetime=lifetime,
                    remaining=grant.sent.boot + lifetime - now.boot,
                    scopes=grant.scopes,
                    waiters=waiters,
                )
            )
        else:
            self._emit(
                TokenFetched(
                    key=entry.key,
                    lifetime=lifetime,
                    duration=now.boot - grant.sent.boot,
                    scopes=grant.scopes,
                    missing_scopes=entry.key.scopes - grant.scopes,
                    waiters=waiters,
                    request_id=grant.request_id,
                )
            )
        self._emit(RenewalScheduled(key=entry.key, after=refresh_at - now.boot))
        self._call(entry, refresh_at)

    def _land_failed_renewal(self, entry: Entry, error: TokenProviderError, now: Instant) -> None:
        """Set when the next renewal is tried; callers do not notice.

        The last try comes so long before the token's end that it can be answered in time. After an
        error that no retry mends, nothing is tried until somebody asks.
        """
        unusable = entry.unusable_at
        entry.failed_renewals += 1
        entry.error = error
        wait = self._refresh.backoff(entry.failed_renewals, entry.lifetime, self._random)
        final = unusable - self._refresh.final_call(entry.lifetime, self._retry.request_timeout)
        entry.renew_after = now.boot + wait
        if now.boot < final < entry.renew_after:
            entry.renew_after = final
        elif final < entry.renew_after and entry.failed_renewals > 1:
            entry.renew_after = unusable
        goes_on = _mends_itself(error)
        self._emit(
            RenewalFailed(
                key=entry.key,
                error=error,
                failures=entry.failed_renewals,
                remaining=unusable - now.boot,
                after=entry.renew_after - now.boot if goes_on else None,
            )
        )
        self._call(entry, entry.renew_after if goes_on else unusable)

    def _land_failed_fetch(
        self, entry: Entry, error: TokenProviderError, now: Instant, waiters: int
    ) -> None:
        """Let later callers have the error for a while."""
        entry.failed_fetches += 1
        cooldown = self._retry.cooldown(entry.failed_fetches, self._random)
        # For renewals too: a wall clock that is set right again may bring a token back.
        entry.refuse_until = entry.renew_after = now.boot + cooldown
        entry.error = error
        self._emit(FetchFailed(key=entry.key, error=error, waiters=waiters, cooldown=cooldown))
        if not entry.kept_fresh:
            # Long enough to count failures in a row, and then a typing error is forgotten.
            self._call(entry, entry.refuse_until + self._retry.max_cooldown)
        elif _mends_itself(error):
            self._call(entry, entry.refuse_until)

    # What happens in the background

    def _fall_due(self, entry: Entry) -> None:
        """Renew a token whose time has come, if anybody uses it; forget it when it has expired."""
        entry.timer = None
        now = read(self._clock)
        usable = entry.state(now) in _USABLE
        if not usable:
            entry.close_window()  # a wall clock that is set back must not enter it again
        if self.flights.under_way.get(entry.key) is not None:
            return  # when it lands, there will be another timer
        if not usable and not entry.kept_fresh:
            self.entries.remove(entry)
            self._emit(KeyForgotten(key=entry.key))
        elif usable and not entry.kept_fresh and not entry.used & FOR_RENEWAL:
            self._emit(KeyIdle(key=entry.key))
            self._call(entry, entry.unusable_at)
        elif now.boot < entry.renew_after:
            self._call(entry, entry.renew_after)
        elif usable or entry.error is None or _mends_itself(entry.error):
            self._renew(entry, now)

    def _renew(self, entry: Entry, now: Instant) -> None:
        """Begin a renewal, unless one is under way, or it is too early for another try."""
        if now.boot < entry.renew_after or self.flights.under_way.get(entry.key) is not None:
            return
        if self._endpoint(entry.key).paused_until(entry.key) > now.boot:
            self._postpone(entry, now)
        else:
            if entry.token is not None:
                self._call(entry, entry.unusable_at)
            self.flights.start(entry.key)

    def _postpone(self, entry: Entry, now: Instant) -> None:
        """Move a renewal to the end of a pause, and some way on, lest all come at once."""
        pause_end = self._endpoint(entry.key).paused_until(entry.key)
        spread = self._refresh.spread(entry.lifetime, self._random)
        entry.renew_after = max(pause_end, now.boot) + spread
        self._emit(RenewalPostponed(key=entry.key, after=entry.renew_after - now.boot))
        self._call(entry, entry.renew_after)

    def _call(self, entry: Entry, instant: float) -> None:
        """Look at an entry again at an instant, in seconds of boot time, and not before."""
        self._schedule.cancel(entry.timer)
        entry.timer = self._schedule.call_at(instant, self._look, entry)

    def _evicted(self, entry: Entry) -> None:
        self._schedule.cancel(entry.timer)
        entry.detach()
        self._emit(KeyEvicted(key=entry.key))

    def shut(self) -> None:
        """Hand out nothing any more: every holder of an entry must ask the provider first."""
        self._is_shut = True
        self._schedule.clear()
        for entry in self.entries:
            entry.timer = None
            entry.detach()


def _too_late(grant: TokenResponse, key: TokenKey) -> InvalidResponseError:
    return InvalidResponseError(
        "the token was past its use when it arrived; its lifetime is too short for this machine or "
        "network",
        status=200,
        key=key,
        attempts=1,
        retryable=True,
        request_id=grant.request_id,
    )


def _mends_itself(error: TokenProviderError) -> bool:
    """Tell whether a later try may succeed without anybody changing anything."""
    return isinstance(error, FetchError) and error.retryable
