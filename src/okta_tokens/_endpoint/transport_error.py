"""Why no response arrived, and what to check: connection, proxy, TLS, certificate, HTTP."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from okta_tokens._model.advice import MIDDLEBOXES
from okta_tokens._runtime.redaction import sanitize, scrub
from okta_tokens.errors import TransportError

_UNTRUSTED = (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch)
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
"""Refusals of a proxy after which the same request may succeed later, beside those from 500."""

_PROXY = "HTTPS_PROXY or the session's proxy"

_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
_NOT_STRICT = range(80, 95)
_ADVICE_BY_CODES = (
    ({9, 11}, "check this machine's clock, which may be behind"),
    ({10, 12}, "check this machine's clock; if it is right, the server needs a new certificate"),
    ({62, 64}, "check the domain: the server there has a certificate for another name"),
    ({66, 67, 68}, "check the domain: the certificate needs a longer key or a newer signature"),
    (
        _NOT_STRICT,
        (
            "check the certificate authority: since Python 3.13 its certificates must follow RFC "
            "5280 to the letter; have this one issued again, or give the provider a session= whose "
            "SSL context lacks ssl.VERIFY_X509_STRICT"
        ),
    ),
)
"""By OpenSSL's codes (`X509_V_ERR_…`), since its words differ between versions."""

_OTHER_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def transport_error(
    error: BaseException, origin: str, secrets: Iterable[str] = ()
) -> TransportError:
    """Return the error that says why no response arrived, and what to check.

    aiohttp's own errors hold the headers of the request. So their cause is chained instead, if
    they have one that holds no headers.

    Args:
        error: The error of aiohttp or of the operating system.
        origin: The domain with its scheme.
        secrets: The secrets of the request, which no text may repeat.
    """
    cause: BaseException | None = getattr(error, "os_error", None)
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        why = _why_not_trusted(cause, origin, secrets)
    elif isinstance(error, aiohttp.ServerFingerprintMismatch):
        why = (
            f"the certificate of {origin} is not trusted: the session expects another one; check "
            "the domain, and the session's fingerprint"
        )
    elif isinstance(error, aiohttp.ClientSSLError) or isinstance(cause, ssl.SSLError):
        why = f"TLS with {origin} failed; check the domain, and {MIDDLEBOXES}"
        kind = f"{kind}: {getattr(cause, 'reason', None) or 'no reason given'}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        why = _why_not_connected(error, origin)
    elif isinstance(error, aiohttp.ClientResponseError):
        why = _why_not_http(error, origin)
    elif isinstance(error, aiohttp.ClientPayloadError):
        why = f"the response of {origin} is incomplete or garbled; check {MIDDLEBOXES}"
    else:
        cause = error if isinstance(error, OSError) else None
        why = f"the connection to {origin} broke before a response arrived; check {MIDDLEBOXES}"
    failure = TransportError(f"{why} ({kind})", retryable=not _is_final(error))
    if cause is not None:
        failure.__cause__ = sanitize(cause, secrets)
    return failure


def certificate_advice(code: int) -> str:
    """Return what to do about a certificate that is not trusted.

    Args:
        code: OpenSSL's code, `ssl.SSLCertVerificationError.verify_code`.
    """
    if code in _UNKNOWN_AUTHORITY:
        return (
            f"check the domain; if a proxy inspects TLS, or the authority is your own, {_trust()}, "
            "or give the provider a session= whose SSL context trusts the authority"
        )
    advice = (text for codes, text in _ADVICE_BY_CODES if code in codes)
    return next(advice, "check the domain, and the authorities that this machine trusts")


def _why_not_trusted(error: Exception, origin: str, secrets: Iterable[str]) -> str:
    reason = scrub(str(getattr(error, "verify_message", error)), secrets).rstrip(".")
    advice = certificate_advice(getattr(error, "verify_code", 0))
    return f"the certificate of {origin} is not trusted: {reason}; {advice}"


def _trust() -> str:
    """Return how to make Python trust an authority, by what the environment says already."""
    path = os.environ.get("SSL_CERT_FILE")
    if path and not Path(path).is_file():
        return "correct SSL_CERT_FILE, which names no file"
    if path:
        return "add the authority's certificate to the file that SSL_CERT_FILE names"
    for name in _OTHER_VARIABLES:
        if os.environ.get(name):
            return f"set SSL_CERT_FILE to the file that {name} names, which Python does not read"
    return "set SSL_CERT_FILE (SSL_CERT_DIR) to a file (a directory) with its certificate"


def _why_not_connected(error: aiohttp.ClientConnectorError, origin: str) -> str:
    if error.errno in _NO_DESCRIPTORS:
        return (
            "this process has no file descriptor left for a connection; check which files and "
            "sockets it keeps open, or raise the limit (ulimit -n)"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"{origin} has no address; check the domain and the name server"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"no connection to the proxy for {origin}; check {_PROXY}, and the network"
    return f"no connection to {origin}; check the network, the proxy and the firewall"


def _why_not_http(error: aiohttp.ClientResponseError, origin: str) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return (
            f"the proxy refused the connection ({error.status}); check address, user name and "
            f"password of {_PROXY}, and that it lets requests to {origin} through"
        )
    if _is_too_long(error):
        return f"a header of the response of {origin} is longer than 64 KiB; check {MIDDLEBOXES}"
    return f"the response of {origin} is not valid HTTP; check the domain, and {MIDDLEBOXES}"


def _is_final(error: BaseException) -> bool:
    """Tell whether the same request will fail again."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status < HTTPStatus.INTERNAL_SERVER_ERROR and error.status not in _TRANSIENT
    return isinstance(error, _UNTRUSTED) or _is_too_long(error)


def _is_too_long(error: BaseException) -> bool:
    """Tell whether a header was too long: aiohttp chains its parser's error in several ways."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, LineTooLong):
        link = link.__cause__ or link.__context__
    return link is not None
