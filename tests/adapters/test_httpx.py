"""Clients of httpx and httpx2 that carry the token: one flow for two packages."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import traceback
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, TokenSource
from okta_tokens.adapters import httpx as httpx_adapter
from okta_tokens.adapters import httpx2 as httpx2_adapter
from okta_tokens.errors import ConfigurationError, OAuthError, ProviderStateError
from okta_tokens.events import InvalidationIgnored
from okta_tokens.sandbox import SandboxClient
from tests.adapters.support import DPOP_APP, INSUFFICIENT_SCOPE, INVALID_TOKEN, Api, run_api
from tests.support import CLIENT_ID, SCOPES, SECRET, World, until, world


@dataclass
class Setup:
    """A provider with its sandbox, an API, and a client that carries the token to it."""

    package: ModuleType
    """`httpx` or `httpx2`; the tests use only what both have."""
    adapter: ModuleType
    world: World
    api: Api
    source: TokenSource
    client: Any

    async def get(self, target: str = "/orders", **options: Any) -> int:  # noqa: ANN401 - httpx's
        """Send a request to the API, and return the status of the response."""
        response = await self.client.get(self.api.url(target), **options)
        return int(response.status_code)

    async def post(self, **options: Any) -> int:  # noqa: ANN401 - httpx's
        """Send a body to the API, and return the status of the response."""
        response = await self.client.post(self.api.url(), **options)
        return int(response.status_code)

    def auth(self, source: TokenSource, *origins: str, **options: Any) -> Any:  # noqa: ANN401 - of either package
        """Return a `TokenAuth` of the package."""
        return self.adapter.TokenAuth(source, origins=origins, **options)

    @property
    def requests(self) -> int:
        """The number of token requests."""
        return self.world.sandbox.token_requests


PACKAGES = {"httpx": (httpx, httpx_adapter), "httpx2": (httpx2, httpx2_adapter)}

one_package = pytest.mark.parametrize("setup", ["httpx"], indirect=True)
"""For tests of what does not depend on the package."""


@asynccontextmanager
async def run_setup(
    name: str, app: SandboxClient | None = None, dpop: DPoP | None = None
) -> AsyncIterator[Setup]:
    """Run a provider, its sandbox, an API and a client."""
    package, adapter = PACKAGES[name]
    async with world(app=app, dpop=dpop) as running_world, run_api(running_world) as server:
        source = running_world.source()
        origins = [server.origin, running_world.sandbox.origin]
        auth = adapter.TokenAuth(source, origins=origins)
        async with package.AsyncClient(auth=auth, trust_env=False) as client:
            yield Setup(package, adapter, running_world, server, source, client)


@pytest.fixture(params=PACKAGES)
async def setup(request: pytest.FixtureRequest) -> AsyncIterator[Setup]:
    """A client that carries bearer tokens."""
    async with run_setup(request.param) as running:
        yield running


@pytest.fixture(params=PACKAGES)
async def bound(request: pytest.FixtureRequest) -> AsyncIterator[Setup]:
    """A client that carries tokens which are bound to a key."""
    async with run_setup(request.param, app=DPOP_APP, dpop=DPoP()) as running:
        yield running


async def test_requests_carry_the_token(setup: Setup) -> None:
    """Each request to an allowed origin carries the token, which is fetched once."""
    assert [await setup.get(), await setup.post(content=b"x")] == [200, 200]

    token = await setup.source.get_token()
    assert setup.api.authorizations() == [token.authorization] * 2
    assert setup.requests == 1


@one_package
async def test_nothing_is_sent_to_another_origin(setup: Setup) -> None:
    """A request to an origin that is not allowed, here another port, raises before it is sent."""
    async with run_api(setup.world) as other:
        with pytest.raises(ConfigurationError, match=r"TokenAuth: .* is not one of the origins"):
            await setup.client.get(other.url())

        assert (other.received, setup.requests) == ([], 0)


@pytest.mark.parametrize("status", [200, 401])
async def test_a_redirect_takes_no_token_to_another_origin(setup: Setup, status: int) -> None:
    """A redirect to another origin has no token, and a 401 there says nothing about the token."""
    async with run_api(setup.world) as other:
        other.responses.append((status, INVALID_TOKEN))

        assert await setup.get(f"/orders?to={other.url()}", follow_redirects=True) == status

        assert other.authorizations() == [None]
        assert await setup.get() == 200
        assert setup.requests == 1


async def test_a_redirect_within_an_origin_carries_the_token(setup: Setup) -> None:
    """A redirect to an allowed origin carries the token, and another one if it is rejected."""
    assert await setup.get("/old?to=/new", follow_redirects=True) == 200
    setup.world.sandbox.revoke_all()
    assert await setup.get("/old?to=/new", follow_redirects=True) == 200

    assert [request.target.partition("?")[0] for request in setup.api.received] == [
        *("/old", "/new"),
        *("/old", "/new", "/new"),
    ]
    assert None not in setup.api.authorizations()
    assert setup.requests == 2


async def test_no_request_keeps_the_token(setup: Setup) -> None:
    """After several redirects no request of the response and its history has the token."""
    url = setup.api.url("/a?to=%2Fb%3Fto%3D%2Fc")

    response = await setup.client.get(url, follow_redirects=True)

    assert None not in setup.api.authorizations()
    requests = [response.request, *(earlier.request for earlier in response.history)]
    assert len(requests) == 3
    assert not any("Authorization" in sent.headers for sent in requests)


async def test_a_redirect_to_another_allowed_origin_carries_the_token(setup: Setup) -> None:
    """A token that httpx removed is added again, and replaced if it is rejected."""
    target = f"/old?to={setup.world.sandbox.origin}/resource"
    for calls in (2, 5):
        response = await setup.client.get(setup.api.url(target), follow_redirects=True)

        assert response.status_code == 200
        assert setup.world.sandbox.resource_calls == calls
        setup.world.sandbox.revoke_all()
    assert setup.requests == 2


async def test_a_caller_may_follow_a_redirect(setup: Setup) -> None:
    """The next request of a response has no token, and gets one when it is sent."""
    response = await setup.client.get(setup.api.url("/old?to=/new"))
    assert "Authorization" not in response.next_request.headers

    response = await setup.client.send(response.next_request)

    assert response.status_code == 200
    assert None not in setup.api.authorizations()


@one_package
async def test_requests_to_other_origins_may_continue_without_a_token(setup: Setup) -> None:
    """With `pass_others` a request to another origin is sent unchanged."""
    auth = setup.auth(setup.source, setup.api.origin, pass_others=True)
    async with run_api(setup.world) as other:
        response = await setup.client.get(other.url(), auth=auth, headers={"Authorization": "mine"})

        assert response.status_code == 401
        assert other.authorizations() == ["mine"]
        assert setup.requests == 0


@one_package
async def test_invalid_arguments_raise_an_error(setup: Setup) -> None:
    """An object that is not a source, and an empty list of origins, raise an error."""
    with pytest.raises(ConfigurationError, match=r"^TokenAuth: source is not a TokenSource"):
        setup.adapter.TokenAuth(object(), origins=["https://a.example"])
    with pytest.raises(ConfigurationError, match=r"^TokenAuth: origins is empty"):
        setup.adapter.TokenAuth(setup.source, origins=[])


@pytest.mark.parametrize("name", PACKAGES)
async def test_an_upgrade_needs_both_origins(name: str) -> None:
    """An http origin needs its https origin, because httpx keeps the token on an upgrade."""
    package, adapter = PACKAGES[name]
    authorizations: dict[str, str | None] = {}

    def respond(request: Any) -> Any:  # noqa: ANN401 - httpx's
        authorizations[request.url.scheme] = request.headers.get("Authorization")
        upgraded = {"Location": "https://127.0.0.1/"}
        return package.Response(307 if request.url.scheme == "http" else 204, headers=upgraded)

    async with (
        world() as running_world,
        package.AsyncClient(
            transport=package.MockTransport(respond), follow_redirects=True
        ) as client,
    ):
        source = running_world.source()
        with pytest.raises(ConfigurationError, match=r"^TokenAuth: .* https://127\.0\.0\.1, which"):
            adapter.TokenAuth(source, origins=["https://a.example", "http://127.0.0.1"])
        auth = adapter.TokenAuth(source, origins=["http://127.0.0.1", "https://127.0.0.1"])
        response = await client.get("http://127.0.0.1/", auth=auth)

        assert response.status_code == 204
        assert {*authorizations.values()} == {(await source.get_token()).authorization}


async def test_a_web_socket_carries_the_token(setup: Setup) -> None:
    """The handshake of a web socket carries the token, also if the scheme is `ws`."""
    response = await setup.client.get(setup.api.url().replace("http:", "ws:"))

    assert response.status_code == 200
    assert None not in setup.api.authorizations()


@one_package
async def test_port_0_is_not_the_default_port(setup: Setup) -> None:
    """Port 0 is another origin than the default port of the scheme."""
    auth = setup.auth(setup.source, "https://api.acme.com")

    with pytest.raises(ConfigurationError, match=r"https://api\.acme\.com:0 is not one of"):
        await setup.client.get("https://api.acme.com:0", auth=auth)


async def test_token_requests_do_not_use_the_client(setup: Setup) -> None:
    """The client sends requests to the API only, not to Okta."""
    urls: list[str] = []

    async def record(request: Any) -> None:  # noqa: ANN401 - httpx's
        urls.append(str(request.url))

    setup.client.event_hooks = {"request": [record]}
    setup.api.responses.append((401, INVALID_TOKEN))

    assert await setup.get() == 200
    assert (urls, setup.requests) == ([setup.api.url()] * 2, 2)


async def test_a_request_with_credentials_raises_an_error(setup: Setup) -> None:
    """An `Authorization` header of the request, or of the client's defaults, raises an error."""
    with pytest.raises(ConfigurationError, match="already has the header Authorization"):
        await setup.get(headers={"authorization": "Basic abc"})
    setup.client.headers["Authorization"] = "Basic abc"
    with pytest.raises(ConfigurationError, match="already has the header Authorization"):
        await setup.get()

    assert (setup.api.received, setup.requests) == ([], 0)


