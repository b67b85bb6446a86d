"""`simulate-fleet`: what does a day of a thousand processes cost Okta and the callers?

A thousand real providers run in virtual time, with an Okta and a store in memory. Okta and the
store have outages. The processes' wall clocks are wrong by up to two minutes. Three times, all
processes restart within a minute.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random
from typing import Literal, cast

import aiohttp
from multidict import CIMultiDict

from benchmarks.figures import Figure
from benchmarks.report import print_table, steps
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import FetchError
from tests.simulation.machine import NEW_YEAR, VirtualLoop
from tests.simulation.machine import run as run_virtually
from tests.stores.support import MemoryTokenStore

Fault = Literal["refused", "unavailable", "wrong secret"]
_REFUSALS: Mapping[Fault, tuple[int, dict[str, str]]] = {
    "unavailable": (503, {"errorCode": "E0000009", "errorSummary": "Internal Server Error"}),
    "wrong secret": (401, {"error": "invalid_client", "error_description": "Invalid secret."}),
}

LIFETIME = 3_600
DAY = 86_400.0
_MAX_CLOCK_ERROR = 120.0
_CALL_INTERVAL = (5.0, 60.0)
DEPLOYMENTS = 3
"""How often all processes restart."""


@dataclass
class Period:
    """A period of virtual time, in seconds."""

    begin: float
    end: float

    def covers(self, now: float) -> bool:
        """Tell whether a moment is in the period."""
        return self.begin <= now < self.end


def _periods(chance: Random, number: int, longest: float, day: float) -> list[Period]:
    begins = [chance.uniform(0, day) for _ in range(number)]
    return [Period(begin, begin + chance.uniform(1, longest)) for begin in begins]


class Okta:
    """A token endpoint in memory: the part of `aiohttp.ClientSession` that the provider uses."""

    def __init__(self, loop: VirtualLoop, chance: Random, day: float) -> None:
        self._loop = loop
        self._chance = chance
        self.outages = _periods(chance, 6, 2_400, day)
        self.fault: Fault = "refused"
        """What happens to a request during an outage."""
        self.lifetime = LIFETIME
        self.requests = 0
        self.issued: dict[str, float] = {}
        """The expiry of each token, in seconds of virtual time."""
        # The provider checks these attributes of a given session.
        self.headers: Mapping[str, str] = {}
        self.auth = None
        self.trust_env = False

    def post(self, *_: object, **__: object) -> _Exchange:
        """Return a request as a context manager, as aiohttp does."""
        return _Exchange(self)

    async def respond(self) -> Response:
        """Return a token response after the latency, or fail during an outage."""
        self.requests += 1
        await asyncio.sleep(0.03 + self._chance.expovariate(10))
        return self.response(f"token-{self.requests}")

    def response(self, value: str) -> Response:
        """Return a response with a token, or fail during an outage, without waiting."""
        now = self._loop.time()
        date = formatdate(NEW_YEAR + now, usegmt=True)
        if any(outage.covers(now) for outage in self.outages):
            if self.fault == "refused":
                raise aiohttp.ClientOSError(111, "refused")
            status, error = _REFUSALS[self.fault]
            return Response(json.dumps(error).encode(), date, status)
        self.issued[value] = now + self.lifetime
        body = {
            "access_token": value,
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "scope": "orders:read",
        }
        return Response(json.dumps(body).encode(), date)


class _Exchange:
    def __init__(self, okta: Okta) -> None:
        self._okta = okta

    async def __aenter__(self) -> Response:
        return await self._okta.respond()

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


class Response:
    """A response: the part of `aiohttp.ClientResponse` that the provider uses."""

    def __init__(self, body: bytes, date: str, status: int = 200) -> None:
        self.status = status
        self.headers = CIMultiDict({"Date": date})
        self._body = body

    @property
    def content(self) -> Response:
        """The body, as a stream."""
        return self

    async def readany(self) -> bytes:
        """Return the body, then nothing."""
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """Nothing is open."""


class _Clock:
    """A machine's clocks; the wall clock has an error."""

    def __init__(self, loop: VirtualLoop, ahead: float) -> None:
        self.boot_time = loop.time
        self.wall_time = lambda: NEW_YEAR + loop.time() + ahead

    async def sleep_until(self, instant: float) -> None:
        delay = instant - self.boot_time()
        if delay == math.inf:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(max(0.0, delay))


class Store(MemoryTokenStore):
    """A store in virtual time that sometimes fails, and sometimes hangs."""

    def __init__(self, loop: VirtualLoop, chance: Random, day: float) -> None:
        super().__init__(_Clock(loop, 0.0))
        self.timeout = 0.5
        self.commands: Counter[str] = Counter()
        """The number of calls of each method."""
        self.outages = _periods(chance, 4, 3_600, day)
        self.silences = _periods(chance, 2, 1_800, day)

    def works(self, now: float) -> bool:
        """Tell whether the store has worked for a minute, so that no circuit breaker is open."""
        periods = (*self.outages, *self.silences)
        return not any(period.begin <= now < period.end + 60 for period in periods)

    def holds(self, now: float) -> bool:
        """Tell whether the store holds a token that has not expired."""
        return any(end > now for _, end in self.tokens.values())

    async def _now(self, call: str) -> float:
        self.commands[call] += 1
        await asyncio.sleep(0.001)
        now = self._clock.boot_time()
        if any(period.covers(now) for period in self.silences):
            await asyncio.get_running_loop().create_future()
        if any(period.covers(now) for period in self.outages):
            raise ConnectionError(call)
        return now


