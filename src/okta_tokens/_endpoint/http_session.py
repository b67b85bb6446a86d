"""The HTTP session: the provider's own, or a given one that adds no credentials."""

from __future__ import annotations

import netrc
import os
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection

from okta_tokens._model.client import OktaClient
from okta_tokens._model.urls import loopback_addresses
from okta_tokens.errors import ConfigurationError

_MAX_KEPT = 8
"""Clients whose connections are kept, so that the number of idle connections is bounded."""

_KEPT_SECONDS = 5.0
"""How long a connection stays open without a request: for the requests of a start, and for one that
is repeated with a nonce. The renewal of a token comes much later."""

_VIA_PROXY = (
    "session: it sends plain http through a proxy, which could read the secret and the token; use "
    "https, or give the provider a session without proxy and trust_env"
)

_CONNECTORS = (aiohttp.TCPConnector, aiohttp.UnixConnector, aiohttp.NamedPipeConnector)


class RefusedRouteError(Exception):
    """A request by plain http would not go straight to where it may; the message has no secret."""


class _Request(aiohttp.ClientRequest):
    """A request of the provider's own session.

    It is not sent on a connection of another client, nor on a connection that holds unread bytes:
    aiohttp treats bytes that arrive on an idle connection as the response to the next request. So
    a client could get the token that it requested with other scopes.
    """

    def __repr__(self) -> str:
        """Return the method and the URL, without headers and body."""
        return f"<{self.method} {self.url}>"

    @property
    def connection_key(self) -> ConnectionKey:
        """What a connection must have in common with the request to be used for it."""
        host, port, is_ssl, ssl, proxy, proxy_auth, _, name = super().connection_key
        number = _present.get().number  # in the place of the hash of the headers for the proxy
        return ConnectionKey(host, port, is_ssl, ssl, proxy, proxy_auth, number, name)

    def send(self, conn: Connection) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        """Send the request, unless the connection holds unread bytes; aiohttp then closes it.

        Raises:
            aiohttp.ServerDisconnectedError: If the connection holds unread bytes.
        """
        assert conn.protocol is not None  # noqa: S101 - narrows the type
        if conn.protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        if not _present.get().kept:
            conn.protocol.force_close()
        return super().send(conn)


class _LastResponse(aiohttp.ClientResponse):
    """A response after which the connection is closed, whatever the server wants."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head of the response."""
        assert connection.protocol is not None  # noqa: S101 - narrows the type
        connection.protocol.force_close()
        return await super().start(connection)


class Route:
    """The way of one client's requests.

    - No request of another client, and no other request of the session, uses its connections.
    - Plain http goes to an address of this machine, without a look-up and without a proxy. Only the
      `Host` header has the name. If it is allowed to another machine, it goes there without a
      proxy.

    In the provider's own session, requests see to the first themselves. In a given session, and for
    plain http to a name, the route is a client middleware.

    Args:
        number: Differs between the routes of a session.
        origin: The client's domain with its scheme.
        given: Whether the user gave the session.
        kept: Whether its connections are used again.
        allow_http: Whether plain http may go to another machine.
    """

    def __init__(
        self, number: int, origin: str, *, given: bool, kept: bool, allow_http: bool
    ) -> None:
        self.number = number
        self.kept = kept
        self._allow_http = allow_http
        self._host = urlsplit(origin).hostname or ""
        self._addresses = loopback_addresses(self._host)
        has_name = origin.startswith("http:") and self._addresses != (self._host,)
        self.middlewares: tuple[Route, ...] = (self,) if given or has_name else ()
        """The middlewares that a request on this route needs."""

    def begin(self) -> None:
        """Let the requests of the present task take this route."""
        _present.set(self)

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request.

        Raises:
            RefusedRouteError: If the request is plain http and would go through a proxy, or to
                another machine to which it is not allowed.
        """
        # aiohttp looks for an idle connection by these two values, among others. It sends none of
        # them: a request without a proxy has no headers for one, and a fragment stays here.
        if request.proxy is None:
            request.proxy_headers = type(request.headers)(Route=str(self.number))
        else:
            request.proxy = request.proxy.with_fragment(str(self.number))
        if not self.kept:
            request.response_class = _LastResponse
        if request.url.scheme == "https":
            return await handler(request)
        if request.proxy is not None or not (self._addresses or self._allow_http):
            raise RefusedRouteError(_VIA_PROXY)
        if self._addresses in {(), (self._host,)}:
            return await handler(request)
        return await self._try_each_address(request, handler)

    async def _try_each_address(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        first, *others = self._addresses
        try:
            request.url = request.url.with_host(first)
            return await handler(request)
        except aiohttp.ClientConnectorError:
            for address in others:
                request.url = request.url.with_host(address)
                with suppress(aiohttp.ClientConnectorError):
                    return await handler(request)
            raise


_present: ContextVar[Route] = ContextVar("the route of the requests of the present task")


class Routes:
    """The routes of a session's clients.

    aiohttp treats any bytes on a connection as the response to the request that it sent there last,
    also if the server sent them before. So no two clients share a connection. The connections of a
    given session are not even used again, since they cannot be checked first.

    Args:
        given: Whether the user gave the session.
    """

    def __init__(self, *, given: bool) -> None:
        self._given = given
        self._numbers = count()
        self._kept: dict[OktaClient, Route] = {}

    def route(self, client: OktaClient) -> Route:
        """Return the route of a client's next request.

        Args:
            client: The client.
        """
        route = self._kept.get(client)
        if route is None:
            kept = not self._given and len(self._kept) < _MAX_KEPT
            route = Route(
                next(self._numbers),
                client.origin,
                given=self._given,
                kept=kept,
                allow_http=client.allow_http,
            )
            if kept:
                self._kept[client] = route
        return route


def open_session() -> aiohttp.ClientSession:
    """Return a session without cookies, credentials and `.netrc`.

    The gate limits the connections, so the pool does not.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        request_class=_Request,
    )


