"""gRPC channels that carry the token, and otherwise behave as without the adapter."""

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
from okta_tokens.adapters._grpc_credentials import TokenPlugin
from okta_tokens.adapters.grpc import token_channel, token_interceptors
from okta_tokens.errors import ConfigurationError, OAuthError, ProviderStateError
from okta_tokens.events import InvalidationIgnored, PlainHttpUsed, TokenInvalidated
from okta_tokens.sandbox import Fault
from tests.support import CLIENT_ID, SECRET, World, until, world
from tests.test_secrets import assert_clean, assert_clean_error, everything_logged

Context = aio.ServicerContext[bytes, bytes]
Rpc = Any
"""A call of any kind, or an argument that gRPC passes to interceptors."""

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
STATUSES = {200: grpc.StatusCode.OK, 401: UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED}
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


@dataclass
class Service:
    """A gRPC service. The sandbox's resource decides about a call without a status setup.

    Args:
        resource: The URL of the sandbox's resource.
        session: For requests to the resource.
    """

    resource: str
    session: aiohttp.ClientSession
    authorizations: list[str | None] = field(default_factory=list)
    """The `authorization` metadata of each call."""
    remaining: list[float] = field(default_factory=list)
    """The seconds that each call had left."""
    statuses: deque[grpc.StatusCode] = field(default_factory=deque)
    """The statuses of the next calls."""
    headers_first: bool = False
    """Whether initial metadata are sent before the token is checked."""
    interactive: bool = False
    """Whether the token is checked before a stream of requests is read. If a call is rejected then,
    gRPC may report an internal error, because the client still sends."""
    delay: float = 0.0
    """The seconds that each check takes."""
    details: str = "no"
    """The message of the status of a call that is rejected."""
    on_call: Callable[[], None] = lambda: None
    """Called for each call."""
    cancelled: int = 0
    """The number of calls that their callers cancelled."""
    test_is_over: asyncio.Event = field(default_factory=asyncio.Event)
    """What a stream waits for after the request `!`."""

    async def check(self, context: Context) -> None:
        """End a call unless it carries a valid token."""
        metadata = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization")
        assert not isinstance(authorization, bytes)
        self.authorizations.append(authorization)
        self.remaining.append(context.time_remaining() or 0.0)
        self.on_call()
        if self.headers_first:
            await context.send_initial_metadata((("x-call", str(len(self.authorizations))),))
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.statuses:
            status = self.statuses.popleft()
        else:
            status = await self.resource_status(authorization)
        context.set_trailing_metadata((("x-calls", str(len(self.authorizations))),))
        if status is not grpc.StatusCode.OK:
            await context.abort(status, self.details)

    async def resource_status(self, authorization: str | None) -> grpc.StatusCode:
        """Return the status of the sandbox's resource for a token."""
        headers = {"Authorization": authorization or ""}
        async with self.session.get(self.resource, headers=headers) as response:
            return STATUSES[response.status]

    async def unary_unary(self, request: bytes, context: Context) -> bytes:
        """Return the request."""
        await self.check(context)
        return request

    async def unary_stream(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Return the request's bytes one by one; wait after `!`, and reject the token at `?`."""
        await self.check(context)
        for number in request:
            if number == ord("?"):
                await context.abort(UNAUTHENTICATED, "no more")
            yield bytes([number])
            if number == ord("!"):
                await self.wait()

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        """Return the joined requests."""
        received = [request async for request in requests]
        await self.check(context)
        return b"".join(received)

    async def stream_stream(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        """Return each request: if `interactive`, when it arrives."""
        received = [] if self.interactive else [request async for request in requests]
        await self.check(context)
        for request in received:
            yield request
        async for request in requests:
            yield request
            if request == b"!":
                await self.wait()

    async def wait(self) -> None:
        """Wait until the test is over or the caller cancels."""
        try:
            await self.test_is_over.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler of the four kinds of calls."""
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
        """Start a call of a kind, with the request `ab` or the requests `a` and `b`."""
        return getattr(self, kind)(
            b"ab" if kind.startswith("unary") else iter([b"a", b"b"]), **options
        )

    async def result(self, kind: str, **options: object) -> bytes:
        """Return the joined responses of such a call."""
        return await result_of(self.call(kind, **options))


async def result_of(call: Rpc) -> bytes:
    """Return the joined responses of a call."""
    if isinstance(call, aio.UnaryStreamCall | aio.StreamStreamCall):
        return b"".join([response async for response in call])
    return bytes(await call)


@cache
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


def tls() -> tuple[grpc.ServerCredentials, grpc.ChannelCredentials]:
    """Return TLS credentials for a server and for its clients."""
    certificate = authority().issue_cert("localhost", "127.0.0.1")
    key = certificate.private_key_pem.bytes()
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    root = authority().cert_pem.bytes()
    return grpc.ssl_server_credentials([(key, chain)]), grpc.ssl_channel_credentials(root)


@dataclass
class Setup:
    """A provider, its sandbox, a service, and a channel to the service that carries tokens."""

    world: World
    service: Service
    source: TokenSource
    target: str
    plaintext: str
    """The address on which the service listens without TLS."""
    credentials: grpc.ChannelCredentials
    channel: aio.Channel
    stub: Stub

    def revoke_all(self) -> None:
        """Revoke all tokens that were issued so far."""
        self.world.sandbox.revoke_all()

    def wait_out_damping(self) -> None:
        """Move the clock until another token can be invalidated."""
        self.world.clock.wall += 400
        self.world.clock.boot += 400

    async def authorization(self) -> str:
        """Return the `authorization` metadata with the token that the source holds."""
        return (await self.source.get_token()).authorization


def make_channel(
    factory: str,
    source: TokenSource,
    target: str,
    credentials: grpc.ChannelCredentials,
    *,
    outer: Iterable[aio.ClientInterceptor] = (),
    inner: Iterable[aio.ClientInterceptor] = (),
) -> aio.Channel:
    """Return a channel that carries tokens.

    Args:
        factory: `channel` or `insecure channel` for `token_channel`, or `interceptors` for
            `token_interceptors`.
        source: Provides the tokens.
        target: The server.
        credentials: The credentials of the channel.
        outer: Interceptors before those of the adapter.
        inner: Interceptors after those of the adapter; only for `interceptors`.
    """
    if factory == "channel":
        return token_channel(source, target, credentials, interceptors=outer)
    if factory == "insecure channel":
        return token_channel(source, target, None, interceptors=outer, allow_http=True)
    adapter = token_interceptors(source)
    return aio.secure_channel(target, credentials, interceptors=[*outer, *adapter, *inner])


@asynccontextmanager
async def run_setup(
    factory: str = "channel",
    *,
    transport: str = "loopback",
    outer: Iterable[aio.ClientInterceptor] = (),
    inner: Iterable[aio.ClientInterceptor] = (),
    lifetime: int = 3600,
    retry: RetryPolicy | None = None,
) -> AsyncIterator[Setup]:
    """Run a service beside a provider and its sandbox.

    Args:
        factory: As for `make_channel`.
        transport: `tls` or `loopback`.
        outer: As for `make_channel`.
        inner: As for `make_channel`.
        lifetime: The lifetime of tokens, in seconds.
        retry: The retry policy of the provider.
    """
    local = grpc.local_server_credentials(), grpc.local_channel_credentials()
    servers, clients = tls() if transport == "tls" else local
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(world(lifetime=lifetime, retry=retry))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        service = Service(f"{running.sandbox.origin}/resource", session)
        # By default a server rejects some calls if more than a thousand wait at once.
        server = aio.server(options=[("grpc.server.max_pending_requests", 10_000)])
        server.add_generic_rpc_handlers([service.handler()])
        target = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', servers)}"
        plaintext = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        stack.push_async_callback(server.stop, 1)  # without a grace period it writes to stderr
        source = running.source()
        target = plaintext if factory == "insecure channel" else target
        channel = make_channel(factory, source, target, clients, outer=outer, inner=inner)
        await stack.enter_async_context(channel)
        yield Setup(running, service, source, target, plaintext, clients, channel, Stub(channel))


async def status_of(call: Awaitable[object]) -> grpc.StatusCode:
    """Return the status of a call that fails."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code()


factories = pytest.mark.parametrize("factory", ["channel", "interceptors"])
all_factories = pytest.mark.parametrize("factory", ["channel", "interceptors", "insecure channel"])
kinds = pytest.mark.parametrize("kind", KINDS)
unary_requests = pytest.mark.parametrize("kind", KINDS[:2])
streamed_requests = pytest.mark.parametrize("kind", KINDS[2:])


# Tokens


@all_factories
@pytest.mark.parametrize("transport", ["tls", "loopback"])
async def test_a_call_carries_the_token(factory: str, transport: str) -> None:
    """Calls of every kind carry the token, over TLS and on this machine; it is fetched once."""
    async with run_setup(factory, transport=transport) as setup:
        results = [await setup.stub.result(kind) for kind in KINDS]

        assert results == [b"ab"] * 4
        assert setup.service.authorizations == [await setup.authorization()] * 4
        assert setup.world.sandbox.token_requests == 1


@all_factories
async def test_the_metadata_of_the_call_are_sent(factory: str) -> None:
    """The metadata of a call reach the server, together with the token."""
    received: list[object] = []

    async def handler(request: bytes, context: Context) -> bytes:
        received.extend(context.invocation_metadata() or ())
        return request

    async with run_setup(factory) as setup:
        server = aio.server()
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(handler)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t", {"m": method})])
        port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        await server.start()
        async with make_channel(
            factory, setup.source, f"127.0.0.1:{port}", setup.credentials
        ) as channel:
            call: Any = channel.unary_unary("/t/m")
            await call(b"x", metadata=(("x-trace", "7"),))
        await server.stop(None)

        assert ("x-trace", "7") in received
        assert ("authorization", await setup.authorization()) in received


@kinds
async def test_without_a_token_nothing_is_sent(kind: str) -> None:
    """The error of the fetch is raised where the errors of the call are, and no call is sent."""
    async with run_setup() as setup:
        setup.world.sandbox.fail_next(Fault.answer(400, {"error": "invalid_scope"}))
        call = setup.stub.call(kind)
        with pytest.raises(OAuthError, match="invalid_scope"):
            await result_of(call)
        with pytest.raises(OAuthError, match="invalid_scope"):
            await call.code()

        assert call.done()
        assert setup.service.authorizations == []


async def test_a_closed_provider_sends_nothing() -> None:
    """After the provider is closed, a call of any kind raises an error and is not sent."""
    async with run_setup() as setup:
        await setup.stub.result("unary_unary")
        await setup.world.provider.aclose()
        for kind in KINDS:
            with pytest.raises(ProviderStateError):
                await setup.stub.result(kind)

        assert len(setup.service.authorizations) == 1


async def test_a_write_without_a_token_raises_an_error() -> None:
    """A write to a call that got no token raises the error of the fetch."""
    async with run_setup() as setup:
        setup.world.sandbox.fail_next(Fault.answer(400, {"error": "invalid_scope"}))
        call = setup.stub.stream_stream()
        with pytest.raises(OAuthError):
            await call.write(b"a")

        assert setup.service.authorizations == []


@pytest.mark.parametrize("own", ["metadata", "credentials"])
async def test_a_call_with_credentials_raises_an_error(own: str) -> None:
    """A call with authorization metadata or credentials raises an error before it is sent."""
    options: dict[str, object] = {
        "metadata": (("Authorization", "Basic x"),),
        "credentials": grpc.access_token_call_credentials("x"),
    }
    async with run_setup() as setup:
        for kind in KINDS:
            with pytest.raises(ConfigurationError, match="of its own, so nothing was sent"):
                await setup.stub.result(kind, **{own: options[own]})

        assert setup.service.authorizations == []
        assert setup.world.sandbox.token_requests == 0


# Where tokens go


async def test_a_plaintext_channel_gets_no_token() -> None:
    """A call on an insecure channel raises an error that says what to do, and is not sent."""
    async with run_setup() as setup:
        interceptors = token_interceptors(setup.source)
        async with aio.insecure_channel(setup.plaintext, interceptors=interceptors) as channel:
            for kind in KINDS:
                with pytest.raises(ConfigurationError, match=r"secure_channel.*local_channel_cred"):
                    await Stub(channel).result(kind)

        assert setup.service.authorizations == []


@factories
async def test_insecure_channel_credentials_get_no_token(factory: str) -> None:
    """Channel credentials that encrypt nothing do not get the token, and it stays valid."""
    errors = {}
    async with run_setup(factory) as setup:
        insecure = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call]  # gRPC's
        async with make_channel(factory, setup.source, setup.plaintext, insecure) as channel:
            for kind in KINDS:
                with pytest.raises((ConfigurationError, aio.AioRpcError)) as caught:
                    await Stub(channel).result(kind)
                errors[kind] = caught.type

        assert [errors[kind] is ConfigurationError for kind in KINDS] == [True, True, False, False]
        assert setup.service.authorizations == []
        assert setup.world.seen(TokenInvalidated) == []


@kinds
async def test_an_insecure_channel_may_be_allowed(kind: str) -> None:
    """With `allow_http` a token goes in clear text, and is replaced if the server rejects it."""
    async with run_setup("insecure channel") as setup:
        assert await setup.stub.result(kind) == b"ab"
        setup.revoke_all()
        if kind in KINDS[:2]:
            assert await setup.stub.result(kind) == b"ab"
        else:
            assert await status_of(setup.stub.result(kind)) is UNAUTHENTICATED
        await setup.world.quiet()

        assert len(setup.world.seen(TokenInvalidated)) == 1
        assert setup.world.seen(PlainHttpUsed) == []


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        ("orders.invalid:1", "http://orders.invalid:1"),
        ("dns:///Orders.invalid:1", "http://orders.invalid:1"),
        ("dns:orders.invalid", "http://orders.invalid"),
    ],
)
async def test_an_insecure_channel_to_another_machine_is_an_event(target: str, origin: str) -> None:
    """There is one event for the server, before its first call with a token."""
    async with world() as running:
        source = running.source()
        await source.get_token()
        async with token_channel(source, target, None, allow_http=True) as channel:
            for _ in range(2):
                await status_of(Stub(channel).result("unary_unary", timeout=0))
        await running.quiet()

        assert running.seen(PlainHttpUsed) == [PlainHttpUsed(origin=origin)]


