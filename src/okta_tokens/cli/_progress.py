"""What the command is waiting for: a line on standard error, if that is a terminal."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from okta_tokens.cli._console import is_capable_terminal, printable

_DELAY = 1.0  # seconds
_INTERVAL = 0.25  # seconds


class Progress:
    """A line that says what the command is waiting for, and for how long.

    Args:
        text: What the command is waiting for.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._since = time.monotonic()
        self._shown = ""

    def wait_for(self, text: str) -> None:
        """Say what the command is waiting for from now on.

        Args:
            text: What it is.
        """
        self.erase()
        self._text = text
        self._since = time.monotonic()

    def draw(self) -> None:
        """Draw the line again, if the command has been waiting for more than a second."""
        waited = time.monotonic() - self._since
        columns = shutil.get_terminal_size().columns
        line = printable(f"{self._text}: {waited:.0f} s")[: columns - 1]
        if waited >= _DELAY and line != self._shown:
            self.erase()
            print(line, end="", file=sys.stderr, flush=True)
            self._shown = line

    def erase(self) -> None:
        """Remove the line, so that another one can be printed."""
        if self._shown:
            # Without escape sequences, which old consoles of Windows print.
            print(f"\r{' ' * len(self._shown)}\r", end="", file=sys.stderr, flush=True)
            self._shown = ""


@asynccontextmanager
async def progress(text: str) -> AsyncIterator[Progress]:
    """Show what the command is waiting for until the end of the block.

    Nothing is shown in the first second, or if standard error is not a capable terminal.

    Args:
        text: What the command is waiting for.
    """
    line = Progress(text)
    if not is_capable_terminal(sys.stderr):
        yield line
        return
    drawing = asyncio.create_task(_draw_repeatedly(line))
    try:
        yield line
    finally:
        drawing.cancel()
        line.erase()


async def _draw_repeatedly(line: Progress) -> None:
    while True:
        await asyncio.sleep(_INTERVAL)
        line.draw()
