"""`adapters`: what does a request cost that an adapter puts the token into?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import repeat

import aiohttp

from benchmarks.figures import Figure
from benchmarks.hit import interleave
from benchmarks.server import serve
from okta_tokens import TokenProvider
from okta_tokens.adapters.aiohttp import TokenMiddleware

Request = Callable[[], Awaitable[object]]


async def run(*, short: bool) -> list[Figure]:
    """Measure adapters beside the same client with a static header.

    Args:
        short: Whether to send a few requests only.
    """
    calls, rounds = (5, 3) if short else (200, 101)
    async with serve() as server, TokenProvider() as provider:
        source = provider.source(server.client(), "s0")
        origin, url = server.origin, f"{server.origin}/resource"
        header = {"Authorization": (await source.get_token()).authorization}
        async with (
            aiohttp.ClientSession(headers=header) as static,
            aiohttp.ClientSession(middlewares=[TokenMiddleware(source, origins=[origin])]) as ours,
        ):
            times = await interleave(
                "adapters",
                {
                    "static": partial(_cpu, partial(_aiohttp, static, url), calls),
                    "ours": partial(_cpu, partial(_aiohttp, ours, url), calls),
                },
                rounds,
            )
        print(await server.counts())
    extra = [(a - b) * 1e6 for a, b in zip(times["ours"], times["static"], strict=True)]
    return [
        Figure.measure("aiohttp, static header", [it * 1e6 for it in times["static"]], "µs"),
        Figure.measure("aiohttp: extra", extra, "µs", at_most=10),
    ]


async def _aiohttp(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url) as response:
        await response.read()


async def _cpu(request: Request, calls: int) -> float:
    """Return the CPU seconds of this thread that a request takes."""
    begun = time.thread_time()
    for _ in repeat(None, calls):
        await request()
    return (time.thread_time() - begun) / calls
