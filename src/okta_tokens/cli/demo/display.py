"""How the demo is shown: the protocol, lines of text, and the choice between lines and a table."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Protocol, Self

from okta_tokens.cli.demo.snapshot import Snapshot


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
    """Prints lines, each with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def show_title(self, title: str) -> None:
        """Print a title."""
        print(f"\n{title}", flush=True)

    def show_line(self, line: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self._began:6.1f} s  {line}", flush=True)

    def show_snapshots(self, _snapshots: Iterable[Snapshot]) -> None:
        """Print nothing: snapshots are too many for lines."""


def choose_display(*, plain: bool) -> Display:
    """Return a live table if the terminal and the installed extras allow it, otherwise lines.

    Args:
        plain: Whether to return lines in any case.
    """
    if plain or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return PlainDisplay()
    try:
        from okta_tokens.cli.demo.live_display import LiveDisplay  # noqa: PLC0415 - of an extra
    except ImportError:
        print("(to see a live table, install rich: pip install 'okta-tokens[cli]')")
        return PlainDisplay()
    return LiveDisplay()
