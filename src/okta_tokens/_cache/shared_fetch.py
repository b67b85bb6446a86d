"""Fetch a token as one of many processes: one of them takes a lease and fetches, the others adopt.

A store makes this cheaper, never worse: what the store cannot do in time happens without it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b

from cachetools import LRUCache, TLRUCache

from okta_tokens._auth.authentication import ClientAuthentication
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_request import FetchOperation, TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.client import OktaClient
from okta_tokens._model.policies import Random, RefreshPolicy
from okta_tokens._model.scopes import format_scopes
from okta_tokens._model.store_identity import StoreIdentity, token_identity
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, current_instant
from okta_tokens._sharing.guarded_store import GuardedStore, Lease, StoreUnavailableError
from okta_tokens._sharing.store_protocol import SharedToken
from okta_tokens.errors import FetchError
from okta_tokens.events import Event, TokenNotShared

_MAX_DISCARDED = 10_000
"""How many rejected tokens this process remembers. Beyond, it forgets the one that it has not seen
for the longest time, and relies on the store."""
_MAX_IDENTITIES = 10_000
_CLOCK_TOLERANCE = 300.0
"""Seconds for which a rejected token is remembered after its end: clocks of processes differ."""
_FIRST_POLL, _MAX_POLL = 0.02, 0.25
"""Seconds between two reads of the store while another process fetches the token."""


class SharedFetch:
    """Fetch tokens as one of many processes that share a store.

    Args:
        store: The store that the processes share.
        clock: Tells the time and waits.
        refresh: Tells whether a token is fresh.
        registry: Has the endpoint of each domain.
        random: Draws from the unit interval.
        emit: Called with every event.
    """

    def __init__(
        self,
        store: GuardedStore,
        *,
        clock: Clock,
        refresh: RefreshPolicy,
        registry: EndpointRegistry,
        random: Random,
        emit: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._refresh = refresh
        self._registry = registry
        self._random = random
        self._emit = emit
        # The tokens that are not adopted any more, by digest, each with its end in boot time.
        self._discarded: TLRUCache[bytes, float] = TLRUCache(
            _MAX_DISCARDED, ttu=lambda _digest, end, _now: end, timer=clock.boot_time
        )
        # The identity of the last token of a key.
        self._last_identities: LRUCache[TokenKey, StoreIdentity] = LRUCache(_MAX_IDENTITIES)
        # The clients whose tokens are not shared, and about which an event was emitted.
        self._unshared: LRUCache[OktaClient, bool] = LRUCache(_MAX_IDENTITIES)

    async def fetch(self, flight: TokenFlight) -> TokenResponse | FetchError:
        """Adopt a token that another process fetched, or fetch one for all processes.

        The callable for the credential, if there is one, is called once for the store and for the
        first attempt. A token is adopted only if it was fetched with the same credential, and none
        is adopted for a forced flight.

        Cancellation gives up what the endpoint's own fetch gives up, and lets the lease run out.

        Args:
            flight: The flight of a key.

        Returns:
            The token response, or the error of the last attempt.
        """
        operation, lease = FetchOperation(flight), None
        may_adopt = not flight.forced and self._store.allows_call()
        if may_adopt and (identity := await self._identify(operation)):
            with suppress(StoreUnavailableError):
                adopted, lease = await self._adopt_or_lease(flight, identity)
                if adopted is not None:
                    return adopted
        result = await self._registry.endpoint(flight.key).run(operation)
        if isinstance(result, TokenResponse):
            identity = self._identity(flight.key, operation.authentication)
            result.identity = identity
            if identity is not None:
                self._last_identities[flight.key] = identity
                self._publish(flight.key, identity, result, lease)
        elif lease is not None:
            self._store.release(lease)
        return result

    async def adopt(self, flight: TokenFlight) -> TokenResponse | None:
        """Adopt a token that another process fetched, if there is one; send Okta no request.

        Args:
            flight: The flight of a key.

        Returns:
            The token response, or None.
        """
        if self._store.allows_call() and (identity := await self._identify(FetchOperation(flight))):
            with suppress(StoreUnavailableError):
                return await self._adopt(flight, identity, self._store.call_deadline())
        return None

    def discard(self, token: AccessToken) -> None:
        """Let no process adopt a token any more.

        This process remembers the token until it expires, and so does the store.

        Args:
            token: The token.
        """
        if token._identity is not None:
            seconds = max(0.0, token.remaining()) + _CLOCK_TOLERANCE
            self._discard(token._identity, token.value, seconds)

    def _discard(self, identity: StoreIdentity, value: str, seconds: float) -> None:
        self._discarded[digest(value)] = self._clock.boot_time() + seconds
        self._store.reject(identity, value, seconds)

    async def _identify(self, operation: FetchOperation) -> StoreIdentity | None:
        """Return the identity of the token that an operation fetches, or None.

        If the callable for the credential fails, the identity of the last token of the key stands
        for it, so that an outage of a secret manager does not end the sharing.
        """
        key = operation.key
        method = await self._registry.endpoint(key).resolve(operation)
        return self._last_identities.get(key) if method is None else self._identity(key, method)

    def _identity(self, key: TokenKey, method: ClientAuthentication) -> StoreIdentity | None:
        """Return the identity of a token; emit an event, once for each client, if it has none."""
        identity = token_identity(key, method)
        if identity is None and key.client not in self._unshared:
            self._unshared[key.client] = True
            self._emit(TokenNotShared(key=key))
        return identity

    async def _adopt_or_lease(
        self, flight: TokenFlight, identity: StoreIdentity
    ) -> tuple[TokenResponse | None, Lease | None]:
        """Return a token of another process, or the lease with which this process fetches one.

        Three cases end the wait: a token is in the store; this process has the lease, and there is
        still no token; the time of two leases has passed, and this process fetches without a
        lease. Two leases, since the first holder may have died and another process got the second.

        Raises:
            StoreUnavailableError: If the store fails or times out.
        """
        store, clock, key = self._store, self._clock, flight.key
        deadline = store.call_deadline()
        adopted = await self._adopt(flight, identity, deadline)
        if adopted is not None:
            return adopted, None
        pause = await self._shared_pause(key, deadline)
        self._registry.endpoint(key).pauses.adopt(key, pause)
        give_up, poll = clock.boot_time() + 2 * store.lease, _FIRST_POLL
        while True:
            lease = await store.acquire(identity, store.lease + pause, deadline)
            store.record_success()  # by a write: a store that is full can still be read
            # The previous holder of the lease has saved its token by now, if it got one.
            adopted = await self._adopt(flight, identity, deadline)
            if adopted is not None and lease is not None:
                store.release(lease)
            if adopted is not None or lease is not None:
                return adopted, lease
            if clock.boot_time() >= give_up:
                return None, None
            await clock.sleep_until(clock.boot_time() + poll * (1 + self._random()) / 2)
            poll = min(2 * poll, _MAX_POLL)
            deadline = store.call_deadline()

    async def _adopt(
        self, flight: TokenFlight, identity: StoreIdentity, deadline: float
    ) -> TokenResponse | None:
        """Return the token in the store if it is good enough.

        Without a waiter a token must be fresh here. For a waiter it must be usable, so that a
        process that starts during an outage of Okta is served as well.

        The remaining life is the least of three: by the store's clock, by the process that saved
        the token, and by this machine's clock corrected by what it knows of Okta's.
        """
        key = flight.key
        state = await self._store.look(key, identity, None, deadline)
        token, seconds = state.token, state.seconds
        if token is None:
            return None
        if digest(token.value) in self._discarded:
            self._discard(identity, token.value, seconds + _CLOCK_TOLERANCE)
            return None
        if token.token_type != key.token_type:
            self._store.report_invalid_entry(key)
            return None
        left = token.expires_at - self._registry.endpoint(key).server_time()
        policy = self._refresh
        least = (policy.leeway if flight.wanted else policy.lead)(token.lifetime)
        if not (least < seconds and least < left):
            return None
        remaining = min(seconds, token.lifetime, left)
        sent = current_instant(self._clock).later(remaining - token.lifetime)
        self._last_identities[key] = identity
        return TokenResponse(
            token.value,
            token.token_type,
            token.lifetime,
            format_scopes(token.scopes),
            sent,
            identity=identity,
        )

    async def _shared_pause(self, key: TokenKey, deadline: float) -> float:
        """Return for how many more seconds another process's 429 pauses the domain."""
        state = await self._store.look_at_domain(key, deadline)
        if state.pause is None:
            return 0.0
        seconds, end = state.pause
        return max(0.0, min(seconds, end - self._registry.endpoint(key).server_time()))

    def _publish(
        self, key: TokenKey, identity: StoreIdentity, response: TokenResponse, lease: Lease | None
    ) -> None:
        """Save a token for other processes, and give the lease back."""
        offset = self._registry.endpoint(key).clock_offset
        token = SharedToken(
            response.value,
            response.token_type,
            frozenset(response.scope.split()),
            response.lifetime,
            response.sent.wall + offset + response.lifetime,
        )
        left = response.sent.boot + response.lifetime - self._clock.boot_time()
        self._store.settle(identity, token, left, lease)


def digest(value: str) -> bytes:
    """Return what stands for a token in a list of tokens: 16 bytes, however long the token is.

    Args:
        value: The value of the token.
    """
    return blake2b(value.encode(), digest_size=16).digest()
