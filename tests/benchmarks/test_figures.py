"""Figures: a median beside its limit."""

import pytest

from benchmarks.figures import Figure


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Each round is compared with the floor of the same round, so a slow round spoils no other."""
    figure = Figure.ratio("it", [2.0, 30.0, 4.4], [1.0, 10.0, 2.0], at_most=2.5)

    assert (figure.low, figure.value, figure.high) == (2.1, 2.2, 2.6)
    assert figure.holds


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (Figure.ratio("it", [2.0], [1.0], at_most=2.0), True),
        (Figure.ratio("it", [2.1], [1.0], at_most=2.0), False),
        (Figure.ratio("it", [2.0], [1.0], at_least=2.0), True),
        (Figure.ratio("it", [1.9], [1.0], at_least=2.0), False),
        (Figure.ratio("it", [9.0], [1.0]), True),
        (Figure.measure("it", [9.0, 1.0], "µs"), True),
        (Figure.single("it", 1025.0, "B", at_most=1024), False),
        (Figure.single("it", 1024.0, "B", at_most=1024), True),
        (Figure.count("it", 1, "", exactly=1), True),
        (Figure.count("it", 0, "", exactly=1), False),
        (Figure.count("it", 1.5, "", exactly=1), False),
        (Figure.count("it", 11, "", at_most=11.0), True),
        (Figure.count("it", 12, "", at_most=11.0), False),
    ],
    ids=str,
)
def test_a_figure_holds_on_its_side_of_the_limit(figure: Figure, holds: bool) -> None:  # noqa: FBT001 - one of two verdicts
    """A limit itself is kept; without a limit there is nothing to miss."""
    assert figure.holds is holds


def test_only_what_was_counted_and_has_a_limit_can_fail_a_run() -> None:
    """Times depend on the machine, and a count that is only told on nothing at all."""
    assert Figure.count("it", 1, "", exactly=1).counted
    assert not Figure.count("it", 1, "").counted
    assert not Figure.ratio("it", [1.0], [1.0], at_most=1).counted
    assert not Figure.single("it", 1.0, "%", at_most=1).counted
