"""An aiohttp session that carries the token."""

from __future__ import annotations

import asyncio
import io
import json
import traceback
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from okta_tokens import DPoP, TokenProvider, TokenSource
from okta_tokens.adapters.aiohttp import TokenMiddleware
from okta_tokens.errors import ConfigurationError, OAuthError, ProviderStateError
from okta_tokens.events import InvalidationIgnored
from okta_tokens.sandbox import SandboxClient
from tests.adapters.support import INVALID_TOKEN, Api, api
from tests.support import CLIENT_ID, SCOPES, SECRET, World, until, world

BOUND = SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES, dpop=True)
NO_SCOPE = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="b"'}


@dataclass
class Here:
    """A provider with its sandbox, an API, and a session that carries the token to it."""

    world: World
    api: Api
    source: TokenSource
    session: aiohttp.ClientSession

    async def get(self, target: str = "/orders", **options: Any) -> int:  # noqa: ANN401 - aiohttp's
        """Send a request to the API, and return the status of the answer."""
        async with self.session.get(self.api.url(target), **options) as response:
            await response.read()
            return response.status

    async def post(self, body: object, **options: Any) -> int:  # noqa: ANN401 - aiohttp's
        """Send a body to the API, and return the status of the answer."""
        async with self.session.post(self.api.url(), data=body, **options) as response:
            return response.status

    @property
    def requests(self) -> int:
        """How many token requests there were."""
        return self.world.sandbox.token_requests


@asynccontextmanager
async def running(
    app: SandboxClient | None = None,
    dpop: DPoP | None = None,
    **options: Any,  # noqa: ANN401 - aiohttp's
) -> AsyncIterator[Here]:
    """Run everything that a request needs."""
    async with world(app=app, dpop=dpop) as made, api(made) as server:
        source = made.source()
        middleware = TokenMiddleware(source, origins=[server.origin])
        async with aiohttp.ClientSession(middlewares=[middleware], **options) as session:
            yield Here(made, server, source, session)


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    """A session that carries bearer tokens."""
    async with running() as made:
        yield made


async def test_requests_carry_the_token(here: Here) -> None:
    """Each request to an allowed origin carries the token, which is fetched once."""
    assert [await here.get(), await here.post(b"x")] == [200, 200]

    token = await here.source.get_token()
    assert here.api.tokens() == [token.authorization] * 2
    assert here.requests == 1


async def test_a_web_socket_carries_it_too(here: Here) -> None:
    """The handshake of a web socket is a request like others, also where the scheme is `ws`."""
    url = here.api.url().replace("http:", "ws:")

    with pytest.raises(aiohttp.WSServerHandshakeError):
        await here.session.ws_connect(url)

    assert here.api.tokens() == [(await here.source.get_token()).authorization]


async def test_elsewhere_nothing_is_sent(here: Here) -> None:
    """A request to another origin, be it by its port alone, is refused before it is sent."""
    async with api(here.world) as other:
        with pytest.raises(
            ConfigurationError, match=r"is none of its origins, so nothing was sent"
        ):
            await here.session.get(other.url())

        assert (other.seen, here.requests) == ([], 0)


async def test_a_redirect_takes_no_token_elsewhere(here: Here) -> None:
    """A redirect to another origin ends with an error, and what is there hears nothing."""
    async with api(here.world) as other:
        with pytest.raises(ConfigurationError, match=r"also redirected ones, go on without"):
            await here.get(f"/orders?to={other.url()}")

        assert other.seen == []


async def test_no_proxy_reads_along(here: Here) -> None:
    """What would pass a proxy in clear is refused, also on its way to this machine."""
    async with api(here.world) as proxy:
        with pytest.raises(ConfigurationError, match="would get the token in clear"):
            await here.get(proxy=proxy.origin)

        assert (proxy.seen, here.requests) == ([], 0)


