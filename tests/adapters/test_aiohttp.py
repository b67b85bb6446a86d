"""An aiohttp session that carries the token."""

from __future__ import annotations

import asyncio
import io
import json
import traceback
from base64 import urlsafe_b64decode
from collections import deque
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
from tests.adapters.support import DPOP_APP, INSUFFICIENT_SCOPE, INVALID_TOKEN, Api, run_api
from tests.support import CLIENT_ID, SCOPES, World, until, world


@dataclass
class Setup:
    """A provider with its sandbox, an API, and a session that carries the token to it."""

    world: World
    api: Api
    source: TokenSource
    session: aiohttp.ClientSession

    async def get(self, target: str = "/orders", **options: Any) -> int:  # noqa: ANN401 - aiohttp's
        """Send a request to the API, and return the status of the response."""
        async with self.session.get(self.api.url(target), **options) as response:
            await response.read()
            return response.status

    async def post(self, body: object, **options: Any) -> int:  # noqa: ANN401 - aiohttp's
        """Send a body to the API, and return the status of the response."""
        async with self.session.post(self.api.url(), data=body, **options) as response:
            return response.status

    @property
    def requests(self) -> int:
        """The number of token requests."""
        return self.world.sandbox.token_requests


@asynccontextmanager
async def run_setup(
    app: SandboxClient | None = None,
    dpop: DPoP | None = None,
    **options: Any,  # noqa: ANN401 - aiohttp's
) -> AsyncIterator[Setup]:
    """Run a provider, its sandbox, an API and a session."""
    async with world(app=app, dpop=dpop) as running_world, run_api(running_world) as server:
        source = running_world.source()
        middleware = TokenMiddleware(source, origins=[server.origin, running_world.sandbox.origin])
        async with aiohttp.ClientSession(middlewares=[middleware], **options) as session:
            yield Setup(running_world, server, source, session)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    """A session that carries bearer tokens."""
    async with run_setup() as running:
        yield running


async def test_requests_carry_the_token(setup: Setup) -> None:
    """Each request to an allowed origin carries the token, which is fetched once."""
    assert [await setup.get(), await setup.post(b"x")] == [200, 200]

    token = await setup.source.get_token()
    assert setup.api.authorizations() == [token.authorization] * 2
    assert setup.requests == 1


async def test_a_web_socket_carries_the_token(setup: Setup) -> None:
    """The handshake of a web socket carries the token, also if the scheme is `ws`."""
    url = setup.api.url().replace("http:", "ws:")

    with pytest.raises(aiohttp.WSServerHandshakeError):
        await setup.session.ws_connect(url)

    assert setup.api.authorizations() == [(await setup.source.get_token()).authorization]


async def test_nothing_is_sent_to_another_origin(setup: Setup) -> None:
    """A request to an origin that is not allowed, here another port, raises before it is sent."""
    async with run_api(setup.world) as other:
        with pytest.raises(
            ConfigurationError, match=r"is not one of the origins, so nothing was sent"
        ):
            await setup.session.get(other.url())

        assert (other.received, setup.requests) == ([], 0)


async def test_a_redirect_takes_no_token_to_another_origin(setup: Setup) -> None:
    """A redirect to another origin raises an error, and that origin receives nothing."""
    async with run_api(setup.world) as other:
        with pytest.raises(ConfigurationError, match=r"and redirected ones, without a token"):
            await setup.get(f"/orders?to={other.url()}")

        assert other.received == []


async def test_no_proxy_gets_the_token(setup: Setup) -> None:
    """A plain http request through a proxy raises an error, also if it is to this machine."""
    async with run_api(setup.world) as proxy:
        with pytest.raises(ConfigurationError, match="would get the token in clear text"):
            await setup.get(proxy=proxy.origin)

        assert (proxy.received, setup.requests) == ([], 0)


async def test_a_redirect_within_an_origin_carries_the_token(setup: Setup) -> None:
    """A redirect to an allowed origin carries the token."""
    assert await setup.get("/old?to=/new") == 200

    assert setup.api.authorizations() == [(await setup.source.get_token()).authorization] * 2


