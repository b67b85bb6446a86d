"""Processes that share a store, their callers, and a referee who sees every token that they get."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis, RedisCluster

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey, TokenProvider
from okta_tokens.events import Event, StoreFailed, StoreRecovered
from okta_tokens.sandbox import Sandbox, SandboxClient
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.stores.support import identity_of
from tests.support import CLIENT_ID, SECRET, until

LIFETIME = 3
"""Seconds. A token is renewed when it is between 1.5 s and 2.25 s old."""
LATENCY = 0.02
"""Seconds that Okta takes to respond."""
TIMEOUT = 0.5
"""Seconds that a process waits for the store."""
LONG_TIMEOUT = 5.0
"""The same for tests without an outage: a busy machine does not reach it."""
LEASE = 1.0
"""Seconds that a process waits for another process's fetch."""
LONGEST_WAIT = TIMEOUT + 2 * LEASE + TIMEOUT
"""Seconds that a caller may wait for a token: a call of the store that gets no response, the leases
of two processes that died, and again a call without a response."""
USED = ("used0", "used1")
"""The scopes of the tokens that callers use all the time."""
NEW = tuple(f"new{number}" for number in range(60))
"""Scopes for tokens that no process has."""
_KEYS = [generate_key()]


@dataclass
class Process:
    """A provider that shares tokens, and its events about the store."""

    provider: TokenProvider
    store: RedisTokenStore
    client: OktaClient
    events: list[StoreFailed | StoreRecovered] = field(default_factory=list)

    async def get(self, scope: str) -> str:
        """Return the value of a token."""
        return (await self.provider.get_token(self.client, scope)).value

    @property
    def has_a_store(self) -> bool:
        """Whether no outage of the store lasts."""
        return not self.events or isinstance(self.events[-1], StoreRecovered)

    @property
    def outages(self) -> list[StoreRecovered]:
        """The outages of the store that are over."""
        return [event for event in self.events if isinstance(event, StoreRecovered)]


class Fleet:
    """Processes that share a store.

    Args:
        okta: The Okta that they request tokens from.
        processes: The processes.
    """

    def __init__(self, okta: Sandbox, processes: list[Process]) -> None:
        self.okta = okta
        self.processes = processes
        self._unused = iter(NEW)

    async def requests_for_a_new_token(self) -> int:
        """Let every process get the same new token at once; return how many Okta was asked for."""
        scope = next(self._unused)
        await asyncio.gather(*(process.get(scope) for process in self.processes))
        return _requests_for(self.okta, scope)

    async def assert_unharmed(self, load: Load, alone: int = 1) -> None:
        """Check that no caller waited long, that Okta got few requests, and that tokens are shared.

        Args:
            load: What the callers did.
            alone: How many processes may have requested what one process alone needs.
        """
        print(load)  # noqa: T201 - `pytest -s` shows it
        assert load.longest_wait < LONGEST_WAIT
        assert load.requests <= alone * load.requests_of_one + load.requests_in_outages
        assert await self.requests_for_a_new_token() == 1

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[Load]:
        """Let callers of every process use tokens all the time; judge every token."""
        identity = identity_of(TokenKey(self.processes[0].client, frozenset(USED)))
        for process in self.processes:
            await process.store.load(identity)  # connects, for which a busy machine takes long
        for scope in USED:
            await asyncio.gather(*(process.get(scope) for process in self.processes))
        load = Load(self)
        async with asyncio.TaskGroup() as callers:
            for process in self.processes:
                for scope in USED:
                    callers.create_task(load.use(process, scope))
            yield load
            load.end()


