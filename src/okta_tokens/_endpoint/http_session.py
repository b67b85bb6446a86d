"""The HTTP session: the provider's own, or a given one that adds no credentials."""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.connector import Connection

from okta_tokens.errors import ConfigurationError


class _Request(aiohttp.ClientRequest):
    """A request that is not sent on a connection that holds unread bytes.

    aiohttp treats bytes that arrive on an idle connection as the response to the next request. So
    the token of one client could reach another client.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Send the request, unless the connection holds unread bytes; aiohttp then closes it.

        Raises:
            aiohttp.ServerDisconnectedError: If the connection holds unread bytes.
        """
        assert conn.protocol is not None  # noqa: S101 - narrows the type
        if conn.protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        return await super().send(conn)


def open_session() -> aiohttp.ClientSession:
    """Return a session without cookies, credentials and `.netrc`.

    The gate limits the connections, so the pool does not.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
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


def _in_netrc(host: str) -> bool:
    try:
        path = os.environ.get("NETRC") or Path("~/.netrc").expanduser()
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, RuntimeError, ValueError, netrc.NetrcParseError):  # missing or unreadable
        return False


def environment_proxy(
    origin: str,
    proxies: Callable[[], dict[str, str]] = getproxies,
    bypass: Callable[[str], object] = proxy_bypass,
) -> str | None:
    """Return the proxy that the environment names for an origin.

    The provider's own session reads nothing else from the environment. Plain http is for this
    machine's loopback interface alone and uses no proxy.

    Args:
        origin: The domain with its scheme.
        proxies: Returns the values of `HTTPS_PROXY` and similar variables, by scheme.
        bypass: Tells whether `NO_PROXY` names a host.

    Returns:
        The URL of the proxy, or None.
    """
    url = urlsplit(origin)
    if url.scheme != "https" or bypass(url.netloc):
        return None
    return proxies().get("https")
