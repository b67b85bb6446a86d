"""What TLS refuses, and that nobody is shown a secret before it has proved who they are."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
import trustme

from okta_tokens.errors import FetchError, InvalidResponseError, TransportError
from okta_tokens.events import RenewalFailed, TokenRequested
from tests.network.modes import (
    and_hang_up,
    as_of_old,
    cut,
    drop,
    in_plain,
    in_single_bytes,
    reset,
    saying,
    silence,
    silence_after,
    spoilt,
)
from tests.network.proxy import LOOPBACK, Mode, honest
from tests.network.support import LIFETIME, Scene, failed_fetch, failure, scene
from tests.support import at_once, until

NAMES = ("localhost", LOOPBACK)
DAY = timedelta(days=1)
NOW = datetime.now(UTC)

NOT_TRUSTED = "the certificate of {origin} is not trusted: {reason}; check the domain, this machine"
UNKNOWN = "unable to get local issuer certificate"


@cache
def authority(name: str = "ours") -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA(organization_name=name)


@cache
def trusting() -> ssl.SSLContext:
    """Return what trusts the machine's authorities and ours."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def shows(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return what a server shows a certificate with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@cache
def right() -> ssl.SSLContext:
    """Return what a server shows the right certificate with."""
    return shows(authority().issue_cert(*NAMES))


WRONG: dict[str, tuple[Callable[[], trustme.LeafCert], str]] = {
    "of an unknown authority": (lambda: authority("other").issue_cert(*NAMES), UNKNOWN),
    "expired": (
        lambda: authority().issue_cert(*NAMES, not_before=NOW - 2 * DAY, not_after=NOW - DAY),
        "certificate has expired",
    ),
    "not yet valid": (
        lambda: authority().issue_cert(*NAMES, not_before=NOW + DAY, not_after=NOW + 2 * DAY),
        "certificate is not yet valid",
    ),
    "of another host": (
        lambda: authority().issue_cert("acme.okta.com"),
        "{kind} mismatch, certificate is not valid for '{host}'",
    ),
}


def assert_nothing_was_said(here: Scene) -> None:
    """Fail if a request, or a part of one, was sent, encrypted or not."""
    assert here.proxy.accepted
    assert not here.proxy.answers
    assert b"POST" not in here.proxy.received
    assert b"HTTP" not in here.proxy.received
    here.assert_silent(here.proxy.received.decode("latin-1"))
    assert not here.proxy.heard or here.proxy.heard == here.proxy.received


# Certificates


