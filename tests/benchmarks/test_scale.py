"""Figures that are carried on to a larger fleet."""

import pytest

from benchmarks.scale import LARGE, Measured, forecast, print_forecasts


def test_growing_figures_lie_on_a_line_and_fixed_ones_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line goes through the smallest and the largest fleet; the smaller ones foretell it."""
    sizes = (100, 300, 1_000)
    waits, commands = (3.0, 4.0, 5.0), (25.0, 65.0, 250.0)
    fleets = [
        Measured(size, {"wait": wait}, {"commands": command})
        for size, wait, command in zip(sizes, waits, commands, strict=True)
    ]

    wait, command = forecast(fleets)
    assert (wait.expected, wait.large, wait.grows) == (4.0, 5.0, False)
    assert command.expected == pytest.approx(65 + 0.2 * 700)
    assert command.large == pytest.approx(250 + 0.25 * (LARGE - 1_000))

    print_forecasts([wait, command])
    assert "2,500" in capsys.readouterr().out


def test_one_fleet_foretells_nothing_about_itself() -> None:
    """With one fleet alone, every figure stays."""
    (only,) = forecast([Measured(1, {}, {"commands": 2.0})])

    assert (only.expected, only.large) == (None, 2.0)
