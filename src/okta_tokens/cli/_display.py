"""How the demo is shown where there is no terminal, or no rich."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Self

from okta_tokens.cli._scene import Display, Picture


class PlainDisplay:
    """Lines, each with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def act(self, title: str) -> None:
        """Print a title."""
        print(f"\n{title}", flush=True)

    def say(self, line: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self._began:6.1f} s  {line}", flush=True)

    def draw(self, _pictures: Iterable[Picture]) -> None:
        """Show nothing: a picture that changes is of no use between lines."""


def choose_display(*, plain: bool) -> Display:
    """Return a live table if it can be shown, else lines.

    Args:
        plain: Whether lines are wanted in any case.
    """
    if plain or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return PlainDisplay()
    try:
        from okta_tokens.cli._live import LiveDisplay  # noqa: PLC0415 - rich is an optional extra
    except ImportError:
        print("(with rich, pip install 'okta-tokens[cli]', this is a live table)")
        return PlainDisplay()
    return LiveDisplay()
