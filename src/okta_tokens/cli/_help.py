"""The help texts, wrapped to the width of the terminal."""

from __future__ import annotations

import re
import textwrap
from argparse import HelpFormatter
from collections.abc import Iterator
from itertools import groupby

_ROW = re.compile(r"( +\S.*?  +)(\S.*)")
"""A row of a table: a name, two spaces or more, and a text."""


class WrappedHelp(HelpFormatter):
    """A formatter that wraps paragraphs and rows of tables.

    Every other line that begins with a space, such as an example, stays as it is.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:  # noqa: ARG002 - of argparse
        return "\n".join(_wrapped(text, width))


def _wrapped(text: str, width: int) -> Iterator[str]:
    for is_paragraph, lines in groupby(text.splitlines(), lambda line: line[:1] > " "):
        if is_paragraph:
            yield from _wrap(" ".join(lines), width)
            continue
        for line in lines:
            row = _ROW.fullmatch(line)
            yield from [line] if row is None else _wrap(row[2], width, row[1])


def _wrap(text: str, width: int, name: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=name,
        subsequent_indent=" " * len(name),
        break_long_words=False,
        break_on_hyphens=False,  # they begin flags
    )
