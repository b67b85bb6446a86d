"""What is made of facts about the network, of all kinds that `test_examination.py` cannot bring."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from okta_tokens.cli._findings import Finding, Outcome
from okta_tokens.cli._network_checks import (
    Greeting,
    Handshake,
    Route,
    check_clock,
    check_dns,
    check_tcp,
    check_tls,
    reason,
    route_to,
)

NOW = datetime(2026, 7, 1, tzinfo=UTC)
ACME = Route("https://acme.okta.com", "acme.okta.com", 443)
BY_PROXY = Route("https://acme.okta.com", "proxy", 3128, "http://me:pw@proxy:3128")


# The way


@pytest.mark.parametrize(
    ("origin", "proxy", "host", "port"),
    [
        ("https://acme.okta.com", None, "acme.okta.com", 443),
        ("https://acme.okta.com:8443", None, "acme.okta.com", 8443),
        ("https://[::1]:8443", None, "::1", 8443),
        ("http://127.0.0.1:6582", "http://proxy:3128", "127.0.0.1", 6582),
        ("http://localhost", None, "localhost", 80),
        ("https://acme.okta.com", "http://proxy:3128", "proxy", 3128),
        ("https://acme.okta.com", "http://me:pw@proxy", "proxy", 80),
        ("https://acme.okta.com", "https://proxy", "proxy", 443),
        ("https://acme.okta.com", "proxy:3128", "", 80),
        ("https://acme.okta.com", "http://proxy:port", "", 0),
    ],
)
def test_the_way_is_that_of_the_providers_session(
    origin: str, proxy: str | None, host: str, port: int
) -> None:
    """A proxy of the environment is the next hop, save for plain http, which is for loopback."""
    route = route_to(origin, lambda: {"https": proxy} if proxy else {}, lambda _: False)

    assert (route.host, route.port) == (host, port)
    assert route.proxy == (proxy if origin.startswith("https:") else None)


def test_some_hosts_take_no_proxy() -> None:
    """`NO_PROXY` is heeded."""
    route = route_to(ACME.origin, lambda: {"https": "http://proxy:3128"}, lambda host: True)

    assert route == ACME


def test_no_finding_tells_a_proxys_password() -> None:
    """Of a proxy the host and the port are told, and no more."""
    findings = [
        check_dns(BY_PROXY, ["10.0.0.1"]),
        check_dns(BY_PROXY, OSError("no")),
        check_tcp(BY_PROXY, 0.1),
        check_tcp(BY_PROXY, OSError("no")),
        check_tls(BY_PROXY, Greeting(error=aiohttp.InvalidURL(BY_PROXY.proxy or ""))),
    ]

    assert "pw" not in repr(findings)
    assert findings[2].detail == "connected to proxy:3128, the proxy in 100 ms"


# dns


@pytest.mark.parametrize(
    ("found", "outcome", "detail"),
    [
        (["1.2.3.4"], Outcome.PASS, "acme.okta.com is 1.2.3.4"),
        (["1.2.3.4", "::1"], Outcome.PASS, "acme.okta.com is 1.2.3.4, ::1"),
        ([*"abcdef"], Outcome.PASS, "acme.okta.com is a, b, c, d and 2 more"),
        (["acme.okta.com"], Outcome.PASS, "acme.okta.com is an address: nothing to look up"),
        (
            socket.gaierror(-2, "Name or service not known"),
            Outcome.FAIL,
            "acme.okta.com has no address: Name or service not known",
        ),
        (TimeoutError(), Outcome.FAIL, "acme.okta.com has no address: time ran out"),
        (UnicodeError("label"), Outcome.FAIL, "acme.okta.com has no address: UnicodeError"),
    ],
)
def test_a_name_has_addresses(found: list[str] | Exception, outcome: Outcome, detail: str) -> None:
    """A name that has an address passes; another one fails, and the name server is suspected."""
    finding = check_dns(ACME, found)

    assert (finding.name, finding.outcome, finding.detail) == ("dns", outcome, detail)
    assert ("name server" in (finding.remedy or "")) is (outcome is Outcome.FAIL)


def test_a_proxy_without_a_host() -> None:
    """What is no URL in `HTTPS_PROXY` is told before anything is looked up."""
    finding = check_dns(Route(ACME.origin, "", 0, "proxy:3128"), OSError())

    assert finding.outcome is Outcome.FAIL
    assert finding.detail.startswith("HTTPS_PROXY is no URL of a proxy")


# tcp


@pytest.mark.parametrize(
    ("route", "took", "outcome", "detail", "remedy"),
    [
        (ACME, 0.0124, Outcome.PASS, "connected to acme.okta.com:443 in 12 ms", None),
        (
            ACME,
            ConnectionRefusedError(111, "Connect call failed ('1.2.3.4', 443)"),
            Outcome.FAIL,
            "no connection to acme.okta.com:443: Connection refused",
            "check the domain, the network and the firewall; HTTPS_PROXY if a proxy is the way",
        ),
        (
            BY_PROXY,
            TimeoutError(),
            Outcome.FAIL,
            "no connection to proxy:3128, the proxy: time ran out",
            "check HTTPS_PROXY, and NO_PROXY for hosts that need none",
        ),
        (Route("http://[::1]:5", "::1", 5), 0, Outcome.PASS, "connected to [::1]:5 in 0 ms", None),
    ],
)
def test_a_connection_is_there_or_why_not(
    route: Route, took: float | Exception, outcome: Outcome, detail: str, remedy: str | None
) -> None:
    """A connection passes; none fails, with the system's words, and who is to be looked at."""
    assert check_tcp(route, took) == Finding("tcp", outcome, detail, remedy)


