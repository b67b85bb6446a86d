"""The network checks, for facts that `test_diagnosis.py` cannot produce."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from okta_tokens._endpoint.transport_error import certificate_advice
from okta_tokens.doctor._diagnosis import Outcome, Result
from okta_tokens.doctor._network_checks import (
    FirstContact,
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
VIA_PROXY = Route("https://acme.okta.com", "proxy", 3128, "http://me:pw@proxy:3128")


# Routes


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
    ],
)
def test_the_route_is_that_of_the_providers_session(
    origin: str, proxy: str | None, host: str, port: int
) -> None:
    """A proxy of the environment is the next hop, except for plain http to this machine."""
    route = route_to(origin, lambda: {"https": proxy} if proxy else {}, lambda _: False)

    assert (route.host, route.port) == (host, port)
    assert route.proxy == (proxy if origin.startswith("https:") else None)


def test_a_proxy_without_a_scheme_is_one_for_http() -> None:
    """`HTTPS_PROXY=host:port` is read as the provider reads it."""
    route = route_to(ACME.origin, lambda: {"https": "proxy:3128"}, lambda _: False)

    assert (route.host, route.port, route.proxy) == ("proxy", 3128, "http://proxy:3128")


def test_no_proxy_excludes_hosts() -> None:
    """A host in `NO_PROXY` is connected to directly."""
    route = route_to(ACME.origin, lambda: {"https": "http://proxy:3128"}, lambda host: True)

    assert route == ACME


def test_no_result_holds_a_proxys_password() -> None:
    """The results name the host and the port of a proxy, and never its password."""
    results = [
        check_dns(VIA_PROXY, ["10.0.0.1"]),
        check_dns(VIA_PROXY, OSError("no")),
        check_tcp(VIA_PROXY, 0.1),
        check_tcp(VIA_PROXY, OSError("no")),
        check_tls(VIA_PROXY, FirstContact(error=aiohttp.InvalidURL(VIA_PROXY.proxy or ""))),
    ]

    assert "pw" not in repr(results)
    assert results[2].detail == "connected to proxy:3128, the proxy in 100 ms"


# dns


@pytest.mark.parametrize(
    ("found", "outcome", "detail"),
    [
        (["1.2.3.4"], Outcome.PASS, "acme.okta.com is 1.2.3.4"),
        (["1.2.3.4", "::1"], Outcome.PASS, "acme.okta.com is 1.2.3.4, ::1"),
        ([*"abcdef"], Outcome.PASS, "acme.okta.com is a, b, c, d and 2 more"),
        (["acme.okta.com"], Outcome.PASS, "acme.okta.com is an address, which needs no look-up"),
        (
            socket.gaierror(-2, "Name or service not known"),
            Outcome.FAIL,
            "acme.okta.com has no address: Name or service not known",
        ),
        (TimeoutError(), Outcome.FAIL, "acme.okta.com has no address: timed out"),
        (UnicodeError("label"), Outcome.FAIL, "acme.okta.com has no address: UnicodeError"),
    ],
)
def test_a_name_has_addresses(found: list[str] | Exception, outcome: Outcome, detail: str) -> None:
    """A name with an address passes; any other name fails and points to the name server."""
    result = check_dns(ACME, found)

    assert (result.name, result.outcome, result.detail) == ("dns", outcome, detail)
    assert ("name server" in (result.remedy or "")) is (outcome is Outcome.FAIL)


def test_a_proxy_that_cannot_be_used_fails() -> None:
    """An invalid `HTTPS_PROXY` fails before any look-up, and the remedy says what to set."""
    route = route_to(ACME.origin, lambda: {"https": "socks5://proxy:1080"}, lambda _: False)
    result = check_dns(route, OSError())

    assert result.outcome is Outcome.FAIL
    assert "SOCKS proxies are not supported" in result.detail
    assert (result.remedy or "").startswith("set it to http://host:port")


# tcp


@pytest.mark.parametrize(
    ("route", "duration", "outcome", "detail", "remedy"),
    [
        (ACME, 0.0124, Outcome.PASS, "connected to acme.okta.com:443 in 12 ms", None),
        (
            ACME,
            ConnectionRefusedError(111, "Connect call failed ('1.2.3.4', 443)"),
            Outcome.FAIL,
            "no connection to acme.okta.com:443: Connection refused",
            "check the domain, the network and the firewall; set HTTPS_PROXY if a proxy is needed",
        ),
        (
            VIA_PROXY,
            TimeoutError(),
            Outcome.FAIL,
            "no connection to proxy:3128, the proxy: timed out",
            "check HTTPS_PROXY; list hosts that need no proxy in NO_PROXY",
        ),
        (Route("http://[::1]:5", "::1", 5), 0, Outcome.PASS, "connected to [::1]:5 in 0 ms", None),
    ],
)
def test_a_connection_passes_or_gives_the_reason(
    route: Route, duration: float | Exception, outcome: Outcome, detail: str, remedy: str | None
) -> None:
    """A connection passes; otherwise the check fails with the system's message and a remedy."""
    assert check_tcp(route, duration) == Result("tcp", outcome, detail, remedy)


