"""The command as a whole: help, version, exit codes."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from okta_tokens import __version__
from okta_tokens.cli import main
from okta_tokens.sandbox import Sandbox
from tests.cli.conftest import CLIENT_ID, SECRET, interrupting
from tests.command_lines import offences


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the package's version and exits with 0."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"okta-tokens {__version__}\n"


def test_help_is_printed_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the help goes to standard error, and the exit code is 2."""
    assert main([]) == 2
    shown = capsys.readouterr()

    assert shown.out == ""
    for command in ("get", "doctor", "sandbox", "store-key", "demo"):
        assert f"okta-tokens {command}" in shown.err


@pytest.mark.parametrize("command", ["get", "doctor"])
@pytest.mark.parametrize("flags", [[], ["--dpop"], ["--scope", "b"], ["--kid", "x"]], ids=str)
@pytest.mark.parametrize("secret", ["", "wrong"])
def test_no_hint_shows_a_secret_as_an_argument(
    configured: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    flags: list[str],
    secret: str,
) -> None:
    """No report, remedy or hint tells a person to put a secret or a token on a command line."""
    if secret:
        monkeypatch.setenv("OKTA_CLIENT_SECRET", secret)
    main([command, *flags])
    shown = capsys.readouterr()

    assert configured.token_requests or "--kid" in flags
    assert offences(shown.out, shown.err) == []


@pytest.mark.parametrize("command", [["get"], ["doctor"], ["doctor", "--json"]], ids=str)
@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        ([], "OKTA_CLIENT_CLIENTID (or --client-id)"),
        (["--auth-method", "client_secret_post"], "OKTA_CLIENT_CLIENTID (or --client-id)"),
        (["--client-id", SECRET], "--client-id"),
    ],
)
def test_a_client_id_and_a_secret_in_each_others_place_are_not_shown(
    configured: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    flags: list[str],
    setting: str,
) -> None:
    """If a person exchanges the id and the secret, the report says so and shows neither."""
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", SECRET)
    monkeypatch.setenv("OKTA_CLIENT_SECRET", CLIENT_ID)
    code = main([*command, *flags])
    shown = capsys.readouterr()

    assert code == 2
    assert f"{setting}: is in the place of the secret" in shown.out + shown.err
    assert SECRET not in shown.out + shown.err
    assert configured.token_requests == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["fetch"],
        ["get", "--secret", "x"],
        ["get", "--timeout", "0"],
        ["get", "--auth-method", "magic"],
        ["get", "--header", "--request", "GET", "https://api.example.com"],
        ["get", "--header", "--json"],
        ["doctor", "--secret", "x"],
        ["sandbox", "--port", "x"],
        ["demo", "fast"],
    ],
)
def test_invalid_arguments_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid arguments end with exit code 2 and a message on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    shown = capsys.readouterr()

    assert ended.value.code == 2
    assert shown.out == ""
    assert "error: " in shown.err


def test_ctrl_c_exits_with_130(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C during a request ends with exit code 130 and without a traceback."""
    with interrupting(configured):
        code = main(["get"])

    assert code == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("configured")
def test_a_closed_pipe_exits_with_141(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the reader has closed the pipe, the exit code is 141 and there is no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        code = main(["get"])

    assert code == 141
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("configured")
def test_a_closed_pipe_of_windows_exits_with_141(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On Windows a closed pipe is another error, and has the same exit code."""

    class ClosedPipe(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

        def fileno(self) -> int:
            return descriptor.fileno()

    monkeypatch.setattr("okta_tokens.cli._CLOSED_PIPE", (errno.EPIPE, errno.EINVAL))
    with Path(os.devnull).open("w") as descriptor:
        monkeypatch.setattr(sys, "stdout", ClosedPipe())
        code = main(["get"])

    assert code == 141
    assert capsys.readouterr().err == ""


def test_a_port_in_use_exits_with_1(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that another program uses ends with exit code 1 and the system's message."""
    code = main(["sandbox", "--port", str(sandbox.port)])
    shown = capsys.readouterr()

    assert code == 1
    assert shown.out == ""
    assert shown.err.startswith("okta-tokens: ")
    assert "in use" in shown.err


def test_the_command_runs_as_a_module() -> None:
    """`python -m okta_tokens.cli` runs the command if its script is not on the `PATH`."""
    done = subprocess.run(
        [sys.executable, "-m", "okta_tokens.cli", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, f"okta-tokens {__version__}\n")
