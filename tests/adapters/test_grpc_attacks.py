"""What a hostile server, a proxy or an error tracker cannot get from a gRPC channel with tokens."""

import asyncio
import itertools
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import grpc
import pytest
from grpc import aio

from okta_tokens.adapters._grpc_call import AuthorizedCall
from okta_tokens.adapters._grpc_credentials import TokenPlugin
from okta_tokens.adapters.grpc import token_channel, token_interceptors
from okta_tokens.errors import ConfigurationError
from okta_tokens.events import TokenInvalidated
from tests.adapters.test_grpc import KINDS, UNAUTHENTICATED, Rpc, Setup, Stub, kinds, run_setup
from tests.runtime.test_redaction import locals_with
from tests.support import listen

# The words of a server

LOCAL_REFUSALS = (
    "Established channel does not have a sufficient security level to transfer call credential.",
    "no sufficient security level",
    "Call credentials are only valid on secure channels",
    "the channel is not encrypted, so nothing was sent",
    "Deadline Exceeded: no token arrived in time",
    "",
)
"""What gRPC or the adapter itself says about a call that was not sent."""

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper": str.upper,
    "lines": lambda text: text.replace(" ", "\r\n"),
    "quoted": lambda text: f'UNAUTHENTICATED:"{text}"',
    "twice": lambda text: f"{text} {{grpc_status:16, grpc_message:{text!r}}}",
}


@kinds
async def test_the_words_of_a_server_do_not_keep_a_rejected_token(kind: str) -> None:
    """A server that uses gRPC's own words about an insecure channel has rejected the token."""
    async with run_setup() as setup:
        texts = [spell(text) for text in LOCAL_REFUSALS for spell in SPELLINGS.values()]
        for number, setup.service.details in enumerate(texts, 1):
            setup.wait_out_damping()
            rejected = await setup.authorization()
            setup.revoke_all()
            setup.service.statuses.extend([UNAUTHENTICATED] * 2)
            with pytest.raises(aio.AioRpcError) as caught:
                await setup.stub.result(kind)
            setup.service.statuses.clear()

            assert caught.value.code() is UNAUTHENTICATED
            assert await setup.authorization() != rejected, setup.service.details
            assert len(setup.world.seen(TokenInvalidated)) >= number


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def fields(**values: str) -> bytes:
    """Return header fields in the simplest form of HPACK; `_` in a name stands for `-`."""
    encoded = b""
    for name, value in values.items():
        assert len(value) < 127  # a longer text needs more than one byte for its length
        encoded += b"\0" + bytes([len(name)]) + name.replace("_", "-").encode()
        encoded += bytes([len(value)]) + value.encode()
    return encoded


def trailers(stream: int, **values: str) -> bytes:
    """Return a response that consists of trailers, with the status `UNAUTHENTICATED`."""
    sent = fields(content_type="application/grpc", grpc_status="16", **values)
    return frame(1, 5, stream, STATUS["200"] + sent)


STATUS = {"200": b"\x88", "401": b"\x08\x03401"}
"""The field `:status`."""
REFUSAL = "does not have a sufficient security level to transfer call credential"

RESPONSES: dict[str, Callable[[int], bytes]] = {
    "trailers only": lambda stream: trailers(stream, grpc_message=REFUSAL),
    "escaped message": lambda stream: trailers(
        stream, grpc_message="".join(f"%{ord(char):02x}" for char in "sufficient security level")
    ),
    "no message": trailers,
    "details as bytes": lambda stream: trailers(
        stream, grpc_status_details_bin=b64encode(REFUSAL.encode()).decode()
    ),
    "headers, then trailers": lambda stream: (
        frame(1, 4, stream, STATUS["200"] + fields(content_type="application/grpc"))
        + frame(1, 5, stream, fields(grpc_status="16", grpc_message=REFUSAL))
    ),
    "an HTTP status": lambda stream: frame(
        1, 5, stream, STATUS["401"] + fields(content_type="text/plain", grpc_message=REFUSAL)
    ),
}
"""What a server can send to reject a token, as frames of HTTP/2."""


@asynccontextmanager
async def raw_server(response: Callable[[int], bytes]) -> AsyncIterator[tuple[str, list[int]]]:
    """Run a server of HTTP/2 that sends fixed frames for each call; yield its address and calls."""
    calls: list[int] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(24)
            writer.write(frame(4, 0, 0, b""))
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3]))
                stream = int.from_bytes(head[5:])
                if head[3] == 4 and not head[4] & 1:
                    writer.write(frame(4, 1, 0, b""))
                elif head[3] in {0, 1} and head[4] & 1:  # the request is complete
                    calls.append(stream)
                    writer.write(response(stream))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with listen(respond) as port:
        yield f"127.0.0.1:{port}", calls


