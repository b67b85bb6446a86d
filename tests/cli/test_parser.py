"""No error of the command line repeats a word that was given."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from okta_tokens import cli
from okta_tokens.cli._parser import _without_words

COMMANDS = (
    *("get", "doctor", "sandbox", "store-key", "demo"),
    *("sandbox status", "sandbox fault", "sandbox latency", "sandbox lifetime"),
    *("sandbox clock", "sandbox revoke", "sandbox secret"),
)
SECRETS = (
    "Canary-Secret-5f0c7e1b9d",
    "canarysecretcanarysecret",
    "-Canary-Secret",
    "--Canary_Secret",
    "canary secret: 'x' (choose from a)",
    "9" * 5000,  # a number that int() refuses
    "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n",
)


def flags(command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the flags that the help of a command names."""
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    return sorted(set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out)))


def misuses(flag: str, secret: str) -> Iterator[list[str]]:
    """Yield the words with which a person may give a secret where none belongs."""
    yield [flag, secret]
    yield [flag, secret, secret]
    yield [f"{flag}={secret}"]
    yield [f"{flag}{secret}"]
    yield [flag, "1", secret]


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
@pytest.mark.parametrize("command", COMMANDS)
def test_no_word_is_repeated(command: str, secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However a secret gets onto the command line, no error repeats it."""
    known = flags(command, capsys)
    unknown = ["--secret", "--client-secret", "--token", "-s"]
    start = command.split()
    lines = [[*start, secret], [secret], [secret, *start], [start[0], secret, *start[1:]]]
    lines += [[*start, *words] for flag in known + unknown for words in misuses(flag, secret)]
    parser, errors = cli._make_parser(), []
    for line in lines:
        try:
            parser.parse_args(line)
        except SystemExit as ended:
            if ended.code:
                errors.append(capsys.readouterr().err)
    parts = [part for part in re.split(r"\s+", secret) if "anary" in part or "999" in part]

    assert len(errors) > 20
    assert [error for error in errors for part in parts if part in error] == []


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["get", "--client-secret", "hunter2"], "unknown arguments, which are not repeated here"),
        (["get", "--hunter2"], "unknown arguments, which are not repeated here; see --help."),
        (["hunter2"], "argument COMMAND: give one of: "),
        (["get", "--auth-method", "hunter2"], "argument --auth-method: give one of: "),
        (["get", "--header=hunter2"], "argument --header: the value is invalid; see --help"),
        (["get", "--domain"], "argument --domain: expected one argument"),
        (["sandbox", "hunter2"], "argument [ACTION]: give one of: 'status', 'fault', "),
        (["sandbox", "fault", "hunter2"], "argument NAME: give a fault, one of: a 5xx status, "),
        (["sandbox", "fault", "drop", "hunter2"], "argument DURATION: give a duration, for "),
        (["sandbox", "clock", "hunter2"], "argument OFFSET: give +5m if the clock is ahead, "),
        (["sandbox", "secret", "hunter2"], "unknown arguments, which are not repeated here; "),
        (["sandbox", "--port", "hunter2"], "argument --port: give a port number from 0 to 65535"),
        (["sandbox", "--public-key", "hunter2"], "argument --public-key: the file cannot be read"),
        (
            ["get", "--header", "--request", "GET", "https://api.acme.com"],
            "argument --request: not allowed with argument --header",
        ),
    ],
)
def test_an_error_says_what_to_give(
    argv: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error names the flag, and says what to give instead."""
    with pytest.raises(SystemExit):
        cli.main(argv)
    shown = capsys.readouterr().err

    assert f"error: {problem}" in shown
    assert "hunter2" not in shown


def test_a_problem_that_is_not_known_is_not_repeated() -> None:
    """A message of argparse that this package does not know is replaced."""
    assert _without_words("ambiguous option: --x=hunter2") == "the value is invalid; see --help"


def test_flags_cannot_be_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    """A part of a flag is an unknown argument, so that a new flag changes no script."""
    with pytest.raises(SystemExit):
        cli.main(["get", "--dom", "acme.okta.com"])

    assert "unknown arguments" in capsys.readouterr().err
