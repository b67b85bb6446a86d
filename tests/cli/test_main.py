"""The command as a whole: help, version, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from okta_tokens import __version__
from okta_tokens.cli import main
from okta_tokens.sandbox import Sandbox
from tests.cli.conftest import interrupting


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the package's version and ends well."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"okta-tokens {__version__}\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command there is nothing to do, and the help says what there is."""
    assert main([]) == 2
    shown = capsys.readouterr()

    assert shown.out == ""
    for command in ("get", "doctor", "sandbox", "demo"):
        assert f"okta-tokens {command}" in shown.err


@pytest.mark.parametrize("command", ["get", "doctor", "sandbox", "store-key", "demo"])
def test_help_has_an_example_and_the_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help of each command has an example and the exit codes, and fits a narrow terminal."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    shown = capsys.readouterr().out

    assert ended.value.code == 0
    assert f"okta-tokens {command}" in shown.partition("example")[2]
    assert "exit codes:" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    "argv",
    [
        ["fetch"],
        ["get", "--secret", "x"],
        ["get", "--timeout", "0"],
        ["get", "--auth-method", "magic"],
        ["get", "--header", "--request", "GET", "https://api.example.com"],
        ["doctor", "--secret", "x"],
        ["doctor", "--timeout", "soon"],
        ["sandbox", "--port", "x"],
        ["demo", "fast"],
    ],
)
def test_unknown_arguments(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments that cannot be understood end with exit code 2 and words on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    shown = capsys.readouterr()

    assert ended.value.code == 2
    assert shown.out == ""
    assert "error: " in shown.err


def test_ctrl_c_ends_quietly(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while a request is under way ends with exit code 130, and without a traceback."""
    with interrupting(configured):
        code = main(["get"])

    assert code == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("configured")
def test_a_reader_that_has_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If nobody reads the output any more, the command ends with 141, and without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        code = main(["get"])

    assert code == 141
    assert capsys.readouterr().err == ""


def test_a_port_that_is_taken(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that another program has ends with exit code 1 and the system's words."""
    code = main(["sandbox", "--port", str(sandbox.port)])
    shown = capsys.readouterr()

    assert code == 1
    assert shown.out == ""
    assert shown.err.startswith("okta-tokens: ")
    assert "in use" in shown.err


def test_the_command_as_a_module() -> None:
    """`python -m okta_tokens.cli` is the command, also where its script is not on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "okta_tokens.cli", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, f"okta-tokens {__version__}\n")
