"""`adapters`: what does an adapter add to the cost of a request?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from itertools import repeat

import aiohttp
import httpx
import httpx2

from benchmarks.figures import Figure
from benchmarks.hit import Case, interleave
from benchmarks.server import serve
from okta_tokens import TokenProvider
from okta_tokens.adapters.aiohttp import TokenMiddleware
from okta_tokens.adapters.httpx import TokenAuth
from okta_tokens.adapters.httpx2 import TokenAuth as TokenAuth2

Request = Callable[[], Awaitable[object]]

_CLIENTS = ("aiohttp", "httpx", "httpx2")
_LIMIT = 1.15
"""How much more CPU a request with an adapter may take than one with a static header.

The requests are plain http, so this includes the checks that they go to this machine and through no
proxy. Requests by https need none of these checks.
"""


async def run(*, short: bool) -> list[Figure]:
    """Compare requests with an adapter and a held token to requests with a static header.

    Args:
        short: Whether to send only a few requests.
    """
    calls, rounds = (3, 3) if short else (100, 151)
    async with serve() as server, TokenProvider() as provider, AsyncExitStack() as stack:
        source = provider.source(server.client(), "s0")
        origins, url = [server.origin], f"{server.origin}/resource"
        header = {"Authorization": (await source.get_token()).authorization}
        enter = stack.enter_async_context
        middleware = TokenMiddleware(source, origins=origins)
        auth, auth2 = TokenAuth(source, origins=origins), TokenAuth2(source, origins=origins)
        requests: dict[str, Request] = {
            "aiohttp": partial(_fetch, await enter(aiohttp.ClientSession(headers=header)), url),
            "aiohttp, adapter": partial(
                _fetch, await enter(aiohttp.ClientSession(middlewares=[middleware])), url
            ),
            "httpx": partial(
                (await enter(httpx.AsyncClient(headers=header, trust_env=False))).get, url
            ),
            "httpx, adapter": partial(
                (await enter(httpx.AsyncClient(auth=auth, trust_env=False))).get, url
            ),
            "httpx2": partial(
                (await enter(httpx2.AsyncClient(headers=header, trust_env=False))).get, url
            ),
            "httpx2, adapter": partial(
                (await enter(httpx2.AsyncClient(auth=auth2, trust_env=False))).get, url
            ),
        }
        cases: dict[str, Case] = {
            name: partial(_cpu, request, calls) for name, request in requests.items()
        }
        times = await interleave("adapters", cases, rounds)
        counts = await server.counts()
    figures = []
    for name in _CLIENTS:
        static, ours = times[name], times[f"{name}, adapter"]
        added = [(a - b) * 1e6 for a, b in zip(ours, static, strict=True)]
        figures += [
            Figure.measure(
                f"{name}, a static header: CPU", [seconds * 1e6 for seconds in static], "µs"
            ),
            Figure.measure(f"{name}, the adapter: added CPU", added, "µs"),
            Figure.ratio(
                f"{name}, the adapter: compared to a static header", ours, static, at_most=_LIMIT
            ),
        ]
    sent = len(cases) * (rounds + 1) * calls
    name = f"successful calls of the API, of {sent:,}"
    succeeded = counts["resource_calls"] - counts["resource_refused"]
    return [
        *figures,
        Figure.count(name, succeeded, "", exactly=sent),
        Figure.count("token requests for all calls", counts["token_requests"], "", exactly=1),
    ]


async def _fetch(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url) as response:
        await response.read()


async def _cpu(request: Request, calls: int) -> float:
    """Return the CPU seconds of this thread that a request takes."""
    begun = time.thread_time()
    for _ in repeat(None, calls):
        await request()
    return (time.thread_time() - begun) / calls