async def test_a_redirect_within_an_origin_carries_the_token(here: Here) -> None:
    """A redirect to an allowed origin is a request like others."""
    assert await here.get("/old?to=/new") == 200

    assert here.api.tokens() == [(await here.source.get_token()).authorization] * 2


async def test_others_may_be_let_through_without_a_token(here: Here) -> None:
    """With `pass_others` a request elsewhere, redirected or not, goes on and has no token."""
    middleware = TokenMiddleware(here.source, origins=[here.api.origin], pass_others=True)
    async with (
        api(here.world) as other,
        aiohttp.ClientSession(middlewares=[middleware]) as session,
    ):
        for url in (other.url(), here.api.url(f"/orders?to={other.url()}")):
            async with session.get(url, headers={"X-Mine": "kept"}) as response:
                assert response.status == 401

        assert other.tokens() == [None, None]
        assert [seen.headers["X-Mine"] for seen in other.seen] == ["kept"] * 2


async def test_several_apis_share_a_session(here: Here) -> None:
    """Each of several middlewares serves its own origins, whichever stands first."""
    async with api(here.world) as other:
        reports = here.world.source("b")
        middlewares = [
            TokenMiddleware(here.source, origins=[here.api.origin], pass_others=True),
            TokenMiddleware(reports, origins=[other.origin], pass_others=True),
        ]
        async with (
            aiohttp.ClientSession(middlewares=middlewares) as session,
            session.get(here.api.url()) as one,
            session.get(other.url()) as two,
        ):
            assert (one.status, two.status) == (200, 200)

        assert here.api.tokens() == [(await here.source.get_token()).authorization]
        assert other.tokens() == [(await reports.get_token()).authorization]


def test_an_origin_must_be_named() -> None:
    """No allowed origin is a mistake; so is what is no source."""
    for source, origins in ((object(), ["https://a.example"]), (None, [])):
        with pytest.raises(ConfigurationError, match=r"^TokenMiddleware: "):
            TokenMiddleware(source, origins=origins)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_two_credentials_are_refused(here: Here, name: str) -> None:
    """A request with an `Authorization` of its own is refused, and nothing is sent."""
    with pytest.raises(ConfigurationError, match=r"has Authorization already, so nothing was sent"):
        await here.get(headers={name: "Basic abc"})

    assert (here.api.seen, here.requests) == ([], 0)


async def test_the_callers_own_credentials_are_not_shown(here: Here) -> None:
    """The error about two credentials shows the caller's own in none of this package's frames."""
    with pytest.raises(ConfigurationError) as refused:
        await here.get(headers={"Authorization": "Basic Canary"})

    report = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    for frame in report.stack:
        if "okta_tokens" in frame.filename:
            assert "Canary" not in str(frame.locals)


async def test_credentials_of_the_session_are_refused_too() -> None:
    """It does not matter whether the session, the URL or the request brings the credentials."""
    async with running(headers={"Authorization": "Basic abc"}) as here:
        with pytest.raises(ConfigurationError, match="has Authorization already"):
            await here.get()
    async with running() as here:
        with pytest.raises(ConfigurationError, match="has Authorization already"):
            await here.session.get(here.api.url().replace("//", "//user:password@"))


async def test_a_rejected_token_is_replaced(here: Here) -> None:
    """A 401 for a token that died early costs one more token and one more request."""
    await here.get()
    here.world.sandbox.revoke_all()

    assert await here.post(b"body") == 200

    assert [seen.body for seen in here.api.seen[1:]] == [b"body"] * 2
    assert here.api.tokens()[-1] == (await here.source.get_token()).authorization
    assert here.requests == 2


async def test_a_token_that_is_rejected_again_is_handed_over(here: Here) -> None:
    """If another token fares no better the 401 is the caller's: there is no loop."""
    here.api.answers.extend([(401, INVALID_TOKEN)] * 2)

    async with here.session.get(here.api.url()) as response:
        assert (response.status, await response.text()) == (401, "scripted")

    assert (len({*here.api.tokens()}), len(here.api.seen), here.requests) == (2, 2, 2)
    await here.world.quiet()
    assert len(here.world.seen(InvalidationIgnored)) == 1


