"""The HTTP session: our own, or the user's if it would not send two credentials."""

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
    """A request that is not sent where an answer waits already.

    aiohttp keeps what a server says on an idle connection, and takes it for the answer to the next
    request: the token of one client would be handed to another one.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Send, unless the connection is spoilt; then it is closed.

        Raises:
            aiohttp.ServerDisconnectedError: If it is.
        """
        assert conn.protocol is not None  # noqa: S101 - narrows the type
        if conn.protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        return await super().send(conn)


def open_session() -> aiohttp.ClientSession:
    """Return a session that carries nothing of its own: no cookies, no credentials, no `.netrc`.

    The gate bounds the connections, so the pool does not.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        request_class=_Request,
    )


def check_session(session: aiohttp.ClientSession) -> None:
    """Refuse a session that carries credentials: a token request must hold one, and only one.

    Its middlewares, time-outs and redirects do not matter: each request passes its own.

    Raises:
        ConfigurationError: If it has authentication, or an `Authorization` header, as a default.
    """
    problems = []
    if session.auth is not None:
        problems.append("it sends HTTP authentication of its own")
    if "Authorization" in session.headers:
        problems.append("it sends an Authorization header of its own")
    if problems:
        message = f"session: {'; '.join(problems)}; give the provider a session without"
        raise ConfigurationError(message)


def check_netrc(session: aiohttp.ClientSession, origin: str) -> None:
    """Refuse a session that would add credentials for a host from the user's `.netrc`.

    aiohttp reads that file for sessions with `trust_env=True`.

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
    except (OSError, RuntimeError, ValueError, netrc.NetrcParseError):  # none, or none to be read
        return False


def environment_proxy(
    origin: str,
    proxies: Callable[[], dict[str, str]] = getproxies,
    bypass: Callable[[str], object] = proxy_bypass,
) -> str | None:
    """Return the proxy that the environment names for an origin, or None.

    For our own session, which does not trust the environment any further. Plain http is for this
    machine alone and goes through no proxy.

    Args:
        origin: The domain, with its scheme.
        proxies: Reads `HTTPS_PROXY` and the like.
        bypass: Tells whether `NO_PROXY` names a host.
    """
    url = urlsplit(origin)
    if url.scheme != "https" or bypass(url.netloc):
        return None
    return proxies().get("https")
