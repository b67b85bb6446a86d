"""Fixtures for the tests of the command: a clean environment, and a sandbox with its own loop."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from okta_tokens.sandbox import Sandbox, SandboxClient

CLIENT_ID = "0oaclient"
SECRET = "Canary-Secret-1c7e9a5b3d2f4e6a"


class Terminal(io.StringIO):
    """A terminal without a person: it has no input, and it keeps what is written to it."""

    def isatty(self) -> bool:
        """Claim to be a terminal."""
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove Okta's variables from the environment, and make a home directory without files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [*os.environ]:
        if name.startswith("OKTA_"):
            monkeypatch.delenv(name)


@pytest.fixture
def without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate that the extra for stores is not installed."""
    for name in [name for name in sys.modules if name.startswith("okta_tokens.stores")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Run a sandbox in its own thread and loop, since the command runs a loop itself."""
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=["orders:read", "a"], integration=True)
    server = Sandbox([app], default_scopes=["a"], lifetimes={"orders:read a": 300})
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield server
        asyncio.run_coroutine_threadsafe(server.aclose(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def configured(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Set the environment's variables to the sandbox and its client."""
    monkeypatch.setenv("OKTA_CLIENT_ORGURL", sandbox.origin)
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", CLIENT_ID)
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    return sandbox


@contextmanager
def interrupting(sandbox: Sandbox) -> Iterator[None]:
    """Send the main thread a Ctrl-C as soon as a token request has arrived."""
    sandbox.latency = 60.0
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def interrupt() -> None:
        while not sandbox.token_requests:
            time.sleep(0.005)
        signal.pthread_kill(main_thread, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    yield
    interrupter.join()
