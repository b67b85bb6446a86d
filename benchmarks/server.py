"""The sandbox in a process of its own, so that its work is not counted as the client's."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from okta_tokens import ClientSecretBasic, OktaClient
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from okta_tokens.sandbox._faults import FaultPlan

CLIENT_ID = "0oabenchmarks"
SECRET = "benchmark-secret-as-long-as-those-that-okta-generates-for-apps-x"  # noqa: S105 - known to a server on this machine only
TOKEN_URL = "/oauth2/default/v1/token"  # noqa: S105 - a path

FAULTS = {
    "500": Fault.status(500),
    "503": Fault.status(503, html=True),
    "page": Fault.html(),
    "junk": Fault.junk(),
    "empty": Fault.empty(),
    "huge": Fault.huge(),
    "drip": Fault.drip(0.02),
    "drop": Fault.drop(),
    "truncate": Fault.truncate(),
    "redirect": Fault.redirect("/login"),
    "429": Fault.rate_limited(reset_in=1),
    "429 crowded": Fault.concurrency_limited(),
}
"""What can be told to go wrong, by its name. A true token that drips takes some four seconds."""


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

    def client(self, secret: str = SECRET, *, number: int = 0) -> OktaClient:
        """Return a client that the server knows, or one with a wrong secret.

        Args:
            secret: Its secret.
            number: Which of the clients.
        """
        return client_of(self.origin, secret, number=number)

    async def counts(self) -> dict[str, int]:
        """Return what the server has counted since it was last asked, by the sandbox's names."""
        return await self._tell("counts")

    async def fail_next(self, fault: str, times: int) -> None:
        """Let something go wrong with the next token requests.

        Args:
            fault: What, of `FAULTS`.
            times: With how many of them.
        """
        await self._tell("fail_next", fault, times)

    async def fail(self, fault: str | None) -> None:
        """Let something go wrong with every token request, until told otherwise.

        Args:
            fault: What, of `FAULTS`; None: nothing, also of what is yet to go wrong.
        """
        await self._tell("fail", fault)

    async def delay(self, low: float, high: float) -> None:
        """Let each answer to a token request take so many seconds, or anything between.

        Args:
            low: At least.
            high: At most.
        """
        await self._tell("delay", low, high)

    async def faults(self) -> dict[str, int]:
        """Return with how many requests what has gone wrong, by the names of `FAULTS`."""
        return await self._tell("faults")

    async def _tell(self, *what: object) -> dict[str, int]:
        assert self._process.stdin is not None  # noqa: S101 - narrows the type
        assert self._process.stdout is not None  # noqa: S101 - the same
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        await self._process.stdin.drain()
        answer: dict[str, int] = json.loads(await self._process.stdout.readline())
        return answer


def client_of(origin: str, secret: str = SECRET, *, number: int = 0) -> OktaClient:
    """Return a client that a server knows, also in another process.

    Args:
        origin: Where the server listens.
        secret: Its secret.
        number: Which of the clients.
    """
    return OktaClient(origin, _client_id(number), ClientSecretBasic(secret))


@asynccontextmanager
async def serve(
    *, scopes: int = 1, lifetime: int = 3600, latency: float = 0.0, clients: int = 1
) -> AsyncIterator[Server]:
    """Run a sandbox in another process.

    Args:
        scopes: How many scopes its clients have: `s0`, `s1` and so on.
        lifetime: Seconds that a token lives.
        latency: Seconds that it takes to answer a token request.
        clients: How many clients it knows.
    """
    options = (
        f"--scopes={scopes}",
        f"--lifetime={lifetime}",
        f"--latency={latency}",
        f"--clients={clients}",
    )
    async with started("benchmarks.server", *options) as (origin, process):
        yield Server(origin, process)


@asynccontextmanager
async def started(
    module: str, *options: str
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run a server in another process.

    Args:
        module: Is run as a program; prints where it listens, and ends when its input does.
        *options: Its command line.

    Returns:
        Where it listens, and the process.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - narrows the type
        origin = (await process.stdout.readline()).decode().strip()
        if not origin:
            message = f"the process of {module} ended before it listened"
            raise RuntimeError(message)
        yield origin, process
    finally:
        assert process.stdin is not None  # noqa: S101 - narrows the type
        process.stdin.close()
        await process.wait()


class _Told:
    """What a sandbox can be told, by the names of `Server`'s methods."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._faults = sandbox.faults = _CountingPlan()

    def counts(self) -> dict[str, int]:
        names = ("token_requests", "resource_calls", "resource_refused", "expired_tokens_seen")
        counts = {name: getattr(self._sandbox, name) for name in names}
        self._sandbox.reset_counters()
        return counts

    def fail_next(self, fault: str, times: int) -> None:
        self._sandbox.fail_next(*[FAULTS[fault]] * times)

    def fail(self, fault: str | None) -> None:
        self._sandbox.fault = None if fault is None else FAULTS[fault]
        if fault is None:
            self._faults.queue.clear()

    def delay(self, low: float, high: float) -> None:
        self._sandbox.latency = low, high

    def faults(self) -> dict[str, int]:
        return {name: self._faults.taken[fault.name] for name, fault in FAULTS.items()}


class _CountingPlan(FaultPlan):
    """Faults, and how many requests met each."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = Counter[str]()

    def take(self, uptime: float) -> Fault | None:
        fault = super().take(uptime)
        if fault is not None:
            self.taken[fault.name] += 1
        return fault


def _client_id(number: int) -> str:
    return f"{CLIENT_ID}{number or ''}"


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scopes", type=int, required=True)
    parser.add_argument("--lifetime", type=int, required=True)
    parser.add_argument("--latency", type=float, required=True)
    parser.add_argument("--clients", type=int, required=True)
    arguments = parser.parse_args()
    scopes = [f"s{number}" for number in range(arguments.scopes)]
    clients = [
        SandboxClient(_client_id(number), [SECRET], scopes=scopes)
        for number in range(arguments.clients)
    ]
    async with Sandbox(clients, lifetime=arguments.lifetime) as sandbox:
        sandbox.latency = arguments.latency
        told = _Told(sandbox)
        print(sandbox.origin, flush=True)
        # Whoever asks closes the pipe at the end, also by dying.
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, *arguments_of = json.loads(line)
            print(json.dumps(getattr(told, name)(*arguments_of)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
