"""The processes of a fleet, each with a provider that shares tokens through a store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

_LEAD = 1.0
"""Seconds in which every process is ready to get a token at a given instant."""


class Worker:
    """A process, which receives commands and sends results as lines of JSON.

    Args:
        name: The name of its connections to the store.
        reader: Reads the results.
        writer: Writes the commands.
    """

    def __init__(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.name = name
        self._reader = reader
        self._writer = writer
        self._pid = 0

    async def started(self) -> None:
        """Wait until the process is ready."""
        self._pid = (await self.receive())["pid"]

    def send(self, command: str, **arguments: object) -> None:
        """Send a command; `receive` returns its result.

        Args:
            command: The name of a command of `fleet_worker`.
            **arguments: Its arguments.
        """
        self._writer.write(json.dumps([command, arguments]).encode() + b"\n")

    async def receive(self) -> dict[str, Any]:
        """Return the next result; empty if the process has ended."""
        line = await self._reader.readline()
        result: dict[str, Any] = json.loads(line) if line else {}
        return result

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process.

        Args:
            number: The signal.
        """
        os.kill(self._pid, number)
        if number is signal.SIGKILL:
            self._pid = 0

    async def end(self) -> None:
        """End the process; a stopped one goes on for that."""
        if self._pid:
            self.signal(signal.SIGCONT)
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def processes(
    number: int,
    url: str,
    origin: str,
    *,
    keys: list[str],
    timeout: float = 0.5,  # noqa: ASYNC109 - the timeout of the stores
    lease: float = 5.0,
) -> AsyncIterator[list[Worker]]:
    """Run some processes, and wait until all are ready.

    Args:
        number: How many.
        url: The URL of the store.
        origin: The origin of the server.
        keys: The keys of the store.
        timeout: How long a process waits for the store, in seconds.
        lease: How long a process waits for the fetch of another one that has died, in seconds.
    """
    pairs = [socket.socketpair() for _ in range(number)]
    ends = [end.fileno() for _, end in pairs]
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.fleet_worker"), *map(str, ends), pass_fds=ends
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(parent.wait)
        workers = []
        for index, (own, end) in enumerate(pairs):
            end.close()
            worker = Worker(f"process-{index}", *await asyncio.open_connection(sock=own))
            stack.push_async_callback(worker.end)
            store = {"keys": keys, "timeout": timeout, "lease": lease}
            named = f"{url}?client_name={worker.name}"
            worker.send("start", url=named, origin=origin, store=store)
            workers.append(worker)
        for worker in workers:
            await worker.started()
        yield workers


async def get_together(workers: list[Worker], scope: str) -> list[dict[str, Any]]:
    """Let processes that have just started get a token at the same instant; return the results.

    Args:
        workers: The processes.
        scope: The scope of the token.
    """
    at = time.monotonic() + _LEAD
    for worker in workers:
        worker.send("get", scope=scope, at=at)
    return [await worker.receive() for worker in workers]


async def get_although(
    failure: signal.Signals, workers: list[Worker], scope: str
) -> tuple[Worker, list[dict[str, Any]]]:
    """Let processes get a token, and kill or stop the one that fetches it as soon as it does.

    Args:
        failure: The signal that the process gets.
        workers: The processes.
        scope: The scope of the token.

    Returns:
        The process that got the signal, which has no result yet, and the results of the others.
    """
    at = time.monotonic() + _LEAD
    for worker in workers:
        worker.send("get", scope=scope, at=at, announce=True)
    receiving = {asyncio.create_task(worker.receive()): worker for worker in workers}
    done, _ = await asyncio.wait(receiving, return_when=asyncio.FIRST_COMPLETED)
    failed = receiving.pop(done.pop())
    failed.signal(failure)
    results = []
    for task, worker in receiving.items():
        result = await task
        results.append(await worker.receive() if "announced" in result else result)
    return failed, results


async def drop(how: str, workers: list[Worker], token: str) -> float:
    """Let the first process drop the token that all hold; return when the last one knows of it.

    Args:
        how: `invalidate` or `revoke`.
        workers: The processes, which all hold the token.
        token: The fingerprint of the token.

    Returns:
        The seconds from the call to the drop in the last of the other processes.
    """
    first, *others = workers
    for worker in others:
        worker.send("watch", token=token)
    first.send("drop", how=how)
    begun = (await first.receive())["begun"]
    results = [await worker.receive() for worker in others]
    return float(max(result["dropped"] for result in results) - begun)
