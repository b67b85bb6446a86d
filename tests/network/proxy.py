"""A TCP proxy before the sandbox. What it puts on the wire is what a test says, to the byte.

It speaks HTTP no more than it must: it reads a request, has the sandbox answer it, and leaves it to
a mode what becomes of that answer. TLS ends here, by hand, so that what arrives before and after a
handshake can be looked at, and a connection can be cut where no library would cut it.
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


class Wire:
    """One connection that a client has opened.

    Args:
        proxy: Whose it is.
        reader: What the client sends.
        writer: What it gets.
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
        self._heard = bytearray()
        self.closed = False

    # What the client says

    async def handshake(self, context: ssl.SSLContext) -> None:
        """Begin TLS.

        Raises:
            ssl.SSLError: If the client would not.
        """
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError:
                await self._flush()  # what is wrong
                raise
            else:
                break
        self._tls = tls
        await self._flush()

    async def listen(self) -> bool:
        """Wait for a byte of the client's; return whether there is one, or will never be."""
        while not self._heard:
            data = await self._hear()
            if not data:
                return False
            self._heard += data
            self.proxy.heard += data
        return True

    async def request(self) -> bytes:
        """Return the client's request, once all of it is here.

        Raises:
            ConnectionError: If the client has left.
        """
        while True:
            head, blank, body = bytes(self._heard).partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if blank and len(body) >= (int(length[1]) if length else 0):
                self._heard.clear()
                return head + blank + body
            data = await self._hear()
            if not data:
                raise ConnectionResetError("the client has left")
            self._heard += data
            self.proxy.heard += data

    async def answer(self) -> tuple[bytes, bytes]:
        """Read the client's request, and return what the sandbox says to it: a head and a body."""
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
        self.proxy.answers.append(head + body)
        return head, body

    # What the client gets

    async def send(self, data: bytes) -> None:
        """Send bytes, in one piece if the network can."""
        if self._writer.is_closing():  # which uvloop's transports take for a mistake of ours
            raise ConnectionResetError
        if self._tls is None:
            self._writer.write(data)
            await self._writer.drain()
        else:
            self._tls.write(data)
            await self._flush()

    async def trickle(self, data: bytes, pause: float = 0.0) -> None:
        """Send bytes one by one, each in a segment of its own: asyncio sets TCP_NODELAY."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(pause)

    async def tamper(self) -> None:
        """Send a record that nobody has encrypted."""
        self._writer.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        await self._writer.drain()

    async def flood(self, beginning: bytes, more: bytes, pause: float = 0.0) -> None:
        """Send something, and then something again and again until the client leaves."""
        await self.send(beginning)
        while not self.closed:
            await self.send(more)
            await asyncio.sleep(pause)

    async def hold(self) -> None:
        """Say nothing more, until the client leaves."""
        self.proxy.stalled += 1
        with suppress(ConnectionError, ssl.SSLError):
            while await self._hear():
                pass
        self.close()

    def close(self) -> None:
        """Close with FIN; of TLS without the notice that it is over."""
        self.closed = True
        self._writer.close()

    def reset(self) -> None:
        """Close with RST."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.closed = True
        self._writer.transport.abort()

    async def finish(self) -> None:
        """Wait until nothing is left of the connection."""
        self.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    # The layers below

    async def _hear(self) -> bytes:
        """Return what the client has sent, decrypted; nothing if it has left."""
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


Mode = Callable[[Wire], Awaitable[None]]
"""What befalls one exchange. It may close the connection; if it does not, the next one may come."""


async def honest(wire: Wire) -> None:
    """Pass the answer on as it is."""
    head, body = await wire.answer()
    await wire.send(head + body)


class Proxy:
    """The proxy. `tls` and `mode`, what befalls each exchange, may be set at any moment.

    Beside them it has `received`, every byte that arrived on any connection; `heard`, the
    same after TLS; `answers`, what the sandbox said; `accepted`, how many connections there were,
    `open`, how many there are, `stalled`, how often a client was left waiting, and `full`, whether
    connections wait to be accepted.

    Args:
        sandbox: Who answers.
        tls: Whose certificate is shown; None speaks plain HTTP.
    """

    def __init__(self, sandbox: Sandbox, tls: ssl.SSLContext | None = None) -> None:
        self.sandbox = sandbox
        self.tls = tls
        self.mode: Mode = honest
        self.at_once = False
        self.port = 0
        self.received = bytearray()
        self.heard = bytearray()
        self.answers: list[bytes] = []
        self.accepted = 0
        self.stalled = 0
        self.full = False
        self._wires: dict[Wire, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._reserved: list[socket.socket] = []

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._wires)

    async def befall(self, mode: Mode, *, at_once: bool = False) -> None:
        """Let something befall each exchange from now on.

        Args:
            mode: What.
            at_once: Do not wait for a request: let it befall each connection as it is accepted,
                and break those that there are, lest they be used instead.
        """
        self.mode = mode
        self.at_once = at_once
        if at_once:
            await self.break_off()

    async def break_off(self) -> None:
        """Close every connection, and let the clients notice."""
        for wire in self._wires:
            wire.close()
        if self._wires:
            await asyncio.wait(self._wires.values())
        await settle()

    async def interject(self, data: bytes) -> None:
        """Send bytes on every connection, whether anybody asked for something or not."""
        for wire in [*self._wires]:
            await wire.send(data)

    async def mend(self) -> None:
        """Be honest from now on."""
        await self.befall(honest)
        if self._server is None:
            await self.listen()

    async def listen(self) -> None:
        """Accept connections, on the same port each time."""
        self._release()
        self.full = False
        self._server = await asyncio.start_server(self._accept, sock=self._bind())

    async def refuse(self) -> None:
        """Keep the port, and refuse connections."""
        await self._stop()
        self._reserved = [self._bind()]

    async def overflow(self) -> None:
        """Keep the port, and let its queue be full: whoever connects waits."""
        await self._stop()
        self.full = True
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
                task.result()  # a defect of a mode's is not to look like trouble of the network's

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
        for task in self._wires.values():
            task.cancel()
        await self.break_off()

    def _release(self) -> None:
        for reserved in self._reserved:
            reserved.close()
        self._reserved.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        wire = Wire(self, reader, writer)
        self._wires[wire] = asyncio.create_task(self._serve(wire))
        self._tasks.append(self._wires[wire])

    async def _serve(self, wire: Wire) -> None:
        # A client that leaves, at whatever moment, is no error here.
        try:
            with suppress(ConnectionError, ssl.SSLError):
                if self.tls is not None and not self.at_once:
                    await wire.handshake(self.tls)
                while not wire.closed and (self.at_once or await wire.listen()):
                    await self.mode(wire)
        finally:
            await wire.finish()
            del self._wires[wire]