@kinds
@pytest.mark.parametrize("response", RESPONSES)
async def test_the_frames_of_a_server_do_not_keep_a_rejected_token(
    kind: str, response: str
) -> None:
    """However a server sends `UNAUTHENTICATED`, it has rejected the token."""
    async with run_setup() as setup, raw_server(RESPONSES[response]) as (target, calls):
        rejected = await setup.authorization()
        async with token_channel(setup.source, target, setup.credentials) as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await Stub(channel).result(kind)

        assert caught.value.code() is UNAUTHENTICATED
        assert len(calls) == (2 if kind.startswith("unary") else 1)
        assert await setup.authorization() != rejected


async def test_a_reset_call_says_nothing_about_the_token() -> None:
    """A call that the server resets, with any error code, neither drops the token nor is local."""
    async with run_setup() as setup:
        held = await setup.authorization()
        for code in range(14):
            reset = struct.pack(">I", code)
            async with (
                raw_server(partial(frame, 3, 0, payload=reset)) as (
                    target,
                    calls,
                ),
                token_channel(setup.source, target, setup.credentials) as channel,
            ):
                with pytest.raises((aio.AioRpcError, asyncio.CancelledError)):
                    await Stub(channel).result("unary_unary", timeout=5)
                assert calls

        assert await setup.authorization() == held


class RefusesAll(aio.UnaryUnaryClientInterceptor):
    """An interceptor that refuses each call before it is sent."""

    async def intercept_unary_unary(
        self, continuation: Rpc, client_call_details: Rpc, request: Rpc
    ) -> Rpc:
        """Refuse a call."""
        raise aio.AioRpcError(UNAUTHENTICATED, aio.Metadata(), aio.Metadata(), "mine")


async def test_a_call_that_was_not_sent_is_not_a_rejection() -> None:
    """An interceptor that refuses a call itself has not rejected the token."""
    async with run_setup("interceptors", inner=[RefusesAll()]) as setup:
        held = await setup.authorization()
        with pytest.raises(aio.AioRpcError, match="mine"):
            await setup.stub.result("unary_unary")

        assert await setup.authorization() == held
        assert setup.world.sandbox.token_requests == 1


async def test_a_response_of_an_interceptor_is_not_a_rejection() -> None:
    """A call that an interceptor answers itself, after it was started, is not retried."""

    async def start(details: aio.ClientCallDetails, request: bytes) -> bytes:
        return request

    async with run_setup() as setup:
        plugin = TokenPlugin("test", setup.source)
        details = aio.ClientCallDetails("/t/m", None, None, None, None)
        authorized = AuthorizedCall(plugin, None, details)
        await authorized.get_token()
        await authorized.send(start, b"")
        error = aio.AioRpcError(UNAUTHENTICATED, aio.Metadata(), aio.Metadata(), "mine")

        assert not await authorized.prepare_retry(error)


# Proxies


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, bytearray]]:
    """Run a proxy that accepts every tunnel and acts as the server; yield what it receives."""
    received = bytearray()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + frame(4, 0, 0, b""))
        while data := await reader.read(2**16):
            received.extend(data)
        writer.close()

    async with listen(tunnel) as port:
        yield f"127.0.0.1:{port}", received


VARIABLES = {
    "grpc_proxy": "http://{}",
    "https_proxy": "http://{}",
    "http_proxy": "http://{}",
    "GRPC_ADDRESS_HTTP_PROXY": "{}",
}
TARGETS = ["{}", "ipv4:{}", "dns:{}", "dns:///{}", "localhost:{port}", "dns:///localhost:{port}"]
LOCAL = grpc.local_channel_credentials()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, without a proxy."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES", "127.0.0.0/8")
    return monkeypatch


@pytest.mark.parametrize("variable", VARIABLES)
async def test_no_proxy_gets_the_token_of_a_channel(
    environment: pytest.MonkeyPatch, variable: str
) -> None:
    """A channel to this machine ignores proxies, or fails, whatever the form of its target."""
    async with run_setup() as setup, proxy() as (address, received):
        environment.setenv(variable, VARIABLES[variable].format(address))
        results = {form: await try_call(setup, form) for form in TARGETS}

        assert (await setup.source.get_token()).value.encode() not in received
        direct = variable != "GRPC_ADDRESS_HTTP_PROXY"
        assert {*results.values()} == {"ab" if direct else "so nothing was sent"}, results


async def try_call(setup: Setup, form: str) -> str:
    """Make a call on a new channel, and return its result or why nothing was sent."""
    target = form.format(setup.target, port=setup.target.rpartition(":")[2])
    async with token_channel(setup.source, target, LOCAL) as channel:
        call = Stub(channel).call("unary_unary", timeout=5)
        try:
            return bytes(await call).decode()
        except aio.AioRpcError as error:
            reason = "so nothing was sent"
            return reason if reason in (error.details() or "") else str(error)


