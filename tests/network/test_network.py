"""Network faults by kind: what callers get, how the provider recovers, and that nothing leaks."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from okta_tokens import ClientSecretBasic, OktaClient
from okta_tokens.errors import (
    FetchError,
    InvalidResponseError,
    ProviderStateError,
    TransportError,
)
from okta_tokens.events import RenewalFailed, TokenRequested
from okta_tokens.sandbox import SandboxClient
from tests.clock import settle
from tests.network.modes import (
    after_interim_responses,
    byte_by_byte,
    cut,
    drop,
    duplicated,
    endless_body,
    endless_headers,
    endless_interim_responses,
    endless_line,
    gzip_bomb,
    gzip_encoded,
    http_1_0,
    in_chunks,
    in_slow_pieces,
    only_once,
    redirect,
    reset,
    respond,
    respond_with_headers,
    silence,
    silence_after,
    slow_headers,
    then_close,
)
from tests.network.proxy import Mode, Proxy, pass_through
from tests.network.support import (
    ATTEMPTS,
    LIFETIME,
    NetworkWorld,
    failed_fetch,
    network_world,
    wait_for_failure,
)
from tests.support import CLIENT_ID, SCOPES, SECRET, at_once, until

OK = b"HTTP/1.1 200 OK\r\n"

NO_CONNECTION = "no connection to {origin}; check the network"
NO_RESPONSE = "no response from {origin} within "
BROKEN = (
    "the connection to {origin} broke before a response arrived; check the proxies and gateways"
)
GARBLED = "the response of {origin} is incomplete or garbled; check the proxies and gateways"
NO_HTTP = "the response of {origin} is not valid HTTP; check the domain"
LONG_HEADER = "a header of the response of {origin} is longer than 64 KiB; check the proxies"
NO_JSON = "the response ({status}) is invalid: it is not Okta's JSON; check the domain"
TOO_LONG = "the response (200) is invalid: its body is longer than 64 KiB; check the domain"

both_sessions = pytest.mark.parametrize(
    "own_session", [True, False], ids=["own session", "given session"]
)


@dataclass(frozen=True)
class NetworkFault:
    """A fault of every exchange for some time, and the error that callers get.

    Args:
        start: Starts the fault.
        message: The beginning of the error's message, with the advice.
        kind: The error's type.
        retryable: Whether the error is retryable; the fetch then makes all attempts.
        hangs: Whether only the request time-out ends an attempt.
        status: The HTTP status in the message.
    """

    start: Callable[[Proxy], Awaitable[None]]
    message: str
    kind: type[FetchError] = TransportError
    retryable: bool = True
    hangs: bool = False
    status: int = 200

    @property
    def attempts(self) -> int:
        """The number of attempts that a fetch makes for a waiter."""
        return ATTEMPTS if self.retryable else 1

    def check(self, error: object, here: NetworkWorld) -> None:
        """Fail unless an error is the one that this fault causes."""
        assert isinstance(error, self.kind)
        message = self.message.format(origin=here.client.origin, status=self.status)
        assert str(error).startswith(message)
        assert "; check " in str(error)
        assert error.retryable == self.retryable


def mode_starts(mode: Mode, *, on_accept: bool = False) -> Callable[[Proxy], Awaitable[None]]:
    """Return a function that makes a proxy handle exchanges by a mode."""

    async def start(proxy: Proxy) -> None:
        await proxy.set_mode(mode, on_accept=on_accept)

    return start


SILENCE = {
    "full backlog": NetworkFault(Proxy.fill_backlog, NO_RESPONSE, hangs=True),
    **{
        name: NetworkFault(start, NO_RESPONSE, hangs=True)
        for name, start in {
            "silence on accept": mode_starts(silence, on_accept=True),
            "silence after the request": mode_starts(silence_after(0)),
            "silence inside the head": mode_starts(silence_after(0.1)),
            "silence inside the body": mode_starts(silence_after(0.9)),
            "headers byte by byte": mode_starts(slow_headers),
            "endless interim responses": mode_starts(endless_interim_responses),
        }.items()
    },
}
FLOODS = {
    "endless headers": NetworkFault(mode_starts(endless_headers), NO_HTTP),
    "endless line": NetworkFault(mode_starts(endless_line), LONG_HEADER, retryable=False),
    "endless body": NetworkFault(mode_starts(endless_body), TOO_LONG, InvalidResponseError),
    "gzip bomb": NetworkFault(mode_starts(gzip_bomb), TOO_LONG, InvalidResponseError),
}
BREAKS = {
    "refused": NetworkFault(Proxy.refuse, NO_CONNECTION),
    "closed on accept": NetworkFault(mode_starts(drop, on_accept=True), BROKEN),
    "closed after the request": NetworkFault(mode_starts(drop), BROKEN),
    "closed inside the head": NetworkFault(mode_starts(cut("head")), BROKEN),
    "closed inside the body": NetworkFault(mode_starts(cut("body")), GARBLED),
    "closed inside a chunk": NetworkFault(mode_starts(cut("body", chunk=True)), GARBLED),
    "reset on accept": NetworkFault(mode_starts(reset, on_accept=True), BROKEN),
    "reset after the request": NetworkFault(mode_starts(reset), BROKEN),
    "reset inside the head": NetworkFault(mode_starts(cut("head", by_reset=True)), BROKEN),
    "reset inside the body": NetworkFault(mode_starts(cut("body", by_reset=True)), GARBLED),
}
INVALID = {
    "binary noise": NetworkFault(mode_starts(respond(b"\x00\xffnoise\r\n")), NO_HTTP),
    "noise before the response": NetworkFault(
        mode_starts(respond(b"noise\r\n" + OK + b"\r\n")), NO_HTTP
    ),
    "SSH": NetworkFault(mode_starts(respond(b"SSH-2.0-OpenSSH_9.6\r\n", b"")), NO_HTTP),
    "a TLS alert": NetworkFault(
        mode_starts(respond(b"\x15\x03\x03\x00\x02\x02\x28", b"")), NO_HTTP
    ),
    "invalid status": NetworkFault(mode_starts(respond(b"HTTP/1.1 9999 ?\r\n\r\n")), NO_HTTP),
    "invalid chunk size": NetworkFault(
        mode_starts(respond(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n{}\r\n0\r\n\r\n")),
        NO_HTTP,
    ),
    "two lengths": NetworkFault(
        mode_starts(respond_with_headers(b"Content-Length: 40", b"Content-Length: 41")), NO_HTTP
    ),
    "negative length": NetworkFault(
        mode_starts(respond_with_headers(b"Content-Length: -1")), NO_HTTP
    ),
    "too large a length": NetworkFault(
        mode_starts(respond_with_headers(b"Content-Length: 4000")), GARBLED
    ),
    "invalid gzip": NetworkFault(
        mode_starts(respond_with_headers(b"Content-Encoding: gzip")), GARBLED
    ),
    "half an HTTP/1.0 response": NetworkFault(
        mode_starts(respond(b"HTTP/1.0 200 OK\r\n\r\n", b'{"access_to')),
        NO_JSON,
        InvalidResponseError,
    ),
    "switching protocols": NetworkFault(
        mode_starts(
            respond(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        ),
        NO_JSON,
        InvalidResponseError,
        retryable=False,
        status=101,
    ),
    "no content": NetworkFault(
        mode_starts(respond(b"HTTP/1.1 204 No Content\r\n\r\n", b"")),
        NO_JSON,
        InvalidResponseError,
        retryable=False,
        status=204,
    ),
}
FAULTS = SILENCE | FLOODS | BREAKS | INVALID

TYPICAL = (
    "full backlog",
    "silence after the request",
    "silence inside the body",
    "endless headers",
    "gzip bomb",
    "refused",
    "closed on accept",
    "closed inside the body",
    "reset after the request",
    "binary noise",
    "no content",
)
"""For each message, and for each way in which an attempt ends, one fault."""

each_typical_fault = pytest.mark.parametrize(
    "fault", [FAULTS[name] for name in TYPICAL], ids=TYPICAL
)


def in_both_sessions(names: tuple[str, ...]) -> pytest.MarkDecorator:
    """Run a test with some faults in the provider's session, and with the typical ones in both."""
    return pytest.mark.parametrize(
        ("fault", "own_session"),
        [
            *(pytest.param(FAULTS[name], True, id=f"{name}-own session") for name in names),
            *(
                pytest.param(FAULTS[name], False, id=f"{name}-given session")
                for name in names
                if name in TYPICAL
            ),
        ],
    )


