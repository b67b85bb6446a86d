"""`soak`: what accumulates, and what do callers notice, while everything fails for minutes?

Thousands of callers get tokens that live for five seconds. Some callers have short time-outs, some
are cancelled, and some keys rest. The server has every fault in turn. Samples of memory, tasks,
timers and file descriptors are taken meanwhile, and again after all callers have stopped. This
benchmark needs Linux.
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
_MAX_CONCURRENT_REQUESTS = 8
_USUAL_LATENCY, _HIGH_LATENCY = (0.005, 0.02), (0.1, 0.5)
_OUTAGES = ("503", "drop")
_TOLERANCE = 0.1
"""Seconds that may pass on a busy machine between two readings of the same clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size of a soak.

    Args:
        ticks: The number of ticks. On each tick another fault starts, and a sample is taken.
        tick: The seconds between two ticks.
        keys: The number of keys, of four clients.
        callers: The number of callers.
        lifetime: A token's lifetime in seconds.
        pause: The seconds between two calls of a caller, on average.
        max_faults: The largest number of requests that a fault of one tick meets.
        limits_memory: Whether the soak is long enough to limit the growth of the memory.
    """

    ticks: int
    tick: float = 1.0
    keys: int = 200
    callers: int = 2_000
    lifetime: int = 5
    pause: float = 1.0
    max_faults: int = 8
    limits_memory: bool = False

    @property
    def max_tokens(self) -> int:
        """The provider's limit of keys: more than the keys, because of scopes that do not exist."""
        return self.keys * 3 // 2

    @property
    def retry(self) -> RetryPolicy:
        """A policy whose time-outs suit the short lifetime."""
        return RetryPolicy(
            request_timeout=self.lifetime / 2,
            total_timeout=self.lifetime,
            max_wait=2 * self.lifetime,
            max_cooldown=self.lifetime / 2,
        )


async def run(*, short: bool, minutes: float = 10.0) -> list[Figure]:
    """Run the soak of the command line.

    Args:
        short: Whether to have fewer callers, and each fault only once.
        minutes: The duration in minutes, if it is not short.
    """
    if short:
        plan = Plan(
            ticks=len(FAULTS), tick=0.4, keys=40, callers=400, lifetime=2, pause=0.4, max_faults=3
        )
    else:
        plan = Plan(ticks=max(round(minutes * 60), 4), limits_memory=True)
    return await soak(plan)


async def soak(plan: Plan) -> list[Figure]:
    """Run a soak.

    Args:
        plan: The size of the soak.
    """
    scopes = plan.keys // _CLIENTS
    async with serve(scopes=scopes, lifetime=plan.lifetime, clients=_CLIENTS) as server:
        files, tasks = _open_files(), len(asyncio.all_tasks())
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MAX_CONCURRENT_REQUESTS)
            ) as session,
            TokenProvider(
                max_tokens=plan.max_tokens,
                max_concurrent_requests=_MAX_CONCURRENT_REQUESTS,
                retry=plan.retry,
            ) as provider,
        ):
            figures = await _Soak(plan, server, session, provider).run()
        await _until(lambda: _open_files() <= files, 0.5)
        return [
            *figures,
            _zero("file descriptors left after closing", _open_files() - files),
            _zero("tasks left after closing", len(asyncio.all_tasks()) - tasks),
        ]


class Sample(NamedTuple):
    """The resources at one moment."""

    at: float
    """The time in seconds of the monotonic clock."""
    memory: int
    """The resident memory in bytes."""
    tasks: int
    """The tasks except those of callers and flights."""
    files: int
    """Open file descriptors."""
    entries: int
    timers: int
    """The timers beyond one for each entry and two for each flight."""
    heap: int
    """The instants in the heap, also those of cancelled timers."""


