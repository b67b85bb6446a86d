"""The processes of a fleet: each receives commands and sends results as lines of JSON.

One process loads the modules and forks the others, because they would all load the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from hashlib import sha256
from typing import Any

from benchmarks.report import quiet
from benchmarks.server import client_of
from okta_tokens import OktaClient, TokenProvider, TokenSource
from okta_tokens.events import Event, TokenFetched, TokenRequested
from okta_tokens.stores.redis import RedisTokenStore

_CALL_INTERVAL = 0.005


class _Process:
    """The state of the process. Its methods are the commands. `get` creates a new provider.

    Args:
        url: The URL of the store.
        origin: The origin of the server.
        store: More arguments of the store.
    """

    def __init__(self, url: str, origin: str, store: dict[str, Any]) -> None:
        self._url = url
        self._client: OktaClient = client_of(origin)
        self._options = store
        self._provider: TokenProvider | None = None
        self._source: TokenSource | None = None
        self._announcing = False
        self._request: float | None = None
        self.stack = AsyncExitStack()

    async def get(
        self, scope: str, *, at: float | None = None, announce: bool = False
    ) -> dict[str, object]:
        """Get a token by a new provider, as after the start of a process.

        Args:
            scope: The scope of the token.
            at: The instant, in seconds of monotonic time; None for now.
            announce: Whether to tell when the process sends a request.

        Returns:
            The fingerprint of the token, the seconds until it was there, and those of the request,
            if the process made one.
        """
        await self.stack.aclose()
        self._announcing, self._request = announce, None
        begun = time.monotonic() if at is None else at
        enter = self.stack.enter_async_context
        store = await enter(RedisTokenStore(self._url, **self._options))
        self._provider = await enter(TokenProvider(store=store, observers=[self._observe]))
        self._source = self._provider.source(self._client, scope)
        await asyncio.sleep(begun - time.monotonic())
        token = await self._source.get_token()
        seconds = time.monotonic() - begun
        await asyncio.sleep(0)  # events come later
        fingerprint = _fingerprint(token.value)
        return {"token": fingerprint, "seconds": seconds, "request": self._request}

    async def hold(self) -> dict[str, object]:
        """Get the token of the provider that the process has."""
        assert self._source is not None  # noqa: S101 - a `get` command comes before
        return {"token": _fingerprint((await self._source.get_token()).value)}

    async def drop(self, how: str) -> dict[str, object]:
        """Invalidate or revoke the token that the process holds."""
        assert self._provider is not None  # noqa: S101 - a `get` command comes before
        assert self._source is not None  # noqa: S101 - the same
        token = self._source.peek()
        assert token is not None  # noqa: S101 - the same
        begun = time.monotonic()
        if how == "invalidate":
            self._provider.invalidate(token)
        else:
            await self._provider.revoke(token)
        return {"begun": begun}

    async def watch(self, token: str) -> dict[str, object]:
        """Wait until the process no longer holds a token, for 20 seconds at most."""
        assert self._source is not None  # noqa: S101 - a `get` command comes before
        end = time.monotonic() + 20
        while time.monotonic() < end:
            held = self._source.peek()
            if held is None or _fingerprint(held.value) != token:
                break
            await asyncio.sleep(_CALL_INTERVAL)
        return {"dropped": time.monotonic()}

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
        if isinstance(event, TokenFetched):
            self._request = event.duration


def _fingerprint(value: str) -> str:
    return sha256(value.encode()).hexdigest()


def _send(result: dict[str, object]) -> None:
    print(json.dumps(result), flush=True)


async def _main() -> None:
    _, arguments = json.loads(sys.stdin.readline())
    process = _Process(**arguments)
    _send({"pid": os.getpid()})
    async with process.stack:
        # The connection also ends if the process that gives the commands dies.
        while line := await asyncio.to_thread(sys.stdin.readline):
            command, arguments = json.loads(line)
            _send(await getattr(process, command)(**arguments))


def main(connections: list[int]) -> None:
    """Run a process for each connection, and wait for all of them.

    Args:
        connections: The descriptors of the connections.
    """
    for connection in connections:
        if os.fork() == 0:
            for stream in (sys.stdin, sys.stdout):
                os.dup2(connection, stream.fileno())
            _close(connections)
            with quiet():
                asyncio.run(_main())
            return
    _close(connections)
    for _ in connections:
        os.wait()


def _close(connections: list[int]) -> None:
    for connection in connections:
        os.close(connection)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
