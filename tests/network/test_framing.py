"""Framing tricks: whatever a server sends, a client gets a token of its own, complete, or none."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum

import aiohttp
import pytest

from okta_tokens import ClientSecretBasic, OktaClient, RetryPolicy, TokenProvider
from okta_tokens.errors import FetchError, InvalidResponseError, TransportError
from tests.support import until

Framing = Callable[[bytes], bytes]
"""Makes a response from a body."""

OK = b"HTTP/1.1 200 OK\r\n"
_LENGTH = re.compile(rb"Content-Length: (\d+)")
SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"


def with_head(head: bytes) -> Framing:
    """Return a framing with a head; `%d` in it is the length of the body."""
    return lambda body: head.replace(b"%d", b"%d" % len(body)) + b"\r\n\r\n" + body


def with_chunks(chunks: bytes, headers: bytes = b"Transfer-Encoding: chunked") -> Framing:
    """Return a framing with chunks; `%x` is the length of the body, and `%s` the body."""

    def frame(body: bytes) -> bytes:
        data = chunks.replace(b"%x", b"%x" % len(body)).replace(b"%s", body)
        return OK + headers.replace(b"%d", b"%d" % len(body)) + b"\r\n\r\n" + data

    return frame


def after(data: bytes) -> Framing:
    """Return a framing that sends bytes, and then a plain response."""
    return lambda body: data + PLAIN(body)


def truncated(framing: Framing, missing: int) -> Framing:
    """Return a framing whose last bytes are missing."""
    return lambda body: framing(body)[:-missing]


PLAIN = with_head(OK + b"Content-Length: %d")
UNTIL_THE_END = with_head(OK + b"Connection: close")
CHUNKED = with_chunks(b"%x\r\n%s\r\n0\r\n\r\n")

COMPLETE: dict[str, Framing] = {
    "length": PLAIN,
    "chunks": CHUNKED,
    "chunk extension": with_chunks(b'%x;a=b;c="d"\r\n%s\r\n0;e\r\n\r\n'),
    "chunk size with zeros": with_chunks(b"000%x\r\n%s\r\n0000\r\n\r\n"),
    "trailer": with_chunks(b"%x\r\n%s\r\n0\r\nX-Y: z\r\n\r\n"),
    "100 before": after(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "102 and 103 before": after(b"HTTP/1.1 102 x\r\n\r\nHTTP/1.1 103 x\r\nLink: </x>\r\n\r\n"),
    "199 with headers before": after(b"HTTP/1.1 199 x\r\nX-Y: z\r\n\r\n"),
    "no reason": with_head(b"HTTP/1.1 200\r\nContent-Length: %d"),
    "HTTP/1.0, kept": with_head(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d"),
    "HTTP/1.0, closed": with_head(b"HTTP/1.0 200 OK\r\nContent-Length: %d"),
    "closed": with_head(OK + b"Connection: close\r\nContent-Length: %d"),
    "until the end": UNTIL_THE_END,
}
"""Complete responses, some of them unusual: each must be accepted if nothing else arrives."""

QUESTIONABLE: dict[str, Framing] = {
    "length and chunks": with_chunks(
        b"%x\r\n%s\r\n0\r\n\r\n", b"Content-Length: %d\r\nTransfer-Encoding: chunked"
    ),
    "chunks and a short length": with_chunks(
        b"%x\r\n%s\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 3"
    ),
    "two lengths": with_head(OK + b"Content-Length: %d\r\nContent-Length: 5"),
    "two lengths, the short one first": with_head(OK + b"Content-Length: 5\r\nContent-Length: %d"),
    "length twice": with_head(OK + b"Content-Length: %d\r\nContent-Length: %d"),
    "length in a trailer": with_chunks(b"%x\r\n%s\r\n0\r\nContent-Length: 3\r\n\r\n"),
    "list of lengths": with_head(OK + b"Content-Length: %d, %d"),
    "short length": with_head(OK + b"Content-Length: 30"),
    "no length for a moment": with_head(OK + b"Content-Length: 0"),
    "long length": with_head(OK + b"Content-Length: 4000"),
    "huge length": with_head(OK + b"Content-Length: 99999999999999999999999"),
    "negative length": with_head(OK + b"Content-Length: -%d"),
    "length with a sign": with_head(OK + b"Content-Length: +%d"),
    "length with an underscore": with_head(OK + b"Content-Length: 1_0"),
    "hexadecimal length": with_head(OK + b"Content-Length: 0x10"),
    "empty length": with_head(OK + b"Content-Length: "),
    "length after a blank": with_head(OK + b"Content-Length : %d"),
    "chunked after a blank": with_chunks(b"%x\r\n%s\r\n0\r\n\r\n", b"Transfer-Encoding : chunked"),
    "chunked after a tab": with_chunks(b"%x\r\n%s\r\n0\r\n\r\n", b"Transfer-Encoding:\tchunked"),
    "chunked, folded": with_chunks(b"%x\r\n%s\r\n0\r\n\r\n", b"Transfer-Encoding:\r\n chunked"),
    "xchunked": with_chunks(b"%x\r\n%s\r\n0\r\n\r\n", b"Transfer-Encoding: xchunked"),
    "chunked, identity": with_chunks(
        b"%x\r\n%s\r\n0\r\n\r\n", b"Transfer-Encoding: chunked, identity"
    ),
    "chunked twice": with_chunks(
        b"%x\r\n%s\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"
    ),
    "length for chunks": with_chunks(b"%x\r\n%s\r\n0\r\n\r\n", b"Content-Length: %d"),
    "chunks without a header": with_chunks(b"%x\r\n%s\r\n0\r\n\r\n", b"X-Y: z"),
    "chunk size with 0x": with_chunks(b"0x%x\r\n%s\r\n0\r\n\r\n"),
    "chunk size with a sign": with_chunks(b"+%x\r\n%s\r\n0\r\n\r\n"),
    "negative chunk size": with_chunks(b"-1\r\n%s\r\n0\r\n\r\n"),
    "huge chunk size": with_chunks(b"fffffffffffffffff\r\n%s\r\n0\r\n\r\n"),
    "chunk size and a blank": with_chunks(b"%x \r\n%s\r\n0\r\n\r\n"),
    "short chunk size": with_chunks(b"5\r\n%s\r\n0\r\n\r\n"),
    "no end of line after a chunk": with_chunks(b"%x\r\n%s0\r\n\r\n"),
    "line feeds around chunks": with_chunks(b"%x\n%s\n0\n\n"),
    "line feed inside a chunk extension": with_chunks(b"%x;a\nb\r\n%s\r\n0\r\n\r\n"),
    "last chunk first": with_chunks(b"0\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"),
    "line feeds": lambda body: PLAIN(body).replace(b"\r\n", b"\n"),
    "carriage returns": lambda body: PLAIN(body).replace(b"\r\n", b"\r"),
    "one line feed": with_head(b"HTTP/1.1 200 OK\nContent-Length: %d"),
    "empty lines before": after(b"\r\n\r\n"),
    "noise before": after(b"noise\r\n"),
    "null in a header": with_head(OK + b"X-Y: a\x00b\r\nContent-Length: %d"),
    "carriage return in a header": with_head(OK + b"X-Y: a\rContent-Length: 5\r\n"),
    "folded header": with_head(OK + b"X-Y: a\r\n b\r\nContent-Length: %d"),
    "header without a name": with_head(OK + b": x\r\nContent-Length: %d"),
    "header without a colon": with_head(OK + b"Content-Length\r\nContent-Length: %d"),
    "name with a blank": with_head(OK + b"Content Length: 5\r\nContent-Length: %d"),
    "HTTP/0.9": lambda body: body,
    "HTTP/0.9 by version": with_head(b"HTTP/0.9 200 OK\r\nContent-Length: %d"),
    "HTTP/2": with_head(b"HTTP/2 200 OK\r\nContent-Length: %d"),
    "HTTP/3.7": with_head(b"HTTP/3.7 200 OK\r\nContent-Length: %d"),
    "lower case": with_head(b"http/1.1 200 OK\r\nContent-Length: %d"),
    "status of four digits": with_head(b"HTTP/1.1 0200 OK\r\nContent-Length: %d"),
    "status of two digits": with_head(b"HTTP/1.1 20 OK\r\nContent-Length: %d"),
    "tab before the status": with_head(b"HTTP/1.1\t200 OK\r\nContent-Length: %d"),
    "101 before": after(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    "100 with a length before": after(b"HTTP/1.1 100 x\r\nContent-Length: 9\r\n\r\n"),
    "204 with a body": with_head(b"HTTP/1.1 204 x\r\nContent-Length: %d"),
    "205 with a body": with_head(b"HTTP/1.1 205 x\r\nContent-Length: %d"),
    "304 with a body": with_head(b"HTTP/1.1 304 x\r\nContent-Length: %d"),
    "a request": lambda body: b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
    "half a head": truncated(with_head(OK + b"Content-Length: %d\r\nX-Y"), 90),
    "a head without a body": lambda body: PLAIN(body)[: -len(body)],
    "a body without its end": truncated(PLAIN, 9),
    "a body without its last byte": truncated(PLAIN, 1),
    "a body without its end, closed": truncated(with_head(OK + b"Connection: close"), 9),
    "a chunk without its end": truncated(CHUNKED, 20),
    "chunks without the last one": truncated(CHUNKED, 5),
    "chunks without the last line": truncated(CHUNKED, 2),
}
"""Responses that are invalid, incomplete, or read differently by different clients."""

FRAMINGS = COMPLETE | QUESTIONABLE


class Replay(Enum):
    """When a connection carries its earlier responses again."""

    NEVER = "nothing again"
    WITH_THE_RESPONSE = "again in the same segment"
    WHILE_IDLE = "again while idle"
    WITH_THE_NEXT_REQUEST = "again at the next request"


class Server:
    """A token endpoint that frames its responses in some way, and repeats them.

    Args:
        framing: Makes a response from its body.
        replay: When each connection repeats its responses.
    """

    def __init__(self, framing: Framing, replay: Replay) -> None:
        self._framing = framing
        self._replay = replay
        self.issued: dict[str, str] = {}
        """The client of each token."""
        self.open_connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to the requests on a connection until it is closed."""
        self.open_connections += 1
        sent = b""
        try:
            # A client may close at any moment.
            with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                idle = None
                while True:
                    request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), idle)
                    await reader.readexactly(int(_LENGTH.findall(request)[0]))
                    if self._replay is Replay.WITH_THE_NEXT_REQUEST:
                        writer.write(sent)
                    response = self._framing(self._body(request))
                    sent += response
                    again = self._replay is Replay.WITH_THE_RESPONSE
                    writer.write(response + sent if again else response)
                    if self._framing is UNTIL_THE_END:
                        return
                    if self._replay is Replay.WHILE_IDLE:
                        await asyncio.sleep(0.005)
                        writer.write(sent)
                    if self._framing not in COMPLETE.values():
                        idle = 0.02  # the client may wait for more
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.open_connections -= 1

    def _body(self, head: bytes) -> bytes:
        credentials = head.partition(b"Authorization: Basic ")[2].partition(b"\r\n")[0]
        client = b64decode(credentials).decode().partition(":")[0]
        token = f"token-{len(self.issued)}-of-{client}"
        self.issued[token] = client
        fields = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        return json.dumps(fields).encode()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[None]:
    """Run a server; fail if a connection stays open."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield
        await until(lambda: server.open_connections == 0)


@asynccontextmanager
async def opened(*, own_session: bool, seconds: float) -> AsyncIterator[TokenProvider]:
    """Open a provider, with a session of its own or a given one, and a request time-out."""
    policy = RetryPolicy(attempts=1, request_timeout=seconds)
    if own_session:
        async with TokenProvider(retry=policy) as provider:
            yield provider
    else:
        async with (
            aiohttp.ClientSession() as session,
            TokenProvider(session=session, retry=policy) as provider,
        ):
            yield provider


async def fetch(provider: TokenProvider, client: OktaClient, scope: str) -> str | FetchError:
    """Return a token's value, or the error."""
    try:
        return (await provider.get_token(client, scope)).value
    except FetchError as error:
        return error


