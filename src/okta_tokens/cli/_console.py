"""Exit codes, and output that is safe for a terminal: shared by all commands."""

from __future__ import annotations

import logging
import sys

FAILED = 1
MISCONFIGURED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

EXIT_CODES = """\
exit codes:
  0    success
  1    failure: no token, a failed check, a wrong figure, a port that is in use,
       or no sandbox to steer
  2    invalid arguments or configuration, or a missing extra; no token request
       was sent
  130  interrupted
  141  the reader of the output closed the pipe
"""


def silence_log() -> None:
    """Keep the provider's log off standard error: the commands say what happened themselves."""
    logger = logging.getLogger("okta_tokens")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


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