async def test_a_request_can_be_sent_twice(setup: Setup) -> None:
    """A request has no token afterwards, so it can be sent again."""
    request = setup.client.build_request("GET", setup.api.url())

    for _ in range(2):
        response = await setup.client.send(request)
        assert response.status_code == 200
        assert "Authorization" not in request.headers


async def test_a_rejected_token_is_replaced(setup: Setup) -> None:
    """After a 401 for a revoked token the request is sent again, whole, with another token."""
    await setup.get()
    setup.world.sandbox.revoke_all()

    assert await setup.post(content=b"body") == 200

    assert [request.body for request in setup.api.received[1:]] == [b"body"] * 2
    assert setup.api.authorizations()[-1] == (await setup.source.get_token()).authorization
    assert setup.requests == 2


@one_package
async def test_a_second_401_is_returned(setup: Setup) -> None:
    """If the second token is rejected, too, the caller gets the 401, and there is no third try."""
    setup.api.responses.extend([(401, INVALID_TOKEN)] * 3)

    for _ in range(2):
        response = await setup.client.get(setup.api.url())
        assert (response.status_code, response.text) == (401, "scripted")

    await setup.world.quiet()
    assert (len({*setup.api.authorizations()}), len(setup.api.received), setup.requests) == (
        2,
        3,
        2,
    )
    assert len(setup.world.seen(InvalidationIgnored)) == 1


