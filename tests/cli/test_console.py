"""Output that is safe on every terminal."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from okta_tokens import cli
from okta_tokens.cli import main
from okta_tokens.cli._console import print_error, wants_color

ONLY_POSIX = {
    *("fcntl", "termios", "tty", "pty", "pwd", "grp", "syslog"),
    *("fork", "killpg", "getuid", "geteuid", "setsid", "openpty", "mkfifo", "uname"),
    *(
        "SIGHUP",
        "SIGKILL",
        "SIGALRM",
        "SIGUSR1",
        "SIGPIPE",
        "SIGWINCH",
        "setitimer",
        "pthread_kill",
    ),
    *("add_signal_handler", "remove_signal_handler", "create_unix_server", "open_unix_connection"),
}


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Text from a server cannot control the terminal."""
    print_error("no \x1b[2Jtoken", "  Server: \x9b31m\r\u202eevil ü")

    assert capsys.readouterr().err == (
        "okta-tokens: no \\x1b[2Jtoken\n  Server: \\x9b31m\\r\\u202eevil ü\n"
    )


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("ascii", rb"from b\xfccher-\u66f8.yaml"), ("cp437", b"from b\x81cher-\\u66f8.yaml")],
)
@pytest.mark.parametrize("command", ["get", "doctor"])
def test_a_character_without_a_code_is_escaped(
    encoding: str,
    expected: bytes,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Text that the console's encoding cannot show ends no command."""
    output = io.BytesIO()
    stream = io.TextIOWrapper(output, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)

    assert main([command, "--file", "bücher-書.yaml"]) == 2
    stream.flush()
    assert expected in output.getvalue()


def test_every_help_is_printed_in_ascii() -> None:
    """A console that knows only ASCII shows the help as it is."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(
        [sys.executable, "-m", "okta_tokens.cli"],
        capture_output=True,
        env=environment,
        check=False,
    )

    assert done.returncode == 2
    assert b"okta-tokens doctor" in done.stderr
    assert b"\\" not in done.stderr


def test_nothing_is_used_that_only_posix_has() -> None:
    """The command uses no module, function or signal that Windows lacks, but in `demo --fleet`."""
    used = set()
    paths = Path(cli.__path__[0]).rglob("*.py")
    for path in (path for path in paths if not path.name.startswith("fleet")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            used |= {vars(node).get(field) for field in ("attr", "id", "name", "module")}

    assert used & ONLY_POSIX == set()
    assert {"signal", "SIGTERM", "argparse", "print"} <= used


@pytest.mark.parametrize(
    ("variables", "color"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"CLICOLOR": "0"}, False),
        ({"CLICOLOR": "1"}, True),
        ({"CLICOLOR": "0", "FORCE_COLOR": "1"}, True),
    ],
)
def test_colors_follow_the_conventions(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, color: bool
) -> None:
    """NO_COLOR wins over FORCE_COLOR, and FORCE_COLOR over CLICOLOR."""
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert wants_color() is color
