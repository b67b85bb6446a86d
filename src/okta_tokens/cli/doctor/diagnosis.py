"""Run the checks in their order. Each `*_checks` module interprets what a step has found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import aiohttp

from okta_tokens import DPoP, OktaClient, RetryPolicy, TokenProvider
from okta_tokens.cli.doctor.connection import (
    Resolver,
    SessionTrace,
    connect,
    look_up,
    resolve,
    send_first_request,
)
from okta_tokens.cli.doctor.network_checks import (
    CLOCK,
    DNS,
    TCP,
    TLS,
    Route,
    check_clock,
    check_dns,
    check_tcp,
    check_tls,
    route_to,
)
from okta_tokens.cli.doctor.result import Outcome, Result, skipped
from okta_tokens.cli.doctor.token_checks import (
    AUTHENTICATION,
    DPOP,
    ENDPOINT,
    LIFETIME,
    RATE_LIMIT,
    ScopeRequest,
    check_authentication,
    check_dpop,
    check_endpoint,
    check_lifetime,
    check_rate_limit,
    check_scope,
)
from okta_tokens.errors import ConfigurationError, FetchError, RateLimitedError
from okta_tokens.events import Event, TokenFetched

T = TypeVar("T")


def scope_sets(scopes: str) -> dict[str, str]:
    """Return the sets of scopes to request, by the name of their check.

    Each scope is requested by itself, then all scopes together if there are several.

    Args:
        scopes: The scopes, separated by spaces. Without any, the server's default is requested.
    """
    names = [*dict.fromkeys(scopes.split())]
    sets = {f"scope {name}": name for name in names}
    if len(names) != 1:
        sets["all scopes" if names else "default scopes"] = " ".join(names)
    return sets


def check_names(sets: Mapping[str, str]) -> list[str]:
    """Return the names of all checks, in the order in which they run.

    Args:
        sets: The sets of scopes, as `scope_sets` returns them.
    """
    return [DNS, TCP, TLS, CLOCK, ENDPOINT, AUTHENTICATION, *sets, LIFETIME, DPOP, RATE_LIMIT]


class Diagnosis:
    """One run of all checks, from the domain's name to the last scope.

    Args:
        client: The client to check.
        scopes: The scopes to request, separated by spaces.
        step_timeout: How long each step may take, in seconds.
        on_result: Called with the result of each check, in the order of `check_names`.
        resolver: Looks up host names.
    """

    def __init__(
        self,
        client: OktaClient,
        scopes: str,
        *,
        step_timeout: float,
        on_result: Callable[[Result], object],
        resolver: Resolver = look_up,
    ) -> None:
        self._client = client
        self._sets = scope_sets(scopes)
        self._step_timeout = step_timeout
        self._on_result = on_result
        self._resolver = resolver
        self._pending = check_names(self._sets)
        self._failed_check = ""
        self._trace = SessionTrace()
        self.requests = 0
        """How many token requests were sent."""

    async def run(self) -> None:
        """Run all checks; skip those that depend on a failed one.

        Cancellation leaves nothing running, except the thread that looks up a name.
        """
        await self._check_network()
        while self._pending:
            self._skip_next()

    async def _check_network(self) -> None:
        route = route_to(self._client.origin)
        addresses = await self._result_of(resolve(self._resolver, route))
        if self._add(check_dns(route, addresses)) and not isinstance(addresses, BaseException):
            duration = await self._result_of(connect(addresses, route.port))
            if self._add(check_tcp(route, duration)):
                await self._check_server(route)

    async def _check_server(self, route: Route) -> None:
        async with self._trace.session(route) as session:
            response = await self._result_of(send_first_request(session, self._client))
            contact = self._trace.first_contact(response)
            if self._add(check_tls(route, contact)):
                self._add(check_clock(contact))
                await self._check_tokens(session)

    async def _check_tokens(self, session: aiohttp.ClientSession) -> None:
        retry = RetryPolicy(
            attempts=1,
            request_timeout=self._step_timeout,
            total_timeout=3 * self._step_timeout,
            max_wait=3 * self._step_timeout,
        )
        fetched: asyncio.Queue[TokenFetched] = asyncio.Queue()

        def observe(event: Event) -> None:
            if isinstance(event, TokenFetched):
                fetched.put_nowait(event)

        async with TokenProvider(retry=retry, session=session, observers=[observe]) as provider:

            async def request(client: OktaClient, name: str) -> ScopeRequest:
                scopes = self._sets[name]
                result: TokenFetched | FetchError
                try:
                    await provider.get_token(client, scopes)
                    result = await fetched.get()
                except FetchError as error:
                    result = error
                self.requests = provider.stats().requests
                return ScopeRequest(name, frozenset(scopes.split()), result)

            await self._check_scopes(request)

    async def _check_scopes(
        self, request: Callable[[OktaClient, str], Awaitable[ScopeRequest]]
    ) -> None:
        """Request each set of scopes, until a result shows that further requests are in vain.

        Three cases after the first request: a client without a DPoP key is refused for want of a
        proof, so the doctor makes proofs itself, and the missing key hides no other problem; the
        endpoint is not Okta's, so nothing else can be checked; the client is refused, so no scope
        is checked.
        """
        name, *others = self._sets
        client, without_proof = self._client, None
        first = await request(client, name)
        if first.needs_proof and client.dpop is None:
            without_proof = first
            client = _with_dpop(client)
            first = first if client.dpop is None else await request(client, name)
        if not self._add(check_endpoint(client, first)):
            return
        self._add(check_authentication(client, first))
        requests = [first]
        if not first.is_final:
            self._add(check_scope(first))
            for name in others:
                requests.append(await request(client, name))
                self._add(check_scope(requests[-1]))
                if requests[-1].is_final:
                    break
        if isinstance(requests[-1].result, RateLimitedError):
            self._failed_check = RATE_LIMIT
        elif requests[-1].needs_proof:
            self._failed_check = DPOP
        if not first.is_final:
            self._add(check_lifetime(requests))
        self._add(check_dpop(self._client, requests, without_proof))
        self._add(check_rate_limit(self._trace.rate_limit, requests))

    def _add(self, result: Result) -> bool:
        """Report a result, after the checks that were skipped before it.

        Returns:
            Whether the check did not fail.
        """
        while self._pending[0] != result.name:
            self._skip_next()
        del self._pending[0]
        self._on_result(result)
        if result.outcome is Outcome.FAIL:
            self._failed_check = result.name
            return False
        return True

    def _skip_next(self) -> None:
        self._on_result(skipped(self._pending.pop(0), f"{self._failed_check} failed"))

    async def _result_of(self, step: Awaitable[T]) -> T | BaseException:
        """Return the result or the error of a step, whatever the error is."""
        limited = asyncio.wait_for(step, self._step_timeout)
        return (await asyncio.gather(limited, return_exceptions=True))[0]


def _with_dpop(client: OktaClient) -> OktaClient:
    """Return a client that requests bound tokens; the same client if the extra is missing."""
    try:
        dpop = DPoP()
    except ConfigurationError:
        return client
    return OktaClient(
        client.origin,
        client.client_id,
        client.authentication,
        authorization_server=client.authorization_server,
        dpop=dpop,
    )
