"""The demo as a table that changes on the terminal. Needs rich."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Self

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from okta_tokens.cli._console import wants_color
from okta_tokens.cli.demo.snapshot import Snapshot

_ASCII_BOX = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
"""The box for encodings other than UTF-8; the box that rich would take needs more columns."""
_LINES = 8
_MINUTE = 60.0
_STYLES = {"fresh": "green", "due": "yellow", "expired": "red", "cooling down": "red"}


class LiveDisplay:
    """A table with one row for each token key, and the latest lines below the table.

    Args:
        console: Where to draw; standard output if None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._began = time.monotonic()
        self._title = ""
        self._lines: deque[str] = deque(maxlen=_LINES)
        # The event loop draws, not rich's thread: the provider belongs to the event loop.
        console = console or Console(no_color=not wants_color())
        self._live = Live(console=console, auto_refresh=False)
        self._box = _ASCII_BOX if console.options.ascii_only else SIMPLE_HEAD

    def __enter__(self) -> Self:
        """Take over the lower end of the terminal."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Release the terminal, and leave the last table in view."""
        self._live.stop()

    def show_title(self, title: str) -> None:
        """Put a title above the table."""
        self._title = title

    def show_line(self, line: str) -> None:
        """Add a line below the table, and drop the oldest line if there are too many."""
        self._lines.append(f"{time.monotonic() - self._began:6.1f} s  {line}")

    def show_snapshots(self, snapshots: Iterable[Snapshot]) -> None:
        """Draw the table again."""
        table = Table(
            box=self._box,
            padding=0,
            title=self._title,
            title_justify="left",
            title_style="bold",
        )
        table.add_column("token", overflow="fold")
        table.add_column("lifetime", justify="right", no_wrap=True)
        table.add_column("state", overflow="fold")
        for heading in ("left", "requests", "renewals", "hits", "waits", "errors"):
            table.add_column(heading, justify="right", no_wrap=True)
        for snapshot in snapshots:
            table.add_row(*_cells(snapshot))
        self._live.update(Group(table, *map(Text, self._lines)), refresh=True)


def _cells(snapshot: Snapshot) -> list[str | Text]:
    probe, remaining = snapshot.probe, snapshot.remaining
    numbers = (probe.requests, probe.renewals, probe.hits, probe.waits, probe.errors)
    return [
        probe.scopes,
        f"{probe.lifetime:,} s",
        Text(snapshot.state, style=_STYLES.get(snapshot.state, "dim")),
        "" if remaining is None else f"{remaining:,.{1 if remaining < _MINUTE else 0}f} s",
        *(f"{number:,}" for number in numbers),
    ]
