"""Errors without a response: what each one says to check, and whether it is retried."""

import asyncio
import errno
import socket
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.http_exceptions import LineTooLong

from okta_tokens import ClientSecretBasic, OktaClient, RetryPolicy, TokenProvider
from okta_tokens._endpoint.transport_error import certificate_advice, transport_error
from okta_tokens.errors import FetchError, TransportError
from tests.support import CLIENT_ID, SECRET

TOKEN = b'{"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600}'
UNKNOWN_AUTHORITY = 20


ORIGIN = "https://acme.okta.com"
MIDDLEBOXES = "the proxies and gateways between this machine and Okta"
PLACE = cast("Any", SimpleNamespace(host="acme.okta.com", port=443, ssl=True, is_ssl=True))
REQUEST = cast("Any", SimpleNamespace(real_url=ORIGIN))
REFUSED = OSError(errno.ECONNREFUSED, "refused")


def too_long() -> aiohttp.ClientResponseError:
    """Return the error for a header that is too long, with aiohttp's chain of causes."""
    error = aiohttp.ClientResponseError(REQUEST, ())
    error.__cause__ = ValueError()
    error.__cause__.__context__ = LineTooLong("X-Route", "65536")
    return error


def refused_certificate() -> aiohttp.ClientConnectorCertificateError:
    """Return the error for a certificate that is for another host."""
    cause = ssl.SSLCertVerificationError(1, "x")
    cause.verify_message, cause.verify_code = "Hostname mismatch.", 62
    return aiohttp.ClientConnectorCertificateError(PLACE, cause)


def certificate_without_details() -> aiohttp.ClientConnectorCertificateError:
    """Return the error for a certificate that was refused without the fields of OpenSSL."""
    return aiohttp.ClientConnectorCertificateError(PLACE, ValueError("the name has an X."))


def plain_text() -> ssl.SSLError:
    """Return the error for a server that does not speak TLS."""
    error = ssl.SSLError(1, "x")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


async def attempt(origin: str, session: aiohttp.ClientSession | None = None) -> FetchError | None:
    """Return the error of a fetch with one attempt; None if there is a token."""
    async with TokenProvider(session=session, retry=RetryPolicy(attempts=1)) as provider:
        try:
            await provider.get_token(OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET)), "a")
        except FetchError as error:
            return error
    return None


