"""A day of a fleet in virtual time: real processes that share a store, and everything that fails.

The same day can be played with one process alone, which shows what the failures cost without a
fleet.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final, cast

import aiohttp

from benchmarks.fleet_world import (
    LIFETIME,
    Failover,
    Fault,
    FleetClock,
    Okta,
    Period,
    Store,
    covers,
)
from benchmarks.report import steps
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import FetchError, StoreError
from okta_tokens.events import Event
from tests.simulation.machine import VirtualLoop, run

DAY: Final = 24.0
"""Hours of a day."""
DEPLOYMENTS: Final = 3
"""How often all processes of a day restart."""
_WITHIN: Final = 60.0
"""Seconds in which the processes of a deployment or a burst start or end."""
_BURST: Final = 0.3
"""How many processes a burst adds, relative to the others."""
_BUSY: Final = 1.0
"""Mean seconds between two calls of the one process that is compared with a fleet."""
_DROPPED: Final = 2.0
"""Seconds after which every process has dropped a token that one process withdrew."""
_RECOVERY: Final = 60.0
"""Seconds after a failure of the store until no process avoids it any more."""
_REPLICATED: Final = 5.0
"""Seconds after which no replica lacks what was written."""
_FAULTS: Final[tuple[Fault, ...]] = ("unavailable", "refused", "rate limited")


@dataclass(frozen=True)
class Day:
    """What happens to a fleet. All times are in seconds.

    Args:
        seconds: The duration.
        outages: When Okta fails, and how.
        rejecting: When an API rejects every token.
        deployments: When all processes restart.
        bursts: When there are more processes.
        invalidations: When an API rejects the token of one call of any process.
        clearings: When any process clears all tokens everywhere.
        store_outages: When each call of the store fails.
        store_silences: When each call of the store hangs.
        failovers: When a replica replaces the primary of the store.
        clock_error: By how much the wall clock of a process is wrong at most.
        lifetime: The lifetime of a token.
        interval: The mean time between two calls of one process.
        starts_within: The processes start within so many seconds.
    """

    seconds: float
    outages: tuple[Period, ...] = ()
    rejecting: tuple[Period, ...] = ()
    deployments: tuple[float, ...] = ()
    bursts: tuple[Period, ...] = ()
    invalidations: tuple[float, ...] = ()
    clearings: tuple[float, ...] = ()
    store_outages: tuple[Period, ...] = ()
    store_silences: tuple[Period, ...] = ()
    failovers: tuple[Failover, ...] = ()
    clock_error: float = 0.0
    lifetime: int = LIFETIME
    interval: float = 5.0
    starts_within: float = 10.0

    def store_works(self, now: float) -> bool:
        """Tell whether all processes use the store, and the replicas have what was written."""
        periods = (*self.store_outages, *self.store_silences, *self.failovers)
        return not any(
            period.begin - _REPLICATED <= now < period.end + _RECOVERY for period in periods
        )

    def state(self, now: float) -> str:
        """Return what a request at some moment meets; the fault of Okta is the first to tell."""
        outage = next((each for each in self.outages if each.covers(now)), None)
        if outage is not None:
            return outage.fault or "refused"
        return "rejecting" if covers(self.rejecting, now) else "calm"


def calm_day(seed: int, hours: float) -> Day:
    """Return a day on which all processes are restarted three times, and nothing fails.

    Args:
        seed: The seed of everything.
        hours: The duration.
    """
    return _Drawing(seed, hours).calm()


def bad_day(seed: int, hours: float) -> Day:
    """Return a day on which everything fails; a part of a day has as much of it as it is long.

    Args:
        seed: The seed of everything.
        hours: The duration.
    """
    return _Drawing(seed, hours).bad()


class _Drawing:
    def __init__(self, seed: int, hours: float) -> None:
        self.chance = Random(seed)  # noqa: S311 - no cryptography
        self.seconds = hours * 3_600
        self.share = hours / DAY

    def calm(self) -> Day:
        deployments = self.instants(DEPLOYMENTS)
        return Day(self.seconds, deployments=deployments, interval=60.0, starts_within=_WITHIN)

    def bad(self) -> Day:
        day = self.calm()
        outages = (*self.outages(), *self.periods(1, 3_600, "wrong secret"))
        # In half of the outages no process has a token.
        cold = [outage.begin + _WITHIN for outage in outages[::2]]
        return Day(
            self.seconds,
            outages,
            self.periods(2, 600),
            day.deployments,
            self.periods(3, LIFETIME),
            self.instants(24),
            tuple(sorted(cold)),
            self.periods(2, 3_600),
            self.periods(1, 1_800),
            tuple(self.failovers()),
            120.0,
            interval=day.interval,
            starts_within=day.starts_within,
        )

    def instants(self, number: int) -> tuple[float, ...]:
        number = math.ceil(number * self.share)
        return tuple(sorted(self.chance.uniform(0, self.seconds) for _ in range(number)))

    def periods(
        self, number: int, longest: float, fault: Fault | None = None
    ) -> tuple[Period, ...]:
        longest = min(longest, self.seconds / 6)
        return tuple(
            Period(begin, begin + self.chance.uniform(0.5, 1) * longest, fault)
            for begin in self.instants(number)
        )

    def outages(self) -> Iterator[Period]:
        for number, period in enumerate(self.periods(6, 1_200)):
            yield Period(period.begin, period.end, _FAULTS[number % len(_FAULTS)])

    def failovers(self) -> Iterator[Failover]:
        for number, begin in enumerate(self.instants(4)):
            end = begin + self.chance.uniform(1, 10)
            is_pause = number % 2 == 1
            lost = 0.0 if is_pause else self.chance.uniform(0.1, 2)
            yield Failover(begin, end, lost=lost, hangs=is_pause)


@dataclass
class Outcome:
    """What was counted.

    Args:
        processes: How many processes there were at the same time, without those of bursts.
        requests: The instants of the requests that Okta received, in seconds.
        issued: The number of tokens that Okta issued.
        counts: The processes, calls, errors, errors although a usable token was held or stored,
            expired tokens, and tokens that another process had withdrawn seconds before.
        commands: The calls of the store, by name.
        commands_at: The number of calls of the store in each second.
        messages: The number of notifications that processes received.
        worst_wait: The longest wait of a call that brought a token, in seconds.
        events: The events of all processes, by type.
        by_state: The requests by what they met; see `Day.state`. Those during a failure of the
            store have the prefix `store failed, `.
    """

    processes: int
    requests: list[float] = field(default_factory=list)
    issued: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    commands_at: Counter[int] = field(default_factory=Counter)
    messages: int = 0
    worst_wait: float = 0.0
    events: Counter[type[Event]] = field(default_factory=Counter)
    by_state: Counter[str] = field(default_factory=Counter)

    def requests_between(self, begin: float, end: float) -> int:
        """Return how many requests Okta received in a period."""
        return sum(begin <= instant < end for instant in self.requests)


class _Fleet:
    """The processes, with Okta, the store and the counts."""

    def __init__(self, day: Day, processes: int, seed: int, *, shared: bool, alone: bool) -> None:
        self.day = day
        self.loop = cast("VirtualLoop", asyncio.get_running_loop())
        self.chance = Random(seed)  # noqa: S311 - no cryptography
        self.outcome = Outcome(processes)
        self.okta = Okta(self.loop, self.chance)
        self.okta.outages, self.okta.lifetime = day.outages, day.lifetime
        store = Store(self.loop)
        store.outages, store.silences = day.store_outages, day.store_silences
        store.failovers = day.failovers
        self.store = store if shared and not alone else None
        self.interval = day.interval
        self.clock_error = day.clock_error
        if alone:
            self.interval = max(_BUSY, self.interval / processes)
            self.outcome.processes = 1
        self.live: dict[TokenProvider, TokenSource] = {}
        self.withdrawn: dict[str, float] = {}  # when everyone could learn it; infinity if never

    async def run(self, hours: Iterator[int]) -> Outcome:
        """Let the day pass."""
        day, create_task = self.day, self.loop.create_task
        seconds = day.seconds
        tasks = [create_task(self.process(0.0, seconds)) for _ in range(self.outcome.processes)]
        if self.store is not None:
            tasks.append(create_task(self.store.run()))
            more = round(self.outcome.processes * _BURST)
            tasks += [create_task(self.burst(one)) for one in day.bursts for _ in range(more)]
        tasks += [create_task(self.at(instant, self.invalidate)) for instant in day.invalidations]
        tasks += [create_task(self.at(instant, self.clear)) for instant in day.clearings]
        for hour in hours:
            await asyncio.sleep(min(seconds, (hour + 1) * 3_600.0) - self.loop.time())
        await asyncio.gather(*tasks)
        return self.finished()

    def finished(self) -> Outcome:
        outcome = self.outcome
        outcome.requests, outcome.issued = self.okta.sent, len(self.okta.issued)
        if self.store is not None:
            outcome.commands, outcome.commands_at = self.store.commands, self.store.commands_at
            outcome.messages = self.store.messages
        for instant in outcome.requests:
            prefix = "" if self.day.store_works(instant) else "store failed, "
            outcome.by_state[prefix + self.day.state(instant)] += 1
        return outcome

    async def at(self, instant: float, action: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(instant)
        await action()

    async def burst(self, period: Period) -> None:
        """Run one process of a burst."""
        await asyncio.sleep(period.begin)
        await self.process(0.0, period.end + self.chance.uniform(0, _WITHIN))

    async def process(self, begin: float, end: float) -> None:
        """Run one process, and a new process after each deployment."""
        chance = Random(self.chance.random())  # noqa: S311 - no cryptography
        await asyncio.sleep(begin + chance.uniform(0, self.day.starts_within))
        restarts = (at + chance.uniform(0, _WITHIN) for at in self.day.deployments)
        ends = [at for at in restarts if self.loop.time() < at < end]
        for each in (*ends, min(end, self.day.seconds)):
            ahead = chance.uniform(-1, 1) * self.clock_error
            self.outcome.counts["processes"] += 1
            async with TokenProvider(
                session=cast("aiohttp.ClientSession", self.okta),
                store=self.store,
                clock=FleetClock(self.loop, ahead),
                observers=[self.observe],
            ) as provider:
                await self.calls(provider, each, chance)

    def observe(self, event: Event) -> None:
        self.outcome.events[type(event)] += 1

    async def calls(self, provider: TokenProvider, end: float, chance: Random) -> None:
        client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
        source = self.live[provider] = provider.source(client, "orders:read")
        value = ""
        while self.loop.time() < end:
            value = await self.call(source, value)
            await asyncio.sleep(chance.uniform(0, 2 * self.interval))
        del self.live[provider]

    async def call(self, source: TokenSource, last: str) -> str:
        """Return the value of the token that a call brings, or of the last one."""
        begun, counts, issued = self.loop.time(), self.outcome.counts, self.okta.issued
        counts["calls"] += 1
        # A token must be usable if it has not expired by any of the wrong clocks.
        latest = begun + 2 * self.clock_error + 10
        is_held = issued.get(last, 0.0) > latest and last not in self.withdrawn
        is_stored = (
            self.store is not None and self.day.store_works(begun) and self.store.holds(latest)
        )
        try:
            token = await source.get_token()
        except FetchError:
            counts["errors"] += 1
            counts["avoidable errors"] += is_held or is_stored
            return last
        now, value = self.loop.time(), token.value
        self.outcome.worst_wait = max(self.outcome.worst_wait, now - begun)
        counts["expired tokens"] += issued[value] <= now
        counts["withdrawn tokens"] += self.withdrawn.get(value, math.inf) + _DROPPED < now
        if covers(self.day.rejecting, now) and source.invalidate(token):
            self.note(value)
        return value

    async def invalidate(self) -> None:
        """Let any process report that an API has rejected its token."""
        if self.live:
            source = self.chance.choice([*self.live.values()])
            token = source.peek()
            if token is not None and source.invalidate(token):
                self.note(token.value)

    async def clear(self) -> None:
        """Let any process clear all tokens everywhere."""
        if self.live:
            provider = self.chance.choice([*self.live])
            with suppress(StoreError):  # the other processes keep their tokens
                await provider.clear(everywhere=self.store is not None)
            for value in self.okta.issued:
                self.note(value)

    def note(self, value: str) -> None:
        """Remember that a token was withdrawn."""
        now = self.loop.time()
        self.withdrawn.setdefault(value, now if self.day.store_works(now) else math.inf)


def play(
    day: Day, processes: int, *, seed: int = 1, shared: bool = True, alone: bool = False
) -> Outcome:
    """Let a fleet live through a day.

    Args:
        day: What happens.
        processes: The number of processes, each with one caller.
        seed: The seed of everything that the day does not say.
        shared: Whether the processes share a store.
        alone: Whether there is one process instead, without a store, and with as many callers; but
            it gets no more than one call each second, on average.
    """

    async def main() -> Outcome:
        fleet = _Fleet(day, processes, seed, shared=shared, alone=alone)
        title = "one process" if alone else f"{processes} processes"
        return await fleet.run(steps(title, math.ceil(day.seconds / 3_600)))

    state, disabled, threshold = random.getstate(), logging.root.manager.disable, gc.get_threshold()
    random.seed(seed)  # the providers draw from it
    gc.set_threshold(100_000, 50, 1_000)  # a large fleet is not visited again and again
    logging.disable()  # writing the events would take longer than the simulation
    try:
        return run(main())
    finally:
        random.setstate(state)
        logging.disable(disabled)
        gc.set_threshold(*threshold)
