"""The HTTP session: the provider's own, or a given one that adds no credentials."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from yarl import URL

from okta_tokens import ClientSecretBasic, OktaClient
from okta_tokens._endpoint import http_session
from okta_tokens._endpoint.http_session import (
    RefusedRouteError,
    Routes,
    _Request,
    check_netrc,
    check_session,
    open_session,
)
from okta_tokens.errors import ConfigurationError
from tests.runtime.test_redaction import frames_of, locals_with
from tests.support import until

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
ORIGIN = "https://acme.okta.com"
ENTRY = f"machine acme.okta.com login me password {SECRET}\n"


def session_with_auth(headers: dict[str, str] | None = None) -> aiohttp.ClientSession:
    """Return a session with default authentication, which aiohttp still supports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return aiohttp.ClientSession(auth=aiohttp.BasicAuth("me", SECRET), headers=headers)


async def test_our_session_carries_nothing() -> None:
    """Our own session has no cookies, credentials or headers, and ignores the environment."""
    async with open_session() as session:
        assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)
        assert not session.trust_env
        assert session.auth is None
        assert not session.headers
        assert session.connector is not None
        assert session.connector.limit == 0


async def test_our_session_passes_the_checks() -> None:
    """Our own session passes the checks for given sessions."""
    async with open_session() as session:
        check_session(session)
        check_netrc(session, ORIGIN)


