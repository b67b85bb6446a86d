"""The sandbox in a process of its own, so that its work is not counted as the client's."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from okta_tokens import ClientSecretBasic, OktaClient
from okta_tokens.sandbox import Sandbox, SandboxClient

CLIENT_ID = "0oabenchmarks"
SECRET = "benchmark-secret-as-long-as-those-that-okta-generates-for-apps-x"  # noqa: S105 - known to a server on this machine only
TOKEN_URL = "/oauth2/default/v1/token"  # noqa: S105 - a path


class Server:
    """A sandbox that runs in another process; made by `serve`.

    Args:
        origin: Where it listens.
        process: The process.
    """

    def __init__(self, origin: str, process: asyncio.subprocess.Process) -> None:
        self.origin = origin
        self.token_url = origin + TOKEN_URL
        self._process = process

    def client(self, secret: str = SECRET) -> OktaClient:
        """Return a client that the server knows, or one with a wrong secret.

        Args:
            secret: Its secret.
        """
        return OktaClient(self.origin, CLIENT_ID, ClientSecretBasic(secret))

    async def counts(self) -> dict[str, int]:
        """Return what the server has counted since it was last asked, by the sandbox's names."""
        assert self._process.stdin is not None  # noqa: S101 - narrows the type
        assert self._process.stdout is not None  # noqa: S101 - the same
        self._process.stdin.write(b"counts\n")
        await self._process.stdin.drain()
        counts: dict[str, int] = json.loads(await self._process.stdout.readline())
        return counts


@asynccontextmanager
async def serve(
    *, scopes: int = 1, lifetime: int = 3600, latency: float = 0.0
) -> AsyncIterator[Server]:
    """Run a sandbox in another process.

    Args:
        scopes: How many scopes its client has: `s0`, `s1` and so on.
        lifetime: Seconds that a token lives.
        latency: Seconds that it takes to answer a token request.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.server"),
        *(f"--scopes={scopes}", f"--lifetime={lifetime}", f"--latency={latency}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - narrows the type
        origin = (await process.stdout.readline()).decode().strip()
        if not origin:
            message = "the sandbox's process ended before it listened"
            raise RuntimeError(message)
        yield Server(origin, process)
    finally:
        assert process.stdin is not None  # noqa: S101 - narrows the type
        process.stdin.close()
        await process.wait()


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scopes", type=int, required=True)
    parser.add_argument("--lifetime", type=int, required=True)
    parser.add_argument("--latency", type=float, required=True)
    arguments = parser.parse_args()
    client = SandboxClient(
        CLIENT_ID, [SECRET], scopes=[f"s{number}" for number in range(arguments.scopes)]
    )
    async with Sandbox([client], lifetime=arguments.lifetime) as sandbox:
        sandbox.latency = arguments.latency
        print(sandbox.origin, flush=True)
        # Whoever asks closes the pipe at the end, also by dying.
        while await asyncio.to_thread(sys.stdin.readline):
            names = ("token_requests", "resource_calls", "expired_tokens_seen")
            print(json.dumps({name: getattr(sandbox, name) for name in names}), flush=True)
            sandbox.reset_counters()


if __name__ == "__main__":
    asyncio.run(_main())
