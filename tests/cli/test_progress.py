"""What the command is waiting for, on standard error."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from okta_tokens.cli import _progress, main
from okta_tokens.cli._progress import Progress
from okta_tokens.sandbox import Sandbox
from tests.cli.conftest import Terminal


def replace_stderr(monkeypatch: pytest.MonkeyPatch, term: str = "xterm") -> Terminal:
    """Replace standard error by a terminal, and return the terminal."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", term)
    return terminal


@pytest.fixture
def impatient(configured: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Show progress at once, while a sandbox takes a moment for each token response."""
    monkeypatch.setattr(_progress, "_DELAY", 0.0)
    monkeypatch.setattr(_progress, "_INTERVAL", 0.001)
    configured.latency = 0.1
    return configured


def screen(written: str) -> list[str]:
    """Return what a terminal shows after a text in which lines are drawn again."""
    lines = []
    for line in written.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_a_line_appears_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is shown for a second; then one line, which leaves nothing behind."""
    stderr = replace_stderr(monkeypatch)
    now = 0.0
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: now))
    line = Progress("waiting for \x1b")
    now = 0.9
    line.draw()
    assert stderr.getvalue() == ""

    now = 2.1
    line.draw()
    line.draw()
    assert stderr.getvalue() == r"waiting for \x1b: 2 s"

    line.wait_for("checking dns")
    line.draw()
    assert screen(stderr.getvalue()) == [""]


def test_a_line_is_shorter_than_the_terminal_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that the terminal would wrap is cut, so that it can be erased."""
    stderr = replace_stderr(monkeypatch)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(_progress, "_DELAY", 0.0)
    Progress("x" * 40).draw()

    assert stderr.getvalue() == "x" * 19


@pytest.mark.usefixtures("impatient")
def test_get_waits_visibly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`get` says on standard error what it is waiting for; standard output is the document."""
    stderr = replace_stderr(monkeypatch)
    assert main(["get"]) == 0
    assert json.loads(capsys.readouterr().out)["access_token"]
    assert "waiting for a token from 127.0.0.1:" in stderr.getvalue()
    assert screen(stderr.getvalue()) == [""]


@pytest.mark.usefixtures("impatient")
def test_the_doctor_waits_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, the results stay as they are, and the line names the next check."""
    stderr = replace_stderr(monkeypatch)
    monkeypatch.setattr(sys, "stdout", stderr)
    assert main(["doctor"]) == 0
    shown = screen(stderr.getvalue())

    assert "checking endpoint: 0 s" in stderr.getvalue()
    assert [line[2:6] for line in shown[:-3]] == [*["pass"] * 3, "skip", *["pass"] * 8]
    assert shown[-3:] == ["", "no problems found (1 token request)", ""]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("command", [["get"], ["doctor", "--json"]], ids=str)
def test_nothing_is_shown_without_a_terminal(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal, and on one that draws no line again, standard error stays empty."""
    assert main(command) == 0
    assert capsys.readouterr().err == ""

    dumb = replace_stderr(monkeypatch, term="dumb")
    assert main(command) == 0
    assert dumb.getvalue() == ""
