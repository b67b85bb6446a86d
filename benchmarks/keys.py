"""`keys`: what does each of a hundred thousand keys cost, in memory and CPU?

Responses from memory replace the network, so that only the provider's own work is measured.
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from types import SimpleNamespace
from typing import cast

import aiohttp
from multidict import CIMultiDict

from benchmarks.figures import Figure
from benchmarks.report import steps
from benchmarks.server import CLIENT_ID, SECRET
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.events import Event, TokenFetched

_LIFETIME = 3600
_BATCH = 100  # concurrent requests, and keys that are fetched or become due together
_TOKEN_BYTES = 900  # about the length of Okta's tokens

CLIENT = OktaClient("acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET))


async def run(*, short: bool) -> list[Figure]:
    """Measure keys.

    Args:
        short: Whether to have fewer keys, and to be idle for 0.2 s only.
    """
    few, many, rounds, idle = (100, 1_000, 2, 0.2) if short else (1_000, 100_000, 3, 10.0)
    costs: dict[int, list[_Costs]] = {few: [], many: []}
    for _ in steps("keys", rounds):
        costs[many].append(await _live(many))
        # As many repetitions as make both measurements take about the same time.
        costs[few].append(_mean([await _live(few) for _ in range(max(many // few // 5, 1))]))
    figures = []
    for phase, limit in {"fetching": 1.2, "renewing": 1.2, "closing": 1.3}.items():
        at_few, at_many = ([cost[phase] for cost in costs[size]] for size in (few, many))
        name = f"{phase}, CPU for each of {many:,} keys"
        figures += [
            Figure.measure(name, [seconds * 1e6 for seconds in at_many], "µs"),
            Figure.ratio(f"{name}, compared to {few:,}", at_many, at_few, at_most=limit),
        ]
    gc.disable()
    try:
        without_gc = {size: await _live(size) for size in (few, many)}
    finally:
        gc.enable()
    for phase in ("fetching", "renewing"):
        name = f"{phase} {many:,} keys, compared to {few:,}, without Python's garbage collector"
        figures.append(Figure.ratio(name, [without_gc[many][phase]], [without_gc[few][phase]]))
    together = [(await _live(many, all_due=True))["renewing"]]
    gradually = [cost["renewing"] for cost in costs[few]][:1]
    name = f"renewing, CPU for each of {many:,} keys that are due together"
    figures.append(Figure.ratio(f"{name}, compared to {few:,}", together, gradually))
    fetched = sum(int(cost["fetches"]) for cost in costs[many])
    figures.append(
        Figure.count(
            f"fetches and renewals of {many:,} keys", fetched / rounds, "", exactly=2 * many
        )
    )
    return [*figures, *await _memory(many), await _idle(many, idle)]


_Costs = Mapping[str, float]


async def _live(size: int, *, all_due: bool = False) -> _Costs:
    """Fetch and renew keys, and close the provider; return the CPU seconds per key, and a count.

    Args:
        size: The number of keys.
        all_due: Whether all keys become due together, as after the machine slept. Otherwise they
            become due in batches.

    Returns:
        The CPU seconds of each phase per key, and the number of fetched tokens as `fetches`.
    """
    clock = JumpingClock()
    fetched = _Counter()
    costs: dict[str, float] = {}

    @contextmanager
    def measured(phase: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        costs[phase] = (time.process_time() - begun) / size

    gc.collect()
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(_provider(size, clock, fetched))
        with measured("fetching"):
            sources = await _fill(provider, size)
        for source in sources:
            await source.get_token()
        begun = clock.boot_time()
        waits = sorted(status.next_action_in or 0.0 for status in provider.inspect())
        batch = size if all_due else min(size, _BATCH)
        with measured("renewing"):
            for last in range(batch, size + 1, batch):
                clock.jump(begun + waits[last - 1] - clock.boot_time())
                await fetched.reach(size + last)
        with measured("closing"):
            await stack.aclose()
    return costs | {"fetches": fetched.count}


async def _memory(size: int) -> list[Figure]:
    """Measure the memory that the provider needs for each key without the token itself."""
    async with _provider(size, JumpingClock(), _Counter()) as provider:
        scopes = [f"s{number}" for number in range(size)]
        await provider.get_token(CLIENT, "first")  # creates the objects that all keys share
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for begin in range(0, size, _BATCH):
            batch = scopes[begin : begin + _BATCH]
            await asyncio.gather(*(provider.get_token(CLIENT, scope) for scope in batch))
            for scope in batch:
                await provider.get_token(CLIENT, scope)  # a hit also needs memory
        await asyncio.sleep(0.1)  # until the last events are delivered
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    own = _TOKEN_BYTES + 49  # a string needs 49 bytes besides its characters
    each = (after - before) / size - own
    return [
        Figure.single(
            f"memory for each of {size:,} keys, without the token's own {own} bytes",
            each,
            "B",
            at_most=820,
        )
    ]


async def _idle(size: int, seconds: float) -> Figure:
    """Measure the CPU time while every token is fresh and there are no calls."""
    async with _provider(size, JumpingClock(), _Counter()) as provider:
        await _fill(provider, size)
        gc.collect()
        await asyncio.sleep(0.1)
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return Figure.single(f"idle with {size:,} keys: share of a core", 100 * share, "%", at_most=1)


@asynccontextmanager
async def _provider(
    size: int, clock: JumpingClock, fetched: _Counter
) -> AsyncIterator[TokenProvider]:
    provider = TokenProvider(
        session=cast("aiohttp.ClientSession", MemorySession()),
        max_tokens=size + 1,
        max_concurrent_requests=_BATCH,
        observers=[fetched],
        clock=clock,
    )
    async with provider:
        yield provider


async def _fill(provider: TokenProvider, size: int) -> list[TokenSource]:
    sources = [provider.source(CLIENT, f"s{number}") for number in range(size)]
    for begin in range(0, size, _BATCH):
        await provider.warm(*sources[begin : begin + _BATCH])
    return sources


def _mean(costs: list[_Costs]) -> _Costs:
    return {name: sum(cost[name] for cost in costs) / len(costs) for name in costs[0]}


class JumpingClock:
    """The machine's clock, which can be advanced."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._jumped = asyncio.Event()

    def boot_time(self) -> float:
        """Return the seconds since the machine started, plus the jumps."""
        return time.monotonic() + self._ahead

    def wall_time(self) -> float:
        """Return the seconds since 1970, plus the jumps."""
        return time.time() + self._ahead

    def jump(self, seconds: float) -> None:
        """Advance the clock.

        Args:
            seconds: By how many seconds.
        """
        self._ahead += seconds
        self._jumped.set()
        self._jumped = asyncio.Event()

    async def sleep_until(self, instant: float) -> None:
        """Wait until `boot_time()` has reached an instant, by waiting or by a jump.

        Args:
            instant: The instant in seconds of `boot_time`.
        """
        await asyncio.sleep(0)
        while (nap := instant - self.boot_time()) > 0:
            try:
                async with asyncio.timeout(None if math.isinf(nap) else nap):
                    await self._jumped.wait()
            except TimeoutError:
                pass


