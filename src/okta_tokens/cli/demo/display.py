"""How the demo is shown: the protocol, lines of text, and the choice between lines and a table."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from typing import Protocol, Self, TextIO

from okta_tokens.cli._console import is_capable_terminal
from okta_tokens.cli.demo.snapshot import Snapshot

TABLE_WIDTH = 80
"""The columns that a live table needs, so that no figure is cut."""


class Display(Protocol):
    """Shows what happens in the demo. A context manager."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End, and leave the last snapshots in view."""

    def show_title(self, title: str) -> None:
        """Announce a scenario."""

    def show_line(self, line: str) -> None:
        """Show what just happened."""

    def show_snapshots(self, snapshots: Iterable[Snapshot]) -> None:
        """Show the present state of the keys."""


class PlainDisplay:
    """Prints lines, each with the seconds since the start.

    Args:
        stream: Where to print; None for nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._began = time.monotonic()
        self._stream = stream

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def show_title(self, title: str) -> None:
        """Print a title."""
        self._print(f"\n{title}")

    def show_line(self, line: str) -> None:
        """Print a line."""
        self._print(f"{time.monotonic() - self._began:6.1f} s  {line}")

    def show_snapshots(self, _snapshots: Iterable[Snapshot]) -> None:
        """Print nothing: snapshots are too many for lines."""

    def _print(self, line: str) -> None:
        if self._stream is not None:
            print(line, file=self._stream, flush=True)


def choose_display(*, plain: bool, as_json: bool = False) -> Display:
    """Return a live table if the terminal and the installed extras allow it, otherwise lines.

    Args:
        plain: Whether to return lines in any case.
        as_json: Whether standard output is for a document. Then the lines go to standard error, if
            that is a terminal.
    """
    if as_json:
        return PlainDisplay(sys.stderr if is_capable_terminal(sys.stderr) else None)
    width = shutil.get_terminal_size().columns
    if plain or width < TABLE_WIDTH or not is_capable_terminal(sys.stdout):
        return PlainDisplay(sys.stdout)
    try:
        from okta_tokens.cli.demo.live_display import LiveDisplay  # noqa: PLC0415 - of an extra
    except ImportError:
        print("(to see a live table, install rich: pip install 'okta-tokens[cli]')")
        return PlainDisplay(sys.stdout)
    return LiveDisplay()
