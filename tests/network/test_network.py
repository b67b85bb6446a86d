"""What the wire does to an exchange: trouble by its kind, what callers get, and what is left."""

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
    after_hints,
    and_hang_up,
    as_of_old,
    bomb,
    compressed,
    cut,
    drop,
    endless_body,
    endless_headers,
    endless_hints,
    endless_line,
    in_chunks,
    in_single_bytes,
    once,
    redirecting,
    reset,
    saying,
    silence,
    silence_after,
    slow_but_complete,
    slow_headers,
    twice,
    with_header,
)
from tests.network.proxy import Mode, Proxy, honest
from tests.network.support import LIFETIME, Scene, failed_fetch, failure, scene
from tests.support import CLIENT_ID, SCOPES, SECRET, at_once, until

OK = b"HTTP/1.1 200 OK\r\n"

NO_CONNECTION = "no connection to {origin}; check the network"
NO_ANSWER = "no answer from {origin} within "
BROKEN = "the connection to {origin} broke before there was an answer; check what stands between"
GARBLED = "the answer of {origin} is incomplete or garbled; check what stands between"
NO_HTTP = "what {origin} answered is no valid HTTP; check the domain"
NO_JSON = "the answer (200) cannot be used: it is not Okta's JSON; check the domain"
TOO_LONG = "the answer (200) cannot be used: its body is longer than 64 KiB; check the domain"
NO_TOKEN = "cannot be used: it is not Okta's JSON; check the domain"

both_sessions = pytest.mark.parametrize(
    "given", [False, True], ids=["own session", "given session"]
)


@dataclass(frozen=True)
class Trouble:
    """Something that befalls every exchange for a while, and what callers are to get then.

    Args:
        begin: How it begins.
        says: How the message begins; what is to be done is in it.
        kind: The error.
        retryable: Whether a retry may help; then all attempts are made.
        hangs: Whether the time-out alone ends it.
    """

    begin: Callable[[Proxy], Awaitable[None]]
    says: str
    kind: type[FetchError] = TransportError
    retryable: bool = True
    hangs: bool = False

    @property
    def attempts(self) -> int:
        """How many are made for a caller who waits."""
        return 3 if self.retryable else 1

    def check(self, error: object, here: Scene) -> None:
        """Fail unless an error is the one to get."""
        assert isinstance(error, self.kind)
        assert str(error).startswith(self.says.format(origin=here.client.origin))
        assert "; check " in str(error)
        assert error.retryable == self.retryable


def befalls(mode: Mode, *, at_once: bool = False) -> Callable[[Proxy], Awaitable[None]]:
    """Return how a mode begins."""

    async def begin(proxy: Proxy) -> None:
        await proxy.befall(mode, at_once=at_once)

    return begin


