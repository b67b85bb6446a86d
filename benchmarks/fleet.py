"""`fleet`: what do many processes cost Okta that share a store, and what do they notice?"""

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
from okta_tokens._model.token_key import token_key
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.stores import servers

_LATENCY = 0.15


async def run(*, short: bool) -> list[Figure]:
    """Measure fleets of processes, counted on the server's side.

    Args:
        short: Whether to run few processes, and seldom.
    """
    processes, runs, scopes = (6, 3, 40) if short else (50, 20, 200)
    keys = [generate_key()]
    async with (
        servers.server() as store,
        serve(scopes=scopes, latency=_LATENCY) as server,
        serve(scopes=1, lifetime=5, latency=0.05) as brief,
    ):
        fresh = (f"s{number}" for number in count())
        figures = []
        async with _fleet(processes, store.url, keys, server) as fleet:
            figures += await _cold(fleet, fresh, server, runs)
            figures += await _killed(fleet, fresh, server)
        lifetimes = 2 if short else 20
        async with _fleet(4 if short else 20, store.url, keys, brief) as fleet:
            figures += await _renewals(fleet, brief, lifetimes)
        figures += await _warm(store.url, keys, server, next(fresh), 3 if short else 101)
        figures += await _hits(store.url, keys, server, next(fresh), short=short)
    return figures


class _Worker:
    """A process of a fleet; it does what it is told, a line at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def tell(self, **what: object) -> None:
        assert self.process.stdin is not None  # noqa: S101 - narrows the type
        self.process.stdin.write(json.dumps(what).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        """Return the next thing that it says; nothing if it is dead."""
        assert self.process.stdout is not None  # noqa: S101 - narrows the type
        line = await self.process.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {}
        return said


@asynccontextmanager
async def _fleet(
    number: int, url: str, keys: list[str], server: Server
) -> AsyncIterator[list[_Worker]]:
    """Run some processes, and wait until all of them are ready."""
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
            workers[-1].tell(url=url, keys=keys, origin=server.origin)
        for worker in workers:
            await worker.hear()
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
    """Let all begin at the same moment, without a token, again and again."""
    requests, waits = [], []
    await server.counts()
    for _ in steps("fleet, cold", runs):
        scope = next(scopes)
        for worker in fleet:
            worker.tell(get=scope)
        said = [await worker.hear() for worker in fleet]
        requests.append((await server.counts())["token_requests"])
        waits.append(max(it["seconds"] for it in said))
    more = sum(number > 1 for number in requests)
    who = f"{len(fleet)} processes, cold, at the same moment"
    return [
        Figure.count(f"{who}: of {runs} runs, with more than one request", more, "", at_most=1),
        Figure.count(f"{who}: requests at most", max(requests), "", at_most=2),
        Figure.measure(f"{who}: the last has its token after", [it * 1e3 for it in waits], "ms"),
    ]


async def _killed(fleet: list[_Worker], scopes: Iterator[str], server: Server) -> list[Figure]:
    """Kill whoever asks Okta, in the middle of the request."""
    await server.delay(1.0, 1.0)
    await server.counts()
    scope, begun = next(scopes), time.monotonic()
    for worker in fleet:
        worker.tell(get=scope, announce=True)
    hearing = {asyncio.create_task(worker.hear()): worker for worker in fleet}
    done, _ = await asyncio.wait(hearing, return_when=asyncio.FIRST_COMPLETED)
    victim = hearing.pop(done.pop())
    os.kill(victim.process.pid, signal.SIGKILL)
    said = []
    for task, worker in hearing.items():
        it = await task
        said.append(await worker.hear() if "announced" in it else it)
    fleet.remove(victim)
    requests = (await server.counts())["token_requests"]
    await server.delay(_LATENCY, _LATENCY)
    who = f"{len(fleet)} processes, when the one that asks is killed"
    seconds = time.monotonic() - begun
    return [
        Figure.count(f"{who}: requests", requests, "", at_most=2),
        Figure.single(f"{who}: all have a token after", seconds, "s", at_most=5 + 1 + 0.5),
    ]


async def _renewals(fleet: list[_Worker], server: Server, lifetimes: int) -> list[Figure]:
    """Let busy processes live for some lifetimes of five seconds."""
    for worker in fleet:
        worker.tell(get="s0")
    for worker in fleet:
        await worker.hear()
    await server.counts()
    for worker in fleet:
        worker.tell(live=lifetimes * 5.0)
    said = [await worker.hear() for worker in fleet]
    requests = (await server.counts())["token_requests"]
    who = f"{len(fleet)} processes for {lifetimes} lifetimes of 5 s"
    tokens = {token for it in said for token in it["tokens"]}
    calls, late = sum(it["calls"] for it in said), sum(it["late"] for it in said)
    return [
        Figure.count(f"{who}: tokens that they used, one after the other", len(tokens), ""),
        Figure.count(f"{who}: requests for each of these", requests / len(tokens), "", at_most=1.1),
        Figure.count(f"{who}: calls", calls, ""),
        Figure.count(f"{who}: of these suspended, or got an expired token", late, "", exactly=0),
    ]


async def _warm(url: str, keys: list[str], server: Server, scope: str, rounds: int) -> list[Figure]:
    """Compare a process's first token with one call of the store."""
    client = server.client()
    key = token_key(client, scope)

    async def loaded() -> float:
        async with RedisTokenStore(url, keys=keys) as store:
            begun = time.perf_counter()
            assert await store.load(key) is not None  # noqa: S101 - else this is no measurement
            return time.perf_counter() - begun

    async def got() -> float:
        async with RedisTokenStore(url, keys=keys) as store, TokenProvider(store=store) as provider:
            begun = time.perf_counter()
            await provider.get_token(client, scope)
            return time.perf_counter() - begun

    await server.counts()
    await got()
    while not await _is_kept(url, keys, key):
        pass
    times = await interleave("fleet, warm", {"loaded": loaded, "got": got}, rounds)
    requests = (await server.counts())["token_requests"]
    return [
        Figure.measure("connecting and one call of the store", _ms(times["loaded"]), "ms"),
        Figure.ratio("the first token, beside that", times["got"], times["loaded"], at_most=1.5),
        Figure.count("requests for that, after the first", requests - 1, "", exactly=0),
    ]


async def _is_kept(url: str, keys: list[str], key: TokenKey) -> bool:
    async with RedisTokenStore(url, keys=keys) as store:
        return await store.load(key) is not None


async def _hits(
    url: str, keys: list[str], server: Server, scope: str, *, short: bool
) -> list[Figure]:
    """Compare hits with and without a store."""
    calls, rounds = (100, 3) if short else (20_000, 51)
    async with (
        RedisTokenStore(url, keys=keys) as store,
        TokenProvider(store=store) as sharing,
        TokenProvider() as alone,
    ):
        sources = [it.source(server.client(), scope) for it in (sharing, alone)]
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
        Figure.ratio("a hit with a store, beside one without", times["sharing"], times["alone"])
    ]


def _ms(seconds: list[float]) -> list[float]:
    return [it * 1e3 for it in seconds]
