"""Exit codes, and output that is safe for a terminal: shared by all commands."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TextIO

FAILED = 1
MISCONFIGURED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

EXIT_CODES = {
    0: "success",
    FAILED: (
        "failure: no token, a failed check, a wrong figure, a port that is in use, or no sandbox "
        "to steer"
    ),
    MISCONFIGURED: (
        "invalid arguments or configuration, or a missing extra; no token request was sent"
    ),
    INTERRUPTED: "interrupted",
    BROKEN_PIPE: "the reader of the output closed the pipe",
}
"""What each exit code of the command means."""
EXIT_CODES_HELP = "\n".join(
    ("exit codes:", *(f"  {code:<3}  {meaning}" for code, meaning in EXIT_CODES.items()))
)


def silence_log() -> None:
    """Keep the provider's log off standard error: the commands say what happened themselves."""
    logger = logging.getLogger("okta_tokens")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def escape_unencodable() -> None:
    """Print the escape of a character that an output's encoding, such as cp437, does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_capable_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal on which a line can be drawn again.

    Args:
        stream: The stream; None in a process without one.
    """
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_color() -> bool:
    """Tell whether a terminal may show colors.

    Three cases: with NO_COLOR, no; otherwise with FORCE_COLOR, yes; otherwise unless CLICOLOR is 0.
    """
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or os.environ.get("CLICOLOR") != "0"


def print_error(*lines: str) -> None:
    """Print lines to standard error, the first one with the program's name in front.

    Args:
        *lines: The lines. They may hold text from a server, so control characters are escaped.
    """
    print("okta-tokens:", *map(printable, lines[:1]), file=sys.stderr)
    for line in lines[1:]:
        print(printable(line), file=sys.stderr)


def printable(text: str) -> str:
    """Return a text in which every character that could control a terminal is escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
