"""From a month in which a rule was broken to the few actions that break it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.simulation.books import Breach
from tests.simulation.script import DAY, Action, plan_key, script
from tests.simulation.world import Report, simulate

_AFTERMATH = 180.0
"""Seconds of the script after the breach that may belong to it."""
_SPANS = (600.0, 3_600.0, 6 * 3_600.0, DAY, 7 * DAY, math.inf)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A script that breaks a rule."""

    seed: int
    keys: Sequence[int]
    actions: Sequence[Action]

    def play(self) -> Report:
        """Run it."""
        return simulate(self.seed, self.keys, self.actions)

    def __str__(self) -> str:
        """Return it as the text that `read` understands."""
        keys = " ".join(map(str, self.keys))
        return "\n".join([f"seed {self.seed}", f"keys {keys}", *map(str, self.actions), ""])

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it from a file."""
        lines = [line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
        seed, keys, *actions = filter(None, lines)
        return cls(
            int(seed.removeprefix("seed")),
            [int(number) for number in keys.removeprefix("keys").split()],
            [Action.parse(line) for line in actions],
        )


def reproduce(
    seed: int, keys: Sequence[int], days: float, breach: Breach, *, tries: int = 300
) -> Reproduction:
    """Find a short script that breaks the same rule.

    Args:
        seed: The simulation's seed.
        keys: Its keys.
        days: Its length.
        breach: What it came to.
        tries: How often a shorter script may be played.
    """

    def breaks(it: Reproduction) -> bool:
        broken = it.play().broken
        return broken is not None and broken.rule is breach.rule

    for some in _fewer(seed, keys, breach.key):
        actions = [
            action for action in script(seed, some, days) if action.at <= breach.at + _AFTERMATH
        ]
        for span in _SPANS:
            late = [action for action in actions if action.at >= breach.at - span]
            if late and breaks(Reproduction(seed, some, late)):
                shrunk = shrink(late, lambda it: breaks(Reproduction(seed, some, it)), tries)  # noqa: B023 - called within this turn
                return Reproduction(seed, some, shrunk)
    return Reproduction(seed, keys, [*script(seed, keys, days)])


def _fewer(seed: int, keys: Sequence[int], broken: int | None) -> Iterator[Sequence[int]]:
    if broken is not None:
        yield [broken]
        domain = plan_key(seed, broken).domain
        yield [number for number in keys if plan_key(seed, number).domain == domain]
    yield keys


def shrink(
    actions: list[Action], breaks: Callable[[list[Action]], bool], tries: int
) -> list[Action]:
    """Leave out actions for as long as what is left still breaks the rule.

    Args:
        actions: What breaks it.
        breaks: Plays a script, and tells whether it does, too.
        tries: How often it may be played.
    """
    pieces = 2
    while len(actions) > 1 and tries > 0:
        size = math.ceil(len(actions) / pieces)
        for begin in range(0, len(actions), size):
            fewer = actions[:begin] + actions[begin + size :]
            tries -= 1
            if fewer and breaks(fewer):
                actions, pieces = fewer, max(pieces - 1, 2)
                break
            if tries <= 0:
                return actions
        else:
            if size == 1:
                return actions
            pieces = min(2 * pieces, len(actions))
    return actions