async def test_no_proxy_gets_the_token_for_another_machine(environment: pytest.MonkeyPatch) -> None:
    """Without encryption a proxy on this machine gets no token for a server elsewhere."""
    async with run_setup() as setup, proxy() as (address, received):
        url = f"http://{address}"
        for options, variable in ((None, url), ([("grpc.http_proxy", url)], "")):
            environment.setenv("http_proxy", variable)
            for target in ("api.acme.com:443", "dns://127.0.0.1/localhost:1"):
                async with token_channel(setup.source, target, LOCAL, options=options) as channel:
                    with pytest.raises(aio.AioRpcError):
                        await Stub(channel).result("unary_unary", timeout=5)

        assert received.startswith(b"CONNECT api.acme.com:443")
        assert (await setup.source.get_token()).value.encode() not in received


@kinds
async def test_no_proxy_gets_the_token_of_interceptors(
    environment: pytest.MonkeyPatch, kind: str
) -> None:
    """The call fails also if the variable is gone, since the channel keeps the proxy it found."""
    async with run_setup() as setup, proxy() as (address, received):
        for variable, before in itertools.product(VARIABLES, (True, False)):
            environment.setenv(variable, VARIABLES[variable].format(address))
            interceptors = token_interceptors(setup.source)
            if not before:
                environment.delenv(variable)
                interceptors = token_interceptors(setup.source)
                environment.setenv(variable, VARIABLES[variable].format(address))
            async with aio.secure_channel(
                setup.target, LOCAL, interceptors=interceptors
            ) as channel:
                if before:
                    await asyncio.wait_for(channel.channel_ready(), 5)
                    environment.delenv(variable)
                with pytest.raises(aio.AioRpcError) as caught:
                    await Stub(channel).result(kind, timeout=5)
            environment.delenv(variable, raising=False)
            assert "unset the variable" in str(caught.value.details())

        assert (await setup.source.get_token()).value.encode() not in received


@pytest.mark.parametrize("variable", VARIABLES)
async def test_no_proxy_gets_the_token_of_an_insecure_channel(
    environment: pytest.MonkeyPatch, variable: str
) -> None:
    """With `allow_http` a channel ignores proxies, or the call fails, and options with one fail."""
    async with run_setup() as setup, proxy() as (address, received):
        source, target = setup.source, setup.plaintext
        for option in ("grpc.http_proxy", "grpc.address_http_proxy"):
            with pytest.raises(ConfigurationError, match="the options name a proxy"):
                token_channel(source, target, None, options=[(option, address)], allow_http=True)
        async with token_channel(source, target, None, allow_http=True) as channel:
            environment.setenv(variable, VARIABLES[variable].format(address))
            call = Stub(channel).result("unary_unary", timeout=5)
            if variable == "GRPC_ADDRESS_HTTP_PROXY":
                with pytest.raises(ConfigurationError, match="so nothing was sent"):
                    await call
            else:
                assert await call == b"ab"

    assert received == b""


async def test_a_proxy_may_tunnel_an_encrypted_channel(environment: pytest.MonkeyPatch) -> None:
    """A call over TLS is not refused if the environment names a proxy, which cannot read it."""
    async with run_setup("interceptors", transport="tls") as setup:
        await setup.stub.result("unary_unary")
        environment.setenv("http_proxy", "http://127.0.0.1:1")

        assert await setup.stub.result("unary_unary") == b"ab"


# The credentials of the caller

CANARY = "C4naryCredential9c8b7a6d5e4f"


@kinds
@pytest.mark.parametrize("key", ["authorization", "AUTHORIZATION", b"Authorization"])
async def test_no_frame_shows_the_credentials_of_the_caller(kind: str, key: str) -> None:
    """A call that has credentials of its own raises an error whose frames do not show them."""
    async with run_setup() as setup:
        with pytest.raises(ConfigurationError, match="of its own, so nothing was sent") as caught:
            await setup.stub.result(kind, metadata=((key, f"Bearer {CANARY}"), ("x-key", CANARY)))

        assert locals_with(caught.value, CANARY) == []
        assert setup.service.authorizations == []


async def test_no_frame_shows_the_metadata_of_the_caller() -> None:
    """No frame of this package shows the metadata of a call that fails in any other way."""
    async with run_setup() as setup:
        interceptors = token_interceptors(setup.source)
        metadata = (("x-key", CANARY),)
        async with aio.insecure_channel(setup.plaintext, interceptors=interceptors) as channel:
            for kind in KINDS:
                with pytest.raises(ConfigurationError) as caught:
                    await Stub(channel).result(kind, metadata=metadata)
                assert locals_with(caught.value, CANARY) == []
        await setup.world.provider.aclose()
        for kind in KINDS:
            with pytest.raises(Exception, match="closed") as closed:
                await setup.stub.result(kind, metadata=metadata)
            assert locals_with(closed.value, CANARY) == []