# tls


def shown(begin: timedelta, end: timedelta, issuer: tuple[Any, ...] = ()) -> Greeting:
    """Return a greeting with a certificate that is good from and until then."""
    certificate = {
        "notBefore": (NOW + begin).strftime("%b %d %H:%M:%S %Y GMT"),
        "notAfter": (NOW + end).strftime("%b %d %H:%M:%S %Y GMT"),
        "issuer": issuer,
    }
    handshake = Handshake(at=NOW.timestamp(), version="TLSv1.3", certificate=certificate)
    return Greeting(handshake=handshake)


DAY = timedelta(days=1)
UNTRUSTED = "the certificate of acme.okta.com is not trusted"
AUTHORITY = (
    "check the domain; if a proxy inspects TLS, or the authority is your own, name its certificate "
    "in SSL_CERT_FILE"
)


@pytest.mark.parametrize(
    ("begin", "end", "outcome", "left"),
    [
        (-DAY, 300 * DAY, Outcome.PASS, "300 more days"),
        (-300 * DAY, 15 * DAY, Outcome.PASS, "15 more days"),
        (-300 * DAY, 13 * DAY, Outcome.WARN, "13 more days"),
        (-300 * DAY, DAY, Outcome.WARN, "1 more day"),
        (-4.2 * DAY, 1.8 * DAY, Outcome.PASS, "2 more days"),
        (-5 * DAY, DAY, Outcome.WARN, "1 more day"),
    ],
)
def test_a_certificate_that_ends_soon_is_a_warning(
    begin: timedelta, end: timedelta, outcome: Outcome, left: str
) -> None:
    """Two weeks are soon, or a quarter of its life for one that is short by design."""
    finding = check_tls(ACME, shown(begin, end))

    assert finding.outcome is outcome
    assert finding.detail.endswith(f"and good for {left}")


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        (((("organizationName", "DigiCert"),), (("commonName", "CA 1"),)), "DigiCert"),
        (((("commonName", "CA 1"),),), "CA 1"),
        ((), "somebody without a name"),
    ],
)
def test_a_certificates_issuer_is_told(issuer: tuple[Any, ...], name: str) -> None:
    """Whose certificate it is tells of proxies that inspect TLS."""
    finding = check_tls(ACME, shown(-DAY, 99 * DAY, issuer))

    assert finding.detail == f"TLSv1.3; the certificate is by {name}, and good for 99 more days"


def refused(why: str) -> aiohttp.ClientConnectorCertificateError:
    """Return the error of a certificate that is not trusted."""
    cause = ssl.SSLCertVerificationError(1, "x")
    cause.verify_message = why
    return aiohttp.ClientConnectorCertificateError(cast("Any", SimpleNamespace()), cause)