async def test_requests_to_other_origins_may_continue_without_a_token(setup: Setup) -> None:
    """With `pass_others` a request to another origin, also a redirected one, has no token."""
    middleware = TokenMiddleware(setup.source, origins=[setup.api.origin], pass_others=True)
    async with (
        run_api(setup.world) as other,
        aiohttp.ClientSession(middlewares=[middleware]) as session,
    ):
        for url in (other.url(), setup.api.url(f"/orders?to={other.url()}")):
            async with session.get(url, headers={"X-Mine": "kept"}) as response:
                assert response.status == 401

        assert other.authorizations() == [None, None]
        assert [request.headers["X-Mine"] for request in other.received] == ["kept"] * 2


async def test_several_apis_share_a_session(setup: Setup) -> None:
    """Each of several middlewares adds its token for its own origins, in any order."""
    async with run_api(setup.world) as other:
        reports = setup.world.source("b")
        middlewares = [
            TokenMiddleware(setup.source, origins=[setup.api.origin], pass_others=True),
            TokenMiddleware(reports, origins=[other.origin], pass_others=True),
        ]
        async with (
            aiohttp.ClientSession(middlewares=middlewares) as session,
            session.get(setup.api.url()) as first,
            session.get(other.url()) as second,
        ):
            assert (first.status, second.status) == (200, 200)

        assert setup.api.authorizations() == [(await setup.source.get_token()).authorization]
        assert other.authorizations() == [(await reports.get_token()).authorization]


async def test_invalid_arguments_raise_an_error(setup: Setup) -> None:
    """An object that is not a source, and an empty list of origins, raise an error."""
    with pytest.raises(ConfigurationError, match=r"^TokenMiddleware: source is not a TokenSource"):
        TokenMiddleware(object(), origins=["https://a.example"])  # type: ignore[arg-type]  # invalid
    with pytest.raises(ConfigurationError, match=r"^TokenMiddleware: origins is empty"):
        TokenMiddleware(setup.source, origins=[])


async def test_a_request_with_credentials_raises_an_error(setup: Setup) -> None:
    """A request that already has an `Authorization` header raises an error and is not sent."""
    match = "already has the header Authorization, so nothing was sent"
    with pytest.raises(ConfigurationError, match=match):
        await setup.get(headers={"authorization": "Basic abc"})

    assert (setup.api.received, setup.requests) == ([], 0)


async def test_the_error_does_not_show_the_credentials_of_the_caller(setup: Setup) -> None:
    """No frame of this package shows the credentials of a request that already has some."""
    with pytest.raises(ConfigurationError) as caught:
        await setup.get(headers={"Authorization": "Basic Canary"})

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    for frame in report.stack:
        if "okta_tokens" in frame.filename:
            assert "Canary" not in str(frame.locals)


async def test_credentials_of_the_session_or_the_url_raise_an_error() -> None:
    """Credentials from the defaults of the session, or from the URL, raise an error, too."""
    async with run_setup(headers={"Authorization": "Basic abc"}) as setup:
        with pytest.raises(ConfigurationError, match="already has the header Authorization"):
            await setup.get()
    async with run_setup() as setup:
        with pytest.raises(ConfigurationError, match="already has the header Authorization"):
            await setup.session.get(setup.api.url().replace("//", "//user:password@"))


async def test_a_rejected_token_is_replaced(setup: Setup) -> None:
    """After a 401 for a revoked token the request is sent again, whole, with another token."""
    await setup.get()
    setup.world.sandbox.revoke_all()

    assert await setup.post(b"body") == 200

    assert [request.body for request in setup.api.received[1:]] == [b"body"] * 2
    assert setup.api.authorizations()[-1] == (await setup.source.get_token()).authorization
    assert setup.requests == 2


async def test_a_second_401_is_returned(setup: Setup) -> None:
    """If the second token is rejected, too, the caller gets the 401, and there is no third try."""
    setup.api.responses.extend([(401, INVALID_TOKEN)] * 2)

    async with setup.session.get(setup.api.url()) as response:
        assert (response.status, await response.text()) == (401, "scripted")

    assert (len({*setup.api.authorizations()}), len(setup.api.received), setup.requests) == (
        2,
        2,
        2,
    )
    await setup.world.quiet()
    assert len(setup.world.seen(InvalidationIgnored)) == 1