@one_package
@pytest.mark.parametrize("response", [(401, INSUFFICIENT_SCOPE), (403, INVALID_TOKEN)])
async def test_other_errors_are_returned(
    setup: Setup, response: tuple[int, dict[str, str]]
) -> None:
    """A 401 for a missing scope and a 403 are returned, and the token is kept."""
    setup.api.responses.append(response)

    assert await setup.get() == response[0]
    assert await setup.get() == 200
    assert (len(setup.api.received), setup.requests) == (2, 1)


@one_package
async def test_many_rejections_cause_one_token_request(setup: Setup) -> None:
    """If many requests get a 401 for one token, Okta gets one token request."""
    await setup.get()
    setup.world.sandbox.revoke_all()

    statuses = await asyncio.gather(*(setup.get(timeout=None) for _ in range(200)))

    assert ({*statuses}, setup.requests) == ({200}, 2)


async def test_one_connection_is_enough(setup: Setup) -> None:
    """A response with a 401 is read before the retry, so one connection serves both."""
    setup.api.responses.extend([(401, INVALID_TOKEN)] * 2)
    setup.api.body = "x" * 1_000_000
    transport = setup.package.AsyncHTTPTransport(limits=setup.package.Limits(max_connections=1))

    async with setup.package.AsyncClient(transport=transport) as client:
        auth = setup.auth(setup.source, setup.api.origin)
        response = await client.get(setup.api.url(), auth=auth, timeout=5)

    assert (response.status_code, len(response.text)) == (401, 1_000_000)


