"""`fleet`: how many requests do processes with a shared store send, and what do callers notice?"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from functools import partial
from itertools import count

from benchmarks.figures import Figure
from benchmarks.fleet_processes import Worker, drop, get_although, get_together, processes
from benchmarks.hit import interleave
from benchmarks.report import steps
from benchmarks.server import Server, serve
from okta_tokens import TokenKey, TokenProvider, TokenSource
from okta_tokens._model.store_identity import token_identity
from okta_tokens.stores import StoreIdentity
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.stores import servers

_LATENCY = 0.15
_EXCHANGE = 0.5
"""Seconds of a request to which waits are compared."""
_TIMEOUT = 5.0
"""Seconds that a process waits for the store when all start at once on the cores of one machine."""
_LOOKS = 1.5
"""Seconds within which processes look after a notification."""


async def run(*, short: bool) -> list[Figure]:
    """Count the requests of fleets of processes at the server.

    Args:
        short: Whether to have fewer processes and fewer rounds.
    """
    number, runs, scopes = (8, 3, 40) if short else (50, 20, 200)
    fewer_runs = 2 if short else 5
    keys = [generate_key()]
    async with (
        servers.server() as store,
        serve(scopes=scopes, latency=_LATENCY) as server,
        serve(scopes=1, lifetime=5, latency=0.05) as short_lived,
    ):
        left = (f"s{number}" for number in count())
        figures = []
        async with processes(
            number, store.url, server.origin, keys=keys, timeout=_TIMEOUT
        ) as fleet:
            figures += await _cold(fleet, left, store, server, runs)
            figures += await _waits(fleet[:8], left, server, 2 * fewer_runs)
            for how in ("invalidate", "revoke"):
                figures += await _dropped(how, fleet, left, server, fewer_runs)
            for failure in (signal.SIGSTOP, signal.SIGKILL):
                figures += await _failing(failure, fleet, left, server)
        lifetimes = 2 if short else 20
        number = 4 if short else 20
        async with processes(number, store.url, short_lived.origin, keys=keys) as fleet:
            figures += await _renewals(fleet, short_lived, lifetimes)
        figures += await _warm(store.url, keys, server, next(left), 3 if short else 101)
        figures += await _hits(store.url, keys, server, next(left), short=short)
    return figures


async def _cold(
    fleet: list[Worker],
    scopes: Iterator[str],
    store: servers.Server,
    server: Server,
    runs: int,
) -> list[Figure]:
    """Let all processes get a token that no process holds, at the same time, several times."""
    requests, waits, commands = [], [], []
    await server.counts()
    for _ in steps("fleet, cold", runs):
        async with store.monitored() as sent:
            results = await get_together(fleet, next(scopes))
            await asyncio.sleep(_LOOKS)
        requests.append((await server.counts())["token_requests"])
        waits.append(max(result["seconds"] for result in results))
        commands.append(max(map(len, sent.values())))
    several = sum(number > 1 for number in requests)
    name = f"{len(fleet)} processes, cold, at the same time"
    most = f"{name}: most commands that a process sends the store"
    return [
        Figure.count(f"{name}: of {runs} runs, with more than one request", several, "", at_most=1),
        Figure.count(f"{name}: most requests of a run", max(requests), "", at_most=2),
        Figure.measure(f"{name}: time until the last token", _milliseconds(waits), "ms"),
        # A machine that is so busy that a request takes a second makes a process look once more.
        Figure.measure(most, commands, "", at_most=6),
    ]


async def _waits(
    fleet: list[Worker], scopes: Iterator[str], server: Server, runs: int
) -> list[Figure]:
    """Compare the wait of the last of some cold processes to the request of the first."""
    await server.delay(_EXCHANGE, _EXCHANGE)
    waits, goals = [], []
    for _ in steps("fleet, waits", runs):
        results = await get_together(fleet, next(scopes))
        waits.append(max(result["seconds"] for result in results))
        goals.append(1.2 * max(result["request"] or 0 for result in results) + 0.02)
        await asyncio.sleep(_LOOKS)
    await server.delay(_LATENCY, _LATENCY)
    name = f"{len(fleet)} processes, cold, when a request takes {_EXCHANGE * 1e3:g} ms"
    return [
        Figure.measure(f"{name}: time until the last token", _milliseconds(waits), "ms"),
        Figure.ratio("the same, compared to 1.2 requests and 20 ms", waits, goals, at_most=1),
    ]


async def _dropped(
    how: str, fleet: list[Worker], scopes: Iterator[str], server: Server, runs: int
) -> list[Figure]:
    """Let one process drop the token that all but one hold; then that one starts."""
    *fleet, late = fleet
    times, adopted = [], 0
    await server.counts()
    for _ in steps(f"fleet, {how}", runs):
        scope = next(scopes)
        token = (await get_together(fleet, scope))[0]["token"]
        times.append(await drop(how, fleet, token))
        late.send("get", scope=scope)
        adopted += (await late.receive())["token"] == token
        for worker in fleet:
            worker.send("hold")
        adopted += sum([(await worker.receive())["token"] == token for worker in fleet])
    requests = (await server.counts())["token_requests"]
    name = f"{len(fleet)} processes, one calls {how}"
    return [
        Figure.measure(f"{name}: time until the last one drops the token", times, "s", at_most=1),
        Figure.count(
            f"{name}: later uses of the token, by new processes, too", adopted, "", exactly=0
        ),
        Figure.count(f"{name}: requests for each token", requests / (2 * runs), "", at_most=1.1),
    ]


async def _failing(
    failure: signal.Signals, fleet: list[Worker], scopes: Iterator[str], server: Server
) -> list[Figure]:
    """Kill or stop the process that sends the request, while the request is under way."""
    await server.delay(1.0, 1.0)
    await server.counts()
    failed, results = await get_although(failure, fleet, next(scopes))
    if failure is signal.SIGKILL:
        fleet.remove(failed)
    else:
        failed.signal(signal.SIGCONT)
        await failed.receive()
    requests = (await server.counts())["token_requests"]
    await server.delay(_LATENCY, _LATENCY)
    how = "killed" if failure is signal.SIGKILL else "stopped"
    name = f"{len(results)} processes, when the one that sends the request is {how}"
    seconds = max(result["seconds"] for result in results)
    return [
        Figure.count(f"{name}: requests", requests, "", at_most=2),
        Figure.single(f"{name}: time until the last token", seconds, "s", at_most=5 + 1 + 0.5),
    ]


async def _renewals(fleet: list[Worker], server: Server, lifetimes: int) -> list[Figure]:
    """Let processes with many calls run for some lifetimes of five seconds."""
    for worker in fleet:
        worker.send("get", scope="s0")
    for worker in fleet:
        await worker.receive()
    await server.counts()
    for worker in fleet:
        worker.send("run", seconds=lifetimes * 5.0)
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
            "a hit with a store, compared to one without",
            times["sharing"],
            times["alone"],
            at_most=1.05,
        )
    ]


def _milliseconds(times: list[float]) -> list[float]:
    return [seconds * 1e3 for seconds in times]