@pytest.mark.parametrize("host", NAMES)
@pytest.mark.parametrize(("certificate", "reason"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_certificate_is_shown_no_secret(
    certificate: Callable[[], trustme.LeafCert], reason: str, host: str
) -> None:
    """The one attempt ends with the handshake, and says why; the right one is taken afterwards."""
    tls = shows(certificate())
    async with scene(tls=tls, trusted=trusting(), given=True, host=host) as here:
        error = await failed_fetch(here, attempts=1)
        assert_nothing_was_said(here)
        assert not here.proxy.heard
        here.proxy.tls = right()
        await here.clock.advance(2)
        token = await here.source().get_token()

        kind = "Hostname" if host == "localhost" else "IP address"
        why = reason.format(kind=kind, host=host)
        assert isinstance(error, TransportError)
        assert str(error).startswith(NOT_TRUSTED.format(origin=here.client.origin, reason=why))
        assert not error.retryable
        assert error.attempts == 1
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
        assert token.scopes == {"a"}


async def test_our_own_session_trusts_no_stranger() -> None:
    """Without a session of the user's the authorities are the machine's, and no others."""
    async with scene(tls=right()) as here:
        error = await failed_fetch(here, attempts=1)
        assert_nothing_was_said(here)

        assert str(error).startswith(NOT_TRUSTED.format(origin=here.client.origin, reason=UNKNOWN))
        assert not error.retryable


async def test_a_token_outlasts_the_certificate() -> None:
    """What is held is handed out; renewal waits until somebody asks, and then goes on by itself."""
    async with scene(tls=right(), trusted=trusting(), given=True) as here:
        source = here.source()
        held = await source.get_token()
        await here.proxy.break_off()
        here.proxy.tls = shows(WRONG["expired"][0]())
        here.clock.boot += LIFETIME - 300
        here.clock.wall += LIFETIME - 300
        assert at_once(source.get_token()) is held
        await failure(here, 1)
        await until(lambda: bool(here.seen(RenewalFailed)))
        await here.advance(60)
        assert len(here.seen(TokenRequested)) == 2
        here.proxy.tls = right()
        assert at_once(source.get_token()) is held
        await here.quiet()

        assert at_once(source.get_token()) is not held


@pytest.mark.parametrize(
    "mode",
    [honest, in_single_bytes, as_of_old, and_hang_up],
    ids=lambda mode: mode.__name__,
)
@pytest.mark.parametrize("host", NAMES)
async def test_the_right_certificate_is_good(mode: Mode, host: str) -> None:
    """With it an answer that is all there is taken, also if the end of TLS is not told."""
    async with scene(tls=right(), trusted=trusting(), given=True, host=host) as here:
        await here.proxy.befall(mode)
        tokens = [await here.source(scopes).get_token() for scopes in ("a", "b")]

        assert [token.scopes for token in tokens] == [{"a"}, {"b"}]
        assert here.sandbox.token_requests == 2
        assert b"POST" not in here.proxy.received


# Handshakes


@pytest.mark.parametrize("given", [False, True], ids=["own session", "given session"])
@pytest.mark.parametrize(
    ("mode", "says"),
    [
        (in_plain, "TLS with {origin} failed; check the domain, and what stands between"),
        (drop, "no connection to {origin}; check the network"),
        (reset, "no connection to {origin}; check the network"),
        (silence, "no answer from {origin} within "),
    ],
    ids=["plain HTTP", "closed", "reset", "silence"],
)
async def test_a_handshake_that_fails_is_tried_again(mode: Mode, says: str, *, given: bool) -> None:
    """Whoever speaks no TLS is shown no secret; all attempts are made, since it may pass."""
    trusted = trusting() if given else None
    async with scene(tls=right(), trusted=trusted, given=given) as here:
        await here.proxy.befall(mode, at_once=True)
        error = await failed_fetch(here, hangs=mode is silence)
        assert_nothing_was_said(here)

        assert isinstance(error, TransportError)
        assert str(error).startswith(says.format(origin=here.client.origin))
        assert error.retryable


async def test_closing_waits_for_no_handshake() -> None:
    """A provider that is closed within a handshake leaves no connection and no task."""
    async with scene(tls=right(), trusted=trusting(), given=True) as here:
        await here.proxy.befall(silence, at_once=True)
        caller = asyncio.create_task(here.source().get_token())
        await until(lambda: here.hanging >= 1)
        await here.provider.aclose()

        assert isinstance((await asyncio.gather(caller, return_exceptions=True))[0], Exception)


async def test_a_tls_port_that_is_asked_in_plain_breaks_off() -> None:
    """Plain http to a port that wants TLS is a broken connection, and not a bad answer."""
    async with scene(tls=right(), secure=False) as here:
        error = await failed_fetch(here)

        assert isinstance(error, TransportError)
        assert "broke before there was an answer; check" in str(error)
        assert error.retryable


# After the handshake


@pytest.mark.parametrize(
    ("mode", "kind", "says"),
    [
        (drop, TransportError, "broke before there was an answer; check"),
        (cut("head"), TransportError, "broke before there was an answer; check"),
        (cut("body"), TransportError, "is incomplete or garbled; check"),
        (spoilt, TransportError, "broke before there was an answer; check"),
        (silence_after(0.9), TransportError, "no answer from"),
        (
            saying(b"HTTP/1.0 200 OK\r\n\r\n", b'{"access_token": "x", "expires_in": 3600'),
            InvalidResponseError,
            "is not Okta's JSON; check",
        ),
    ],
    ids=["closed", "within the head", "within the body", "spoilt", "silence", "of old"],
)
async def test_an_answer_that_was_cut_is_no_answer(
    mode: Mode, kind: type[FetchError], says: str
) -> None:
    """Where TLS ends without notice, or is tampered with, nothing of the answer is taken."""
    async with scene(tls=right(), trusted=trusting(), given=True) as here:
        await here.proxy.befall(mode)
        error = await failed_fetch(here, hangs="no answer" in says)
        await here.proxy.mend()
        await here.clock.advance(2)
        token = await here.source().get_token()

        assert isinstance(error, kind)
        assert says in str(error)
        assert error.retryable
        assert token.scopes == {"a"}
