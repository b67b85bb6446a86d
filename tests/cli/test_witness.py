"""What is seen of answers, on real sockets; of TLS `test_examination.py` sees more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
import trustme

from okta_tokens.cli._network_checks import Route
from okta_tokens.cli._witness import Witness
from tests.cli.servers import LOOPBACK, listening, saying, shows

LIMIT = ("X-Rate-Limit-Limit: 600, 500", "X-Rate-Limit-Remaining: 7", "X-Rate-Limit-Remaining: 5")
RESET = "X-Rate-Limit-Reset: {reset}"


async def watched(*lines: str, method: str = "GET") -> Witness:
    """Return a witness of one answer with these headers."""
    witness = Witness()
    async with listening(saying(*lines)) as port:
        route = Route(f"http://{LOOPBACK}:{port}", LOOPBACK, port)
        async with witness.session(route) as session, session.request(method, route.origin):
            pass
    return witness


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this machine where it is always nine hours later."""
    monkeypatch.setenv("TZ", "EAST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize("zone", ["GMT", "-0000"])
@pytest.mark.parametrize("ahead", [-90, 0, 90])
async def test_a_date_tells_the_servers_time(ahead: float, zone: str) -> None:
    """Its second is taken for half over; without a zone it is UTC, wherever this machine is."""
    date = formatdate(time.time() + ahead).removesuffix("-0000")
    greeting = (await watched(f"Date: {date}{zone}")).greeting(None)

    assert greeting.offset == pytest.approx(ahead, abs=1)
    assert 0.5 <= greeting.margin < 1


@pytest.mark.parametrize("lines", [(), ("Date: soon",), ("Date: Mon, 01 Jan 10000 00:00:00 GMT",)])
async def test_a_date_that_is_none(lines: tuple[str, ...]) -> None:
    """Without a `Date` that is one the server's time is not known."""
    greeting = (await watched(*lines)).greeting(None)

    assert greeting.offset is None


async def test_a_limit_that_a_proxy_has_repeated() -> None:
    """Of several numbers the careful ones count, and the end of the window by the server's time."""
    reset = RESET.format(reset=int(time.time()) + 1030)
    date = f"Date: {formatdate(time.time() + 1000, usegmt=True)}"
    limit = (await watched(*LIMIT, reset, date, method="POST")).rate_limit
    by_our_clock = (await watched(*LIMIT, reset, method="POST")).rate_limit

    assert limit is not None
    assert by_our_clock is not None
    assert (limit.limit, limit.remaining) == (500, 5)
    assert limit.resets_in == pytest.approx(30, abs=2)
    assert by_our_clock.resets_in == pytest.approx(1030, abs=2)


async def test_a_window_that_is_over() -> None:
    """A window that ended before the answer did ends now, not in the past."""
    limit = (await watched(*LIMIT, RESET.format(reset=5), method="POST")).rate_limit

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
async def test_a_limit_that_is_none(method: str, lines: tuple[str, ...]) -> None:
    """A limit takes all three of its headers, and an answer to a token request."""
    assert (await watched(*lines, method=method)).rate_limit is None


@pytest.mark.parametrize("secure", [True, False])
async def test_a_handshake_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, secure: bool
) -> None:
    """Of a server that was believed the certificate is known; without TLS there is none."""
    authority = trustme.CA(organization_name="ours")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = shows(authority.issue_cert(LOOPBACK)) if secure else None
    witness = Witness()
    async with listening(saying(), tls) as port:
        route = Route(f"http{'s' * secure}://{LOOPBACK}:{port}", LOOPBACK, port)
        async with witness.session(route) as session, session.get(route.origin):
            pass
    handshake = witness.greeting(None).handshake

    assert (handshake is not None) is secure
    if handshake is not None:
        assert handshake.version == "TLSv1.3"
        assert handshake.certificate["subjectAltName"] == (("IP Address", LOOPBACK),)
        assert time.time() - 5 < handshake.at <= time.time()