# tls


def with_certificate(
    begin: timedelta, end: timedelta, issuer: tuple[Any, ...] = ()
) -> FirstContact:
    """Return the facts of a request to a server with a certificate of this period."""
    certificate = {
        "notBefore": (NOW + begin).strftime("%b %d %H:%M:%S %Y GMT"),
        "notAfter": (NOW + end).strftime("%b %d %H:%M:%S %Y GMT"),
        "issuer": issuer,
    }
    handshake = Handshake(at=NOW.timestamp(), version="TLSv1.3", certificate=certificate)
    return FirstContact(handshake=handshake)


DAY = timedelta(days=1)
UNTRUSTED = "the certificate of acme.okta.com is not trusted"


@pytest.mark.parametrize(
    ("begin", "end", "outcome", "remaining"),
    [
        (-DAY, 300 * DAY, Outcome.PASS, "300 more days"),
        (-300 * DAY, 15 * DAY, Outcome.PASS, "15 more days"),
        (-300 * DAY, 13 * DAY, Outcome.WARN, "13 more days"),
        (-300 * DAY, DAY, Outcome.WARN, "1 more day"),
        (-4.2 * DAY, 1.8 * DAY, Outcome.PASS, "2 more days"),
        (-5 * DAY, DAY, Outcome.WARN, "1 more day"),
    ],
)
def test_a_certificate_that_expires_soon_is_a_warning(
    begin: timedelta, end: timedelta, outcome: Outcome, remaining: str
) -> None:
    """Less than two weeks, or less than a quarter of a short life, is a warning."""
    result = check_tls(ACME, with_certificate(begin, end))

    assert result.outcome is outcome
    assert result.detail.endswith(f"and is valid for {remaining}")


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        (((("organizationName", "DigiCert"),), (("commonName", "CA 1"),)), "DigiCert"),
        (((("commonName", "CA 1"),),), "CA 1"),
        ((), "an authority without a name"),
    ],
)
def test_the_issuer_is_named(issuer: tuple[Any, ...], name: str) -> None:
    """The result names the issuer, which reveals a proxy that inspects TLS."""
    result = check_tls(ACME, with_certificate(-DAY, 99 * DAY, issuer))

    assert result.detail == (
        f"TLSv1.3; the certificate was issued by {name}, and is valid for 99 more days"
    )


def refused(why: str, code: int) -> aiohttp.ClientConnectorCertificateError:
    """Return the error for a certificate that is not trusted, with OpenSSL's words and code."""
    cause = ssl.SSLCertVerificationError(1, "x")
    cause.verify_message, cause.verify_code = why, code
    return aiohttp.ClientConnectorCertificateError(cast("Any", SimpleNamespace()), cause)


