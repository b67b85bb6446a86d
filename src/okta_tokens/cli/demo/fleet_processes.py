"""The processes of the demo's fleet, as the demo sees them: it sends commands, and gets reports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from okta_tokens.cli._progress import progress

_PROGRAM = "from okta_tokens.cli.demo.fleet_worker import main; main()"


@dataclass(frozen=True, slots=True)
class Report:
    """What a process did. The report of a process that ended is empty.

    Args:
        token: The fingerprint of its last token; empty if it got no token.
        calls: How many calls it made: of `get_token`, or of the API.
        errors: How many of the calls failed.
    """

    token: str = ""
    calls: int = 0
    errors: int = 0


class FleetProcess:
    """A process that runs `fleet_worker`.

    Args:
        reader: Receives the reports of the process.
        writer: Sends commands to the process.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def run(self, command: str, **arguments: object) -> Report:
        """Let the process run a command.

        Args:
            command: The name of a method of `fleet_worker.Worker`.
            arguments: The arguments of the method.

        Returns:
            The report of the process.
        """
        self._writer.write(f"{json.dumps([command, arguments])}\n".encode())
        line = b""
        with suppress(ConnectionError):
            line = await self._reader.readline()
        return Report(**json.loads(line)) if line else Report()

    def close(self) -> None:
        """Tell the process to end."""
        self._writer.close()


@asynccontextmanager
async def open_processes(count: int, folder: Path) -> AsyncIterator[list[FleetProcess]]:
    """Start processes, and end them after the block; kill them after an error or a cancellation.

    Args:
        count: How many processes to start.
        folder: A folder for the socket to which the processes connect.

    Raises:
        OSError: If the processes cannot be started.
    """
    connected: asyncio.Queue[FleetProcess] = asyncio.Queue()
    socket = folder / "fleet"
    server = await asyncio.start_unix_server(
        lambda reader, writer: connected.put_nowait(FleetProcess(reader, writer)), socket
    )
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, str(socket), str(count)),
        env={**os.environ, "no_proxy": "*"},  # macOS cannot look up its proxies after a fork
        start_new_session=True,  # a terminal sends Ctrl-C to the demo alone, which ends the others
    )
    processes: list[FleetProcess] = []
    try:
        async with progress("waiting for the processes to start"):
            processes += await _first(count, connected, program)
        yield processes
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        raise
    finally:
        server.close()
        for process in processes:
            process.close()
        await program.wait()


async def _first(
    count: int, connected: asyncio.Queue[FleetProcess], program: asyncio.subprocess.Process
) -> list[FleetProcess]:
    """Wait until all processes have connected, or the program that starts them has ended."""

    async def connect() -> list[FleetProcess]:
        return [await connected.get() for _ in range(count)]

    connecting, ended = asyncio.create_task(connect()), asyncio.create_task(program.wait())
    either: list[asyncio.Task[Any]] = [connecting, ended]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        connecting.cancel()
    if not connecting.done():
        raise OSError("the processes of the fleet could not be started; see the error above")
    return connecting.result()
