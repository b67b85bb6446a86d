"""Adapters with sources that no provider made: a fake, and a wrapper around a source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import grpc
import httpx
import httpx2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from grpc import aio

from okta_tokens import AccessToken, AnyTokenSource, DPoP, TokenKey, TokenProvider, TokenSource
from okta_tokens.adapters import httpx as httpx_adapter
from okta_tokens.adapters import httpx2 as httpx2_adapter
from okta_tokens.adapters.aiohttp import TokenMiddleware
from okta_tokens.adapters.grpc import token_channel, token_interceptors
from okta_tokens.errors import ConfigurationError, TransportError
from okta_tokens.events import PlainHttpUsed
from okta_tokens.testing import FakeTokenSource, fake_token
from tests.adapters.support import DPOP_APP, INVALID_TOKEN
from tests.support import world

Call = Callable[[], Awaitable[int]]
"""Sends one request, and returns a status of HTTP."""


class Service:
    """A service that accepts each token but the rejected ones, over HTTP and gRPC."""

    def __init__(self, *rejected: str) -> None:
        self.received: list[object] = []
        """The authorization of each request."""
        self.rejected = {*rejected}
        """The values of the tokens that the service rejects."""

    def accepts(self, authorization: object) -> bool:
        """Tell whether a request with an authorization is accepted."""
        self.received.append(authorization)
        return str(authorization).removeprefix("Bearer ") not in self.rejected

    async def respond(self, request: web.Request) -> web.Response:
        """Respond to a request of HTTP."""
        if self.accepts(request.headers.get("Authorization")):
            return web.Response()
        return web.Response(status=401, headers=INVALID_TOKEN)

    async def call(self, request: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
        """Respond to a call of gRPC."""
        metadata = dict(context.invocation_metadata() or ())
        if not self.accepts(metadata.get("authorization")):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED)
        return request


@asynccontextmanager
async def http_server(service: Service) -> AsyncIterator[str]:
    """Serve HTTP, and yield the origin."""
    app = web.Application()
    app.router.add_get("/", service.respond)
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}"


@asynccontextmanager
async def over_aiohttp(source: AnyTokenSource, service: Service) -> AsyncIterator[Call]:
    """Yield a call of a session of aiohttp."""
    async with http_server(service) as origin:
        middleware = TokenMiddleware(source, origins=[origin])
        async with aiohttp.ClientSession(middlewares=[middleware]) as session:

            async def call() -> int:
                async with session.get(origin) as response:
                    return response.status

            yield call


def over_httpx(package: Any, adapter: Any) -> Any:  # noqa: ANN401 - of httpx or httpx2
    """Return what yields a call of an asynchronous client."""

    @asynccontextmanager
    async def run(source: AnyTokenSource, service: Service) -> AsyncIterator[Call]:
        async with http_server(service) as origin:
            auth = adapter.TokenAuth(source, origins=[origin], trust_env=False)
            async with package.AsyncClient(auth=auth, trust_env=False) as client:

                async def call() -> int:
                    return int((await client.get(origin)).status_code)

                yield call

    return run


def over_httpx_in_a_thread(package: Any, adapter: Any) -> Any:  # noqa: ANN401 - as above
    """Return what yields a call of a synchronous client."""

    @asynccontextmanager
    async def run(source: AnyTokenSource, service: Service) -> AsyncIterator[Call]:
        async with http_server(service) as origin:
            auth = adapter.TokenAuth(source, origins=[origin], trust_env=False)
            with package.Client(auth=auth, trust_env=False) as client:

                async def call() -> int:
                    return int((await asyncio.to_thread(client.get, origin)).status_code)

                yield call

    return run


def over_grpc(*, is_channel: bool) -> Any:  # noqa: ANN401 - as above
    """Return what yields a call of a channel with tokens, or with interceptors."""

    @asynccontextmanager
    async def run(source: AnyTokenSource, service: Service) -> AsyncIterator[Call]:
        server = aio.server()
        method: Any = grpc.unary_unary_rpc_method_handler(service.call)
        handler = grpc.method_handlers_generic_handler("S", {"M": method})
        server.add_generic_rpc_handlers((handler,))
        local = grpc.local_server_credentials()
        target = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', local)}"
        await server.start()
        credentials = grpc.local_channel_credentials()
        if is_channel:
            channel = token_channel(source, target, credentials)
        else:
            interceptors = token_interceptors(source)
            channel = aio.secure_channel(target, credentials, interceptors=interceptors)
        async with channel:
            send: Any = channel.unary_unary("/S/M")

            async def call() -> int:
                await send(b"")
                return 200

            yield call
        await server.stop(1)

    return run


ADAPTERS: dict[str, Any] = {
    "aiohttp": over_aiohttp,
    "httpx": over_httpx(httpx, httpx_adapter),
    "httpx2": over_httpx(httpx2, httpx2_adapter),
    "httpx in a thread": over_httpx_in_a_thread(httpx, httpx_adapter),
    "httpx2 in a thread": over_httpx_in_a_thread(httpx2, httpx2_adapter),
    "grpc channel": over_grpc(is_channel=True),
    "grpc interceptors": over_grpc(is_channel=False),
}

each_adapter = pytest.mark.parametrize("adapter", ADAPTERS)


class Logged:
    """A source that wraps another one and notes which methods are called."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.log: list[str] = []
        """The names of the methods that were called, each once."""

    @property
    def key(self) -> TokenKey:
        """The key of the wrapped source."""
        return self._source.key

    async def get_token(self) -> AccessToken:
        """Return the token of the wrapped source."""
        self.log.append("get_token")
        return await self._source.get_token()

    def peek(self) -> AccessToken | None:
        """Return the held token of the wrapped source."""
        self.log.append("peek")
        return self._source.peek()

    def get_token_from_thread(self, timeout: float = 60.0) -> AccessToken:
        """Return the token of the wrapped source to a thread."""
        self.log.append("get_token_from_thread")
        return self._source.get_token_from_thread(timeout)

    async def proof(
        self, token: AccessToken, method: str, url: str, nonce: str | None = None
    ) -> str:
        """Return a proof of the wrapped source."""
        self.log.append("proof")
        return await self._source.proof(token, method, url, nonce)

    def invalidate(
        self, token: AccessToken, *, api: str | None = None, challenge: str | None = None
    ) -> bool:
        """Drop a token of the wrapped source."""
        self.log.append("invalidate")
        return self._source.invalidate(token, api=api, challenge=challenge)