def check_session(session: aiohttp.ClientSession) -> None:
    """Refuse a session that adds credentials: a token request must hold exactly one credential.

    The session's middlewares, time-outs and redirects do not matter: each request sets its own.

    Args:
        session: The session that the user gave.

    Raises:
        ConfigurationError: If the session has default authentication, or a default `Authorization`
            header.
    """
    problems = []
    if session.auth is not None:
        problems.append("it sends HTTP authentication of its own")
    if "Authorization" in session.headers:
        problems.append("it sends an Authorization header of its own")
    if problems:
        message = f"session: {'; '.join(problems)}; give the provider a session without these"
        raise ConfigurationError(message)


def check_netrc(session: aiohttp.ClientSession, origin: str) -> None:
    """Refuse a session that would add credentials for a host from the user's `.netrc`.

    aiohttp reads that file for sessions with `trust_env=True`.

    Args:
        session: The session that the user gave.
        origin: The domain with its scheme.

    Raises:
        ConfigurationError: If the file has an entry for the host.
    """
    if session.trust_env and _in_netrc(urlsplit(origin).hostname or ""):
        message = (
            f"session: with trust_env=True it adds the .netrc entry for {origin} to each request; "
            "remove the entry, or give the provider a session without trust_env"
        )
        raise ConfigurationError(message)


def check_plain_http(session: aiohttp.ClientSession, origin: str) -> None:
    """Refuse a session that may send plain http to another machine than the domain.

    Each request is checked again, since the environment may change.

    Args:
        session: The session that the user gave.
        origin: The domain with its scheme.

    Raises:
        ConfigurationError: If the domain is plain http and the session has a proxy, would take one
            from the environment, or has a connector that is not aiohttp's own.
    """
    if not origin.startswith("http:"):
        return
    proxy = getattr(session, "_default_proxy", None)
    # `NO_PROXY` does not matter: its readers disagree about the forms of a host.
    if proxy is not None or (session.trust_env and "http" in getproxies()):
        raise ConfigurationError(_VIA_PROXY)
    if session.connector is not None and type(session.connector) not in _CONNECTORS:
        message = (
            "session: its connector is not one of aiohttp's own, so it may send plain http to "
            "another machine; use https, or give the provider a session with an "
            "aiohttp.TCPConnector"
        )
        raise ConfigurationError(message)


def _in_netrc(host: str) -> bool:
    try:
        path = os.environ.get("NETRC") or Path("~/.netrc").expanduser()
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, RuntimeError, ValueError, netrc.NetrcParseError):  # missing or unreadable
        return False