async def serve_once(response: bytes) -> tuple[asyncio.Server, int]:
    """Start a server that sends the same bytes to each request; return it and its port."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("error", "message", "final"),
    [
        (
            refused_certificate(),
            (
                f"the certificate of {ORIGIN} is not trusted: Hostname mismatch; check the domain: "
                "the server there has a certificate for another name "
                "(ClientConnectorCertificateError)"
            ),
            True,
        ),
        (
            certificate_without_details(),
            (
                f"the certificate of {ORIGIN} is not trusted: the name has an X; check the domain, "
                "and the authorities that this machine trusts (ClientConnectorCertificateError)"
            ),
            True,
        ),
        (
            aiohttp.ServerFingerprintMismatch(b"a", b"b", "acme.okta.com", 443),
            (
                f"the certificate of {ORIGIN} is not trusted: the session expects another one; "
                "check the domain, and the session's fingerprint (ServerFingerprintMismatch)"
            ),
            True,
        ),
        (
            aiohttp.ClientConnectorSSLError(PLACE, ssl.SSLError(1, "x")),
            (
                f"TLS with {ORIGIN} failed; check the domain, and {MIDDLEBOXES} "
                "(ClientConnectorSSLError: no reason given)"
            ),
            False,
        ),
        (
            aiohttp.ClientConnectorSSLError(PLACE, REFUSED),
            (
                f"TLS with {ORIGIN} failed; check the domain, and {MIDDLEBOXES} "
                "(ClientConnectorSSLError: no reason given)"
            ),
            False,
        ),
        (
            aiohttp.ClientConnectorError(PLACE, plain_text()),
            (
                f"TLS with {ORIGIN} failed; check the domain, and {MIDDLEBOXES} "
                "(ClientConnectorError: WRONG_VERSION_NUMBER)"
            ),
            False,
        ),
        (
            aiohttp.ClientConnectorError(PLACE, REFUSED),
            (
                f"no connection to {ORIGIN}; check the network, the proxy and the firewall "
                "(ClientConnectorError)"
            ),
            False,
        ),
        (
            aiohttp.ClientConnectorError(PLACE, OSError(errno.ENFILE, "too many")),
            (
                "this process has no file descriptor left for a connection; check which files and "
                "sockets it keeps open, or raise the limit (ulimit -n) (ClientConnectorError)"
            ),
            False,
        ),
        (
            aiohttp.ClientConnectorDNSError(PLACE, OSError(None, "no")),
            (
                f"{ORIGIN} has no address; check the domain and the name server "
                "(ClientConnectorDNSError)"
            ),
            False,
        ),
        (
            aiohttp.ClientProxyConnectionError(PLACE, REFUSED),
            (
                f"no connection to the proxy for {ORIGIN}; check HTTPS_PROXY or the session's "
                "proxy, and the network (ClientProxyConnectionError)"
            ),
            False,
        ),
        (
            aiohttp.ClientHttpProxyError(REQUEST, (), status=407),
            (
                "the proxy refused the connection (407); check address, user name and password of "
                f"HTTPS_PROXY or the session's proxy, and that it lets requests to {ORIGIN} "
                "through (ClientHttpProxyError)"
            ),
            True,
        ),
        (
            too_long(),
            (
                f"a header of the response of {ORIGIN} is longer than 64 KiB; check {MIDDLEBOXES} "
                "(ClientResponseError)"
            ),
            True,
        ),
        (
            aiohttp.ClientResponseError(REQUEST, ()),
            (
                f"the response of {ORIGIN} is not valid HTTP; check the domain, and {MIDDLEBOXES} "
                "(ClientResponseError)"
            ),
            False,
        ),
        (
            aiohttp.ClientPayloadError(),
            (
                f"the response of {ORIGIN} is incomplete or garbled; check {MIDDLEBOXES} "
                "(ClientPayloadError)"
            ),
            False,
        ),
        (
            ConnectionResetError(),
            (
                f"the connection to {ORIGIN} broke before a response arrived; check {MIDDLEBOXES} "
                "(ConnectionResetError)"
            ),
            False,
        ),
    ],
    ids=[
        "certificate",
        "certificate without details",
        "fingerprint",
        "TLS",
        "TLS without a reason",
        "TLS with a reason",
        "refused",
        "descriptors",
        "name",
        "proxy",
        "proxy refuses",
        "long header",
        "HTTP",
        "body",
        "reset",
    ],
)
def test_each_failure_says_what_to_check(error: Exception, message: str, *, final: bool) -> None:
    """The error names what failed and what to check, and is retried unless it would fail again."""
    failure = transport_error(error, ORIGIN)

    assert failure.args == (message,)
    assert failure.retryable is not final


def test_the_cause_is_that_of_the_operating_system_without_secrets() -> None:
    """The error's cause is what the operating system says, and no text has a secret."""
    reset = transport_error(ConnectionResetError("by the peer"), ORIGIN).__cause__
    assert isinstance(reset, ConnectionResetError)
    for secret in (SECRET, "open sesame"):
        reset = transport_error(ConnectionResetError(f"by {secret}"), ORIGIN, [secret]).__cause__
        assert "ConnectionResetError" in str(reset)
        assert secret not in str(reset)
    assert transport_error(asyncio.IncompleteReadError(b"", 1), ORIGIN).__cause__ is None

    refused = refused_certificate()
    cause = cast("Any", refused.certificate_error)
    cause.verify_message = f"not for {SECRET}"
    assert SECRET not in str(transport_error(refused, ORIGIN, [SECRET]))


