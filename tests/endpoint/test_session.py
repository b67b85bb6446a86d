"""The HTTP session: our own, or the user's if it would not send two credentials."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from okta_tokens._endpoint.session import (
    check_netrc,
    check_session,
    environment_proxy,
    open_session,
)
from okta_tokens.errors import ConfigurationError
from tests.runtime.test_redaction import frames_of, locals_with

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
ORIGIN = "https://acme.okta.com"
ENTRY = f"machine acme.okta.com login me password {SECRET}\n"
PROXIES = {"https": "http://proxy.example:3128", "http": "http://other.example:3128"}


def session_with_auth(headers: dict[str, str] | None = None) -> aiohttp.ClientSession:
    """Return a session with authentication as a default, which aiohttp still takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return aiohttp.ClientSession(auth=aiohttp.BasicAuth("me", SECRET), headers=headers)


async def test_our_session_carries_nothing() -> None:
    """Our own session has no cookies, credentials or headers, and trusts no environment."""
    async with open_session() as session:
        assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)
        assert not session.trust_env
        assert session.auth is None
        assert not session.headers
        assert session.connector is not None
        assert session.connector.limit == 0


async def test_our_session_may_be_used() -> None:
    """Our own session passes the checks for those of users."""
    async with open_session() as session:
        check_session(session)
        check_netrc(session, ORIGIN)


async def test_an_answer_that_nobody_asked_for_is_nobodys() -> None:
    """What a server says on an idle connection of our own session answers no later request."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d"
    unasked = asyncio.Event()
    requests = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while await reader.read(1000):
            requests += 1
            writer.write(answer % requests)
            if requests == 1:
                await unasked.wait()
                writer.write(answer % 9)
        writer.close()
        await writer.wait_closed()

    async with (
        await asyncio.start_server(speak, "127.0.0.1", 0) as server,
        open_session() as session,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with session.post(url) as response:
            first = await response.read()
        unasked.set()
        await asyncio.sleep(0.01)  # it is on its way, and nothing tells that it has come
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.post(url)
        async with session.post(url) as response:
            second = await response.read()

    assert (first, second) == (b"1", b"2")


async def test_what_a_session_may_have() -> None:
    """Headers, cookies, time-outs and other defaults of a session do no harm."""
    async with aiohttp.ClientSession(
        headers={"User-Agent": "service/1", "X-Trace": "on"},
        cookies={"a": "b"},
        timeout=aiohttp.ClientTimeout(total=1),
        raise_for_status=True,
    ) as session:
        check_session(session)


async def test_a_session_with_authentication() -> None:
    """A session that authenticates every request is refused."""
    async with session_with_auth() as session:
        with pytest.raises(ConfigurationError) as caught:
            check_session(session)

    assert str(caught.value) == (
        "session: it sends HTTP authentication of its own; give the provider a session without "
        "these"
    )
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
async def test_a_session_with_a_header(name: str) -> None:
    """A session that sends an Authorization header, in whatever case, is refused."""
    async with aiohttp.ClientSession(headers={name: f"Bearer {SECRET}"}) as session:
        with pytest.raises(ConfigurationError) as caught:
            check_session(session)

    assert str(caught.value) == (
        "session: it sends an Authorization header of its own; give the provider a session without "
        "these"
    )
    assert SECRET not in str(caught.value)


async def test_all_problems_in_one_message() -> None:
    """One message lists every credential that a session carries, and no value of one."""
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
    """Return what writes the user's file, be it named by the variable or in the home directory."""
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


@pytest.mark.parametrize("origin", [ORIGIN, f"{ORIGIN}:8443"])
@pytest.mark.parametrize("entry", [ENTRY, f"default login me password {SECRET}\n"])
async def test_a_netrc_with_the_host(
    write_netrc: Callable[[str], None], entry: str, origin: str
) -> None:
    """A session that would send the host's credentials from .netrc is refused."""
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


async def test_a_netrc_that_nobody_reads(write_netrc: Callable[[str], None]) -> None:
    """A session that does not trust the environment does not read .netrc either."""
    write_netrc(ENTRY)
    async with aiohttp.ClientSession() as session:
        check_netrc(session, ORIGIN)


@pytest.mark.parametrize("text", ["", ENTRY.replace("acme", "other"), "machine", None])
async def test_a_netrc_without_the_host(
    write_netrc: Callable[[str], None], text: str | None
) -> None:
    """A .netrc without the host, or that is broken or missing, adds nothing."""
    if text is not None:
        write_netrc(text)
    async with aiohttp.ClientSession(trust_env=True) as session:
        check_netrc(session, ORIGIN)


async def test_an_origin_without_a_host(write_netrc: Callable[[str], None]) -> None:
    """What has no host has no entry."""
    write_netrc(ENTRY)
    async with aiohttp.ClientSession(trust_env=True) as session:
        check_netrc(session, "https://")


def test_a_proxy_of_the_environment() -> None:
    """Https goes through the proxy for https."""
    proxy = environment_proxy(ORIGIN, lambda: PROXIES, lambda _: False)

    assert proxy == "http://proxy.example:3128"


def test_no_proxy_for_plain_http() -> None:
    """Plain http, which is for this machine alone, goes through no proxy."""
    assert environment_proxy("http://localhost:8080", lambda: PROXIES, lambda _: False) is None


def test_no_proxy_for_a_named_host() -> None:
    """A host that is to be reached directly is, and is asked for with its port."""
    asked: list[str] = []

    def bypass(host: str) -> int:
        asked.append(host)
        return 1

    assert environment_proxy("https://acme.okta.com:8443", lambda: PROXIES, bypass) is None
    assert asked == ["acme.okta.com:8443"]


def test_no_proxy_at_all() -> None:
    """Without a proxy for https there is none."""
    assert environment_proxy(ORIGIN, lambda: {"http": PROXIES["http"]}, lambda _: False) is None


@pytest.mark.parametrize("upper", [str.upper, str.lower], ids=["upper", "lower"])
@pytest.mark.parametrize(
    ("no_proxy", "proxy"),
    [
        ("", "http://proxy.example:3128"),
        ("example.com", "http://proxy.example:3128"),
        ("acme.okta.com", None),
        (".okta.com", None),
        ("localhost,okta.com", None),
        ("acme.okta.com:8443", "http://proxy.example:3128"),
        ("*", None),
    ],
)
def test_the_variables(
    upper: type[str], no_proxy: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual variables are honoured, as the standard library reads them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(upper("https_proxy"), "http://proxy.example:3128")
    monkeypatch.setenv(upper("no_proxy"), no_proxy)

    assert environment_proxy(ORIGIN) == proxy


async def test_a_netrc_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no text, and a user without a home, have no entry for anybody."""
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
