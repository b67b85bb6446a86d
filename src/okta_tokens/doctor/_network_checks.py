"""Check whether Okta can be reached: each check is a function from facts to a result."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from okta_tokens._endpoint.environment_proxy import environment_proxy
from okta_tokens._endpoint.transport_error import certificate_advice
from okta_tokens._model.advice import MIDDLEBOXES
from okta_tokens._model.urls import leaves_in_clear_text
from okta_tokens.doctor._diagnosis import Result, failed, passed, skipped, warned
from okta_tokens.errors import ConfigurationError

DNS = "dns"
TCP = "tcp"
TLS = "tls"
CLOCK = "clock"

_DAY = 86_400.0  # seconds
_MIN_DAYS_LEFT = 14.0
_MAX_GOOD_OFFSET = 2.0  # seconds; `Date` has whole seconds
_MAX_USABLE_OFFSET = 60.0
_SHOWN_ADDRESSES = 4
_TLS_ERRORS = (aiohttp.ClientSSLError, aiohttp.ClientHttpProxyError)


@dataclass(frozen=True, slots=True)
class Route:
    """The host to connect to: Okta itself or a proxy.

    Args:
        origin: The Okta domain, with its scheme.
        host: The host to connect to; empty if the proxy cannot be used.
        port: The port to connect to.
        proxy: The proxy's URL, which may hold a password; None without a proxy.
        problem: Why the proxy cannot be used; None if it can be, or if there is no proxy.
        given: Whether a given session decides how to connect.
    """

    origin: str
    host: str
    port: int
    proxy: str | None = None
    problem: str | None = None
    given: bool = False

    @property
    def secure(self) -> bool:
        """Whether the connection uses TLS."""
        return self.origin.startswith("https:")

    @property
    def place(self) -> str:
        """Host and port as shown to a person."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{'' if self.proxy is None else ', the proxy'}"

    @property
    def remedy(self) -> str:
        """What to do if the host cannot be reached."""
        if self.proxy is not None:
            return "check HTTPS_PROXY; list hosts that need no proxy in NO_PROXY"
        return (
            "check the domain, the network and the firewall; set HTTPS_PROXY if a proxy is needed"
        )


def route_to(
    origin: str,
    proxies: Callable[[], dict[str, str]] = getproxies,
    bypass: Callable[[str], object] = proxy_bypass,
) -> Route:
    """Return the route to a domain, as the provider's own session takes it.

    Args:
        origin: The domain, with its scheme.
        proxies: Returns the proxies of `HTTPS_PROXY` and its relatives, by scheme.
        bypass: Tells whether `NO_PROXY` names a host.
    """
    proxy = environment_proxy(origin, proxies, bypass)
    if isinstance(proxy, ConfigurationError):
        return Route(origin, "", 0, problem=str(proxy))
    url = urlsplit(origin if proxy is None else proxy)
    port = url.port or (443 if url.scheme == "https" else 80)
    return Route(origin, url.hostname or "", port, proxy)


