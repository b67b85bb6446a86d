"""`hit`: what does it cost to get a token that is held?"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import repeat
from types import FunctionType
from typing import Any, TypeVar

from benchmarks.figures import Figure
from benchmarks.peers import Peer, Target, available
from benchmarks.report import steps
from benchmarks.server import CLIENT_ID, SECRET, Server, serve
from okta_tokens import OktaClient, TokenProvider, TokenSource
from okta_tokens.events import Observer

_SCOPES = "s0 s1"
_MODERN = sys.version_info >= (3, 13)

F = TypeVar("F", bound=Callable[..., Any])
Case = Callable[[], Awaitable[float]]


async def run(*, short: bool) -> list[Figure]:
    """Measure hits.

    Args:
        short: Whether to run only a few short rounds.
    """
    calls, rounds, keys = (200, 3, 200) if short else (20_000, 41, 10_000)
    kinds = available()[0]
    return await measure(
        calls=calls, rounds=rounds, keys=keys, kinds=kinds, observers=[_make_observer()]
    )


def _make_observer() -> Observer:
    # Not at the top: `compare` measures commits that have no such module.
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415

    from okta_tokens.telemetry import OpenTelemetryObserver  # noqa: PLC0415

    return OpenTelemetryObserver(meter_provider=MeterProvider([InMemoryMetricReader()]))


async def measure(
    *,
    calls: int,
    rounds: int,
    keys: int,
    kinds: Sequence[type[Peer]] = (),
    observers: Sequence[Observer] = (),
) -> list[Figure]:
    """Measure hits of one key and of many keys.

    Args:
        calls: The number of calls in each round, with one key.
        rounds: The number of rounds.
        keys: The number of keys, each of which is called once in each round.
        kinds: The peers to measure, too.
        observers: The observers to measure, too.
    """
    async with (
        serve(scopes=keys, clients=2) as server,
        TokenProvider(max_tokens=2 * keys, max_concurrent_requests=100) as provider,
        TokenProvider(observers=observers) as observed,
    ):
        others = [observed] if observers else []
        figures = await _one_key(server, provider, others, calls, rounds, kinds)
        return figures + await _many_keys(server, provider, keys, rounds)


async def _one_key(
    server: Server,
    provider: TokenProvider,
    others: Sequence[TokenProvider],
    calls: int,
    rounds: int,
    kinds: Sequence[type[Peer]],
) -> list[Figure]:
    client = server.client()
    source = provider.source(client, _SCOPES)
    await source.get_token()
    await provider.get_token(client, _SCOPES)
    empty = "an empty coroutine"
    by_source, by_provider = "source.get_token()", "provider.get_token(c, 's t')"
    with_metrics = "with OpenTelemetryObserver, compared to source.get_token()"
    cases: dict[str, Case] = {
        empty: lambda: _await_nothing(calls),
        by_source: lambda: _await_source(source, calls),
        by_provider: lambda: _await_provider(provider, client, _SCOPES, calls),
    }
    for other in others:
        # Another client, since a second provider that fetches for the same one is worth a warning.
        observed = other.source(server.client(number=1), _SCOPES)
        await observed.get_token()
        cases[with_metrics] = partial(_await_source, observed, calls)
    target = Target(server.origin, CLIENT_ID, SECRET)
    peers = [kind(target) for kind in kinds]
    try:
        for peer in peers:
            cases[peer.name] = await _peer_case(peer, max(calls // 10, 20))
        times = await interleave("hit", cases, rounds)
        requests = (await server.counts())["token_requests"]
    finally:
        for peer in peers:
            await peer.aclose()
    floor = times[empty]
    figures = [
        Figure.measure(empty, _nanoseconds(floor), "ns"),
        Figure.ratio(by_source, times[by_source], floor, at_most=2.1 if _MODERN else 2.75),
        Figure.ratio(by_provider, times[by_provider], floor, at_most=2.6 if _MODERN else None),
    ]
    if others:
        metrics = Figure.ratio(with_metrics, times[with_metrics], times[by_source], at_most=1.05)
        figures.append(metrics)
    for peer in peers:
        note = "" if peer.checks_expiry else ", which does not check the expiry"
        name = f"{peer.name}{note}, compared to source.get_token()"
        figures.append(Figure.ratio(name, times[peer.name], times[by_source]))
    checking = [times[peer.name] for peer in peers if peer.checks_expiry]
    if checking:
        fastest = min(checking, key=statistics.median)
        name = "the fastest peer that checks the expiry, compared to source.get_token()"
        figures.append(Figure.ratio(name, fastest, times[by_source], at_least=6))
    # Each provider and each peer fetched one token before the first round.
    fetched = 1 + len(others) + len(peers)
    return [*figures, Figure.count("token requests", requests, "", exactly=fetched)]


async def _many_keys(
    server: Server, provider: TokenProvider, keys: int, rounds: int
) -> list[Figure]:
    client = server.client()
    spellings = [f"s{number}" for number in range(keys)]
    sources = [provider.source(client, scopes) for scopes in spellings]
    for begin in range(0, keys, 100):
        await provider.warm(*sources[begin : begin + 100])
    table = dict(zip(spellings, sources, strict=True))
    random.Random(keys).shuffle(spellings)  # noqa: S311 - no cryptography
    shuffled = [table[scopes] for scopes in spellings]
    await _await_each(provider, client, spellings)
    by_key = {(client.domain, client.client_id, scopes): source for scopes, source in table.items()}
    cases: dict[str, Case] = {
        "by scopes": lambda: _look_up_by_scopes(table, spellings),
        "by key": lambda: _look_up_by_key(by_key, client, spellings),
        "source": lambda: _await_sources(shuffled),
        "provider": lambda: _await_each(provider, client, spellings),
    }
    times = await interleave("hit, many keys", cases, rounds)
    requests = (await server.counts())["token_requests"]
    by_tuple, by_string = times["by key"], times["by scopes"]
    many = f"{keys:,} keys in random order"
    return [
        Figure.measure(f"{many}: tokens[domain, client, scopes]", _nanoseconds(by_tuple), "ns"),
        Figure.ratio(
            f"{many}: source.get_token(), compared to tokens[domain, client, scopes]",
            times["source"],
            by_tuple,
            at_most=3,
        ),
        Figure.ratio(
            f"{many}: provider.get_token(), compared to tokens[domain, client, scopes]",
            times["provider"],
            by_tuple,
            at_most=2.8,
        ),
        Figure.measure(f"{many}: tokens[scopes]", _nanoseconds(by_string), "ns"),
        Figure.ratio(
            f"{many}: source.get_token(), compared to tokens[scopes]", times["source"], by_string
        ),
        Figure.ratio(
            f"{many}: provider.get_token(), compared to tokens[scopes]",
            times["provider"],
            by_string,
        ),
        Figure.count(f"{many}: token requests", requests, "", exactly=keys),
    ]


async def interleave(title: str, cases: dict[str, Case], rounds: int) -> dict[str, list[float]]:
    """Measure cases alternately, so that other work of the machine affects all of them.

    Args:
        title: The title of the progress bar.
        cases: The cases by name. Each returns a measurement.
        rounds: The number of measurements of each case, after one that is discarded.

    Returns:
        The measurements of each case, by round.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        await case()
    for _ in steps(title, rounds):
        for name, case in cases.items():
            times[name].append(await case())
    return times


