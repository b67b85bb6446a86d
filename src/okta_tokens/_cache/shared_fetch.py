"""Fetch a token as one of many processes: one of them takes a lease and fetches, the others adopt.

A store makes this cheaper, never worse: what the store cannot do in time happens without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import partial

from cachetools import LRUCache

from okta_tokens._auth.authentication import ClientAuthentication
from okta_tokens._cache.entry import Entry
from okta_tokens._cache.shared_failure import CLOCK_TOLERANCE, Setback
from okta_tokens._cache.store_reader import StoreReader
from okta_tokens._cache.turns import Turn, Turns
from okta_tokens._endpoint.endpoint import BeforeRetry
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_request import FetchOperation, TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.client import OktaClient
from okta_tokens._model.policies import Random, RefreshPolicy, RetryPolicy
from okta_tokens._model.store_identity import (
    StoreIdentity,
    client_identity,
    part_identity,
    token_identity,
)
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, Instant
from okta_tokens._sharing.fleet_protocol import SharedRejection
from okta_tokens._sharing.guarded_store import GuardedStore, StoreUnavailableError
from okta_tokens._sharing.notifications import Notifications
from okta_tokens._sharing.store_protocol import SharedToken
from okta_tokens.errors import FetchError
from okta_tokens.events import Event, TokenNotShared

_MAX_IDENTITIES = 10_000
_LONGEST_LIFETIME = 86_400.0 + CLOCK_TOLERANCE
"""Seconds after which no token is valid that was requested before (Okta: at most a day)."""


class SharedFetch:
    """Fetch tokens as one of many processes that share a store.

    Args:
        store: The store that the processes share.
        clock: Tells the time and waits.
        refresh: Tells whether a token is fresh, and how long renewals are held back.
        retry: How long fetches are held back, and how often they try.
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
        retry: RetryPolicy,
        registry: EndpointRegistry,
        random: Random,
        emit: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._registry = registry
        self._emit = emit
        self._reader = StoreReader(
            store, clock=clock, refresh=refresh, retry=retry, registry=registry
        )
        self._turns = Turns(
            store,
            self._reader,
            clock=clock,
            refresh=refresh,
            retry=retry,
            registry=registry,
            random=random,
        )
        # The identity of the last token of a key.
        self._last_identities: LRUCache[TokenKey, StoreIdentity] = LRUCache(_MAX_IDENTITIES)
        self._keys: LRUCache[StoreIdentity, set[TokenKey]] = LRUCache(_MAX_IDENTITIES)
        # A client of each part of a domain that was cleared, or could not be cleared.
        self._cleared_parts: LRUCache[StoreIdentity, OktaClient] = LRUCache(_MAX_IDENTITIES)
        # The clients whose tokens are not shared, and about which an event was emitted.
        self._unshared: LRUCache[OktaClient, bool] = LRUCache(_MAX_IDENTITIES)

    @property
    def reaches_others(self) -> bool:
        """Whether the store can tell other processes that tokens were cleared."""
        return self._store.shares_failures

    async def fetch(
        self, flight: TokenFlight, entry: Entry
    ) -> tuple[TokenResponse | FetchError, Setback | None]:
        """Adopt a token that another process fetched, or fetch one for all processes.

        The callable for the credential, if there is one, is called once for the store and for the
        first attempt. A token is adopted only if it was fetched with the same credential, and none
        is adopted for a forced flight. So it is with the failures of other processes.

        Cancellation gives up what the endpoint's own fetch gives up, and gives the lease back.

        Args:
            flight: The flight of a key.
            entry: The entry of the key.

        Returns:
            The token response, or the error of the last attempt, or of another process; and for how
            long the error holds back all processes, if it does.
        """
        operation, turn = FetchOperation(flight), None
        if not flight.forced and self._store.allows_call():
            identity = await self._identify(operation)
            turn = None if identity is None else Turn(flight, entry, identity)
        if turn is None:
            return self._shared(operation, await self._run(operation), None), None
        with self.notifications.needed(turn.identity):
            return await self._take_part(operation, turn)

    async def _take_part(
        self, operation: FetchOperation, turn: Turn
    ) -> tuple[TokenResponse | FetchError, Setback | None]:
        """Fetch as one of many processes, and give the lease back."""
        flight = turn.flight
        try:
            result = await self._turns.take(turn)
            if result is None:
                result = await self._run(operation, partial(self._turns.retry, turn))
            if self._is_outdated(flight.key, result):
                result = await self._run(operation, partial(self._turns.retry, turn))
            if isinstance(result, TokenResponse):
                return self._shared(operation, result, turn), None
            if turn.setback is None:
                # The last attempt may have had another credential than the first.
                is_its = token_identity(flight.key, operation.authentication) == turn.identity
                self._turns.end(turn, result, is_its=is_its)
            return result, turn.setback
        finally:
            self._turns.give_back(turn)

    async def adopt(self, flight: TokenFlight, entry: Entry) -> TokenResponse | None:
        """Adopt a token that another process fetched, if there is one; send Okta no request.

        Args:
            flight: The flight of a key.
            entry: The entry of the key.

        Returns:
            The token response, or None.
        """
        if self._store.allows_call() and (identity := await self._identify(FetchOperation(flight))):
            deadline = self._store.call_deadline()
            with suppress(StoreUnavailableError):
                found = await self._reader.look(entry, identity, deadline, wanted=flight.wanted)
                return self._remembered(flight.key, found.response)
        return None

    def follow(
        self,
        on_discarded: Callable[[Entry, float], None],
        on_cleared: Callable[[TokenKey], None],
    ) -> None:
        """Tell what to do when other processes drop tokens.

        Args:
            on_discarded: Called with the entry of a token that another process discarded, and with
                the damping, in seconds.
            on_cleared: Called with a key of a client whose tokens another process cleared;
                `is_cleared` tells which.
        """
        self._reader.on_discarded = on_discarded
        self._reader.on_cleared = on_cleared

    def is_cleared(self, key: TokenKey, sent: Instant) -> bool:
        """Tell whether the tokens of a key were cleared everywhere after a request was sent.

        Args:
            key: The key of the token.
            sent: When its request was sent.
        """
        return self._reader.is_cleared(key, sent)

    def parts_to_clear(
        self, client: OktaClient | None, clients: Iterable[OktaClient]
    ) -> Mapping[StoreIdentity, OktaClient]:
        """Return the parts of domains to clear, each with a client of it.

        For all clients, the parts of earlier calls are among them: the keys that named those parts
        are forgotten, and the store may have failed.

        Args:
            client: The client whose tokens are to be dropped; None for all clients.
            clients: Clients of the domains.
        """
        parts = {part_identity(one): one for one in clients}
        return {**self._cleared_parts, **parts} if client is None else parts

    async def clear(
        self, client: OktaClient | None, parts: Mapping[StoreIdentity, OktaClient]
    ) -> str | None:
        """Let all processes drop the tokens of a client, or of all clients of parts of domains.

        Args:
            client: The client; None for all clients.
            parts: What `parts_to_clear` returned.

        Returns:
            Why the store did not tell the others about each part; None if it did.
        """
        self._cleared_parts.update(parts)
        results = await asyncio.gather(
            *(self._clear_part(client, part, one) for part, one in parts.items())
        )
        self._reader.forget_clearings()
        return next(filter(None, results), None)

    async def _clear_part(
        self, client: OktaClient | None, part: StoreIdentity, one: OktaClient
    ) -> str | None:
        identity = None if client is None else client_identity(client)
        endpoint = self._registry.endpoint(TokenKey(one, frozenset()))
        try:
            await self._store.clear(part, identity, endpoint.server_time(), _LONGEST_LIFETIME)
        except StoreUnavailableError as error:
            return str(error)
        return None

    def discard(self, token: AccessToken, damping: float | None = None) -> None:
        """Let no process use a token any more.

        This process remembers the token until it expires, and so does the store.

        Args:
            token: The token.
            damping: For how many seconds its replacement is kept if it is rejected too; None if no
                API rejected the token.
        """
        if token._identity is not None:
            seconds = max(0.0, token.remaining()) + CLOCK_TOLERANCE
            rejection = None
            if damping is not None:
                now = self._registry.endpoint(token.key).server_time()
                rejection = SharedRejection(damping, now)
            self._reader.discard(token._identity, token.value, seconds, rejection)

    async def _run(
        self, operation: FetchOperation, retry: BeforeRetry[TokenResponse] | None = None
    ) -> TokenResponse | FetchError:
        return await self._registry.endpoint(operation.key).run(operation, retry)

    def _is_outdated(self, key: TokenKey, result: TokenResponse | FetchError) -> bool:
        """Tell whether another process cleared a token's key after the token was requested."""
        return isinstance(result, TokenResponse) and self._reader.is_cleared(key, result.sent)

    def _shared(
        self, operation: FetchOperation, result: TokenResponse | FetchError, turn: Turn | None
    ) -> TokenResponse | FetchError:
        """Share the token of a fetch, if it is new, and return the result."""
        if isinstance(result, TokenResponse):
            if not result.adopted:
                result.damping = 0.0 if turn is None else turn.damping
                result.identity = self._identity(operation.key, operation.authentication)
                self._publish(operation.key, result, turn)
            self._remembered(operation.key, result)
        return result

    def _remembered(self, key: TokenKey, response: TokenResponse | None) -> TokenResponse | None:
        """Remember the identity of a token, and return the token."""
        if response is not None and response.identity is not None:
            identity = self._last_identities[key] = response.identity
            self._keys.setdefault(identity, set()).add(key)
            if self.notifications.wants(identity):
                part, until = part_identity(key.client), self._store.call_deadline()
                watching = self.notifications.watch(identity, part, until=until)
                self._store.run_in_background(watching)
        return response

    # After a notification

    @property
    def notifications(self) -> Notifications:
        """The notifications of the store."""
        return self._store.notifications

    def keys_of(self, identity: StoreIdentity) -> Collection[TokenKey]:
        """Return the keys whose last token had an identity.

        Args:
            identity: The identity.
        """
        return self._keys.get(identity, ())

    def look_in_background(self, look: Coroutine[object, object, None]) -> None:
        """Run a look in the background.

        Args:
            look: The coroutine.
        """
        self._store.run_in_background(look)

    def allows_look(self) -> bool:
        """Tell whether the store may be called now; after a break this counts as the probe."""
        return self._store.allows_call()

    async def look(self, entry: Entry, identity: StoreIdentity) -> TokenResponse | None:
        """Return the token in the store if it is fresh; drop the held one if it was discarded.

        The caller has asked `allows_look`.

        Args:
            entry: The entry of a key.
            identity: The identity of its token.
        """
        with suppress(StoreUnavailableError):
            deadline = self._store.call_deadline()
            found = await self._reader.look(entry, identity, deadline, wanted=False)
            return found.response
        return None

    async def look_at_domain(self, key: TokenKey) -> None:
        """Drop the tokens of a client that another process cleared.

        The caller has asked `allows_look`.

        Args:
            key: A key of the client.
        """
        with suppress(StoreUnavailableError):
            await self._reader.look_at_domain(key, self._store.call_deadline())

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

    def _publish(self, key: TokenKey, response: TokenResponse, turn: Turn | None) -> None:
        """Save a token for other processes, and give the lease back."""
        if response.identity is None:
            return
        offset = self._registry.endpoint(key).clock_offset
        token = SharedToken(
            response.value,
            response.token_type,
            frozenset(response.scope.split()),
            response.lifetime,
            response.sent.wall + offset + response.lifetime,
        )
        left = response.sent.boot + response.lifetime - self._clock.boot_time()
        lease = None
        if turn is not None:
            lease, turn.lease = turn.lease, None
        self._store.settle(response.identity, token, left, lease)
