"""Invalidation: which tokens are dropped before they expire, in this process and in the store.

Everything here decides in plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from okta_tokens._cache.entry import MAX_DAMPING, Entry
from okta_tokens._cache.entry_cache import EntryCache
from okta_tokens._cache.renewals import Renewals
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.token_request import Result
from okta_tokens._model.client import OktaClient
from okta_tokens._model.policies import RetryPolicy
from okta_tokens._model.store_identity import client_identity
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, Instant, current_instant
from okta_tokens._runtime.redaction import scrub
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._runtime.single_flight import SingleFlight
from okta_tokens.events import InvalidationIgnored, KeyForgotten, TokenInvalidated, TokenWithdrawn

if TYPE_CHECKING:
    from okta_tokens._cache.shared_fetch import SharedFetch

_MAX_CHALLENGE = 256
"""Characters of what an API says about a token that it rejected."""


class Invalidation:
    """Drop tokens that an API rejected, that are being revoked, or that the user clears.

    Args:
        entries: The cache entries.
        flights: The flights that fill them.
        renewals: Sets the timers of the entries.
        sharing: Shares tokens with other processes; None if there is no store.
        clock: Tells the time.
        schedule: Calls back when something falls due.
        retry: How long a revoked key is remembered.
        emit: Called with every event.
    """

    def __init__(
        self,
        entries: EntryCache,
        flights: SingleFlight[TokenKey, Result],
        renewals: Renewals,
        sharing: SharedFetch | None,
        *,
        clock: Clock,
        schedule: Schedule,
        retry: RetryPolicy,
        emit: Emitter,
    ) -> None:
        self._entries = entries
        self._flights = flights
        self._renewals = renewals
        self._sharing = sharing
        self._clock = clock
        self._schedule = schedule
        self._retry = retry
        self._emit = emit

    def reject(
        self, key: TokenKey, value: str, api: str | None = None, challenge: str | None = None
    ) -> bool:
        """Drop a token that an API rejected.

        Args:
            key: The key of the token.
            value: The token's value.
            api: Which API rejected it, for the event.
            challenge: Its `WWW-Authenticate`, for the event.

        Returns:
            True if the token was held and is dropped.
        """
        entry = self._entries.get(key)
        now = current_instant(self._clock)
        token = None if entry is None else entry.token
        kept = None if entry is None else entry.reject(value, now)
        if entry is None or kept is None:
            return False
        if kept and str(entry.ignored).strip("0") != "1":
            return False  # a busy caller rejects it a thousand times
        if api is not None:
            api = scrub(api, [value], _MAX_CHALLENGE)
        if challenge is not None:
            challenge = scrub(challenge, [value], _MAX_CHALLENGE)
        if kept:
            self._emit(
                InvalidationIgnored(
                    key=key,
                    api=api,
                    challenge=challenge,
                    rejections=entry.ignored,
                    kept_for=kept,
                )
            )
            return False
        self._emit(TokenInvalidated(key=key, api=api, challenge=challenge, damping=entry.damping))
        if self._sharing is not None and token is not None:
            self._sharing.discard(token, entry.damping)
        self._await_caller(entry)
        return True

    def withdraw(self, entry: Entry, damping: float = 0.0) -> None:
        """Drop a token that another process rejected, revoked or cleared.

        Args:
            entry: The entry of the token.
            damping: For how many seconds the replacement is kept if it is rejected; 0.0 if no API
                rejected the token.
        """
        if damping:
            entry.carry_over(damping)
        entry.drop_token()
        self._emit(TokenWithdrawn(key=entry.key, damping=damping))
        self._await_caller(entry)

    def withdraw_cleared(self, key: TokenKey) -> None:
        """Drop the tokens of a client that another process cleared everywhere.

        Args:
            key: A key of the client.
        """
        sharing = self._sharing
        assert sharing is not None  # noqa: S101 - narrows the type
        for entry in self._entries:
            token = entry.token
            if token is None or client_identity(entry.key.client) != client_identity(key.client):
                continue
            sent = Instant(token._boot_expiry, token._wall_expiry).later(-entry.lifetime)
            if sharing.is_cleared(entry.key, sent):
                self.withdraw(entry)

    def _await_caller(self, entry: Entry) -> None:
        """Set the timer of an entry whose token was dropped."""
        now = self._clock.boot_time()
        # An unused key is forgotten, but not before the longest damping is over: callers who come
        # once a minute, to an API that rejects every token, must not start the damping anew.
        instant = entry.refuse_until if entry.kept_fresh else now + MAX_DAMPING
        self._renewals.set_timer(entry, max(now, instant))

    def drop(self, token: AccessToken) -> None:
        """Drop a token that is being revoked, and fetch no other one before a caller asks.

        Args:
            token: The token.
        """
        if self._sharing is not None:
            self._sharing.discard(token)
        entry = self._entries.get(token.key)
        if entry is None or entry.token is None or entry.token.value != token.value:
            return
        entry.drop_token()
        self._schedule.cancel(entry)
        if not entry.kept_fresh:
            self._renewals.set_timer(entry, self._clock.boot_time() + self._retry.max_cooldown)

    def clear(self, client: OktaClient | None) -> None:
        """Forget everything about a client's keys, or about all.

        A flight under way goes on for its waiters, and its token is not kept. Keys that are kept
        fresh are fetched again.

        Args:
            client: The client, or None for every client.
        """
        for key in [*self._flights.under_way]:
            if client is None or key.client == client:
                self._flights.disown(key)
        for entry in self._entries:
            if client is not None and entry.key.client != client:
                continue
            if entry.token is not None and self._sharing is not None:
                self._sharing.discard(entry.token)
            self._schedule.cancel(entry)
            if entry.kept_fresh:
                new = self._entries.replace(entry)
                self._renewals.set_timer(new, self._clock.boot_time())
            else:
                self._entries.remove(entry)
                self._emit(KeyForgotten(key=entry.key))
