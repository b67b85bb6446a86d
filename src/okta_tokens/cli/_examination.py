"""The doctor's hands: look a name up, connect, greet, ask for tokens. What it means, checks say.

Nothing takes longer than it is given, and nothing is tried twice: an error is a fact.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import aiohttp

from okta_tokens import DPoP, OktaClient, RetryPolicy, TokenProvider
from okta_tokens.cli._findings import Finding, Outcome, skipped
from okta_tokens.cli._network_checks import (
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
from okta_tokens.cli._token_checks import (
    AUTHENTICATION,
    DPOP,
    ENDPOINT,
    LIFETIME,
    RATE_LIMIT,
    Asked,
    check_authentication,
    check_dpop,
    check_endpoint,
    check_lifetime,
    check_rate_limit,
    check_scope,
)
from okta_tokens.cli._witness import Witness
from okta_tokens.errors import ConfigurationError, FetchError, RateLimitedError
from okta_tokens.events import Event, TokenFetched

T = TypeVar("T")
Resolver = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host and port; it may block."""


def scope_sets(scopes: str) -> dict[str, str]:
    """Return what is asked for, by the name of the check of it: each scope, then all together.

    Args:
        scopes: Separated by spaces; none mean the server's default.
    """
    names = [*dict.fromkeys(scopes.split())]
    sets = {f"scope {name}": name for name in names}
    if len(names) != 1:
        sets["all scopes" if names else "default scopes"] = " ".join(names)
    return sets


def plan(sets: Mapping[str, str]) -> list[str]:
    """Return the names of all checks, in their order.

    Args:
        sets: What is asked for.
    """
    return [DNS, TCP, TLS, CLOCK, ENDPOINT, AUTHENTICATION, *sets, LIFETIME, DPOP, RATE_LIMIT]


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as the system finds them.

    Args:
        host: Its name.
        port: Of what is looked for there.

    Raises:
        OSError: If there is none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [*dict.fromkeys(str(address[0]) for *_, address in found)]


