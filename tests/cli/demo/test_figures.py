"""Figures and their summary."""

from __future__ import annotations

import json

import pytest

from okta_tokens.cli.demo.figures import (
    all_right,
    at_least,
    at_most,
    exactly,
    print_figures,
    summary,
)


def test_the_summary_counts_wrong_figures() -> None:
    """Each figure has a verdict, and the last line counts the wrong ones."""
    figures = [exactly(1, "requests", 1), at_least(3, "renewals", 3), at_least(3, "more", 2)]

    assert [figure.is_right for figure in figures] == [True, True, False]
    assert not all_right({"Scenario": figures})
    assert summary({"Scenario": figures}) == [
        "",
        "Scenario",
        "  pass         1  requests (expected: 1)",
        "  pass         3  renewals (expected: 3 or more)",
        "  FAIL         2  more (expected: 3 or more)",
        "",
        "1 of 3 figures are WRONG.",
    ]


@pytest.mark.parametrize(("value", "outcome"), [(1, "pass"), (2, "fail")])
def test_the_document_has_every_figure(
    value: int, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The document has the outcome, and each figure with its number and what was expected."""
    print_figures({"Scenario": [exactly(1, "requests", value)]}, "The counters:", as_json=True)
    figure = {"name": "requests", "outcome": outcome, "value": value, "expected": "1"}

    assert json.loads(capsys.readouterr().out) == {
        "outcome": outcome,
        "scenarios": [{"title": "Scenario", "figures": [figure]}],
    }


@pytest.mark.parametrize(("value", "right"), [(0, False), (1, True), (2, True), (3, False)])
def test_at_most_needs_at_least_one(value: int, *, right: bool) -> None:
    """A figure with a maximum must be at least 1."""
    assert at_most(2, "requests", value).is_right is right
