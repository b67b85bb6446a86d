"""Carry figures that were measured with several fleets on to a larger fleet, on paper.

A figure either does not depend on the number of processes, or lies on a straight line::

    v(n) = v(m)                                         requests while the store works, waits
    v(n) = v(m) + (v(m) - v(k)) / (m - k)·(n - m)       commands, requests without it

    k and m are the sizes of the smallest and the largest fleet that was measured.

The line through the smaller fleets says what the largest one should have cost. If it is wrong about
that, it is also wrong about a fleet that is ten times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.report import text

LARGE: Final = 10_000
"""The number of processes to which figures are carried on."""


@dataclass(frozen=True)
class Measured:
    """What was measured with a fleet.

    Args:
        processes: The number of processes.
        fixed: The figures that do not depend on the number of processes.
        growing: The figures that grow with it.
    """

    processes: int
    fixed: dict[str, float]
    growing: dict[str, float]


@dataclass(frozen=True)
class Forecast:
    """A figure of several fleets, carried on.

    Args:
        name: The figure.
        measured: The figure by the size of the fleet.
        grows: Whether it grows with the processes.
        expected: What the smaller fleets say about the largest one; `None` if there is only one.
        large: The figure of `LARGE` processes.
    """

    name: str
    measured: dict[int, float]
    grows: bool
    expected: float | None
    large: float


def forecast(fleets: Sequence[Measured]) -> list[Forecast]:
    """Carry the figures of some fleets on to a large one.

    Args:
        fleets: What was measured, in ascending order of the sizes.
    """
    fixed = {name: [(of.processes, of.fixed[name]) for of in fleets] for name in fleets[0].fixed}
    growing = {
        name: [(of.processes, of.growing[name]) for of in fleets] for name in fleets[0].growing
    }
    return [
        *(_forecast(name, values, grows=False) for name, values in fixed.items()),
        *(_forecast(name, values, grows=True) for name, values in growing.items()),
    ]


def _forecast(name: str, measured: list[tuple[int, float]], *, grows: bool) -> Forecast:
    *smaller, largest = measured
    line = _line if grows else _constant
    expected = line(smaller, largest[0]) if smaller else None
    return Forecast(name, dict(measured), grows, expected, line(measured, LARGE))


def _line(points: Sequence[tuple[int, float]], size: int) -> float:
    """Return the value at a size on the line through the first and the last point."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    return y1 + (0.0 if x0 == x1 else (y1 - y0) / (x1 - x0) * (size - x1))


def _constant(points: Sequence[tuple[int, float]], _: int) -> float:
    return points[-1][1]


def print_forecasts(forecasts: Sequence[Forecast]) -> None:
    """Print a table of the figures of the fleets, and of the large one.

    Args:
        forecasts: What `forecast` returned.
    """
    console = Console(width=None if Console().is_terminal else 140)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.MARKDOWN)
    table.add_column("processes", overflow="fold")
    sizes = [*forecasts[0].measured]
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    table.add_column(f"{sizes[-1]:,}, expected", justify="right")
    table.add_column(f"{LARGE:,}, on paper", justify="right")
    table.add_column("grows")
    for one in forecasts:
        values = [*one.measured.values(), one.expected, one.large]
        cells = ("" if value is None else text(value) for value in values)
        table.add_row(one.name, *cells, "yes" if one.grows else "no")
    console.print(table)