class Examination:
    """One look at everything, from the name to the last scope.

    Args:
        client: Who asks.
        scopes: What for, separated by spaces.
        patience: How long each step may take, in seconds.
        tell: Called with each finding, in the order of the plan.
        resolver: Looks names up.
    """

    def __init__(
        self,
        client: OktaClient,
        scopes: str,
        *,
        patience: float,
        tell: Callable[[Finding], object],
        resolver: Resolver = look_up,
    ) -> None:
        self._client = client
        self._sets = scope_sets(scopes)
        self._patience = patience
        self._told = tell
        self._resolver = resolver
        self._left = plan(self._sets)
        self._culprit = ""
        self._witness = Witness()
        self.requests = 0
        """How many token requests were made."""

    async def run(self) -> None:
        """Look at everything; what cannot be looked at, since something else failed, is skipped.

        Cancellation leaves nothing running, save the look-up of a name, which nobody waits for.
        """
        await self._look()
        while self._left:
            self._skip()

    async def _look(self) -> None:
        route = route_to(self._client.origin)
        addresses = await self._within(_resolve(self._resolver, route))
        if self._tell(check_dns(route, addresses)) and not isinstance(addresses, BaseException):
            took = await self._within(_connect(addresses, route.port))
            if self._tell(check_tcp(route, took)):
                await self._talk(route)

    async def _talk(self, route: Route) -> None:
        async with self._witness.session(route) as session:
            answer = await self._within(_greet(session, route.origin))
            greeting = self._witness.greeting(answer)
            if self._tell(check_tls(route, greeting)):
                self._tell(check_clock(greeting))
                await self._ask_for_tokens(session)

    async def _ask_for_tokens(self, session: aiohttp.ClientSession) -> None:
        retry = RetryPolicy(
            attempts=1,
            request_timeout=self._patience,
            total_timeout=3 * self._patience,
            max_wait=3 * self._patience,
        )
        granted: asyncio.Queue[TokenFetched] = asyncio.Queue()

        def observe(event: Event) -> None:
            if isinstance(event, TokenFetched):
                granted.put_nowait(event)

        async with TokenProvider(retry=retry, session=session, observers=[observe]) as provider:

            async def ask(client: OktaClient, name: str) -> Asked:
                scopes = self._sets[name]
                outcome: TokenFetched | FetchError
                try:
                    await provider.get_token(client, scopes)
                    outcome = await granted.get()
                except FetchError as error:
                    outcome = error
                self.requests = provider.stats().requests
                return Asked(name, frozenset(scopes.split()), outcome)

            await self._judge_tokens(ask)

    async def _judge_tokens(self, ask: Callable[[OktaClient, str], Awaitable[Asked]]) -> None:
        name, *others = self._sets
        client, demand = self._client, None
        first = await ask(client, name)
        if first.wants_proof and client.dpop is None:
            demand = first
            # So that this does not hide whatever else is wrong.
            client = _with_proofs(client)
            first = first if client.dpop is None else await ask(client, name)
        if not self._tell(check_endpoint(client, first)):
            return
        self._tell(check_authentication(client, first))
        asked = [first]
        if not first.hopeless:
            self._tell(check_scope(first))
            for name in others:
                asked.append(await ask(client, name))
                self._tell(check_scope(asked[-1]))
                if asked[-1].hopeless:
                    break
        if isinstance(asked[-1].outcome, RateLimitedError):
            self._culprit = RATE_LIMIT
        elif asked[-1].wants_proof:
            self._culprit = DPOP
        if not first.hopeless:
            self._tell(check_lifetime(asked))
        self._tell(check_dpop(self._client, asked, demand))
        self._tell(check_rate_limit(self._witness.rate_limit, asked))

    def _tell(self, finding: Finding) -> bool:
        """Tell a finding, and before it what was passed over; return whether to go on."""
        while self._left[0] != finding.name:
            self._skip()
        del self._left[0]
        self._told(finding)
        if finding.outcome is Outcome.FAIL:
            self._culprit = finding.name
            return False
        return True

    def _skip(self) -> None:
        self._told(skipped(self._left.pop(0), f"{self._culprit} failed"))

    async def _within(self, call: Awaitable[T]) -> T | BaseException:
        """Return what came of a step: whatever its error is, it is what was to be found out."""
        limited = asyncio.wait_for(call, self._patience)
        return (await asyncio.gather(limited, return_exceptions=True))[0]


async def _resolve(resolver: Resolver, route: Route) -> Sequence[str]:
    """Look a name up in a thread that nobody waits for: it may take a minute, without an end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def deliver(error: Exception | None, found: Sequence[str]) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)

    def work() -> None:
        error: Exception | None = None
        found: Sequence[str] = ()
        try:
            found = resolver(route.host, route.port)
        except Exception as caught:  # noqa: BLE001 - it is handed on
            error = caught
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, error, found)

    threading.Thread(target=work, daemon=True).start()
    return await answer


async def _connect(addresses: Sequence[str], port: int) -> float:
    """Return how long it took to connect to the first address that lets one.

    Raises:
        OSError: Of the last address, if none does.
    """
    began = time.monotonic()
    for address in addresses[:-1]:
        with suppress(OSError):
            return await _connect([address], port)
    _, writer = await asyncio.open_connection(addresses[-1], port)
    took = time.monotonic() - began
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return took


async def _greet(session: aiohttp.ClientSession, origin: str) -> None:
    """Ask for a document that takes no credential, and counts against no limit."""
    url = f"{origin}/.well-known/openid-configuration"
    # One that was kept on the way would tell the time at which it was made.
    async with session.get(url, headers={"Cache-Control": "no-cache"}, allow_redirects=False):
        pass


def _with_proofs(client: OktaClient) -> OktaClient:
    """Return a client that asks for bound tokens; the same one if the extra is missing."""
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
