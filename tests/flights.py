"""A flight that is held where a test wants it: in memory and virtual time, or on a real socket."""

import asyncio
import inspect
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import NoneType
from typing import Any, NamedTuple, cast

import aiohttp
import anyio
from multidict import CIMultiDict

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    DPoP,
    OktaClient,
    TokenProvider,
    TokenSource,
)
from okta_tokens._runtime.flight import SingleFlight
from okta_tokens._runtime.gate import Gate
from okta_tokens.errors import TokenProviderError
from okta_tokens.sandbox import Sandbox
from tests.clock import settle
from tests.simulation.machine import Machine
from tests.support import CLIENT_ID, SECRET, at_once
from tests.suspensions import Moment, Watch, Work

LATENCY = 1 / 64
"""Seconds. Sums of it are exact: no wait is a rounding error short, and taken up once more."""

LIFETIME = 300
"""Seconds for which tokens live."""

LONG = 3600.0
"""Seconds of virtual time, after which something hangs."""

Secret = str | Callable[[], Awaitable[str]]


# Okta


@dataclass(frozen=True)
class Answer:
    """An answer of Okta's, and its body as a stream."""

    status: int
    parts: tuple[bytes, ...] = (b"",)
    headers: Mapping[str, str] = field(default_factory=CIMultiDict)
    seconds: float = LATENCY

    @property
    def content(self) -> "Answer":
        """The stream."""
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body, each of which takes its time."""
        for part in self.parts:
            await asyncio.sleep(LATENCY)
            yield part


class Okta:
    """All of Okta, in memory: what a provider needs of `aiohttp.ClientSession`.

    Args:
        answers: What it sends before it grants tokens.
        parts: In how many the body of the answer with the token comes.
    """

    auth = None
    trust_env = False
    headers: Mapping[str, str] = {}

    def __init__(self, answers: Iterable[Answer], parts: int) -> None:
        self.answers = deque(answers)
        self.requests = 0
        self.connections = 0
        """Those that are in use."""
        self._parts = parts

    @asynccontextmanager
    async def post(
        self, url: str, *, headers: Mapping[str, str], **_: object
    ) -> AsyncIterator[Answer]:
        """Answer a request; the response takes a while to end, as it may with aiohttp."""
        self.requests += 1
        self._kind = "DPoP" if "DPoP" in headers else "Bearer"
        self.connections += 1
        try:
            answer = self.answers.popleft() if self.answers else self._grant()
            await asyncio.sleep(answer.seconds)
            yield answer
            await asyncio.sleep(LATENCY)
        finally:
            self.connections -= 1

    def _grant(self) -> Answer:
        token = {"access_token": f"t{self.requests}", "token_type": self._kind}
        body = json.dumps({**token, "expires_in": LIFETIME}).encode()
        size = -(-len(body) // self._parts)
        return Answer(200, tuple(body[at : at + size] for at in range(0, len(body), size)))


class RealOkta:
    """The sandbox, behind a real session.

    Args:
        sandbox: What is asked.
        provider: Who asks.
    """

    def __init__(self, sandbox: Sandbox, provider: TokenProvider) -> None:
        self._sandbox = sandbox
        self._provider = provider
        self._before = sandbox.token_requests

    @property
    def requests(self) -> int:
        """How many there have been."""
        return self._sandbox.token_requests - self._before

    @property
    def connections(self) -> int:
        """Those that are in use."""
        session = self._provider._registry._session
        return len(session.connector._acquired) if session and session.connector else 0


# Callers


class Caller(NamedTuple):
    """One who waits for a token, and may be made to leave."""

    task: asyncio.Task[AccessToken | None]
    leave: Callable[[], object]


Way = Callable[[TokenSource], Caller]


def by_task(source: TokenSource) -> Caller:
    """Come, to leave when the task is cancelled."""

    async def call() -> AccessToken | None:
        return await source.get_token()

    task = asyncio.create_task(call())
    return Caller(task, task.cancel)


def by_scope(source: TokenSource) -> Caller:
    """Come, to leave when a scope of anyio's is cancelled: each await in it, again and again."""
    scope = anyio.CancelScope()

    async def call() -> AccessToken | None:
        with scope:
            return await source.get_token()
        return None

    return Caller(asyncio.create_task(call()), scope.cancel)


def by_timeout(source: TokenSource) -> Caller:
    """Come, to leave when a time-out of asyncio's is over, which cancels once."""
    limit = asyncio.timeout(None)

    async def call() -> AccessToken | None:
        async with limit:
            return await source.get_token()

    return Caller(asyncio.create_task(call()), partial(limit.reschedule, 0.0))


ENDS: dict[Way, type] = {
    by_task: asyncio.CancelledError,
    by_scope: NoneType,
    by_timeout: TimeoutError,
}
"""What comes of a call whose caller leaves."""


# The provider and its flight


class Left(NamedTuple):
    """What there is besides the test itself."""

    connections: int
    flights: int
    timers: int
    tasks: int
    gates_are_free: bool


CLOSED = Left(connections=0, flights=0, timers=0, tasks=0, gates_are_free=True)