@pytest.mark.parametrize("own_session", [True, False], ids=["own session", "given session"])
@pytest.mark.parametrize("replay", Replay, ids=lambda replay: replay.value)
@pytest.mark.parametrize("name", FRAMINGS)
async def test_a_client_gets_its_own_complete_token_or_none(
    name: str, replay: Replay, *, own_session: bool
) -> None:
    """The token of one client never reaches another, and only a complete response has a token."""
    server = Server(FRAMINGS[name], replay)
    # After an invalid chunk, aiohttp may wait for ever.
    seconds = 30 if name in COMPLETE else 0.3
    async with running(server), opened(own_session=own_session, seconds=seconds) as provider:
        clients = [
            OktaClient(f"http://127.0.0.1:{server.port}", client_id, ClientSecretBasic(SECRET))
            for client_id in ("0oa1", "0oa2", "0oa3")
        ]
        for scope in ("a", "b"):
            clients.reverse()  # so that a client would use the connection of another one
            results = await asyncio.gather(*(fetch(provider, each, scope) for each in clients))
            for client, result in zip(clients, results, strict=True):
                if isinstance(result, str):
                    assert server.issued.get(result) == client.client_id
                else:
                    assert isinstance(result, TransportError | InvalidResponseError)
                    assert name not in COMPLETE or replay is not Replay.NEVER
                    assert "token-" not in f"{result!r} {result.__cause__!r}"