@each_adapter
async def test_a_fake_source_serves_each_adapter(adapter: str) -> None:
    """A request with a fake token is sent again with another one if the server rejects it."""
    token = fake_token("mine")
    source, service = FakeTokenSource(token), Service("mine")

    async with ADAPTERS[adapter](source, service) as call:
        assert [await call(), await call()] == [200, 200]

    assert service.received == ["Bearer mine", "Bearer mine-2", "Bearer mine-2"]
    assert source.invalidated == [token]
    assert source.calls == 3


@each_adapter
async def test_the_error_of_a_source_reaches_the_caller(adapter: str) -> None:
    """If a source raises, the request raises that error, and nothing is sent."""
    source, service = FakeTokenSource(error=TransportError("mine")), Service()

    async with ADAPTERS[adapter](source, service) as call:
        for _ in range(2):
            with pytest.raises(TransportError, match=r"^mine$"):
                await call()

    assert service.received == []
    assert source.calls == 2


@each_adapter
async def test_a_wrapper_serves_each_adapter(adapter: str) -> None:
    """An adapter gets tokens through a wrapper, also another one after a rejection."""
    async with world() as running:
        source, service = Logged(running.source()), Service()
        async with ADAPTERS[adapter](source, service) as call:
            assert await call() == 200
            first = await running.source().get_token()
            service.rejected.add(first.value)
            assert await call() == 200
        second = await running.source().get_token()

    expected = [first.authorization, first.authorization, second.authorization]
    assert (service.received, running.sandbox.token_requests) == (expected, 2)
    waits = "get_token_from_thread" if "thread" in adapter else "get_token"
    assert {waits, "invalidate"} <= {*source.log}