def evaluate(samples: Sequence[Sample], plan: Plan) -> list[Figure]:
    """Return figures about what accumulated.

    The minima of the tasks of both halves are compared, because aiohttp sometimes has an extra
    task. The maxima of the file descriptors are compared, because connections open and close; the
    descriptors of a few more concurrent requests are no leak. The growth of the memory is the slope
    of a straight line through all samples of the last half.

    Args:
        samples: The samples in order, at equal intervals.
        plan: The size of the soak.
    """
    middle = len(samples) // 2
    first, last = samples[:middle], samples[middle:]
    times, memory = [sample.at for sample in last], [sample.memory / 2**20 for sample in last]
    growth = statistics.linear_regression(times, memory).slope * (times[-1] - times[0])
    name = "growth of the resident memory over the last half"
    return [
        Figure.single("resident memory at the beginning of the last half", memory[0], "MiB"),
        Figure.count(name, growth, "MiB", at_most=1.0)
        if plan.limits_memory
        else Figure.single(name, growth, "MiB"),
        Figure.count(
            "growth of the tasks: the minimum of the last half less that of the first",
            min(sample.tasks for sample in last) - min(sample.tasks for sample in first),
            "",
            at_most=0,
        ),
        Figure.count(
            "growth of the file descriptors: the maximum of the last half less that of the first",
            max(sample.files for sample in last) - max(sample.files for sample in first),
            "",
            at_most=_MAX_CONCURRENT_REQUESTS,
        ),
        Figure.count(
            f"most entries, with {plan.keys} keys",
            max(sample.entries for sample in samples),
            "",
            at_most=plan.max_tokens,
        ),
        Figure.count(
            "most timers, beyond one for each entry and two for each flight",
            max(sample.timers for sample in samples),
            "",
            at_most=0,
        ),
        Figure.count(
            "most timers, with the instants of cancelled ones in the heap",
            max(sample.heap for sample in samples),
            "",
            at_most=4 * plan.keys + 16,
        ),
    ]


@dataclass(slots=True)
class _CallerCounts:
    """Counts of what callers notice."""

    calls: int = 0
    tokens: int = 0
    waited: int = 0
    timed_out: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    untyped: Counter[str] = field(default_factory=Counter)
    avoidable: int = 0
    expired: int = 0
    invalidated: int = 0
    presented: int = 0
    expired_on_the_way: int = 0
    refused: int = 0

    def figures(self) -> list[Figure]:
        names = "".join(f", {name}" for name in self.untyped)
        return [
            Figure.single("calls of get_token", self.calls, ""),
            Figure.single("calls that waited", self.waited, ""),
            Figure.single("calls that timed out before they had a result", self.timed_out, ""),
            Figure.single("tokens invalidated", self.invalidated, ""),
            *(
                Figure.single(f"errors that callers got: {name}", number, "")
                for name, number in sorted(self.errors.items())
            ),
            _zero(f"untyped errors that callers got{names}", self.untyped.total()),
            _zero("calls that waited, or failed, while a usable token was held", self.avoidable),
            _zero("calls that returned an expired token", self.expired),
            Figure.single("tokens presented to a resource", self.presented, ""),
            Figure.single("of these expired on their way", self.expired_on_the_way, ""),
            _zero("of these rejected although they came in time", self.refused),
        ]


class _Key:
    """A key, and the token that its callers got last.

    Args:
        source: The key's source.
        get: The function that its callers call.
        leeway: The seconds before a token's expiry in which the provider does not return it.
    """

    def __init__(
        self, source: TokenSource, get: Callable[[], Awaitable[AccessToken]], leeway: float
    ) -> None:
        self.source = source
        self.get = get
        self.rests_until = 0.0
        self.rejected = True
        """Whether callers sometimes report its tokens as rejected."""
        self._token: AccessToken | None = None
        self._dropped: AccessToken | None = None
        self._margin = leeway + _TOLERANCE

    @property
    def usable(self) -> bool:
        """Whether the provider must still hold a usable token that a caller got."""
        return self._token is not None and self._token.remaining() > self._margin

    def note_token(self, token: AccessToken) -> None:
        """Note a caller's token, unless it is older, or another caller has rejected it."""
        older = self._token is not None and token.expires_at <= self._token.expires_at
        if not older and token is not self._dropped:
            self._token = token

    def invalidate(self, token: AccessToken) -> bool:
        """Report a rejected token; return whether the provider dropped it."""
        dropped = self.source.invalidate(token)
        if dropped:
            self._token, self._dropped = None, token
        return dropped