@pytest.mark.parametrize(
    ("error", "detail", "remedy"),
    [
        (
            refused("certificate has expired", 10),
            f"{UNTRUSTED}: certificate has expired",
            certificate_advice(10),
        ),
        (
            refused("Hostname mismatch, certificate is not valid for 'x'.", 62),
            f"{UNTRUSTED}: Hostname mismatch, certificate is not valid for 'x'",
            certificate_advice(62),
        ),
        (
            TimeoutError(),
            "the TLS handshake with acme.okta.com timed out",
            "check the domain, and the proxies and gateways between this machine and Okta",
        ),
        (
            ConnectionResetError(104, "x"),
            "the TLS handshake with acme.okta.com failed: Connection reset by peer",
            "check the domain, and the proxies and gateways between this machine and Okta",
        ),
    ],
)
def test_a_failed_handshake_gives_the_reason(error: Exception, detail: str, remedy: str) -> None:
    """A failed handshake is reported with the error's reason and a fitting remedy."""
    assert check_tls(ACME, FirstContact(error=error)) == Result("tls", Outcome.FAIL, detail, remedy)


def test_a_refusing_proxy_fails() -> None:
    """A proxy that refuses the connection is reported with its status."""
    request = cast("Any", SimpleNamespace(real_url="http://me:pw@proxy"))
    error = aiohttp.ClientHttpProxyError(request, (), status=407)
    result = check_tls(VIA_PROXY, FirstContact(error=error))

    assert result.outcome is Outcome.FAIL
    assert result.detail == "the proxy refused the connection to acme.okta.com (407)"
    assert "HTTPS_PROXY" in (result.remedy or "")


def test_plain_http_skips_tls() -> None:
    """Plain http has no certificate, so the check is skipped."""
    result = check_tls(Route("http://127.0.0.1:1", "127.0.0.1", 1), FirstContact())

    assert result.outcome is Outcome.SKIP


# clock


@pytest.mark.parametrize(
    ("offset", "outcome", "begins"),
    [
        (0.2, Outcome.PASS, "this machine is 0.2 s behind Okta (margin of error: 0.6 s)"),
        (-0.2, Outcome.PASS, "this machine is 0.2 s ahead of Okta (margin of error: 0.6 s)"),
        (2.0, Outcome.PASS, "this machine is 2.0 s behind Okta"),
        (2.1, Outcome.WARN, "this machine is 2.1 s behind Okta"),
        (-60.0, Outcome.WARN, "this machine is 60.0 s ahead of Okta"),
        (-60.1, Outcome.FAIL, "this machine is 60.1 s ahead of Okta"),
    ],
)
def test_a_clock_may_be_off_by_two_seconds(offset: float, outcome: Outcome, begins: str) -> None:
    """More than two seconds is a warning, and more than a minute is a failure."""
    result = check_clock(FirstContact(offset=offset, margin=0.6))

    assert result.outcome is outcome
    assert result.detail.startswith(begins)
    assert ("refuse assertions and proofs" in result.detail) is (outcome is Outcome.FAIL)
    assert ("NTP" in (result.remedy or "")) is (outcome is not Outcome.PASS)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, "it has no Date header"),
        (aiohttp.ServerDisconnectedError(), "ServerDisconnectedError"),
    ],
)
def test_the_clock_is_skipped_without_a_date(error: Exception | None, why: str) -> None:
    """Without a response that has a `Date`, the check is skipped."""
    result = check_clock(FirstContact(error=error))

    assert result.outcome is Outcome.SKIP
    assert result.detail == f"no response that holds Okta's time: {why}"


# Reasons


def wrong_version() -> ssl.SSLError:
    """Return the error for a port without TLS."""
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
def test_a_reason_is_short_and_holds_no_password(error: Exception, words: str) -> None:
    """The reason is the system's message, or only the type if the text may hold a URL."""
    assert reason(error) == words
