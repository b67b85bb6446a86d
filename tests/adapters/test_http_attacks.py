"""What a proxy, a name server or a hostile API cannot get from a client that carries tokens."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import ssl
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import trustme

from okta_tokens import DPoP, TokenSource
from okta_tokens.adapters import _httpx_flow
from okta_tokens.adapters import aiohttp as aiohttp_adapter
from okta_tokens.adapters import httpx as httpx_adapter
from okta_tokens.adapters import httpx2 as httpx2_adapter
from okta_tokens.adapters._authorizer import RequestAuthorization
from okta_tokens.adapters._challenge import parse_rejection
from okta_tokens.errors import ConfigurationError
from okta_tokens.events import PlainHttpUsed
from tests.adapters.support import DPOP_APP
from tests.support import listen, resolve_names, world

PACKAGES = {"httpx": (httpx, httpx_adapter), "httpx2": (httpx2, httpx2_adapter)}
both = pytest.mark.parametrize("name", PACKAGES)
every_client = pytest.mark.parametrize("name", ["aiohttp", *PACKAGES])

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNAUTHORIZED = b'HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer error="invalid_token"\r\n'


@dataclass
class Peer:
    """A server, or a proxy, that keeps what it receives.

    Args:
        respond: Responds to one request; its argument is the number of the request, from 1.
    """

    respond: Callable[[int, asyncio.StreamWriter], Awaitable[None]]
    host: str = "127.0.0.1"
    port: int = 0
    received: list[str] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to the requests of a connection."""
        self.connections += 1
        try:
            while True:
                self.received.append((await reader.readuntil(b"\r\n\r\n")).decode())
                await self.respond(len(self.received), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def run(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
        """Listen on a port."""
        async with listen(self.serve, self.host, self.port, tls=tls) as self.port:
            yield self


async def respond_ok(number: int, writer: asyncio.StreamWriter) -> None:
    """Respond to each request with a 200."""
    writer.write(OK)


def peer() -> Peer:
    """Return a server that accepts each request."""
    return Peer(respond_ok)


Send = Callable[..., Coroutine[Any, Any, tuple[int, bytes]]]


@asynccontextmanager
async def run_client(
    name: str,
    source: TokenSource,
    origin: str,
    **options: Any,  # noqa: ANN401 - those of the clients
) -> AsyncIterator[Send]:
    """Yield a function that sends a request, and returns the status and the body.

    Args:
        name: The package.
        source: Provides the tokens.
        origin: Where tokens may be sent.
        options: Options of the client, and of the adapter: `allow_http`, and `others` for more
            origins.
    """
    allow_http, origins = options.pop("allow_http", False), [origin, *options.pop("others", ())]
    if name == "aiohttp":
        middleware = aiohttp_adapter.TokenMiddleware(source, origins=origins, allow_http=allow_http)
        async with aiohttp.ClientSession(middlewares=[middleware], **options) as session:

            async def send(url: str, **more: Any) -> tuple[int, bytes]:  # noqa: ANN401
                async with session.get(url, **more) as response:
                    return response.status, await response.read()

            yield send
        return
    package, adapter = PACKAGES[name]
    auth = adapter.TokenAuth(source, origins=origins, allow_http=allow_http)
    options.setdefault("trust_env", False)
    async with package.AsyncClient(auth=auth, **options) as client:

        async def send_by_httpx(url: str, **more: Any) -> tuple[int, bytes]:  # noqa: ANN401
            response = await client.get(url, **more)
            return response.status_code, response.content

        yield send_by_httpx


# Proxies

VARIABLES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "Http_Proxy")
EXCEPTIONS = (
    "",
    "*",
    "localhost",
    "localhost,127.0.0.1",
    ".localhost",
    ".127.0.0.1",
    "127.0.0.0/8",
    "[::1]",
    "http://localhost",
)
"""Values of `NO_PROXY`."""
HOSTS = ("localhost", "api.localhost", "127.0.0.1", "[::1]")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, without a proxy."""
    for name in (*VARIABLES, "no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@both
async def test_a_proxy_of_the_environment_is_an_error(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    """A plain http origin is an error if there is a proxy, whatever `NO_PROXY` says."""
    adapter = PACKAGES[name][1]
    async with world() as running:
        source = running.source()
        for variable, exceptions, host in product(VARIABLES, EXCEPTIONS, HOSTS):
            environment.setenv(variable, "http://proxy.example:3128")
            environment.setenv("no_proxy", exceptions)
            with pytest.raises(
                ConfigurationError, match=r"would get the token for .* trust_env=False"
            ):
                adapter.TokenAuth(source, origins=["https://a.example", f"http://{host}:9"])
            adapter.TokenAuth(source, origins=[f"http://{host}:9"], trust_env=False)
            adapter.TokenAuth(source, origins=["https://a.example"])
            environment.delenv(variable)


@both
@pytest.mark.parametrize("variable", VARIABLES)
async def test_no_proxy_that_appears_later_gets_the_token(
    environment: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    """A proxy that the environment names only when the client is made gets no token."""
    package, adapter = PACKAGES[name]
    async with world() as running, peer().run() as proxy:
        auth = adapter.TokenAuth(running.source(), origins=["http://127.0.0.1:9"])
        environment.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        async with package.AsyncClient(auth=auth) as client:
            environment.delenv(variable)
            with pytest.raises(ConfigurationError, match="goes through a proxy"):
                await client.get("http://127.0.0.1:9/")

        assert proxy.received == []


@both
async def test_no_proxy_of_a_client_gets_the_token(name: str) -> None:
    """A plain http request through an http proxy of the client raises an error, also if reused."""
    package = PACKAGES[name][0]
    async with world() as running, peer().run() as proxy:
        source = running.source()
        url = f"http://127.0.0.1:{proxy.port}"
        for options in (
            {"proxy": url},
            {"proxy": f"http://user:password@127.0.0.1:{proxy.port}"},
            {"mounts": {"http://": package.AsyncHTTPTransport(proxy=url)}},
            {"mounts": {"all://127.0.0.1": package.AsyncHTTPTransport(proxy=url)}},
        ):
            async with run_client(name, source, "http://127.0.0.1:9", **options) as send:
                assert (await send("http://127.0.0.1:9/public", auth=None))[0] == 200
                with pytest.raises(ConfigurationError, match="goes through a proxy"):
                    await send("http://127.0.0.1:9/")

        assert len(proxy.received) == 4
        assert (await source.get_token()).value not in str(proxy.received)


@both
async def test_no_socks_proxy_of_a_client_gets_the_token(name: str) -> None:
    """A plain http request through a SOCKS proxy raises an error before the proxy gets a byte."""
    received = bytearray()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read())
        writer.close()

    async with world() as running, listen(accept) as port:
        options = {"proxy": f"socks5://127.0.0.1:{port}"}
        async with run_client(name, running.source(), "http://127.0.0.1:9", **options) as send:
            with pytest.raises(ConfigurationError, match="goes through a proxy"):
                await send("http://127.0.0.1:9/")

    assert received == b""


@both
async def test_a_request_keeps_its_trace(name: str) -> None:
    """The caller's own trace of a request is called, and stays, and nothing is added to it."""
    steps: list[str] = []

    async def trace(step: str, details: object) -> None:
        steps.append(step)

    package, adapter = PACKAGES[name]
    async with (
        world() as running,
        peer().run() as server,
        package.AsyncClient(trust_env=False) as client,
    ):
        origin = f"http://127.0.0.1:{server.port}"
        auth = adapter.TokenAuth(running.source(), origins=[origin])
        for extensions in ({"trace": trace}, {}):
            request = client.build_request("GET", origin, extensions=extensions)
            await client.send(request, auth=auth)
            request.extensions.pop("timeout")
            assert request.extensions == extensions

    assert steps.count("http11.send_request_headers.started") == 1


# Names of this machine


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names that are looked up; the name server answers with 127.0.0.66 to each."""
    names: list[str] = []
    real = socket.getaddrinfo

    def lie(host: Any, port: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - socket's
        if host in {"127.0.0.1", "::1", "127.0.0.66", None}:
            return real(host, port, *args, **options)
        names.append(host if isinstance(host, str) else host.decode())
        return real("127.0.0.66", port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lie)
    return names


NAMES = ("localhost", "api.localhost", "LOCALHOST", "a.b.localhost", "xn--bcher-kva.localhost")


@every_client
async def test_a_name_of_this_machine_is_not_looked_up(name: str, lookups: list[str]) -> None:
    """A plain http request to `localhost`, or to a name under it, reaches this machine only."""
    async with world() as running, peer().run() as server:
        liar = Peer(respond_ok, "127.0.0.66", server.port)
        source = running.source()
        token = await source.get_token()
        async with liar.run():
            for host in NAMES:
                origin = f"http://{host}:{server.port}"
                async with run_client(name, source, origin) as send:
                    for path in ("/", "/a%20b/%2F?x=%41&y=a+b#f", "/é?ü"):
                        assert (await send(origin + path))[0] == 200

        assert (lookups, liar.received) == ([], [])
        assert len(server.received) == 3 * len(NAMES)
        for number, head in enumerate(server.received):
            assert f"\r\nHost: {NAMES[number // 3].lower()}:{server.port}\r\n" in head
            assert token.authorization in head


# Other machines that are allowed


@every_client
async def test_plain_http_to_another_machine_may_be_allowed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `allow_http` the named origin, and no other, gets the token, with one event for it."""
    lookups = resolve_names(monkeypatch, "127.0.0.66")
    async with world() as running, Peer(respond_ok, "127.0.0.66").run() as server:
        source = running.source()
        token = await source.get_token()
        origin = f"http://api.internal:{server.port}"
        options = {"allow_http": True, "others": ["http://unused.internal:81"]}
        for _ in range(2):
            async with run_client(name, source, origin, **options) as send:
                assert [(await send(f"{origin}/"))[0] for _ in range(2)] == [200, 200]
                for other in ("http://b.internal", "http://api.internal:1"):
                    with pytest.raises(ConfigurationError, match="is not one of the origins"):
                        await send(f"{other}/")
        await running.quiet()

    assert {*lookups} == {"api.internal"}
    assert all(token.authorization in head for head in server.received)
    assert len(server.received) == 4
    assert running.seen(PlainHttpUsed) == [PlainHttpUsed(origin=origin)]


@every_client
async def test_plain_http_that_is_allowed_goes_through_no_proxy(name: str) -> None:
    """A plain http request through a proxy raises an error, also with `allow_http`."""
    async with world() as running, peer().run() as proxy:
        url, origin = f"http://127.0.0.1:{proxy.port}", "http://api.internal:81"
        async with run_client(name, running.source(), origin, allow_http=True, proxy=url) as send:
            with pytest.raises(ConfigurationError, match=r"through a proxy"):
                await send(f"{origin}/")

    assert proxy.received == []


@both
async def test_the_caller_sees_the_name(name: str) -> None:
    """The requests and responses of a caller, and the proofs, have the name, not the address."""
    package, adapter = PACKAGES[name]

    async def respond(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(b"HTTP/1.1 307 X\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.write(OK.replace(b"200", b"401") if number == 2 else OK)

    async with (
        world(app=DPOP_APP, dpop=DPoP()) as running,
        Peer(respond).run() as server,
        package.AsyncClient(trust_env=False, follow_redirects=True) as client,
    ):
        origin = f"http://api.localhost:{server.port}"
        auth = adapter.TokenAuth(running.source(), origins=[origin])
        request = client.build_request("GET", f"{origin}/old")
        response = await client.send(request, auth=auth)

    assert [str(request.url), str(response.url)] == [f"{origin}/old", f"{origin}/new"]
    assert {each.url.host for each in response.history} == {"api.localhost"}
    urls = []
    for head in server.received:
        (proof,) = re.findall(r"(?i)\ndpop: [^.]+\.([^.]+)", head)
        urls.append(json.loads(urlsafe_b64decode(proof + "=="))["htu"])
    assert urls == [f"{origin}/old", f"{origin}/old", f"{origin}/new"]


@every_client
async def test_the_url_keeps_its_escapes(name: str) -> None:
    """The path of a request to a name is the same as that of a request to an address."""
    paths = ("/a%20b/%2F%2f/..;/x?x=%41&y=a+b&z=%zz", "/é?ü=%C3%BC", "//a//b/?", "/%7Euser/~user")
    async with world() as running, peer().run() as server:
        for host in ("localhost", "127.0.0.1"):
            origin = f"http://{host}:{server.port}"
            async with run_client(name, running.source(), origin) as send:
                for path in paths:
                    await send(origin + path)

    lines = [head.partition("\r\n")[0] for head in server.received]
    assert lines[: len(paths)] == lines[len(paths) :]


@every_client
async def test_a_redirect_reaches_no_other_machine_with_the_token(
    name: str, lookups: list[str]
) -> None:
    """However a redirect names this machine, no look-up decides where the token goes."""
    server, liar = Peer(respond_ok), Peer(respond_ok, "127.0.0.66")

    async def redirect(number: int, writer: asyncio.StreamWriter) -> None:
        if "GET /old" not in server.received[-1]:
            writer.write(OK)
            return
        await asyncio.sleep(0)
        location = locations[(number - 1) % 7]
        writer.write(
            f"HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    server.respond = redirect
    locations: list[str] = []
    async with world() as running, server.run():
        liar.port = server.port
        source = running.source()
        value = (await source.get_token()).value
        origin = f"http://localhost:{server.port}"
        async with liar.run():
            for location in (
                "/new",
                "new?x",
                "//localhost:{}/new",
                "http://localhost:{}/new",
                "HTTP://LOCALHOST:{}/new",
                "http://api.localhost:{}/",
                "http://localhost.:{}/",
            ):
                locations[:] = [location.format(server.port)] * 7
                options = {"follow_redirects": True} if name != "aiohttp" else {}
                async with run_client(name, source, origin) as send:
                    try:
                        await send(f"{origin}/old", **options)
                    except (
                        ConfigurationError,
                        OSError,
                        httpx.TransportError,
                        httpx2.TransportError,
                    ):
                        assert "api." in location or "." in location

        assert value not in str(liar.received)
        assert sum(value in head for head in server.received) >= 9


async def test_the_other_address_of_this_machine_is_tried() -> None:
    """A server that listens on ::1 only is found under its name; its errors are not hidden."""
    server = Peer(respond_ok, "::1")
    async with world() as running:
        source = running.source()
        async with server.run():
            origin = f"http://localhost:{server.port}"
            async with run_client("aiohttp", source, origin) as send:
                assert (await send(origin))[0] == 200
        async with run_client("aiohttp", source, origin) as send:
            with pytest.raises(aiohttp.ClientConnectorError):
                await send(origin)

    assert len(server.received) == 1


@every_client
async def test_an_encrypted_request_may_look_up_its_name(name: str) -> None:
    """Over TLS the name of this machine is looked up as any other, and the certificate decides."""
    authority = trustme.CA()
    servers, clients = (
        ssl.SSLContext(each) for each in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    authority.issue_cert("localhost").configure_cert(servers)
    authority.configure_trust(clients)
    options = (
        {"connector": aiohttp.TCPConnector(ssl=clients)}
        if name == "aiohttp"
        else {"verify": clients}
    )
    async with world() as running, peer().run(servers) as server:
        origin = f"https://localhost:{server.port}"
        async with run_client(name, running.source(), origin, **options) as send:
            assert (await send(origin))[0] == 200

    assert "authorization: bearer" in server.received[0].lower()


# The body of a 401

LIMIT = 8_000_000
"""More than what the buffers of two sockets hold."""


def endless(
    piece: bytes, pause: float = 0.0, head: bytes = b"\r\n", limit: int = LIMIT
) -> tuple[Peer, list[int]]:
    """Return a server whose first response is a long 401, and the number of bytes it could send."""
    sent = [0]

    async def respond(number: int, writer: asyncio.StreamWriter) -> None:
        if number > 1:
            writer.write(OK)
            return
        writer.write(UNAUTHORIZED + head)
        await asyncio.sleep(0.02)  # otherwise the client may get the first piece with the head
        while sent[0] < limit:
            writer.write(piece)
            await writer.drain()
            sent[0] += len(piece)
            await asyncio.sleep(pause)

    return Peer(respond), sent


BOMB = gzip.compress(bytes(50_000_000))


def cut() -> tuple[Peer, list[int]]:
    """Return a server whose first response is a 401 that ends too early."""

    async def respond(number: int, writer: asyncio.StreamWriter) -> None:
        if number > 1:
            writer.write(OK)
            return
        writer.write(UNAUTHORIZED + b"Content-Length: 10\r\n\r\nx")
        await asyncio.sleep(0.02)
        writer.close()

    return Peer(respond), [0]


BODIES: dict[str, Callable[[], tuple[Peer, list[int]]]] = {
    "fast": partial(endless, b"x" * 100_000),
    "small pieces": partial(endless, b"x" * 100),
    "slow": partial(endless, b"x", 0.01),
    "long": partial(endless, b"x" * 100_000, 0.0, b"Content-Length: 9999999999\r\n\r\n"),
    "chunked": partial(
        endless, b"2710\r\n" + b"x" * 10_000 + b"\r\n", 0.0, b"Transfer-Encoding: chunked\r\n\r\n"
    ),
    "silent": partial(endless, b"", 0.05, b"Content-Length: 10\r\n\r\n"),
    "broken": partial(endless, b"zzz\r\n", 0.0, b"Transfer-Encoding: chunked\r\n\r\n"),
    "cut": cut,
    "compressed": partial(
        endless,
        BOMB,
        0.0,
        b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB),
        len(BOMB),
    ),
}


@every_client
@pytest.mark.parametrize("body", BODIES)
async def test_the_body_of_a_401_cannot_hold_up_a_retry(
    monkeypatch: pytest.MonkeyPatch, name: str, body: str
) -> None:
    """Before a retry only a short part of a response is read, in a short time."""
    for module in (_httpx_flow, aiohttp_adapter):
        monkeypatch.setattr(module, "DISCARD_TIME", 0.2)
    server, sent = BODIES[body]()
    async with world() as running, server.run():
        source = running.source()
        origin = f"http://127.0.0.1:{server.port}"
        async with run_client(name, source, origin) as send:
            began = time.monotonic()
            status = (await send(origin))[0]
            elapsed = time.monotonic() - began

    assert (status, len(server.received)) == (200, 2)
    assert sent[0] < LIMIT
    assert elapsed < 2


async def test_the_time_out_of_a_session_ends_a_request_before_its_retry() -> None:
    """A session whose time-out ends while a 401 is read raises its time-out."""
    server, _ = BODIES["silent"]()
    async with world() as running, server.run():
        source = running.source()
        await source.get_token()
        origin = f"http://127.0.0.1:{server.port}"
        limit = aiohttp.ClientTimeout(total=0.2)
        async with run_client("aiohttp", source, origin, timeout=limit) as send:
            with pytest.raises(TimeoutError):
                await send(origin)

    assert len(server.received) == 1


async def test_a_request_that_ends_before_its_retry_frees_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request that fails after a 401, and before its retry, holds no connection."""

    async def fail(_: RequestAuthorization) -> bool:
        raise RuntimeError

    monkeypatch.setattr(RequestAuthorization, "_prepare_retry", fail)
    server, _ = BODIES["silent"]()
    connector = aiohttp.TCPConnector()
    async with world() as running, server.run():
        origin = f"http://127.0.0.1:{server.port}"
        async with run_client("aiohttp", running.source(), origin, connector=connector) as send:
            with pytest.raises(RuntimeError):
                await send(origin)
            assert not connector._acquired


@every_client
async def test_a_short_401_keeps_its_connection(name: str) -> None:
    """A short body is read, so that the retry uses the same connection."""

    async def respond(number: int, writer: asyncio.StreamWriter) -> None:
        if number > 1:
            writer.write(OK)
            return
        writer.write(UNAUTHORIZED + b"Content-Length: 60000\r\n\r\n")
        await asyncio.sleep(0.05)  # so that the client does not get the body with the head
        writer.write(b"x" * 60_000)

    async with world() as running, Peer(respond).run() as server:
        origin = f"http://127.0.0.1:{server.port}"
        async with run_client(name, running.source(), origin) as send:
            assert (await send(origin))[0] == 200

    assert (len(server.received), server.connections) == (2, 1)


@every_client
async def test_a_401_without_a_retry_is_complete(name: str) -> None:
    """If there is no retry, or it gets a 401 as well, the caller gets the whole response."""
    body = b"x" * 3_000_000

    async def respond(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(UNAUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async with world() as running, Peer(respond).run() as server:
        origin = f"http://127.0.0.1:{server.port}"
        async with run_client(name, running.source(), origin) as send:
            for requests in (2, 3):
                assert await send(origin) == (401, body)
                assert len(server.received) == requests


@both
async def test_a_compressed_401_is_not_decompressed(name: str) -> None:
    """Before a retry nothing is decompressed: a few bytes could become many."""
    package, adapter = PACKAGES[name]
    server, _ = BODIES["compressed"]()
    async with world() as running, server.run(), package.AsyncClient(trust_env=False) as client:
        origin = f"http://127.0.0.1:{server.port}"
        auth = adapter.TokenAuth(running.source(), origins=[origin])
        response = await client.get(origin, auth=auth)

    assert (response.status_code, response.history[0].content) == (200, b"")


@both
async def test_the_history_has_the_401(name: str) -> None:
    """The history shows a short 401 with its body, also if an event hook has read it."""

    async def respond(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(UNAUTHORIZED + b"Content-Length: 3\r\n\r\nbad" if number % 2 else OK)

    async def read(response: Any) -> None:  # noqa: ANN401 - of either package
        await response.aread()

    package, adapter = PACKAGES[name]
    async with world() as running, Peer(respond).run() as server:
        origin = f"http://127.0.0.1:{server.port}"
        for hooks in ({}, {"response": [read]}):
            async with package.AsyncClient(trust_env=False, event_hooks=hooks) as client:
                auth = adapter.TokenAuth(running.source(), origins=[origin])
                response = await client.get(origin, auth=auth)
                (rejected,) = response.history
                assert (response.status_code, rejected.text) == (200, "bad")
                assert rejected.elapsed.total_seconds() > 0
            await running.advance(600)


# Headers

CHALLENGE_PIECES = (
    'Bearer error="x", ',
    '"',
    'a="\\',
    "a=b,",
    "a ",
    'error="invalid_token",',
    '\\" =',
)


@pytest.mark.parametrize("piece", CHALLENGE_PIECES)
def test_challenges_are_cut_before_they_are_parsed(piece: str) -> None:
    """A thousand challenges of 100,000 characters take less than 0.1 s of CPU time."""
    challenges = [piece * (100_000 // len(piece))] * 1000
    began = time.process_time()

    parse_rejection(challenges, "Bearer")

    assert time.process_time() - began < 0.1
