"""Bars with a name at the left and a value at the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from benchmarks.pictures.svg import SIZE, Picture, Role, text_width

ROW: Final = 21
"""The height of a row in pixels."""

_BAR: Final = 12
_GAP: Final = 8


@dataclass(frozen=True)
class Bar:
    """A bar of a chart.

    Args:
        name: The name at its left.
        value: The value, to which its length is proportional.
        text: The value as it is shown.
        role: What its colour says.
    """

    name: str
    value: float
    text: str
    role: Role

    @property
    def bold(self) -> bool:
        """Whether the name and the value are bold."""
        return self.role == "ours"


@dataclass(frozen=True)
class Scale:
    """The common scale of bars.

    Args:
        most: The greatest value.
        names: The room for a name, in pixels.
        values: The room for a value, in pixels.
    """

    most: float
    names: float
    values: float

    @classmethod
    def of(cls, bars: Sequence[Bar]) -> Self:
        """Return the scale on which all of some bars fit.

        Args:
            bars: The bars.
        """
        return cls(
            max(bar.value for bar in bars) or 1,
            max(text_width(bar.name, bold=bar.bold) for bar in bars) + _GAP,
            max(text_width(bar.text, bold=bar.bold) for bar in bars) + _GAP,
        )


def draw_bars(
    picture: Picture, x: float, y: float, width: float, bars: Sequence[Bar], scale: Scale
) -> float:
    """Draw bars below each other, from a common line at their left.

    Args:
        picture: The picture.
        x: The left side.
        y: The upper side.
        width: The width in pixels, with names and values.
        bars: The bars.
        scale: The scale, which also has room for other bars.

    Returns:
        The lower side.
    """
    begin, longest = x + scale.names, width - scale.names - scale.values
    for row, bar in enumerate(bars):
        middle = y + (row + 0.5) * ROW
        length = bar.value / scale.most * longest
        base = middle + SIZE * 0.36
        picture.text(begin - _GAP, base, bar.name, bold=bar.bold, anchor="end")
        picture.bar(begin, middle - _BAR / 2, length, _BAR, bar.role)
        picture.text(begin + length + _GAP / 2 + 1, base, bar.text, bold=bar.bold)
    bottom = y + len(bars) * ROW
    picture.line(begin, y, begin, bottom, "muted")
    return bottom
