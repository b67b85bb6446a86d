"""`outage`: what do callers notice when Okta fails for four minutes?

The outage begins once at each minute of a token's life of an hour. Time is moved, not waited for:
the libraries read a changed wall clock, and the provider has a `ManualClock`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, Self, TypeAlias
from unittest.mock import patch

from benchmarks.figures import Figure
from benchmarks.peers import GoogleAuth, Peer, Target, available
from benchmarks.report import steps
from benchmarks.server import CLIENT_ID, SECRET, Server, serve
from okta_tokens import TokenProvider
from okta_tokens.testing import ManualClock

LIFETIME = 3_600
"""The lifetime of a token in seconds."""

OUTAGE = 240
"""The duration of an outage in seconds."""

INTERVAL = 10
"""The time between two calls of the only caller, in seconds."""

_END = LIFETIME + OUTAGE + 60

Call: TypeAlias = Callable[[], Awaitable[bool]]
"""Gets a token, and tells whether that succeeded."""


class MovedTime:
    """Time that only `advance` moves: the clock of providers, and the wall clock of this process.

    The event loop's time moves along, so that timers of other libraries fire. Enter it once.
    """

    def __init__(self) -> None:
        wall_time, loop = time.time, asyncio.get_running_loop()
        loop_time = loop.time
        self._moved = 0.0
        self.clock = ManualClock(wall=wall_time())
        self._patches: list[Any] = [
            patch("time.time", lambda: wall_time() + self._moved),
            patch.object(loop, "time", lambda: loop_time() + self._moved),
        ]
        if GoogleAuth in available()[0]:  # reads a type of C, which cannot be replaced
            self._patches.append(patch("google.auth._helpers.utcnow", _utcnow))

    def __enter__(self) -> Self:
        """Replace the clocks."""
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the clocks."""
        for each in self._patches:
            each.stop()

    async def advance(self, seconds: float) -> None:
        """Move time.

        Args:
            seconds: How far to move.
        """
        self._moved += seconds
        await self.clock.advance(seconds)


def _utcnow() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC).replace(tzinfo=None)


@dataclass
class Noticed:
    """What callers and Okta notice of some outages.

    Args:
        outages: The number of outages.
        noticed: The number of outages during which a call failed.
        errors: The number of calls that failed.
        requests: The number of token requests, with those before and after an outage.
    """

    outages: int = 0
    noticed: int = 0
    errors: int = 0
    requests: int = 0


async def run(*, short: bool) -> list[Figure]:
    """Count the errors of callers, and the requests.

    Args:
        short: Whether to let the outage begin at a few of the minutes only.
    """
    begins = minutes(short=short)
    async with serve(lifetime=LIFETIME) as server:
        ours = await measure("okta-tokens", own_call, server, begins)
        figures = _figures("okta-tokens", ours, allowed=0)
        for kind in available()[0]:
            theirs = await measure(kind.name, peer_calls(kind), server, begins)
            figures += _figures(kind.name, theirs)
    return figures


def minutes(*, short: bool) -> range:
    """Return the minutes of a token's life at which outages begin.

    Args:
        short: Whether to return a few of them only.
    """
    return range(0, 60, 19) if short else range(60)


def _figures(name: str, result: Noticed, allowed: int | None = None) -> list[Figure]:
    outages = f"{name}, {result.outages} outages"
    return [
        Figure.count(f"{outages}: noticed by a caller", result.noticed, "", exactly=allowed),
        Figure.count(f"{outages}: calls that failed", result.errors, "", exactly=allowed),
        Figure.single(f"{outages}: requests for each", result.requests / result.outages, ""),
    ]


Opener: TypeAlias = Callable[[Server, MovedTime], Any]
"""Returns an async context manager whose value is a `Call`."""


async def measure(name: str, opened: Opener, server: Server, begins: Sequence[int]) -> Noticed:
    """Let Okta fail once at each of some minutes of a token's life.

    Args:
        name: The library's name, for the progress bar.
        opened: Opens the library for one outage.
        server: The authorization server.
        begins: The minutes at which outages begin.
    """
    result = Noticed()
    await server.counts()
    for step in steps(f"outage, {name}", len(begins)):
        with MovedTime() as moved:
            async with opened(server, moved) as call:
                errors = await _errors(call, server, moved, begins[step] * 60)
        result.outages += 1
        result.noticed += errors > 0
        result.errors += errors
        result.requests += (await server.counts())["token_requests"]
    return result


async def _errors(call: Call, server: Server, moved: MovedTime, begin: int) -> int:
    """Call until the token that is fetched first has expired; return the number of errors."""
    errors = 0
    for now in range(0, _END, INTERVAL):
        errors += not await call()
        if now == begin:
            await server.fail("503")
        if now == begin + OUTAGE:
            await server.fail(None)
        await moved.advance(INTERVAL)
    return errors


@asynccontextmanager
async def own_call(server: Server, moved: MovedTime) -> AsyncIterator[Call]:
    """Open a provider; an `Opener`."""
    async with TokenProvider(clock=moved.clock) as provider:
        moved.clock.watch(provider)
        source = provider.source(server.client(), "s0")

        async def call() -> bool:
            token = asyncio.ensure_future(source.get_token())
            await moved.advance(0)
            while not token.done():  # the provider waits between two attempts
                await moved.advance(1)
            return token.exception() is None

        yield call


def peer_calls(kind: type[Peer]) -> Opener:
    """Return an `Opener` of another library.

    Args:
        kind: The library's peer.
    """

    @asynccontextmanager
    async def opened(server: Server, _moved: MovedTime) -> AsyncIterator[Call]:
        peer = kind(Target(server.origin, CLIENT_ID, SECRET))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(peer.aclose)
            get = peer.getter("s0")

            async def call() -> bool:
                try:
                    result = get()
                    if isawaitable(result):
                        await result
                except Exception:  # noqa: BLE001 - each library has its own errors
                    return False
                return True

            yield call

    return opened
