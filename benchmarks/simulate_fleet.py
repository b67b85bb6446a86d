"""`simulate-fleet`: what does a day of a thousand processes cost Okta, and their callers?

The real provider runs in virtual time, a thousand times; Okta and the store are played in memory.
They have outages, the processes have clocks that are wrong by up to two minutes, and are all
restarted within a minute now and then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random
from typing import cast

import aiohttp
from multidict import CIMultiDict

from benchmarks.figures import Figure
from benchmarks.report import print_table, steps
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import FetchError
from tests.simulation.machine import NEW_YEAR, VirtualLoop
from tests.simulation.machine import run as run_virtually
from tests.stores.support import MemoryTokenStore

LIFETIME = 3_600
DAY = 86_400.0
_CLOCKS_APART = 120.0
_CALLS_APART = (5.0, 60.0)
_DEPLOYS = 3


@dataclass
class _Spell:
    """Something that lasts from one instant to another, in seconds."""

    begin: float
    end: float

    def covers(self, now: float) -> bool:
        return self.begin <= now < self.end


def _spells(chance: Random, number: int, longest: float, day: float) -> list[_Spell]:
    begins = [chance.uniform(0, day) for _ in range(number)]
    return [_Spell(begin, begin + chance.uniform(1, longest)) for begin in begins]


class Okta:
    """A token endpoint: an `aiohttp.ClientSession` as far as the provider uses it."""

    def __init__(self, loop: VirtualLoop, chance: Random, day: float) -> None:
        self._loop = loop
        self._chance = chance
        self.outages = _spells(chance, 6, 2_400, day)
        self.requests = 0
        self.issued: dict[str, float] = {}
        """When each token expires."""
        # What the provider looks for in a session of the user's.
        self.headers: Mapping[str, str] = {}
        self.auth = None
        self.trust_env = False

    def post(self, *_: object, **__: object) -> _Exchange:
        """Return a request."""
        return _Exchange(self)

    async def answer(self) -> _Response:
        """Answer after a moment, or not."""
        self.requests += 1
        await asyncio.sleep(0.03 + self._chance.expovariate(10))
        now = self._loop.time()
        if any(outage.covers(now) for outage in self.outages):
            raise aiohttp.ClientOSError(111, "refused")
        value = f"token-{self.requests}"
        self.issued[value] = now + LIFETIME
        body = {
            "access_token": value,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "scope": "orders:read",
        }
        return _Response(json.dumps(body).encode(), formatdate(NEW_YEAR + now, usegmt=True))


class _Exchange:
    def __init__(self, okta: Okta) -> None:
        self._okta = okta

    async def __aenter__(self) -> _Response:
        return await self._okta.answer()

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


class _Response:
    def __init__(self, body: bytes, date: str) -> None:
        self.status = 200
        self.headers = CIMultiDict({"Date": date})
        self._body = body

    @property
    def content(self) -> _Response:
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._body

    def close(self) -> None:
        """Nothing is open."""


class _Clock:
    """A machine's clocks, of which the wall clock is wrong."""

    def __init__(self, loop: VirtualLoop, ahead: float) -> None:
        self.boot_time = loop.time
        self.wall_time = lambda: NEW_YEAR + loop.time() + ahead

    async def sleep_until(self, instant: float) -> None:
        delay = instant - self.boot_time()
        if delay == math.inf:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(max(0.0, delay))


class Store(MemoryTokenStore):
    """A store in virtual time, which fails now and then, and hangs now and then."""

    def __init__(self, loop: VirtualLoop, chance: Random, day: float) -> None:
        super().__init__(_Clock(loop, 0.0))
        self.timeout = 0.5
        self.failures = _spells(chance, 4, 3_600, day)
        self.spells_of_silence = _spells(chance, 2, 1_800, day)

    def works(self, now: float) -> bool:
        """Tell whether it has answered for a minute: for so long it may be left alone."""
        spells = (*self.failures, *self.spells_of_silence)
        return not any(spell.begin <= now < spell.end + 60 for spell in spells)

    def holds(self, now: float) -> bool:
        """Tell whether a token is kept that lives."""
        return any(end > now for _, end in self.tokens.values())

    async def _now(self, call: str) -> float:
        await asyncio.sleep(0.001)
        now = self._clock.boot_time()
        if any(spell.covers(now) for spell in self.spells_of_silence):
            await asyncio.get_running_loop().create_future()
        if any(spell.covers(now) for spell in self.failures):
            raise ConnectionError(call)
        return now


