"""The help of each command."""

from __future__ import annotations

import re
import shlex
from collections import Counter

import pytest

from okta_tokens import cli
from okta_tokens.cli._console import EXIT_CODES
from tests.cli.test_parser import COMMANDS
from tests.command_lines import offences
from tests.pages import page

PROGRAMS = ("okta-tokens ", "openssl ", "jq ", "curl ")


def help_of(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Return the help of a command on a terminal of a width."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split(), "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_exit_codes(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help of each command has an example, which hides its secrets, and the exit codes."""
    shown = help_of(command, 80, monkeypatch, capsys)

    assert f"okta-tokens {command}" in shown.partition("example")[2]
    assert all(f"\n  {code:<3}  " in shown.partition("exit codes:")[2] for code in EXIT_CODES)
    assert offences(shown) == []


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_the_terminal(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help fits 80 columns; in 60 columns, only lines to copy are longer."""
    wide, narrow = (help_of(command, columns, monkeypatch, capsys) for columns in (80, 60))
    text = narrow.partition("\n\n")[2]  # up to Python 3.12, a group in the usage is not wrapped
    longer = [line for line in text.splitlines() if len(line) > 60]

    assert narrow.split() == wide.split()
    assert [line for line in wide.splitlines() if len(line) > 80] == []
    assert [line for line in longer if not line.lstrip().startswith(PROGRAMS)] == []


def test_the_first_screen_lists_each_command_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first screen has each command once, in a group, with one example that is valid."""
    shown = help_of("", 80, monkeypatch, capsys)
    groups = re.findall(r"^([^\n]+):\n((?: .+\n)+)", shown.partition("options:")[0], re.MULTILINE)
    rows = [row for _, text in groups for row in re.findall(r"^  (\S+)", text, re.MULTILINE)]
    examples = re.findall(r"^ {10,}okta-tokens (.+)$", shown, re.MULTILINE)
    for example in examples:
        cli._make_parser().parse_args(shlex.split(example))

    assert [title for title, _ in groups] == ["try it, without an Okta org", "use it", "operate it"]
    top_level = Counter(command for command in COMMANDS if " " not in command)
    assert Counter(rows) == top_level
    assert Counter(example.split()[0] for example in examples) == top_level


def test_the_guide_has_the_exit_codes() -> None:
    """The table of exit codes in the guide is the one that the command prints."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", page("cli"), flags=re.MULTILINE)

    assert rows == [(str(code), meaning) for code, meaning in EXIT_CODES.items()]