async def test_an_untrusted_server_gets_no_token() -> None:
    """A server without a trusted certificate gets no token."""
    async with run_setup(transport="tls") as setup:
        other = grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())
        async with token_channel(setup.source, setup.target, other) as channel:
            status = await status_of(Stub(channel).result("unary_unary"))

        assert status is grpc.StatusCode.UNAVAILABLE
        assert setup.service.authorizations == []


@pytest.mark.parametrize(
    "make",
    [
        token_interceptors,
        lambda source: token_channel(source, "localhost:1", grpc.local_channel_credentials()),
    ],
    ids=["interceptors", "channel"],
)
async def test_an_invalid_source_raises_an_error(make: Callable[[Any], object]) -> None:
    """An object that is not a source, and a source of bound tokens, raise an error."""
    async with world() as setup:
        client = OktaClient("acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET), dpop=DPoP())
        with pytest.raises(
            ConfigurationError, match=r"bound to a key \(dpop\), and gRPC has no proofs"
        ):
            make(setup.provider.source(client, "a"))
        with pytest.raises(
            ConfigurationError, match=r"is not a TokenSource; pass provider\.source"
        ):
            make(setup.provider)


async def test_a_channel_needs_credentials() -> None:
    """Without channel credentials there is an error that names the possible ones."""
    async with world() as setup:
        with pytest.raises(ConfigurationError, match="ssl_channel_credentials"):
            token_channel(setup.source(), "localhost:1", None)
        with pytest.raises(ConfigurationError, match="allow_http must be True or False"):
            token_channel(setup.source(), "localhost:1", None, allow_http="true")  # type: ignore[arg-type]  # deliberately


async def test_other_errors_of_grpc_are_raised_unchanged() -> None:
    """A usage error of gRPC that has another reason is raised unchanged."""
    async with run_setup("interceptors") as setup:
        await setup.channel.close()
        with pytest.raises(aio.UsageError, match="closed"):
            await setup.stub.result("unary_unary")


# Rejected tokens


@pytest.mark.parametrize(
    ("kind", "factory", "headers_first"),
    [
        ("unary_unary", "channel", True),
        ("unary_unary", "interceptors", False),
        ("unary_stream", "channel", False),
        ("unary_stream", "interceptors", True),
    ],
)
async def test_a_rejected_token_is_replaced_once(
    kind: str, factory: str, *, headers_first: bool
) -> None:
    """A call with one request whose token is rejected is sent again with another token."""
    async with run_setup(factory) as setup:
        old = await setup.authorization()
        setup.revoke_all()
        setup.service.headers_first = headers_first
        call = setup.stub.call(kind)
        result = await result_of(call)
        status, trailing = await call.code(), dict(await call.trailing_metadata())
        initial = dict(await call.initial_metadata())

        assert (result, status) == (b"ab", grpc.StatusCode.OK)
        assert setup.service.authorizations == [old, await setup.authorization()]
        assert old != await setup.authorization()
        assert trailing["x-calls"] == "2"
        assert initial == ({"x-call": "2"} if headers_first else {})
        assert setup.world.sandbox.token_requests == 2


@streamed_requests
async def test_a_stream_of_requests_is_not_sent_again(kind: str) -> None:
    """The caller gets the rejection of a stream, and the next call has another token."""
    async with run_setup() as setup:
        old = await setup.authorization()
        setup.revoke_all()
        status = await status_of(setup.stub.result(kind))
        result = await setup.stub.result(kind)

        assert (status, result) == (UNAUTHENTICATED, b"ab")
        assert setup.service.authorizations == [old, await setup.authorization()]


async def test_a_rejection_after_a_response_is_raised() -> None:
    """A call whose stream has sent a response is not retried, but its token is invalidated."""
    async with run_setup() as setup:
        old = await setup.authorization()
        call = setup.stub.unary_stream(b"a?")
        responses = aiter(call)
        first = await anext(responses)
        status = await status_of(anext(responses))

        assert (first, status) == (b"a", UNAUTHENTICATED)
        assert await setup.authorization() != old
        assert setup.service.authorizations == [old]


@unary_requests
async def test_a_second_rejection_is_raised(kind: str) -> None:
    """There is one retry, and the caller gets the status of the retry."""
    async with run_setup() as setup:
        setup.service.on_call = setup.wait_out_damping
        setup.service.statuses.extend([UNAUTHENTICATED] * 3)
        call = setup.stub.call(kind)
        status = await status_of(result_of(call))

        assert status is await call.code() is UNAUTHENTICATED
        assert await call.details() == "no"
        assert dict(await call.trailing_metadata())["x-calls"] == "2"
        assert call.done()
        assert not call.cancelled()
        assert len({*setup.service.authorizations}) == len(setup.service.authorizations) == 2


@unary_requests
async def test_a_rejected_token_is_not_sent_again(kind: str) -> None:
    """If the source still returns the rejected token, the caller gets the rejection."""
    async with run_setup() as setup:
        setup.service.statuses.extend([UNAUTHENTICATED] * 4)
        await status_of(setup.stub.result(kind))
        await status_of(setup.stub.result(kind))

        assert len(setup.service.authorizations) == 3
        assert len({*setup.service.authorizations}) == 2
        assert len(setup.world.seen(InvalidationIgnored)) == 1


async def test_permission_denied_is_raised() -> None:
    """After `PERMISSION_DENIED` there is no retry, and the token is kept."""
    async with run_setup() as setup:
        for kind in KINDS:
            setup.service.statuses.append(grpc.StatusCode.PERMISSION_DENIED)
            status = await status_of(setup.stub.result(kind))
            assert status is grpc.StatusCode.PERMISSION_DENIED

        assert setup.service.authorizations == [await setup.authorization()] * 4


@unary_requests
async def test_without_another_token_the_error_of_the_fetch_is_raised(kind: str) -> None:
    """If the token is rejected and another one cannot be fetched, the caller gets that error."""
    async with run_setup() as setup:
        await setup.authorization()
        setup.revoke_all()
        setup.world.sandbox.fail_next(Fault.answer(400, {"error": "invalid_scope"}))
        with pytest.raises(OAuthError, match="invalid_scope"):
            await setup.stub.result(kind)

        assert len(setup.service.authorizations) == 1


@kinds
async def test_many_rejections_cause_one_token_request(kind: str) -> None:
    """If many calls are rejected with one token, Okta gets one token request."""
    async with run_setup() as setup:
        await setup.authorization()
        setup.revoke_all()
        calls = [asyncio.ensure_future(setup.stub.result(kind)) for _ in range(200)]
        await asyncio.wait(calls)
        statuses = {
            error.code() for call in calls if isinstance(error := call.exception(), aio.AioRpcError)
        }
        await setup.stub.result(kind)

        assert statuses == (set() if kind.startswith("unary") else {UNAUTHENTICATED})
        assert setup.world.sandbox.token_requests == 2
        assert len({*setup.service.authorizations}) == 2


async def test_calls_succeed_while_tokens_are_replaced() -> None:
    """Under load, every call with one request succeeds although tokens are revoked three times."""
    async with run_setup() as setup:

        async def caller() -> set[bytes]:
            return {await setup.stub.result("unary_unary") for _ in range(20)}

        callers = [asyncio.ensure_future(caller()) for _ in range(30)]
        for number in (100, 300, 500):
            await until(lambda number=number: len(setup.service.authorizations) >= number)  # type: ignore[misc]  # a default
            setup.revoke_all()
            setup.wait_out_damping()
        results = await asyncio.gather(*callers)

        assert results == [{b"ab"}] * 30
        assert setup.world.sandbox.token_requests == 4
        assert len({*setup.service.authorizations}) == 4


# Time-outs


@kinds
async def test_waiting_for_a_token_counts_against_the_timeout(kind: str) -> None:
    """A call that times out before it gets a token fails as gRPC calls do; the fetch continues."""
    async with run_setup() as setup:
        setup.world.sandbox.latency = 0.3
        call = setup.stub.call(kind, timeout=0.05)
        status = await status_of(result_of(call))
        details = await call.details()
        await setup.stub.result(kind)

        assert status is await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert details == "Deadline Exceeded: no token arrived in time"
        assert len(setup.service.authorizations) == 1
        assert setup.world.sandbox.token_requests == 1


@unary_requests
async def test_a_retry_has_the_rest_of_the_timeout(kind: str) -> None:
    """A retry has only the time that the first call left."""
    async with run_setup() as setup:
        await setup.authorization()
        setup.revoke_all()
        setup.service.delay = 0.1
        setup.world.sandbox.latency = 0.1
        await setup.stub.result(kind, timeout=3)  # gRPC rounds longer timeouts
        first, second = setup.service.remaining

        assert 2.5 < first < 3.1
        assert second < first - 0.15


@unary_requests
async def test_a_retry_after_the_timeout_is_not_sent(kind: str) -> None:
    """If the timeout ends before another token arrives, the call fails without a retry."""
    async with run_setup() as setup:
        await setup.authorization()
        setup.revoke_all()
        setup.world.sandbox.latency = 30
        status = await status_of(setup.stub.result(kind, timeout=0.3))

        assert status is grpc.StatusCode.DEADLINE_EXCEEDED
        assert len(setup.service.authorizations) == 1


async def test_the_timeout_applies_to_the_call_itself() -> None:
    """A call of any kind to a server that is too slow ends at its timeout."""
    async with run_setup() as setup:
        setup.service.delay = 30
        for kind in KINDS:
            status = await status_of(setup.stub.result(kind, timeout=0.1))
            assert status is grpc.StatusCode.DEADLINE_EXCEEDED

        assert max(setup.service.remaining) < 0.15  # gRPC rounds timeouts


@asynccontextmanager
async def late_server(setup: Setup, port: int) -> AsyncIterator[None]:
    """Run the service on a second port, which was closed before."""
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([setup.service.handler()])
    server.add_secure_port(f"127.0.0.1:{port}", grpc.local_server_credentials())
    await server.start()
    try:
        yield
    finally:
        await server.stop(1)


FAST = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]