class _Counter:
    """An observer that counts fetched tokens, and lets a coroutine wait for a count."""

    def __init__(self) -> None:
        self.count = 0
        self._wanted = math.inf
        self._reached = asyncio.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, TokenFetched):
            self.count += 1
            if self.count >= self._wanted:
                self._reached.set()

    async def reach(self, count: int) -> None:
        """Wait until the count has reached a number."""
        self._wanted = count
        self._reached.clear()
        if self.count < count:
            await self._reached.wait()


class MemorySession:
    """A session that responds from memory: the part of `aiohttp.ClientSession` that we use."""

    auth = None
    trust_env = False
    headers: Mapping[str, str] = {}

    def post(self, _url: str, *, data: bytes, **_: object) -> AbstractAsyncContextManager[object]:
        """Return a token response, which arrives after one turn of the event loop.

        Args:
            data: The form, which names the scopes.
        """
        scope = data.rpartition(b"=")[2].replace(b"+", b" ").decode()
        token = random.randbytes(_TOKEN_BYTES // 2).hex()  # noqa: S311 - no cryptography
        body = (
            f'{{"token_type":"Bearer","expires_in":{_LIFETIME},"access_token":"{token}",'
            f'"scope":"{scope}"}}'
        )
        return nullcontext(
            SimpleNamespace(status=200, headers=_HEADERS, content=_Content(body.encode()))
        )


_HEADERS = CIMultiDict(
    {
        # In the format of Okta's ids, because the provider examines other ids more closely.
        "X-Okta-Request-Id": "reqVx9Kq0ZtQYqXyGkTzA1mPw",
        "Content-Type": "application/json",
    }
)


class _Content:
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def readany(self) -> bytes:
        await asyncio.sleep(0)
        body, self._body = self._body, b""
        return body
