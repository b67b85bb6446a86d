"""One process of a fleet: does what it reads, a line of JSON at a time, and prints what it saw."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from hashlib import sha256
from typing import Any

from benchmarks.report import quiet
from benchmarks.server import client_of
from okta_tokens import OktaClient, TokenProvider, TokenSource
from okta_tokens.events import Event, TokenRequested
from okta_tokens.stores.redis import RedisTokenStore

_BETWEEN_CALLS = 0.005


class _Process:
    """What the process has while it lives; each token that it is told to get has a new provider."""

    def __init__(self, url: str, keys: list[str], client: OktaClient) -> None:
        self._url = url
        self._keys = keys
        self._client = client
        self._source: TokenSource | None = None
        self._announces = False
        self.stack = AsyncExitStack()

    async def get(self, scope: str, *, announce: bool = False) -> dict[str, object]:
        """Get a token as a process does that has just started."""
        self._announces = announce
        await self.stack.aclose()
        begun = time.perf_counter()
        enter = self.stack.enter_async_context
        store = await enter(RedisTokenStore(self._url, keys=self._keys))
        provider = await enter(TokenProvider(store=store, observers=[self._observe]))
        self._source = provider.source(self._client, scope)
        token = await self._source.get_token()
        seconds = time.perf_counter() - begun
        return {"token": _fingerprint(token.value), "seconds": seconds}

    async def live(self, seconds: float) -> dict[str, object]:
        """Call again and again, and count what was not served at once."""
        assert self._source is not None  # noqa: S101 - it was told to get one before
        calls = late = 0
        tokens = set[str]()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            calls += 1
            call = self._source.get_token()
            try:
                call.send(None)
            except StopIteration as done:
                late += done.value.remaining() <= 0
                tokens.add(done.value.value)
            else:
                call.close()
                late += 1
            await asyncio.sleep(_BETWEEN_CALLS)
        return {"calls": calls, "late": late, "tokens": [*map(_fingerprint, tokens)]}

    def _observe(self, event: Event) -> None:
        if self._announces and isinstance(event, TokenRequested):
            _say({"announced": True})


def _fingerprint(value: str) -> str:
    return sha256(value.encode()).hexdigest()


def _say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


async def _main() -> None:
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    client = client_of(told["origin"])
    process = _Process(told["url"], told["keys"], client)
    _say({"ready": True})
    async with process.stack:
        # Whoever tells closes the pipe at the end, also by dying.
        while line := await asyncio.to_thread(sys.stdin.readline):
            what: dict[str, Any] = json.loads(line)
            if "get" in what:
                _say(await process.get(what["get"], announce=what.get("announce", False)))
            else:
                _say(await process.live(what["live"]))


if __name__ == "__main__":
    with quiet():
        asyncio.run(_main())