async def test_the_connection_is_free_while_a_token_is_fetched(setup: Setup) -> None:
    """A rejected request that waits for another token does not hold its connection."""
    secret_available = asyncio.Event()
    secret_available.set()

    async def secret() -> str:
        await secret_available.wait()
        return SECRET

    client = OktaClient(setup.world.sandbox.origin, CLIENT_ID, ClientSecretBasic(secret))
    source, url = setup.world.provider.source(client, "a"), setup.api.url()
    await source.get_token()
    secret_available.clear()
    setup.api.body = "x" * 1_000_000
    setup.api.responses.extend([(401, INVALID_TOKEN), (204, {})])
    transport = setup.package.AsyncHTTPTransport(limits=setup.package.Limits(max_connections=1))

    async with setup.package.AsyncClient(transport=transport) as http:
        auth = setup.auth(source, setup.api.origin)
        rejected = asyncio.create_task(http.get(url, auth=auth))
        await until(lambda: bool(setup.world.provider.stats().in_flight))
        assert (await http.get(url)).status_code == 204
        secret_available.set()
        assert (await rejected).status_code == 200


@one_package
async def test_without_a_token_nothing_is_sent(setup: Setup) -> None:
    """If no token can be fetched, the error is raised, and the API receives nothing."""
    source = setup.world.source("unknown")

    with pytest.raises(OAuthError, match="scope"):
        await setup.get(auth=setup.auth(source, setup.api.origin))

    assert setup.api.received == []


@one_package
async def test_without_another_token_the_error_of_the_fetch_is_raised(setup: Setup) -> None:
    """If the token is rejected and another one cannot be fetched, the caller gets that error."""
    await setup.get()
    setup.world.sandbox.revoke_all()
    setup.world.sandbox.put_client(SandboxClient(CLIENT_ID, ["another"], scopes=SCOPES))

    with pytest.raises(OAuthError):
        await setup.get()

    assert len(setup.api.received) == 2


