"""The token manager: what a caller gets, and what a flight does.

Everything here decides in plain functions, except the coroutines that wait for a flight or fly.
`landing` decides what a result changes, `renewals` when to renew, `invalidation` what to drop.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from okta_tokens._cache.entry import USED, Entry, State
from okta_tokens._cache.entry_cache import EntryCache
from okta_tokens._cache.invalidation import Invalidation
from okta_tokens._cache.landing import Landing, lifetime_too_short
from okta_tokens._cache.misuse import Misuse
from okta_tokens._cache.renewals import USABLE, Renewals
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_request import FetchOperation, Result, TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.policies import Random, RefreshPolicy, RetryPolicy
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, current_instant
from okta_tokens._runtime.internal_error import internal_error
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._runtime.single_flight import SingleFlight
from okta_tokens.errors import (
    ConfigurationError,
    FetchError,
    ProviderStateError,
    TokenProviderError,
    TransportError,
)
from okta_tokens.events import KeyEvicted

if TYPE_CHECKING:
    from okta_tokens._cache.shared_failure import Setback
    from okta_tokens._cache.shared_fetch import SharedFetch

E = TypeVar("E", bound=TokenProviderError)

_ADOPT_INTERVAL = 1.0
"""Seconds between two reads of the store while a key cools down."""

_WITHOUT_TOKEN = {State.ABSENT, State.EXPIRED}

_MIN_FLIGHT_LIMIT = 1_000
"""So many flights may be under way even if the cache is small. Flights have a limit because callers
may leave a flight and name other scopes as quickly as they like."""


class TokenManager:
    """Hold the cache entries of a provider, and start, join and land the flights that fill them.

    Args:
        clock: Tells the time.
        schedule: Calls back when something falls due.
        refresh: When tokens are renewed.
        retry: How long callers wait, and how long a cool-down lasts.
        max_tokens: How many entries are kept.
        registry: Has the endpoint of each domain.
        random: Draws from the unit interval.
        emit: Called with every event.
        sharing: Shares tokens with other processes; None if there is no store.
        is_diagnostic: Whether this is the manager of the doctor's provider; see `Misuse`.
    """

    def __init__(  # noqa: PLR0913 - each is another part, and given once
        self,
        *,
        clock: Clock,
        schedule: Schedule,
        refresh: RefreshPolicy,
        retry: RetryPolicy,
        max_tokens: int,
        registry: EndpointRegistry,
        random: Random,
        emit: Emitter,
        sharing: SharedFetch | None = None,
        is_diagnostic: bool = False,
    ) -> None:
        self._clock = clock
        self._schedule = schedule
        self._retry = retry
        self._registry = registry
        self._emit = emit
        self._sharing = sharing
        self._misuse = Misuse(refresh, retry, emit, is_diagnostic=is_diagnostic)
        self._is_stopped = False
        self._to_renew: set[TokenKey] = set()  # until the event loop has looked at them
        self.errors_served: Counter[type[TokenProviderError]] = Counter()
        """The number of errors that callers got, of each type."""
        self._max_flights = max(_MIN_FLIGHT_LIMIT, 2 * max_tokens)
        self.entries: EntryCache = EntryCache(max_tokens, self._evict)
        self.flights: SingleFlight[TokenKey, Result] = SingleFlight(self._fly, schedule)
        self._renewals = Renewals(
            self.entries,
            self.flights,
            clock=clock,
            schedule=schedule,
            refresh=refresh,
            retry=retry,
            registry=registry,
            random=random,
            emit=emit,
        )
        self._landing = Landing(
            self._renewals,
            self._misuse,
            sharing,
            clock=clock,
            refresh=refresh,
            retry=retry,
            registry=registry,
            random=random,
            emit=emit,
        )
        self.invalidation: Invalidation = Invalidation(
            self.entries,
            self.flights,
            self._renewals,
            sharing,
            clock=clock,
            schedule=schedule,
            retry=retry,
            emit=emit,
        )

        if sharing is not None:
            # Most programs have no store, and do not load what serves one.
            from okta_tokens._cache.hints import Hints  # noqa: PLC0415 - as it says

            sharing.follow(self.invalidation.withdraw, self.invalidation.withdraw_cleared)
            hints = Hints(
                self.entries,
                self.flights,
                self._landing,
                sharing,
                clock=clock,
                schedule=schedule,
                random=random,
            )
            sharing.notifications.on_hint = hints.receive

    # What callers get

    def deadline(self) -> float:
        """Return when a caller who begins to wait now gives up, in seconds of boot time."""
        return self._clock.boot_time() + self._retry.max_wait

    def server_time(self, key: TokenKey) -> float:
        """Return the present moment by Okta's clock, in seconds since the epoch.

        Args:
            key: A key of the domain.
        """
        return self._registry.endpoint(key).server_time()

    def warn_of_plain_http(self, origin: str) -> None:
        """Emit, once for each origin, that tokens go there in clear text.

        Args:
            origin: An origin that is not this machine.
        """
        self._registry.warn_of_plain_http(origin)

    def get_or_join(
        self, entry: Entry, deadline: float
    ) -> AccessToken | asyncio.Future[TokenFlight | None]:
        """Return a usable token, or the future of the flight that the caller joins.

        Args:
            entry: An entry that is in the cache.
            deadline: When the caller gives up, in seconds of boot time.

        Raises:
            FetchError: A copy of the last error, while the entry cools down; or because a pause
                outlasts the deadline.
        """
        key = entry.key
        flight = self.flights.under_way.get(key)
        if flight is None or entry.token is not None:
            token = self._usable_token(entry)
            if token is not None:
                return token
            flight = flight or self._start_fetch(entry, deadline)
        return self._join(flight, deadline)

    def peek(
        self, entry: Entry, call_soon: Callable[[Callable[[TokenKey], None], TokenKey], object]
    ) -> AccessToken | None:
        """Return the usable token of an entry, to any thread.

        Another thread may run between any two lines of the event loop's. So this reads the token
        once and decides about that object. It changes nothing but the mark of a use, and leaves a
        renewal that is due to the event loop, once until that has looked at it.

        Args:
            entry: An entry; if the cache dropped it, the one that took its place is used.
            call_soon: Lets the event loop call a function with a key.
        """
        key = entry.key
        if entry.detached:
            entry = self.entries.get(key) or entry
        token = entry.token
        now = current_instant(self._clock)
        if token is None or token._usable_for(*now) <= 0:
            return None
        entry.used = USED
        is_due = now.boot >= max(entry.refresh_at, entry.renew_after)
        if is_due and key not in self.flights.under_way and key not in self._to_renew:
            self._to_renew.add(key)
            call_soon(self._renew, key)
        return token

    def _renew(self, key: TokenKey) -> None:
        """Start the renewal of a token that another thread has used, if it is still due."""
        self._to_renew.discard(key)
        entry, now = self.entries.get(key), current_instant(self._clock)
        if entry is not None and entry.state(now) is State.DUE:
            self._renewals.begin(entry, now)

    def fetch_soon(self, key: TokenKey) -> None:
        """Start to fetch a token in the background, unless one is held or the key cools down.

        Args:
            key: The key of the token.
        """
        entry, now = self.entries.get_or_add(key), current_instant(self._clock)
        if self._is_stopped or entry.state(now) not in _WITHOUT_TOKEN:
            return
        with suppress(ConfigurationError):  # which callers get
            self._registry.check(key)
            self._renewals.begin(entry, now)

    def reason(self, key: TokenKey) -> str:
        """Return, to any thread, why there is no usable token of a key.

        Args:
            key: The key.
        """
        entry = self.entries.get(key)
        error = None if entry is None else entry.error
        why = "none was fetched" if error is None else f"{type(error).__name__}: {error.args[0]}"
        return f"no usable token for {key}: {why}"

    def token_of(self, key: TokenKey, flight: TokenFlight | None) -> AccessToken | None:
        """Return the token of a flight that a caller waited for.

        Args:
            key: The key of the token.
            flight: The flight that landed; None if the deadline came first.

        Returns:
            The token, or None if it is past its leeway by now.

        Raises:
            FetchError: A copy of the flight's error, or because the deadline has passed.
            ProviderStateError: If the provider was closed in the meantime.
        """
        if flight is None:
            raise self._count(self._deadline_error(key))
        result = flight.result
        if isinstance(result, AccessToken):
            left = result._usable_for(self._clock.boot_time(), self._clock.wall_time())
            return result if left > 0 else None
        if result is None:
            message = (
                "the provider was closed, or failed, while this caller waited for a token; make "
                "another provider"
            )
            raise ProviderStateError(message)
        raise self._count(copy.copy(result))

    async def rejoin(self, key: TokenKey, deadline: float) -> AccessToken:
        """Return a usable token to a caller who resumed too late to use the token of a flight.

        The caller joins one more flight, then gets an error.

        Args:
            key: The key of the token.
            deadline: When the caller gives up, in seconds of boot time.

        Raises:
            FetchError: As from `get_or_join` and `token_of`; or because the second token came too
                late as well.
            ProviderStateError: If the provider was closed in the meantime.
        """
        found = self.get_or_join(self.entries.get_or_add(key), deadline)
        token = found if isinstance(found, AccessToken) else self.token_of(key, await found)
        if token is not None:
            return token
        raise self._count(lifetime_too_short("the caller resumed, twice", key))

    async def refresh(self, key: TokenKey, deadline: float) -> AccessToken:
        """Return a token whose request begins after this call.

        Other callers get the held token until the new one arrives. Callers who refresh a key at the
        same time share a flight. Neither the cool-down nor a token in the store holds it back.

        Args:
            key: The key of the token.
            deadline: When the caller gives up, in seconds of boot time.

        Raises:
            FetchError: As from `get_or_join` and `token_of`, but not because of the cool-down.
            ProviderStateError: If the provider was closed in the meantime.
        """
        before = flight = self.flights.under_way.get(key)
        while flight is not None and (flight is before or not flight.forced):
            if await self._join(flight, deadline) is None:
                raise self._count(self._deadline_error(key))
            flight = self.flights.under_way.get(key)
        if flight is None:
            flight = self._start_fetch(self.entries.get_or_add(key), deadline, forced=True)
        token = self.token_of(key, await self._join(flight, deadline))
        return token or await self.rejoin(key, deadline)

    def _join(self, flight: TokenFlight, deadline: float) -> asyncio.Future[TokenFlight | None]:
        if not flight.wanted:
            self._registry.endpoint(flight.key).promote(flight)
        return self.flights.join(flight, deadline)

    def _usable_token(self, entry: Entry) -> AccessToken | None:
        """Return the usable token of an entry, and start its renewal if that is due.

        Three cases: a usable token is returned; an entry that cools down raises its error, unless
        the store may hold a token of another process; otherwise the caller needs a flight.

        Raises:
            FetchError: A copy of the last error, while the entry cools down.
        """
        if entry.token is None and entry.error is None:
            return None
        now = current_instant(self._clock)
        state = entry.state(now)
        if entry.token is not None and state in USABLE:
            entry.used = USED
            if state is State.DUE:
                self._renewals.begin(entry, now)
            entry.open_window(now)
            return entry.token
        if entry.error is not None and state is State.COOLING_DOWN:
            if self._sharing is None or now.boot < entry.adopt_after:
                raise self._count(copy.copy(entry.error))
            entry.adopt_after = now.boot + _ADOPT_INTERVAL
        return None

    def _start_fetch(self, entry: Entry, deadline: float, *, forced: bool = False) -> TokenFlight:
        """Start a flight for a caller, for an entry that is in the cache.

        Raises:
            ConfigurationError: If the given session is not suitable for the domain.
            RateLimitedError: If a pause outlasts the deadline.
            TransportError: If too many flights are under way.
        """
        key = entry.key
        self._registry.check(key)
        pause_error = self._registry.endpoint(key).pauses.error(key, deadline)
        if pause_error is not None:
            raise self._count(pause_error)
        if len(self.flights.under_way) >= self._max_flights:
            message = (
                f"{self._max_flights} fetches are under way already; send fewer requests with "
                "different scopes at once, or raise TokenProvider's max_tokens"
            )
            raise self._count(TransportError(message, key=key, retryable=True))
        if not entry.lifetime and not entry.failed_fetches:
            self._misuse.check_request(key)
        reason = "forced" if forced else entry.fetch_reason()
        return self.flights.start(key, deadline, reason=reason, forced=forced)

    def _count(self, error: E) -> E:
        """Count an error that a caller gets, and return it."""
        self.errors_served[type(error)] += 1
        return error

    def _deadline_error(self, key: TokenKey) -> FetchError:
        """Return the error for a caller who has waited for as long as the policy allows."""
        pause_error = self._registry.endpoint(key).pauses.error(key, -math.inf)
        return pause_error or TransportError(
            f"no token within RetryPolicy.max_wait ({self._retry.max_wait:g} s): requests to the "
            "domain are slow, or wait for a place; a request that was sent continues in the "
            "background, so try again later",
            key=key,
            retryable=True,
        )

    def keep_fresh(self, key: TokenKey) -> bool:
        """Renew a key from now on even if it is unused.

        Args:
            key: The key.

        Returns:
            False if too many keys are kept fresh already.
        """
        entry = self.entries.get(key) or Entry(key)
        kept = self.entries.keep(entry)
        if kept and entry.token is not None:
            self._renewals.set_timer(entry, max(entry.refresh_at, entry.refuse_until))
        return kept

    # What a flight does

    async def _fly(self, flight: TokenFlight) -> Result:
        """Fetch a token and land it; nothing is awaited between the result and the waiters.

        A fetch does not begin too soon after a token that lived less than a second.
        """
        entry = self.entries.get_or_add(flight.key)
        result: TokenResponse | TokenProviderError
        setback: Setback | None = None
        try:
            if entry.token is not None and entry.refresh_at > entry.unusable_at:
                await self._clock.sleep_until(entry.refresh_at)
            if self._sharing is None:
                result = await self._registry.endpoint(flight.key).run(FetchOperation(flight))
            else:
                result, setback = await self._fetch_or_adopt(flight, self._sharing)
        except Exception as error:  # noqa: BLE001 - an internal error must not leave callers waiting
            result = internal_error("fetching a token", error)
        if self._is_stopped:
            raise asyncio.CancelledError  # again: the callable for the secret swallowed the first
        if not self.flights.owns(flight):
            return self._landing.land_disowned(flight, result)
        if entry.detached:
            entry = self.entries.get_or_add(flight.key)
        return self._landing.land(flight, entry, result, setback)

    async def _fetch_or_adopt(
        self, flight: TokenFlight, sharing: SharedFetch
    ) -> tuple[TokenResponse | TokenProviderError, Setback | None]:
        """Fetch a token as one of the processes that share a store.

        While the entry cools down, only the store is asked, since another process may have a token;
        a forced flight fetches.

        Returns:
            The token or the error; and for how long the error holds back all processes, if it does.
        """
        entry = self.entries.get_or_add(flight.key)
        state = entry.state(current_instant(self._clock))
        if flight.forced or entry.error is None or state is not State.COOLING_DOWN:
            return await sharing.fetch(flight, entry)
        return await sharing.adopt(flight, entry) or entry.error, None

    # What ends

    def _evict(self, entry: Entry) -> None:
        self._schedule.cancel(entry)
        if not self._misuse.told_full and entry.state(current_instant(self._clock)) in USABLE:
            self._misuse.tell_full(entry.key)
        entry.detach()
        self._emit(KeyEvicted(key=entry.key))

    def stop(self) -> None:
        """Hand out no token any more: every holder of an entry must ask the provider first."""
        self._is_stopped = True
        self._schedule.clear()
        for entry in self.entries:
            entry.instant = None
            entry.detach()
