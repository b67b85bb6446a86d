"""Servers that say what they like, or nothing: for a loop that runs already."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trustme

LOOPBACK = "127.0.0.1"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that says what it likes; return its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, EOFError):
            pass  # whoever called has left
        finally:
            writer.close()

    server = await asyncio.start_server(handle, LOOPBACK, 0, ssl=tls)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Accept, and never say a word."""
    await reader.read()


async def close(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Hang up at once."""


def saying(*lines: str) -> Handler:
    """Answer each request with a head of these lines, and no body."""
    head = "\r\n".join(
        ["HTTP/1.1 200 OK", "Content-Length: 0", "Connection: close", *lines, "", ""]
    )

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode())
        await writer.drain()

    return handle


def shows(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return what a server shows a certificate with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
