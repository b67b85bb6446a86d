"""A network between processes and a server that a test can cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support import listen


class Link:
    """A link to a server.

    Attributes:
        port: The port at which the processes reach the server.

    Args:
        server_port: The port of the server.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self) -> None:
        """Deliver nothing from now on: connections stay open, and new ones get no response."""
        self._whole.clear()

    def restore(self) -> None:
        """Deliver everything again; also what was sent meanwhile, as TCP repeats it."""
        self._whole.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a process to the server until one of them closes."""
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        ways = [
            asyncio.create_task(self._deliver(reader, to_server)),
            asyncio.create_task(self._deliver(from_server, writer)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            for end in (to_server, writer):
                end.close()
                with suppress(ConnectionError):
                    await end.wait_closed()

    async def _deliver(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        await self._whole.wait()
        writer.close()


@asynccontextmanager
async def link(server_port: int) -> AsyncIterator[Link]:
    """Run a link to a server.

    Args:
        server_port: The port of the server.
    """
    made = Link(server_port)
    async with listen(made.serve) as made.port:
        yield made
        made.restore()