class _Caller:
    """A caller that gets a key's token repeatedly.

    Args:
        key: The key.
        pause: The seconds between two calls, on average.
        use: Uses a token; its second argument is the token's remaining life in seconds.
        counts: The counts of all callers.
        random: Draws the caller's decisions.
    """

    def __init__(
        self,
        key: _Key,
        pause: float,
        use: Callable[[AccessToken, float], Awaitable[None]],
        counts: _CallerCounts,
        random: Random,
    ) -> None:
        self.key = key
        self._pause = pause
        self._use = use
        self._counts = counts
        self._random = random
        self.waiting = False
        self.stopped = False

    async def run(self) -> None:
        """Get tokens until `stopped` is set."""
        while not self.stopped:
            rest = self.key.rests_until - time.monotonic()
            await asyncio.sleep(rest if rest > 0 else self._pause * self._random.uniform(0.5, 1.5))
            try:
                await self._call()
            except Exception as error:  # noqa: BLE001 - every other error is a defect to report
                self._counts.untyped[type(error).__name__] += 1

    async def _call(self) -> None:
        token = await self._get_token()
        if token is None:
            return
        remaining = token.remaining()
        self._counts.tokens += 1
        self._counts.expired += remaining <= 0
        self.key.note_token(token)
        if _happens(self._random, 0.02):
            await self._use(token, remaining)
        if self.key.rejected and _happens(self._random, 0.005):
            self._counts.invalidated += self.key.invalidate(token)

    async def _get_token(self) -> AccessToken | None:
        """Return a token; `None` after an error or a time-out."""
        counts, key = self._counts, self.key
        usable, failed = key.usable, False
        timeout = self._random.uniform(0, 0.05) if _happens(self._random, 0.05) else None
        probe = Probe(key.get())
        counts.calls += 1
        self.waiting = True
        try:
            async with asyncio.timeout(timeout):
                token: AccessToken = await probe
                return token
        except TimeoutError:
            counts.timed_out += 1
        except FetchError as error:
            failed = True
            counts.errors[type(error).__name__] += 1
        finally:
            self.waiting = False
            counts.waited += probe.suspended
            counts.avoidable += (usable and (probe.suspended or failed)) or (failed and key.usable)
        return None