def route_of_session(origin: str) -> Route:
    """Return the route to a domain by a given session, which may go through a proxy.

    Args:
        origin: The domain, with its scheme.
    """
    return Route(origin, "", 0, given=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """A successful TLS handshake.

    Args:
        at: When it ended, in seconds since the epoch.
        version: The version of TLS.
        certificate: The server's certificate, as `ssl.SSLSocket.getpeercert` returns it.
    """

    at: float
    version: str
    certificate: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstContact:
    """The facts of the first request, which holds no credential.

    Args:
        error: Why there was no response; None if there was one.
        handshake: The TLS handshake; None if it failed, or if the connection has no TLS.
        offset: Seconds by which the server's clock is ahead of this machine's; None if unknown.
        margin: Seconds by which the offset may be wrong.
    """

    error: BaseException | None = None
    handshake: Handshake | None = None
    offset: float | None = None
    margin: float = 0.0


def check_connection(route: Route, contact: FirstContact) -> Result:
    """Check that a given session, which connects in its own way, gets a connection to Okta.

    Args:
        route: The route to Okta.
        contact: The facts of the first request.
    """
    error = contact.error
    if not isinstance(error, aiohttp.ClientConnectorError | TimeoutError) or isinstance(
        error, aiohttp.ClientSSLError
    ):
        return passed(TCP, "the given session connects in its own way")
    detail = f"the given session has no connection to {route.origin}: {reason(error)}"
    return failed(TCP, detail, "check the domain, the network, and the session's connector")


def check_dns(route: Route, found: Sequence[str] | BaseException) -> Result:
    """Check that the host has an address.

    Args:
        route: The route to Okta.
        found: The addresses of the route's host, or the error of the look-up.
    """
    if route.problem is not None:
        problem, _, remedy = route.problem.partition("; ")
        return failed(DNS, problem, remedy)
    if isinstance(found, BaseException):
        remedy = f"{route.remedy}; check this machine's name server"
        return failed(DNS, f"{route.host} has no address: {reason(found)}", remedy)
    if [*found] == [route.host]:
        return passed(DNS, f"{route.host} is an address, which needs no look-up")
    more = "" if len(found) <= _SHOWN_ADDRESSES else f" and {len(found) - _SHOWN_ADDRESSES} more"
    return passed(DNS, f"{route.host} is {', '.join(found[:_SHOWN_ADDRESSES])}{more}")


def check_tcp(route: Route, duration: float | BaseException) -> Result:
    """Check that the host accepts connections.

    Args:
        route: The route to Okta.
        duration: How many seconds the connection took, or why there is none.
    """
    if isinstance(duration, BaseException):
        return failed(TCP, f"no connection to {route.place}: {reason(duration)}", route.remedy)
    return passed(TCP, f"connected to {route.place} in {1000 * duration:.0f} ms")


def check_tls(route: Route, contact: FirstContact) -> Result:
    """Check the TLS handshake, and how long the certificate is still valid.

    Args:
        route: The route to Okta.
        contact: The facts of the first request.
    """
    handshake = contact.handshake
    if not route.secure:
        allowed = (
            "allow_http=True allows"
            if leaves_in_clear_text(route.origin)
            else "is allowed for this machine only"
        )
        return skipped(TLS, f"plain http, which {allowed}")
    if handshake is None and route.given and not isinstance(contact.error, _TLS_ERRORS):
        return skipped(TLS, "not known: the given session does not show its certificate")
    if handshake is None:
        assert contact.error is not None  # noqa: S101 - narrows the type
        return _failed_handshake(route, contact.error)
    certificate = handshake.certificate
    begin, end = (ssl.cert_time_to_seconds(certificate[name]) for name in ("notBefore", "notAfter"))
    days = (end - handshake.at) / _DAY
    detail = (
        f"{handshake.version}; the certificate was issued by {_issuer(certificate)}, "
        f"and is valid for {days:.0f} more day{'' if round(days) == 1 else 's'}"
    )
    # A certificate with a life of a few days is renewed in the last quarter of its life.
    if days < min(_MIN_DAYS_LEFT, (end - begin) / _DAY / 4):
        return warned(TLS, detail, "ask the domain's owner to renew the certificate in time")
    return passed(TLS, detail)


def check_clock(contact: FirstContact) -> Result:
    """Compare this machine's clock with Okta's.

    Args:
        contact: The facts of the first request.
    """
    offset = contact.offset
    if offset is None:
        why = "it has no Date header" if contact.error is None else reason(contact.error)
        return skipped(CLOCK, f"no response that holds Okta's time: {why}")
    side = "behind" if offset > 0 else "ahead of"
    detail = (
        f"this machine is {abs(offset):.1f} s {side} Okta (margin of error: {contact.margin:.1f} s)"
    )
    remedy = "set this machine's clock by NTP, and keep NTP running"
    if abs(offset) > _MAX_USABLE_OFFSET:
        why = "; Okta and APIs refuse assertions and proofs that are signed with a wrong time"
        return failed(CLOCK, f"{detail}{why}", remedy)
    if abs(offset) > _MAX_GOOD_OFFSET:
        return warned(CLOCK, detail, remedy)
    return passed(CLOCK, detail)


def reason(error: BaseException) -> str:
    """Return a short reason for a network error, without the text of errors that may hold a URL.

    Args:
        error: An error of a socket, of TLS or of HTTP.
    """
    error = getattr(error, "os_error", error)
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "reason", None) or type(error).__name__
        return str(why).replace("_", " ").lower()
    if isinstance(error, OSError):
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        if not isinstance(error, aiohttp.ClientError):
            return error.strerror or str(error)
    return type(error).__name__  # its text may hold a URL with a password


def _failed_handshake(route: Route, error: BaseException) -> Result:
    host = urlsplit(route.origin).netloc
    remedy = f"check the domain, and {MIDDLEBOXES}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        why = str(getattr(cause, "verify_message", cause)).rstrip(".")
        remedy = certificate_advice(getattr(cause, "verify_code", 0))
        return failed(TLS, f"the certificate of {host} is not trusted: {why}", remedy)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return failed(
            TLS,
            f"the proxy refused the connection to {host} ({error.status})",
            "allow this host in the proxy, or put the right credentials into HTTPS_PROXY",
        )
    if isinstance(error, TimeoutError):
        return failed(TLS, f"the TLS handshake with {host} timed out", remedy)
    return failed(TLS, f"the TLS handshake with {host} failed: {reason(error)}", remedy)


def _issuer(certificate: Mapping[str, Any]) -> str:
    names = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    return names.get("organizationName") or names.get("commonName") or "an authority without a name"
