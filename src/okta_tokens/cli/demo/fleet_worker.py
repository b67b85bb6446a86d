"""A process of the demo's fleet: it gets, uses and revokes tokens, as the demo commands.

The program imports everything once, and forks a process for each member of the fleet.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from hashlib import sha256

import aiohttp

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.cli._console import silence_log
from okta_tokens.cli.demo.fleet_processes import Report
from okta_tokens.errors import FetchError
from okta_tokens.stores.redis import RedisTokenStore

_INTERVAL = 0.02
"""Seconds between two calls."""
_PATIENCE = 30.0
"""Seconds for which a process waits for another token."""
_API_CALLS = 5


class Worker:
    """Runs the commands of the demo: each method that returns a report is one.

    Args:
        demo: Ends when the demo has ended.
        stack: Closes what the worker opened.
    """

    def __init__(self, demo: asyncio.StreamReader, stack: AsyncExitStack) -> None:
        self._demo = demo
        self._stack = stack

    async def start(
        self, *, origin: str, client_id: str, secret: str, store: str, keys: list[str]
    ) -> Report:
        """Start a provider.

        Args:
            origin: The origin of the sandbox.
            client_id: The id of the client.
            secret: The secret of the client.
            store: The URL of the store; empty for none.
            keys: The keys of the store.
        """
        shared = None
        if store:
            # A long timeout, since the whole fleet may share two cores with other programs.
            shared = RedisTokenStore(store, keys=keys, timeout=5)
            await self._stack.enter_async_context(shared)
        self._client = OktaClient(origin, client_id, ClientSecretBasic(secret))
        self._provider = await self._stack.enter_async_context(TokenProvider(store=shared))
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
        return Report()

    async def get(self, *, scopes: str) -> Report:
        """Get a token.

        Args:
            scopes: The scopes.
        """
        try:
            token = await self._provider.get_token(self._client, scopes)
        except FetchError:
            return Report(calls=1, errors=1)
        return Report(_fingerprint(token), calls=1)

    async def use(self, *, scopes: str, old: str) -> Report:
        """Get a token again and again, until it is another one.

        Args:
            scopes: The scopes.
            old: The fingerprint of the old token.
        """
        calls = errors = 0
        end = asyncio.get_running_loop().time() + _PATIENCE
        while asyncio.get_running_loop().time() < end and not self._demo.at_eof():
            report = await self.get(scopes=scopes)
            calls, errors = calls + report.calls, errors + report.errors
            if report.token not in {"", old}:
                return Report(report.token, calls, errors)
            await asyncio.sleep(_INTERVAL)
        return Report("", calls, errors)

    async def revoke(self, *, scopes: str, url: str) -> Report:
        """Revoke the token, and call the API with the revoked token.

        Args:
            scopes: The scopes.
            url: The URL of the API.
        """
        token = await self._provider.get_token(self._client, scopes)
        await self._provider.revoke(token)
        return await self._call(url, token)

    async def call_api(self, *, scopes: str, url: str) -> Report:
        """Call the API several times, each time with the token that the provider returns.

        Args:
            scopes: The scopes.
            url: The URL of the API.
        """
        calls = errors = 0
        for _ in range(_API_CALLS):
            token = await self._provider.get_token(self._client, scopes)
            report = await self._call(url, token)
            calls, errors = calls + report.calls, errors + report.errors
            await asyncio.sleep(_INTERVAL)
        return Report(calls=calls, errors=errors)

    async def _call(self, url: str, token: AccessToken) -> Report:
        headers = {"Authorization": token.authorization}
        async with self._session.get(url, headers=headers) as response:
            return Report(calls=1, errors=int(not response.ok))


def _fingerprint(token: AccessToken) -> str:
    return sha256(token.value.encode()).hexdigest()


async def _serve(socket: str) -> None:
    """Connect to the demo, and run its commands until it closes the connection, or ends."""
    reader, writer = await asyncio.open_unix_connection(socket)
    async with AsyncExitStack() as stack:
        worker = Worker(reader, stack)
        while line := await reader.readline():
            command, arguments = json.loads(line)
            report: Report = await getattr(worker, command)(**arguments)
            writer.write(f"{json.dumps(asdict(report))}\n".encode())
    writer.close()


def main() -> None:
    """Fork the processes, and wait for their end."""
    socket, count = sys.argv[1:]
    silence_log()
    for _ in range(int(count)):
        if os.fork() == 0:
            asyncio.run(_serve(socket))
            os._exit(0)  # a forked process need not tidy up what its parent imported
    # The first process that fails ends the wait, so that the demo does not wait for it.
    sys.exit(any(os.wait()[1] for _ in range(int(count))))