@dataclass
class Fleet:
    """Everything that there is, and what came of it."""

    loop: VirtualLoop
    chance: Random
    okta: Okta
    store: Store
    deploys: list[float]
    day: float
    counts: Counter[str] = field(default_factory=Counter)
    worst_wait: float = 0.0

    async def live(self) -> None:
        """Be one process, and the next one after each deployment."""
        chance = Random(self.chance.random())  # noqa: S311 - it decides about nobody's security
        ends = [*(at + chance.uniform(0, 60) for at in self.deploys), self.day]
        await asyncio.sleep(chance.uniform(0, 60))
        for end in ends:
            clock = _Clock(self.loop, chance.uniform(-_CLOCKS_APART, _CLOCKS_APART))
            session = cast("aiohttp.ClientSession", self.okta)
            client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
            self.counts["processes"] += 1
            async with TokenProvider(session=session, store=self.store, clock=clock) as provider:
                source = provider.source(client, "orders:read")
                value = ""
                while self.loop.time() < end:
                    value = await self._call(source, value)
                    await asyncio.sleep(chance.uniform(*_CALLS_APART))

    async def _call(self, source: TokenSource, held: str) -> str:
        begun = self.loop.time()
        self.counts["calls"] += 1
        # As long as clocks that are wrong by so much can agree on it.
        then = begun + 2 * _CLOCKS_APART + 10
        could = self.okta.issued.get(held, 0.0) > then or (
            self.store.works(begun) and self.store.holds(then)
        )
        with suppress(FetchError):
            token = await source.get_token()
            now = self.loop.time()
            self.worst_wait = max(self.worst_wait, now - begun)
            self.counts["expired tokens"] += self.okta.issued[token.value] <= now
            return token.value
        self.counts["errors"] += 1
        self.counts["errors while a token was to be had"] += could
        return held


async def _simulate(processes: int, day: float, seed: int) -> Fleet:
    loop = cast("VirtualLoop", asyncio.get_running_loop())
    chance = Random(seed)  # noqa: S311 - it decides about nobody's security
    deploys = sorted(chance.uniform(0, day) for _ in range(_DEPLOYS))
    okta, store = Okta(loop, chance, day), Store(loop, chance, day)
    fleet = Fleet(loop, chance, okta, store, deploys, day)
    living = [loop.create_task(fleet.live()) for _ in range(processes)]
    for hour in steps(f"{processes} processes", math.ceil(day / 3_600)):
        await asyncio.sleep(min(day, (hour + 1) * 3_600.0) - loop.time())
    await asyncio.gather(*living)
    return fleet


def run(*, processes: int, hours: float, seed: int) -> int:
    """Simulate a fleet, and print what it cost.

    Args:
        processes: How many there are.
        hours: For how long.
        seed: From which everything is drawn.

    Returns:
        The exit code: 1 if somebody got an expired token, or an error although a token was to be
        had.
    """
    begun, state = time.monotonic(), random.getstate()
    random.seed(seed)  # what the providers themselves draw from
    logging.disable()  # the log of a day is long, and nobody reads it
    try:
        fleet = run_virtually(_simulate(processes, hours * 3_600, seed))
    finally:
        random.setstate(state)
        logging.disable(logging.NOTSET)
    counts = fleet.counts
    generations = len(fleet.okta.issued)
    figures = [
        Figure.count("processes, restarts included", counts["processes"], ""),
        Figure.count("calls", counts["calls"], ""),
        Figure.count("requests that met an outage", fleet.okta.requests - generations, ""),
        Figure.count("requests that brought a token", generations, ""),
        Figure.single("of these for each lifetime of a token", generations / hours, ""),
        Figure.single("worst wait of a caller who got a token", fleet.worst_wait, "s"),
        Figure.count("expired tokens", counts["expired tokens"], "", exactly=0),
        Figure.count("errors", counts["errors"], ""),
        Figure.count(
            "errors while a token was to be had",
            counts["errors while a token was to be had"],
            "",
            exactly=0,
        ),
    ]
    print_table(f"seed {seed}, {processes} processes, {hours:g} hours", figures)
    print(f"wall time: {time.monotonic() - begun:.0f} s")
    return 0 if all(figure.holds for figure in figures) else 1
