"""Figures: the results of a benchmark with their limits."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of a benchmark's table.

    Args:
        name: What was measured.
        value: The median, or the count.
        low: The lower quartile.
        high: The upper quartile.
        unit: The unit of the value and the quartiles; `×` for a ratio.
        limit: The limit of the value; `None` if there is none.
        comparison: How the value must compare to the limit.
        counted: Whether the value is a count with a limit. Noise does not change a count, so a
            count that misses its limit fails the run.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str = "×"
    limit: float | None = None
    comparison: Literal["<=", ">=", "=="] = "<="
    counted: bool = False

    @classmethod
    def ratio(
        cls,
        name: str,
        measured: Sequence[float],
        floor: Sequence[float],
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> Self:
        """Return the median of the ratios of two measurements, which are compared by round.

        Args:
            name: What was measured.
            measured: The measurement of each round.
            floor: The divisor of each round.
            at_most: The upper limit.
            at_least: The lower limit.
        """
        ratios = [a / b for a, b in zip(measured, floor, strict=True)]
        limit, comparison = (at_most, "<=") if at_least is None else (at_least, ">=")
        # mypy joins the literals of a conditional expression to `str`.
        return cls(name, *_quartiles(ratios), limit=limit, comparison=comparison)  # type: ignore[arg-type]

    @classmethod
    def measure(
        cls, name: str, measured: Sequence[float], unit: str, *, at_most: float | None = None
    ) -> Self:
        """Return the median of a measurement, which depends on the machine.

        Args:
            name: What was measured.
            measured: The measurement of each round.
            unit: The unit.
            at_most: The upper limit, so generous that only a very slow machine misses it.
        """
        return cls(name, *_quartiles(measured), unit=unit, limit=at_most)

    @classmethod
    def single(cls, name: str, value: float, unit: str, *, at_most: float | None = None) -> Self:
        """Return a value that was measured once.

        Args:
            name: What was measured.
            value: The value.
            unit: The unit.
            at_most: The upper limit.
        """
        return cls(name, value, value, value, unit, at_most)

    @classmethod
    def count(
        cls,
        name: str,
        value: float,
        unit: str,
        *,
        exactly: int | None = None,
        at_most: float | None = None,
    ) -> Self:
        """Return a count.

        Args:
            name: What was counted.
            value: The count, or the mean count of several rounds.
            unit: The unit.
            exactly: The only correct count.
            at_most: The upper limit.
        """
        limit, comparison = (at_most, "<=") if exactly is None else (exactly, "==")
        counted = limit is not None
        # mypy joins the literals of a conditional expression to `str`.
        return cls(name, value, value, value, unit, limit, comparison, counted)  # type: ignore[arg-type]

    @property
    def holds(self) -> bool:
        """Whether the value keeps to its limit, or has none."""
        if self.limit is None:
            return True
        return {
            "<=": self.value <= self.limit,
            ">=": self.value >= self.limit,
            "==": self.value == self.limit,
        }[self.comparison]


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the lower and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high