@one_package
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


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"content": b"body"},
    "form": lambda: {"data": {"a": "b"}},
    "json": lambda: {"json": {"a": "b"}},
}
STREAMS: dict[str, Callable[[], dict[str, Any]]] = {
    "generator": lambda: {"content": chunks()},
    "file": lambda: {"files": {"file": io.BytesIO(b"body")}},
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_in_memory_is_sent_again(setup: Setup, body: str) -> None:
    """A body in memory is sent again, whole, after a 401."""
    setup.api.responses.append((401, INVALID_TOKEN))

    assert await setup.post(**BODIES[body]()) == 200

    first, second = (request.body for request in setup.api.received)
    assert first == second != b""


@pytest.mark.parametrize("body", STREAMS)
async def test_a_streamed_body_is_not_sent_again(setup: Setup, body: str) -> None:
    """The caller gets the 401 for a streamed body, and the next request has another token."""
    await setup.get()
    setup.world.sandbox.revoke_all()

    assert await setup.post(**STREAMS[body]()) == 401
    assert await setup.post(**STREAMS[body]()) == 200

    assert len(setup.api.received) == 3
    assert all(request.body for request in setup.api.received[1:])
    assert setup.requests == 2


async def test_a_streamed_response_is_not_read(setup: Setup) -> None:
    """A response that needs no retry is not read before the caller gets it."""
    async with setup.client.stream("GET", setup.api.url()) as response:
        assert not response.is_stream_consumed
        assert await response.aread() != b""


# Time-outs and cancellation


async def test_cancellation_before_a_retry_leaves_nothing_behind(setup: Setup) -> None:
    """A request that is cancelled while it waits for another token ends; the fetch continues."""
    await setup.get()
    setup.world.sandbox.revoke_all()
    setup.world.sandbox.latency = 0.2
    request = setup.client.build_request("GET", setup.api.url())
    sending = asyncio.create_task(setup.client.send(request))
    await until(lambda: bool(setup.world.provider.stats().in_flight))

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    assert "Authorization" not in request.headers
    assert await setup.get() == 200
    assert (len(setup.api.received), setup.requests) == (3, 2)


async def test_a_failed_request_has_no_token_afterwards(setup: Setup) -> None:
    """The headers of a request that failed have no token."""
    closed_origin = "http://127.0.0.1:1"
    request = setup.client.build_request("GET", closed_origin)

    with pytest.raises(setup.package.ConnectError):
        await setup.client.send(request, auth=setup.auth(setup.source, closed_origin))

    assert "Authorization" not in request.headers


class SlowSecret:
    """A source of another client, whose secret is there only while it is released."""

    def __init__(self, setup: Setup) -> None:
        self.available = asyncio.Event()
        client = OktaClient(setup.world.sandbox.origin, CLIENT_ID, ClientSecretBasic(self._secret))
        self.source = setup.world.provider.source(client, "a")

    async def _secret(self) -> str:
        await self.available.wait()
        return SECRET


async def test_waiting_for_a_token_counts_against_the_connect_time_out(setup: Setup) -> None:
    """A request whose token does not arrive in time raises `ConnectTimeout`; the fetch continues.

    That holds for the first token, and for another one after a 401.
    """
    slow = SlowSecret(setup)
    auth, limits = setup.auth(slow.source, setup.api.origin), setup.package.Timeout(60, connect=0.1)
    for requests in (1, 2):
        request = setup.client.build_request("GET", setup.api.url(), timeout=limits)
        setup.api.responses.append((401, INVALID_TOKEN))
        with pytest.raises(setup.package.ConnectTimeout, match=r"^no token .* 0\.1 s;") as late:
            await setup.client.send(request, auth=auth)

        assert late.value.request is request
        assert setup.requests == len(setup.api.received) == requests - 1
        slow.available.set()
        setup.api.responses.clear()
        await slow.source.get_token()
        slow.available.clear()
        assert setup.requests == requests


@one_package
async def test_the_time_out_of_the_adapter_wins(setup: Setup) -> None:
    """With `token_timeout` a request waits as long as that for a token, whatever the client has."""
    slow = SlowSecret(setup)
    none, short = setup.package.Timeout(None), setup.package.Timeout(60, connect=0.01)
    with pytest.raises(setup.package.ConnectTimeout, match=r"within 0\.1 s"):
        await setup.get(
            auth=setup.auth(slow.source, setup.api.origin, token_timeout=0.1), timeout=none
        )
    await setup.get("/", auth=None)  # opens the connection, so that no later request has to
    patient = setup.auth(slow.source, setup.api.origin, token_timeout=60)

    waiting = asyncio.create_task(setup.get(auth=patient, timeout=short))
    with pytest.raises(setup.package.ConnectTimeout):
        await setup.get(auth=setup.auth(slow.source, setup.api.origin), timeout=0.1)
    slow.available.set()

    assert await waiting == 200


async def test_a_request_may_have_no_time_outs(setup: Setup) -> None:
    """A request that the client did not build, and that has no time-outs, gets its token, too."""
    request = setup.package.Request("GET", setup.api.url())

    assert (await setup.client.send(request)).status_code == 200


@one_package
@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "5", True])
async def test_an_invalid_time_out_raises_an_error(setup: Setup, seconds: Any) -> None:  # noqa: ANN401 - invalid
    """A time-out for the token that is not a positive number of seconds raises an error."""
    with pytest.raises(ConfigurationError, match=r"^TokenAuth: token_timeout must be a positive"):
        setup.auth(setup.source, setup.api.origin, token_timeout=seconds)


