"""A process of a fleet: receives commands and prints results as lines of JSON."""

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

_CALL_INTERVAL = 0.005


class _Process:
    """The state of the process. Each `get` command creates a new provider."""

    def __init__(self, url: str, keys: list[str], client: OktaClient) -> None:
        self._url = url
        self._keys = keys
        self._client = client
        self._source: TokenSource | None = None
        self._announcing = False
        self.stack = AsyncExitStack()

    async def get(self, scope: str, *, announce: bool = False) -> dict[str, object]:
        """Get a token by a new provider, as after the start of a process."""
        self._announcing = announce
        await self.stack.aclose()
        begun = time.perf_counter()
        enter = self.stack.enter_async_context
        store = await enter(RedisTokenStore(self._url, keys=self._keys))
        provider = await enter(TokenProvider(store=store, observers=[self._observe]))
        self._source = provider.source(self._client, scope)
        token = await self._source.get_token()
        seconds = time.perf_counter() - begun
        return {"token": _fingerprint(token.value), "seconds": seconds}

    async def run(self, seconds: float) -> dict[str, object]:
        """Get tokens for some time; count the calls that suspend or return an expired token."""
        assert self._source is not None  # noqa: S101 - a `get` command comes before
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
            await asyncio.sleep(_CALL_INTERVAL)
        return {"calls": calls, "late": late, "tokens": [*map(_fingerprint, tokens)]}

    def _observe(self, event: Event) -> None:
        if self._announcing and isinstance(event, TokenRequested):
            _send({"announced": True})


def _fingerprint(value: str) -> str:
    return sha256(value.encode()).hexdigest()


def _send(result: dict[str, object]) -> None:
    print(json.dumps(result), flush=True)


async def _main() -> None:
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    client = client_of(settings["origin"])
    process = _Process(settings["url"], settings["keys"], client)
    _send({"ready": True})
    async with process.stack:
        # The pipe also ends if the parent process dies.
        while line := await asyncio.to_thread(sys.stdin.readline):
            command: dict[str, Any] = json.loads(line)
            if "get" in command:
                _send(await process.get(command["get"], announce=command.get("announce", False)))
            else:
                _send(await process.run(command["run"]))


if __name__ == "__main__":
    with quiet():
        asyncio.run(_main())