async def test_an_unrequested_response_is_not_used() -> None:
    """Bytes that arrive on an idle connection are not the response to the next request."""
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d"
    idle = asyncio.Event()
    requests = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while await reader.read(1000):
            requests += 1
            writer.write(data % requests)
            if requests == 1:
                await idle.wait()
                writer.write(data % 9)
        writer.close()
        await writer.wait_closed()

    async with (
        await asyncio.start_server(respond, "127.0.0.1", 0) as server,
        open_session() as session,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        Routes(given=False).route(client_of(url)).begin()
        async with session.post(url) as response:
            first = await response.read()
        idle.set()
        await asyncio.sleep(0.01)  # no event tells when the bytes have arrived
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.post(url)
        async with session.post(url) as response:
            second = await response.read()

    assert (first, second) == (b"1", b"2")


class KeepingServer:
    """A server that keeps each connection open, and responds with the connection's number."""

    def __init__(self) -> None:
        self.accepted = 0
        self.open = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond until the client closes."""
        self.accepted += 1
        self.open += 1
        number = b"%03d" % self.accepted
        with suppress(asyncio.IncompleteReadError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + number)
        writer.close()
        await writer.wait_closed()
        self.open -= 1

    async def respond(
        self, session: aiohttp.ClientSession, routes: Routes, client: OktaClient
    ) -> int:
        """Send a client's request; return the number of the connection that carried it."""
        route = routes.route(client)
        route.begin()
        return await self.post(session, *route.middlewares)

    async def post(
        self, session: aiohttp.ClientSession, *ways: aiohttp.ClientMiddlewareType
    ) -> int:
        """Send a request; return the number of the connection that carried it."""
        async with session.post(self.url, middlewares=ways) as response:
            return int(await response.read())


@pytest.fixture
async def server() -> AsyncIterator[KeepingServer]:
    """A running server."""
    server = KeepingServer()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield server


def client_of(domain: str, number: int = 1, secret: str = SECRET) -> OktaClient:
    """Return a client of a domain."""
    return OktaClient(domain, f"0oa{number}", ClientSecretBasic(secret))


async def test_a_client_shares_no_connection_in_our_session(server: KeepingServer) -> None:
    """In our session each client uses its own connection again, and never another client's."""
    routes = Routes(given=False)
    async with open_session() as session:
        used = [
            await server.respond(session, routes, client_of(server.url, number))
            for number in (1, 2, 1, 2)
        ]
        another_secret = client_of(server.url, 1, "another-secret-of-0oa1")
        other = await server.respond(session, routes, another_secret)

    assert used == [1, 2, 1, 2]
    assert other == 3


async def test_the_number_of_kept_connections_is_bounded(server: KeepingServer) -> None:
    """Only eight clients keep a connection; those of further clients are closed after use."""
    routes = Routes(given=False)
    clients = [client_of(server.url, number) for number in range(12)]
    async with open_session() as session:
        used = [await server.respond(session, routes, client) for client in clients * 2]
        await until(lambda: server.open == 8)

    assert used == [*range(1, 13), *range(1, 9), *range(13, 17)]


async def test_a_connection_of_a_given_session_carries_one_request(server: KeepingServer) -> None:
    """In a given session each request has its own connection, which is closed afterwards."""
    routes = Routes(given=True)
    async with aiohttp.ClientSession() as session:
        others = [await server.post(session)]
        client = client_of(server.url)
        used = [await server.respond(session, routes, client) for _ in range(3)]
        others.append(await server.post(session))
        await until(lambda: server.open == 1)

    assert used == [2, 3, 4]
    assert others == [1, 1]
    assert all(b"Route" not in request for request in server.requests)


@pytest.mark.parametrize("given", [True, False])
async def test_a_route_through_a_proxy_changes_nothing_there(*, given: bool) -> None:
    """A proxy receives the same CONNECT request, whatever the route."""
    received: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    routes = Routes(given=given)
    async with (
        await asyncio.start_server(proxy, "127.0.0.1", 0) as listener,
        aiohttp.ClientSession() if given else open_session() as session,
        aiohttp.ClientSession() as other,
    ):
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        for number in range(2):
            route = routes.route(client_of(ORIGIN, number))
            route.begin()
            with pytest.raises(aiohttp.ClientHttpProxyError):
                await session.post(ORIGIN, proxy=url, middlewares=route.middlewares)
        with pytest.raises(aiohttp.ClientHttpProxyError):
            await other.post(ORIGIN, proxy=url)

    assert len(received) == 3
    assert len({*received}) == 1


@pytest.mark.parametrize("proxy", [None, URL("http://proxy.example:3128")])
async def test_two_clients_share_no_connection(proxy: URL | None) -> None:
    """Each client has its own connections, to the domain and through a proxy."""
    loop = asyncio.get_running_loop()
    keys: dict[bool, list[tuple[object, ...]]] = {True: [], False: []}

    async def record(request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        keys[True].append(request.connection_key)
        return cast("aiohttp.ClientResponse", None)

    given, own = Routes(given=True), Routes(given=False)
    for number in (1, 2, 1):
        client = client_of(ORIGIN, number)
        await given.route(client)(
            aiohttp.ClientRequest("POST", URL(ORIGIN), proxy=proxy, loop=loop), record
        )
        own.route(client).begin()
        keys[False].append(_Request("POST", URL(ORIGIN), proxy=proxy, loop=loop).connection_key)

    assert len({*keys[True]}) == 3
    assert keys[False][0] == keys[False][2]
    assert keys[False][0] != keys[False][1]


@pytest.mark.parametrize(
    ("origin", "given", "needed"),
    [
        (ORIGIN, False, False),
        ("http://127.0.0.1:8080", False, False),
        ("http://localhost:8080", False, True),
        (ORIGIN, True, True),
    ],
)
def test_only_a_given_session_and_plain_http_to_a_name_need_a_middleware(
    origin: str, *, given: bool, needed: bool
) -> None:
    """Requests over https in our session, which are the most, go through no middleware."""
    route = Routes(given=given).route(client_of(origin))

    assert route.middlewares == ((route,) if needed else ())


async def test_an_idle_connection_is_closed(
    server: KeepingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is closed when it has carried no request for the time that it is kept."""
    monkeypatch.setattr(http_session, "_KEPT_SECONDS", 0.05)
    async with open_session() as session:
        routes, client = Routes(given=False), client_of(server.url)
        used = [await server.respond(session, routes, client) for _ in range(2)]
        await until(lambda: server.open == 0, seconds=3)

    assert used == [1, 1]


async def test_a_request_shows_no_header() -> None:
    """The repr of a request of our session is its method and URL: trackers record it."""
    request = _Request(
        "POST",
        URL(ORIGIN),
        headers={"Authorization": SECRET},
        loop=asyncio.get_running_loop(),
    )

    assert repr(request) == f"<POST {URL(ORIGIN)}>"


async def test_both_addresses_of_a_name_are_tried() -> None:
    """If no server listens at the first address of this machine, the second one is tried."""
    tried: list[str | None] = []
    sent = cast("aiohttp.ClientResponse", object())

    async def connect(request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        tried.append(request.url.raw_host)
        if request.url.raw_host == "127.0.0.1":
            raise aiohttp.ClientConnectorError(request.connection_key, ConnectionRefusedError())
        return sent

    route = Routes(given=True).route(client_of("http://localhost:8080"))
    url = URL("http://localhost:8080/token")
    request = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())

    assert await route(request, connect) is sent
    assert tried == ["127.0.0.1", "::1"]
    assert request.headers["Host"] == "localhost:8080"


async def test_plain_http_is_refused_for_a_host_that_is_not_this_machine(
    server: KeepingServer,
) -> None:
    """A request by plain http is not sent if its client's host is not this machine."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(RefusedRouteError):
            await server.respond(session, Routes(given=True), client_of(ORIGIN))

    assert server.accepted == 0


async def test_a_session_may_have_other_defaults() -> None:
    """A session may have default headers, cookies, timeouts and other options."""
    async with aiohttp.ClientSession(
        headers={"User-Agent": "service/1", "X-Trace": "on"},
        cookies={"a": "b"},
        timeout=aiohttp.ClientTimeout(total=1),
        raise_for_status=True,
    ) as session:
        check_session(session)


async def test_a_session_with_authentication_is_invalid() -> None:
    """A session that authenticates every request is invalid."""
    async with session_with_auth() as session:
        with pytest.raises(ConfigurationError) as caught:
            check_session(session)

    assert str(caught.value) == (
        "session: it sends HTTP authentication of its own; give the provider a session without "
        "these"
    )
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_a_session_with_an_authorization_header_is_invalid(name: str) -> None:
    """A session that sends an Authorization header, in any case of letters, is invalid."""
    async with aiohttp.ClientSession(headers={name: f"Bearer {SECRET}"}) as session:
        with pytest.raises(ConfigurationError) as caught:
            check_session(session)

    assert str(caught.value) == (
        "session: it sends an Authorization header of its own; give the provider a session without "
        "these"
    )
    assert SECRET not in str(caught.value)


async def test_one_message_lists_every_problem() -> None:
    """One message lists every credential of a session, and shows no value of one."""
    async with session_with_auth({"Authorization": SECRET}) as session:
        with pytest.raises(ConfigurationError) as caught:
            check_session(session)

    assert str(caught.value).count(" of its own; ") == 2
    assert len(list(frames_of(caught.value))) == 1
    assert locals_with(caught.value, SECRET) == []


@pytest.fixture(params=["NETRC", "HOME"])
def write_netrc(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Return a function that writes the .netrc, named by the variable or in the home directory."""
    path = tmp_path / ".netrc"
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if request.param == "NETRC":
        path = tmp_path / "credentials"
        monkeypatch.setenv("NETRC", str(path))

    def write(text: str) -> None:
        path.write_text(text)
        path.chmod(0o600)

    return write


@pytest.mark.parametrize(
    ("origin", "entry"),
    [(ORIGIN, ENTRY), (f"{ORIGIN}:8443", f"default login me password {SECRET}\n")],
)
async def test_a_session_with_a_netrc_entry_is_invalid(
    write_netrc: Callable[[str], None], entry: str, origin: str
) -> None:
    """A session that would send the host's credentials from .netrc is invalid."""
    write_netrc(entry)
    async with aiohttp.ClientSession(trust_env=True) as session:
        with pytest.raises(ConfigurationError) as caught:
            check_netrc(session, origin)

    assert str(caught.value) == (
        f"session: with trust_env=True it adds the .netrc entry for {origin} to each request; "
        "remove the entry, or give the provider a session without trust_env"
    )
    assert len(list(frames_of(caught.value))) == 1
    assert locals_with(caught.value, SECRET) == []


async def test_a_netrc_matters_only_with_trust_env(write_netrc: Callable[[str], None]) -> None:
    """A session that does not trust the environment does not use .netrc."""
    write_netrc(ENTRY)
    async with aiohttp.ClientSession() as session:
        check_netrc(session, ORIGIN)


@pytest.mark.parametrize("text", ["", ENTRY.replace("acme", "other"), "machine", None])
async def test_a_netrc_without_an_entry_is_ignored(
    write_netrc: Callable[[str], None], text: str | None
) -> None:
    """A .netrc without the host, or a broken or missing one, adds no credentials."""
    if text is not None:
        write_netrc(text)
    async with aiohttp.ClientSession(trust_env=True) as session:
        check_netrc(session, ORIGIN)


async def test_an_origin_without_a_host_has_no_netrc_entry(
    write_netrc: Callable[[str], None],
) -> None:
    """An origin without a host has no entry in .netrc."""
    write_netrc(ENTRY)
    async with aiohttp.ClientSession(trust_env=True) as session:
        check_netrc(session, "https://")


async def test_an_unreadable_netrc_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A binary file, and a user without a home directory, have no entry in .netrc."""
    binary = tmp_path / "netrc"
    binary.write_bytes(b"\xff\xfe machine \x00")
    async with aiohttp.ClientSession(trust_env=True) as session:
        monkeypatch.setenv("NETRC", str(binary))
        check_netrc(session, ORIGIN)
        monkeypatch.delenv("NETRC")

        def homeless(path: Path) -> Path:
            raise RuntimeError(f"no home directory for {path}")

        monkeypatch.setattr(Path, "expanduser", homeless)
        check_netrc(session, ORIGIN)