async def test_a_request_that_timed_out_can_be_sent_again(setup: Setup) -> None:
    """After a time-out the request has no token, and the source keeps the token."""
    test_is_over = asyncio.Event()

    async def never_respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await test_is_over.wait()
        writer.close()

    server = await asyncio.start_server(never_respond, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    auth = setup.auth(setup.source, origin, setup.api.origin)
    limits = setup.package.Timeout(5, read=0.1)
    request = setup.client.build_request("GET", origin, timeout=limits)
    with pytest.raises(setup.package.ReadTimeout) as failure:
        await setup.client.send(request, auth=auth)

    value = (await setup.source.get_token()).value
    assert value not in all_text(failure.value)
    request.url = setup.package.URL(setup.api.url())
    request.extensions["timeout"]["read"] = 5
    assert (await setup.client.send(request, auth=auth)).status_code == 200
    assert setup.requests == 1
    test_is_over.set()
    server.close()
    await server.wait_closed()


# Proofs


def claims(setup: Setup) -> list[dict[str, Any]]:
    """Return the claims of the proofs that the API received."""
    proofs = [request.headers["DPoP"].split(".")[1] + "==" for request in setup.api.received]
    return [json.loads(urlsafe_b64decode(proof)) for proof in proofs]


async def test_each_request_has_a_proof_of_its_own(bound: Setup) -> None:
    """A bound token is sent with a proof for this request, also if the path has escapes."""
    for target in ("", "/users/me%40acme.com?x=1&y=%20", "/a%20b"):
        for method in ("GET", "DELETE"):
            url = f"{bound.world.sandbox.origin}/resource{target}"
            assert (await bound.client.request(method, url)).status_code == 200

    assert bound.world.sandbox.resource_refused == 0


async def test_a_request_with_a_proof_raises_an_error(bound: Setup) -> None:
    """A request that already has a `DPoP` header raises an error."""
    with pytest.raises(ConfigurationError, match="already has the header DPoP"):
        await bound.get(headers={"dpop": "mine"})

    assert bound.api.received == []


async def test_a_redirect_has_a_proof_of_its_own(bound: Setup) -> None:
    """If a redirect leads to another URL, the request is retried with a proof for that URL."""
    resource = f"{bound.world.sandbox.origin}/resource/new"

    assert await bound.get(f"/old?to={resource}", follow_redirects=True) == 200
    for challenge in ('DPoP error="invalid_dpop_proof"', "DPoP"):
        rejection = (401, {"WWW-Authenticate": challenge})
        bound.api.responses.extend([(307, {"Location": "/new"}), rejection, (204, {})])
        assert await bound.get("/old", follow_redirects=True) == 204

    paths = ["old", *["old", "old", "new"] * 2]
    assert [claim["htu"].rpartition("/")[2] for claim in claims(bound)] == paths
    assert bound.requests == 2  # one for Okta's nonce, one for the token


async def test_a_nonce_is_put_into_the_proof(bound: Setup) -> None:
    """A server that wants its nonce in the proof rejects the first request only."""
    sandbox = bound.world.sandbox
    sandbox.resource_nonce = True

    for _ in range(3):
        assert (await bound.client.get(f"{sandbox.origin}/resource")).status_code == 200

    assert (sandbox.resource_calls, sandbox.resource_refused) == (4, 1)
    assert bound.requests == 2  # one for Okta's nonce, one for the token


async def test_each_origin_has_its_own_nonce(bound: Setup) -> None:
    """The nonce of one origin is not sent to another origin."""
    nonce_required = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
    bound.world.sandbox.resource_nonce = True
    await bound.client.get(f"{bound.world.sandbox.origin}/resource")
    bound.api.responses.extend([(400, nonce_required | {"DPoP-Nonce": "theirs"}), (204, {})])

    assert await bound.get() == 204

    assert [claim.get("nonce") for claim in claims(bound)] == [None, "theirs"]


# Secrets


def all_text(error: BaseException) -> str:
    """Return all text of an error: message, attributes, request headers, locals of all frames."""
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # drop the locals of the test
    formatted = traceback.TracebackException.from_exception(error, capture_locals=True)
    sent = getattr(error, "request", None)
    headers = [] if sent is None else [*sent.headers.multi_items()]
    return "".join([*formatted.format(), repr(error), str(vars(error)), str(headers)])


async def secrets(setup: Setup) -> list[str]:
    """Return the token, and the proofs that the API received."""
    proofs = [
        request.headers["DPoP"] for request in setup.api.received if "DPoP" in request.headers
    ]
    return [(await setup.source.get_token()).value, *proofs]


async def test_errors_show_no_token(bound: Setup) -> None:
    """No error of a request, and no frame of its traceback, shows a token or a proof."""
    bound.api.responses.append((500, {}))
    response = await bound.client.get(bound.api.url())

    with pytest.raises(bound.package.HTTPStatusError) as bad_status:
        response.raise_for_status()
    closed_origin = "http://127.0.0.1:1"
    with pytest.raises(bound.package.ConnectError) as unreachable:
        await bound.client.get(closed_origin, auth=bound.auth(bound.source, closed_origin))

    for error in (bad_status.value, unreachable.value):
        text = all_text(error)
        assert not any(secret in text for secret in await secrets(bound))


after_a_redirect = pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/round", "TooManyRedirects"),
        ("http://127.0.0.1:1", "ConnectError"),
        ("/bad", "HTTPStatusError"),
    ],
)
"""Where a redirect leads to, and how the request fails there."""


