"""`renewal`: what do busy callers notice of renewals?"""

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
    """Count the calls that suspend, or return an expired token, while tokens are renewed.

    Args:
        short: Whether to run for less than two lifetimes.
    """
    seconds = 8 if short else 60
    schedule = _RenewalSchedule()
    async with (
        serve(scopes=_KEYS, lifetime=_LIFETIME, latency=_LATENCY) as server,
        aiohttp.ClientSession() as session,
        TokenProvider(observers=[schedule]) as provider,
    ):
        client = server.client()
        sources = [provider.source(client, f"s{number}") for number in range(_KEYS)]
        await provider.warm(*sources)
        callers = [_Caller(sources[number % _KEYS]) for number in range(_CALLERS)]
        end = time.monotonic() + seconds
        tasks = [asyncio.create_task(caller.run(end)) for caller in callers]
        url = f"{server.origin}/resource"
        for _ in steps("renewal", seconds):
            # The server checks the expiry by its own clock.
            for source in sources:
                token = await source.get_token()
                headers = {"Authorization": token.authorization}
                async with session.get(url, headers=headers) as response:
                    await response.read()
            await asyncio.sleep(1)
        await asyncio.gather(*tasks)
        due = schedule.due(time.monotonic())
        counts = await server.counts()
    calls = sum(caller.calls for caller in callers)
    return [
        Figure.single(f"calls of {_CALLERS} callers in {seconds} s", calls, ""),
        Figure.count(
            "calls that suspended", sum(caller.suspended for caller in callers), "", exactly=0
        ),
        Figure.count(
            "calls that returned an expired token",
            sum(caller.expired for caller in callers),
            "",
            exactly=0,
        ),
        Figure.count(
            "expired tokens that the server received", counts["expired_tokens_seen"], "", exactly=0
        ),
        Figure.count(
            f"requests, of which the policy requires {_KEYS + due}",
            counts["token_requests"],
            "",
            at_most=1.1 * (_KEYS + due),
        ),
    ]


class _RenewalSchedule:
    """An observer that records the scheduled instants of renewals."""

    def __init__(self) -> None:
        self._instants: list[float] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, RenewalScheduled):
            self._instants.append(time.monotonic() + event.after)

    def due(self, now: float) -> int:
        """Return the number of instants that have passed."""
        return sum(instant <= now for instant in self._instants)


class _Caller:
    """A caller that gets a token repeatedly, and counts what it notices."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.calls = 0
        self.suspended = 0
        self.expired = 0

    async def run(self, end: float) -> None:
        """Get tokens until an instant of the monotonic clock."""
        while time.monotonic() < end:
            probe = Probe(self._source.get_token())
            token = await probe
            self.calls += 1
            self.suspended += probe.suspended
            self.expired += token.remaining() <= 0
            await asyncio.sleep(0)  # a hit does not let other coroutines run