@dataclass
class Fleet:
    """The processes of the fleet, with Okta, the store, and the counts."""

    loop: VirtualLoop
    chance: Random
    okta: Okta
    store: Store | None
    deployments: list[float]
    day: float
    counts: Counter[str] = field(default_factory=Counter)
    worst_wait: float = 0.0

    async def live(self) -> None:
        """Run one process, and a new process after each deployment."""
        chance = Random(self.chance.random())  # noqa: S311 - no cryptography
        ends = [*(at + chance.uniform(0, 60) for at in self.deployments), self.day]
        await asyncio.sleep(chance.uniform(0, 60))
        for end in ends:
            clock = _Clock(self.loop, chance.uniform(-_MAX_CLOCK_ERROR, _MAX_CLOCK_ERROR))
            session = cast("aiohttp.ClientSession", self.okta)
            client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
            self.counts["processes"] += 1
            async with TokenProvider(session=session, store=self.store, clock=clock) as provider:
                source = provider.source(client, "orders:read")
                value = ""
                while self.loop.time() < end:
                    value = await self._call(source, value)
                    await asyncio.sleep(chance.uniform(*_CALL_INTERVAL))

    async def _call(self, source: TokenSource, last: str) -> str:
        begun = self.loop.time()
        self.counts["calls"] += 1
        # A token must be usable if it has not expired by any of the wrong clocks.
        latest = begun + 2 * _MAX_CLOCK_ERROR + 10
        store = self.store
        available = self.okta.issued.get(last, 0.0) > latest or (
            store is not None and store.works(begun) and store.holds(latest)
        )
        with suppress(FetchError):
            token = await source.get_token()
            now = self.loop.time()
            self.worst_wait = max(self.worst_wait, now - begun)
            self.counts["expired tokens"] += self.okta.issued[token.value] <= now
            return token.value
        self.counts["errors"] += 1
        self.counts["avoidable errors"] += available
        return last


async def _simulate(
    processes: int, day: float, seed: int, *, calm: bool = False, shared: bool = True
) -> Fleet:
    loop = cast("VirtualLoop", asyncio.get_running_loop())
    chance = Random(seed)  # noqa: S311 - no cryptography
    deployments = sorted(chance.uniform(0, day) for _ in range(DEPLOYMENTS))
    okta, store = Okta(loop, chance, day), Store(loop, chance, day)
    if calm:
        for periods in (okta.outages, store.failures, store.silences):
            periods.clear()
    fleet = Fleet(loop, chance, okta, store if shared else None, deployments, day)
    tasks = [loop.create_task(fleet.live()) for _ in range(processes)]
    for hour in steps(f"{processes} processes", math.ceil(day / 3_600)):
        await asyncio.sleep(min(day, (hour + 1) * 3_600.0) - loop.time())
    await asyncio.gather(*tasks)
    return fleet


def _play(
    *, processes: int, hours: float, seed: int, calm: bool = False, shared: bool = True
) -> Fleet:
    state = random.getstate()
    random.seed(seed)  # the providers draw from it
    logging.disable()  # writing the events would take longer than the simulation
    try:
        return run_virtually(_simulate(processes, hours * 3_600, seed, calm=calm, shared=shared))
    finally:
        random.setstate(state)
        logging.disable(logging.NOTSET)


def count_requests(*, processes: int, hours: float, seed: int, shared: bool) -> int:
    """Return the number of token requests of a fleet while neither Okta nor the store fails.

    Args:
        processes: The number of processes, which are restarted three times.
        hours: The duration.
        seed: The seed of everything.
        shared: Whether the processes share a store.
    """
    fleet = _play(processes=processes, hours=hours, seed=seed, calm=True, shared=shared)
    return fleet.okta.requests


def run(*, processes: int, hours: float, seed: int) -> int:
    """Simulate a fleet, and print its requests and errors.

    Args:
        processes: The number of processes.
        hours: The duration.
        seed: The seed of everything.

    Returns:
        The exit code: 1 if a caller got an expired token, or an error although a usable token was
        held or stored.
    """
    begun = time.monotonic()
    fleet = _play(processes=processes, hours=hours, seed=seed)
    counts = fleet.counts
    generations = len(fleet.okta.issued)
    figures = [
        Figure.count("processes, including restarts", counts["processes"], ""),
        Figure.count("calls", counts["calls"], ""),
        Figure.count("requests during an outage", fleet.okta.requests - generations, ""),
        Figure.count("requests that returned a token", generations, ""),
        Figure.single("of these per lifetime of a token", generations / hours, ""),
        Figure.single("longest wait of a caller that got a token", fleet.worst_wait, "s"),
        Figure.count("expired tokens", counts["expired tokens"], "", exactly=0),
        Figure.count("errors", counts["errors"], ""),
        Figure.count(
            "errors although a usable token was held or stored",
            counts["avoidable errors"],
            "",
            exactly=0,
        ),
    ]
    print_table(f"seed {seed}, {processes} processes, {hours:g} hours", figures)
    print(f"wall time: {time.monotonic() - begun:.0f} s")
    return 0 if all(figure.holds for figure in figures) else 1
