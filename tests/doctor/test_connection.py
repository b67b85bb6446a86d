"""What a traced session records, on real sockets. `test_diagnosis.py` has more about TLS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import aiohttp
import pytest
import trustme

from okta_tokens import ClientSecretBasic, OktaClient
from okta_tokens.doctor._connection import SessionTrace
from okta_tokens.doctor._network_checks import Route
from tests.doctor.servers import LOOPBACK, listening, respond_with, server_context

LIMIT = ("X-Rate-Limit-Limit: 600, 500", "X-Rate-Limit-Remaining: 7", "X-Rate-Limit-Remaining: 5")
RESET = "X-Rate-Limit-Reset: {reset}"


def client_at(origin: str) -> OktaClient:
    """Return a client of a server."""
    return OktaClient(origin, "0oa", ClientSecretBasic("s" * 32))


async def traced(*lines: str, method: str = "GET") -> SessionTrace:
    """Return the trace of one response with these header lines."""
    async with listening(respond_with(*lines)) as port:
        client = client_at(f"http://{LOOPBACK}:{port}")
        trace = SessionTrace(client)
        url = client.token_url if method == "POST" else f"{client.origin}/.well-known/x"
        route = Route(client.origin, LOOPBACK, port)
        async with trace.session(route) as session, session.request(method, url):
            pass
    return trace


async def test_other_requests_of_a_session_are_not_recorded() -> None:
    """Only responses of the client's domain tell its time, and only token responses its limit."""
    lines = (*LIMIT, RESET.format(reset=5), f"Date: {formatdate(usegmt=True)}")
    async with listening(respond_with(*lines)) as port, listening(respond_with()) as okta_port:
        trace = SessionTrace(client_at(f"http://{LOOPBACK}:{okta_port}"))
        async with aiohttp.ClientSession() as session:
            with trace.tracing(session):
                async with session.post(f"http://{LOOPBACK}:{port}/oauth2/default/v1/token"):
                    pass
                async with session.post(f"http://{LOOPBACK}:{okta_port}/api/v1/users"):
                    pass

    assert trace.first_contact(None).offset is None
    assert trace.rate_limit is None
    assert trace.slowest is None


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set this machine's time zone to nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "EAST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize("zone", ["GMT", "-0000"])
@pytest.mark.parametrize("ahead", [-90, 0, 90])
async def test_the_offset_comes_from_the_date_header(ahead: float, zone: str) -> None:
    """The offset counts from the middle of the `Date`'s second; without a zone `Date` is UTC."""
    date = formatdate(time.time() + ahead).removesuffix("-0000")
    contact = (await traced(f"Date: {date}{zone}")).first_contact(None)

    assert contact.offset == pytest.approx(ahead, abs=1)
    assert 0.5 <= contact.margin < 1


@pytest.mark.parametrize("lines", [(), ("Date: soon",), ("Date: Mon, 01 Jan 10000 00:00:00 GMT",)])
async def test_an_invalid_date_gives_no_offset(lines: tuple[str, ...]) -> None:
    """Without a valid `Date` the server's time is unknown."""
    contact = (await traced(*lines)).first_contact(None)

    assert contact.offset is None


async def test_repeated_limits_take_the_most_careful_value() -> None:
    """Of several values the most careful one counts, and the reset counts by the server's time."""
    reset = RESET.format(reset=int(time.time()) + 1030)
    date = f"Date: {formatdate(time.time() + 1000, usegmt=True)}"
    limit = (await traced(*LIMIT, reset, date, method="POST")).rate_limit
    by_our_clock = (await traced(*LIMIT, reset, method="POST")).rate_limit

    assert limit is not None
    assert by_our_clock is not None
    assert (limit.limit, limit.remaining) == (500, 5)
    assert limit.resets_in == pytest.approx(30, abs=2)
    assert by_our_clock.resets_in == pytest.approx(1030, abs=2)


async def test_a_past_reset_counts_as_now() -> None:
    """If the window has already ended, it ends in zero seconds."""
    limit = (await traced(*LIMIT, RESET.format(reset=5), method="POST")).rate_limit

    assert limit is not None
    assert limit.resets_in == 0


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("POST", LIMIT),
        ("POST", (*LIMIT[1:], RESET.format(reset=5))),
        ("POST", (LIMIT[0], RESET.format(reset=5))),
        ("POST", (*LIMIT, "X-Rate-Limit-Reset: soon")),
        ("GET", (*LIMIT, RESET.format(reset=5))),
    ],
)
async def test_an_incomplete_limit_is_ignored(method: str, lines: tuple[str, ...]) -> None:
    """A limit needs all three headers, in a response to a token request."""
    assert (await traced(*lines, method=method)).rate_limit is None


@pytest.mark.parametrize("secure", [True, False])
async def test_the_handshake_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, secure: bool
) -> None:
    """The certificate of a trusted server is recorded; without TLS there is none."""
    authority = trustme.CA(organization_name="ours")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = server_context(authority.issue_cert(LOOPBACK)) if secure else None
    async with listening(respond_with(), tls) as port:
        route = Route(f"http{'s' * secure}://{LOOPBACK}:{port}", LOOPBACK, port)
        trace = SessionTrace(client_at(route.origin))
        async with trace.session(route) as session, session.get(route.origin):
            pass
    handshake = trace.first_contact(None).handshake

    assert (handshake is not None) is secure
    if handshake is not None:
        assert handshake.version == "TLSv1.3"
        assert handshake.certificate["subjectAltName"] == (("IP Address", LOOPBACK),)
        assert time.time() - 5 < handshake.at <= time.time()
