"""Fleets in virtual time: many real providers that share a store, or one alone, for comparison."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import cast

import aiohttp

from benchmarks.simulate_fleet import Fault, Okta, Period, Store
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens._runtime.clock import Clock
from okta_tokens.errors import FetchError
from okta_tokens.events import Event
from tests.simulation.machine import NEW_YEAR, Machine, VirtualLoop, run

MAX_CLOCK_ERROR = 120.0


@dataclass
class Day:
    """What happens to a fleet.

    Args:
        seconds: The duration.
        fault: What happens to requests during the outages.
        outages: Their beginnings and ends, in seconds.
        lifetime: The lifetime of a token, in seconds.
        interval: The mean time between two calls of one caller, in seconds.
        starts_within: The processes start within so many seconds.
        rejected: Whether an API rejects every token.
    """

    seconds: float
    fault: Fault = "unavailable"
    outages: tuple[tuple[float, float], ...] = ()
    lifetime: int = 3_600
    interval: float = 5.0
    starts_within: float = 10.0
    rejected: bool = False


@dataclass
class Outcome:
    """What was counted.

    Args:
        requests: The instants of the requests that Okta received, in seconds.
        counts: The calls, the errors, the errors although a usable token was held or stored, and
            the tokens that had expired.
        commands: The calls of the store, by name.
        worst_wait: The longest wait of a call that brought a token, in seconds.
        events: The events of all processes, by type.
    """

    requests: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    worst_wait: float = 0.0
    events: Counter[type[Event]] = field(default_factory=Counter)

    def requests_between(self, begin: float, end: float) -> int:
        """Return how many requests Okta received in a period."""
        return sum(begin <= instant < end for instant in self.requests)


class _CountingOkta(Okta):
    """An Okta that notes when requests arrive."""

    def __init__(self, loop: VirtualLoop, chance: Random, day: Day, outcome: Outcome) -> None:
        super().__init__(loop, chance, day.seconds)
        self.outages = [Period(*outage) for outage in day.outages]
        self.fault = day.fault
        self.lifetime = day.lifetime
        self._outcome = outcome

    def post(self, *args: object, **options: object) -> object:  # type: ignore[override]  # private
        """Note the request."""
        self._outcome.requests.append(self._loop.time())
        return super().post(*args, **options)


class _Simulation:
    def __init__(self, day: Day, seed: int, *, clock_errors: bool) -> None:
        self.day = day
        self.loop = cast("VirtualLoop", asyncio.get_running_loop())
        self.chance = Random(seed)  # noqa: S311 - no cryptography
        self.outcome = Outcome()
        self.okta = _CountingOkta(self.loop, self.chance, day, self.outcome)
        self.store = Store(self.loop, self.chance, day.seconds)
        self.store.outages = self.store.silences = []
        self.clock_error = MAX_CLOCK_ERROR if clock_errors else 0.0

    async def fleet(self, processes: int) -> Outcome:
        await asyncio.gather(*(self.process(1, self.store) for _ in range(processes)))
        self.outcome.commands = self.store.commands
        return self.outcome

    async def alone(self, callers: int) -> Outcome:
        await self.process(callers, None)
        return self.outcome

    async def process(self, callers: int, store: Store | None) -> None:
        clock = Machine(self.loop)
        clock.wall_error = self.chance.uniform(-1, 1) * self.clock_error
        if store is not None:
            await asyncio.sleep(self.chance.uniform(0, self.day.starts_within))
        async with AsyncExitStack() as stack:
            provider = TokenProvider(
                session=cast("aiohttp.ClientSession", self.okta),
                store=store,
                clock=cast("Clock", clock),
                observers=[lambda event: self.outcome.events.update([type(event)])],
            )
            await stack.enter_async_context(provider)
            client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
            source = provider.source(client, "orders:read")
            await asyncio.gather(*(self.caller(source, late=store is None) for _ in range(callers)))

    async def caller(self, source: TokenSource, *, late: bool) -> None:
        chance = Random(self.chance.random())  # noqa: S311 - no cryptography
        if late:
            await asyncio.sleep(chance.uniform(0, self.day.starts_within))
        while self.loop.time() < self.day.seconds:
            await self.call(source)
            await asyncio.sleep(chance.uniform(0, 2 * self.day.interval))

    async def call(self, source: TokenSource) -> None:
        begun, counts = self.loop.time(), self.outcome.counts
        counts["calls"] += 1
        # A token must be usable if it has not expired by any of the wrong clocks.
        latest = begun + 2 * self.clock_error + 10
        available = source.peek() is not None or self.store.holds(latest)
        try:
            token = await source.get_token()
        except FetchError:
            counts["errors"] += 1
            counts["avoidable errors"] += available
            return
        now = self.loop.time()
        self.outcome.worst_wait = max(self.outcome.worst_wait, now - begun)
        counts["expired tokens"] += self.okta.issued[token.value] <= now
        if self.day.rejected:
            source.invalidate(token)


def live(
    day: Day, processes: int, *, alone: bool = False, seed: int = 1, **options: bool
) -> Outcome:
    """Let a fleet live through a day.

    Args:
        day: What happens.
        processes: The number of processes, each with one caller.
        alone: Whether all callers are in one process, without a store.
        seed: The seed of everything.
        **options: `clock_errors`, whether the wall clocks of the processes are wrong.
    """

    async def main() -> Outcome:
        simulation = _Simulation(day, seed, clock_errors=options.get("clock_errors", False))
        return await (simulation.alone if alone else simulation.fleet)(processes)

    state = random.getstate()
    random.seed(seed)  # the providers draw from it
    logging.disable()
    try:
        return run(main())
    finally:
        random.setstate(state)
        logging.disable(logging.NOTSET)


__all__ = ["NEW_YEAR", "Day", "Outcome", "live"]