@pytest.mark.parametrize(
    ("error", "detail", "remedy"),
    [
        (
            refused("certificate has expired"),
            f"{UNTRUSTED}: certificate has expired",
            "if this machine's date is right, whoever runs the domain must renew it",
        ),
        (
            refused("Hostname mismatch, certificate is not valid for 'x'."),
            f"{UNTRUSTED}: Hostname mismatch, certificate is not valid for 'x'",
            "check the domain: who answers there has a certificate for another name",
        ),
        (
            refused("unable to get local issuer certificate"),
            f"{UNTRUSTED}: unable to get local issuer certificate",
            AUTHORITY,
        ),
        (
            TimeoutError(),
            "the handshake with acme.okta.com does not come to an end",
            "check the domain, and what stands between here and Okta",
        ),
        (
            ConnectionResetError(104, "x"),
            "the handshake with acme.okta.com failed: Connection reset by peer",
            "check the domain, and what stands between here and Okta",
        ),
    ],
)
def test_a_handshake_that_fails(error: Exception, detail: str, remedy: str) -> None:
    """What TLS refuses is told in its words, and the remedy fits them."""
    assert check_tls(ACME, Greeting(error=error)) == Finding("tls", Outcome.FAIL, detail, remedy)


def test_a_proxy_that_refuses() -> None:
    """A proxy that does not let a host through is told with its status."""
    request = cast("Any", SimpleNamespace(real_url="http://me:pw@proxy"))
    error = aiohttp.ClientHttpProxyError(request, (), status=407)
    finding = check_tls(BY_PROXY, Greeting(error=error))

    assert finding.outcome is Outcome.FAIL
    assert finding.detail == "the proxy refused the connection to acme.okta.com (407)"
    assert "HTTPS_PROXY" in (finding.remedy or "")


def test_this_machine_needs_no_tls() -> None:
    """Plain http has no certificate to look at."""
    finding = check_tls(Route("http://127.0.0.1:1", "127.0.0.1", 1), Greeting())

    assert finding.outcome is Outcome.SKIP


# clock


@pytest.mark.parametrize(
    ("offset", "outcome", "begins"),
    [
        (0.2, Outcome.PASS, "this machine is 0.2 s behind Okta, give or take 0.6"),
        (-0.2, Outcome.PASS, "this machine is 0.2 s ahead of Okta, give or take 0.6"),
        (2.0, Outcome.PASS, "this machine is 2.0 s behind Okta"),
        (2.1, Outcome.WARN, "this machine is 2.1 s behind Okta"),
        (-60.0, Outcome.WARN, "this machine is 60.0 s ahead of Okta"),
        (-60.1, Outcome.FAIL, "this machine is 60.1 s ahead of Okta"),
        (3600.0, Outcome.FAIL, "this machine is 3600.0 s behind Okta"),
    ],
)
def test_a_clock_may_be_off_by_two_seconds(offset: float, outcome: Outcome, begins: str) -> None:
    """More is a warning; more than a minute a failure, with the reason."""
    finding = check_clock(Greeting(offset=offset, margin=0.6))

    assert finding.outcome is outcome
    assert finding.detail.startswith(begins)
    assert ("refuse signed assertions" in finding.detail) is (outcome is Outcome.FAIL)
    assert ("NTP" in (finding.remedy or "")) is (outcome is not Outcome.PASS)


@pytest.mark.parametrize(
    ("error", "why"),
    [(None, "it has no date"), (aiohttp.ServerDisconnectedError(), "ServerDisconnectedError")],
)
def test_a_clock_that_nobody_can_be_asked_about(error: Exception | None, why: str) -> None:
    """Without an answer that has a date nothing can be said."""
    finding = check_clock(Greeting(error=error))

    assert finding.outcome is Outcome.SKIP
    assert finding.detail == f"no answer that tells Okta's time: {why}"


# Reasons


def wrong_version() -> ssl.SSLError:
    """Return the error of a port that speaks no TLS."""
    error = ssl.SSLError(1, "x")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(113, "x"), "No route to host"),
        (OSError("Multiple exceptions: a, b"), "Multiple exceptions: a, b"),
        (wrong_version(), "wrong version number"),
        (ssl.SSLError(1, "x"), "sslerror"),
        (aiohttp.InvalidURL("http://me:pw@proxy"), "InvalidURL"),
        (aiohttp.ClientOSError(104, "x"), "Connection reset by peer"),
        (aiohttp.ClientOSError(), "ClientOSError"),
        (ValueError("pw"), "ValueError"),
    ],
)
def test_few_words_and_no_password(error: Exception, words: str) -> None:
    """The system's words are told; of an error whose text may hold a URL its kind alone."""
    assert reason(error) == words
