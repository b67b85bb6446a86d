"""The figures that decide whether the demo passes."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was counted, and whether it is the expected one.

    Args:
        name: What the number counts.
        value: The number.
        expected: The expected number or range, as text.
        is_right: Whether the number is the expected one.
    """

    name: str
    value: int
    expected: str
    is_right: bool

    def __str__(self) -> str:
        """Return a line with the verdict, the number and its name."""
        mark = "pass" if self.is_right else "FAIL"
        return f"  {mark} {self.value:>9,}  {self.name} (expected: {self.expected})"


def exactly(expected: int, name: str, value: int) -> Figure:
    """Return a figure that must be one certain number.

    Args:
        expected: That number.
        name: What the figure counts.
        value: The number that was counted.
    """
    return Figure(name, value, f"{expected:,}", value == expected)


def at_most(maximum: int, name: str, value: int) -> Figure:
    """Return a figure that must be at least 1 and not exceed a maximum.

    Args:
        maximum: The largest number that is right.
        name: What the figure counts.
        value: The number that was counted.
    """
    return Figure(name, value, f"1 to {maximum:,}", 0 < value <= maximum)


def at_least(minimum: int, name: str, value: int) -> Figure:
    """Return a figure that must reach a minimum.

    Args:
        minimum: The smallest number that is right.
        name: What the figure counts.
        value: The number that was counted.
    """
    return Figure(name, value, f"{minimum:,} or more", value >= minimum)


def print_figures(figures: dict[str, list[Figure]], heading: str, *, as_json: bool) -> None:
    """Print figures as lines below a heading, or as one JSON document.

    Args:
        figures: The figures of each scenario, by its title.
        heading: The heading.
        as_json: Whether to print the document.
    """
    if as_json:
        print(json.dumps(document(figures), indent=2))
    else:
        print("", heading, *summary(figures), sep="\n")


def document(figures: dict[str, list[Figure]]) -> dict[str, object]:
    """Return figures as a value for `json.dumps`.

    Args:
        figures: The figures of each scenario, by its title.
    """
    return {
        "outcome": _outcome(all_right(figures)),
        "scenarios": [
            {
                "title": title,
                "figures": [
                    {
                        "name": figure.name,
                        "outcome": _outcome(figure.is_right),
                        "value": figure.value,
                        "expected": figure.expected,
                    }
                    for figure in group
                ],
            }
            for title, group in figures.items()
        ],
    }


def _outcome(is_right: bool) -> str:  # noqa: FBT001 - a private function of one argument
    return "pass" if is_right else "fail"


def summary(figures: dict[str, list[Figure]]) -> list[str]:
    """Return the figures as lines, with the verdict as the last line.

    Args:
        figures: The figures of each scenario, by its title.
    """
    lines = []
    for title, group in figures.items():
        lines += ["", title, *map(str, group)]
    wrong = sum(not figure.is_right for group in figures.values() for figure in group)
    total = sum(map(len, figures.values()))
    verdict = f"{wrong} of {total} figures are WRONG." if wrong else f"All {total} figures pass."
    return [*lines, "", verdict]


def all_right(figures: dict[str, list[Figure]]) -> bool:
    """Tell whether every figure is the expected one.

    Args:
        figures: The figures of each scenario, by its title.
    """
    return all(figure.is_right for group in figures.values() for figure in group)