@pytest.mark.parametrize("kind", ["unary_unary", "stream_stream"])
async def test_a_call_that_waits_for_its_server_gets_a_valid_token(
    kind: str, closed_port: int
) -> None:
    """A token that expires while a call waits for a connection is replaced before it is sent."""
    async with run_setup(lifetime=60) as setup:
        target = f"127.0.0.1:{closed_port}"
        async with token_channel(setup.source, target, setup.credentials, options=FAST) as channel:
            call = Stub(channel).call(kind, wait_for_ready=True)
            result = asyncio.ensure_future(result_of(call))
            await until(lambda: channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            old = await setup.authorization()
            await setup.world.advance(100)
            async with late_server(setup, closed_port):
                assert await result == b"ab"

        assert len(setup.service.authorizations) == 1
        assert setup.service.authorizations != [old]


async def test_a_call_that_waits_for_its_server_is_not_sent_without_a_token(
    closed_port: int,
) -> None:
    """If the token expired and another one cannot be fetched, gRPC ends the call and says why."""
    async with run_setup(lifetime=60) as setup:
        target = f"127.0.0.1:{closed_port}"
        async with token_channel(setup.source, target, setup.credentials, options=FAST) as channel:
            call = Stub(channel).call("unary_unary", wait_for_ready=True)
            status = asyncio.ensure_future(status_of(call))
            await until(lambda: channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            setup.world.clock.wall += 100
            setup.world.sandbox.fail_next(Fault.answer(400, {"error": "invalid_scope"}))
            async with late_server(setup, closed_port):
                assert await status is grpc.StatusCode.UNAVAILABLE
            details = await call.details()

        assert "no token: " in details
        assert "invalid_scope" in details
        assert setup.service.authorizations == []


def test_after_the_event_loop_is_closed_grpc_gets_an_error() -> None:
    """If gRPC requests a token after the event loop is closed, it gets an error, and no warning."""
    results: list[tuple[object, BaseException | None]] = []

    async def prepare() -> tuple[TokenPlugin, World]:
        async with world(lifetime=60) as running:
            plugin = TokenPlugin("test", running.source())
            await plugin.get_token()
            return plugin, running

    plugin, running = asyncio.run(prepare())
    running.clock.wall += 100
    request_token: Callable[..., None] = plugin
    request_token(None, lambda *result: results.append(result))
    ((metadata, error),) = results

    assert metadata == ()
    assert isinstance(error, RuntimeError)
    assert "closed" in str(error)


# Cancellation


@kinds
async def test_a_call_can_be_cancelled_while_it_waits_for_a_token(kind: str) -> None:
    """The call ends at once, as gRPC calls do; the fetch continues for other callers."""
    async with run_setup() as setup:
        setup.world.sandbox.latency = 0.2
        call = setup.stub.call(kind)
        result = asyncio.ensure_future(result_of(call))
        await setup.world.requests(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await result
        status = await call.code()
        await setup.stub.result(kind)

        assert status is grpc.StatusCode.CANCELLED
        assert call.cancelled()
        assert len(setup.service.authorizations) == setup.world.sandbox.token_requests == 1


@unary_requests
async def test_a_call_can_be_cancelled_before_its_retry(kind: str) -> None:
    """A call that is cancelled while it waits for another token is not retried."""
    async with run_setup() as setup:
        await setup.authorization()
        setup.revoke_all()
        setup.world.sandbox.latency = 0.2
        call = setup.stub.call(kind)
        result = asyncio.ensure_future(result_of(call))
        await setup.world.requests(2)
        result.cancel()
        with pytest.raises(asyncio.CancelledError):
            await result
        setup.world.sandbox.latency = 0
        await setup.stub.result(kind)

        assert await call.code() is grpc.StatusCode.CANCELLED
        assert len(setup.service.authorizations) == setup.world.sandbox.token_requests == 2


@kinds
@pytest.mark.parametrize("how", ["call", "task"])
async def test_a_cancellation_reaches_the_server(kind: str, how: str) -> None:
    """A call that is cancelled while the server handles it is cancelled there, too."""
    async with run_setup() as setup:
        setup.service.delay = 30
        call = setup.stub.call(kind)
        result = asyncio.ensure_future(result_of(call))
        await until(lambda: len(setup.service.authorizations) == 1)
        (call if how == "call" else result).cancel()
        with pytest.raises(asyncio.CancelledError):
            await result
        await until(lambda: setup.service.cancelled == 1)

        assert await call.code() is grpc.StatusCode.CANCELLED
        assert setup.world.seen(TokenInvalidated) == []


@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
async def test_a_stream_can_be_cancelled_after_a_response(kind: str) -> None:
    """A stream that is cancelled after a response is cancelled at the server, too."""
    async with run_setup() as setup:
        setup.service.interactive = True
        request = b"!" if kind == "unary_stream" else iter([b"!"])
        call = getattr(setup.stub, kind)(request)
        async for response in call:
            assert response == b"!"
            break
        call.cancel()
        await until(lambda: setup.service.cancelled == 1)

        assert call.cancelled()
        assert await call.code() is grpc.StatusCode.CANCELLED


# What gRPC provides


async def test_streams_can_be_read_and_written_one_by_one() -> None:
    """`write`, `done_writing` and `read` work as they do without interceptors."""
    async with run_setup() as setup:
        setup.service.interactive = True
        both_ways = setup.stub.stream_stream()
        responses = []
        for letter in (b"a", b"b"):
            await both_ways.write(letter)
            responses.append(await both_ways.read())
        await both_ways.done_writing()
        responses.append(await both_ways.read())
        writing = setup.stub.stream_unary()
        await writing.write(b"a")
        await writing.write(b"b")
        await writing.done_writing()
        reading = setup.stub.unary_stream(b"ab")

        assert responses == [b"a", b"b", aio.EOF]
        assert await writing == b"ab"
        assert [await reading.read() for _ in range(3)] == [b"a", b"b", aio.EOF]
        for call in (both_ways, writing, reading):
            assert await call.code() is grpc.StatusCode.OK


async def test_an_interactive_stream_has_its_metadata_first() -> None:
    """The initial metadata of a stream of requests arrive before its first request."""
    async with run_setup() as setup:
        setup.service.interactive = setup.service.headers_first = True
        call = setup.stub.stream_stream()
        await call.wait_for_connection()
        metadata = dict(await call.initial_metadata())
        await call.done_writing()

        assert metadata == {"x-call": "1"}
        assert await call.read() is aio.EOF


async def test_metadata_of_a_single_request_arrive_with_its_first_response() -> None:
    """The initial metadata of a call with one request wait for its first response."""
    async with run_setup() as setup:
        setup.service.headers_first = True
        setup.service.delay = 0.1
        call = setup.stub.unary_stream(b"!")
        await call.wait_for_connection()
        metadata = dict(await call.initial_metadata())

        assert metadata == {"x-call": "1"}
        assert await anext(aiter(call)) == b"!"


async def test_a_stream_may_have_no_response() -> None:
    """A stream of responses that ends at once is not an error."""
    async with run_setup() as setup:
        call = setup.stub.unary_stream(b"")

        assert await result_of(call) == b""
        assert await call.code() is grpc.StatusCode.OK
        assert dict(await call.trailing_metadata())["x-calls"] == "1"


@kinds
async def test_a_call_reports_that_it_is_done(kind: str) -> None:
    """The callbacks of a call run once, and the call reports that it is done and its status."""
    async with run_setup() as setup:
        done: list[object] = []
        call = setup.stub.call(kind)
        call.add_done_callback(done.append)
        before = call.done()
        await result_of(call)
        await until(lambda: bool(done))

        assert (before, call.done(), call.cancelled()) == (False, True, False)
        assert done == [call]
        assert (await call.code(), await call.details()) == (grpc.StatusCode.OK, "")


async def test_the_remaining_time_is_not_available() -> None:
    """As on every channel with interceptors, a call does not know its remaining time."""
    async with run_setup() as setup:
        for kind in KINDS:
            call = setup.stub.call(kind, timeout=5)
            with pytest.raises(NotImplementedError):
                call.time_remaining()
            await result_of(call)


# Other interceptors


class CallCounter(aio.UnaryUnaryClientInterceptor):
    """An interceptor that counts calls."""

    calls = 0

    async def intercept_unary_unary(
        self, continuation: Rpc, client_call_details: Rpc, request: Rpc
    ) -> Rpc:
        """Count a call."""
        self.calls += 1
        return await continuation(client_call_details, request)


@factories
async def test_outer_interceptors_see_a_call_once(factory: str) -> None:
    """An interceptor before those of the adapter does not see the retry of a call."""
    counter = CallCounter()
    async with run_setup(factory, outer=[counter]) as setup:
        await setup.authorization()
        setup.revoke_all()
        await setup.stub.result("unary_unary")

        assert counter.calls == 1
        assert len(setup.service.authorizations) == 2


class FixedResponse(aio.UnaryUnaryClientInterceptor):
    """An interceptor that responds without a call."""

    async def intercept_unary_unary(
        self, continuation: Rpc, client_call_details: Rpc, request: Rpc
    ) -> Rpc:
        """Return a fixed response."""
        return b"cached"


class DoubledResponses(aio.UnaryStreamClientInterceptor):
    """An interceptor that doubles each response."""

    async def intercept_unary_stream(
        self, continuation: Rpc, client_call_details: Rpc, request: Rpc
    ) -> Rpc:
        """Return an iterator of the doubled responses."""
        call = await continuation(client_call_details, request)

        async def doubled() -> AsyncIterator[bytes]:
            async for response in call:
                yield 2 * response

        return doubled()


async def test_inner_interceptors_may_replace_responses() -> None:
    """Responses and iterators of an interceptor after those of the adapter reach the caller."""
    async with run_setup("interceptors", inner=[FixedResponse(), DoubledResponses()]) as setup:
        await setup.authorization()
        setup.revoke_all()

        assert await setup.stub.result("unary_unary") == b"cached"
        assert await setup.stub.result("unary_stream") == b"aabb"
        assert len(setup.service.authorizations) == 2


class DelayedStatus(aio.StreamUnaryClientInterceptor):
    """An interceptor whose calls return their status only after a suspension."""

    async def intercept_stream_unary(
        self, continuation: Rpc, client_call_details: Rpc, request_iterator: Rpc
    ) -> Rpc:
        """Delay the status of a call."""
        call = await continuation(client_call_details, request_iterator)
        code = call.code

        async def later() -> grpc.StatusCode:
            await asyncio.sleep(0)
            status: grpc.StatusCode = await code()
            return status

        call.code = later
        return call


async def test_a_delayed_status_is_not_a_rejection() -> None:
    """A call whose status is not available at its end does not invalidate the token."""
    async with run_setup("interceptors", inner=[DelayedStatus()]) as setup:
        old = await setup.authorization()
        setup.revoke_all()
        status = await status_of(setup.stub.result("stream_unary"))

        assert status is UNAUTHENTICATED
        assert await setup.authorization() == old


# Secrets and memory


CANARIES = ("C4naryTokenValue9c8b7a6d5e4f3a2b1c0d", "C4naryTokenValue1c0d9c8b7a6d5e4f3a2b")


def safe_repr(value: object) -> str:
    """Return the repr of a value; in gRPC's frames a value may be half initialized."""
    try:
        return repr(value)
    except AttributeError:
        return ""


def all_locals(error: BaseException) -> Iterable[str]:
    """Yield the locals of each frame of a traceback, except the frames of tests."""
    trace = error.__traceback__
    while trace is not None:
        if "/tests/" not in trace.tb_frame.f_code.co_filename:
            yield from map(safe_repr, trace.tb_frame.f_locals.values())
        trace = trace.tb_next


@all_factories
@kinds
async def test_nothing_shows_a_token(kind: str, factory: str) -> None:
    """No error, call, log line or frame, also of gRPC itself, shows a token."""
    with everything_logged() as log:
        async with run_setup(factory, retry=RetryPolicy(attempts=1)) as setup:
            for canary in CANARIES:
                fields = {"access_token": canary, "token_type": "Bearer", "expires_in": 3600}
                setup.world.sandbox.fail_next(Fault.answer(200, {**fields, "scope": "a"}))
            errors = []
            for _ in range(3):
                call = setup.stub.call(kind)
                with pytest.raises(aio.AioRpcError) as caught:
                    await result_of(call)
                errors.append(caught.value)
                assert_clean(f"{call!r} {await call.debug_error_string()}", CANARIES)
            await setup.channel.close()
            with pytest.raises(aio.UsageError) as closed:
                await setup.stub.result(kind)
            assert {*setup.service.authorizations} == {f"Bearer {canary}" for canary in CANARIES}
            for error in (*errors, closed.value):
                assert_clean_error(error, CANARIES)
                assert_clean("".join(all_locals(error)), CANARIES)
    assert_clean(log.getvalue(), CANARIES)


def plugins() -> list[object]:
    """Return the objects that gRPC holds for call credentials."""
    return [each for each in gc.get_objects() if type(each).__name__ == "_Plugin"]


@pytest.mark.timeout(60)
async def test_a_channel_loses_no_memory() -> None:
    """Calls leave no task and no reference in gRPC; a closed channel leaves nothing."""
    others = {id(each) for each in plugins()}
    async with run_setup() as setup:
        await setup.stub.result("unary_unary")
        (plugin,) = (each for each in plugins() if id(each) not in others)
        reference = weakref.ref(plugin)
        del plugin
        references, tasks = sys.getrefcount(reference()), len(asyncio.all_tasks())
        for kind in 25 * KINDS:
            await setup.stub.result(kind)
        # A thread of gRPC may have held one more reference when they were counted first.
        await until(lambda: sys.getrefcount(reference()) <= references, 20)
        await until(lambda: len(asyncio.all_tasks()) <= tasks, 20)
        del setup

    def is_collected() -> bool:
        gc.collect()
        return reference() is None

    await until(is_collected, 20)
