"""gRPC: every call carries a token, a rejected one is replaced once, and gRPC stays as it was."""

import asyncio
import gc
import sys
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import aiohttp
import grpc
import grpc.experimental
import pytest
import trustme
from grpc import aio

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, RetryPolicy, TokenSource
from okta_tokens.adapters.grpc import _Tokens, token_channel, token_interceptors
from okta_tokens.errors import ConfigurationError, OAuthError, ProviderStateError
from okta_tokens.events import InvalidationIgnored, TokenInvalidated
from okta_tokens.sandbox import Fault
from tests.support import CLIENT_ID, SECRET, World, until, world
from tests.test_secrets import assert_clean, assert_clean_error, everything_logged

Context = aio.ServicerContext[bytes, bytes]
Rpc = Any
"""A call of whichever kind, or what gRPC hands to interceptors."""

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
STATUSES = {200: grpc.StatusCode.OK, 401: UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED}
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


@dataclass
class Service:
    """A gRPC service. What it is not told how to answer, the sandbox's resource decides."""

    resource: str
    session: aiohttp.ClientSession
    seen: list[str | None] = field(default_factory=list)
    """The `authorization` of each call."""
    remaining: list[float] = field(default_factory=list)
    """How many seconds each call had left."""
    answers: deque[grpc.StatusCode] = field(default_factory=deque)
    """How the next calls end."""
    headers_first: bool = False
    """Whether initial metadata are sent before a call is judged."""
    interactive: bool = False
    """Whether streams of requests are judged before they are read: if they are refused then, what
    the client still sends may make gRPC report an internal error instead."""
    delay: float = 0.0
    """How many seconds each judgement takes."""
    on_call: Callable[[], None] = lambda: None
    """Called with each call."""
    cancelled: int = 0
    """How many calls their callers left."""
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    """What a stream waits for before it ends."""

    async def judge(self, context: Context) -> None:
        """End a call unless it carries a live token."""
        metadata = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization")
        assert not isinstance(authorization, bytes)
        self.seen.append(authorization)
        self.remaining.append(context.time_remaining() or 0.0)
        self.on_call()
        if self.headers_first:
            await context.send_initial_metadata((("x-try", str(len(self.seen))),))
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        status = self.answers.popleft() if self.answers else await self.ask(authorization)
        context.set_trailing_metadata((("x-calls", str(len(self.seen))),))
        if status is not grpc.StatusCode.OK:
            await context.abort(status, "no")

    async def ask(self, authorization: str | None) -> grpc.StatusCode:
        """Return what the sandbox says of a token."""
        headers = {"Authorization": authorization or ""}
        async with self.session.get(self.resource, headers=headers) as verdict:
            return STATUSES[verdict.status]

    async def unary_unary(self, request: bytes, context: Context) -> bytes:
        """Return the request."""
        await self.judge(context)
        return request

    async def unary_stream(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Return the request's bytes one by one; after `!` wait, and after `?` reject the token."""
        await self.judge(context)
        for number in request:
            if number == ord("?"):
                await context.abort(UNAUTHENTICATED, "no more")
            yield bytes([number])
            if number == ord("!"):
                await self.wait()

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        """Return all requests in one."""
        received = [request async for request in requests]
        await self.judge(context)
        return b"".join(received)

    async def stream_stream(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        """Return each request, if this is interactive when it arrives."""
        received = [] if self.interactive else [request async for request in requests]
        await self.judge(context)
        for request in received:
            yield request
        async for request in requests:
            yield request
            if request == b"!":
                await self.wait()

    async def wait(self) -> None:
        """Wait until the test lets go, or the caller leaves."""
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what serves the four kinds of calls."""
        return grpc.method_handlers_generic_handler(
            "test.Orders",
            {
                "unary_unary": grpc.unary_unary_rpc_method_handler(self.unary_unary),
                "unary_stream": grpc.unary_stream_rpc_method_handler(self.unary_stream),
                "stream_unary": grpc.stream_unary_rpc_method_handler(self.stream_unary),
                "stream_stream": grpc.stream_stream_rpc_method_handler(self.stream_stream),
            },
        )


class Stub:
    """The methods of the service, on a channel."""

    def __init__(self, channel: aio.Channel) -> None:
        self.unary_unary: Callable[..., Any] = channel.unary_unary("/test.Orders/unary_unary")
        self.unary_stream: Callable[..., Any] = channel.unary_stream("/test.Orders/unary_stream")
        self.stream_unary: Callable[..., Any] = channel.stream_unary("/test.Orders/stream_unary")
        self.stream_stream: Callable[..., Any] = channel.stream_stream("/test.Orders/stream_stream")

    def call(self, kind: str, **options: object) -> Rpc:
        """Begin a call of a kind, with the request `ab`, or the requests `a` and `b`."""
        return getattr(self, kind)(
            b"ab" if kind.startswith("unary") else iter([b"a", b"b"]), **options
        )

    async def result(self, kind: str, **options: object) -> bytes:
        """Return what such a call brings, all in one."""
        return await result_of(self.call(kind, **options))


async def result_of(call: Rpc) -> bytes:
    """Return all responses of a call in one."""
    if isinstance(call, aio.UnaryStreamCall | aio.StreamStreamCall):
        return b"".join([response async for response in call])
    return bytes(await call)


@cache
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


def tls() -> tuple[grpc.ServerCredentials, grpc.ChannelCredentials]:
    """Return credentials for TLS, of a server and of its clients."""
    certificate = authority().issue_cert("localhost", "127.0.0.1")
    key = certificate.private_key_pem.bytes()
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    root = authority().cert_pem.bytes()
    return grpc.ssl_server_credentials([(key, chain)]), grpc.ssl_channel_credentials(root)


@dataclass
class Scene:
    """A provider, its sandbox, a service, and a channel to it that carries tokens."""

    world: World
    service: Service
    source: TokenSource
    target: str
    plaintext: str
    """Where the service listens without TLS."""
    credentials: grpc.ChannelCredentials
    channel: aio.Channel
    stub: Stub

    def reject_all(self) -> None:
        """Revoke every token that was issued so far."""
        self.world.sandbox.revoke_all()

    def wait_out_damping(self) -> None:
        """Let so much time pass that another rejection counts."""
        self.world.clock.wall += 400
        self.world.clock.boot += 400

    async def held(self) -> str:
        """Return the ready metadata with the token that is held."""
        return (await self.source.get_token()).authorization


def make_channel(
    way: str,
    source: TokenSource,
    target: str,
    credentials: grpc.ChannelCredentials,
    *,
    outer: Iterable[aio.ClientInterceptor] = (),
    inner: Iterable[aio.ClientInterceptor] = (),
) -> aio.Channel:
    """Return a channel that carries tokens.

    Args:
        way: `channel` or `interceptors`: which of both functions makes it.
        source: Gives the tokens.
        target: The server.
        credentials: The channel's.
        outer: Interceptors before ours.
        inner: Interceptors after ours, which only that one way has.
    """
    if way == "channel":
        return token_channel(source, target, credentials, interceptors=outer)
    ours = token_interceptors(source)
    return aio.secure_channel(target, credentials, interceptors=[*outer, *ours, *inner])


@asynccontextmanager
async def scene(
    way: str = "channel",
    *,
    over: str = "loopback",
    outer: Iterable[aio.ClientInterceptor] = (),
    inner: Iterable[aio.ClientInterceptor] = (),
    lifetime: int = 3600,
    retry: RetryPolicy | None = None,
) -> AsyncIterator[Scene]:
    """Run a service beside a provider and its sandbox.

    Args:
        way: See `make_channel`.
        over: `tls` or `loopback`.
        outer: See `make_channel`.
        inner: See `make_channel`.
        lifetime: Of tokens, in seconds.
        retry: The provider's.
    """
    local = grpc.local_server_credentials(), grpc.local_channel_credentials()
    servers, clients = tls() if over == "tls" else local
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(world(lifetime=lifetime, retry=retry))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        service = Service(f"{here.sandbox.origin}/resource", session)
        # A server turns some away when more than a thousand wait at once.
        server = aio.server(options=[("grpc.server.max_pending_requests", 10_000)])
        server.add_generic_rpc_handlers([service.handler()])
        target = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', servers)}"
        plaintext = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        stack.push_async_callback(server.stop, 1)  # at once, it says so on stderr
        source = here.source()
        channel = make_channel(way, source, target, clients, outer=outer, inner=inner)
        await stack.enter_async_context(channel)
        yield Scene(here, service, source, target, plaintext, clients, channel, Stub(channel))


async def status_of(call: Awaitable[object]) -> grpc.StatusCode:
    """Return the status of a call that fails."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code()


ways = pytest.mark.parametrize("way", ["channel", "interceptors"])
kinds = pytest.mark.parametrize("kind", KINDS)
unary_requests = pytest.mark.parametrize("kind", KINDS[:2])
streamed_requests = pytest.mark.parametrize("kind", KINDS[2:])


# Tokens


@ways
@kinds
@pytest.mark.parametrize("over", ["tls", "loopback"])
async def test_a_call_carries_the_token(kind: str, way: str, over: str) -> None:
    """Calls of every kind carry the token, over TLS and on this machine, and it is fetched once."""
    async with scene(way, over=over) as here:
        results = [await here.stub.result(kind) for _ in range(3)]
        token = await here.held()

        assert results == [b"ab"] * 3
        assert here.service.seen == [token] * 3
        assert here.world.sandbox.token_requests == 1


@ways
async def test_other_metadata_travel_as_well(way: str) -> None:
    """A call's own metadata reach the server beside the token."""
    seen: list[object] = []

    async def handler(request: bytes, context: Context) -> bytes:
        seen.extend(context.invocation_metadata() or ())
        return request

    async with scene(way) as here:
        server = aio.server()
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(handler)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t", {"m": method})])
        port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        await server.start()
        async with make_channel(way, here.source, f"127.0.0.1:{port}", here.credentials) as channel:
            call: Any = channel.unary_unary("/t/m")
            await call(b"x", metadata=(("x-trace", "7"),))
        await server.stop(None)

        assert ("x-trace", "7") in seen
        assert ("authorization", await here.held()) in seen


@ways
@kinds
async def test_without_a_token_nothing_is_sent(kind: str, way: str) -> None:
    """The error of the fetch is raised where the call's errors are, and no call is sent."""
    async with scene(way) as here:
        here.world.sandbox.fail_next(Fault.answer(400, {"error": "invalid_scope"}))
        call = here.stub.call(kind)
        with pytest.raises(OAuthError, match="invalid_scope"):
            await result_of(call)
        with pytest.raises(OAuthError, match="invalid_scope"):
            await call.code()

        assert call.done()
        assert here.service.seen == []


@kinds
async def test_a_closed_provider_is_told(kind: str) -> None:
    """A call after the provider was closed raises its error, and is not sent."""
    async with scene() as here:
        await here.stub.result(kind)
        await here.world.provider.aclose()
        with pytest.raises(ProviderStateError):
            await here.stub.result(kind)

        assert len(here.service.seen) == 1


async def test_a_write_without_a_token_is_told() -> None:
    """Who writes to a call that got no token gets the error of the fetch."""
    async with scene() as here:
        here.world.sandbox.fail_next(Fault.answer(400, {"error": "invalid_scope"}))
        call = here.stub.stream_stream()
        with pytest.raises(OAuthError):
            await call.write(b"a")

        assert here.service.seen == []


@ways
@kinds
@pytest.mark.parametrize("own", ["metadata", "credentials"])
async def test_credentials_of_the_callers_are_refused(kind: str, way: str, own: str) -> None:
    """A call with authorization or credentials of its own is refused before it is sent."""
    options: dict[str, object] = {
        "metadata": (("Authorization", "Basic x"),),
        "credentials": grpc.access_token_call_credentials("x"),
    }
    async with scene(way) as here:
        with pytest.raises(ConfigurationError, match="of its own, so nothing was sent"):
            await here.stub.result(kind, **{own: options[own]})

        assert here.service.seen == []
        assert here.world.sandbox.token_requests == 0


# Where tokens go


@kinds
async def test_a_plaintext_channel_gets_no_token(kind: str) -> None:
    """A call on an insecure channel is refused with what to do instead, and nothing is sent."""
    async with scene() as here:
        interceptors = token_interceptors(here.source)
        async with aio.insecure_channel(here.plaintext, interceptors=interceptors) as channel:
            with pytest.raises(ConfigurationError, match=r"secure_channel.*local_channel_cred"):
                await Stub(channel).result(kind)

        assert here.service.seen == []


@ways
@kinds
async def test_plaintext_by_another_name_gets_no_token(kind: str, way: str) -> None:
    """Credentials that encrypt nothing do not get the token either, nor cost it."""
    async with scene(way) as here:
        insecure = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call]  # gRPC's
        async with make_channel(way, here.source, here.plaintext, insecure) as channel:
            with pytest.raises((ConfigurationError, aio.AioRpcError)) as caught:
                await Stub(channel).result(kind)

        assert isinstance(caught.value, ConfigurationError) == kind.startswith("unary")
        assert here.service.seen == []
        assert here.world.seen(TokenInvalidated) == []


async def test_a_server_that_is_not_trusted_gets_no_token() -> None:
    """A server without a trusted certificate is not shown the token."""
    async with scene(over="tls") as here:
        other = grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())
        async with token_channel(here.source, here.target, other) as channel:
            status = await status_of(Stub(channel).result("unary_unary"))

        assert status is grpc.StatusCode.UNAVAILABLE
        assert here.service.seen == []


