"""TLS: which certificates are refused, and that no secret is sent before the handshake succeeds."""

import asyncio
import ssl
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from okta_tokens._endpoint.transport_error import certificate_advice
from okta_tokens.errors import (
    FetchError,
    InvalidResponseError,
    ProviderStateError,
    TransportError,
)
from okta_tokens.events import RenewalFailed, TokenRequested
from tests.network.modes import (
    byte_by_byte,
    cut,
    drop,
    forged_record,
    http_1_0,
    plain_http,
    reset,
    respond,
    silence,
    silence_after,
    then_close,
)
from tests.network.proxy import LOOPBACK, Mode, pass_through
from tests.network.support import (
    LIFETIME,
    NetworkWorld,
    failed_fetch,
    network_world,
    wait_for_failure,
)
from tests.support import at_once, until

HOSTS = ("localhost", LOOPBACK)
DAY = timedelta(days=1)
NOW = datetime.now(UTC)

NOT_TRUSTED = "the certificate of {origin} is not trusted: {reason}; {advice}"
UNKNOWN_ISSUER = 20
ANOTHER_HOST = 62
ANOTHER_ADDRESS = 64


@cache
def authority(name: str = "ours") -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA(organization_name=name)


@cache
def trusting_context() -> ssl.SSLContext:
    """Return a client's context that trusts the machine's authorities and the test's."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return a server's context with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@cache
def valid_context() -> ssl.SSLContext:
    """Return a server's context with a valid certificate."""
    return server_context(authority().issue_cert(*HOSTS))


def certificate(
    common_name: str,
    *names: x509.GeneralName,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    self_signed: bool = False,
    names_issuer: bool = True,
) -> trustme.LeafCert:
    """Return a certificate that trustme would not issue, signed by the test's authority.

    Args:
        common_name: The name of the subject.
        *names: The alternative names of the subject.
        usage: What the key may be used for.
        self_signed: Sign it with its own key instead.
        names_issuer: Whether it has an Authority Key Identifier, as RFC 5280 wants.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority().cert_pem.bytes())
    signing_key = load_pem_private_key(authority().private_key_pem.bytes(), None)
    assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if self_signed else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if names_issuer:
        signer = (key if self_signed else signing_key).public_key()
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer)
        builder = builder.add_extension(identifier, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key if self_signed else signing_key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return trustme.LeafCert(pem, signed.public_bytes(Encoding.PEM), [])


INVALID: dict[str, tuple[Callable[[], trustme.LeafCert], int]] = {
    "unknown authority": (lambda: authority("other").issue_cert(*HOSTS), UNKNOWN_ISSUER),
    "expired": (
        lambda: authority().issue_cert(*HOSTS, not_before=NOW - 2 * DAY, not_after=NOW - DAY),
        10,
    ),
    "not yet valid": (
        lambda: authority().issue_cert(*HOSTS, not_before=NOW + DAY, not_after=NOW + 2 * DAY),
        9,
    ),
    "another host": (
        lambda: authority().issue_cert("acme.okta.com"),
        ANOTHER_HOST,
    ),
    "another address": (
        lambda: authority().issue_cert("acme.okta.com"),
        ANOTHER_ADDRESS,
    ),
    "a neighbour of the address": (lambda: authority().issue_cert("127.0.0.2"), ANOTHER_ADDRESS),
    "the address as a name": (
        lambda: certificate(LOOPBACK, x509.DNSName(LOOPBACK)),
        ANOTHER_ADDRESS,
    ),
    "the address only as the subject": (lambda: certificate(LOOPBACK), ANOTHER_ADDRESS),
    "a longer name": (lambda: authority().issue_cert("localhost.example.com"), ANOTHER_HOST),
    "a name below the host": (lambda: authority().issue_cert("okta.localhost"), ANOTHER_HOST),
    "a wildcard for every host": (lambda: certificate("*", x509.DNSName("*")), ANOTHER_HOST),
    "a wildcard below the host": (lambda: authority().issue_cert("*.localhost"), ANOTHER_HOST),
    "a part of the name as a wildcard": (
        lambda: certificate("x", x509.DNSName("local*")),
        ANOTHER_HOST,
    ),
    "self-signed": (
        lambda: certificate("localhost", x509.DNSName("localhost"), self_signed=True),
        18,
    ),
    "for clients only": (
        lambda: certificate(
            "localhost", x509.DNSName("localhost"), usage=ExtendedKeyUsageOID.CLIENT_AUTH
        ),
        26,
    ),
}
"""Invalid certificates with OpenSSL's codes. OpenSSL's words differ between its versions."""


def assert_no_request_was_sent(here: NetworkWorld) -> None:
    """Fail if a request, or a part of it, was sent, encrypted or not."""
    assert here.proxy.accepted
    assert not here.proxy.responses
    assert b"POST" not in here.proxy.received
    assert b"HTTP" not in here.proxy.received
    here.assert_no_secrets(here.proxy.received.decode("latin-1"))
    assert not here.proxy.decrypted or here.proxy.decrypted == here.proxy.received


def check_certificate_error(error: FetchError, code: int, here: NetworkWorld) -> None:
    """Fail unless an error says why a certificate is not trusted, in OpenSSL's words."""
    cause = error.__cause__
    assert isinstance(error, TransportError)
    assert isinstance(cause, ssl.SSLCertVerificationError)
    assert cause.verify_code == code
    reason = cause.verify_message.rstrip(".")
    assert len(reason) > 10
    message = NOT_TRUSTED.format(
        origin=here.client.origin, reason=reason, advice=certificate_advice(code)
    )
    assert str(error).startswith(message)
    assert not error.retryable
    assert error.attempts == 1