async def test_a_rejected_token_is_not_sent_again(setup: Setup) -> None:
    """If the source still returns the rejected token, the caller gets the 401 and its body."""
    setup.api.responses.extend([(401, INVALID_TOKEN)] * 3)
    await setup.get()

    async with setup.session.get(setup.api.url()) as response:
        assert (response.status, await response.text()) == (401, "scripted")

    assert (len(setup.api.received), setup.requests) == (3, 2)


@pytest.mark.parametrize("response", [(401, INSUFFICIENT_SCOPE), (403, INVALID_TOKEN), (500, {})])
async def test_other_errors_are_returned(
    setup: Setup, response: tuple[int, dict[str, str]]
) -> None:
    """A 401 for a missing scope, a 403 and other errors are returned, and the token is kept."""
    setup.api.responses.append(response)

    assert await setup.get() == response[0]
    assert await setup.get() == 200
    assert (len(setup.api.received), setup.requests) == (2, 1)


async def test_many_rejections_cause_one_token_request(setup: Setup) -> None:
    """If two hundred requests get a 401 for one token, Okta gets one token request."""
    await setup.get()
    setup.world.sandbox.revoke_all()

    statuses = await asyncio.gather(*(setup.get() for _ in range(200)))

    assert ({*statuses}, setup.requests) == ({200}, 2)


async def test_the_connection_is_free_while_the_token_is_fetched() -> None:
    """A session with one connection serves both the API and the token request after a 401."""
    async with world() as running_world, run_api(running_world) as server:
        connector = aiohttp.TCPConnector(limit=1)
        async with (
            aiohttp.ClientSession(connector=connector, read_bufsize=1) as session,
            TokenProvider(session=session) as provider,
        ):
            source = provider.source(running_world.client, "a")
            middlewares = [TokenMiddleware(source, origins=[server.origin])]
            server.responses.append((401, INVALID_TOKEN))
            server.body = "x" * 1_000_000
            async with session.get(server.url(), middlewares=middlewares) as response:
                assert response.status == 200
            assert running_world.sandbox.token_requests == 2


async def test_without_a_token_nothing_is_sent(setup: Setup) -> None:
    """If no token can be fetched, the error is raised, and the API receives nothing."""
    source = setup.world.source("unknown")
    middleware = TokenMiddleware(source, origins=[setup.api.origin])

    with pytest.raises(OAuthError, match="scope"):
        await setup.get(middlewares=[middleware])

    assert setup.api.received == []


async def test_without_another_token_the_error_of_the_fetch_is_raised(setup: Setup) -> None:
    """If the token is rejected and another one cannot be fetched, the caller gets that error."""
    await setup.get()
    setup.world.sandbox.revoke_all()
    setup.world.sandbox.put_client(SandboxClient(CLIENT_ID, ["another"], scopes=SCOPES))

    with pytest.raises(OAuthError):
        await setup.get()

    assert len(setup.api.received) == 2


async def test_a_closed_provider_sends_nothing(setup: Setup) -> None:
    """After the provider is closed, a request raises an error and is not sent."""
    await setup.get()
    await setup.world.provider.aclose()

    with pytest.raises(ProviderStateError):
        await setup.get()

    assert len(setup.api.received) == 1


# Bodies


async def chunks() -> AsyncIterator[bytes]:
    """Yield a body that can be read only once."""
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
    "form": lambda: {"a": "b"},
    "file": lambda: io.BytesIO(b"body"),
    "multipart": multipart,
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_that_can_be_read_again_is_sent_again(setup: Setup, body: str) -> None:
    """A body that can be read twice is sent again, whole, after a 401."""
    setup.api.responses.append((401, INVALID_TOKEN))

    assert await setup.post(BODIES[body]()) == 200

    first, second = (request.body for request in setup.api.received)
    assert first == second != b""


async def test_a_body_that_can_be_read_once_is_not_sent_again(setup: Setup) -> None:
    """The caller gets the 401 for a streamed body, and the next request has another token."""
    await setup.get()
    setup.world.sandbox.revoke_all()

    assert await setup.post(chunks()) == 401
    assert setup.requests == 1
    assert await setup.post(chunks()) == 200

    assert [request.body for request in setup.api.received[1:]] == [b"onetwo"] * 2
    assert setup.requests == 2


