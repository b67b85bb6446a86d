"""How the demo is shown on a terminal: a table that changes. Needs rich."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from okta_tokens.cli._scene import Picture

_LINES = 8
_STYLES = {"fresh": "green", "due": "yellow", "expired": "red", "cooling down": "red"}


class LiveDisplay:
    """A table with a row for each token key, and the last lines below it.

    Args:
        console: Where to draw; standard output if None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._began = time.monotonic()
        self._title = ""
        self._lines: deque[str] = deque(maxlen=_LINES)
        # Drawn by the event loop, not by rich's thread: nothing else may look into the provider.
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Take the lower end of the terminal."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back, with the last picture left in view."""
        self._live.stop()

    def act(self, title: str) -> None:
        """Put a title over the table."""
        self._title = title

    def say(self, line: str) -> None:
        """Add a line below the table; the oldest one makes room."""
        self._lines.append(f"{time.monotonic() - self._began:6.1f} s  {line}")

    def draw(self, pictures: Iterable[Picture]) -> None:
        """Draw the table anew."""
        table = Table(title=self._title, title_justify="left", title_style="bold")
        table.add_column("token")
        table.add_column("life", justify="right")
        table.add_column("state")
        table.add_column("left", justify="right")
        table.add_column("requests at\nthe sandbox", justify="right")
        for heading in ("renewals", "hits", "waited", "errors"):
            table.add_column(heading, justify="right")
        for picture in pictures:
            table.add_row(*_cells(picture))
        lines = (Text(line, no_wrap=True, overflow="ellipsis") for line in self._lines)
        self._live.update(Group(table, *lines), refresh=True)


def _cells(picture: Picture) -> list[str | Text]:
    row, left = picture.row, picture.remaining
    numbers = (row.requests, row.renewals, row.hits, row.waited, row.errors)
    return [
        row.scopes,
        f"{row.lifetime:,} s",
        Text(picture.state, style=_STYLES.get(picture.state, "dim")),
        "" if left is None else f"{left:,.1f} s",
        *(f"{number:,}" for number in numbers),
    ]
