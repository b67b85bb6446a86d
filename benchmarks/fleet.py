"""`fleet`: how many requests do processes with a shared store send, and what do callers notice?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

from benchmarks.figures import Figure
from benchmarks.hit import interleave
from benchmarks.report import steps
from benchmarks.server import Server, serve
from okta_tokens import TokenKey, TokenProvider, TokenSource
from okta_tokens._model.store_identity import token_identity
from okta_tokens.stores import StoreIdentity
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.stores import servers

_LATENCY = 0.15


async def run(*, short: bool) -> list[Figure]:
    """Count the requests of fleets of processes at the server.

    Args:
        short: Whether to have fewer processes and fewer rounds.
    """
    processes, runs, scopes = (6, 3, 40) if short else (50, 20, 200)
    keys = [generate_key()]
    async with (
        servers.server() as store,
        serve(scopes=scopes, latency=_LATENCY) as server,
        serve(scopes=1, lifetime=5, latency=0.05) as short_lived,
    ):
        scopes_left = (f"s{number}" for number in count())
        figures = []
        async with _fleet(processes, store.url, keys, server) as fleet:
            figures += await _cold(fleet, scopes_left, server, runs)
            figures += await _killed(fleet, scopes_left, server)
        lifetimes = 2 if short else 20
        async with _fleet(4 if short else 20, store.url, keys, short_lived) as fleet:
            figures += await _renewals(fleet, short_lived, lifetimes)
        figures += await _warm(store.url, keys, server, next(scopes_left), 3 if short else 101)
        figures += await _hits(store.url, keys, server, next(scopes_left), short=short)
    return figures


class _Worker:
    """A process of a fleet, which receives commands and sends results as lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def send(self, **command: object) -> None:
        assert self.process.stdin is not None  # noqa: S101 - narrows the type
        self.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def receive(self) -> dict[str, Any]:
        """Return the next result; empty if the process has ended."""
        assert self.process.stdout is not None  # noqa: S101 - narrows the type
        line = await self.process.stdout.readline()
        result: dict[str, Any] = json.loads(line) if line else {}
        return result


@asynccontextmanager
async def _fleet(
    number: int, url: str, keys: list[str], server: Server
) -> AsyncIterator[list[_Worker]]:
    """Run some processes, and wait until all are ready."""
    async with AsyncExitStack() as stack:
        workers = []
        for _ in range(number):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.fleet_worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            stack.push_async_callback(_end, process)
            workers.append(_Worker(process))
            workers[-1].send(url=url, keys=keys, origin=server.origin)
        for worker in workers:
            await worker.receive()
        yield workers


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        assert process.stdin is not None  # noqa: S101 - narrows the type
        process.stdin.close()
        await process.wait()


async def _cold(
    fleet: list[_Worker],
    scopes: Iterator[str],
    server: Server,
    runs: int,
) -> list[Figure]:
    """Let all processes get a token that no process holds, at the same time, several times."""
    requests, waits = [], []
    await server.counts()
    for _ in steps("fleet, cold", runs):
        scope = next(scopes)
        for worker in fleet:
            worker.send(get=scope)
        results = [await worker.receive() for worker in fleet]
        requests.append((await server.counts())["token_requests"])
        waits.append(max(result["seconds"] for result in results))
    several = sum(number > 1 for number in requests)
    name = f"{len(fleet)} processes, cold, at the same time"
    return [
        Figure.count(f"{name}: of {runs} runs, with more than one request", several, "", at_most=1),
        Figure.count(f"{name}: most requests of a run", max(requests), "", at_most=2),
        Figure.measure(f"{name}: time until the last token", _milliseconds(waits), "ms"),
    ]


async def _killed(fleet: list[_Worker], scopes: Iterator[str], server: Server) -> list[Figure]:
    """Kill the process that sends the request, while the request is under way."""
    await server.delay(1.0, 1.0)
    await server.counts()
    scope, begun = next(scopes), time.monotonic()
    for worker in fleet:
        worker.send(get=scope, announce=True)
    receiving = {asyncio.create_task(worker.receive()): worker for worker in fleet}
    done, _ = await asyncio.wait(receiving, return_when=asyncio.FIRST_COMPLETED)
    killed = receiving.pop(done.pop())
    os.kill(killed.process.pid, signal.SIGKILL)
    for task, worker in receiving.items():
        result = await task
        if "announced" in result:
            await worker.receive()
    fleet.remove(killed)
    requests = (await server.counts())["token_requests"]
    await server.delay(_LATENCY, _LATENCY)
    name = f"{len(fleet)} processes, when the one that sends the request is killed"
    seconds = time.monotonic() - begun
    return [
        Figure.count(f"{name}: requests", requests, "", at_most=2),
        Figure.single(f"{name}: time until the last token", seconds, "s", at_most=5 + 1 + 0.5),
    ]


