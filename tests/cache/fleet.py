"""A few processes in virtual time, each with its own way to Okta, for tests of what they share."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar, cast

import aiohttp

from benchmarks.fleet_world import Fault, Okta, Period, Response
from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import FetchError
from okta_tokens.events import Event
from tests.simulation.machine import Machine, VirtualLoop, run
from tests.stores.support import BasicMemoryStore, MemoryTokenStore

E = TypeVar("E", bound=Event)

ALWAYS = [Period(0.0, 1e9)]


class Line(Okta):
    """The way of one process to Okta, which may be broken.

    Args:
        loop: The event loop.
        name: The name of the process.
    """

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        super().__init__(loop, Random(1))  # noqa: S311 - no cryptography
        self.name = name
        self.takes = 0.1
        """The duration of a request, in seconds."""
        self.retry_after: int | None = None
        """The `Retry-After` of a failure."""

    def fail(self, fault: Fault | None) -> None:
        """Let every request fail from now on; `None` lets them succeed again."""
        self.outages = [] if fault is None else ALWAYS
        self.fault = fault or self.fault

    async def respond(self) -> Response:
        """Return a token response, or fail, after the duration of a request."""
        self.sent.append(self._loop.time())
        value = f"{self.name}-{len(self.sent)}"
        await asyncio.sleep(self.takes)
        response = self.response(value)
        if self.outages and self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        return response


@dataclass
class Process:
    """One process of a fleet."""

    line: Line
    provider: TokenProvider
    client: OktaClient
    events: list[Event]

    def source(self, scopes: str = "orders:read") -> TokenSource:
        """Return a source of the provider."""
        return self.provider.source(self.client, scopes)

    async def get(self, scopes: str = "orders:read") -> AccessToken:
        """Return a token."""
        return await self.source(scopes).get_token()

    async def error(self, scopes: str = "orders:read") -> FetchError:
        """Return the error that a caller gets."""
        try:
            token = await self.get(scopes)
        except FetchError as error:
            return error
        raise AssertionError(token)

    def seen(self, kind: type[E]) -> list[E]:
        """Return the events of a class, without its subclasses."""
        return [event for event in self.events if type(event) is kind]


@dataclass
class World:
    """The virtual time, the store and the processes of a test."""

    loop: VirtualLoop
    store: BasicMemoryStore
    processes: list[Process] = field(default_factory=list)

    @property
    def sent(self) -> list[float]:
        """When requests were sent, by any process."""
        return sorted(instant for process in self.processes for instant in process.line.sent)

    def fail(self, fault: Fault | None) -> None:
        """Let the requests of all processes fail from now on, or succeed again."""
        for process in self.processes:
            process.line.fail(fault)

    @asynccontextmanager
    async def fleet(self, number: int, **options: object) -> AsyncIterator[list[Process]]:
        """Run some processes, with options of `TokenProvider`."""
        if not number:
            yield []
            return
        name = f"p{number}"
        line, events = Line(self.loop, name), list[Event]()
        secret = ClientSecretBasic("secret")
        async with TokenProvider(
            session=cast("aiohttp.ClientSession", line),
            store=self.store,
            clock=Machine(self.loop),
            observers=[events.append],
            **options,  # type: ignore[arg-type]  # as the caller says
        ) as provider:
            client = OktaClient("acme.okta.com", "0oa1", secret)
            process = Process(line, provider, client, events)
            self.processes.append(process)
            async with self.fleet(number - 1, **options) as others:
                yield [process, *others]


def in_virtual_time(
    test: Callable[[World], Awaitable[None]],
    kind: type[BasicMemoryStore] = MemoryTokenStore,
) -> Callable[[], None]:
    """Make a test that runs in virtual time."""

    async def main() -> None:
        loop = cast("VirtualLoop", asyncio.get_running_loop())
        await test(World(loop, kind(Machine(loop))))

    @functools.wraps(test)
    def wrapper() -> None:
        logging.disable()
        try:
            run(main())
        finally:
            logging.disable(logging.NOTSET)

    del wrapper.__wrapped__  # pytest looks at its parameters
    return wrapper