# Faults


@in_both_sessions(tuple(FAULTS))
async def test_a_fault_is_reported_until_it_ends(fault: NetworkFault, *, own_session: bool) -> None:
    """A caller gets an error with advice, and gets a token when the fault has ended."""
    async with network_world(own_session=own_session) as here:
        await fault.start(here.proxy)
        error = await failed_fetch(here, attempts=fault.attempts, hangs=fault.hangs)
        await until(lambda: not here.proxy.open_connections)  # a faulty connection is not kept
        await here.proxy.restore()
        await here.clock.advance(2)
        token = await here.source().get_token()

        fault.check(error, here)
        assert error.attempts == fault.attempts
        assert len(here.seen(TokenRequested)) == fault.attempts + 1
        assert token.scopes == {"a"}


@each_typical_fault
async def test_a_held_token_outlasts_a_fault(fault: NetworkFault) -> None:
    """A caller gets the held token during a fault, and the renewal succeeds when it has ended."""
    async with network_world() as here:
        source = here.source()
        held = await source.get_token()
        await fault.start(here.proxy)
        here.clock.boot += LIFETIME - 300
        here.clock.wall += LIFETIME - 300
        assert at_once(source.get_token()) is held
        await wait_for_failure(here, 1, hangs=fault.hangs)
        await until(lambda: bool(here.seen(RenewalFailed)))
        assert at_once(source.get_token()) is held
        await here.proxy.restore()
        await here.advance(60)
        # After an error that is not retryable, only a call starts the next renewal.
        assert (at_once(source.get_token()) is held) == (not fault.retryable)
        await here.quiet()
        renewed = at_once(source.get_token())

        (event,) = here.seen(RenewalFailed)
        assert isinstance(event, RenewalFailed)
        fault.check(event.error, here)
        assert renewed is not held