@pytest.mark.parametrize("own_session", [True, False])
@pytest.mark.parametrize("line", [b"OK\r\nX-Route: %s", b"%s"], ids=["header", "status line"])
@pytest.mark.parametrize(("length", "fits"), [(60_000, True), (70_000, False)])
async def test_a_header_may_have_64_kib(
    *, line: bytes, length: int, fits: bool, own_session: bool
) -> None:
    """A longer header, or status line, is named and is not retried, whichever session is used."""
    head = b"HTTP/1.1 200 " + line + b"\r\nContent-Length: %d\r\n\r\n"
    server, port = await serve_once(head % (b"x" * length, len(TOKEN)) + TOKEN)
    async with server, aiohttp.ClientSession() as session:
        error = await attempt(f"http://127.0.0.1:{port}", None if own_session else session)

    if fits:
        assert error is None
    else:
        assert isinstance(error, TransportError)
        assert "a header of the response" in str(error)
        assert "longer than 64 KiB; check the proxies" in str(error)
        assert not error.retryable


@pytest.mark.parametrize(
    ("status", "retryable"), [(407, False), (403, False), (429, True), (500, True)]
)
async def test_a_proxy_that_refuses_is_asked_again_only_if_that_may_help(
    status: int, *, retryable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong credentials and a forbidden domain stay so; a proxy that is busy may recover."""
    server, port = await serve_once(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
    monkeypatch.delenv("no_proxy", raising=False)
    async with server:
        error = await attempt("https://acme.okta.com")

    assert isinstance(error, TransportError)
    assert f"the proxy refused the connection ({status}); check" in str(error)
    assert error.retryable == retryable


async def test_a_proxy_that_cannot_be_reached_is_named(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no connection to the proxy is possible, the error does not blame the domain."""
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    error = await attempt("https://acme.okta.com")

    assert str(error).startswith(
        "no connection to the proxy for https://acme.okta.com; check HTTPS"
    )


async def test_a_process_without_file_descriptors_is_named() -> None:
    """If the process can open no socket, the error says so and names the limit."""

    def no_socket(_address: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    connector = aiohttp.TCPConnector(socket_factory=no_socket)
    async with aiohttp.ClientSession(connector=connector) as session:
        error = await attempt("https://127.0.0.1:9", session)

    assert isinstance(error, TransportError)
    assert "no file descriptor left" in str(error)
    assert "ulimit -n" in str(error)
    assert error.retryable


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (9, "clock, which may be behind"),
        (10, "the server needs a new certificate"),
        (18, "if a proxy inspects TLS"),
        (UNKNOWN_AUTHORITY, "session= whose SSL context trusts the authority"),
        (62, "a certificate for another name"),
        (64, "a certificate for another name"),
        (66, "a longer key"),
        (85, "ssl.VERIFY_X509_STRICT"),
        (23, "the authorities that this machine trusts"),
    ],
)
def test_the_reason_decides_the_advice(code: int, advice: str) -> None:
    """Each of OpenSSL's reasons has its own advice."""
    assert certificate_advice(code).startswith("check ")
    assert advice in certificate_advice(code)


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({}, "set SSL_CERT_FILE (SSL_CERT_DIR) to a file (a directory) with its certificate"),
        ({"SSL_CERT_FILE": "missing.pem"}, "correct SSL_CERT_FILE, which names no file"),
        (
            {"SSL_CERT_FILE": "roots.pem"},
            "add the authority's certificate to the file that SSL_CERT_FILE names",
        ),
        (
            {"REQUESTS_CA_BUNDLE": "roots.pem"},
            (
                "set SSL_CERT_FILE to the file that REQUESTS_CA_BUNDLE names, which Python does "
                "not read"
            ),
        ),
        (
            {"CURL_CA_BUNDLE": "roots.pem"},
            "set SSL_CERT_FILE to the file that CURL_CA_BUNDLE names, which Python does not read",
        ),
    ],
)
def test_the_variables_for_authorities_decide_the_advice(
    variables: dict[str, str], advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The advice names the variable that Python reads, and notices those of other programs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roots.pem").touch()
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert certificate_advice(UNKNOWN_AUTHORITY) == (
        f"check the domain; if a proxy inspects TLS, or the authority is your own, {advice}, or "
        "give the provider a session= whose SSL context trusts the authority"
    )
