"""The sandbox in its own process, so that its CPU time does not count as the client's."""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

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
"""The faults that a server can have. A token response with `drip` takes about four seconds."""


class Server:
    """A sandbox that runs in another process. `serve` creates it.

    Args:
        origin: The scheme, host and port where the sandbox listens.
        process: The process.
    """

    def __init__(self, origin: str, process: asyncio.subprocess.Process) -> None:
        self.origin = origin
        self.token_url = origin + TOKEN_URL
        self._process = process

    def client(self, secret: str = SECRET, *, number: int = 0) -> OktaClient:
        """Return a client of the server, by default with the correct secret.

        Args:
            secret: The client's secret.
            number: The client's number.
        """
        return client_of(self.origin, secret, number=number)

    async def counts(self) -> dict[str, int]:
        """Return the sandbox's counters since the last call, by their names."""
        return await self._call("counts")

    async def fail_next(self, fault: str, times: int) -> None:
        """Let the next token requests meet a fault.

        Args:
            fault: A name in `FAULTS`.
            times: The number of requests.
        """
        await self._call("fail_next", fault, times)

    async def fail(self, fault: str | None) -> None:
        """Let every token request meet a fault, until the next call.

        Args:
            fault: A name in `FAULTS`; `None` ends all faults, also those of `fail_next`.
        """
        await self._call("fail", fault)

    async def delay(self, low: float, high: float) -> None:
        """Set the latency of token responses to random seconds between two limits.

        Args:
            low: The shortest latency in seconds.
            high: The longest latency in seconds.
        """
        await self._call("delay", low, high)

    async def faults(self) -> dict[str, int]:
        """Return the number of requests that met each fault, by the names in `FAULTS`."""
        return await self._call("faults")

    async def _call(self, *command: object) -> dict[str, int]:
        assert self._process.stdin is not None  # noqa: S101 - narrows the type
        assert self._process.stdout is not None  # noqa: S101 - the same
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
        result: dict[str, int] = json.loads(await self._process.stdout.readline())
        return result


def client_of(origin: str, secret: str = SECRET, *, number: int = 0) -> OktaClient:
    """Return a client of a server, also in another process than the one that runs the server.

    Args:
        origin: The server's scheme, host and port.
        secret: The client's secret.
        number: The client's number.
    """
    return OktaClient(origin, _client_id(number), ClientSecretBasic(secret))


@asynccontextmanager
async def serve(
    *,
    scopes: int = 1,
    lifetime: int = 3600,
    latency: float = 0.0,
    clients: int = 1,
    certificate: str | None = None,
) -> AsyncIterator[Server]:
    """Run a sandbox in another process.

    Args:
        scopes: The number of scopes of each client: `s0`, `s1` and so on.
        lifetime: The tokens' lifetime in seconds.
        latency: The latency of token responses in seconds.
        clients: The number of clients.
        certificate: The file of the server's certificate and private key; with one, the sandbox
            serves HTTPS.
    """
    options = [
        f"--scopes={scopes}",
        f"--lifetime={lifetime}",
        f"--latency={latency}",
        f"--clients={clients}",
    ]
    if certificate is not None:
        options.append(f"--certificate={certificate}")
    async with started("benchmarks.server", *options) as (origin, process):
        yield Server(origin, process)


@asynccontextmanager
async def started(
    module: str, *options: str
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run a server in another process.

    Args:
        module: The program. It must print its origin, and end when its standard input ends.
        *options: The program's command line.

    Returns:
        The server's origin, and the process.
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
            message = f"the process of {module} ended before it printed its origin"
            raise RuntimeError(message)
        yield origin, process
    finally:
        assert process.stdin is not None  # noqa: S101 - narrows the type
        process.stdin.close()
        await process.wait()


class _Commands:
    """The commands that a sandbox's process accepts. `Server` has a method for each command."""

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
        return {name: self._faults.counts_by_name[fault.name] for name, fault in FAULTS.items()}


class _CountingPlan(FaultPlan):
    """A fault plan that counts the requests that met each fault."""

    def __init__(self) -> None:
        super().__init__()
        self.counts_by_name = Counter[str]()

    def take(self, now: float, started_at: float) -> Fault | None:
        fault = super().take(now, started_at)
        if fault is not None:
            self.counts_by_name[fault.name] += 1
        return fault


def _client_id(number: int) -> str:
    return f"{CLIENT_ID}{number or ''}"


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scopes", type=int, required=True)
    parser.add_argument("--lifetime", type=int, required=True)
    parser.add_argument("--latency", type=float, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--certificate", type=Path)
    arguments = parser.parse_args()
    scopes = [f"s{number}" for number in range(arguments.scopes)]
    clients = [
        SandboxClient(_client_id(number), [SECRET], scopes=scopes)
        for number in range(arguments.clients)
    ]
    tls = None if arguments.certificate is None else _context(arguments.certificate)
    async with Sandbox(clients, lifetime=arguments.lifetime, ssl_context=tls) as sandbox:
        sandbox.latency = arguments.latency
        commands = _Commands(sandbox)
        print(sandbox.origin, flush=True)
        # The pipe also ends if the parent process dies.
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, *values = json.loads(line)
            print(json.dumps(getattr(commands, name)(*values)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