def landed(keys: int) -> Left:
    """Return what there is when all flights have landed: a timer for each key, and the owner."""
    return CLOSED._replace(timers=keys, tasks=1)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a flight comes across on its way.

    Args:
        suspensions: How often it suspends.
        requests: How many there are in all, those of others included.
        answers: Those that come before there is a token.
        parts: In how many the body of the answer with the token comes.
        secret: Of the client.
        crowded: Whether a neighbour has the only place when the flight begins.
        dpop: Whether its token is bound to a key.
        renewal: Whether nobody waits for it.
        error: How it ends, if not with a token.
    """

    suspensions: int = 0
    requests: int = 1
    answers: tuple[Answer, ...] = ()
    parts: int = 1
    secret: Secret = SECRET
    crowded: bool = False
    dpop: bool = False
    renewal: bool = False
    error: type[TokenProviderError] | None = None


@dataclass
class Here:
    """A provider, one of its keys, and a flight for it that is under watch."""

    provider: TokenProvider
    client: OktaClient
    okta: Okta | RealOkta
    watch: Watch = field(default_factory=Watch)
    callers: list[Caller] = field(default_factory=list)
    neighbours: list[Caller] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose the key; remember whose tasks there are."""
        self.source = self.provider.source(self.client, "a")
        owner = cast("asyncio.Task[None]", self.provider._lifecycle._owner)
        self._strangers = asyncio.all_tasks() - {owner}

    def watch_next(self, moment: Moment | None) -> None:
        """Hold the next flight for the key at a moment."""
        self.watch = Watch(moment)
        self.watch.run_next(self._is_meant)

    def _is_meant(self, work: Work) -> bool:
        return (
            getattr(work, "__qualname__", "") == SingleFlight._run.__qualname__
            and inspect.getcoroutinelocals(work)["flight"].key is self.source.key
        )

    async def come(self, way: Way = by_task) -> None:
        """Let three callers come to wait, in one turn."""
        self.callers = [way(self.source) for _ in range(3)]
        await settle()

    async def outcomes(self) -> list[AccessToken | BaseException | None]:
        """Return what the callers got."""
        calls = [caller.task for caller in self.callers]
        return await asyncio.gather(*calls, return_exceptions=True)

    async def landing(self) -> None:
        """Let the flight go on, until it and its neighbour are over."""
        self.watch.release()
        await self.watch.ended.wait()
        await asyncio.gather(*(neighbour.task for neighbour in self.neighbours))
        await settle()

    def left(self) -> Left:
        """Return what there is now."""
        provider = self.provider
        registry = provider._registry
        gates = [vars(endpoint._gate) for endpoint in registry._endpoints.values()]
        unused = vars(Gate(registry._max_concurrent_requests))
        return Left(
            connections=self.okta.connections,
            flights=len(provider._manager.flights.under_way),
            timers=len(provider._schedule),
            tasks=len([*filter(_is_ours, asyncio.all_tasks() - self._strangers)]),
            gates_are_free=all(
                gate == vars(Gate(provider._registry._max_concurrent_requests)) for gate in gates
            ),
        )


def _is_ours(task: asyncio.Task[Any]) -> bool:
    """Tell a task from those of the sandbox's connections."""
    work: Any = task.get_coro()
    return "RequestHandler" not in work.__qualname__


@asynccontextmanager
async def in_memory(scenario: Scenario) -> AsyncIterator[Here]:
    """Run a provider that asks an Okta in memory, on a loop of virtual time.

    At the end, nothing must have gone wrong where nobody can catch it.
    """
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    okta = Okta(scenario.answers, scenario.parts)
    async with (
        asyncio.timeout(LONG),
        TokenProvider(
            session=cast("aiohttp.ClientSession", okta),
            clock=Machine(loop),
            max_concurrent_requests=1 if scenario.crowded else 8,
        ) as provider,
    ):
        client = OktaClient(
            "acme.okta.com",
            CLIENT_ID,
            ClientSecretBasic(scenario.secret),
            dpop=DPoP() if scenario.dpop else None,
        )
        yield Here(provider, client, okta)
    assert errors == []


@asynccontextmanager
async def flight(
    scenario: Scenario, moment: Moment | None = None, way: Way = by_task
) -> AsyncIterator[Here]:
    """Let a flight come to a moment and hold it there, or let it land if there is none.

    Three callers wait for it, unless it is a renewal.
    """
    async with in_memory(scenario) as here:
        if scenario.renewal:
            await here.source.get_token()
            oversleep(here, LIFETIME - 20)
        if scenario.crowded:
            here.neighbours = [by_task(here.provider.source(here.client, "b"))]
            await settle()
        here.watch_next(moment)
        if scenario.renewal:
            at_once(here.source.get_token())
        else:
            await here.come(way)
        await here.watch.reached.wait()
        await settle()
        yield here


def oversleep(here: Here, seconds: float) -> None:
    """Let time pass as while the machine sleeps: whoever is awake comes before any timer."""
    machine = here.provider._clock
    assert isinstance(machine, Machine)
    machine.slept += seconds


@asynccontextmanager
async def on_a_socket(sandbox: Sandbox, moment: Moment) -> AsyncIterator[Here]:
    """Let a flight to a sandbox come to a moment and hold it there; three callers wait for it.

    It lands unheld if it does not suspend so often.
    """
    async with asyncio.timeout(10), TokenProvider() as provider:
        # A name has to be looked up, and may have two addresses, of which one does not answer.
        origin = sandbox.origin.replace("127.0.0.1", "localhost")
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        here = Here(provider, client, RealOkta(sandbox, provider))
        here.watch_next(moment)
        await here.come()
        await here.watch.reached.wait()
        await settle()
        yield here