@in_both_sessions(tuple(SILENCE))
async def test_closing_does_not_wait_for_a_response(
    fault: NetworkFault, *, own_session: bool
) -> None:
    """If a provider is closed while its server is silent, callers get an error, nothing leaks."""
    async with network_world(own_session=own_session) as here:
        await fault.start(here.proxy)
        caller = asyncio.create_task(here.source().get_token())
        await until(lambda: here.hanging >= 1)
        await here.provider.aclose()
        with pytest.raises(ProviderStateError) as caught:
            await caller
        await until(lambda: not here.proxy.open_connections)  # also if the session stays open

        here.assert_no_secrets_in_error(caught.value)


@pytest.mark.parametrize("fault", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_takes_little_memory(fault: NetworkFault) -> None:
    """A response without an end costs a few megabytes, even if it is compressed."""
    async with network_world() as here:
        await here.source("b").get_token()
        await fault.start(here.proxy)
        tracemalloc.start()
        try:
            await failed_fetch(here, attempts=fault.attempts)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert most < 6_000_000


# Unusual, but complete


@pytest.mark.parametrize(
    ("mode", "own_session"),
    [
        (pass_through, True),
        (byte_by_byte, True),
        (in_slow_pieces, True),
        (in_chunks, True),
        (gzip_encoded, True),
        (http_1_0, True),
        (after_interim_responses, True),
        (then_close, True),
        (duplicated, True),
        (pass_through, False),
        (gzip_encoded, False),
        (then_close, False),
        (duplicated, False),
    ],
    ids=lambda value: value.__name__ if callable(value) else "own" if value else "given",
)
async def test_a_complete_response_is_accepted(mode: Mode, *, own_session: bool) -> None:
    """An unusual but complete response is accepted at once, and only for its own request."""
    async with network_world(own_session=own_session) as here:
        await here.proxy.set_mode(mode)
        tokens = [await here.source(scopes).get_token() for scopes in ("a", "b", "c")]

        assert [token.scopes for token in tokens] == [{"a"}, {"b"}, {"c"}]
        assert here.sandbox.token_requests == 3


# Kept connections


@both_sessions
async def test_a_connection_that_was_closed_is_not_used(*, own_session: bool) -> None:
    """A connection that the server closed between two requests costs no attempt."""
    async with network_world(own_session=own_session) as here:
        await here.source("a").get_token()
        await here.proxy.close_connections()
        await here.source("b").get_token()

        assert here.proxy.accepted == 2
        assert len(here.seen(TokenRequested)) == 2


@pytest.mark.parametrize("mode", [drop, reset, silence], ids=["closed", "reset", "silent"])
async def test_a_dead_connection_costs_one_attempt(mode: Mode) -> None:
    """If a kept connection fails when it is used again, the next attempt opens another one."""
    async with network_world() as here:
        await here.source("a").get_token()
        await here.proxy.set_mode(only_once(mode))
        caller = asyncio.create_task(here.source("b").get_token())
        await wait_for_failure(here, 1, hangs=mode is silence)
        await here.clock.advance(0.5)
        token = await caller

        assert token.scopes == {"b"}
        assert here.proxy.accepted == 2
        assert len(here.seen(TokenRequested)) == 3


@both_sessions
async def test_a_408_on_an_idle_connection_is_ignored(*, own_session: bool) -> None:
    """A load balancer's 408 before it closes an idle connection costs no attempt."""
    async with network_world(own_session=own_session) as here:
        await here.source("a").get_token()
        await here.proxy.send_unrequested(
            b"HTTP/1.1 408 Request Time-out\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        await here.proxy.close_connections()
        token = await here.source("b").get_token()

        assert token.scopes == {"b"}
        assert len(here.seen(TokenRequested)) == 2


@both_sessions
async def test_no_client_gets_the_token_of_another_client(*, own_session: bool) -> None:
    """A response that arrives again on an idle connection reaches no other client."""
    async with network_world(own_session=own_session) as here:
        secret = "another-" + SECRET
        here.sandbox.put_client(SandboxClient("0oa2other", [secret], scopes=SCOPES))
        other = OktaClient(here.client.origin, "0oa2other", ClientSecretBasic(secret))
        first = await here.source().get_token()
        await here.proxy.send_unrequested(here.proxy.responses[-1])
        second = await here.provider.get_token(other, "a")

        issued = [here.sandbox.tokens.find(token.value) for token in (first, second)]
        assert [token and token.client_id for token in issued] == [CLIENT_ID, "0oa2other"]
        assert here.proxy.accepted == 2
        assert len(here.seen(TokenRequested)) == 2


@both_sessions
async def test_no_other_response_confirms_a_revocation(*, own_session: bool) -> None:
    """A token counts as revoked only if the server responds to the request for that."""
    async with network_world(own_session=own_session) as here:
        token = await here.source().get_token()
        await here.proxy.send_unrequested(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await settle()
        await here.proxy.set_mode(drop)
        caller = asyncio.create_task(here.provider.revoke(token))
        for number in (1, 2, 3):
            await wait_for_failure(here, number)
            await here.clock.advance(0.5)
        with pytest.raises(TransportError):
            await caller


async def test_a_repeated_response_does_not_answer_another_request_of_its_client() -> None:
    """If a response arrives again on an idle connection, its client closes that connection."""
    async with network_world() as here:
        first = await here.source("a").get_token()
        await here.proxy.send_unrequested(here.proxy.responses[-1])
        await settle()
        caller = asyncio.create_task(here.source("b").get_token())
        await wait_for_failure(here, 1)
        await here.clock.advance(0.5)
        second = await caller

        assert [first.scopes, second.scopes] == [{"a"}, {"b"}]
        assert here.proxy.accepted == 2


# Redirects


@pytest.mark.parametrize(
    ("status", "same_server", "own_session"),
    [
        (301, False, True),
        (302, False, True),
        (303, False, True),
        (307, False, True),
        (308, False, True),
        (307, True, True),
        (307, False, False),
    ],
    ids=["301", "302", "303", "307", "308", "307, same server", "307, given session"],
)
async def test_no_redirect_is_followed(
    status: int, *, same_server: bool, own_session: bool
) -> None:
    """A redirect fails the fetch at the first attempt, and its target receives nothing."""
    async with (
        network_world(own_session=own_session) as here,
        Proxy(here.sandbox) as elsewhere,
    ):
        target = here.proxy if same_server else elsewhere
        await here.proxy.set_mode(redirect(status, f"http://127.0.0.1:{target.port}/there"))
        error = await failed_fetch(here, attempts=1)

        assert isinstance(error, InvalidResponseError)
        assert error.status == status
        assert not error.retryable
        assert "redirect, which is never followed; check the domain" in str(error)
        assert elsewhere.accepted == 0
        assert here.proxy.decrypted.count(b"POST ") == 1
        assert b"/there" not in here.proxy.decrypted
        assert here.proxy.decrypted.count(b"Authorization: Basic ") == 1
