"""Run the checks in their order. The other modules interpret what a step has found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import aiohttp

from okta_tokens import DPoP, OktaClient, RetryPolicy, TokenProvider
from okta_tokens._endpoint.http_session import check_netrc
from okta_tokens._runtime.arguments import text_of
from okta_tokens.doctor._authentication_methods import method_of
from okta_tokens.doctor._connection import (
    Resolver,
    SessionTrace,
    connect,
    look_up,
    resolve,
    send_first_request,
)
from okta_tokens.doctor._diagnosis import Diagnosis, Outcome, Result, passed, skipped
from okta_tokens.doctor._network_checks import (
    CLOCK,
    DNS,
    TCP,
    TLS,
    FirstContact,
    Route,
    check_clock,
    check_connection,
    check_dns,
    check_tcp,
    check_tls,
    route_of_session,
    route_to,
)
from okta_tokens.doctor._store_check import STORE, check_store, probe
from okta_tokens.doctor._token_checks import (
    AUTHENTICATION,
    DPOP,
    ENDPOINT,
    LATENCY,
    LIFETIME,
    RATE_LIMIT,
    ScopeRequest,
    check_authentication,
    check_dpop,
    check_endpoint,
    check_latency,
    check_lifetime,
    check_rate_limit,
    check_scope,
)
from okta_tokens.errors import ConfigurationError, FetchError, RateLimitedError
from okta_tokens.events import Event, TokenFetched
from okta_tokens.stores import TokenStore

T = TypeVar("T")

CONFIGURATION = "configuration"


class _OwnProvider(TokenProvider):
    """The doctor's provider: what it finds is a result, and no event of the service's log."""

    _is_diagnostic = True


async def diagnose(
    client: OktaClient,
    scopes: str | Iterable[str] = "",
    *,
    store: TokenStore | None = None,
    session: aiohttp.ClientSession | None = None,
    step_timeout: float = 10.0,
    on_result: Callable[[Result], object] | None = None,
) -> Diagnosis:
    """Run all checks of a client, and skip those that depend on a failed one.

    The doctor sends one token request for each scope, one for all scopes together, and at most two
    more if the app requires proofs. After a 429 it sends no more. It uses no provider of the
    service and puts no token into a store. Cancellation leaves nothing running, except the thread
    that looks up a name.

    Args:
        client: The client to check.
        scopes: The scopes to request, as for `TokenProvider.source`. Without any, the server's
            default scopes.
        store: The store of the service. The doctor saves a value that has no secret and ends after
            five seconds, and loads it.
        session: The session that the service gives its provider. It connects in its own way, so
            the checks of names, connections and certificates find out less.
        step_timeout: How long each step may take, in seconds.
        on_result: Called with each result as soon as its check has ended.

    Returns:
        The diagnosis, whether checks failed or not.

    Raises:
        ConfigurationError: If a provider would refuse the scopes, the store or the session.
        TokenProviderError: If an internal error ended the requests.
    """
    source = _OwnProvider(store=store, session=session).source(client, scopes)
    if session is not None:  # the provider checks this only before a token request
        check_netrc(session, client.origin)
    text = text_of(scopes)
    doctor = Doctor(
        client,
        " ".join(sorted(source.key.scopes)) if text is None else text,
        store=store,
        session=session,
        step_timeout=step_timeout,
        on_result=on_result,
    )
    return await doctor.run()


def check_names(scopes: str | None = None) -> list[str]:
    """Return the names of all checks without a store, in the order in which they run.

    Args:
        scopes: The scopes to request, separated by spaces; empty for the server's default scopes.
            If it is `None`, the checks of scopes are left out.
    """
    return [
        *(CONFIGURATION, DNS, TCP, TLS, CLOCK, ENDPOINT, AUTHENTICATION),
        *({} if scopes is None else scope_sets(scopes)),
        *(LIFETIME, DPOP, LATENCY, RATE_LIMIT),
    ]


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


class Doctor:
    """One run of all checks, from the domain's name to the last scope.

    Args:
        client: The client to check.
        scopes: The scopes to request, separated by spaces.
        store: The store to check; None if there is none.
        session: A given session; None if the doctor opens one.
        step_timeout: How long each step may take, in seconds.
        on_result: Called with the result of each check, in the order of `check_names`.
        resolver: Looks up host names.
    """

    def __init__(
        self,
        client: OktaClient,
        scopes: str,
        *,
        store: TokenStore | None = None,
        session: aiohttp.ClientSession | None = None,
        step_timeout: float,
        on_result: Callable[[Result], object] | None = None,
        resolver: Resolver = look_up,
    ) -> None:
        self._client = client
        self._sets = scope_sets(scopes)
        self._store = store
        self._session = session
        self._step_timeout = step_timeout
        self._on_result = on_result
        self._resolver = resolver
        self._pending = check_names(scopes)
        self._results: list[Result] = []
        self._requests = 0
        self._failed_check = ""
        self._trace = SessionTrace(client)

    async def run(self) -> Diagnosis:
        """Run all checks; skip those that depend on a failed one.

        Cancellation leaves nothing running, except the thread that looks up a name.
        """
        self._add(passed(CONFIGURATION, self._summary()))
        if self._session is None:
            await self._check_network()
        else:
            await self._check_given(self._session)
        while self._pending:
            self._skip_next()
        if self._store is not None:
            self._pending.append(STORE)
            self._add(check_store(await probe(self._store, self._step_timeout)))
        return Diagnosis(tuple(self._results), self._requests)

    def _summary(self) -> str:
        client, scopes = self._client, " ".join([*self._sets.values()][-1:])
        server = client.authorization_server
        parts = [
            f"{client.client_id} at {client.origin}",
            "org authorization server" if server is None else f"authorization server {server}",
            f"{method_of(client)}{'' if client.dpop is None else ' with DPoP'}",
            f"scopes {scopes}" if scopes else "its default scopes",
        ]
        return ", ".join(parts)

    async def _check_network(self) -> None:
        route = route_to(self._client.origin)
        addresses = await self._result_of(resolve(self._resolver, route))
        if self._add(check_dns(route, addresses)) and not isinstance(addresses, BaseException):
            duration = await self._result_of(connect(addresses, route.port))
            if self._add(check_tcp(route, duration)):
                async with self._trace.session(route) as session:
                    contact = await self._first_contact(session)
                    await self._check_server(route, contact, session)

    async def _check_given(self, session: aiohttp.ClientSession) -> None:
        route = route_of_session(self._client.origin)
        with self._trace.tracing(session):
            contact = await self._first_contact(session)
            self._add(skipped(DNS, "not known: the given session looks names up itself"))
            if self._add(check_connection(route, contact)):
                await self._check_server(route, contact, session)

    async def _first_contact(self, session: aiohttp.ClientSession) -> FirstContact:
        response = await self._result_of(send_first_request(session, self._client))
        return self._trace.first_contact(response)

    async def _check_server(
        self, route: Route, contact: FirstContact, session: aiohttp.ClientSession
    ) -> None:
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

        async with _OwnProvider(retry=retry, session=session, observers=[observe]) as provider:

            async def request(client: OktaClient, name: str) -> ScopeRequest:
                scopes = self._sets[name]
                result: TokenFetched | FetchError
                try:
                    await provider.get_token(client, scopes)
                    result = await fetched.get()
                except FetchError as error:
                    result = error
                self._requests = provider.stats().requests
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
        self._add(check_latency(self._trace.slowest))
        self._add(check_rate_limit(self._trace.rate_limit, requests))

    def _add(self, result: Result) -> bool:
        """Report a result, after the checks that were skipped before it.

        Returns:
            Whether the check did not fail.
        """
        while self._pending[0] != result.name:
            self._skip_next()
        del self._pending[0]
        self._report(result)
        if result.outcome is Outcome.FAIL:
            self._failed_check = result.name
            return False
        return True

    def _skip_next(self) -> None:
        self._report(skipped(self._pending.pop(0), f"{self._failed_check} failed"))

    def _report(self, result: Result) -> None:
        self._results.append(result)
        if self._on_result is not None:
            self._on_result(result)

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
        parameters=None if client.parameters is None else dict(client.parameters.fields),
        allow_http=client.allow_http,
    )