# Certificates


@pytest.mark.parametrize("name", INVALID)
async def test_a_server_with_an_invalid_certificate_gets_no_secret(name: str) -> None:
    """The only attempt ends with the handshake; a valid certificate is accepted afterwards."""
    certificate, code = INVALID[name]
    tls = server_context(certificate())
    host = LOOPBACK if code == ANOTHER_ADDRESS else "localhost"
    async with network_world(
        tls=tls, trusted=trusting_context(), own_session=False, host=host
    ) as here:
        error = await failed_fetch(here, attempts=1)
        assert_no_request_was_sent(here)
        assert not here.proxy.decrypted
        here.proxy.tls = valid_context()
        await here.clock.advance(2)
        token = await here.source().get_token()

        check_certificate_error(error, code, here)
        assert token.scopes == {"a"}


async def test_the_own_session_trusts_only_the_machines_authorities() -> None:
    """Without a given session, an authority that the machine does not know is not trusted."""
    async with network_world(tls=valid_context()) as here:
        error = await failed_fetch(here, attempts=1)
        assert_no_request_was_sent(here)

        check_certificate_error(error, UNKNOWN_ISSUER, here)


async def test_a_certificate_that_is_not_strictly_valid_is_named_as_such() -> None:
    """Where certificates are checked strictly, as since Python 3.13, the error names the flag."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    tls = server_context(certificate("x", x509.DNSName("localhost"), names_issuer=False))
    async with network_world(tls=tls, trusted=context, own_session=False, host="localhost") as here:
        error = await failed_fetch(here, attempts=1)

        assert "Missing Authority Key Identifier" in str(error)
        assert "ssl.VERIFY_X509_STRICT" in str(error)
        assert not error.retryable


async def test_a_held_token_outlasts_the_certificate() -> None:
    """Callers get the held token; after a certificate error only a call starts a renewal."""
    async with network_world(
        tls=valid_context(), trusted=trusting_context(), own_session=False
    ) as here:
        source = here.source()
        held = await source.get_token()
        await here.proxy.close_connections()
        here.proxy.tls = server_context(INVALID["expired"][0]())
        here.clock.boot += LIFETIME - 300
        here.clock.wall += LIFETIME - 300
        assert at_once(source.get_token()) is held
        await wait_for_failure(here, 1)
        await until(lambda: bool(here.seen(RenewalFailed)))
        await here.advance(60)
        assert len(here.seen(TokenRequested)) == 2
        here.proxy.tls = valid_context()
        assert at_once(source.get_token()) is held
        await here.quiet()

        assert at_once(source.get_token()) is not held


@pytest.mark.parametrize(
    ("mode", "host"),
    [
        (pass_through, "localhost"),
        (pass_through, LOOPBACK),
        (byte_by_byte, "localhost"),
        (http_1_0, "localhost"),
        (then_close, "localhost"),
    ],
    ids=["host name", "address", "byte by byte", "HTTP/1.0", "closed afterwards"],
)
async def test_a_valid_certificate_is_accepted(mode: Mode, host: str) -> None:
    """With a valid certificate a complete response is accepted, also without a close_notify."""
    async with network_world(
        tls=valid_context(), trusted=trusting_context(), own_session=False, host=host
    ) as here:
        await here.proxy.set_mode(mode)
        tokens = [await here.source(scopes).get_token() for scopes in ("a", "b")]

        assert [token.scopes for token in tokens] == [{"a"}, {"b"}]
        assert here.sandbox.token_requests == 2
        assert b"POST" not in here.proxy.received


# Handshakes


@pytest.mark.parametrize(
    ("mode", "message", "own_session"),
    [
        (plain_http, "TLS with {origin} failed; check the domain, and the proxies", False),
        (plain_http, "TLS with {origin} failed; check the domain, and the proxies", True),
        (drop, "no connection to {origin}; check the network", False),
        (reset, "no connection to {origin}; check the network", False),
        (silence, "no response from {origin} within ", False),
    ],
    ids=["plain HTTP", "plain HTTP, own session", "closed", "reset", "silence"],
)
async def test_a_failed_handshake_is_retried(
    mode: Mode, message: str, *, own_session: bool
) -> None:
    """If a handshake fails for another reason than the certificate, all attempts are made."""
    async with network_world(
        tls=valid_context(), trusted=trusting_context(), own_session=own_session
    ) as here:
        await here.proxy.set_mode(mode, on_accept=True)
        error = await failed_fetch(here, hangs=mode is silence)
        assert_no_request_was_sent(here)

        assert isinstance(error, TransportError)
        assert str(error).startswith(message.format(origin=here.client.origin))
        assert error.retryable


def weak_context(version: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    """Return a server's context with a valid certificate, and an old version or weak ciphers."""
    context = server_context(authority().issue_cert(*HOSTS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return context


def context_for_another_name() -> ssl.SSLContext:
    """Return a server's context that refuses the name for which the client asks."""
    context = server_context(authority().issue_cert(*HOSTS))
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    return context


HANDSHAKES: dict[str, Callable[[], ssl.SSLContext]] = {
    "TLS 1.0": lambda: weak_context(ssl.TLSVersion.TLSv1, "ALL"),
    "TLS 1.1": lambda: weak_context(ssl.TLSVersion.TLSv1_1, "ALL"),
    "no authentication": lambda: weak_context(ssl.TLSVersion.TLSv1_2, "aNULL"),
    "no encryption": lambda: weak_context(ssl.TLSVersion.TLSv1_2, "eNULL"),
    "another name": context_for_another_name,
}
"""Servers with a valid certificate, with which a client must not complete the handshake."""


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_server_with_weak_tls_gets_no_secret(name: str) -> None:
    """An old version of TLS, a weak cipher or a refused name ends the handshake."""
    async with network_world(
        tls=HANDSHAKES[name](), trusted=trusting_context(), own_session=False, host="localhost"
    ) as here:
        error = await failed_fetch(here)
        assert_no_request_was_sent(here)

        assert isinstance(error, TransportError)
        assert error.retryable
        assert str(error).startswith(f"TLS with {here.client.origin} failed; check the domain")


async def test_closing_does_not_wait_for_a_handshake() -> None:
    """A provider that is closed during a handshake leaves no connection and no task."""
    async with network_world(
        tls=valid_context(), trusted=trusting_context(), own_session=False
    ) as here:
        await here.proxy.set_mode(silence, on_accept=True)
        caller = asyncio.create_task(here.source().get_token())
        await until(lambda: here.hanging >= 1)
        await here.provider.aclose()

        with pytest.raises(ProviderStateError):
            await caller


async def test_plain_http_to_a_tls_port_is_a_broken_connection() -> None:
    """A request by http to a port that expects TLS fails as a broken connection."""
    async with network_world(tls=valid_context(), secure=False) as here:
        error = await failed_fetch(here)

        assert isinstance(error, TransportError)
        assert "broke before a response arrived; check" in str(error)
        assert error.retryable


# After the handshake


@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [
        (drop, TransportError, "broke before a response arrived; check"),
        (cut("head"), TransportError, "broke before a response arrived; check"),
        (cut("body"), TransportError, "is incomplete or garbled; check"),
        (forged_record, TransportError, "broke before a response arrived; check"),
        (silence_after(0.9), TransportError, "no response from"),
        (
            respond(b"HTTP/1.0 200 OK\r\n\r\n", b'{"access_token": "x", "expires_in": 3600'),
            InvalidResponseError,
            "is not Okta's JSON; check",
        ),
    ],
    ids=["closed", "inside the head", "inside the body", "forged record", "silence", "HTTP/1.0"],
)
async def test_an_incomplete_response_is_refused(
    mode: Mode, kind: type[FetchError], message: str
) -> None:
    """If TLS ends early, or a record is forged, no part of the response is used."""
    async with network_world(
        tls=valid_context(), trusted=trusting_context(), own_session=False
    ) as here:
        await here.proxy.set_mode(mode)
        error = await failed_fetch(here, hangs="no response" in message)
        await here.proxy.restore()
        await here.clock.advance(2)
        token = await here.source().get_token()

        assert isinstance(error, kind)
        assert message in str(error)
        assert error.retryable
        assert token.scopes == {"a"}
