"""`cold`: what does a fetch cost the client?"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.certificates import write_certificates
from benchmarks.figures import Figure
from benchmarks.peers import Peer, Target, available
from benchmarks.report import steps
from benchmarks.server import CLIENT_ID, SECRET, Server, serve
from benchmarks.worker import measure_in_worker
from okta_tokens import TokenProvider

_LIMIT = 0.9 if sys.version_info >= (3, 13) else 0.75

_CONCURRENCY = 100

Fetch = Callable[[str], Awaitable[object]]
Cost = tuple[float, float]
"""CPU seconds and wall seconds."""


async def run(*, short: bool) -> list[Figure]:
    """Compare fetches to a loop of `session.post`, also over TLS, and without garbage collection.

    Args:
        short: Whether to fetch only a few tokens.
    """
    keys, rounds = (150, 2) if short else (2_000, 15)
    figures = await measure(keys=keys, rounds=rounds)
    figures += await _without_gc(keys, max(rounds // 2, 2))
    figures += await _compare_peers(keys, max(rounds // 5, 1))
    return figures + await _over_tls(keys, max(rounds // 2, 2))


async def measure(*, keys: int, rounds: int, certificate: str | None = None) -> list[Figure]:
    """Compare fetches by the package to a loop of `session.post`.

    Args:
        keys: The number of tokens in each round.
        rounds: The number of rounds.
        certificate: The file of the server's certificate and private key. With one, the requests
            use TLS, and this process must trust the certificate.
    """
    scopes = [f"s{number}" for number in range(keys)]
    others = [f"s{keys + number}" for number in range(_CONCURRENCY)]
    async with _bare(keys + len(others), certificate) as (server, bare):
        client = server.client()
        await _fetch_all(bare, scopes)  # opens the connections
        await server.counts()
        floor, ours, requests = [], [], 0
        for _ in steps("cold", rounds):
            floor.append(await _fetch_all(bare, scopes))
            # In a given session, each request of the provider would open a connection.
            async with TokenProvider(max_concurrent_requests=_CONCURRENCY) as provider:
                fetch = partial(provider.get_token, client)
                await _fetch_all(fetch, others)  # opens the connections
                await server.counts()
                ours.append(await _fetch_all(fetch, scopes))
            requests += (await server.counts())["token_requests"]
    return [
        Figure.measure(
            "a bare session.post with json: CPU", [cpu / keys * 1e6 for cpu, _ in floor], "µs"
        ),
        Figure.ratio(
            "tokens per CPU second, compared to bare posts",
            *_rates([cpu for cpu, _ in ours], [cpu for cpu, _ in floor]),
            at_least=_LIMIT,
        ),
        Figure.ratio(
            "tokens per second, compared to bare posts",
            *_rates([wall for _, wall in ours], [wall for _, wall in floor]),
            at_least=_LIMIT,
        ),
        Figure.count("requests", requests / rounds, "", exactly=keys),
    ]


async def _without_gc(keys: int, rounds: int) -> list[Figure]:
    """Measure the same while Python collects no garbage, without limits for times."""
    gc.disable()
    try:
        figures = await measure(keys=keys, rounds=rounds)
    finally:
        gc.enable()
    return _told("without Python's garbage collector", figures)


async def _over_tls(keys: int, rounds: int) -> list[Figure]:
    """Measure the same over TLS, without limits for times.

    aiohttp reads SSL_CERT_FILE when it is imported, so a new process has to measure.
    """
    with tempfile.TemporaryDirectory() as directory:
        authority, certificate = write_certificates(Path(directory))
        # Plain http to this machine never uses a proxy, and neither may this comparison.
        environment = {"SSL_CERT_FILE": str(authority), "no_proxy": "127.0.0.1"}
        arguments = {"keys": keys, "rounds": rounds, "certificate": str(certificate)}
        figures = await measure_in_worker("cold", arguments, environment=environment)
    return _told("over TLS", figures)


def _told(where: str, figures: list[Figure]) -> list[Figure]:
    """Return figures of other circumstances, without limits for times."""
    return [
        replace(
            figure,
            name=f"{where}: {figure.name}",
            limit=figure.limit if figure.counted else None,
        )
        for figure in figures
    ]


async def _compare_peers(keys: int, rounds: int) -> list[Figure]:
    figures = []
    scopes = [f"s{number}" for number in range(keys)]
    async with _bare(keys) as (server, bare):
        await _fetch_all(bare, scopes)  # opens the connections
        for kind in available()[0]:
            if not kind.cold:
                continue
            floor, theirs = [], []
            for _ in steps(f"cold, {kind.name}", rounds):
                floor.append(await _fetch_all(bare, scopes))
                async with _opened(kind, server) as fetch:
                    theirs.append(await _fetch_all(fetch, scopes))
            figures.append(
                Figure.ratio(
                    f"{kind.name}: tokens per CPU second, compared to bare posts",
                    *_rates([cpu for cpu, _ in theirs], [cpu for cpu, _ in floor]),
                )
            )
    return figures


@asynccontextmanager
async def _bare(scopes: int, certificate: str | None = None) -> AsyncIterator[tuple[Server, Fetch]]:
    """Run a server, and yield the server and the fetch of a service without a library."""
    auth = aiohttp.BasicAuth(CLIENT_ID, SECRET)
    async with (
        serve(scopes=scopes, certificate=certificate) as server,
        aiohttp.ClientSession() as session,
    ):

        async def fetch(scope: str) -> object:
            form = {"grant_type": "client_credentials", "scope": scope}
            async with session.post(server.token_url, data=form, auth=auth) as response:
                return await response.json()

        yield server, fetch


@asynccontextmanager
async def _opened(kind: type[Peer], server: Server) -> AsyncIterator[Fetch]:
    """Yield a function that fetches a token by a new peer, and close the peer."""
    peer = kind(Target(server.origin, CLIENT_ID, SECRET))

    async def fetch(scope: str) -> object:
        getter: Any = peer.getter(scope)
        return await (asyncio.to_thread(getter) if kind.threads else getter())

    try:
        yield fetch
    finally:
        await peer.aclose()


async def _fetch_all(fetch: Fetch, scopes: list[str]) -> Cost:
    """Fetch the token of each scope by a hundred workers; return the cost."""
    remaining = iter(scopes)
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_work(fetch, remaining) for _ in range(_CONCURRENCY)))
    return time.process_time() - cpu, time.perf_counter() - wall


async def _work(fetch: Fetch, scopes: Iterator[str]) -> dict[str, object]:
    """Fetch the tokens of the remaining scopes, and keep them, as a service does."""
    return {scope: await fetch(scope) for scope in scopes}


def _rates(ours: list[float], floor: list[float]) -> tuple[list[float], list[float]]:
    """Return the rates for two lists of times."""
    return [1 / seconds for seconds in ours], [1 / seconds for seconds in floor]