async def test_a_body_that_was_not_read_is_sent_later(setup: Setup) -> None:
    """With `Expect: 100-continue` a 401 arrives before the body is read, so a retry is possible."""
    setup.api.responds_early = True
    setup.api.responses.append((401, INVALID_TOKEN))

    assert await setup.post(chunks(), expect100=True) == 200

    assert [request.body for request in setup.api.received] == [None, b"onetwo"]
    assert setup.requests == 2


@pytest.mark.parametrize("expect100", [False, True])
async def test_a_401_may_arrive_while_the_body_is_sent(setup: Setup, *, expect100: bool) -> None:
    """A 401 that arrives while a long body is sent stops it; then the whole body is sent."""
    setup.api.responds_early = True
    setup.api.responses.append((401, INVALID_TOKEN))
    body = b"x" * 8_000_000

    assert await setup.post(io.BytesIO(body), expect100=expect100) == 200

    assert [request.body for request in setup.api.received] == [None, body]


# Time-outs and cancellation


async def test_waiting_for_a_token_counts_against_the_time_out(setup: Setup) -> None:
    """A request that times out while its token is fetched raises an error; the fetch continues."""
    setup.world.sandbox.latency = 0.2

    with pytest.raises(TimeoutError):
        await setup.get(timeout=aiohttp.ClientTimeout(total=0.05))

    assert setup.api.received == []
    assert await setup.get() == 200
    assert setup.requests == 1


async def test_cancellation_before_a_retry_leaves_nothing_behind(setup: Setup) -> None:
    """A request that is cancelled while it waits for another token ends; the fetch continues."""
    await setup.get()
    setup.world.sandbox.revoke_all()
    setup.world.sandbox.latency = 0.2
    request = asyncio.create_task(setup.get())
    await until(lambda: bool(setup.world.provider.stats().in_flight))

    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
    assert await setup.get() == 200
    assert (len(setup.api.received), setup.requests) == (3, 2)
    assert not setup.session.connector or not setup.session.connector._acquired


# Proofs


@pytest.fixture
async def bound() -> AsyncIterator[Setup]:
    """A session that carries tokens which are bound to a key."""
    async with run_setup(app=DPOP_APP, dpop=DPoP()) as running:
        yield running


