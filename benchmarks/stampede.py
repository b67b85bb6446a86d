"""`stampede`: what does it cost that ten thousand coroutines wait for one token?"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp

from benchmarks.figures import Figure
from benchmarks.peers import Target, available
from benchmarks.report import steps
from benchmarks.server import CLIENT_ID, SECRET, Server, serve
from okta_tokens import OktaClient, TokenProvider

LATENCY = 0.05
"""The latency of token responses in seconds."""
_KEYS = 100

Call = Callable[[], Awaitable[object]]


async def run(*, short: bool) -> list[Figure]:
    """Measure stampedes.

    Args:
        short: Whether to have fewer waiters and fewer rounds.
    """
    few, many, rounds = (500, 1_000, 2) if short else (10_000, 100_000, 15)
    figures = []
    async with serve(scopes=_KEYS, latency=LATENCY) as server:
        figures += await _compare(server, few, rounds)
        figures += await compare_one_key(server, many, max(rounds // 3, 2))
        figures += await compare_peers(server, few, max(rounds // 5, 1))
    return figures


async def measure(*, waiters: int, rounds: int) -> list[Figure]:
    """Measure one key, a refused client, and a hundred keys.

    Args:
        waiters: The number of waiters.
        rounds: The number of rounds.
    """
    async with serve(scopes=_KEYS, latency=LATENCY) as server:
        return await _compare(server, waiters, rounds)


async def _compare(server: Server, waiters: int, rounds: int) -> list[Figure]:
    """Measure one key, a refused client, and a hundred keys alternately."""
    floor, one, refused, spread, posts = [], [], [], [], []
    requests = [0, 0, 0]
    for _ in steps(f"stampede, {waiters:,}", rounds):
        floor.append(await _wait_for_event(waiters))
        one.append(await _get_tokens(server.client(), waiters, keys=1))
        requests[0] += (await server.counts())["token_requests"]
        refused.append(await _get_tokens(server.client("wrong"), waiters, keys=1))
        requests[1] += (await server.counts())["token_requests"]
        spread.append(await _get_tokens(server.client(), waiters, keys=_KEYS))
        requests[2] += (await server.counts())["token_requests"]
        posts.append(await _post(server, _KEYS))
        await server.counts()
    name = f"{waiters:,} waiters"
    each = [cpu / waiters * 1e6 for cpu in floor]
    both = [cpu + exchanges for cpu, exchanges in zip(floor, posts, strict=True)]
    return [
        Figure.measure(f"{waiters:,} coroutines that wait for one event: CPU each", each, "µs"),
        Figure.ratio(f"{name}, one key: CPU, compared to the event", one, floor, at_most=1.15),
        Figure.count(f"{name}, one key: requests", requests[0] / rounds, "", exactly=1),
        Figure.ratio(f"{name}, refused: CPU, compared to the event", refused, floor, at_most=2),
        Figure.count(f"{name}, refused: requests", requests[1] / rounds, "", exactly=1),
        Figure.ratio(f"{name}, {_KEYS} keys: CPU, compared to the event", spread, floor),
        Figure.ratio(
            f"{name}, {_KEYS} keys: CPU, compared to the event and {_KEYS} bare posts",
            spread,
            both,
            at_most=1.15,
        ),
        Figure.count(f"{name}, {_KEYS} keys: requests", requests[2] / rounds, "", exactly=_KEYS),
    ]


async def compare_one_key(server: Server, waiters: int, rounds: int) -> list[Figure]:
    """Measure only one key.

    Args:
        server: The authorization server.
        waiters: The number of waiters.
        rounds: The number of rounds.
    """
    floor, ours, requests = [], [], 0
    for _ in steps(f"stampede, {waiters:,}", rounds):
        floor.append(await _wait_for_event(waiters))
        ours.append(await _get_tokens(server.client(), waiters, keys=1))
        requests += (await server.counts())["token_requests"]
    name = f"{waiters:,} waiters, one key"
    return [
        Figure.ratio(f"{name}: CPU, compared to the event", ours, floor, at_most=1.15),
        Figure.count(f"{name}: requests", requests / rounds, "", exactly=1),
    ]


async def compare_peers(server: Server, waiters: int, rounds: int) -> list[Figure]:
    """Measure one key with each peer, by the interface that its users call.

    Args:
        server: The authorization server.
        waiters: The number of waiters.
        rounds: The number of rounds.
    """
    figures = []
    target = Target(server.origin, CLIENT_ID, SECRET)
    for kind in available()[0]:
        floor, theirs, requests = [], [], 0
        for _ in steps(f"stampede, {kind.name}", rounds):
            floor.append(await _wait_for_event(waiters))
            peer = kind(target)
            getter: Any = peer.getter("s0")
            call: Call = partial(asyncio.to_thread, getter) if kind.threads else getter
            theirs.append(await _measure([call] * waiters))
            await peer.aclose()
            requests += (await server.counts())["token_requests"]
        name = f"{kind.name}, {waiters:,} waiters"
        figures += [
            Figure.ratio(f"{name}: CPU, compared to the event", theirs, floor),
            Figure.single(f"{name}: requests", requests / rounds, ""),
        ]
    return figures


async def _get_tokens(client: OktaClient, waiters: int, *, keys: int) -> float:
    async with TokenProvider(max_concurrent_requests=_KEYS) as provider:
        calls: list[Call] = [
            provider.source(client, f"s{number}").get_token for number in range(keys)
        ]
        return await _measure(calls * (waiters // keys))


async def _wait_for_event(waiters: int) -> float:
    event = asyncio.Event()

    async def release() -> None:
        await asyncio.sleep(LATENCY)
        event.set()

    # Its task comes last. A timer that was set before them may fire before they wait, on uvloop.
    return await _measure([*[event.wait] * waiters, release])


async def _post(server: Server, requests: int) -> float:
    """Send concurrent token requests over new connections, without a library."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        auth = aiohttp.BasicAuth(CLIENT_ID, SECRET)

        async def post() -> object:
            form = {"grant_type": "client_credentials", "scope": "s0"}
            async with session.post(server.token_url, data=form, auth=auth) as response:
                return await response.json()

        return await _measure([post] * requests)


async def _measure(calls: list[Call]) -> float:
    """Run coroutines concurrently, each in its own task; return the CPU seconds."""
    gc.collect()
    cpu = time.process_time()
    await asyncio.gather(*[call() for call in calls], return_exceptions=True)
    return time.process_time() - cpu