@pytest.mark.parametrize("adapter", ["aiohttp", "httpx", "httpx2"])
async def test_a_wrapper_signs_proofs(adapter: str) -> None:
    """With tokens that are bound to a key, an asynchronous adapter gets proofs from a wrapper."""
    async with world(app=DPOP_APP, dpop=DPoP()) as running:
        source = Logged(running.source())
        async with ADAPTERS[adapter](source, Service()) as call:
            assert await call() == 200

    assert "proof" in source.log


async def test_a_thread_gets_no_proof_from_a_wrapper() -> None:
    """A synchronous client with bound tokens needs a provider's own source, and sends nothing."""
    async with world(app=DPOP_APP, dpop=DPoP()) as running:
        service = Service()
        async with ADAPTERS["httpx in a thread"](Logged(running.source()), service) as call:
            with pytest.raises(
                ConfigurationError, match=r"^TokenAuth: .* pass provider.source\(client, scopes\)"
            ):
                await call()

    assert service.received == []


async def test_a_wrapper_has_no_event_about_clear_text() -> None:
    """With `allow_http` a token of a wrapper goes in clear text, and no observer is told."""
    async with world() as running:
        source = Logged(running.source())
        auth = httpx_adapter.TokenAuth(
            source, origins=["http://api.internal:81"], allow_http=True, trust_env=False
        )
        transport = httpx.MockTransport(lambda _: httpx.Response(204))
        async with httpx.AsyncClient(auth=auth, transport=transport) as client:
            assert (await client.get("http://api.internal:81")).status_code == 204
        async with token_channel(source, "api.invalid:1", None, allow_http=True) as channel:
            send: Any = channel.unary_unary("/S/M")
            with pytest.raises(aio.AioRpcError):
                await send(b"", timeout=0.01)
        await running.quiet()

    assert running.seen(PlainHttpUsed) == []


def without(*names: str) -> object:
    """Return an object that has what a source has, except some names."""
    source = FakeTokenSource()
    present = {"key", "get_token", "peek", "get_token_from_thread", "proof", "invalidate"}
    return SimpleNamespace(**{name: getattr(source, name) for name in present - {*names}})


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        (TokenProvider(), "key, peek, get_token_from_thread, proof"),
        (None, "key, get_token, peek, get_token_from_thread, proof, invalidate"),
        ("source", "key, get_token, peek, get_token_from_thread, proof, invalidate"),
        (TokenSource, "key"),
        (without("peek"), "peek"),
        (without("key", "proof"), "key, proof"),
    ],
    ids=["provider", "None", "string", "class", "without peek", "without key and proof"],
)
def test_what_is_no_source_is_refused(source: Any, missing: str) -> None:  # noqa: ANN401 - anything
    """The error says what to pass, and what an object of another kind lacks."""
    makes: list[Callable[[], object]] = [
        lambda: TokenMiddleware(source, origins=["https://api.acme.com"]),
        lambda: httpx_adapter.TokenAuth(source, origins=["https://api.acme.com"]),
        lambda: token_interceptors(source),
    ]
    for make in makes:
        with pytest.raises(ConfigurationError) as caught:
            make()

        assert str(caught.value).partition(": ")[2] == (
            "source is not a TokenSource; pass provider.source(client, scopes), or a source of "
            f"your own (AnyTokenSource), which needs also: {missing}"
        )


def test_any_object_with_the_members_is_a_source() -> None:
    """An object is a source by its members, also if they are attributes of the object."""
    TokenMiddleware(without(), origins=["https://api.acme.com"])  # type: ignore[arg-type]  # deliberately untyped
