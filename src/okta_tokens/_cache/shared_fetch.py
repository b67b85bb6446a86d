"""Fetch a token as one of many processes: one of them takes a lease and fetches, the others adopt.

A store makes this cheaper, never worse: what the store cannot do in time happens without it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_request import TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.policies import Random, RefreshPolicy
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, current_instant
from okta_tokens._sharing.guarded_store import GuardedStore, StoreUnavailableError
from okta_tokens._sharing.store_protocol import SharedToken
from okta_tokens.errors import FetchError

IsRejected = Callable[[str], bool]

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
    """

    def __init__(
        self,
        store: GuardedStore,
        *,
        clock: Clock,
        refresh: RefreshPolicy,
        registry: EndpointRegistry,
        random: Random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._refresh = refresh
        self._registry = registry
        self._random = random

    async def fetch(
        self, flight: TokenFlight, is_rejected: IsRejected
    ) -> TokenResponse | FetchError:
        """Adopt a token that another process fetched, or fetch one for all processes.

        Cancellation gives up what the endpoint's own fetch gives up, and lets the lease run out.

        Args:
            flight: The flight of a key.
            is_rejected: Tells whether the token with a value was rejected and must not be adopted.
                It is called when a token is found, since a token may be rejected during a flight.

        Returns:
            The token response, or the error of the last attempt.
        """
        lease = None
        if self._store.allows_call():
            with suppress(StoreUnavailableError):
                adopted, lease = await self._adopt_or_lease(flight, is_rejected)
                if adopted is not None:
                    return adopted
        result = await self._registry.endpoint(flight.key).fetch(flight)
        if isinstance(result, TokenResponse):
            self._publish(flight.key, result, lease)
        elif lease is not None:
            self._store.release(flight.key, lease)
        return result

    async def adopt(self, flight: TokenFlight, is_rejected: IsRejected) -> TokenResponse | None:
        """Adopt a token that another process fetched, if there is one; send Okta no request.

        Args:
            flight: The flight of a key.
            is_rejected: As for `fetch`.

        Returns:
            The token response, or None.
        """
        if self._store.allows_call():
            with suppress(StoreUnavailableError):
                return await self._adopt(flight, is_rejected, self._store.call_deadline())
        return None

    def discard(self, key: TokenKey, value: str) -> None:
        """Let no process adopt a token any more.

        Args:
            key: The key of the token.
            value: The token's value.
        """
        self._store.discard(key, value)

    async def _adopt_or_lease(
        self, flight: TokenFlight, is_rejected: IsRejected
    ) -> tuple[TokenResponse | None, str | None]:
        """Return a token of another process, or the lease with which this process fetches one.

        Three cases end the wait: a token is in the store; this process has the lease, and there is
        still no token; the time of two leases has passed, and this process fetches without a
        lease. Two leases, since the first holder may have died and another process got the second.

        Raises:
            StoreUnavailableError: If the store fails or times out.
        """
        store, clock, key = self._store, self._clock, flight.key
        deadline = store.call_deadline()
        adopted = await self._adopt(flight, is_rejected, deadline)
        if adopted is not None:
            return adopted, None
        pause = await self._shared_pause(key, deadline)
        self._registry.endpoint(key).adopt_pause(key, pause)
        give_up, poll = clock.boot_time() + 2 * store.lease, _FIRST_POLL
        while True:
            lease = await store.acquire(key, store.lease + pause, deadline)
            store.record_success()  # by a write: a store that is full can still be read
            # The previous holder of the lease has saved its token by now, if it got one.
            adopted = await self._adopt(flight, is_rejected, deadline)
            if adopted is not None and lease is not None:
                store.release(key, lease)
            if adopted is not None or lease is not None:
                return adopted, lease
            if clock.boot_time() >= give_up:
                return None, None
            await clock.sleep_until(clock.boot_time() + poll * (1 + self._random()) / 2)
            poll = min(2 * poll, _MAX_POLL)
            deadline = store.call_deadline()

    async def _adopt(
        self, flight: TokenFlight, is_rejected: IsRejected, deadline: float
    ) -> TokenResponse | None:
        """Return the token in the store if it is good enough.

        Without a waiter a token must be fresh here. For a waiter it must be usable, so that a
        process that starts during an outage of Okta is served as well.

        The remaining life is the least of three: by the store's clock, by the process that saved
        the token, and by this machine's clock corrected by what it knows of Okta's.
        """
        key = flight.key
        found = await self._store.load(key, deadline)
        if found is None:
            return None
        token, seconds = found
        if is_rejected(token.value):
            self.discard(key, token.value)
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
        return TokenResponse(
            token.value,
            token.token_type,
            token.lifetime,
            token.scopes,
            sent,
            request_id=None,
            adopted=True,
        )

    async def _shared_pause(self, key: TokenKey, deadline: float) -> float:
        """Return for how many more seconds another process's 429 pauses the domain."""
        found = await self._store.paused(key, deadline)
        if found is None:
            return 0.0
        seconds, end = found
        return max(0.0, min(seconds, end - self._registry.endpoint(key).server_time()))

    def _publish(self, key: TokenKey, response: TokenResponse, lease: str | None) -> None:
        """Save a token for other processes, and give the lease back."""
        offset = self._registry.endpoint(key).clock_offset
        token = SharedToken(
            response.value,
            response.token_type,
            response.scopes,
            response.lifetime,
            response.sent.wall + offset + response.lifetime,
        )
        left = response.sent.boot + response.lifetime - self._clock.boot_time()
        self._store.publish(key, token, left, lease)
