"""Helpers of the tests that run a provider against a sandbox."""

import asyncio
import os
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from okta_tokens import (
    AccessToken,
    ClientAuthentication,
    ClientSecretBasic,
    Clock,
    DPoP,
    OktaClient,
    RefreshPolicy,
    RetryPolicy,
    TokenProvider,
    TokenSource,
)
from okta_tokens.events import AttemptFailed, Event, Observer
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox, SandboxClient
from tests.clock import ManualClock, settle
from tests.stores.support import MemoryTokenStore

CLIENT_ID = "0oa1client"
SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
SCOPES = ("a", "b", "c", "okta.users.read")

UVLOOP = os.environ.get("OKTA_TOKENS_UVLOOP") == "1"
"""Whether the tests run on the event loop of uvloop."""

E = TypeVar("E", bound=Event)
T = TypeVar("T")


@dataclass
class World:
    """A provider on a manual clock, and the sandbox that it requests tokens from."""

    clock: ManualClock
    sandbox: Sandbox
    provider: TokenProvider
    client: OktaClient
    events: list[Event] = field(default_factory=list)
    store: MemoryTokenStore | None = None

    def source(self, scopes: str = "a", *, keep_fresh: bool = False) -> TokenSource:
        """Return a source of the provider for the client."""
        return self.provider.source(self.client, scopes, keep_fresh=keep_fresh)

    def seen(self, kind: type[E]) -> list[E]:
        """Return the events of one class, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    async def requests(self, number: int) -> None:
        """Wait until the sandbox has received a number of token requests."""
        await until(lambda: self.sandbox.token_requests >= number)

    async def failures(self, number: int) -> None:
        """Wait until a number of requests have failed."""
        await until(lambda: len(self.seen(AttemptFailed)) >= number)

    async def all_attempts(self) -> None:
        """Let a fetch fail as often as the default policy allows: wait out each delay."""
        for number in range(1, RetryPolicy().attempts + 1):
            await self.failures(number)
            await self.clock.advance(5)

    async def advance(self, seconds: float) -> None:
        """Move time forward; at each stop, wait in real time for the responses to requests."""
        await self.clock.advance(seconds, self.quiet)

    def is_idle(self) -> bool:
        """Return whether no flight is under way."""
        return not self.provider.stats().in_flight

    async def quiet(self) -> None:
        """Wait until no flight is under way, or a caller waits for one."""
        await settle()
        await until(
            lambda: not self.provider.stats().in_flight or bool(self.provider.stats().waiters)
        )
        await settle()


@asynccontextmanager
async def world(  # noqa: PLR0913 - each option is set by some test
    *,
    lifetime: int = 3600,
    lifetimes: dict[str, int] | None = None,
    sandbox: Sandbox | None = None,
    refresh: RefreshPolicy | None = None,
    retry: RetryPolicy | None = None,
    max_tokens: int = 10_000,
    max_concurrent_requests: int = 8,
    app: SandboxClient | None = None,
    authentication: ClientAuthentication | None = None,
    dpop: DPoP | None = None,
    signed_tokens: bool = False,
    store: Callable[[Clock], MemoryTokenStore] | None = None,
    observers: Iterable[Observer] = (),
) -> AsyncIterator[World]:
    """Run a sandbox and a provider on a manual clock.

    Args:
        lifetime: The lifetime of tokens, in seconds.
        lifetimes: The lifetime by scopes, in seconds.
        sandbox: The sandbox; by default a new one.
        refresh: The refresh policy of the provider.
        retry: The retry policy of the provider.
        max_tokens: The limit of the provider.
        max_concurrent_requests: The limit of the provider.
        app: The client in the sandbox; by default one with `SECRET`.
        authentication: The authentication of the client; by default with `SECRET`.
        dpop: The DPoP key of the client.
        signed_tokens: Whether the sandbox issues signed tokens.
        store: A function that makes the store of the provider; `None` for no store.
        observers: More observers of the provider.
    """
    clock = ManualClock()
    app = app or SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES, integration=True)
    okta = sandbox or Sandbox(
        [app],
        lifetime=lifetime,
        lifetimes=lifetimes or {},
        wall_time=clock.wall_time,
        signed_tokens=signed_tokens,
    )
    events: list[Event] = []
    made = None if store is None else store(clock)
    async with (
        okta,
        TokenProvider(
            clock=clock,
            observers=[events.append, *observers],
            refresh=refresh,
            retry=retry,
            max_tokens=max_tokens,
            max_concurrent_requests=max_concurrent_requests,
            store=made,
        ) as provider,
    ):
        method = authentication or ClientSecretBasic(SECRET)
        client = OktaClient(okta.origin, CLIENT_ID, method, dpop=dpop)
        yield World(clock, okta, provider, client, events, made)


def default_client(sandbox: Sandbox) -> OktaClient:
    """Return the client that every sandbox knows."""
    secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
    return OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, secret)


@asynccontextmanager
async def listen(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve connections; at the end, abort each one and wait for its coroutine.

    Args:
        serve: Serves one connection.
        host: The address to listen on.
        port: The port; 0 for any free one.
        tls: The TLS settings of the server, if it has TLS.

    Yields:
        The port.
    """
    open_connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        open_connections[task] = writer
        try:
            await serve(reader, writer)
        except RuntimeError:  # of uvloop, for a write after the end
            if not writer.is_closing():
                raise
        finally:
            del open_connections[task]

    server = await asyncio.start_server(run, host, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_connections.values():
            writer.transport.abort()
        if open_connections:
            await asyncio.wait([*open_connections], timeout=5)
        await asyncio.sleep(0)  # aborted connections are freed


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait in real time until a condition holds; fail after a number of seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"the condition did not hold within {seconds} s"
        await asyncio.sleep(0.001)


def at_once(call: Coroutine[Any, Any, T]) -> T:
    """Return the result of a call that does not suspend; fail if it suspends."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    call.close()
    raise AssertionError("the call suspended")


def resolve_names(monkeypatch: pytest.MonkeyPatch, address: str) -> list[str]:
    """Make every name an address of this machine, on the running loop; return the names asked for.

    Args:
        monkeypatch: Ends it with the test.
        address: The address.
    """
    loop, names = asyncio.get_running_loop(), list[str]()
    real = loop.getaddrinfo

    async def find(host: Any, port: Any, **options: int) -> Any:  # noqa: ANN401 - asyncio's
        if host in {"127.0.0.1", "::1", address}:
            return await real(host, port, **options)
        names.append(host if isinstance(host, str) else host.decode())
        return await real(address, port, **options)

    monkeypatch.setattr(loop, "getaddrinfo", find)
    return names


async def value_of(call: Coroutine[Any, Any, AccessToken]) -> str:
    """Return the value of the token that a call returns."""
    return (await call).value


SCRIPT_HEAD = """
import asyncio, logging, os, sys
from functools import partial
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.errors import ProviderStateError
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox

# The log goes nowhere, so that stderr has only what is unexpected.
logging.getLogger("okta_tokens").addHandler(logging.NullHandler())

if os.environ.get("OKTA_TOKENS_UVLOOP") == "1":
    import uvloop, warnings
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # from 3.14 on
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

def client_of(sandbox, secret=DEFAULT_CLIENT.secrets[0]):
    return OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, ClientSecretBasic(secret))

async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)

async def expect_state_error(call, reason):
    try:
        async with asyncio.timeout(5):
            await call()
    except ProviderStateError as error:
        assert reason in str(error), error
    else:
        raise AssertionError(call)
"""
"""The first lines of each script."""


def run_script(path: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a new Python interpreter in which every warning is an error.

    Args:
        path: The file to write the script to.
        script: The lines that follow `SCRIPT_HEAD`.
        *arguments: The command-line arguments of the script.
    """
    path.write_text(SCRIPT_HEAD + textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, "-W", "error", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


def unexpected_output(stderr: str) -> str:
    """Return the text of stderr without the lines in which debug mode reports slow steps."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("Executing <"))
