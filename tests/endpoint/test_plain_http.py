"""Plain http: requests with secrets stay on this machine, whatever the session is like."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from okta_tokens import ClientSecretPost, OktaClient, RetryPolicy, TokenProvider
from okta_tokens._endpoint.http_session import check_plain_http
from okta_tokens.errors import ConfigurationError, TransportError
from okta_tokens.events import Event, PlainHttpUsed, RenewalFailed
from tests.clock import settle
from tests.runtime.test_redaction import locals_with
from tests.support import resolve_names, world

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
ELSEWHERE = "127.0.0.9"
"""The address that stands for another machine: a server there must receive nothing."""

TOKEN = json.dumps({"access_token": "t", "token_type": "Bearer", "expires_in": 3600}).encode()
REFUSED = "session: it sends plain http through a proxy"


class Listener:
    """A server that records what it receives, and responds with a token."""

    def __init__(self) -> None:
        self.received = b""
        self.port = 0

    @property
    def url(self) -> str:
        """The server's URL, as a proxy."""
        return f"http://{ELSEWHERE}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond until the client closes."""
        while data := await reader.read(65_536):
            self.received += data
            if b"POST" in data:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TOKEN) + TOKEN)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def listening(host: str, port: int = 0) -> AsyncIterator[Listener]:
    """Run a server at an address."""
    listener = Listener()
    async with await asyncio.start_server(listener.serve, host, port) as server:
        listener.port = server.sockets[0].getsockname()[1]
        yield listener


