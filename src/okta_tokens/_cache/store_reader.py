"""What a look into the store brings: a token to adopt, or what holds this process back."""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from cachetools import LRUCache, TLRUCache

from okta_tokens._cache.entry import MAX_DAMPING, MIN_DAMPING, Entry
from okta_tokens._cache.shared_failure import CLOCK_TOLERANCE, KnownFailure, known_failure
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens._model.scopes import format_scopes
from okta_tokens._model.store_identity import StoreIdentity, client_identity, domain_identity
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, Instant, current_instant
from okta_tokens._sharing.fleet_protocol import SharedRejection, StoredState
from okta_tokens._sharing.guarded_store import GuardedStore

_MAX_DISCARDED = 10_000
"""How many rejected tokens this process remembers. Beyond, it forgets the one that it has not seen
for the longest time, and relies on the store."""

_MAX_CLIENTS = 10_000
_CLEARINGS_INTERVAL = 60.0
"""Seconds after which a process looks again whether tokens were cleared, before it adopts one."""


class Found(NamedTuple):
    """What is stored about a key, as far as this process can use it.

    Args:
        response: The token, if it is good enough.
        failure: The last failure, if a record of it is valid.
        damping: For how many seconds a new token is kept if it is rejected; 0.0 if no process has
            just rejected its predecessor.
    """

    response: TokenResponse | None
    failure: KnownFailure | None
    damping: float


