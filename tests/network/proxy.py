"""A TCP proxy in front of the sandbox. A test decides every byte that the proxy sends.

The proxy reads a request and fetches the sandbox's response. A mode then decides what the client
receives. The proxy drives TLS by hand, so that a test can see the bytes before and after a
handshake, and can cut a connection where no library would cut it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from okta_tokens.sandbox import Sandbox
from tests.clock import settle

LOOPBACK: Final = "127.0.0.1"

_CHUNK: Final = 65_536
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER, 0 seconds: closing sends RST


class Connection:
    """A connection that a client has opened.

    Args:
        proxy: The proxy that accepted it.
        reader: Reads what the client sends.
        writer: Writes to the client.
    """

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.proxy = proxy
        self._reader = reader
        self._writer = writer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._buffer = bytearray()
        self.closed = False

    # Receiving

    async def handshake(self, context: ssl.SSLContext) -> None:
        """Complete the TLS handshake.

        Raises:
            ssl.SSLError: If the handshake fails.
        """
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError:
                await self._flush()  # the alert
                raise
            else:
                break
        self._tls = tls
        await self._flush()

    async def wait_for_data(self) -> bool:
        """Wait until the client has sent something; return False if it closes before."""
        while not self._buffer:
            data = await self._read()
            if not data:
                return False
            self._buffer += data
            self.proxy.decrypted += data
        return True

    async def request(self) -> bytes:
        """Receive a complete request.

        Raises:
            ConnectionError: If the client closes before.
        """
        while True:
            head, blank, body = bytes(self._buffer).partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if blank and len(body) >= (int(length[1]) if length else 0):
                self._buffer.clear()
                return head + blank + body
            data = await self._read()
            if not data:
                raise ConnectionResetError("the client closed the connection")
            self._buffer += data
            self.proxy.decrypted += data

    async def fetch_response(self) -> tuple[bytes, bytes]:
        """Receive a request; return the head and the body of the sandbox's response to it."""
        request = await self.request()
        reader, writer = await asyncio.open_connection(LOOPBACK, self.proxy.sandbox.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            assert length is not None
            body = await reader.readexactly(int(length[1]))
        finally:
            writer.close()
            await writer.wait_closed()
        self.proxy.responses.append(head + body)
        return head, body

    # Sending

    async def send(self, data: bytes) -> None:
        """Send bytes, in one segment if they fit."""
        if self._writer.is_closing():  # uvloop's transports would log a write as an error
            raise ConnectionResetError
        if self._tls is None:
            self._writer.write(data)
            await self._writer.drain()
        else:
            self._tls.write(data)
            await self._flush()

    async def trickle(self, data: bytes, pause: float = 0.0) -> None:
        """Send bytes one by one, each in its own segment, because asyncio sets TCP_NODELAY."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(pause)

    async def send_forged_record(self) -> None:
        """Send a TLS record that is not encrypted with the connection's key."""
        self._writer.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        await self._writer.drain()

    async def flood(self, beginning: bytes, more: bytes, pause: float = 0.0) -> None:
        """Send a beginning, and then the same bytes repeatedly until the client closes."""
        await self.send(beginning)
        while not self.closed:
            await self.send(more)
            await asyncio.sleep(pause)

    async def stall(self) -> None:
        """Send nothing until the client closes."""
        self.proxy.stalled += 1
        with suppress(ConnectionError, ssl.SSLError):
            while await self._read():
                pass
        self.close()

    def close(self) -> None:
        """Close with FIN, and without a TLS close_notify."""
        self.closed = True
        self._writer.close()

    def reset(self) -> None:
        """Close with RST."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.closed = True
        self._writer.transport.abort()

    async def finish(self) -> None:
        """Close the connection, and wait until it is closed."""
        self.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    # Bytes and TLS

    async def _read(self) -> bytes:
        """Return decrypted bytes of the client; empty if the client has closed."""
        if self._tls is None:
            return await self._receive()
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._receive():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    async def _receive(self) -> bytes:
        data = await self._reader.read(_CHUNK)
        self.proxy.received += data
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return data

    async def _flush(self) -> None:
        self._writer.write(self._outgoing.read())
        await self._writer.drain()


Mode = Callable[[Connection], Awaitable[None]]
"""Handles one exchange. If it leaves the connection open, it is called for the next exchange."""


async def pass_through(connection: Connection) -> None:
    """Forward the response unchanged."""
    head, body = await connection.fetch_response()
    await connection.send(head + body)


class Proxy:
    """A TCP proxy. `tls` and `mode`, which handles each exchange, may be set at any moment.

    Attributes:
        received: Every byte that arrived on any connection.
        decrypted: The same bytes after TLS.
        responses: The sandbox's responses.
        accepted: How many connections were accepted.
        stalled: How often a client was left without a response.
        backlog_full: Whether new connections wait to be accepted.

    Args:
        sandbox: Responds to the requests.
        tls: The server's TLS context; `None` for plain HTTP.
    """

    def __init__(self, sandbox: Sandbox, tls: ssl.SSLContext | None = None) -> None:
        self.sandbox = sandbox
        self.tls = tls
        self.mode: Mode = pass_through
        self.on_accept = False
        self.port = 0
        self.received = bytearray()
        self.decrypted = bytearray()
        self.responses: list[bytes] = []
        self.accepted = 0
        self.stalled = 0
        self.backlog_full = False
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._reserved: list[socket.socket] = []

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def set_mode(self, mode: Mode, *, on_accept: bool = False) -> None:
        """Let a mode handle each exchange from now on.

        Args:
            mode: The mode.
            on_accept: Call the mode when a connection is accepted, before a request. Open
                connections are closed, so that the client must open a new one.
        """
        self.mode = mode
        self.on_accept = on_accept
        if on_accept:
            await self.close_connections()

    async def close_connections(self) -> None:
        """Close every connection, and let the clients notice."""
        for connection in self._connections:
            connection.close()
        if self._connections:
            await asyncio.wait(self._connections.values())
        await settle()

    async def send_unrequested(self, data: bytes) -> None:
        """Send bytes on every connection, without a request."""
        for connection in [*self._connections]:
            await connection.send(data)

    async def restore(self) -> None:
        """Accept connections, and forward every response unchanged, from now on."""
        await self.set_mode(pass_through)
        if self._server is None:
            await self.listen()

    async def listen(self) -> None:
        """Accept connections on the proxy's port."""
        self._release()
        self.backlog_full = False
        self._server = await asyncio.start_server(self._accept, sock=self._bind())

    async def refuse(self) -> None:
        """Keep the port, and refuse connections."""
        await self._stop()
        self._reserved = [self._bind()]

    async def fill_backlog(self) -> None:
        """Keep the port, and fill its accept queue, so that a client that connects waits."""
        await self._stop()
        self.backlog_full = True
        full = self._bind()
        full.listen(0)
        self._reserved = [full]
        for _ in range(3):
            connecting = socket.socket()
            connecting.setblocking(False)  # noqa: FBT003 - its only parameter
            connecting.connect_ex((LOOPBACK, self.port))
            self._reserved.append(connecting)

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()
        self._release()
        for task in self._tasks:
            if not task.cancelled():
                task.result()  # a defect in a mode must not look like a fault of the network

    def _bind(self) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, self.port))
        self.port = bound.getsockname()[1]
        return bound

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._connections.values():
            task.cancel()
        await self.close_connections()

    def _release(self) -> None:
        for reserved in self._reserved:
            reserved.close()
        self._reserved.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = Connection(self, reader, writer)
        self._connections[connection] = asyncio.create_task(self._serve(connection))
        self._tasks.append(self._connections[connection])

    async def _serve(self, connection: Connection) -> None:
        # A client may close at any moment.
        try:
            with suppress(ConnectionError, ssl.SSLError):
                if self.tls is not None and not self.on_accept:
                    await connection.handshake(self.tls)
                while not connection.closed and (
                    self.on_accept or await connection.wait_for_data()
                ):
                    await self.mode(connection)
        finally:
            await connection.finish()
            del self._connections[connection]
