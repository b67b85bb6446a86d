"""Flights that a test holds at a suspension: in memory and virtual time, or on a real socket."""

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
from okta_tokens._runtime.single_flight import SingleFlight
from okta_tokens.errors import TokenProviderError
from okta_tokens.sandbox import Sandbox
from tests.clock import settle
from tests.simulation.machine import Machine
from tests.streams import Stream
from tests.support import CLIENT_ID, SECRET, at_once
from tests.suspensions import Moment, Watch, Work

LATENCY = 1 / 64
"""Seconds of each wait. Sums of this number are exact, so no wait ends a rounding error early."""

LIFETIME = 300
"""The lifetime of tokens, in seconds."""

LONG = 3600.0
"""Seconds of virtual time after which a test has hung."""

Secret = str | Callable[[], Awaitable[str]]


# Okta


@dataclass(frozen=True)
class Response:
    """A response of Okta."""

    status: int
    parts: tuple[bytes, ...] = (b"",)
    headers: Mapping[str, str] = field(default_factory=CIMultiDict)
    seconds: float = LATENCY

    @property
    def content(self) -> Stream:
        """The stream of the body."""
        return Stream(self._parts())

    async def _parts(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body, each after `LATENCY`."""
        for part in self.parts:
            await asyncio.sleep(LATENCY)
            yield part


class Okta:
    """An Okta in memory that stands in for `aiohttp.ClientSession`.

    Args:
        responses: The responses before the first response with a token.
        parts: The number of parts of the body with the token.
    """

    auth = None
    trust_env = False
    headers: Mapping[str, str] = {}

    def __init__(self, responses: Iterable[Response], parts: int) -> None:
        self.responses = deque(responses)
        self.requests = 0
        self.connections = 0
        """The number of connections in use."""
        self._parts = parts

    @asynccontextmanager
    async def post(
        self, url: str, *, headers: Mapping[str, str], **_: object
    ) -> AsyncIterator[Response]:
        """Respond to a request; the end of the response takes `LATENCY`, as it may with aiohttp."""
        self.requests += 1
        self._kind = "DPoP" if "DPoP" in headers else "Bearer"
        self.connections += 1
        try:
            response = self.responses.popleft() if self.responses else self._token_response()
            await asyncio.sleep(response.seconds)
            yield response
            await asyncio.sleep(LATENCY)
        finally:
            self.connections -= 1

    def _token_response(self) -> Response:
        token = {"access_token": f"t{self.requests}", "token_type": self._kind}
        body = json.dumps({**token, "expires_in": LIFETIME}).encode()
        size = -(-len(body) // self._parts)
        return Response(200, tuple(body[at : at + size] for at in range(0, len(body), size)))


class RealOkta:
    """The requests and connections of a provider with a real session and a sandbox.

    Args:
        sandbox: The sandbox that receives the requests.
        provider: The provider that sends them.
    """

    def __init__(self, sandbox: Sandbox, provider: TokenProvider) -> None:
        self._sandbox = sandbox
        self._provider = provider
        self._before = sandbox.token_requests

    @property
    def requests(self) -> int:
        """The number of requests of this provider."""
        return self._sandbox.token_requests - self._before

    @property
    def connections(self) -> int:
        """The number of connections in use."""
        session = self._provider._registry._session
        return len(session.connector._acquired) if session and session.connector else 0


# Callers


class Caller(NamedTuple):
    """A task that waits for a token, and the function that makes it leave."""

    task: asyncio.Task[AccessToken | None]
    leave: Callable[[], object]


Way = Callable[[TokenSource], Caller]


def by_task(source: TokenSource) -> Caller:
    """Start a caller that leaves because its task is cancelled."""

    async def call() -> AccessToken | None:
        return await source.get_token()

    task = asyncio.create_task(call())
    return Caller(task, task.cancel)


def by_scope(source: TokenSource) -> Caller:
    """Start a caller that leaves because an anyio scope is cancelled, which cancels each await."""
    scope = anyio.CancelScope()

    async def call() -> AccessToken | None:
        with scope:
            return await source.get_token()
        return None

    return Caller(asyncio.create_task(call()), scope.cancel)


def by_timeout(source: TokenSource) -> Caller:
    """Start a caller that leaves because an asyncio timeout expires, which cancels once."""
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
"""The type of the result of a caller that leaves, by way of leaving."""


# The provider and its flight


class Resources(NamedTuple):
    """The resources that a provider uses."""

    connections: int
    flights: int
    timers: int
    tasks: int
    gates_are_free: bool


CLOSED = Resources(connections=0, flights=0, timers=0, tasks=0, gates_are_free=True)


def landed(keys: int) -> Resources:
    """Return the resources after all flights have landed: a timer for each key, and the owner."""
    return CLOSED._replace(timers=keys, tasks=1)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The course of a flight.

    Args:
        suspensions: How often the flight suspends.
        requests: The number of requests, with those of other flights.
        responses: The responses before the first response with a token.
        parts: The number of parts of the body with the token.
        secret: The secret of the client.
        crowded: Whether another flight holds the only place when this one begins.
        dpop: Whether the token is bound to a key.
        renewal: Whether the flight is a renewal.
        error: The error that ends the flight; `None` if it ends with a token.
    """

    suspensions: int = 0
    requests: int = 1
    responses: tuple[Response, ...] = ()
    parts: int = 1
    secret: Secret = SECRET
    crowded: bool = False
    dpop: bool = False
    renewal: bool = False
    error: type[TokenProviderError] | None = None


@dataclass
class FlightWorld:
    """A provider, one of its keys, and the watched flight of this key."""

    provider: TokenProvider
    client: OktaClient
    okta: Okta | RealOkta
    watch: Watch = field(default_factory=Watch)
    callers: list[Caller] = field(default_factory=list)
    other_callers: list[Caller] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose the key, and note which tasks do not belong to the provider."""
        self.source = self.provider.source(self.client, "a")
        owner = cast("asyncio.Task[None]", self.provider._lifecycle._owner)
        self._other_tasks = asyncio.all_tasks() - {owner}

    def watch_next(self, moment: Moment | None) -> None:
        """Watch the next flight for the key, and hold it at a moment."""
        self.watch = Watch(moment)
        self.watch.run_next(self._is_flight_for_key)

    def _is_flight_for_key(self, work: Work) -> bool:
        return (
            getattr(work, "__qualname__", "") == SingleFlight._run.__qualname__
            and inspect.getcoroutinelocals(work)["flight"].key is self.source.key
        )

    async def start_callers(self, way: Way = by_task) -> None:
        """Start three callers in one turn of the event loop."""
        self.callers = [way(self.source) for _ in range(3)]
        await settle()

    async def results(self) -> list[AccessToken | BaseException | None]:
        """Return the tokens and errors of the callers."""
        calls = [caller.task for caller in self.callers]
        return await asyncio.gather(*calls, return_exceptions=True)

    async def land(self) -> None:
        """Release the flight, and wait until it and the other flights have landed."""
        self.watch.release()
        await self.watch.ended.wait()
        await asyncio.gather(*(other.task for other in self.other_callers))
        await settle()

    def resources(self) -> Resources:
        """Return the resources that the provider uses now."""
        provider = self.provider
        registry = provider._registry
        gates = [endpoint._gate for endpoint in registry._endpoints.values()]
        return Resources(
            connections=self.okta.connections,
            flights=len(provider._manager.flights.under_way),
            timers=len(provider._schedule),
            tasks=len([*filter(_is_no_handler, asyncio.all_tasks() - self._other_tasks)]),
            gates_are_free=all(gate.is_empty for gate in gates),
        )


def _is_no_handler(task: asyncio.Task[Any]) -> bool:
    """Return whether a task is none of the tasks in which the sandbox handles requests."""
    work: Any = task.get_coro()
    return "RequestHandler" not in work.__qualname__


@asynccontextmanager
async def in_memory(scenario: Scenario) -> AsyncIterator[FlightWorld]:
    """Run a provider with an Okta in memory, on an event loop with virtual time.

    At the end, the exception handler of the event loop must not have been called.
    """
    loop = asyncio.get_running_loop()
    unhandled: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    okta = Okta(scenario.responses, scenario.parts)
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
        yield FlightWorld(provider, client, okta)
    assert unhandled == []


@asynccontextmanager
async def flight(
    scenario: Scenario, moment: Moment | None = None, way: Way = by_task
) -> AsyncIterator[FlightWorld]:
    """Run a flight to a moment and hold it there; without a moment, let it land.

    Three callers wait for the flight unless it is a renewal.
    """
    async with in_memory(scenario) as here:
        if scenario.renewal:
            await here.source.get_token()
            oversleep(here, LIFETIME - 20)
        if scenario.crowded:
            here.other_callers = [by_task(here.provider.source(here.client, "b"))]
            await settle()
        here.watch_next(moment)
        if scenario.renewal:
            at_once(here.source.get_token())
        else:
            await here.start_callers(way)
        await here.watch.reached.wait()
        await settle()
        yield here


def oversleep(here: FlightWorld, seconds: float) -> None:
    """Move time forward as while the machine sleeps: ready tasks run before timers fire."""
    machine = here.provider._clock
    assert isinstance(machine, Machine)
    machine.slept += seconds


@asynccontextmanager
async def on_a_socket(sandbox: Sandbox, moment: Moment) -> AsyncIterator[FlightWorld]:
    """Run a flight to a sandbox up to a moment and hold it there; three callers wait for it.

    If the flight suspends less often, it lands.
    """
    async with asyncio.timeout(10), TokenProvider() as provider:
        # A name needs a lookup, and may have an address on which the sandbox does not listen.
        origin = sandbox.origin.replace("127.0.0.1", "localhost")
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        here = FlightWorld(provider, client, RealOkta(sandbox, provider))
        here.watch_next(moment)
        await here.start_callers()
        await here.watch.reached.wait()
        await settle()
        yield here