@pytest.mark.parametrize(
    "make",
    [
        token_interceptors,
        lambda source: token_channel(source, "localhost:1", grpc.local_channel_credentials()),
    ],
    ids=["interceptors", "channel"],
)
async def test_what_gives_no_bearer_tokens_is_refused(make: Callable[[Any], object]) -> None:
    """What is no source, and a source of tokens that need proofs, are refused at once."""
    async with world() as here:
        client = OktaClient("acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET), dpop=DPoP())
        with pytest.raises(ConfigurationError, match="bound to a key, and gRPC knows no proofs"):
            make(here.provider.source(client, "a"))
        with pytest.raises(ConfigurationError, match=r"takes a TokenSource: provider\.source"):
            make(here.provider)


async def test_a_channel_wants_credentials() -> None:
    """Without credentials there is no channel, and the error names those that there are."""
    async with world() as here:
        with pytest.raises(ConfigurationError, match="ssl_channel_credentials"):
            token_channel(here.source(), "localhost:1", None)  # type: ignore[arg-type]  # deliberately


async def test_a_closed_channel_says_so() -> None:
    """What gRPC itself raises for other reasons stays as it is."""
    async with scene("interceptors") as here:
        await here.channel.close()
        with pytest.raises(aio.UsageError, match="closed"):
            await here.stub.result("unary_unary")


# Rejected tokens


@ways
@unary_requests
@pytest.mark.parametrize("headers_first", [True, False])
async def test_a_rejected_token_is_replaced_once(
    kind: str, way: str, *, headers_first: bool
) -> None:
    """A call with one request that is rejected is sent again with another token."""
    async with scene(way) as here:
        old = await here.held()
        here.reject_all()
        here.service.headers_first = headers_first
        call = here.stub.call(kind)
        result = await result_of(call)
        status, trailing = await call.code(), dict(await call.trailing_metadata())
        initial = dict(await call.initial_metadata())

        assert (result, status) == (b"ab", grpc.StatusCode.OK)
        assert here.service.seen == [old, await here.held()]
        assert old != await here.held()
        assert trailing["x-calls"] == "2"
        assert initial == ({"x-try": "2"} if headers_first else {})
        assert here.world.sandbox.token_requests == 2


@ways
@streamed_requests
async def test_a_stream_of_requests_is_not_sent_again(kind: str, way: str) -> None:
    """Its rejection is handed over, and the token reported: the next call has another one."""
    async with scene(way) as here:
        old = await here.held()
        here.reject_all()
        status = await status_of(here.stub.result(kind))
        result = await here.stub.result(kind)

        assert (status, result) == (UNAUTHENTICATED, b"ab")
        assert here.service.seen == [old, await here.held()]


async def test_a_rejection_after_a_response_is_handed_over() -> None:
    """A stream that has brought a response is not begun anew; its token is reported."""
    async with scene() as here:
        old = await here.held()
        call = here.stub.unary_stream(b"a?")
        responses = aiter(call)
        first = await anext(responses)
        status = await status_of(anext(responses))

        assert (first, status) == (b"a", UNAUTHENTICATED)
        assert await here.held() != old
        assert here.service.seen == [old]


@ways
@unary_requests
async def test_a_fresh_token_that_is_rejected_too_is_handed_over(kind: str, way: str) -> None:
    """There is one retry, not a loop, and the status of the second try is what callers see."""
    async with scene(way) as here:
        here.service.on_call = here.wait_out_damping
        here.service.answers.extend([UNAUTHENTICATED] * 3)
        call = here.stub.call(kind)
        status = await status_of(result_of(call))

        assert status is await call.code() is UNAUTHENTICATED
        assert await call.details() == "no"
        assert dict(await call.trailing_metadata())["x-calls"] == "2"
        assert call.done()
        assert not call.cancelled()
        assert len({*here.service.seen}) == len(here.service.seen) == 2


@unary_requests
async def test_the_same_token_is_not_sent_again(kind: str) -> None:
    """If the source still gives the token that was rejected, the rejection is handed over."""
    async with scene() as here:
        here.service.answers.extend([UNAUTHENTICATED] * 4)
        await status_of(here.stub.result(kind))
        await status_of(here.stub.result(kind))

        assert len(here.service.seen) == 3
        assert len({*here.service.seen}) == 2
        assert len(here.world.seen(InvalidationIgnored)) == 1


@kinds
async def test_a_lack_of_permission_is_handed_over(kind: str) -> None:
    """`PERMISSION_DENIED` costs neither the token nor another try."""
    async with scene() as here:
        here.service.answers.append(grpc.StatusCode.PERMISSION_DENIED)
        status = await status_of(here.stub.result(kind))

        assert status is grpc.StatusCode.PERMISSION_DENIED
        assert here.service.seen == [await here.held()]


@unary_requests
async def test_without_another_token_there_is_no_other_try(kind: str) -> None:
    """If no other token is to be had, the error of that fetch is raised."""
    async with scene() as here:
        await here.held()
        here.reject_all()
        here.world.sandbox.fail_next(Fault.answer(400, {"error": "invalid_scope"}))
        with pytest.raises(OAuthError, match="invalid_scope"):
            await here.stub.result(kind)

        assert len(here.service.seen) == 1


@kinds
async def test_a_thousand_rejections_cost_one_request(kind: str) -> None:
    """However many calls are rejected with one token, another one is fetched once."""
    async with scene() as here:
        await here.held()
        here.reject_all()
        calls = [asyncio.ensure_future(here.stub.result(kind)) for _ in range(1000)]
        await asyncio.wait(calls)
        statuses = {
            it.code() for call in calls if isinstance(it := call.exception(), aio.AioRpcError)
        }
        await here.stub.result(kind)

        assert statuses == (set() if kind.startswith("unary") else {UNAUTHENTICATED})
        assert here.world.sandbox.token_requests == 2
        assert len({*here.service.seen}) == 2


async def test_calls_go_on_while_tokens_are_replaced() -> None:
    """Under load, with tokens that are revoked now and then, every call of one request succeeds."""
    async with scene() as here:

        async def caller() -> set[bytes]:
            return {await here.stub.result("unary_unary") for _ in range(20)}

        callers = [asyncio.ensure_future(caller()) for _ in range(30)]
        for seen in (100, 300, 500):
            await until(lambda seen=seen: len(here.service.seen) >= seen)  # type: ignore[misc]  # a default
            here.reject_all()
            here.wait_out_damping()
        results = await asyncio.gather(*callers)

        assert results == [{b"ab"}] * 30
        assert here.world.sandbox.token_requests == 4
        assert len({*here.service.seen}) == 4


# Time


@kinds
async def test_waiting_for_a_token_counts_against_the_timeout(kind: str) -> None:
    """A call whose time is over before a token came ends as gRPC's do; the fetch goes on."""
    async with scene() as here:
        here.world.sandbox.latency = 0.3
        call = here.stub.call(kind, timeout=0.05)
        status = await status_of(result_of(call))
        details = await call.details()
        await here.stub.result(kind)

        assert status is await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert details == "Deadline Exceeded: no token arrived in time"
        assert len(here.service.seen) == 1
        assert here.world.sandbox.token_requests == 1


@unary_requests
async def test_a_retry_has_what_is_left_of_the_timeout(kind: str) -> None:
    """The second try is given no more time than the first one left."""
    async with scene() as here:
        await here.held()
        here.reject_all()
        here.service.delay = 0.1
        here.world.sandbox.latency = 0.1
        await here.stub.result(kind, timeout=3)  # gRPC rounds longer ones
        first, second = here.service.remaining

        assert 2.5 < first < 3.1
        assert second < first - 0.15


@unary_requests
async def test_a_retry_without_time_is_not_sent(kind: str) -> None:
    """If the timeout is over before another token came, the call ends so, after one try."""
    async with scene() as here:
        await here.held()
        here.reject_all()
        here.world.sandbox.latency = 30
        status = await status_of(here.stub.result(kind, timeout=0.3))

        assert status is grpc.StatusCode.DEADLINE_EXCEEDED
        assert len(here.service.seen) == 1


@kinds
async def test_a_timeout_holds_for_the_call_itself(kind: str) -> None:
    """A server that is too slow ends the call at the caller's timeout."""
    async with scene() as here:
        here.service.delay = 30
        status = await status_of(here.stub.result(kind, timeout=0.1))

        assert status is grpc.StatusCode.DEADLINE_EXCEEDED
        assert here.service.remaining[0] < 0.1


@asynccontextmanager
async def late_server(here: Scene, port: int) -> AsyncIterator[None]:
    """Run the service once more, on a port that was free so far."""
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([here.service.handler()])
    server.add_secure_port(f"127.0.0.1:{port}", grpc.local_server_credentials())
    await server.start()
    try:
        yield
    finally:
        await server.stop(1)


FAST = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]


