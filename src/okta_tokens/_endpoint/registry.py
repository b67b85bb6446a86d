"""The endpoints of a provider: one for each domain, and the HTTP session that they share."""

from __future__ import annotations

import copy
import math
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

import aiohttp
from cachetools import LRUCache

from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.endpoint import Endpoint
from okta_tokens._endpoint.environment_proxy import environment_proxy
from okta_tokens._endpoint.exchange import Exchange
from okta_tokens._endpoint.http_session import (
    Routes,
    check_netrc,
    check_plain_http,
    check_session,
    open_session,
)
from okta_tokens._endpoint.token_request import USER_AGENT
from okta_tokens._model.policies import RetryPolicy
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock
from okta_tokens._runtime.gate import Gate
from okta_tokens._runtime.schedule import Schedule
from okta_tokens.errors import ConfigurationError
from okta_tokens.events import PlainHttpUsed

if TYPE_CHECKING:
    from okta_tokens._sharing.guarded_store import GuardedStore

MAX_IDLE_ENDPOINTS = 1_000
"""How many endpoints are kept before idle ones are dropped for new ones."""

MAX_REQUESTS = 100
"""How many requests are under way at once, over all domains: each has a socket, and a process may
have no more than 256 files open (the default of macOS; 1,024 on Linux)."""


class EndpointRegistry:
    """Make the endpoint of each domain when it is first needed.

    If there are more than 1,000, idle ones are dropped: those that were last asked for the longest
    ago. A domain that is used again gets another endpoint, which learns clock offset and nonces
    again. An endpoint is not idle while a request is under way or waits, or the domain is paused.

    Args:
        session: The session that the user gave; None opens one.
        clock: Tells the time and waits.
        schedule: Ends requests that take too long.
        policy: How often and how long to try.
        max_concurrent_requests: How many requests may be under way at once, for each domain. Over
            all domains it is 100, or this number if it is greater.
        emit: Called with every event.
        store: Shares pauses with other processes; None if there is no store.
        user_agent: The beginning of the `User-Agent` of each request; None for the usual one.

    Raises:
        ConfigurationError: If the given session carries credentials of its own.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None,
        *,
        clock: Clock,
        schedule: Schedule,
        policy: RetryPolicy,
        max_concurrent_requests: int,
        emit: Emitter,
        store: GuardedStore | None = None,
        user_agent: str | None = None,
    ) -> None:
        if session is not None:
            check_session(session)
        self._given_session = session
        self._session = session
        self._routes = Routes(given=session is not None)
        self._clock = clock
        self._schedule = schedule
        self._policy = policy
        self._max_concurrent_requests = max_concurrent_requests
        self._gate = Gate(max(MAX_REQUESTS, max_concurrent_requests))
        self._emit = emit
        self._store = store
        self._user_agent = None if user_agent is None else f"{user_agent} {USER_AGENT}"
        # The origins for which an event about plain http was emitted.
        self._plain_http: LRUCache[str, None] = LRUCache(MAX_IDLE_ENDPOINTS)
        # In the order in which they were last asked for.
        self._endpoints: OrderedDict[str, Endpoint] = OrderedDict()

    def open(self) -> None:
        """Open a session, unless one was given; call this on the provider's event loop."""
        if self._given_session is None:
            self._session = open_session()

    def check(self, key: TokenKey) -> None:
        """Refuse a domain that cannot be reached as configured, before a caller's request.

        Args:
            key: The key of a token.

        Raises:
            ConfigurationError: If the given session would add credentials for the domain, or may
                send plain http through a proxy; or if the environment names a proxy that cannot be
                used.
        """
        if self._given_session is not None:
            check_netrc(self._given_session, key.client.origin)
            check_plain_http(self._given_session, key.client.origin)
        elif (error := self.endpoint(key).configuration_error) is not None:
            raise copy.copy(error)

    def endpoint(self, key: TokenKey) -> Endpoint:
        """Return the endpoint of a key's domain.

        Args:
            key: The key of a token.
        """
        origin = key.client.origin
        endpoint = self._endpoints.get(origin)
        if endpoint is None:
            if key.client.allow_http:
                self.warn_of_plain_http(origin)
            endpoint = self._make_endpoint(origin)
            self._drop_idle_endpoints()
            self._endpoints[origin] = endpoint
        else:
            self._endpoints.move_to_end(origin)
        return endpoint

    def warn_of_plain_http(self, origin: str) -> None:
        """Emit, once for each origin, that secrets or tokens go there in clear text.

        Args:
            origin: An origin that is not this machine.
        """
        if origin not in self._plain_http:
            self._plain_http[origin] = None
            self._emit(PlainHttpUsed(origin=origin))

    def clock_offsets(self) -> Mapping[str, float]:
        """Return by domain how many seconds Okta's clock is ahead of this machine's."""
        return {domain: endpoint.clock_offset for domain, endpoint in self._by_domain()}

    def response_times(self) -> Mapping[str, float]:
        """Return by domain how many seconds its latest token responses took."""
        return {domain: endpoint.response_time for domain, endpoint in self._by_domain()}

    def pause_end(self, key: TokenKey) -> float:
        """Return when the pause of a key's domain ends, in seconds of boot time; -inf without one.

        Args:
            key: The key of a token.
        """
        endpoint = self._endpoints.get(key.client.origin)
        return -math.inf if endpoint is None else endpoint.pauses.end(key)

    def _by_domain(self) -> Iterator[tuple[str, Endpoint]]:
        for origin, endpoint in self._endpoints.items():
            yield origin.partition("://")[2], endpoint

    async def aclose(self) -> None:
        """Close the session, unless it was given."""
        if self._session is not None and self._session is not self._given_session:
            await self._session.close()

    def _drop_idle_endpoints(self) -> None:
        """Make room for one more endpoint, as far as there are idle ones."""
        excess = max(0, len(self._endpoints) + 1 - MAX_IDLE_ENDPOINTS)
        idle = (origin for origin, endpoint in self._endpoints.items() if endpoint.is_idle)
        for origin in [*islice(idle, excess)]:
            del self._endpoints[origin]

    def _make_endpoint(self, origin: str) -> Endpoint:
        assert self._session is not None  # noqa: S101 - narrows the type
        proxy = environment_proxy(origin) if self._given_session is None else None
        error = proxy if isinstance(proxy, ConfigurationError) else None
        url = None if isinstance(proxy, ConfigurationError) else proxy
        routes, user_agent = self._routes, self._user_agent
        return Endpoint(
            origin,
            exchange=Exchange(self._session, url, self._clock, routes, user_agent),
            clock=self._clock,
            schedule=self._schedule,
            policy=self._policy,
            gate=Gate(self._max_concurrent_requests, within=self._gate),
            random=random.random,
            emit=self._emit,
            store=self._store,
            configuration_error=error,
        )
