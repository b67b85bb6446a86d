"""No form of a URL takes a token to an origin that was not named.

The test generates URLs and lets real clients send requests to them. Only the network is replaced:
it records to which host, on which port, and whether over TLS a client connects, and what it sends
there. So the clients decide what a URL means, and not the code under test.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import product
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import yarl
from aiohttp.abc import AbstractResolver

from okta_tokens import TokenSource
from okta_tokens.adapters import aiohttp as aiohttp_adapter
from okta_tokens.adapters import httpx as httpx_adapter
from okta_tokens.adapters import httpx2 as httpx2_adapter
from okta_tokens.adapters._origins import parse_origins
from okta_tokens.errors import ConfigurationError
from tests.support import world

PACKAGES = {"httpx": (httpx, httpx_adapter), "httpx2": (httpx2, httpx2_adapter)}

ORIGINS = ("https://api.acme.com", "https://[2001:db8::1]:8443", "http://127.0.0.1:8080")
PLACES = {(True, "api.acme.com", 443), (True, "2001:db8::1", 8443), (False, "127.0.0.1", 8080)}
"""Whether over TLS, to which host, and on which port a client connects for these origins."""

# Parts of URLs: a reader may take each for another part, or each host for one that is named.
SCHEMES = (
    *("https://", "HTTPS://", "http://", "wss://", "ws://", "https:/", "https:", "https:\\\\"),
    *(
        "https:/\\",
        "http:/\\",
        "https:///",
        "https:////",
        "ht\ttps://",
        " https://",
        "//",
        "ftp://",
    ),
)
USERS = (
    *("", "", "", "", "user@", "user:password@", "@", "a@b@", "api.acme.com@", "api.acme.com:443@"),
    *("api.acme.com%40", "api.acme.com\\@", "api.acme.com#@", "api.acme.com?@", "api.acme.com/@"),
    *(
        "127.0.0.1:8080@",
        "127.0.0.1:8080#@",
        "[2001:db8::1]@",
        "api.acme.com\t@",
        "%61pi.acme.com:",
    ),
)
HOSTS = (
    *(
        "api.acme.com",
        "API.Acme.COM",
        "api.acme.com.",
        "api.acme.com..",
        ".api.acme.com",
        "acme.com",
    ),
    *("api.acme.com.evil.example", "api.acme.comevil.example", "evil-api.acme.com", "evil.example"),
    *(
        "api.acme.com%2eevil.example",
        "api.acme.com%00.evil.example",
        "api.acme.com%2f.evil.example",
    ),
    *("api.acme.com\t.evil.example", "api.acme.com\\.evil.example", "api.acme.com;evil.example"),
    *(
        "api.acme.com\n.evil.example",
        "api%2eacme%2ecom",
        "%61pi.acme.com",
        "api\u3002acme\u3002com",
    ),
    *(
        "\uff41\uff50\uff49.acme.com",
        "\u0430pi.acme.com",
        "api.acme.\u0441om",
        "xn--pi-7kc.acme.com",
    ),
    *(
        "api.acm\u00adE.com",
        "api\u200b.acme.com",
        "\u24d0pi.acme.com",
        "api.acme.com\u2024evil.example",
    ),
    *(
        "api.acme.com\u2488evil.example",
        "api.acme.com\uff0fevil.example",
        "api.acme.com\uff20evil.example",
    ),
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1"),
    *("127.0.0.1.", "127.0.0.1.evil.example", "127.0.0.01", "\uff11\uff12\uff17.0.0.1", "0.0.0.1"),
    *("127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "[::7f00:1]", "localhost", "localhost."),
    *("[2001:db8::1]", "[2001:0DB8:0::0:1]", "[2001:db8::1%25eth0]", "[2001:db8::1]evil.example"),
    *(
        "[2001:db8::2]",
        "[2001:db8:0:0:0:0:0:1]",
        "2001:db8::1",
        "[api.acme.com]",
        "[v1.api.acme.com]",
    ),
)
PORTS = (
    *(
        "",
        "",
        "",
        ":443",
        ":8443",
        ":8080",
        ":80",
        ":",
        ":0443",
        ":00",
        ":65979",
        ":-443",
        ":443:80",
    ),
    *(":+443", ":4 43", ":\uff14\uff14\uff13", ":443@evil.example", ":8080@127.0.0.2:8080", ":0"),
)
TAILS = (
    *("", "/", "/orders?x=1#y", "/x@evil.example", "?@evil.example", "#@evil.example"),
    *(
        "\\@evil.example/",
        "/\\evil.example",
        ";@evil.example",
        "/..//evil.example",
        "%23@evil.example",
    ),
)


def url_forms(number: int) -> list[str]:
    """Return a number of different URLs: the simple ones, and a sample of all others."""
    simple = ["".join(parts) for parts in product(SCHEMES[:5], [""], HOSTS, PORTS[2:7], [""])]
    chosen = random.Random(9110)  # noqa: S311 - the same sample in each run
    forms = dict.fromkeys(chosen.sample(simple, number // 4))
    while len(forms) < number:
        forms["".join(map(chosen.choice, (SCHEMES, USERS, HOSTS, PORTS, TAILS)))] = None
    return [*forms]


FORMS = url_forms(2000)


@dataclass
class Network:
    """What clients send, instead of a network.

    Args:
        responses: The next responses; later ones are a 204.
    """

    responses: list[bytes] = field(default_factory=list)
    sent: list[tuple[bool, str, int, bytes]] = field(default_factory=list)
    """Whether over TLS, to which host, on which port, and what."""

    def respond(self) -> bytes:
        """Return the next response."""
        closed = b"Connection: close\r\n\r\n"
        return self.responses.pop(0) if self.responses else b"HTTP/1.1 204 X\r\n" + closed

    def places_with(self, text: str) -> set[tuple[bool, str, int]]:
        """Return the places to which a text was sent."""
        return {place[:3] for place in self.sent if text.encode() in place[3]}


@dataclass
class Stream:
    """A connection of httpx, on which one request is sent."""

    network: Network
    host: str
    port: int
    tls: bool = False
    written: bytes = b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Keep what is sent."""
        self.written += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return the response, and nothing after it."""
        if not self.written:
            return b""
        self.network.sent.append((self.tls, self.host, self.port, self.written))
        self.written = b""
        return self.network.respond()

    async def start_tls(self, ssl_context: object, server_hostname: str, timeout: float) -> Stream:  # noqa: ASYNC109
        """Encrypt the connection: the certificate is for the name that is checked."""
        assert server_hostname == self.host
        self.tls = True
        return self

    async def aclose(self) -> None:
        """Close the connection."""

    def get_extra_info(self, info: str) -> None:
        """Return nothing."""


@dataclass
class Backend:
    """The network of httpx."""

    network: Network

    async def connect_tcp(self, host: str, port: int, **_: object) -> Stream:
        """Connect to a host."""
        return Stream(self.network, host, port)


@dataclass
class Resolver(AbstractResolver):
    """A resolver of aiohttp that knows every name."""

    names: dict[str, str] = field(default_factory=dict)
    """The names by their addresses."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:  # noqa: ANN401
        """Return an address that belongs to this name only."""
        address = f"198.18.{len(self.names) // 256}.{len(self.names) % 256}"
        self.names[address] = host
        found = {"hostname": host, "host": address, "port": port}
        return [{**found, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Close nothing."""


class Transport(asyncio.Transport):
    """A connection of aiohttp, on which one request is sent."""

    def __init__(
        self, protocol: asyncio.Protocol, place: tuple[bool, str, int], network: Network
    ) -> None:
        super().__init__()
        self._protocol = protocol
        self._place = place
        self._network = network
        self._closing = False

    def write(self, data: Any) -> None:  # noqa: ANN401 - any buffer
        """Keep what is sent, and respond."""
        self._network.sent.append((*self._place, bytes(data)))
        if b"\r\n\r\n" in bytes(data):
            asyncio.get_running_loop().call_soon(
                self._protocol.data_received, self._network.respond()
            )

    def is_closing(self) -> bool:
        """Tell whether the connection is closed."""
        return self._closing

    def close(self) -> None:
        """Close the connection."""
        self._closing = True

    abort = close


class Connector(aiohttp.TCPConnector):
    """A connector of aiohttp that ends in the recorded network."""

    def __init__(self, network: Network) -> None:
        self._known = Resolver()
        super().__init__(resolver=self._known, use_dns_cache=False, force_close=True)
        self._network = network

    async def _wrap_create_connection(self, *args: Any, addr_infos: Any, **options: Any) -> Any:  # noqa: ANN401
        address, port = addr_infos[0][4][:2]
        host = self._known.names.get(address, address)
        tls = isinstance(options.get("ssl"), ssl.SSLContext)
        assert not tls or options["server_hostname"] == host.rstrip(".")
        protocol = args[0]()
        transport = Transport(protocol, (tls, host, port), self._network)
        protocol.connection_made(transport)
        return transport, protocol


Get = Callable[[str], Coroutine[Any, Any, object]]


@asynccontextmanager
async def run_client(name: str, source: TokenSource, network: Network) -> AsyncIterator[Get]:
    """Yield a function that sends a request and follows redirects, on the recorded network."""
    if name == "aiohttp":
        middleware = aiohttp_adapter.TokenMiddleware(source, origins=ORIGINS, pass_others=True)
        async with aiohttp.ClientSession(
            connector=Connector(network), middlewares=[middleware]
        ) as session:
            yield session.get
        return
    package, adapter = PACKAGES[name]
    auth = adapter.TokenAuth(source, origins=ORIGINS, pass_others=True, trust_env=False)
    transport = package.AsyncHTTPTransport(verify=ssl.create_default_context())
    transport._pool._network_backend = Backend(network)
    async with package.AsyncClient(
        auth=auth, transport=transport, follow_redirects=True, trust_env=False
    ) as client:
        yield client.get


def places_of(network: Network) -> set[tuple[bool, str, int]]:
    """Return the places to which anything was sent."""
    return network.places_with("")


every_client = pytest.mark.parametrize("name", ["aiohttp", *PACKAGES])


@every_client
async def test_no_form_of_a_url_takes_a_token_elsewhere(name: str) -> None:
    """Of 2,000 URLs exactly those that lead to a named origin carry the token."""
    carried = set()
    async with world() as running:
        token = (await running.source().get_token()).value
        network = Network()
        async with run_client(name, running.source(), network) as get:
            for url in FORMS:
                network.sent.clear()
                try:
                    await get(url)
                except Exception:  # noqa: BLE001 - each client refuses a URL in its own way
                    assert network.sent == [], url
                places = network.places_with(token)
                assert places <= PLACES, url
                # aiohttp accepts a URL without a scheme; such a URL has no named origin.
                assert places == places_of(network) & PLACES or url.startswith("//"), url
                carried |= places

    assert carried == PLACES


@every_client
async def test_no_form_of_a_redirect_takes_a_token_elsewhere(name: str) -> None:
    """Of 500 redirects from a named origin none takes the token to another origin."""
    reached = set()
    async with world() as running:
        token = (await running.source().get_token()).value
        network = Network()
        async with run_client(name, running.source(), network) as get:
            for number, url in enumerate(FORMS[::4]):
                origin = ORIGINS[number % len(ORIGINS)]
                location = url.replace("\n", "").encode()
                head = b"HTTP/1.1 307 X\r\nConnection: close\r\nContent-Length: 0\r\nLocation: "
                network.responses[:] = [head + location + b"\r\n\r\n"]
                network.sent.clear()
                with suppress(Exception):  # each client refuses a URL in its own way
                    await get(origin)
                assert network.places_with(token) <= PLACES, url
                reached |= places_of(network)

    assert len(reached - PLACES) > 20


def test_no_form_of_an_origin_names_another_one() -> None:
    """Each client reads an origin that is accepted in the same way, or does not accept it."""
    accepted = 0
    for url in FORMS:
        try:
            (origin,) = parse_origins("Adapter", url)
        except ConfigurationError:
            continue
        accepted += 1
        for read in (httpx.URL, httpx2.URL, yarl.URL):
            try:
                parsed: Any = read(url)
            except (httpx.InvalidURL, httpx2.InvalidURL, ValueError):
                continue
            host = parsed.raw_host if read is yarl.URL else parsed.raw_host.decode()
            host = ip_address(host).compressed if ":" in host else host
            port = parsed.port or {"https": 443, "http": 80}[parsed.scheme]
            assert (parsed.scheme, host, port) == tuple(origin)

    assert accepted > 20