def fresh(function: F) -> F:
    """Return a copy of a function with its own bytecode.

    CPython specializes bytecode for the types that it sees, so cases that share a loop would slow
    each other down.
    """
    code = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__)  # type: ignore[return-value]


def _nanoseconds(times: list[float]) -> list[float]:
    return [seconds * 1e9 for seconds in times]


async def _peer_case(peer: Peer, calls: int) -> Case:
    getter: Any = peer.getter(_SCOPES)
    call: Callable[[Any, int], Awaitable[float]]
    if peer.threads:
        call = fresh(_call)
        getter()
    else:
        call = fresh(_await)
        await getter()
    return lambda: call(getter, calls)


async def _nothing() -> None:
    pass


async def _await_nothing(calls: int) -> float:
    begun = time.perf_counter()
    for _ in repeat(None, calls):
        await _nothing()
    return (time.perf_counter() - begun) / calls


async def _await_source(source: TokenSource, calls: int) -> float:
    begun = time.perf_counter()
    for _ in repeat(None, calls):
        await source.get_token()
    return (time.perf_counter() - begun) / calls


async def _await_provider(
    provider: TokenProvider, client: OktaClient, scopes: str, calls: int
) -> float:
    begun = time.perf_counter()
    for _ in repeat(None, calls):
        await provider.get_token(client, scopes)
    return (time.perf_counter() - begun) / calls


async def _await(getter: Callable[[], Awaitable[object]], calls: int) -> float:
    begun = time.perf_counter()
    for _ in repeat(None, calls):
        await getter()
    return (time.perf_counter() - begun) / calls


async def _call(getter: Callable[[], object], calls: int) -> float:
    begun = time.perf_counter()
    for _ in repeat(None, calls):
        getter()
    return (time.perf_counter() - begun) / calls


async def _look_up_by_scopes(table: dict[str, TokenSource], spellings: list[str]) -> float:
    begun = time.perf_counter()
    for scopes in spellings:
        table[scopes]
    return (time.perf_counter() - begun) / len(spellings)


async def _look_up_by_key(
    table: dict[tuple[str, str, str], TokenSource], client: OktaClient, spellings: list[str]
) -> float:
    domain, client_id = client.domain, client.client_id
    begun = time.perf_counter()
    for scopes in spellings:
        table[domain, client_id, scopes]
    return (time.perf_counter() - begun) / len(spellings)


async def _await_sources(sources: list[TokenSource]) -> float:
    begun = time.perf_counter()
    for source in sources:
        await source.get_token()
    return (time.perf_counter() - begun) / len(sources)


async def _await_each(provider: TokenProvider, client: OktaClient, spellings: list[str]) -> float:
    begun = time.perf_counter()
    for scopes in spellings:
        await provider.get_token(client, scopes)
    return (time.perf_counter() - begun) / len(spellings)
