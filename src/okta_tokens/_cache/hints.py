"""Hints: what a notification of the store means for the tokens that this process holds.

A notification has no content. It causes a look into the store, at most one per identity and second.
"""

from __future__ import annotations

from cachetools import LRUCache

from okta_tokens._cache.entry import FOR_RENEWAL, Entry
from okta_tokens._cache.entry_cache import EntryCache
from okta_tokens._cache.landing import Landing
from okta_tokens._cache.shared_fetch import SharedFetch
from okta_tokens._endpoint.token_request import Result, TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.client import OktaClient
from okta_tokens._model.policies import Random
from okta_tokens._model.store_identity import StoreIdentity, part_identity
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock
from okta_tokens._runtime.schedule import Schedule, Timer
from okta_tokens._runtime.single_flight import SingleFlight

_INTERVAL = 1.0
"""Seconds between two looks at an identity."""
_SPREAD = 0.9
"""Seconds over which the looks of all processes spread."""
_MAX_IDENTITIES = 10_000


class Hints:
    """Look into the store after a notification, and do what it says about held tokens.

    Args:
        entries: The cache entries.
        flights: The flights that fill them.
        landing: Changes the entry for which a newer token is found.
        sharing: Shares tokens with other processes.
        clock: Tells the time.
        schedule: Calls back when a look is due.
        random: Draws from the unit interval.
    """

    def __init__(
        self,
        entries: EntryCache,
        flights: SingleFlight[TokenKey, Result],
        landing: Landing,
        sharing: SharedFetch,
        *,
        clock: Clock,
        schedule: Schedule,
        random: Random,
    ) -> None:
        self._entries = entries
        self._flights = flights
        self._landing = landing
        self._sharing = sharing
        self._clock = clock
        self._schedule = schedule
        self._random = random
        self._looks: LRUCache[StoreIdentity, _Look] = LRUCache(_MAX_IDENTITIES)

    def receive(self, identity: StoreIdentity) -> None:
        """Look into the store soon, unless a look is about to begin.

        Args:
            identity: The identity about which a notification came.
        """
        look = self._looks.get(identity)
        if look is None:
            look = self._looks[identity] = _Look(identity)
        if look.instant is None:
            soon = self._clock.boot_time() + self._random() * _SPREAD
            self._schedule.call_at(max(soon, look.not_before), self._begin, look)

    def _begin(self, look: _Look) -> None:
        """Look, or try again later if the store may not be called: what changed is not missed."""
        look.not_before = self._clock.boot_time() + _INTERVAL
        if not self._sharing.allows_look():
            self._schedule.call_at(look.not_before + self._random() * _SPREAD, self._begin, look)
            return
        self._sharing.look_in_background(self._look(look.identity))

    async def _look(self, identity: StoreIdentity) -> None:
        """Look at the entries of an identity: of a token, or of a half of a domain."""
        keys = self._sharing.keys_of(identity)
        entries = [entry for key in keys if (entry := self._entries.get(key)) is not None]
        held = [entry for entry in entries if _holds(entry, identity)]
        for entry in held:
            if entry.key not in self._flights.under_way:
                found = await self._sharing.look(entry, identity)
                if found is not None:
                    self._adopt(entry, found)
        clients = {} if keys else self._clients_of(identity)
        for key in clients.values():
            await self._sharing.look_at_domain(key)
        if not held and not clients:
            await self._sharing.notifications.forget(identity)

    def _clients_of(self, part: StoreIdentity) -> dict[OktaClient, TokenKey]:
        """Return the clients of a half of a domain, each with one of its keys."""
        keys = (entry.key for entry in self._entries)
        return {key.client: key for key in keys if part_identity(key.client) == part}

    def _adopt(self, entry: Entry, response: TokenResponse) -> None:
        """Hold a newer token, if the key is used: this saves the look of its own renewal."""
        token = entry.token
        if (
            token is not None
            and response.sent.boot + response.lifetime > token._boot_expiry
            and response.value != token.value
            and (entry.kept_fresh or entry.used & FOR_RENEWAL)
            and entry.key not in self._flights.under_way
        ):
            flight: TokenFlight = TokenFlight(entry.key)
            flight.started_at = self._clock.boot_time()
            flight.reason = "due"
            self._landing.land(flight, entry, response)


class _Look(Timer):
    """A look at an identity, which is about to begin or has ended."""

    __slots__ = ("identity", "not_before")

    def __init__(self, identity: StoreIdentity) -> None:
        super().__init__()
        self.identity = identity
        self.not_before = 0.0


def _holds(entry: Entry, identity: StoreIdentity) -> bool:
    return entry.token is not None and entry.token._identity == identity
