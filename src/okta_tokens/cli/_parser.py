"""The parser of the command line, which repeats no word that it was given."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any, NoReturn

from okta_tokens.cli._console import wants_color
from okta_tokens.cli._help import WrappedHelp

_ARGUMENT = re.compile(r"argument [^:]+: ")
_UNKNOWN = "unrecognized arguments: "
_INVALID_CHOICE = "invalid choice: "
_WITHOUT_WORDS = (
    "expected ",
    "not allowed with argument ",
    "give ",  # with this and the next, the messages of this package begin
    "the file ",
)
"""How the problems begin that name flags and forms, but no word that was given."""


class Parser(ArgumentParser):
    """A parser whose errors repeat no word of the command line.

    A person who looks for a flag for the secret types the secret. Standard error is often a log.
    Flags cannot be abbreviated, so that a new flag changes the meaning of no script.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of ArgumentParser
        super().__init__(**options, allow_abbrev=False, formatter_class=WrappedHelp)
        self.color = wants_color()  # of the help, from Python 3.14 on
        # A word that begins so is a value and no flag: -5m is a clock that is behind.
        self._negative_number_matcher = re.compile(r"-[0-9.]+(ms|s|m|h|)\Z")

    def error(self, message: str) -> NoReturn:
        """Print the usage and the problem, and exit with 2."""
        super().error(_without_words(message))


def _without_words(message: str) -> str:
    """Return a problem that argparse reports, without the words that it quotes.

    Four cases:
    - A problem that quotes nothing: as it is.
    - Unknown arguments: that a secret has no flag. Even the name of a flag may be a secret.
    - A word that is not one of the choices: the choices.
    - Any other problem: the argument that it is about.
    """
    match = _ARGUMENT.match(message)
    argument = match[0] if match is not None else ""
    problem = message.removeprefix(argument)
    if problem.startswith(_WITHOUT_WORDS):
        return message
    if problem.startswith(_UNKNOWN):
        return (
            "unknown arguments, which are not repeated here; see --help. A secret has no flag, "
            "because other users of the machine can read arguments"
        )
    if problem.startswith(_INVALID_CHOICE):
        choices = problem.rpartition(" (choose from ")[2].removesuffix(")")
        return f"{argument}give one of: {choices}"
    return f"{argument}the value is invalid; see --help"
