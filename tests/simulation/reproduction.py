"""Reduce a script that breaks a rule to the few actions that break it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.simulation.rules import Violation
from tests.simulation.script import DAY, Action, plan_key, script
from tests.simulation.world import Report, simulate

_AFTERMATH = 180.0
"""Seconds of the script after the violation that may be needed to break the rule."""
_SPANS = (600.0, 3_600.0, 6 * 3_600.0, DAY, 7 * DAY, math.inf)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A script that breaks a rule."""

    seed: int
    keys: Sequence[int]
    actions: Sequence[Action]

    def play(self) -> Report:
        """Simulate the script."""
        return simulate(self.seed, self.keys, self.actions)

    def __str__(self) -> str:
        """Return the text that `load` parses."""
        keys = " ".join(map(str, self.keys))
        return "\n".join([f"seed {self.seed}", f"keys {keys}", *map(str, self.actions), ""])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a script from a file, without its comments."""
        lines = [line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
        seed, keys, *actions = filter(None, lines)
        return cls(
            int(seed.removeprefix("seed")),
            [int(number) for number in keys.removeprefix("keys").split()],
            [Action.parse(line) for line in actions],
        )


def reproduce(
    seed: int, keys: Sequence[int], days: float, violation: Violation, *, tries: int = 300
) -> Reproduction:
    """Find a short script that breaks the same rule.

    Args:
        seed: The simulation's seed.
        keys: The numbers of its keys.
        days: Its length.
        violation: The violation that ended it.
        tries: How often a shorter script may be played.
    """

    def breaks_rule(reproduction: Reproduction) -> bool:
        found = reproduction.play().violation
        return found is not None and found.rule is violation.rule

    for subset in _key_subsets(seed, keys, violation.key):
        actions = [
            action
            for action in script(seed, subset, days)
            if action.at <= violation.at + _AFTERMATH
        ]
        for span in _SPANS:
            late = [action for action in actions if action.at >= violation.at - span]
            if late and breaks_rule(Reproduction(seed, subset, late)):
                shrunk = shrink(
                    late,
                    lambda fewer: breaks_rule(Reproduction(seed, subset, fewer)),  # noqa: B023 - called in this iteration
                    tries,
                )
                return Reproduction(seed, subset, shrunk)
    return Reproduction(seed, keys, [*script(seed, keys, days)])


def _key_subsets(seed: int, keys: Sequence[int], key: int | None) -> Iterator[Sequence[int]]:
    """Yield a violation's key alone, then the keys of its domain, then all keys."""
    if key is not None:
        yield [key]
        domain = plan_key(seed, key).domain
        yield [number for number in keys if plan_key(seed, number).domain == domain]
    yield keys


def shrink(
    actions: list[Action], breaks: Callable[[list[Action]], bool], tries: int
) -> list[Action]:
    """Remove actions as long as the remaining ones still break the rule.

    Args:
        actions: Actions that break the rule.
        breaks: Tells whether other actions break the rule, too.
        tries: How often `breaks` may be called.
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
