"""`renewal`: coroutines that ask all the time for tokens that live five seconds, for a minute."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from benchmarks.figures import Figure
from benchmarks.probe import Probe
from benchmarks.report import steps
from benchmarks.server import serve
from okta_tokens import TokenProvider, TokenSource
from okta_tokens.events import Event, RenewalScheduled

_KEYS = 10
_CALLERS = 200
_LIFETIME = 5
_LATENCY = 0.05


async def run(*, short: bool) -> list[Figure]:
    """Measure what callers notice of renewals: nothing, it should be.

    Args:
        short: Whether to ask for less than two lifetimes.
    """
    seconds = 8 if short else 60
    plan = _Plan()
    async with (
        serve(scopes=_KEYS, lifetime=_LIFETIME, latency=_LATENCY) as server,
        aiohttp.ClientSession() as session,
        TokenProvider(observers=[plan]) as provider,
    ):
        client = server.client()
        sources = [provider.source(client, f"s{number}") for number in range(_KEYS)]
        await provider.warm(*sources)
        callers = [_Caller(sources[number % _KEYS]) for number in range(_CALLERS)]
        end = time.monotonic() + seconds
        tasks = [asyncio.create_task(caller.ask(end)) for caller in callers]
        url = f"{server.origin}/resource"
        for _ in steps("renewal", seconds):
            # The server judges, too: it knows best which tokens have expired.
            for source in sources:
                token = await source.get_token()
                headers = {"Authorization": token.authorization}
                async with session.get(url, headers=headers) as response:
                    await response.read()
            await asyncio.sleep(1)
        await asyncio.gather(*tasks)
        due = plan.due(time.monotonic())
        counts = await server.counts()
    gets = sum(caller.gets for caller in callers)
    return [
        Figure.single(f"gets of {_CALLERS} callers in {seconds} s", gets, ""),
        Figure.count(
            "gets that suspended", sum(caller.suspended for caller in callers), "", exactly=0
        ),
        Figure.count(
            "gets of an expired token", sum(caller.expired for caller in callers), "", exactly=0
        ),
        Figure.count("expired tokens at the server", counts["expired_tokens_seen"], "", exactly=0),
        Figure.count(
            f"requests, {_KEYS + due} asked for by the policy's own instants",
            counts["token_requests"],
            "",
            at_most=1.1 * (_KEYS + due),
        ),
    ]


class _Plan:
    """An observer that keeps at which instants renewals are to begin."""

    def __init__(self) -> None:
        self._instants: list[float] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, RenewalScheduled):
            self._instants.append(time.monotonic() + event.after)

    def due(self, now: float) -> int:
        """Return how many of them have come."""
        return sum(instant <= now for instant in self._instants)


class _Caller:
    """A coroutine that asks for a token again and again, and what it noticed."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.gets = 0
        self.suspended = 0
        self.expired = 0

    async def ask(self, end: float) -> None:
        """Ask until an instant of the monotonic clock."""
        while time.monotonic() < end:
            probe = Probe(self._source.get_token())
            token = await probe
            self.gets += 1
            self.suspended += probe.suspended
            self.expired += token.remaining() <= 0
            await asyncio.sleep(0)  # a hit does not let others run