class Resolver(aiohttp.abc.AbstractResolver):
    """A name server that sends every host to another machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Return the address of another machine."""
        return [
            aiohttp.abc.ResolveResult(
                hostname=host, host=ELSEWHERE, port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def opened(session: aiohttp.ClientSession | None) -> AsyncIterator[TokenProvider]:
    """Open a provider with the session, and close both."""
    async with AsyncExitStack() as stack:
        if session is not None:
            await stack.enter_async_context(session)
        policy = RetryPolicy(attempts=1)
        yield await stack.enter_async_context(TokenProvider(session=session, retry=policy))


def client_of(host: str, port: int, *, allow_http: bool = False) -> OktaClient:
    """Return a client of a server that is reached by plain http."""
    origin = f"http://{host}:{port}"
    return OktaClient(origin, "0oa1", ClientSecretPost(SECRET), allow_http=allow_http)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every proxy from the environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# Names of this machine


@pytest.mark.parametrize("session", ["own", "given", "given, resolver"])
@pytest.mark.parametrize("host", ["localhost", "okta.localhost", "LOCALHOST", "a.b.Localhost"])
async def test_a_name_of_this_machine_is_not_looked_up(
    host: str, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` and names under it mean this machine, whatever a name server says."""

    def deceive(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        assert host not in {"localhost", "okta.localhost"}
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ELSEWHERE, port))]

    async with listening("127.0.0.1") as here, listening(ELSEWHERE, here.port) as there:
        monkeypatch.setattr(socket, "getaddrinfo", deceive)
        resolver = Resolver() if session == "given, resolver" else None
        given = (
            None
            if session == "own"
            else aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver))
        )
        async with opened(given) as provider:
            token = await provider.get_token(client_of(host, here.port), "a")
            await provider.revoke(token)

    assert here.received.count(SECRET.encode()) == 2
    assert here.received.count(f"Host: {host.lower()}:{here.port}\r\n".encode()) == 2
    assert there.received == b""


def has_address(address: str) -> bool:
    """Tell whether this machine has an address: not every machine has the one of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as candidate:
            candidate.bind((address, 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("own_session", [True, False])
@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.8.9.10", "127.8.9.10"),
        *([("localhost", "::1"), ("[::1]", "::1")] if has_address("::1") else []),
    ],
)
async def test_a_server_is_found_at_each_loopback_address(
    host: str, address: str, *, own_session: bool
) -> None:
    """A server is found by name at either loopback address, and by address at its own."""
    async with (
        listening(address) as here,
        opened(None if own_session else aiohttp.ClientSession()) as provider,
    ):
        await provider.get_token(client_of(host, here.port), "a")

    assert f"Host: {host}:{here.port}\r\n".encode() in here.received


@pytest.mark.parametrize("own_session", [True, False])
async def test_no_server_on_this_machine_is_no_connection(
    closed_port: int, *, own_session: bool
) -> None:
    """If no server listens at either address, the error is that of the first one."""
    async with opened(None if own_session else aiohttp.ClientSession()) as provider:
        with pytest.raises(TransportError, match="no connection to http://localhost") as caught:
            await provider.get_token(client_of("localhost", closed_port), "a")

    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert "127.0.0.1" in str(caught.value.__cause__)


# Proxies


async def refusal(provider: TokenProvider, host: str, port: int) -> str:
    """Return the message with which a provider refuses to fetch a token."""
    with pytest.raises(ConfigurationError) as caught:
        await provider.get_token(client_of(host, port), "a")
    assert locals_with(caught.value, SECRET) == []
    return str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "[::1]", "127.1.2.3"])
@pytest.mark.parametrize("no_proxy", ["", "localhost,127.0.0.1", "*", ".localhost,[::1]"])
async def test_a_session_with_the_environments_proxy_is_refused(
    host: str, no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `trust_env` and a proxy for http, plain http is refused, whatever `NO_PROXY` says."""
    async with listening(ELSEWHERE) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", no_proxy)
        async with opened(aiohttp.ClientSession(trust_env=True)) as provider:
            message = await refusal(provider, host, proxy.port)

    assert message.startswith(REFUSED)
    assert message.endswith("use https, or give the provider a session without proxy and trust_env")
    assert proxy.received == b""


async def test_a_session_with_a_proxy_is_refused() -> None:
    """A session with a proxy of its own is refused for plain http."""
    async with (
        listening(ELSEWHERE) as proxy,
        opened(aiohttp.ClientSession(proxy=proxy.url)) as provider,
    ):
        assert (await refusal(provider, "localhost", proxy.port)).startswith(REFUSED)

    assert proxy.received == b""


async def test_a_revocation_through_a_proxy_is_refused() -> None:
    """A session with a proxy is refused for a revocation by plain http, too."""
    async with listening("127.0.0.1") as here, listening(ELSEWHERE) as proxy:
        async with opened(None) as provider:
            token = await provider.get_token(client_of("localhost", here.port), "a")
        async with opened(aiohttp.ClientSession(proxy=proxy.url)) as provider:
            with pytest.raises(ConfigurationError) as caught:
                await provider.revoke(token)

    assert str(caught.value).startswith(REFUSED)
    assert proxy.received == b""


async def test_a_proxy_that_appears_later_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the environment names a proxy after the first request, the next request is refused."""
    async with (
        listening("127.0.0.1") as here,
        listening(ELSEWHERE) as proxy,
        opened(aiohttp.ClientSession(trust_env=True)) as provider,
    ):
        client = client_of("localhost", here.port)
        token = await provider.get_token(client, "a")
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for request in (provider.get_token(client, "b"), provider.revoke(token)):
            with pytest.raises(ConfigurationError) as caught:
                await request
            assert str(caught.value).startswith(REFUSED)
            assert locals_with(caught.value, SECRET) == []

    assert proxy.received == b""
    assert here.received.count(SECRET.encode()) == 1


@pytest.mark.parametrize("host", ["localhost", "okta.internal"])
async def test_a_proxy_that_appears_at_the_last_moment_gets_nothing(
    host: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the environment names a proxy just before a request is sent, the attempt fails."""
    async with (
        listening(ELSEWHERE) as proxy,
        opened(aiohttp.ClientSession(trust_env=True)) as provider,
    ):

        def secret() -> str:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            return SECRET

        client = OktaClient(
            f"http://{host}:{proxy.port}", "0oa1", ClientSecretPost(secret), allow_http=True
        )
        with pytest.raises(TransportError) as caught:
            await provider.get_token(client, "a")

    assert str(caught.value).startswith(REFUSED)
    assert not caught.value.retryable
    assert locals_with(caught.value, SECRET) == []
    assert proxy.received == b""


async def test_a_renewal_is_refused_without_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the environment names a proxy, a renewal fails; the provider and its token remain."""
    async with (
        world() as here,
        listening(ELSEWHERE) as proxy,
        aiohttp.ClientSession(trust_env=True) as session,
        TokenProvider(
            clock=here.clock, session=session, observers=[here.events.append]
        ) as provider,
    ):
        here.provider = provider
        source = here.source(keep_fresh=True)
        held = await source.get_token()
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        provider._registry._endpoints.clear()  # as if a thousand other domains had been used
        await here.advance(3_500)

        (failed,) = here.seen(RenewalFailed)
        assert isinstance(failed, RenewalFailed)
        assert str(failed.error).startswith(REFUSED)
        assert await source.get_token() is held
        assert proxy.received == b""


async def test_the_own_session_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's own session sends plain http straight to this machine."""
    async with listening("127.0.0.1") as here, listening(ELSEWHERE) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with opened(None) as provider:
            await provider.get_token(client_of("okta.localhost", here.port), "a")

    assert proxy.received == b""
    assert SECRET.encode() in here.received


def test_a_session_need_not_have_a_proxy_at_all() -> None:
    """A stand-in for a session, in the tests of an application, has no proxy."""
    session = SimpleNamespace(trust_env=False, connector=None)

    check_plain_http(cast("Any", session), "http://localhost:8080")


# Another machine that is allowed


async def test_an_origin_of_an_adapter_is_a_warning_once() -> None:
    """Each origin that gets tokens in clear text is named by one event."""
    async with world() as here:
        for name in ("one", "two", "one"):
            here.source()._warn_of_plain_http(f"http://{name}.internal")
        await settle()

        origins = [event.origin for event in here.seen(PlainHttpUsed)]
        assert origins == ["http://one.internal", "http://two.internal"]


@pytest.mark.parametrize("own_session", [True, False])
async def test_plain_http_may_be_allowed(
    monkeypatch: pytest.MonkeyPatch, *, own_session: bool
) -> None:
    """With `allow_http` requests go to the domain, by its name and through no proxy.

    There is one event for the origin, whatever the number of requests and clients.
    """
    events: list[Event] = []
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    resolve_names(monkeypatch, ELSEWHERE)
    async with listening(ELSEWHERE) as there, AsyncExitStack() as stack:
        session = None if own_session else await stack.enter_async_context(aiohttp.ClientSession())
        provider = TokenProvider(session=session, observers=[events.append])
        await stack.enter_async_context(provider)
        client = client_of("okta.internal", there.port, allow_http=True)
        source = provider.source(client, "a")
        await asyncio.sleep(0)
        assert PlainHttpUsed not in map(type, events)
        await provider.revoke(await source.get_token())
        await provider.get_token(client, "b")

    assert there.received.count(SECRET.encode()) == 3
    assert f"Host: okta.internal:{there.port}\r\n".encode() in there.received
    warnings = [event for event in events if isinstance(event, PlainHttpUsed)]
    assert warnings == [PlainHttpUsed(origin=f"http://okta.internal:{there.port}")]


async def test_plain_http_that_is_allowed_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that would send plain http through a proxy is refused, also with `allow_http`."""
    async with listening(ELSEWHERE) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        client = client_of("okta.internal", 80, allow_http=True)
        for options in ({"proxy": proxy.url}, {"trust_env": True}, {"connector": Detour()}):
            async with opened(aiohttp.ClientSession(**options)) as provider:
                with pytest.raises(ConfigurationError, match="plain http"):
                    await provider.get_token(client, "a")

    assert proxy.received == b""


# Connectors


class Detour(aiohttp.TCPConnector):
    """A connector of another package, which may connect anywhere, such as to a SOCKS proxy."""


async def test_a_foreign_connector_is_refused() -> None:
    """A connector that is not aiohttp's own may connect anywhere, so plain http is refused."""
    async with opened(aiohttp.ClientSession(connector=Detour())) as provider:
        message = await refusal(provider, "127.0.0.1", 9)

    assert message == (
        "session: its connector is not one of aiohttp's own, so it may send plain http to another "
        "machine; use https, or give the provider a session with an aiohttp.TCPConnector"
    )


async def test_a_unix_socket_is_on_this_machine(tmp_path: Path) -> None:
    """A session that connects to a Unix socket may send plain http."""
    listener = Listener()
    path = str(tmp_path / "okta.sock")
    session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path))
    async with (
        await asyncio.start_unix_server(listener.serve, path),
        opened(session) as provider,
    ):
        await provider.get_token(client_of("localhost", 80), "a")

    assert SECRET.encode() in listener.received


@pytest.mark.parametrize("kind", ["proxy", "trust_env", "connector"])
async def test_over_https_a_session_may_use_a_proxy(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over https a session may have a proxy or another connector: TLS ends at Okta."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    sessions = {
        "proxy": lambda: aiohttp.ClientSession(proxy="http://127.0.0.1:9"),
        "trust_env": lambda: aiohttp.ClientSession(trust_env=True),
        "connector": lambda: aiohttp.ClientSession(connector=Detour()),
    }
    async with opened(sessions[kind]()) as provider:
        with pytest.raises(TransportError, match="no connection"):
            await provider.get_token(
                OktaClient("https://127.0.0.1:9", "0oa1", ClientSecretPost(SECRET)), "a"
            )
