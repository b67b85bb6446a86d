"""An Okta and a store in virtual time, which fail at given times, for fleets of real providers."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Awaitable, Collection, Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from random import Random
from typing import Literal

import aiohttp
from multidict import CIMultiDict

from okta_tokens.stores import StoreIdentity
from tests.simulation.machine import NEW_YEAR, VirtualLoop
from tests.stores.support import MemoryTokenStore

Fault = Literal["refused", "unavailable", "rate limited", "wrong secret"]
_REFUSALS: Mapping[Fault, tuple[int, dict[str, str]]] = {
    "unavailable": (503, {"errorCode": "E0000009", "errorSummary": "Internal Server Error"}),
    "rate limited": (
        429,
        {"errorCode": "E0000047", "errorSummary": "API call exceeded rate limit"},
    ),
    "wrong secret": (401, {"error": "invalid_client", "error_description": "Invalid secret."}),
}

LIFETIME = 3_600
_MINUTE = 60
_SILENCE_NOTICED = 20.0
"""Seconds after which a process notices that a connection for notifications is silent."""


@dataclass(frozen=True)
class Period:
    """A period of virtual time, in seconds.

    Args:
        begin: Its beginning.
        end: Its end.
        fault: What happens to requests meanwhile, if it is an outage of Okta.
    """

    begin: float
    end: float
    fault: Fault | None = None

    def covers(self, now: float) -> bool:
        """Tell whether a moment is in the period."""
        return self.begin <= now < self.end


@dataclass(frozen=True)
class Failover(Period):
    """A period without the primary of a store, after which a replica takes its place.

    Args:
        lost: The seconds before the period whose writes the replica has not received.
        hangs: Whether calls meanwhile hang instead of failing.
    """

    lost: float = 0.0
    hangs: bool = False


def covers(periods: Iterable[Period], now: float) -> bool:
    """Tell whether one of some periods covers a moment."""
    return any(period.covers(now) for period in periods)


class Okta:
    """A token endpoint in memory: the part of `aiohttp.ClientSession` that the provider uses."""

    def __init__(self, loop: VirtualLoop, chance: Random) -> None:
        self._loop = loop
        self._chance = chance
        self.outages: Collection[Period] = ()
        self.fault: Fault = "refused"
        """What happens to a request during an outage that does not say it."""
        self.lifetime = LIFETIME
        self.sent: list[float] = []
        """When each request was sent, in seconds."""
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
        self.sent.append(self._loop.time())
        value = f"token-{len(self.sent)}"
        await asyncio.sleep(0.03 + self._chance.expovariate(10))
        return self.response(value)

    def response(self, value: str) -> Response:
        """Return a response with a token, or fail during an outage, without waiting."""
        now = self._loop.time()
        date = formatdate(NEW_YEAR + now, usegmt=True)
        outage = next((outage for outage in self.outages if outage.covers(now)), None)
        if outage is not None:
            fault = outage.fault or self.fault
            if fault == "refused":
                raise aiohttp.ClientOSError(111, "refused")
            status, error = _REFUSALS[fault]
            response = Response(json.dumps(error).encode(), date, status)
            if fault == "rate limited":
                reset = (int(NEW_YEAR + now) // _MINUTE + 1) * _MINUTE
                response.headers["X-Rate-Limit-Reset"] = str(reset)
            return response
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


class FleetClock:
    """The clocks of a machine that never sleeps; the wall clock has an error.

    Unlike `Machine` it waits in one piece, which halves the time of a simulation.

    Args:
        loop: The event loop.
        ahead: By how many seconds the wall clock is ahead.
    """

    def __init__(self, loop: VirtualLoop, ahead: float = 0.0) -> None:
        self.boot_time = loop.time
        self.wall_time = lambda: NEW_YEAR + loop.now + ahead

    async def sleep_until(self, instant: float) -> None:
        """Wait until an instant of boot time."""
        delay = instant - self.boot_time()
        if delay == math.inf:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(max(0.0, delay))


class Store(MemoryTokenStore):
    """A store in virtual time that sometimes fails, sometimes hangs, and sometimes fails over.

    Args:
        loop: The event loop.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(FleetClock(loop))
        self.timeout = 0.5
        self.commands: Counter[str] = Counter()
        """The number of calls of each method."""
        self.commands_at: Counter[int] = Counter()
        """The number of calls in each second."""
        self.messages = 0
        """The number of notifications that processes received."""
        self.outages: Collection[Period] = ()
        self.silences: Iterable[Period] = ()
        self.failovers: Iterable[Failover] = ()

    def holds(self, now: float) -> bool:
        """Tell whether the store holds a token that has not expired and was not cleared."""
        cleared = max((at for at, _ in self.clearings.values()), default=-math.inf)
        return any(
            end > now and token.expires_at - token.lifetime > cleared
            for token, end in self.tokens.values()
        )

    def notify(self, identity: StoreIdentity) -> None:
        """Notify the processes, and count them."""
        self.messages += len(self.subscriptions)
        super().notify(identity)

    async def run(self) -> None:
        """Break the connections for notifications when the store fails, and lose writes."""
        events: list[tuple[float, Awaitable[None]]] = [
            *((each.begin, self._break()) for each in self.outages),
            *((each.begin + _SILENCE_NOTICED, self._break()) for each in self.silences),
            *((each.begin - each.lost, self._fail_over(each)) for each in self.failovers),
        ]
        await asyncio.gather(*(self._at(instant, event) for instant, event in events))

    async def _at(self, instant: float, event: Awaitable[None]) -> None:
        await self._clock.sleep_until(instant)
        await event

    async def _break(self) -> None:
        self.disconnect()

    async def _fail_over(self, failover: Failover) -> None:
        tables = (self.tokens, self.discarded, self.leases, self.pauses)
        more = (self.failures, self.rejections, self.clearings)
        state = [(table, {**table}) for table in (*tables, *more)]
        await self._clock.sleep_until(failover.begin)
        self.disconnect()
        await self._clock.sleep_until(failover.end)
        if failover.lost:
            for table, entries in state:
                table.clear()
                table.update(entries)

    async def _now(self, call: str) -> float:
        self.commands[call] += 1
        now = self._clock.boot_time()
        self.commands_at[int(now)] += 1
        await asyncio.sleep(0.001)
        now = self._clock.boot_time()
        failover = next((each for each in self.failovers if each.covers(now)), None)
        if covers(self.silences, now) or (failover is not None and failover.hangs):
            await asyncio.get_running_loop().create_future()
        if failover is not None or covers(self.outages, now):
            raise ConnectionError(call)
        return now