@kinds
async def test_a_call_that_waits_for_its_server_gets_a_live_token(
    kind: str, closed_port: int
) -> None:
    """A token that expires while a call waits for a connection is replaced before it is sent."""
    async with scene(lifetime=60) as here:
        target = f"127.0.0.1:{closed_port}"
        async with token_channel(here.source, target, here.credentials, options=FAST) as channel:
            call = Stub(channel).call(kind, wait_for_ready=True)
            result = asyncio.ensure_future(result_of(call))
            await until(lambda: channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            old = await here.held()
            await here.world.advance(100)
            async with late_server(here, closed_port):
                assert await result == b"ab"

        assert len(here.service.seen) == 1
        assert here.service.seen != [old]


async def test_a_call_that_waits_for_its_server_is_not_sent_without_a_token(
    closed_port: int,
) -> None:
    """If there is no live token by then, gRPC ends the call and tells why."""
    async with scene(lifetime=60) as here:
        target = f"127.0.0.1:{closed_port}"
        async with token_channel(here.source, target, here.credentials, options=FAST) as channel:
            call = Stub(channel).call("unary_unary", wait_for_ready=True)
            status = asyncio.ensure_future(status_of(call))
            await until(lambda: channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            here.world.clock.wall += 100
            here.world.sandbox.fail_next(Fault.answer(400, {"error": "invalid_scope"}))
            async with late_server(here, closed_port):
                assert await status is grpc.StatusCode.UNAVAILABLE
            details = await call.details()

        assert "no token: " in details
        assert "invalid_scope" in details
        assert here.service.seen == []


def test_after_its_loop_there_is_no_token() -> None:
    """A thread of gRPC's that asks when the loop is closed is told so, and nobody complains."""
    answers: list[tuple[object, BaseException | None]] = []

    async def prepare() -> tuple[_Tokens, World]:
        async with world(lifetime=60) as here:
            tokens = _Tokens("test", here.source())
            await tokens.get_token()
            return tokens, here

    tokens, here = asyncio.run(prepare())
    here.clock.wall += 100
    ask: Callable[..., None] = tokens
    ask(None, lambda *answer: answers.append(answer))
    ((metadata, error),) = answers

    assert metadata == ()
    assert isinstance(error, RuntimeError)
    assert "closed" in str(error)


# Cancellation


@kinds
async def test_a_call_is_cancelled_while_it_waits_for_a_token(kind: str) -> None:
    """It ends at once, as gRPC's calls do; the fetch goes on for the others."""
    async with scene() as here:
        here.world.sandbox.latency = 0.2
        call = here.stub.call(kind)
        result = asyncio.ensure_future(result_of(call))
        await here.world.requests(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await result
        status = await call.code()
        await here.stub.result(kind)

        assert status is grpc.StatusCode.CANCELLED
        assert call.cancelled()
        assert len(here.service.seen) == here.world.sandbox.token_requests == 1


@unary_requests
async def test_a_call_is_cancelled_in_the_middle_of_its_retry(kind: str) -> None:
    """Who leaves between both tries makes no second one, and the fetch goes on."""
    async with scene() as here:
        await here.held()
        here.reject_all()
        here.world.sandbox.latency = 0.2
        call = here.stub.call(kind)
        result = asyncio.ensure_future(result_of(call))
        await here.world.requests(2)
        result.cancel()
        with pytest.raises(asyncio.CancelledError):
            await result
        here.world.sandbox.latency = 0
        await here.stub.result(kind)

        assert await call.code() is grpc.StatusCode.CANCELLED
        assert len(here.service.seen) == here.world.sandbox.token_requests == 2


@ways
@kinds
@pytest.mark.parametrize("how", ["call", "task"])
async def test_the_server_learns_of_a_cancellation(kind: str, way: str, how: str) -> None:
    """A call that is cancelled while the server works is cancelled there, too."""
    async with scene(way) as here:
        here.service.delay = 30
        call = here.stub.call(kind)
        result = asyncio.ensure_future(result_of(call))
        await until(lambda: len(here.service.seen) == 1)
        (call if how == "call" else result).cancel()
        with pytest.raises(asyncio.CancelledError):
            await result
        await until(lambda: here.service.cancelled == 1)

        assert await call.code() is grpc.StatusCode.CANCELLED
        assert here.world.seen(TokenInvalidated) == []


@ways
@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
async def test_a_stream_is_cancelled_in_the_middle(kind: str, way: str) -> None:
    """Who has read enough cancels the call, and the server learns of it."""
    async with scene(way) as here:
        here.service.interactive = True
        request = b"!" if kind == "unary_stream" else iter([b"!"])
        call = getattr(here.stub, kind)(request)
        async for response in call:
            assert response == b"!"
            break
        call.cancel()
        await until(lambda: here.service.cancelled == 1)

        assert call.cancelled()
        assert await call.code() is grpc.StatusCode.CANCELLED


# What gRPC offers


@ways
async def test_streams_may_be_read_and_written_one_by_one(way: str) -> None:
    """`write`, `done_writing` and `read` work as they do without interceptors."""
    async with scene(way) as here:
        here.service.interactive = True
        call = here.stub.stream_stream()
        heard = []
        for letter in (b"a", b"b"):
            await call.write(letter)
            heard.append(await call.read())
        await call.done_writing()
        heard.append(await call.read())
        one_way = here.stub.stream_unary()
        await one_way.write(b"a")
        await one_way.write(b"b")
        await one_way.done_writing()
        other_way = here.stub.unary_stream(b"ab")
        read = [await other_way.read() for _ in range(3)]

        assert heard == read == [b"a", b"b", aio.EOF]
        assert await one_way == b"ab"
        assert {await it.code() for it in (call, one_way, other_way)} == {grpc.StatusCode.OK}


async def test_an_interactive_stream_has_its_metadata_first() -> None:
    """A stream's initial metadata are there before its first request."""
    async with scene() as here:
        here.service.interactive = here.service.headers_first = True
        call = here.stub.stream_stream()
        await call.wait_for_connection()
        metadata = dict(await call.initial_metadata())
        await call.done_writing()

        assert metadata == {"x-try": "1"}
        assert await call.read() is aio.EOF


async def test_metadata_of_a_single_request_come_with_its_first_response() -> None:
    """Until then nobody knows whether it will be sent again."""
    async with scene() as here:
        here.service.headers_first = True
        here.service.delay = 0.1
        call = here.stub.unary_stream(b"!")
        await call.wait_for_connection()
        metadata = dict(await call.initial_metadata())

        assert metadata == {"x-try": "1"}
        assert await anext(aiter(call)) == b"!"


async def test_a_stream_may_have_no_response() -> None:
    """A stream that ends at once is no failure."""
    async with scene() as here:
        call = here.stub.unary_stream(b"")

        assert await result_of(call) == b""
        assert await call.code() is grpc.StatusCode.OK
        assert dict(await call.trailing_metadata())["x-calls"] == "1"


@ways
@kinds
async def test_a_call_tells_when_it_is_done(kind: str, way: str) -> None:
    """Callbacks run once, and the call says that it is done, and how."""
    async with scene(way) as here:
        done: list[object] = []
        call = here.stub.call(kind)
        call.add_done_callback(done.append)
        before = call.done()
        await result_of(call)
        await until(lambda: bool(done))

        assert (before, call.done(), call.cancelled()) == (False, True, False)
        assert done == [call]
        assert (await call.code(), await call.details()) == (grpc.StatusCode.OK, "")


@kinds
async def test_what_interceptors_cannot_do_is_known(kind: str) -> None:
    """The time that remains is what gRPC tells of no call with interceptors."""
    async with scene() as here:
        call = here.stub.call(kind, timeout=5)
        with pytest.raises(NotImplementedError):
            call.time_remaining()
        await result_of(call)


# Other interceptors


class Outer(aio.UnaryUnaryClientInterceptor):
    """Counts calls."""

    calls = 0

    async def intercept_unary_unary(
        self, continuation: Rpc, client_call_details: Rpc, request: Rpc
    ) -> Rpc:
        """Count a call."""
        self.calls += 1
        return await continuation(client_call_details, request)


@ways
async def test_interceptors_before_ours_see_a_call_once(way: str) -> None:
    """A retry is made behind their backs."""
    outer = Outer()
    async with scene(way, outer=[outer]) as here:
        await here.held()
        here.reject_all()
        await here.stub.result("unary_unary")

        assert outer.calls == 1
        assert len(here.service.seen) == 2


class Answering(aio.UnaryUnaryClientInterceptor):
    """Answers by itself."""

    async def intercept_unary_unary(
        self, continuation: Rpc, client_call_details: Rpc, request: Rpc
    ) -> Rpc:
        """Answer a call."""
        return b"cached"


class Doubling(aio.UnaryStreamClientInterceptor):
    """Doubles each response."""

    async def intercept_unary_stream(
        self, continuation: Rpc, client_call_details: Rpc, request: Rpc
    ) -> Rpc:
        """Return another iterator."""
        call = await continuation(client_call_details, request)

        async def doubled() -> AsyncIterator[bytes]:
            async for response in call:
                yield 2 * response

        return doubled()


async def test_interceptors_behind_ours_may_answer_otherwise() -> None:
    """Responses, and iterators of them, that others make up are passed on, also by a retry."""
    async with scene("interceptors", inner=[Answering(), Doubling()]) as here:
        await here.held()
        here.reject_all()

        assert await here.stub.result("unary_unary") == b"cached"
        assert await here.stub.result("unary_stream") == b"aabb"
        assert len(here.service.seen) == 2


class Hesitating(aio.StreamUnaryClientInterceptor):
    """Has calls that do not know their status at once."""

    async def intercept_stream_unary(
        self, continuation: Rpc, client_call_details: Rpc, request_iterator: Rpc
    ) -> Rpc:
        """Wrap a call."""
        call = await continuation(client_call_details, request_iterator)
        code = call.code

        async def later() -> grpc.StatusCode:
            await asyncio.sleep(0)
            status: grpc.StatusCode = await code()
            return status

        call.code = later
        return call


async def test_a_status_that_is_not_there_at_once_is_no_rejection() -> None:
    """What ends without a status costs no token."""
    async with scene("interceptors", inner=[Hesitating()]) as here:
        old = await here.held()
        here.reject_all()
        status = await status_of(here.stub.result("stream_unary"))

        assert status is UNAUTHENTICATED
        assert await here.held() == old


# What is left behind


CANARIES = ("C4naryTokenValue9c8b7a6d5e4f3a2b1c0d", "C4naryTokenValue1c0d9c8b7a6d5e4f3a2b")


def shown(thing: object) -> str:
    """Return the repr of something, which in gRPC's frames may be half made."""
    try:
        return repr(thing)
    except AttributeError:
        return ""


def all_locals(error: BaseException) -> Iterable[str]:
    """Yield the locals of each frame of a traceback, save those of the tests."""
    trace = error.__traceback__
    while trace is not None:
        if "/tests/" not in trace.tb_frame.f_code.co_filename:
            yield from map(shown, trace.tb_frame.f_locals.values())
        trace = trace.tb_next


@ways
@kinds
async def test_no_token_appears(kind: str, way: str) -> None:
    """No error, no call, no log line and no frame, also of gRPC's own, shows a token."""
    with everything_logged() as log:
        async with scene(way, retry=RetryPolicy(attempts=1)) as here:
            for canary in CANARIES:
                answer = {"access_token": canary, "token_type": "Bearer", "expires_in": 3600}
                here.world.sandbox.fail_next(Fault.answer(200, {**answer, "scope": "a"}))
            errors = []
            for _ in range(3):
                call = here.stub.call(kind)
                with pytest.raises(aio.AioRpcError) as caught:
                    await result_of(call)
                errors.append(caught.value)
                assert_clean(f"{call!r} {await call.debug_error_string()}", CANARIES)
            await here.channel.close()
            with pytest.raises(aio.UsageError) as closed:
                await here.stub.result(kind)
            assert {*here.service.seen} == {f"Bearer {canary}" for canary in CANARIES}
            for error in (*errors, closed.value):
                assert_clean_error(error, CANARIES)
                assert_clean("".join(all_locals(error)), CANARIES)
    assert_clean(log.getvalue(), CANARIES)


def plugins() -> list[object]:
    """Return what gRPC holds of credentials of calls."""
    return [it for it in gc.get_objects() if type(it).__name__ == "_Plugin"]


@pytest.mark.timeout(60)
async def test_a_channel_loses_no_memory() -> None:
    """Calls leave no task, and nothing in gRPC, behind; and a closed channel nothing at all."""
    others = {id(it) for it in plugins()}
    async with scene() as here:
        await here.stub.result("unary_unary")
        (plugin,) = (it for it in plugins() if id(it) not in others)
        gone = weakref.ref(plugin)
        del plugin
        before = sys.getrefcount(gone()), len(asyncio.all_tasks())
        for kind in 25 * KINDS:
            await here.stub.result(kind)
        await until(lambda: (sys.getrefcount(gone()), len(asyncio.all_tasks())) == before, 20)
        del here

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    await until(is_gone, 20)
