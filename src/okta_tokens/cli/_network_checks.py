"""Whether Okta can be reached and talked to: each check is a function from facts to a finding."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from okta_tokens.cli._findings import Finding, failed, passed, skipped, warned

DNS = "dns"
TCP = "tcp"
TLS = "tls"
CLOCK = "clock"

_DAY = 86_400.0  # seconds
_ENOUGH_DAYS = 14.0
_TOLERABLE_OFFSET = 2.0  # seconds; `Date` tells whole ones
_UNTENABLE_OFFSET = 60.0
_SHOWN_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Route:
    """Whom to connect to.

    Args:
        origin: The Okta domain, with its scheme.
        host: Its host, or that of the proxy; empty if the proxy's URL is none.
        port: Its port.
        proxy: The proxy's URL, which may hold a password; None if there is none.
    """

    origin: str
    host: str
    port: int
    proxy: str | None = None

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.origin.startswith("https:")

    @property
    def place(self) -> str:
        """Host and port, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{'' if self.proxy is None else ', the proxy'}"

    @property
    def remedy(self) -> str:
        """What to look at if there is nobody."""
        if self.proxy is not None:
            return "check HTTPS_PROXY, and NO_PROXY for hosts that need none"
        return "check the domain, the network and the firewall; HTTPS_PROXY if a proxy is the way"


