"""What tests of the whole share: a sandbox, a provider on a clock that they move, and patience."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

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
from okta_tokens.events import AttemptFailed, Event
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox, SandboxClient
from tests.clock import ManualClock, settle
from tests.stores.support import MemoryTokenStore

CLIENT_ID = "0oa1client"
SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
SCOPES = ("a", "b", "c", "okta.users.read")

UVLOOP = os.environ.get("OKTA_TOKENS_UVLOOP") == "1"
"""Whether the tests run on uvloop's event loop."""

T = TypeVar("T")


@dataclass
class World:
    """A provider on a clock of the test's, and the sandbox that it asks."""

    clock: ManualClock
    sandbox: Sandbox
    provider: TokenProvider
    client: OktaClient
    events: list[Event] = field(default_factory=list)
    store: MemoryTokenStore | None = None

    def source(self, scopes: str = "a", *, keep_fresh: bool = False) -> TokenSource:
        """Return a source of the provider's for the client."""
        return self.provider.source(self.client, scopes, keep_fresh=keep_fresh)

    def seen(self, kind: type[Event]) -> list[Event]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if type(event) is kind]

    async def requests(self, number: int) -> None:
        """Wait until the sandbox has received so many token requests."""
        await until(lambda: self.sandbox.token_requests >= number)

    async def failures(self, number: int) -> None:
        """Wait until so many requests have failed."""
        await until(lambda: len(self.seen(AttemptFailed)) >= number)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and at each stop let requests be answered: they take no time."""
        await self.clock.advance(seconds, self.quiet)

    def is_idle(self) -> bool:
        """Tell whether no fetch is under way."""
        return not self.provider.stats().in_flight

    async def quiet(self) -> None:
        """Wait until no fetch is under way, save one that somebody waits for."""
        await settle()
        await until(
            lambda: not self.provider.stats().in_flight or bool(self.provider.stats().waiters)
        )
        await settle()


@asynccontextmanager
async def world(  # noqa: PLR0913 - each is what some test chooses
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
) -> AsyncIterator[World]:
    """Run a sandbox and a provider whose time is the test's.

    Args:
        lifetime: Of tokens, in seconds.
        lifetimes: By scopes, in seconds.
        sandbox: Another sandbox than a new one.
        refresh: The provider's.
        retry: The provider's.
        max_tokens: The provider's.
        max_concurrent_requests: The provider's.
        app: The client as the sandbox knows it; one with a secret if None.
        authentication: How the client authenticates; with that secret if None.
        dpop: The client's.
        signed_tokens: The sandbox's.
        store: Makes the provider's store; it has none if None.
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
            observers=[events.append],
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


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something on a real socket, in real time, which should take a few milliseconds."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + seconds
    while not condition():
        assert loop.time() < give_up, "it did not happen in time"
        await asyncio.sleep(0.001)


def at_once(call: Coroutine[Any, Any, T]) -> T:
    """Return what a call returns without suspending; fail if it suspends."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    call.close()
    raise AssertionError("the call suspended")


async def value_of(call: Coroutine[Any, Any, AccessToken]) -> str:
    """Return the bare token that a call brings."""
    return (await call).value


SCRIPT_HEAD = """
import asyncio, os, sys
from functools import partial
from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.errors import ProviderStateError
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox

if os.environ.get("OKTA_TOKENS_UVLOOP") == "1":
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

def client_of(sandbox, secret=DEFAULT_CLIENT.secrets[0]):
    return OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, ClientSecretBasic(secret))

async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)

async def refused(call, reason):
    try:
        async with asyncio.timeout(5):
            await call()
    except ProviderStateError as error:
        assert reason in str(error), error
    else:
        raise AssertionError(call)
"""
"""What most scripts begin with."""


def run_script(path: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own, in which every warning is an error.

    Args:
        path: Where to put it.
        script: What follows the head.
        *arguments: What it finds in `sys.argv`.
    """
    path.write_text(SCRIPT_HEAD + textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, "-W", "error", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


def complaints(stderr: str) -> str:
    """Return what a program has written to stderr, save that debug mode found a step slow."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("Executing <"))