class StoreReader:
    """Look into the store, and judge what is there.

    Args:
        store: The store that the processes share.
        clock: Tells the time.
        refresh: Tells whether a token is fresh.
        retry: Bounds how long a failure of another process holds this one back.
        registry: Has the endpoint of each domain.
    """

    def __init__(
        self,
        store: GuardedStore,
        *,
        clock: Clock,
        refresh: RefreshPolicy,
        retry: RetryPolicy,
        registry: EndpointRegistry,
    ) -> None:
        self._store = store
        self._clock = clock
        self._refresh = refresh
        self._retry = retry
        self._registry = registry
        self.on_discarded: Callable[[Entry, float], None] | None = None
        """Called with the entry of a token that another process discarded, and its damping."""
        self.on_cleared: Callable[[TokenKey], None] | None = None
        """Called with a key of a client after tokens were cleared; see `is_cleared`."""
        # By half of a domain and client: since when tokens count by Okta's clock, and when this
        # process looked, in boot time.
        self._cleared: LRUCache[tuple[StoreIdentity, StoreIdentity], tuple[float, float]]
        self._cleared = LRUCache(_MAX_CLIENTS)
        # The tokens that are not adopted any more, by digest, each with its end in boot time.
        self._discarded: TLRUCache[bytes, float] = TLRUCache(
            _MAX_DISCARDED, ttu=lambda _digest, end, _now: end, timer=clock.boot_time
        )

    async def look(
        self, entry: Entry, identity: StoreIdentity, deadline: float, *, wanted: bool
    ) -> Found:
        """Return the token in the store if it is good enough, and the last failure.

        Args:
            entry: The entry of a key.
            identity: The identity of its token.
            deadline: When to give up, in seconds of boot time.
            wanted: Whether a caller waits for a token.

        Raises:
            StoreUnavailableError: If the store fails or times out.
        """
        key, held = entry.key, entry.token
        state = await self._store.look(key, identity, held, deadline)
        damping = self._damping(key, state)
        if state.held_is_discarded and held is entry.token and self.on_discarded is not None:
            self.on_discarded(entry, damping)
        response = self._token(key, identity, state, wanted=wanted)
        if response is not None:
            await self._learn_clearings(key, deadline)
            if self.is_cleared(key, response.sent):
                response = None
            else:
                response.damping = damping
        return Found(response, self._failure(key, state), damping)

    def is_cleared(self, key: TokenKey, sent: Instant) -> bool:
        """Tell whether the tokens of a key were cleared after a request was sent.

        Args:
            key: The key of the token.
            sent: When its request was sent.
        """
        cleared_at, _ = self._cleared.get(_client_of(key), (-math.inf, 0.0))
        seconds = self._clock.boot_time() - sent.boot
        return self._registry.endpoint(key).server_time() - seconds < cleared_at

    async def look_at_domain(self, key: TokenKey, deadline: float) -> float:
        """Return for how many more seconds another process's 429 pauses the domain.

        The store's clock tells. Okta's clock ends the pause earlier if this process knows it; else
        it only tells that the pause is not one of the past. Whatever the store says, the pause is
        not longer than the policy of this process allows.

        If another process has cleared tokens of the client since the last look, `on_cleared` is
        called.

        Args:
            key: A key of the half of the domain.
            deadline: When to give up, in seconds of boot time.

        Raises:
            StoreUnavailableError: If the store fails or times out.
        """
        state = await self._store.look_at_domain(key, deadline)
        endpoint, client = self._registry.endpoint(key), _client_of(key)
        now = endpoint.server_time()
        known, _ = self._cleared.get(client, (-math.inf, 0.0))
        # A clock that is ahead must not clear the tokens of the future.
        at = max(known, -math.inf if state.cleared_at is None else min(state.cleared_at, now))
        self._cleared[client] = at, self._clock.boot_time()
        if at > known and self.on_cleared is not None:
            self.on_cleared(key)
        if state.pause is None:
            return 0.0
        seconds, end = state.pause
        latest = end if endpoint.is_clock_known else end + CLOCK_TOLERANCE
        return max(0.0, min(seconds, latest - now, self._retry.max_pause))

    def forget_clearings(self) -> None:
        """Look again whether tokens were cleared, before a token is adopted."""
        self._cleared.clear()

    async def _learn_clearings(self, key: TokenKey, deadline: float) -> None:
        """Look whether tokens were cleared, unless this process has looked within a minute."""
        _, looked_at = self._cleared.get(_client_of(key), (0.0, -math.inf))
        is_recent = self._clock.boot_time() - looked_at < _CLEARINGS_INTERVAL
        if self._store.shares_failures and not is_recent:
            await self.look_at_domain(key, deadline)

    def discard(
        self,
        identity: StoreIdentity,
        value: str,
        seconds: float,
        rejection: SharedRejection | None = None,
    ) -> None:
        """Let no process use a token any more; this process and the store remember it.

        Args:
            identity: The identity of the token.
            value: The token's value.
            seconds: For how long.
            rejection: See `GuardedStore.reject`.
        """
        self._discarded[digest(value)] = self._clock.boot_time() + seconds
        self._store.reject(identity, value, seconds, rejection)

    def _token(
        self, key: TokenKey, identity: StoreIdentity, state: StoredState, *, wanted: bool
    ) -> TokenResponse | None:
        """Return the token in the store if it is good enough.

        Without a waiter a token must be fresh here. For a waiter it must be usable, so that a
        process that starts during an outage of Okta is served as well.

        The remaining life is the least of three: by the store's clock, by the process that saved
        the token, and by this machine's clock corrected by what it knows of Okta's.
        """
        token, seconds = state.token, state.seconds
        if token is None:
            return None
        if digest(token.value) in self._discarded:
            self.discard(identity, token.value, seconds + CLOCK_TOLERANCE)
            return None
        if token.token_type != key.token_type:
            self._store.report_invalid_entry(key)
            return None
        left = token.expires_at - self._registry.endpoint(key).server_time()
        policy = self._refresh
        least = (policy.leeway if wanted else policy.lead)(token.lifetime)
        if not (least < seconds and least < left):
            return None
        remaining = min(seconds, token.lifetime, left)
        sent = current_instant(self._clock).later(remaining - token.lifetime)
        return TokenResponse(
            token.value,
            token.token_type,
            token.lifetime,
            format_scopes(token.scopes),
            sent,
            identity=identity,
        )

    def _damping(self, key: TokenKey, state: StoredState) -> float:
        """Return for how many seconds the replacement of a rejected token is kept, or 0.0."""
        rejection = state.rejection
        if rejection is None:
            return 0.0
        age = self._registry.endpoint(key).server_time() - rejection.rejected_at
        return max(MIN_DAMPING, rejection.damping) if age < MAX_DAMPING else 0.0

    def _failure(self, key: TokenKey, state: StoredState) -> KnownFailure | None:
        """Return what the failure in the store means now; None if there is none that is valid."""
        if state.failure is None:
            return None
        endpoint = self._registry.endpoint(key)
        failure = known_failure(
            state,
            key,
            server_time=endpoint.server_time(),
            wall_time=self._clock.wall_time(),
            refresh=self._refresh,
            retry=self._retry,
        )
        if failure is None:
            self._store.report_invalid_entry(key)
        return failure


def _client_of(key: TokenKey) -> tuple[StoreIdentity, StoreIdentity]:
    return domain_identity(key), client_identity(key.client)


def digest(value: str) -> bytes:
    """Return what stands for a token in a list of tokens: 16 bytes, however long the token is.

    Args:
        value: The value of the token.
    """
    return blake2b(value.encode(), digest_size=16).digest()