def get_resource(
    setup: Setup, target: str = ""
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """Send a request to the sandbox's resource, which checks proofs."""
    return setup.session.get(f"{setup.world.sandbox.origin}/resource{target}")


async def test_each_request_has_a_proof_of_its_own(bound: Setup) -> None:
    """A bound token is sent with a proof for this request, also if the path has escapes."""
    for target in ("", "/users/me%40acme.com?x=1&y=%20", "/a%20b"):
        async with get_resource(bound, target) as response:
            assert response.status == 200
    await bound.get("/old?to=/new")

    # The API passes a proof that was made for the API on to the sandbox's resource.
    assert bound.world.sandbox.resource_refused == 1
    assert len({request.headers["DPoP"] for request in bound.api.received}) == 2


async def test_a_nonce_is_put_into_the_proof(bound: Setup) -> None:
    """A server that wants its nonce in the proof rejects the first request only."""
    sandbox = bound.world.sandbox
    sandbox.resource_nonce = True

    for _ in range(3):
        async with get_resource(bound) as response:
            assert response.status == 200

    assert (sandbox.resource_calls, sandbox.resource_refused) == (4, 1)
    assert bound.requests == 2  # one for Okta's nonce, one for the token


async def test_each_origin_has_its_own_nonce(bound: Setup) -> None:
    """The nonce of one origin is not sent to another origin."""
    nonce_required = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
    bound.world.sandbox.resource_nonce = True
    async with get_resource(bound):
        pass
    bound.api.responses.extend([(401, nonce_required | {"DPoP-Nonce": "theirs"}), (204, {})])

    assert await bound.get() == 204
    async with get_resource(bound) as response:
        assert response.status == 200

    proofs = [request.headers["DPoP"].split(".")[1] + "==" for request in bound.api.received]
    claims = [json.loads(urlsafe_b64decode(proof)) for proof in proofs]
    assert [claim.get("nonce") for claim in claims] == [None, "theirs"]
    assert bound.world.sandbox.resource_refused == 1


@pytest.mark.parametrize(
    ("nonces", "requests"),
    [([None], 1), (["with space"], 1), (["one", "two"], 2), (["one", "one"], 2)],
    ids=str,
)
async def test_a_proof_is_replaced_once(
    bound: Setup, nonces: list[str | None], requests: int
) -> None:
    """Without a valid new nonce there is no retry, and there is no second retry."""
    for nonce in nonces:
        headers = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
        if nonce is not None:
            headers["DPoP-Nonce"] = nonce
        bound.api.responses.append((401, headers))

    assert await bound.get() == 401

    assert len(bound.api.received) == requests


@pytest.mark.parametrize("status", [400, 401])
async def test_a_server_that_asks_for_a_nonce_keeps_the_token(bound: Setup, status: int) -> None:
    """A 400 or 401 that asks for a nonce gets another proof with the same token, once."""
    challenge = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
    answers = [(status, challenge | {"DPoP-Nonce": nonce}) for nonce in ("one", "two")]
    bound.api.responses.extend([answers[0], (204, {}), *reversed(answers)])

    assert [await bound.get(), await bound.get()] == [204, status]

    assert len({*bound.api.authorizations()}) == 1
    assert (
        len(bound.api.received) == len({sent.headers["DPoP"] for sent in bound.api.received}) == 4
    )


async def test_a_401_without_a_reason_gets_another_proof_first(bound: Setup) -> None:
    """With a new nonce, another proof is tried before the token is given up; only once."""
    for nonces, tokens in ((["one"], 1), (["two", "three"], 2)):
        bare = [(401, {"WWW-Authenticate": "DPoP", "DPoP-Nonce": nonce}) for nonce in nonces]
        bound.api.responses.extend([*bare, (204, {})])

        assert await bound.get() == 204

        assert (bound.api.responses, len({*bound.api.authorizations()})) == (deque(), tokens)


@pytest.mark.parametrize("error", ["invalid_token", "invalid_request", "use_dpop_nonce"])
async def test_another_400_is_returned(bound: Setup, error: str) -> None:
    """A 400 for another reason, or without a new nonce, is returned, and the token is kept."""
    bound.api.responses.extend([(400, {"WWW-Authenticate": f'DPoP error="{error}"'}), (204, {})])

    assert [await bound.get(), await bound.get()] == [400, 204]

    assert len({*bound.api.authorizations()}) == 1


async def test_both_the_token_and_the_proof_can_be_replaced(bound: Setup) -> None:
    """A request whose token and whose proof are rejected is retried once for each of them."""
    bad_proof = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"', "DPoP-Nonce": "nonce"}
    bad_token = {"WWW-Authenticate": 'DPoP error="invalid_token"'}
    for rejections in ((bad_proof, bad_token), (bad_token, bad_proof)):
        bound.api.responses.extend([*((401, headers) for headers in rejections), (204, {})])

        assert await bound.get() == 204
        bad_proof["DPoP-Nonce"] = "another"
        await bound.world.advance(600)

    assert len({request.headers["DPoP"] for request in bound.api.received}) == 6
    assert len({*bound.api.authorizations()}) == 3


async def test_a_request_with_a_proof_raises_an_error(bound: Setup) -> None:
    """With bound tokens a request that already has a `DPoP` header raises an error."""
    with pytest.raises(ConfigurationError, match="already has the header DPoP"):
        await bound.get(headers={"DPoP": "x"})

    assert bound.api.received == []


# Secrets


async def test_errors_show_no_token(bound: Setup) -> None:
    """No error of a request, and no frame of its traceback, shows a token or a proof."""
    bound.api.responses.extend([(500, {})])
    url = bound.api.url()

    async with bound.session.get(url) as response:
        with pytest.raises(aiohttp.ClientResponseError) as bad_status:
            response.raise_for_status()
    nowhere = "http://127.0.0.1:1"
    middleware = TokenMiddleware(bound.source, origins=[nowhere])
    with pytest.raises(aiohttp.ClientConnectorError) as unreachable:
        await bound.session.get(nowhere, middlewares=[middleware])

    secrets = [(await bound.source.get_token()).value, bound.api.received[0].headers["DPoP"]]
    for error in (bad_status.value, unreachable.value):
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next  # drop the locals of this test
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        for text in (*report.format(), repr(error), str(vars(error)), repr(response.request_info)):
            assert not any(secret in text for secret in secrets)
