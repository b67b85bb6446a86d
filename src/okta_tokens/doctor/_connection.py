"""Collect the facts that the checks interpret: addresses, a connection, TLS, time, rate limit.

No step is tried twice: an error is a fact like any other.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import aiohttp

from okta_tokens import OktaClient, __version__
from okta_tokens._endpoint.http_session import Routes
from okta_tokens._endpoint.rate_limits import header_integers
from okta_tokens._endpoint.response import parse_date
from okta_tokens._model.urls import is_address, loopback_addresses
from okta_tokens.doctor._network_checks import FirstContact, Handshake, Route
from okta_tokens.doctor._token_checks import RateLimit

Resolver = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host and port. It may block."""


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as the system resolves them.

    Args:
        host: The name of the host.
        port: The port to connect to.

    Raises:
        OSError: If the host has no address.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [*dict.fromkeys(str(address[0]) for *_, address in found)]


async def resolve(resolver: Resolver, route: Route) -> Sequence[str]:
    """Look up a route's host in a daemon thread, since a look-up may block for a minute.

    A cancelled call does not wait for the thread, and neither does the end of the program. Names of
    this machine are not looked up for plain http, as in the provider.

    Args:
        resolver: Looks up the host.
        route: The route.
    """
    known = () if route.secure or is_address(route.host) else loopback_addresses(route.host)
    if known:
        return known
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Sequence[str]] = loop.create_future()

    def deliver(error: Exception | None, addresses: Sequence[str]) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(addresses)
        else:
            result.set_exception(error)

    def work() -> None:
        error: Exception | None = None
        addresses: Sequence[str] = ()
        try:
            addresses = resolver(route.host, route.port)
        except Exception as caught:  # noqa: BLE001 - it is passed on
            error = caught
        with suppress(RuntimeError):  # the loop is closed, so no coroutine waits any more
            loop.call_soon_threadsafe(deliver, error, addresses)

    threading.Thread(target=work, daemon=True).start()
    return await result


async def connect(addresses: Sequence[str], port: int) -> float:
    """Connect to the first address that accepts a connection, and close the connection.

    Args:
        addresses: The addresses to try, in this order; at least one.
        port: The port.

    Returns:
        The seconds that it took.

    Raises:
        OSError: The error of the last address, if no address accepts a connection.
    """
    began = time.monotonic()
    for address in addresses[:-1]:
        with suppress(OSError):
            return await connect([address], port)
    _, writer = await asyncio.open_connection(addresses[-1], port)
    duration = time.monotonic() - began
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return duration


async def send_first_request(session: aiohttp.ClientSession, client: OktaClient) -> None:
    """Request a public document, which needs no credential and counts against no rate limit.

    Args:
        session: The session to use.
        client: The client whose domain is asked, on the way of its token requests.
    """
    url = f"{client.origin}/.well-known/openid-configuration"
    async with session.get(
        url,
        headers={"Cache-Control": "no-cache"},  # a cached response would hold an old `Date`
        allow_redirects=False,
        middlewares=Routes(given=True).route(client).middlewares,
    ):
        pass


class SessionTrace:
    """Records TLS, the server's time, the rate limit and the durations of a session's responses.

    Of a request, which may hold a credential, only the method and the URL are looked at. Requests
    to other hosts, which a given session may send at the same time, are not recorded.

    Args:
        client: The client whose responses are recorded.
    """

    def __init__(self, client: OktaClient) -> None:
        self.rate_limit: RateLimit | None = None
        """The rate limit in the last token response; None if the response named no limit."""
        self.slowest: float | None = None
        """How long the slowest token response took, in seconds; None if there was none."""
        self._origin = f"{client.origin}/"
        self._token_url = client.token_url
        self._handshake: Handshake | None = None
        self._offset: float | None = None
        self._margin = 0.0
        self._config = aiohttp.TraceConfig()
        self._config.on_request_headers_sent.append(self._on_sent)
        self._config.on_request_end.append(self._on_response)

    def session(self, route: Route) -> aiohttp.ClientSession:
        """Return a traced session, which otherwise works like the provider's own.

        Args:
            route: The route to Okta.
        """
        return aiohttp.ClientSession(
            # aiohttp treats bytes that arrive on an idle connection as the next response.
            connector=aiohttp.TCPConnector(ssl=self._ssl_context(), force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"okta-tokens/{__version__}"},
            proxy=route.proxy,
            trace_configs=[self._config],
        )

    @contextmanager
    def tracing(self, session: aiohttp.ClientSession) -> Iterator[None]:
        """Trace a given session, whose handshakes cannot be recorded.

        Args:
            session: The session that the user gave.
        """
        self._config.freeze()
        session.trace_configs.append(self._config)
        try:
            yield
        finally:
            session.trace_configs.remove(self._config)

    def first_contact(self, error: BaseException | None) -> FirstContact:
        """Return what was recorded of the first request.

        Args:
            error: Why there was no response; None if there was one.
        """
        return FirstContact(
            error=error, handshake=self._handshake, offset=self._offset, margin=self._margin
        )

    def _ssl_context(self) -> ssl.SSLContext:
        """Return a context with the system's trusted certificates that records handshakes."""
        trace = self

        class TracedSSLObject(ssl.SSLObject):
            def do_handshake(self) -> None:
                super().do_handshake()
                trace._handshake = Handshake(
                    at=time.time(),
                    version=str(self.version()),
                    certificate=self.getpeercert() or {},
                )

        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])  # as in aiohttp's own context
        context.sslobject_class = TracedSSLObject
        return context

    async def _on_sent(
        self, _: aiohttp.ClientSession, context: SimpleNamespace, __: object
    ) -> None:
        context.sent_at, context.began = time.time(), time.monotonic()

    async def _on_response(
        self,
        _: aiohttp.ClientSession,
        context: SimpleNamespace,
        ended: aiohttp.TraceRequestEndParams,
    ) -> None:
        received_at, duration = time.time(), time.monotonic() - context.began
        url, response = str(ended.url), ended.response
        if not url.startswith(self._origin):
            return
        date = parse_date(response.headers.get("Date", ""))
        if date is not None:
            date += 0.5  # `Date` has whole seconds: take the middle of the second
            self._offset = date - (context.sent_at + received_at) / 2
            self._margin = 0.5 + (received_at - context.sent_at) / 2
        if url == self._token_url:
            self.slowest = max(duration, self.slowest or 0.0)
            self.rate_limit = _rate_limit(response, received_at if date is None else date)


def _rate_limit(response: aiohttp.ClientResponse, now: float) -> RateLimit | None:
    """Return the rate limit that a response names; of several values, the most careful one.

    Args:
        response: The response. Proxies may have repeated its headers.
        now: The present moment by the server's clock, in seconds since the epoch.
    """
    limits, remaining, resets = (
        header_integers(response.headers.getall(f"X-Rate-Limit-{name}", []))
        for name in ("Limit", "Remaining", "Reset")
    )
    if not (limits and remaining and resets):
        return None
    return RateLimit(min(limits), min(remaining), max(0.0, max(resets) - now))