async def test_the_same_token_is_not_sent_again(here: Here) -> None:
    """While the source keeps a token that was rejected, a 401 is handed over at once, readable."""
    here.api.answers.extend([(401, INVALID_TOKEN)] * 3)
    await here.get()

    async with here.session.get(here.api.url()) as response:
        assert (response.status, await response.text()) == (401, "scripted")

    assert (len(here.api.seen), here.requests) == (3, 2)


@pytest.mark.parametrize(
    "answer", [(401, NO_SCOPE), (403, NO_SCOPE), (403, INVALID_TOKEN), (500, {})]
)
async def test_what_no_token_mends_is_handed_over(
    here: Here, answer: tuple[int, dict[str, str]]
) -> None:
    """A token without the scope, a 403 and other errors are the caller's; the token is kept."""
    here.api.answers.append(answer)

    assert await here.get() == answer[0]
    assert await here.get() == 200
    assert (len(here.api.seen), here.requests) == (2, 1)


async def test_a_thousand_rejections_cost_one_request(here: Here) -> None:
    """However many requests find the token dead, Okta sees one token request."""
    await here.get()
    here.world.sandbox.revoke_all()

    statuses = await asyncio.gather(*(here.get() for _ in range(1_000)))

    assert ({*statuses}, here.requests) == ({200}, 2)


async def test_the_connection_is_free_while_the_token_is_fetched() -> None:
    """Token requests go through the same session, past the middleware, with one connection."""
    async with world() as made, api(made) as server:
        connector = aiohttp.TCPConnector(limit=1)
        async with (
            aiohttp.ClientSession(connector=connector, read_bufsize=1) as session,
            TokenProvider(session=session) as provider,
        ):
            source = provider.source(made.client, "a")
            carries = [TokenMiddleware(source, origins=[server.origin])]
            server.answers.append((401, INVALID_TOKEN))
            server.says = "x" * 1_000_000
            async with session.get(server.url(), middlewares=carries) as response:
                assert response.status == 200
            assert made.sandbox.token_requests == 2


async def test_without_a_token_nothing_is_sent(here: Here) -> None:
    """If no token is to be had, its error is raised, and the API hears nothing."""
    source = here.world.source("unknown")
    middleware = TokenMiddleware(source, origins=[here.api.origin])

    with pytest.raises(OAuthError, match="scope"):
        await here.get(middlewares=[middleware])

    assert here.api.seen == []


async def test_without_another_token_its_error_is_raised(here: Here) -> None:
    """If the token is rejected and another one is not to be had, the caller gets that error."""
    await here.get()
    here.world.sandbox.revoke_all()
    here.world.sandbox.put_client(SandboxClient(CLIENT_ID, ["another"], scopes=SCOPES))

    with pytest.raises(OAuthError):
        await here.get()

    assert len(here.api.seen) == 2


async def test_a_closed_provider_sends_nothing(here: Here) -> None:
    """After the provider was closed a request says so, and is not sent."""
    await here.get()
    await here.world.provider.aclose()

    with pytest.raises(ProviderStateError):
        await here.get()

    assert len(here.api.seen) == 1


# Bodies


async def pieces() -> AsyncIterator[bytes]:
    """Yield a body that can be read once."""
    yield b"one"
    yield b"two"


def multipart() -> aiohttp.MultipartWriter:
    """Return a form with a file."""
    with aiohttp.MultipartWriter("form-data") as writer:
        writer.append(io.BytesIO(b"file"))
        writer.append("text")
    return writer


BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"body",
    "text": lambda: "body",
    "form": lambda: {"a": "b"},
    "file": lambda: io.BytesIO(b"body"),
    "multipart": multipart,
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_that_can_be_read_again_is_sent_again(here: Here, body: str) -> None:
    """Whatever body is still there after a 401 is sent again, whole."""
    here.api.answers.append((401, INVALID_TOKEN))

    assert await here.post(BODIES[body]()) == 200

    first, second = (seen.body for seen in here.api.seen)
    assert first == second != b""


async def test_a_body_that_is_gone_is_not_sent_again(here: Here) -> None:
    """A streamed body is sent once; the 401 is the caller's, and the next request has a token."""
    await here.get()
    here.world.sandbox.revoke_all()

    assert await here.post(pieces()) == 401
    assert here.requests == 1
    assert await here.post(pieces()) == 200

    assert [seen.body for seen in here.api.seen[1:]] == [b"onetwo"] * 2
    assert here.requests == 2


async def test_a_body_that_was_not_asked_for_is_sent_later(here: Here) -> None:
    """With `Expect: 100-continue` a 401 comes before the body, which is still there to be sent."""
    here.api.refuses_bodies = True
    here.api.answers.append((401, INVALID_TOKEN))

    assert await here.post(pieces(), expect100=True) == 200

    assert [seen.body for seen in here.api.seen] == [None, b"onetwo"]
    assert here.requests == 2


@pytest.mark.parametrize("expects", [False, True])
async def test_a_body_may_be_refused_in_the_middle(here: Here, *, expects: bool) -> None:
    """A 401 that comes while a long body is sent ends the sending; then all of it is sent."""
    here.api.refuses_bodies = True
    here.api.answers.append((401, INVALID_TOKEN))
    body = b"x" * 8_000_000

    assert await here.post(io.BytesIO(body), expect100=expects) == 200

    assert [seen.body for seen in here.api.seen] == [None, body]


# Time


async def test_the_wait_for_a_token_counts_against_the_time_out(here: Here) -> None:
    """A request whose time is over while its token is fetched ends; the fetch goes on."""
    here.world.sandbox.latency = 0.2

    with pytest.raises(TimeoutError):
        await here.get(timeout=aiohttp.ClientTimeout(total=0.05))

    assert here.api.seen == []
    assert await here.get() == 200
    assert here.requests == 1


async def test_cancellation_between_two_tries_leaves_nothing(here: Here) -> None:
    """A request that is cancelled while it waits for a token leaves, and the fetch goes on."""
    await here.get()
    here.world.sandbox.revoke_all()
    here.world.sandbox.latency = 0.2
    request = asyncio.create_task(here.get())
    await until(lambda: bool(here.world.provider.stats().in_flight))

    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
    assert await here.get() == 200
    assert (len(here.api.seen), here.requests) == (3, 2)
    assert not here.session.connector or not here.session.connector._acquired


# Proofs


@pytest.fixture
async def bound() -> AsyncIterator[Here]:
    """A session that carries tokens which are bound to a key, to the sandbox's own resource."""
    async with world(app=BOUND, dpop=DPoP()) as made, api(made) as server:
        source = made.source()
        origins = [server.origin, made.sandbox.origin]
        middleware = TokenMiddleware(source, origins=origins)
        async with aiohttp.ClientSession(middlewares=[middleware]) as session:
            yield Here(made, server, source, session)


def resource(here: Here, target: str = "") -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """Send a request to the resource, which checks proofs."""
    return here.session.get(f"{here.world.sandbox.origin}/resource{target}")


async def test_each_request_has_a_proof_of_its_own(bound: Here) -> None:
    """A bound token is sent with a proof for this very request, also for a strange path."""
    for target in ("", "/users/me%40acme.com?x=1&y=%20", "/a%20b"):
        async with resource(bound, target) as response:
            assert response.status == 200
    await bound.get("/old?to=/new")

    assert bound.world.sandbox.resource_refused == 1  # of the API, for which it was not made
    assert len({seen.headers["DPoP"] for seen in bound.api.seen}) == 2


