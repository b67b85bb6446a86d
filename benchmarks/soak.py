"""`soak`: what piles up, and what callers notice, while everything goes wrong for minutes.

Callers by the thousand, of whom some rest for a while, some are impatient, and some are cancelled,
ask for tokens that live for five seconds, of a server that fails in all ways by turns. What piles
up is looked for while this goes on, and again when everybody has left. Linux only.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import NamedTuple

import aiohttp

from benchmarks.figures import Figure
from benchmarks.probe import Probe
from benchmarks.report import steps
from benchmarks.server import FAULTS, Server, serve
from okta_tokens import AccessToken, RefreshPolicy, RetryPolicy, TokenProvider, TokenSource
from okta_tokens.errors import FetchError

_CLIENTS = 4
_PLACES = 8
_USUAL, _SLOW = (0.005, 0.02), (0.1, 0.5)
_OUTAGES = ("503", "drop")
_A_MOMENT = 0.1
"""Seconds: what may pass on a busy machine between two looks at the same clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything.

    Args:
        ticks: How often another fault begins, and a sample is taken.
        tick: Seconds from one time to the next.
        keys: How many, of four clients.
        callers: How many.
        lifetime: Seconds that a token lives.
        pause: Seconds between two calls of a caller, on average.
        at_once: How many requests a fault meets at most.
        judges_memory: Whether it lasts long enough for that.
    """

    ticks: int
    tick: float = 1.0
    keys: int = 200
    callers: int = 2_000
    lifetime: int = 5
    pause: float = 1.0
    at_once: int = 8
    judges_memory: bool = False

    @property
    def max_tokens(self) -> int:
        """How many keys the provider may hold: some more, for scopes that do not exist."""
        return self.keys * 3 // 2

    @property
    def retry(self) -> RetryPolicy:
        """How hard fetches try: no longer than such tokens are worth."""
        return RetryPolicy(
            request_timeout=self.lifetime / 2,
            total_timeout=self.lifetime,
            max_wait=2 * self.lifetime,
            max_cooldown=self.lifetime / 2,
        )


async def run(*, short: bool, minutes: float = 10.0) -> list[Figure]:
    """Soak.

    Args:
        short: Whether to have fewer callers, and each fault once.
        minutes: How long, if it is not short.
    """
    if short:
        plan = Plan(
            ticks=len(FAULTS), tick=0.4, keys=40, callers=400, lifetime=2, pause=0.4, at_once=3
        )
    else:
        plan = Plan(ticks=max(round(minutes * 60), 4), judges_memory=True)
    return await soak(plan)


async def soak(plan: Plan) -> list[Figure]:
    """Soak as planned.

    Args:
        plan: How much of everything.
    """
    scopes = plan.keys // _CLIENTS
    async with serve(scopes=scopes, lifetime=plan.lifetime, clients=_CLIENTS) as server:
        files, tasks = _open_files(), len(asyncio.all_tasks())
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_PLACES)) as session,
            TokenProvider(
                max_tokens=plan.max_tokens, max_concurrent_requests=_PLACES, retry=plan.retry
            ) as provider,
        ):
            story = _Story(plan, server, session, provider)
            figures = await story.tell()
        await _until(lambda: _open_files() <= files, 0.5)
        return [
            *figures,
            _none("file descriptors left after closing", _open_files() - files),
            _none("tasks left after closing", len(asyncio.all_tasks()) - tasks),
        ]


class Sample(NamedTuple):
    """What there is at some moment."""

    at: float
    """In seconds of the monotonic clock."""
    memory: int
    """The resident set, in bytes."""
    tasks: int
    """Beside those of callers and of flights."""
    files: int
    """Open file descriptors."""
    entries: int
    timers: int
    """Beyond one for each entry and two for each flight."""
    heap: int
    """Timers, and cancelled ones that are still in the heap."""


def judge(samples: Sequence[Sample], plan: Plan) -> list[Figure]:
    """Tell what piled up.

    Of tasks the fewest are compared, for aiohttp has one now and then. Of file descriptors the most
    are, for connections come and go; those of a few more requests at once are no leak. The growth
    of memory is that of a straight line through all samples of the last half.

    Args:
        samples: In order, and at the same intervals.
        plan: How much there was of everything.
    """
    middle = len(samples) // 2
    first, last = samples[:middle], samples[middle:]
    times, memory = [it.at for it in last], [it.memory / 2**20 for it in last]
    growth = statistics.linear_regression(times, memory).slope * (times[-1] - times[0])
    what = "growth of the resident memory over the last half"
    return [
        Figure.single("resident memory at half-time", memory[0], "MiB"),
        Figure.count(what, growth, "MiB", at_most=1.0)
        if plan.judges_memory
        else Figure.single(what, growth, "MiB"),
        Figure.count(
            "tasks beside callers and flights: the fewest of the last half, beyond the first's",
            min(it.tasks for it in last) - min(it.tasks for it in first),
            "",
            at_most=0,
        ),
        Figure.count(
            "file descriptors: the most of the last half, beyond the first's",
            max(it.files for it in last) - max(it.files for it in first),
            "",
            at_most=_PLACES,
        ),
        Figure.count(
            f"entries at most, with {plan.keys} keys",
            max(it.entries for it in samples),
            "",
            at_most=plan.max_tokens,
        ),
        Figure.count(
            "timers at most, beyond one for each entry and two for each flight",
            max(it.timers for it in samples),
            "",
            at_most=0,
        ),
        Figure.count(
            "timers at most, and cancelled ones in the heap",
            max(it.heap for it in samples),
            "",
            at_most=4 * plan.keys,
        ),
    ]


@dataclass(slots=True)
class _Tally:
    """What callers noticed."""

    gets: int = 0
    tokens: int = 0
    waited: int = 0
    left: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    untyped: Counter[str] = field(default_factory=Counter)
    needless: int = 0
    expired: int = 0
    invalidated: int = 0
    presented: int = 0
    late: int = 0
    refused: int = 0

    def figures(self) -> list[Figure]:
        names = "".join(f", {name}" for name in self.untyped)
        return [
            Figure.single("calls of get_token", self.gets, ""),
            Figure.single("that waited", self.waited, ""),
            Figure.single("that left before they were answered", self.left, ""),
            Figure.single("tokens invalidated", self.invalidated, ""),
            *(
                Figure.single(f"errors that they got: {name}", number, "")
                for name, number in sorted(self.errors.items())
            ),
            _none(f"errors of no type that they got{names}", self.untyped.total()),
            _none("calls that waited, or failed, while a usable token was held", self.needless),
            _none("calls that brought an expired token", self.expired),
            Figure.single("tokens presented to a resource", self.presented, ""),
            Figure.single("that were on their way until they had expired", self.late, ""),
            _none("that were refused although they came in time", self.refused),
        ]


class _Key:
    """A key, and what its callers know of it.

    Args:
        source: Its source.
        get: What its callers call.
        leeway: Seconds before its end in which a token is not handed out.
    """

    def __init__(
        self, source: TokenSource, get: Callable[[], Awaitable[AccessToken]], leeway: float
    ) -> None:
        self.source = source
        self.get = get
        self.rests_until = 0.0
        self.rejected = True
        """Whether its tokens are rejected now and then."""
        self._token: AccessToken | None = None
        self._dropped: AccessToken | None = None
        self._least = leeway + _A_MOMENT

    @property
    def usable(self) -> bool:
        """Whether a token that somebody got must be held, and may be handed out."""
        return self._token is not None and self._token.remaining() > self._least

    def got(self, token: AccessToken) -> None:
        """Somebody got a token; perhaps one that another one, who got it first, has rejected."""
        older = self._token is not None and token.expires_at <= self._token.expires_at
        if not older and token is not self._dropped:
            self._token = token

    def invalidate(self, token: AccessToken) -> bool:
        """Report a rejected token; return whether it was dropped."""
        dropped = self.source.invalidate(token)
        if dropped:
            self._token, self._dropped = None, token
        return dropped


class _Caller:
    """A coroutine that asks for a token again and again, and its habits.

    Args:
        key: Of which key.
        pause: Seconds between two calls, on average.
        present: Uses a token; told how many seconds are left of it.
        tally: Where it says what it noticed.
        drawn: Where its moods come from.
    """

    def __init__(
        self,
        key: _Key,
        pause: float,
        present: Callable[[AccessToken, float], Awaitable[None]],
        tally: _Tally,
        drawn: Random,
    ) -> None:
        self._key = key
        self._pause = pause
        self._present = present
        self._tally = tally
        self._drawn = drawn
        self.waits = False
        self.dismissed = False

    async def live(self) -> None:
        """Ask until dismissed."""
        while not self.dismissed:
            rest = self._key.rests_until - time.monotonic()
            await asyncio.sleep(rest if rest > 0 else self._pause * self._drawn.uniform(0.5, 1.5))
            try:
                await self._call()
            except Exception as error:  # noqa: BLE001 - to be told of
                self._tally.untyped[type(error).__name__] += 1

    async def _call(self) -> None:
        token = await self._ask()
        if token is None:
            return
        left = token.remaining()
        self._tally.tokens += 1
        self._tally.expired += left <= 0
        self._key.got(token)
        if _happens(self._drawn, 0.02):
            await self._present(token, left)
        if self._key.rejected and _happens(self._drawn, 0.005):
            self._tally.invalidated += self._key.invalidate(token)

    async def _ask(self) -> AccessToken | None:
        """Return a token; None if there was none to be had, or patience ended."""
        tally, key = self._tally, self._key
        usable, failed = key.usable, False
        patience = self._drawn.uniform(0, 0.05) if _happens(self._drawn, 0.05) else None
        probe = Probe(key.get())
        tally.gets += 1
        self.waits = True
        try:
            async with asyncio.timeout(patience):
                token: AccessToken = await probe
                return token
        except TimeoutError:
            tally.left += 1
        except FetchError as error:
            failed = True
            tally.errors[type(error).__name__] += 1
        finally:
            self.waits = False
            tally.waited += probe.suspended
            tally.needless += (usable and (probe.suspended or failed)) or (failed and key.usable)
        return None


class _Story:
    """All that happens.

    Args:
        plan: How much of everything.
        server: Where tokens come from.
        session: What they are presented with.
        provider: What is soaked.
    """

    def __init__(
        self, plan: Plan, server: Server, session: aiohttp.ClientSession, provider: TokenProvider
    ) -> None:
        self._plan = plan
        self._server = server
        self._session = session
        self._provider = provider
        # Of their own, so that the faults do not depend on how often callers come round.
        self._drawn, self._moods = Random(1), Random(2)  # noqa: S311 - nobody's security
        self._tally = _Tally()
        self._keys = [self._make_key(number) for number in range(plan.keys)]
        self._callers: dict[asyncio.Task[None], _Caller] = {}
        self._outage_until = 0.0

    def _make_key(self, number: int) -> _Key:
        client = self._server.client(number=number % _CLIENTS)
        scope = f"s{number // _CLIENTS}"
        source = self._provider.source(client, scope)
        # Half of the services keep a source, the others ask the provider.
        get = source.get_token if number % 2 else partial(self._provider.get_token, client, scope)
        return _Key(source, get, RefreshPolicy().leeway(self._plan.lifetime))

    async def tell(self) -> list[Figure]:
        """Let it happen, and return what came of it."""
        plan, server = self._plan, self._server
        await server.delay(*_USUAL)
        if plan.judges_memory:
            # So that the most memory that is ever needed is needed at the beginning: everybody
            # waits, and everybody gets an error.
            await server.fail("drop")
            self._outage_until = time.monotonic() + 3 * plan.lifetime
        for number in range(plan.callers):
            self._engage(self._keys[number % plan.keys])
        stranger = asyncio.create_task(self._ask_for_what_there_is_not())
        samples = []
        faults = cycle(FAULTS)
        wall, cpu = time.monotonic(), time.process_time()
        for tick in steps("soak", plan.ticks):
            await self._trouble(next(faults))
            self._disturb()
            await asyncio.sleep(wall + (tick + 1) * plan.tick - time.monotonic())
            samples.append(self._sample())
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        faults_met = await server.faults()
        stranger.cancel()
        await asyncio.wait([stranger])
        lost = await self._recover()
        unanswered = await self._dismiss()
        counts = await server.counts()
        return [
            Figure.single("CPU: share of a core", 100 * cpu / wall, "%"),
            Figure.single("token requests", counts["token_requests"], ""),
            *(
                Figure.single(f"faults that they met: {name}", number, "")
                for name, number in faults_met.items()
            ),
            *self._tally.figures(),
            _none("keys without a token when nothing goes wrong any more", lost),
            _none("callers that were never answered", unanswered),
            *judge(samples, plan),
            *await self._forgotten(),
        ]

    # What happens

    async def _trouble(self, fault: str) -> None:
        """Let something go wrong."""
        drawn, server, now = self._drawn, self._server, time.monotonic()
        if 0 < self._outage_until <= now:
            await server.fail(None)
            self._outage_until = 0.0
        elif _happens(drawn, 0.03):
            await server.fail(drawn.choice(_OUTAGES))
            self._outage_until = now + self._plan.lifetime * drawn.uniform(0.5, 1.5)
        # A 429 is heard by every key, so one is enough.
        await server.fail_next(
            fault, 1 if fault.startswith("429") else drawn.randint(1, self._plan.at_once)
        )
        await server.delay(*(_SLOW if _happens(drawn, 0.1) else _USUAL))

    def _disturb(self) -> None:
        """Let some callers be cancelled, others come, and some keys rest until they expire."""
        drawn, plan = self._drawn, self._plan
        for caller in drawn.sample([*self._callers], plan.callers // 400):
            caller.cancel()
            self._engage(self._callers[caller]._key)
        everybody = _happens(drawn, 0.01)
        until = time.monotonic() + plan.lifetime * drawn.uniform(1.5, 2.5)
        for key in self._keys:
            if everybody or _happens(drawn, 0.01):
                key.rests_until = until

    def _engage(self, key: _Key) -> None:
        caller = _Caller(key, self._plan.pause, self._present, self._tally, self._moods)
        task = asyncio.create_task(caller.live())
        self._callers[task] = caller
        task.add_done_callback(self._callers.pop)

    async def _ask_for_what_there_is_not(self) -> None:
        """Ask for one scope after the other that does not exist, as a typing error does."""
        client = self._server.client()
        for number in count():
            try:
                await self._provider.get_token(client, f"unknown{number}")
            except FetchError as error:
                self._tally.errors[type(error).__name__] += 1
            await asyncio.sleep(self._plan.tick / 2)

    async def _present(self, token: AccessToken, left: float) -> None:
        """Use a token; the server knows best which ones have expired."""
        sent = time.monotonic()
        headers = {"Authorization": token.authorization}
        url = f"{self._server.origin}/resource"
        async with self._session.get(url, headers=headers) as response:
            await response.read()
        self._tally.presented += 1
        if not response.ok:
            late = time.monotonic() - sent >= left
            self._tally.late += late
            self._tally.refused += not late

    # What is left

    def _sample(self) -> Sample:
        schedule, keeper = self._provider._schedule, self._provider._manager
        callers = sum(not task.done() for task in self._callers)
        flights, entries = len(keeper.flights.under_way), len(keeper.entries)
        return Sample(
            at=time.monotonic(),
            memory=_resident_memory(),
            tasks=len(asyncio.all_tasks()) - callers - flights,
            files=_open_files(),
            entries=entries,
            timers=len(schedule) - entries - 2 * flights,
            heap=len(schedule._heap),
        )

    async def _recover(self) -> int:
        """Let nothing go wrong any more; return how many keys have no token some time later."""
        for key in self._keys:
            key.rejected = False  # the provider remembers for minutes that a token was rejected
        await self._server.fail(None)
        await self._server.delay(*_USUAL)
        retry = self._plan.retry
        await asyncio.sleep(retry.request_timeout + retry.max_cooldown)
        gets = [asyncio.ensure_future(key.get()) for key in self._keys]
        await _until(lambda: all(get.done() for get in gets), retry.max_wait)
        for get in gets:
            get.cancel()
        outcomes = await asyncio.gather(*gets, return_exceptions=True)
        return sum(isinstance(outcome, BaseException) for outcome in outcomes)

    async def _dismiss(self) -> int:
        """Let everybody go who has got an answer; return how many never got one."""
        for task, caller in self._callers.items():
            caller.dismissed = True
            if not caller.waits:
                task.cancel()
        await _until(lambda: not self._callers, self._plan.retry.max_wait + 1)
        unanswered = [*self._callers]
        for task in unanswered:
            task.cancel()
        return len(unanswered)

    async def _forgotten(self) -> list[Figure]:
        """Wait for as long as the provider may remember keys that nobody uses."""
        provider = self._provider
        await _until(lambda: not provider._manager.entries, 3.0 * self._plan.lifetime)
        return [
            _none("entries left when nobody asks any more", len(provider._manager.entries)),
            _none("timers left when nobody asks any more", len(provider._schedule)),
            _none("flights left when nobody asks any more", len(provider._manager.flights._tasks)),
        ]


def _happens(drawn: Random, chance: float) -> bool:
    return drawn.random() < chance


def _none(what: str, number: int) -> Figure:
    return Figure.count(what, number, "", exactly=0)


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something, but not for ever."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110 - nothing gives a signal
        await asyncio.sleep(0.05)


def _resident_memory() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