async def _renewals(fleet: list[_Worker], server: Server, lifetimes: int) -> list[Figure]:
    """Let processes with many calls run for some lifetimes of five seconds."""
    for worker in fleet:
        worker.send(get="s0")
    for worker in fleet:
        await worker.receive()
    await server.counts()
    for worker in fleet:
        worker.send(run=lifetimes * 5.0)
    results = [await worker.receive() for worker in fleet]
    requests = (await server.counts())["token_requests"]
    name = f"{len(fleet)} processes for {lifetimes} lifetimes of 5 s"
    tokens = {token for result in results for token in result["tokens"]}
    calls = sum(result["calls"] for result in results)
    late = sum(result["late"] for result in results)
    return [
        Figure.count(f"{name}: tokens", len(tokens), ""),
        Figure.count(f"{name}: requests per token", requests / len(tokens), "", at_most=1.1),
        Figure.count(f"{name}: calls", calls, ""),
        Figure.count(f"{name}: of these suspended, or got an expired token", late, "", exactly=0),
    ]


async def _warm(url: str, keys: list[str], server: Server, scope: str, rounds: int) -> list[Figure]:
    """Compare a process's first token, which is in the store, to one call of the store."""
    client = server.client()
    key = TokenKey(client, frozenset(scope.split()))
    identity = token_identity(key, client.authentication)
    assert identity is not None  # noqa: S101 - the client has a secret

    async def load() -> float:
        async with RedisTokenStore(url, keys=keys) as store:
            begun = time.perf_counter()
            assert await store.load(identity) is not None  # noqa: S101 - otherwise it measures nothing
            return time.perf_counter() - begun

    async def get() -> float:
        async with RedisTokenStore(url, keys=keys) as store, TokenProvider(store=store) as provider:
            begun = time.perf_counter()
            await provider.get_token(client, scope)
            return time.perf_counter() - begun

    await server.counts()
    await get()
    while not await _is_stored(url, keys, identity):
        pass
    times = await interleave("fleet, warm", {"load": load, "get": get}, rounds)
    requests = (await server.counts())["token_requests"]
    return [
        Figure.measure("connecting and one call of the store", _milliseconds(times["load"]), "ms"),
        Figure.ratio("the first token, compared to that", times["get"], times["load"], at_most=1.5),
        Figure.count("requests for that, after the first one", requests - 1, "", exactly=0),
    ]


async def _is_stored(url: str, keys: list[str], identity: StoreIdentity) -> bool:
    async with RedisTokenStore(url, keys=keys) as store:
        return await store.load(identity) is not None


async def _hits(
    url: str, keys: list[str], server: Server, scope: str, *, short: bool
) -> list[Figure]:
    """Compare hits of providers with and without a store."""
    calls, rounds = (100, 3) if short else (20_000, 51)
    async with (
        RedisTokenStore(url, keys=keys) as store,
        TokenProvider(store=store) as sharing,
        TokenProvider() as alone,
    ):
        sources = [provider.source(server.client(), scope) for provider in (sharing, alone)]
        for source in sources:
            await source.get_token()

        async def hit(source: TokenSource) -> float:
            begun = time.process_time()
            for _ in range(calls):
                await source.get_token()
            return (time.process_time() - begun) / calls

        names = ("sharing", "alone")
        cases = {name: partial(hit, source) for name, source in zip(names, sources, strict=True)}
        times = await interleave("fleet, hits", dict(cases), rounds)
    return [
        Figure.ratio(
            "a hit with a store, compared to one without", times["sharing"], times["alone"]
        )
    ]


def _milliseconds(times: list[float]) -> list[float]:
    return [seconds * 1e3 for seconds in times]