SILENCE = {
    "nobody accepts": Trouble(Proxy.overflow, NO_ANSWER, hangs=True),
    **{
        name: Trouble(begin, NO_ANSWER, hangs=True)
        for name, begin in {
            "silence": befalls(silence, at_once=True),
            "silence after the request": befalls(silence_after(0)),
            "silence within the head": befalls(silence_after(0.1)),
            "silence within the body": befalls(silence_after(0.9)),
            "headers byte by byte": befalls(slow_headers),
            "hints without end": befalls(endless_hints),
        }.items()
    },
}
FLOODS = {
    "headers without end": Trouble(befalls(endless_headers), NO_HTTP),
    "a header without end": Trouble(befalls(endless_line), NO_HTTP),
    "a body without end": Trouble(befalls(endless_body), TOO_LONG, InvalidResponseError),
    "a bomb": Trouble(befalls(bomb), TOO_LONG, InvalidResponseError),
}
BREAKS = {
    "refused": Trouble(Proxy.refuse, NO_CONNECTION),
    "closed at once": Trouble(befalls(drop, at_once=True), BROKEN),
    "closed after the request": Trouble(befalls(drop), BROKEN),
    "closed within the head": Trouble(befalls(cut("head")), BROKEN),
    "closed within the body": Trouble(befalls(cut("body")), GARBLED),
    "closed within a chunk": Trouble(befalls(cut("body", chunk=True)), GARBLED),
    "reset at once": Trouble(befalls(reset, at_once=True), BROKEN),
    "reset after the request": Trouble(befalls(reset), BROKEN),
    "reset within the head": Trouble(befalls(cut("head", by_reset=True)), BROKEN),
    "reset within the body": Trouble(befalls(cut("body", by_reset=True)), GARBLED),
}
NONSENSE = {
    "noise": Trouble(befalls(saying(b"\x00\xffnoise\r\n")), NO_HTTP),
    "noise before the answer": Trouble(befalls(saying(b"noise\r\n" + OK + b"\r\n")), NO_HTTP),
    "another protocol": Trouble(befalls(saying(b"SSH-2.0-OpenSSH_9.6\r\n", b"")), NO_HTTP),
    "a TLS alert": Trouble(befalls(saying(b"\x15\x03\x03\x00\x02\x02\x28", b"")), NO_HTTP),
    "a status that is none": Trouble(befalls(saying(b"HTTP/1.1 9999 ?\r\n\r\n")), NO_HTTP),
    "a chunk of no size": Trouble(
        befalls(saying(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n{}\r\n0\r\n\r\n")),
        NO_HTTP,
    ),
    "two lengths": Trouble(
        befalls(with_header(b"Content-Length: 40", b"Content-Length: 41")), NO_HTTP
    ),
    "less than no length": Trouble(befalls(with_header(b"Content-Length: -1")), NO_HTTP),
    "too long a length": Trouble(befalls(with_header(b"Content-Length: 4000")), GARBLED),
    "gzip that is none": Trouble(befalls(with_header(b"Content-Encoding: gzip")), GARBLED),
    "half an answer of old": Trouble(
        befalls(saying(b"HTTP/1.0 200 OK\r\n\r\n", b'{"access_to')), NO_JSON, InvalidResponseError
    ),
    "another protocol to switch to": Trouble(
        befalls(saying(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")),
        "the answer (101) " + NO_TOKEN,
        InvalidResponseError,
        retryable=False,
    ),
    "nothing": Trouble(
        befalls(saying(b"HTTP/1.1 204 No Content\r\n\r\n", b"")),
        "the answer (204) " + NO_TOKEN,
        InvalidResponseError,
        retryable=False,
    ),
}
TROUBLES = SILENCE | FLOODS | BREAKS | NONSENSE

each_trouble = pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())


# Troubles


@each_trouble
@both_sessions
async def test_a_trouble_is_told_and_passes(trouble: Trouble, *, given: bool) -> None:
    """Whoever has no token is told what is wrong, and gets one as soon as it is mended."""
    async with scene(given=given) as here:
        await trouble.begin(here.proxy)
        error = await failed_fetch(here, attempts=trouble.attempts, hangs=trouble.hangs)
        await until(lambda: not here.proxy.open)  # what is spoilt is not kept
        await here.proxy.mend()
        await here.clock.advance(2)
        token = await here.source().get_token()

        trouble.check(error, here)
        assert error.attempts == trouble.attempts
        assert len(here.seen(TokenRequested)) == trouble.attempts + 1
        assert token.scopes == {"a"}


@each_trouble
async def test_a_token_that_is_held_outlasts_trouble(trouble: Trouble) -> None:
    """Whoever has a token notices nothing, and it is renewed as soon as the trouble is over."""
    async with scene() as here:
        source = here.source()
        held = await source.get_token()
        await trouble.begin(here.proxy)
        here.clock.boot += LIFETIME - 300
        here.clock.wall += LIFETIME - 300
        assert at_once(source.get_token()) is held
        await failure(here, 1, hangs=trouble.hangs)
        await until(lambda: bool(here.seen(RenewalFailed)))
        assert at_once(source.get_token()) is held
        await here.proxy.mend()
        await here.advance(60)
        # What no retry mends is not tried again before somebody asks.
        assert (at_once(source.get_token()) is held) == (not trouble.retryable)
        await here.quiet()
        renewed = at_once(source.get_token())

        (event,) = here.seen(RenewalFailed)
        assert isinstance(event, RenewalFailed)
        trouble.check(event.error, here)
        assert renewed is not held


@pytest.mark.parametrize("trouble", SILENCE.values(), ids=SILENCE.keys())
@both_sessions
async def test_closing_waits_for_no_answer(trouble: Trouble, *, given: bool) -> None:
    """A provider that is closed while its server is silent tells callers, and leaves nothing."""
    async with scene(given=given) as here:
        await trouble.begin(here.proxy)
        caller = asyncio.create_task(here.source().get_token())
        await until(lambda: here.hanging >= 1)
        await here.provider.aclose()
        with pytest.raises(ProviderStateError) as caught:
            await caller
        await until(lambda: not here.proxy.open)  # also where the session stays open

        here.assert_silent_error(caught.value)


@pytest.mark.parametrize("trouble", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_takes_no_memory(trouble: Trouble) -> None:
    """An answer without an end, be it compressed to a thousandth, costs a few megabytes at most."""
    async with scene() as here:
        await here.source("b").get_token()
        await trouble.begin(here.proxy)
        tracemalloc.start()
        try:
            await failed_fetch(here)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert most < 6_000_000


# What is no trouble


@pytest.mark.parametrize(
    "mode",
    [
        honest,
        in_single_bytes,
        slow_but_complete,
        in_chunks,
        compressed,
        as_of_old,
        after_hints,
        and_hang_up,
        twice,
    ],
    ids=lambda mode: mode.__name__,
)
@both_sessions
async def test_what_is_strange_but_complete_is_good(mode: Mode, *, given: bool) -> None:
    """An answer that is all there is taken at the first attempt, and for the request it answers."""
    async with scene(given=given) as here:
        await here.proxy.befall(mode)
        tokens = [await here.source(scopes).get_token() for scopes in ("a", "b", "c")]

        assert [token.scopes for token in tokens] == [{"a"}, {"b"}, {"c"}]
        assert here.sandbox.token_requests == 3


# Connections that are kept


@both_sessions
async def test_a_connection_that_was_closed_meanwhile_is_not_used(*, given: bool) -> None:
    """What the server closed between two requests costs no attempt."""
    async with scene(given=given) as here:
        await here.source("a").get_token()
        await here.proxy.break_off()
        await here.source("b").get_token()

        assert here.proxy.accepted == 2
        assert len(here.seen(TokenRequested)) == 2


@pytest.mark.parametrize("mode", [drop, reset, silence], ids=lambda mode: mode.__name__)
@both_sessions
async def test_a_connection_that_is_dead_costs_one_attempt(mode: Mode, *, given: bool) -> None:
    """What was closed, reset or forgotten as it is used again is replaced by the next attempt."""
    async with scene(given=given) as here:
        await here.source("a").get_token()
        await here.proxy.befall(once(mode))
        caller = asyncio.create_task(here.source("b").get_token())
        await failure(here, 1, hangs=mode is silence)
        await here.clock.advance(0.5)
        token = await caller

        assert token.scopes == {"b"}
        assert here.proxy.accepted == 2
        assert len(here.seen(TokenRequested)) == 3


@both_sessions
async def test_a_farewell_on_an_idle_connection_is_no_answer(*, given: bool) -> None:
    """What a load balancer says as it closes an idle connection costs no attempt."""
    async with scene(given=given) as here:
        await here.source("a").get_token()
        await here.proxy.interject(
            b"HTTP/1.1 408 Request Time-out\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        await here.proxy.break_off()
        token = await here.source("b").get_token()

        assert token.scopes == {"b"}
        assert len(here.seen(TokenRequested)) == 2


async def test_no_client_gets_the_token_of_another_one() -> None:
    """An answer that comes a second time, while the connection is idle, is nobody's."""
    async with scene() as here:
        secret = "another-" + SECRET
        here.sandbox.put_client(SandboxClient("0oa2other", [secret], scopes=SCOPES))
        other = OktaClient(here.client.origin, "0oa2other", ClientSecretBasic(secret))
        first = await here.source().get_token()
        await here.proxy.interject(here.proxy.answers[-1])
        await settle()
        caller = asyncio.create_task(here.provider.get_token(other, "a"))
        await failure(here, 1)
        await here.clock.advance(0.5)
        second = await caller

        issued = [here.sandbox.tokens.find(token.value) for token in (first, second)]
        assert [token and token.client_id for token in issued] == [CLIENT_ID, "0oa2other"]
        assert here.proxy.accepted == 2


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("same_server", [False, True], ids=["elsewhere", "same server"])
@both_sessions
async def test_no_redirect_takes_the_credentials_anywhere(
    status: int, *, same_server: bool, given: bool
) -> None:
    """A redirect is refused at the first attempt, wherever it leads; nobody there hears of it."""
    async with scene(given=given) as here, Proxy(here.sandbox) as elsewhere:
        target = here.proxy if same_server else elsewhere
        await here.proxy.befall(redirecting(status, f"http://127.0.0.1:{target.port}/there"))
        error = await failed_fetch(here, attempts=1)

        assert isinstance(error, InvalidResponseError)
        assert error.status == status
        assert not error.retryable
        assert "redirect, which is never followed; check the domain" in str(error)
        assert elsewhere.accepted == 0
        assert here.proxy.heard.count(b"POST ") == 1
        assert b"/there" not in here.proxy.heard
        assert here.proxy.heard.count(b"Authorization: Basic ") == 1
