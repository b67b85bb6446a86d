"""Figures: values and their limits."""

import pytest

from benchmarks.figures import Figure


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Each round is divided by the floor of the same round, so a slow round affects no other."""
    figure = Figure.ratio("ratio", [2.0, 30.0, 4.4], [1.0, 10.0, 2.0], at_most=2.5)

    assert (figure.low, figure.value, figure.high) == (2.1, 2.2, 2.6)
    assert figure.holds


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (Figure.ratio("ratio", [2.0], [1.0], at_most=2.0), True),
        (Figure.ratio("ratio", [2.1], [1.0], at_most=2.0), False),
        (Figure.ratio("ratio", [2.0], [1.0], at_least=2.0), True),
        (Figure.ratio("ratio", [1.9], [1.0], at_least=2.0), False),
        (Figure.ratio("ratio", [9.0], [1.0]), True),
        (Figure.measure("time", [9.0, 1.0], "µs"), True),
        (Figure.measure("time", [9.0, 1.0], "µs", at_most=4.0), False),
        (Figure.single("size", 1025.0, "B", at_most=1024), False),
        (Figure.count("count", 1, "", exactly=1), True),
        (Figure.count("count", 0, "", exactly=1), False),
        (Figure.count("count", 1.5, "", exactly=1), False),
        (Figure.count("count", 12, "", at_most=11.0), False),
    ],
    ids=str,
)
def test_a_figure_holds_if_it_keeps_its_limit(figure: Figure, holds: bool) -> None:  # noqa: FBT001 - the expected verdict
    """A value may equal its limit, and a figure without a limit always holds."""
    assert figure.holds is holds


def test_only_a_count_with_a_limit_can_fail_a_run() -> None:
    """Times depend on the machine, so they never fail a run, and neither does a plain count."""
    assert Figure.count("count", 1, "", exactly=1).counted
    assert not Figure.count("count", 1, "").counted
    assert not Figure.ratio("ratio", [1.0], [1.0], at_most=1).counted
    assert not Figure.measure("time", [1.0], "ms", at_most=1).counted
    assert not Figure.single("share", 1.0, "%", at_most=1).counted