async def test_a_nonce_is_repeated(bound: Here) -> None:
    """A resource that wants its nonce gets it at once, and from then on with the first try."""
    sandbox = bound.world.sandbox
    sandbox.resource_nonce = True

    for _ in range(3):
        async with resource(bound) as response:
            assert response.status == 200

    assert (sandbox.resource_calls, sandbox.resource_refused) == (4, 1)
    assert bound.requests == 2  # Okta's own nonce, and the token


async def test_each_origin_has_its_own_nonce(bound: Here) -> None:
    """The nonce of one origin is not sent to another one."""
    wants = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
    bound.world.sandbox.resource_nonce = True
    async with resource(bound):
        pass
    bound.api.answers.extend([(401, wants | {"DPoP-Nonce": "theirs"}), (204, {})])

    assert await bound.get() == 204
    async with resource(bound) as response:
        assert response.status == 200

    proofs = [seen.headers["DPoP"].split(".")[1] + "==" for seen in bound.api.seen]
    claims = [json.loads(urlsafe_b64decode(proof)) for proof in proofs]
    assert [claim.get("nonce") for claim in claims] == [None, "theirs"]
    assert bound.world.sandbox.resource_refused == 1


@pytest.mark.parametrize(
    ("nonces", "tries"),
    [
        ([None], 1),
        ([""], 1),
        (["with space"], 1),
        (["x" * 1025], 1),
        (["one", "two"], 2),
        (["one", "one"], 2),
    ],
    ids=str,
)
async def test_a_nonce_is_tried_once(bound: Here, nonces: list[str | None], tries: int) -> None:
    """Without another nonce there is nothing to try again, nor is there a third try."""
    for nonce in nonces:
        told = {} if nonce is None else {"DPoP-Nonce": nonce}
        bound.api.answers.append((401, {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'} | told))

    assert await bound.get() == 401

    assert len(bound.api.seen) == tries


async def test_a_dead_token_may_need_a_nonce_as_well(bound: Here) -> None:
    """A request is tried once more for each fault: its token, and its proof."""
    bad_proof = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"', "DPoP-Nonce": "nonce"}
    bad_token = {"WWW-Authenticate": 'DPoP error="invalid_token"'}
    for faults in ((bad_proof, bad_token), (bad_token, bad_proof)):
        bound.api.answers.extend([*((401, fault) for fault in faults), (204, {})])

        assert await bound.get() == 204
        bad_proof["DPoP-Nonce"] = "another"
        await bound.world.advance(600)

    assert len({seen.headers["DPoP"] for seen in bound.api.seen}) == 6
    assert len({*bound.api.tokens()}) == 3


async def test_a_proof_of_the_callers_is_refused(bound: Here) -> None:
    """With bound tokens a request that has a `DPoP` of its own is refused."""
    with pytest.raises(ConfigurationError, match="has DPoP already"):
        await bound.get(headers={"DPoP": "x"})

    assert bound.api.seen == []


# Secrets


async def test_what_is_raised_tells_no_token(bound: Here) -> None:
    """No error of a request, nor the frames that it passed through, show a token or a proof."""
    bound.api.answers.extend([(500, {})])
    url = bound.api.url()

    async with bound.session.get(url) as response:
        with pytest.raises(aiohttp.ClientResponseError) as refused:
            response.raise_for_status()
    nowhere = "http://127.0.0.1:1"
    middleware = TokenMiddleware(bound.source, origins=[nowhere])
    with pytest.raises(aiohttp.ClientConnectorError) as unreachable:
        await bound.session.get(nowhere, middlewares=[middleware])

    secrets = [(await bound.source.get_token()).value, bound.api.seen[0].headers["DPoP"]]
    for error in (refused.value, unreachable.value):
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next  # this function's own locals
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        for text in (*report.format(), repr(error), str(vars(error)), repr(response.request_info)):
            assert not any(secret in text for secret in secrets)