async def raise_for_status(response: Any) -> None:  # noqa: ANN401 - httpx's
    """Raise an error for a 4xx or 5xx, as many clients do in an event hook."""
    if not response.has_redirect_location:
        response.raise_for_status()


@after_a_redirect
async def test_errors_after_a_redirect_show_no_token(bound: Setup, target: str, error: str) -> None:
    """An error shows no token and no proof, even if httpx itself made its request."""
    redirects = 3 if target == "/round" else 1
    bound.api.responses.extend([(307, {"Location": target})] * redirects + [(400, {})])
    bound.client.max_redirects = 2
    bound.client.event_hooks = {"response": [raise_for_status]}

    with pytest.raises(getattr(bound.package, error)) as failure:
        await bound.client.get(bound.api.url(), follow_redirects=True)

    text = all_text(failure.value)
    assert not any(secret in text for secret in await secrets(bound))
    assert not {"authorization", "dpop"} & {*failure.value.request.headers}


@pytest.mark.parametrize("error", ["ReadError", "InvalidURL", "CancelledError"])
async def test_an_error_without_a_request_is_raised(setup: Setup, error: str) -> None:
    """An error that does not name its request is raised, and the request keeps no token."""
    failure = getattr(setup.package, error, asyncio.CancelledError)("mine")

    async def fail(request: Any) -> None:  # noqa: ANN401 - httpx's
        assert "Authorization" in request.headers
        raise failure

    setup.client.event_hooks = {"request": [fail]}
    request = setup.client.build_request("GET", setup.api.url())

    with pytest.raises(type(failure), match=r"^mine$"):
        await setup.client.send(request)

    assert "Authorization" not in request.headers


# Imports


@pytest.mark.parametrize(("name", "other"), [("httpx", "httpx2"), ("httpx2", "httpx")])
def test_neither_package_needs_the_other(name: str, other: str) -> None:
    """An adapter can be imported if the package of the other adapter is missing."""
    program = f"import sys; sys.modules['{other}'] = None; import okta_tokens.adapters.{name}"

    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(not hasattr(httpx2, "alias_httpx"), reason="httpx2 before 2.9 has no alias")
def test_both_adapters_work_with_an_alias_of_httpx2() -> None:
    """If httpx2 is an alias for httpx, both adapters are adapters of httpx2."""
    program = """
import httpx2
httpx2.alias_httpx()
from okta_tokens.adapters import httpx, httpx2 as httpx2_adapter
assert issubclass(httpx.TokenAuth, httpx2.Auth)
assert issubclass(httpx2_adapter.TokenAuth, httpx2.Auth)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