def route_to(
    origin: str,
    proxies: Callable[[], dict[str, str]] = getproxies,
    bypass: Callable[[str], object] = proxy_bypass,
) -> Route:
    """Return how to get to a domain: the way that a provider's own session goes.

    Args:
        origin: The domain, with its scheme.
        proxies: Reads `HTTPS_PROXY` and the like.
        bypass: Tells whether `NO_PROXY` names a host.
    """
    url = urlsplit(origin)
    proxy = None
    if url.scheme == "https" and not bypass(url.netloc):
        proxy = proxies().get("https")
    if proxy is not None:
        url = urlsplit(proxy)
    try:
        host, port = url.hostname or "", url.port
    except ValueError:
        return Route(origin, "", 0, proxy)
    return Route(origin, host, port or (443 if url.scheme == "https" else 80), proxy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What a server that was believed has shown.

    Args:
        at: When, in seconds since the epoch.
        version: Of TLS.
        certificate: As `ssl.SSLSocket.getpeercert` returns it.
    """

    at: float
    version: str
    certificate: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What came of the first request, which holds no credential.

    Args:
        error: Why there was no answer; None if there was one.
        handshake: How TLS went; None if it failed, or was not spoken.
        offset: Seconds by which the server's clock is ahead of this machine's; None if unknown.
        margin: Seconds by which that may be wrong.
    """

    error: BaseException | None = None
    handshake: Handshake | None = None
    offset: float | None = None
    margin: float = 0.0


def check_dns(route: Route, found: Sequence[str] | BaseException) -> Finding:
    """Judge a look-up.

    Args:
        route: Whose address was looked up.
        found: The addresses, or why there is none.
    """
    if not route.host:
        return failed(DNS, "HTTPS_PROXY is no URL of a proxy, like http://proxy:3128", route.remedy)
    if isinstance(found, BaseException):
        remedy = f"{route.remedy}; and the name server of this machine"
        return failed(DNS, f"{route.host} has no address: {reason(found)}", remedy)
    if [*found] == [route.host]:
        return passed(DNS, f"{route.host} is an address: nothing to look up")
    more = "" if len(found) <= _SHOWN_ADDRESSES else f" and {len(found) - _SHOWN_ADDRESSES} more"
    return passed(DNS, f"{route.host} is {', '.join(found[:_SHOWN_ADDRESSES])}{more}")


def check_tcp(route: Route, took: float | BaseException) -> Finding:
    """Judge a connection.

    Args:
        route: Where to.
        took: After how many seconds it was there, or why it is not.
    """
    if isinstance(took, BaseException):
        return failed(TCP, f"no connection to {route.place}: {reason(took)}", route.remedy)
    return passed(TCP, f"connected to {route.place} in {1000 * took:.0f} ms")


def check_tls(route: Route, greeting: Greeting) -> Finding:
    """Judge the handshake and the certificate.

    Args:
        route: Whom they are of.
        greeting: What came of the first request.
    """
    handshake = greeting.handshake
    if not route.secure:
        return skipped(TLS, "plain http, which is for this machine alone")
    if handshake is None:
        assert greeting.error is not None  # noqa: S101 - narrows the type
        return _failed_handshake(route, greeting.error)
    certificate = handshake.certificate
    begin, end = (ssl.cert_time_to_seconds(certificate[name]) for name in ("notBefore", "notAfter"))
    days = (end - handshake.at) / _DAY
    detail = (
        f"{handshake.version}; the certificate is by {_issuer(certificate)}, "
        f"and good for {days:.0f} more day{'' if round(days) == 1 else 's'}"
    )
    # What lives for days by design is renewed in its last ones.
    if days < min(_ENOUGH_DAYS, (end - begin) / _DAY / 4):
        return warned(TLS, detail, "see that whoever runs the domain renews it in time")
    return passed(TLS, detail)


def check_clock(greeting: Greeting) -> Finding:
    """Judge this machine's clock against Okta's.

    Args:
        greeting: What came of the first request.
    """
    offset = greeting.offset
    if offset is None:
        why = "it has no date" if greeting.error is None else reason(greeting.error)
        return skipped(CLOCK, f"no answer that tells Okta's time: {why}")
    side = "behind" if offset > 0 else "ahead of"
    detail = f"this machine is {abs(offset):.1f} s {side} Okta, give or take {greeting.margin:.1f}"
    remedy = "set it, and keep it set, by NTP"
    if abs(offset) > _UNTENABLE_OFFSET:
        why = "; Okta and APIs refuse signed assertions and proofs that are not of now"
        return failed(CLOCK, f"{detail}{why}", remedy)
    if abs(offset) > _TOLERABLE_OFFSET:
        return warned(CLOCK, detail, remedy)
    return passed(CLOCK, detail)


def reason(error: BaseException) -> str:
    """Return why there was nobody, in as few words as there are.

    Args:
        error: Of a socket, of TLS, or of HTTP; one that holds no credential.
    """
    error = getattr(error, "os_error", error)
    if isinstance(error, TimeoutError):
        return "time ran out"
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "reason", None) or type(error).__name__
        return str(why).replace("_", " ").lower()
    if isinstance(error, OSError):
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        if not isinstance(error, aiohttp.ClientError):
            return error.strerror or str(error)
    return type(error).__name__  # its text may hold a URL, and that a password


def _failed_handshake(route: Route, error: BaseException) -> Finding:
    host = urlsplit(route.origin).netloc
    between = "check the domain, and what stands between here and Okta"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        why = str(getattr(cause, "verify_message", cause)).rstrip(".")
        return failed(TLS, f"the certificate of {host} is not trusted: {why}", _remedy_for(why))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return failed(
            TLS,
            f"the proxy refused the connection to {host} ({error.status})",
            "have it let this host through, or put the right credentials into HTTPS_PROXY",
        )
    if isinstance(error, TimeoutError):
        return failed(TLS, f"the handshake with {host} does not come to an end", between)
    return failed(TLS, f"the handshake with {host} failed: {reason(error)}", between)


def _remedy_for(why: str) -> str:
    if "expired" in why or "not yet valid" in why:
        return "if this machine's date is right, whoever runs the domain must renew it"
    if "mismatch" in why:
        return "check the domain: who answers there has a certificate for another name"
    return (
        "check the domain; if a proxy inspects TLS, or the authority is your own, name its "
        "certificate in SSL_CERT_FILE"
    )


def _issuer(certificate: Mapping[str, Any]) -> str:
    names = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    return names.get("organizationName") or names.get("commonName") or "somebody without a name"