class _Soak:
    """A run: the callers, the faults and the samples.

    Args:
        plan: The size of the soak.
        server: The authorization server.
        session: Sends tokens to the server's resource.
        provider: The provider under test.
    """

    def __init__(
        self, plan: Plan, server: Server, session: aiohttp.ClientSession, provider: TokenProvider
    ) -> None:
        self._plan = plan
        self._server = server
        self._session = session
        self._provider = provider
        # Two generators, so that the faults do not depend on the number of calls.
        self._random, self._caller_random = Random(1), Random(2)  # noqa: S311 - no cryptography
        self._counts = _CallerCounts()
        self._keys = [self._make_key(number) for number in range(plan.keys)]
        self._callers: dict[asyncio.Task[None], _Caller] = {}
        self._outage_until = 0.0

    def _make_key(self, number: int) -> _Key:
        client = self._server.client(number=number % _CLIENTS)
        scope = f"s{number // _CLIENTS}"
        source = self._provider.source(client, scope)
        # Half of the callers keep a source, the others call the provider.
        get = source.get_token if number % 2 else partial(self._provider.get_token, client, scope)
        return _Key(source, get, RefreshPolicy().leeway(self._plan.lifetime))

    async def run(self) -> list[Figure]:
        """Run the soak, and return its figures."""
        plan, server = self._plan, self._server
        await server.delay(*_USUAL_LATENCY)
        if plan.limits_memory:
            # An outage at the beginning, in which all callers wait and get errors, needs the most
            # memory. So later growth is a leak.
            await server.fail("drop")
            self._outage_until = time.monotonic() + 3 * plan.lifetime
        for number in range(plan.callers):
            self._add_caller(self._keys[number % plan.keys])
        unknown = asyncio.create_task(self._request_unknown_scopes())
        samples = []
        faults = cycle(FAULTS)
        wall, cpu = time.monotonic(), time.process_time()
        for tick in steps("soak", plan.ticks):
            await self._start_fault(next(faults))
            self._disturb_callers()
            await asyncio.sleep(wall + (tick + 1) * plan.tick - time.monotonic())
            samples.append(self._sample())
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        faults_met = await server.faults()
        unknown.cancel()
        await asyncio.wait([unknown])
        without_token = await self._recover()
        without_result = await self._stop_callers()
        counts = await server.counts()
        return [
            Figure.single("CPU: share of a core", 100 * cpu / wall, "%"),
            Figure.single("token requests", counts["token_requests"], ""),
            *(
                Figure.single(f"requests that met a fault: {name}", number, "")
                for name, number in faults_met.items()
            ),
            *self._counts.figures(),
            _zero("keys without a token after the faults had stopped", without_token),
            _zero("callers that got no result", without_result),
            *evaluate(samples, plan),
            *await self._leftovers(),
        ]

    # Faults and callers

    async def _start_fault(self, fault: str) -> None:
        """Let the next requests meet a fault, and sometimes start or end an outage."""
        random, server, now = self._random, self._server, time.monotonic()
        if 0 < self._outage_until <= now:
            await server.fail(None)
            self._outage_until = 0.0
        elif _happens(random, 0.03):
            await server.fail(random.choice(_OUTAGES))
            self._outage_until = now + self._plan.lifetime * random.uniform(0.5, 1.5)
        # A 429 affects every key, so one is enough.
        await server.fail_next(
            fault, 1 if fault.startswith("429") else random.randint(1, self._plan.max_faults)
        )
        await server.delay(*(_HIGH_LATENCY if _happens(random, 0.1) else _USUAL_LATENCY))

    def _disturb_callers(self) -> None:
        """Replace some callers, and let some keys rest until their tokens have expired."""
        random, plan = self._random, self._plan
        for caller in random.sample([*self._callers], plan.callers // 400):
            caller.cancel()
            self._add_caller(self._callers[caller].key)
        all_keys = _happens(random, 0.01)
        until = time.monotonic() + plan.lifetime * random.uniform(1.5, 2.5)
        for key in self._keys:
            if all_keys or _happens(random, 0.01):
                key.rests_until = until

    def _add_caller(self, key: _Key) -> None:
        caller = _Caller(key, self._plan.pause, self._use_token, self._counts, self._caller_random)
        task = asyncio.create_task(caller.run())
        self._callers[task] = caller
        task.add_done_callback(self._callers.pop)

    async def _request_unknown_scopes(self) -> None:
        """Request scopes that do not exist, as a caller with a typing error does."""
        client = self._server.client()
        for number in count():
            try:
                await self._provider.get_token(client, f"unknown{number}")
            except FetchError as error:
                self._counts.errors[type(error).__name__] += 1
            await asyncio.sleep(self._plan.tick / 2)

    async def _use_token(self, token: AccessToken, remaining: float) -> None:
        """Send a token to the server, which checks the expiry by its own clock."""
        sent = time.monotonic()
        headers = {"Authorization": token.authorization}
        url = f"{self._server.origin}/resource"
        async with self._session.get(url, headers=headers) as response:
            await response.read()
        self._counts.presented += 1
        if not response.ok:
            expired = time.monotonic() - sent >= remaining
            self._counts.expired_on_the_way += expired
            self._counts.refused += not expired

    # Resources

    def _sample(self) -> Sample:
        schedule, manager = self._provider._schedule, self._provider._manager
        callers = sum(not task.done() for task in self._callers)
        flights, entries = len(manager.flights.under_way), len(manager.entries)
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
        """Stop all faults; return the number of keys that get no token afterwards."""
        for key in self._keys:
            key.rejected = False  # the provider damps rejections for minutes
        await self._server.fail(None)
        await self._server.delay(*_USUAL_LATENCY)
        retry = self._plan.retry
        await asyncio.sleep(retry.request_timeout + retry.max_cooldown)
        gets = [asyncio.ensure_future(key.get()) for key in self._keys]
        await _until(lambda: all(get.done() for get in gets), retry.max_wait)
        for get in gets:
            get.cancel()
        results = await asyncio.gather(*gets, return_exceptions=True)
        return sum(isinstance(result, BaseException) for result in results)

    async def _stop_callers(self) -> int:
        """Stop the callers; return the number of calls that got no result."""
        for task, caller in self._callers.items():
            caller.stopped = True
            if not caller.waiting:
                task.cancel()
        await _until(lambda: not self._callers, self._plan.retry.max_wait + 1)
        without_result = [*self._callers]
        for task in without_result:
            task.cancel()
        return len(without_result)

    async def _leftovers(self) -> list[Figure]:
        """Wait until the provider must have forgotten every key, and count what is left."""
        provider = self._provider
        longest = 3.0 * self._plan.lifetime + provider._manager._renewals.failures_kept
        await _until(lambda: not provider._manager.entries, longest)
        return [
            _zero("entries left after all callers had left", len(provider._manager.entries)),
            _zero("timers left after all callers had left", len(provider._schedule)),
            _zero("flights left after all callers had left", len(provider._manager.flights._tasks)),
        ]


def _happens(random: Random, probability: float) -> bool:
    return random.random() < probability


def _zero(name: str, number: int) -> Figure:
    """Return a count that must be zero."""
    return Figure.count(name, number, "", exactly=0)


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, at most for some seconds."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110 - nothing gives a signal
        await asyncio.sleep(0.05)


def _resident_memory() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
