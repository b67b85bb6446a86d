"""The figures that the demo is judged by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, what it should be, and whether it is that."""

    what: str
    value: int
    wanted: str
    right: bool

    def __str__(self) -> str:
        """Return a line with a mark, the number, and what it counts."""
        mark = "pass" if self.right else "FAIL"
        return f"  {mark} {self.value:>9,}  {self.what} (wanted: {self.wanted})"


def exactly(wanted: int, what: str, value: int) -> Figure:
    """Return a figure that must be one certain number.

    Args:
        wanted: That number.
        what: What it counts.
        value: What was counted.
    """
    return Figure(what, value, f"{wanted:,}", value == wanted)


def at_most(most: int, what: str, value: int) -> Figure:
    """Return a figure that must not exceed a number, nor be nothing.

    Args:
        most: That number.
        what: What it counts.
        value: What was counted.
    """
    return Figure(what, value, f"1 to {most:,}", 0 < value <= most)


def at_least(least: int, what: str, value: int) -> Figure:
    """Return a figure that must reach a number.

    Args:
        least: That number.
        what: What it counts.
        value: What was counted.
    """
    return Figure(what, value, f"{least:,} or more", value >= least)


def summary(figures: dict[str, list[Figure]]) -> list[str]:
    """Return figures as lines, and a last line with the verdict.

    Args:
        figures: By the act that they belong to.
    """
    lines = []
    for title, group in figures.items():
        lines += ["", title, *map(str, group)]
    wrong = sum(not figure.right for group in figures.values() for figure in group)
    total = sum(map(len, figures.values()))
    verdict = f"{wrong} of {total} figures are WRONG." if wrong else f"All {total} figures pass."
    return [*lines, "", verdict]
