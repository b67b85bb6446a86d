"""`stampede`: what it costs that many wait for a token that nobody holds, beside one bare event."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.figures import Figure
from benchmarks.peers import Target, available
from benchmarks.report import steps
from benchmarks.server import CLIENT_ID, SECRET, Server, serve
from okta_tokens import OktaClient, TokenProvider

_LATENCY = 0.05
_KEYS = 100

Call = Callable[[], Awaitable[object]]
Cost = tuple[float, float]
"""CPU seconds and wall seconds."""


async def run(*, short: bool) -> list[Figure]:
    """Measure stampedes.

    Args:
        short: Whether to let fewer coroutines wait, and to leave the peers with theirs.
    """
    few, many, rounds = (500, 1_000, 2) if short else (10_000, 100_000, 15)
    figures = []
    async with serve(scopes=_KEYS, latency=_LATENCY) as server:
        figures += await _compare(server, few, rounds)
        figures += await _compare_one_key(server, many, max(rounds // 3, 2))
        figures += await _compare_peers(server, few, max(rounds // 5, 1))
    return figures


async def _compare(server: Server, waiters: int, rounds: int) -> list[Figure]:
    """Measure one key, a hundred keys, and a refused client, by turns."""
    floor, one, spread, refused = [], [], [], []
    requests = [0, 0, 0]
    for _ in steps(f"stampede, {waiters:,}", rounds):
        floor.append(await _wait_for_event(waiters))
        one.append(await _ask(server.client(), waiters, keys=1))
        requests[0] += (await server.counts())["token_requests"]
        spread.append(await _ask(server.client(), waiters, keys=_KEYS))
        requests[1] += (await server.counts())["token_requests"]
        refused.append(await _ask(server.client("wrong"), waiters, keys=1))
        requests[2] += (await server.counts())["token_requests"]
    cases = (
        (f"{waiters:,} waiters, one key", one, requests[0], 1, 1.2),
        (f"{waiters:,} waiters, {_KEYS} keys", spread, requests[1], _KEYS, 1.2),
        (f"{waiters:,} waiters, one key, refused", refused, requests[2], 1, 2.0),
    )
    figures = [_microseconds(f"{waiters:,} coroutines wait for one event: CPU each", floor, waiters)]
    for what, costs, asked, keys, limit in cases:
        figures += [
            Figure.ratio(f"{what}: CPU, beside the event", *_cpu(costs, floor), at_most=limit),
            Figure.count(f"{what}: requests a round", asked // rounds, "", exactly=keys),
        ]
    return figures


async def _compare_one_key(server: Server, waiters: int, rounds: int) -> list[Figure]:
    floor, ours, requests = [], [], 0
    for _ in steps(f"stampede, {waiters:,}", rounds):
        floor.append(await _wait_for_event(waiters))
        ours.append(await _ask(server.client(), waiters, keys=1))
        requests += (await server.counts())["token_requests"]
    what = f"{waiters:,} waiters, one key"
    return [
        Figure.ratio(f"{what}: CPU, beside the event", *_cpu(ours, floor), at_most=1.2),
        Figure.count(f"{what}: requests a round", requests // rounds, "", exactly=1),
    ]


async def _compare_peers(server: Server, waiters: int, rounds: int) -> list[Figure]:
    """Let each peer bear the same stampede, in the way that its interface allows."""
    figures = []
    target = Target(server.origin, CLIENT_ID, SECRET)
    for kind in available()[0]:
        floor, theirs, requests = [], [], 0
        for _ in steps(f"stampede, {kind.name}", rounds):
            floor.append(await _wait_for_event(waiters))
            peer = kind(target)
            getter: Any = peer.getter("s0")
            call: Call = (lambda get=getter: asyncio.to_thread(get)) if kind.threads else getter
            theirs.append(await _measure([call] * waiters))
            await peer.aclose()
            requests += (await server.counts())["token_requests"]
        what = f"{kind.name}, {waiters:,} waiters"
        figures += [
            Figure.ratio(f"{what}: CPU, beside the event", *_cpu(theirs, floor)),
            Figure.single(f"{what}: requests a round", requests // rounds, ""),
        ]
    return figures


async def _ask(client: OktaClient, waiters: int, *, keys: int) -> Cost:
    async with TokenProvider(max_concurrent_requests=_KEYS) as provider:
        calls = [provider.source(client, f"s{number}").get_token for number in range(keys)]
        return await _measure(calls * (waiters // keys))


async def _wait_for_event(waiters: int) -> Cost:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(_LATENCY, event.set)
    return await _measure([event.wait] * waiters)


async def _measure(calls: list[Call]) -> Cost:
    """Let coroutines, each a task of its own, wait together."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[call() for call in calls], return_exceptions=True)
    return time.process_time() - cpu, time.perf_counter() - wall


def _cpu(costs: list[Cost], floor: list[Cost]) -> tuple[list[float], list[float]]:
    return [cpu for cpu, _ in costs], [cpu for cpu, _ in floor]


def _microseconds(what: str, costs: list[Cost], waiters: int) -> Figure:
    return Figure.measure(what, [cpu / waiters * 1e6 for cpu, _ in costs], "µs")
