"""What the commands share: exit codes, and how they speak to standard error."""

from __future__ import annotations

import sys

FAILED = 1
MISCONFIGURED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

EXIT_CODES = """\
exit codes:
  0    it worked
  1    it failed: no token was to be had, a figure was wrong, or the port is taken
  2    the arguments or the configuration cannot be right; nothing was asked of any server
  130  interrupted
  141  the reader of the output went away
"""


def complain(*lines: str) -> None:
    """Print lines to standard error, the first with the program's name before it.

    Args:
        *lines: Parts of them may come from a server, so what could steer a terminal is escaped.
    """
    print("okta-tokens:", *map(printable, lines[:1]), file=sys.stderr)
    for line in lines[1:]:
        print(printable(line), file=sys.stderr)


def printable(text: str) -> str:
    """Return a text with every character escaped that a terminal would not just show."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
