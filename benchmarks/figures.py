"""Figures: what a benchmark found, beside what it should be."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a benchmark's table.

    Args:
        what: What was measured.
        value: The median, or the count.
        low: The lower quartile.
        high: The upper quartile.
        unit: Of these three: `×` for a ratio.
        limit: What the value should keep to; None if it is only told.
        sense: On which side of the limit it should be.
        counted: Whether it is a count, which no noise excuses: one that misses its limit fails the
            run.
    """

    what: str
    value: float
    low: float
    high: float
    unit: str = "×"
    limit: float | None = None
    sense: Literal["<=", ">=", "=="] = "<="
    counted: bool = False

    @classmethod
    def ratio(
        cls,
        what: str,
        measured: Sequence[float],
        floor: Sequence[float],
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> Self:
        """Compare two things that were measured side by side, round by round.

        Args:
            what: What was measured, beside what.
            measured: Of each round.
            floor: Of the same rounds; what the others are divided by.
            at_most: The limit, if there is an upper one.
            at_least: The limit, if there is a lower one.
        """
        ratios = [a / b for a, b in zip(measured, floor, strict=True)]
        limit, sense = (at_most, "<=") if at_least is None else (at_least, ">=")
        return cls(what, *_spread(ratios), limit=limit, sense=sense)  # type: ignore[arg-type]

    @classmethod
    def measure(
        cls, what: str, measured: Sequence[float], unit: str, *, at_most: float | None = None
    ) -> Self:
        """Tell a plain measurement, which depends on the machine.

        Args:
            what: What was measured.
            measured: Of each round.
            unit: The unit.
            at_most: The limit, if there is one: so generous that only a poor machine misses it.
        """
        return cls(what, *_spread(measured), unit=unit, limit=at_most)

    @classmethod
    def single(cls, what: str, value: float, unit: str, *, at_most: float | None = None) -> Self:
        """Tell something that was measured once.

        Args:
            what: What was measured.
            value: The value.
            unit: The unit.
            at_most: The limit, if there is one.
        """
        return cls(what, value, value, value, unit, at_most)

    @classmethod
    def count(
        cls,
        what: str,
        value: float,
        unit: str,
        *,
        exactly: int | None = None,
        at_most: float | None = None,
    ) -> Self:
        """Tell a count.

        Args:
            what: What was counted.
            value: The count; of several rounds, their mean.
            unit: The unit.
            exactly: The limit, if it is to be met exactly.
            at_most: The limit, if there is an upper one.
        """
        limit, sense = (at_most, "<=") if exactly is None else (exactly, "==")
        judged = limit is not None
        return cls(what, value, value, value, unit, limit, sense, judged)  # type: ignore[arg-type]

    @property
    def holds(self) -> bool:
        """Whether the value keeps to its limit; one that is only told does."""
        if self.limit is None:
            return True
        return {
            "<=": self.value <= self.limit,
            ">=": self.value >= self.limit,
            "==": self.value == self.limit,
        }[self.sense]


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the quartiles."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high
