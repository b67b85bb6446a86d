"""Renewals: when each token is renewed, and what happens when the timer of an entry fires."""

from __future__ import annotations

from okta_tokens._cache.entry import FOR_RENEWAL, Entry, State
from okta_tokens._cache.entry_cache import EntryCache
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.rate_limits import requested_wait
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_request import Result, TokenFlight, reason_of
from okta_tokens._model.policies import Random, RefreshPolicy, RetryPolicy
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, Instant, current_instant
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._runtime.single_flight import SingleFlight
from okta_tokens.errors import FetchError, TokenProviderError
from okta_tokens.events import KeyForgotten, KeyIdle, RenewalPostponed

USABLE = {State.FRESH, State.DUE}
"""The states of an entry whose token is handed out."""

_COOLDOWNS_KEPT = 10
"""So many of the longest cool-downs the failures of an unused key are remembered: after its
cool-down, and after the expiry of a token whose renewals failed. So a caller who comes every few
minutes also learns how long an outage lasts, and that it is over."""


class Renewals:
    """Start, repeat, postpone and end the renewals of cache entries.

    Args:
        entries: The cache entries.
        flights: The flights that fill them.
        clock: Tells the time.
        schedule: Calls back when something falls due.
        refresh: When tokens are renewed.
        retry: How long one request may take, and a pause last.
        registry: Has the endpoint of each domain.
        random: Draws from the unit interval.
        emit: Called with every event.
    """

    def __init__(  # noqa: PLR0913 - each is another part, and given once
        self,
        entries: EntryCache,
        flights: SingleFlight[TokenKey, Result],
        *,
        clock: Clock,
        schedule: Schedule,
        refresh: RefreshPolicy,
        retry: RetryPolicy,
        registry: EndpointRegistry,
        random: Random,
        emit: Emitter,
    ) -> None:
        self._entries = entries
        self._flights = flights
        self._clock = clock
        self._schedule = schedule
        self._refresh = refresh
        self._retry = retry
        self._registry = registry
        self._random = random
        self._emit = emit
        self.failures_kept: float = _COOLDOWNS_KEPT * retry.max_cooldown
        """For how long failures are remembered, in seconds."""
        self._on_timer = self._fall_due  # one bound method for all timers

    def set_timer(self, entry: Entry, instant: float) -> None:
        """Let `_fall_due` decide about an entry at an instant, and not before.

        Args:
            entry: The entry, which has one timer.
            instant: The instant, in seconds of boot time.
        """
        self._schedule.call_at(instant, self._on_timer, entry)

    def begin(self, entry: Entry, now: Instant) -> None:
        """Start a renewal, unless one is under way, in back-off, or the domain is paused.

        Args:
            entry: The entry.
            now: The present moment.
        """
        if now.boot < entry.renew_after or self._flights.under_way.get(entry.key) is not None:
            return
        last_chance = self._last_chance(entry)
        urgent = entry.token is not None and now.boot >= last_chance
        reason = "due" if now.boot < entry.unusable_at else entry.fetch_reason()
        pauses = self._registry.endpoint(entry.key).pauses
        if pauses.end(entry.key, urgent=urgent) > now.boot:
            self.postpone(entry, now)
        else:
            if entry.token is not None:
                self.set_timer(entry, last_chance)
            self._flights.start(entry.key, reason=reason, urgent=urgent)

    def postpone(
        self,
        entry: Entry,
        now: Instant,
        flight: TokenFlight | None = None,
        status: int | None = None,
        *,
        after: float = 0.0,
    ) -> None:
        """Move a renewal to the end of a pause plus a random time, so that renewals spread out.

        The last renewal before the token becomes unusable waits for no outage.

        Args:
            entry: The entry.
            now: The present moment.
            flight: The flight that met the pause; None if no request was sent.
            status: The HTTP status of the response that it got.
            after: The seconds that are left of a back-off of all processes.
        """
        pauses = self._registry.endpoint(entry.key).pauses
        spread = self._refresh.spread(entry.lifetime, self._random)
        entry.renew_after = max(pauses.end(entry.key), now.boot + after) + spread
        rate_limited_until = pauses.end(entry.key, urgent=True)
        last_chance = self._last_chance(entry)
        if max(rate_limited_until, now.boot) < last_chance < entry.renew_after:
            entry.renew_after = last_chance
        self._emit(
            RenewalPostponed(
                key=entry.key,
                reason="due" if flight is None else reason_of(flight),
                waited=0.0 if flight is None else flight.waited(now.boot),
                status=status,
                after=entry.renew_after - now.boot,
            )
        )
        self.set_timer(entry, entry.renew_after)

    def back_off(
        self, entry: Entry, error: TokenProviderError, now: Instant, seconds: float | None = None
    ) -> float | None:
        """Set when the next renewal is tried after one that failed.

        The last attempt starts early enough before the token becomes unusable that its response
        can arrive in time. After an error that no retry can fix, the next attempt starts when a
        caller asks.

        Args:
            entry: The entry, whose token is usable.
            error: Why the renewal failed.
            now: The present moment.
            seconds: The back-off of all processes; None if each has its own.

        Returns:
            The seconds until the next attempt; None if it starts when a caller asks.
        """
        unusable_at = entry.unusable_at
        entry.failed_renewals += 1
        entry.failing_since = min(entry.failing_since, now.boot)
        entry.error = error
        if seconds is None:
            wait = self._refresh.backoff(entry.failed_renewals, entry.lifetime, self._random)
            wait = max(wait, requested_wait(error, now.wall, self._retry.max_pause))
        else:
            wait = seconds
        last_chance = self._last_chance(entry)
        entry.renew_after = now.boot + wait
        if now.boot < last_chance < entry.renew_after:
            entry.renew_after = last_chance
        elif last_chance < entry.renew_after and entry.failed_renewals > 1:
            entry.renew_after = unusable_at
        retryable = is_retryable(error)
        self.set_timer(entry, entry.renew_after if retryable else unusable_at)
        return entry.renew_after - now.boot if retryable else None

    def _fall_due(self, entry: Entry) -> None:
        """Decide what happens to an entry whose timer has fired.

        Six cases, the first that fits decides:

        1. A flight is under way: it sets another timer when it lands. In the last chance of a
           usable token it becomes urgent.
        2. No usable token, and the key is not kept fresh: the entry is removed, but a token whose
           renewals failed only later.
        3. A usable token that no caller used since its renewal, not kept fresh: the entry stays
           idle until the token becomes unusable.
        4. Before `renew_after`: the timer is set again.
        5. A usable token, no error, or an error that a retry can fix: a renewal starts.
        6. An error that no retry can fix: nothing happens until a caller asks.
        """
        now = current_instant(self._clock)
        usable = entry.state(now) in USABLE
        if not usable:
            entry.close_window()  # a wall clock that is set back must not enter the window again
        flight = self._flights.under_way.get(entry.key)
        if flight is not None:
            if usable:
                self._urge(entry, flight, now)
            return
        if not usable and not entry.kept_fresh:
            self._forget(entry, now)
        elif usable and not entry.kept_fresh and not entry.used & FOR_RENEWAL:
            self._emit(KeyIdle(key=entry.key))
            self.set_timer(entry, entry.unusable_at)
        elif now.boot < entry.renew_after:
            self.set_timer(entry, entry.renew_after)
        elif usable or entry.error is None or is_retryable(entry.error):
            self.begin(entry, now)

    def _forget(self, entry: Entry, now: Instant) -> None:
        """Remove an entry, unless the renewals of its token failed until just now."""
        remembered_until = entry.unusable_at + self.failures_kept
        if entry.failed_renewals and now.boot < remembered_until:
            self.set_timer(entry, remembered_until)
        else:
            self._entries.remove(entry)
            self._emit(KeyForgotten(key=entry.key))

    def _urge(self, entry: Entry, flight: TokenFlight, now: Instant) -> None:
        """Make a renewal urgent once it is in its last chance."""
        instant = self._last_chance(entry)
        if now.boot >= instant:
            self._registry.endpoint(entry.key).urge(flight)
            instant = entry.unusable_at
        self.set_timer(entry, instant)

    def is_last(self, entry: Entry, now: Instant) -> bool:
        """Tell whether a renewal that ends now is the last before the token becomes unusable.

        Args:
            entry: The entry, whose token is usable.
            now: The present moment.
        """
        return now.boot >= self._last_chance(entry)

    def _last_chance(self, entry: Entry) -> float:
        """Return when the last renewal of a token starts, in seconds of boot time."""
        lead = self._refresh.final_call(entry.lifetime, self._retry.request_timeout)
        return entry.unusable_at - lead


def is_retryable(error: TokenProviderError) -> bool:
    """Tell whether a later attempt may succeed although no one changes anything.

    Args:
        error: Why there is no token.
    """
    return isinstance(error, FetchError) and error.retryable