class Load:
    """Callers that use tokens all the time.

    Args:
        fleet: The processes of the callers.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._okta = fleet.okta
        self._processes = fleet.processes
        self._began = time.monotonic()
        self._requests = _requests_for(self._okta, *USED)
        self.seconds = 0.0
        """For how long the callers used tokens."""
        self.longest_wait = 0.0
        """Seconds that a caller waited for a token."""

    @property
    def requests(self) -> int:
        """How many requests for their tokens Okta has received since the callers began."""
        return _requests_for(self._okta, *USED) - self._requests

    @property
    def requests_of_one(self) -> float:
        """How many token requests one process alone would have made in this time, at most."""
        return _requests_of_one(self.seconds)

    @property
    def requests_in_outages(self) -> float:
        """How many token requests the processes made during the outages of their store, at most."""
        return sum(map(_requests_of_one, self._outages()))

    def __str__(self) -> str:
        """Return the figures."""
        outages = ", ".join(f"{seconds:.1f} s" for seconds in self._outages())
        return (
            f"{len(self._processes)} processes, {self.seconds:.1f} s, "
            f"outages of their store: {outages or 'none'}; "
            f"{self.requests} token requests, of one process alone {self.requests_of_one:.0f}; "
            f"longest wait {1000 * self.longest_wait:.1f} ms"
        )

    def _outages(self) -> list[float]:
        return [outage.seconds for process in self._processes for outage in process.outages]

    async def renewals(self, number: int) -> None:
        """Wait until Okta has received some more requests."""
        target = self.requests + number
        await until(lambda: self.requests >= target)

    async def outages(self, processes: Iterable[Process]) -> None:
        """Wait until processes have noticed that they have no store."""
        watched = [*processes]
        await until(lambda: not any(process.has_a_store for process in watched))

    async def recovery(self) -> None:
        """Wait until every process has noticed that it has its store."""
        await until(lambda: all(process.has_a_store for process in self._processes), seconds=40)

    def end(self) -> None:
        """Let every caller end after its next token."""
        self.seconds = time.monotonic() - self._began

    async def use(self, process: Process, scope: str) -> None:
        """Use the tokens of a scope."""
        while not self.seconds:
            start = time.monotonic()
            value = await process.get(scope)
            self.longest_wait = max(self.longest_wait, time.monotonic() - start)
            token = self._okta.tokens.find(value)
            assert token is not None
            assert token.live(self._okta.now())
            await asyncio.sleep(0.005)


def _requests_for(okta: Sandbox, *scopes: str) -> int:
    """Return how many requests for a token of one of some scopes Okta has received."""
    return sum(request.scopes[0] in scopes for request in okta.received)


def _requests_of_one(seconds: float) -> float:
    """Return how many tokens a process alone needs in some seconds, at most."""
    return len(USED) * (1 + seconds / (LIFETIME / 2))


@asynccontextmanager
async def fleet(
    stores: Iterable[str | Redis | RedisCluster],
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - the timeout of the stores
) -> AsyncIterator[Fleet]:
    """Run an Okta, and a process for each client of the store.

    Args:
        stores: The URL or client with which each process uses the store.
        timeout: How many seconds a process waits for the store.
    """
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=[*USED, *NEW])
    lifetimes = dict.fromkeys(USED, LIFETIME)
    async with AsyncExitStack() as stack:
        okta = await stack.enter_async_context(Sandbox([app], lifetimes=lifetimes))
        okta.latency = LATENCY
        client = OktaClient(okta.origin, CLIENT_ID, ClientSecretBasic(SECRET))
        processes = []
        for url_or_client in stores:
            store = await stack.enter_async_context(
                RedisTokenStore(url_or_client, keys=_KEYS, timeout=timeout, lease=LEASE)
            )
            events: list[StoreFailed | StoreRecovered] = []

            def observe(event: Event, events: list[StoreFailed | StoreRecovered] = events) -> None:
                if isinstance(event, StoreFailed | StoreRecovered):
                    events.append(event)

            provider = TokenProvider(store=store, observers=[observe])
            await stack.enter_async_context(provider)
            processes.append(Process(provider, store, client, events))
        yield Fleet(okta, processes)
