"""Reports: a table to read or to keep, and JSON."""

import asyncio
import json
import logging
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.figures import Figure
from benchmarks.report import environment, print_environment, print_table, quiet, steps, write_json
from okta_tokens._logging import event_logger

TIMED = Figure.ratio("tokens[scopes]", [1.25, 1.5, 1.75], [1.0, 1.0, 1.0], at_most=1.2)
COUNTED = Figure.count("requests", 100_000, "", exactly=100_000)
TOLD = Figure.measure("a loop", [123.4], "µs")


def rows(text: str) -> list[list[str]]:
    """Return the cells of the lines of a Markdown table."""
    lines = (line.strip() for line in text.splitlines())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]


def test_a_table_is_markdown_where_the_output_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is written to a file can go into a README as it is."""
    print_table("it", [TIMED, COUNTED, TOLD])

    head, rule, *lines = rows(capsys.readouterr().out)
    assert head == ["it", "median", "quartiles", "figure", ""]
    assert set("".join(rule)) == {"-"}
    assert lines == [
        ["tokens[scopes]", "1.50 ×", "1.38–1.62", "≤ 1.20", "MISSED"],
        ["requests", "100,000", "", "= 100,000", "reached"],
        ["a loop", "123 µs", "", "", ""],
    ]


def test_a_short_run_judges_counts_only(capsys: pytest.CaptureFixture[str]) -> None:
    """A time of which a run took two samples is neither reached nor missed."""
    print_table("it", [TIMED, COUNTED], short=True)

    _, _, timed, counted = rows(capsys.readouterr().out)
    assert timed[-1] == ""
    assert counted[-1] == "reached"


async def test_json_holds_the_figures_and_what_they_depend_on(tmp_path: Path) -> None:
    """A program that reads it needs neither the table nor this package."""
    write_json(tmp_path / "figures.json", {"it": [TIMED, COUNTED]})

    document = json.loads((tmp_path / "figures.json").read_text())
    timed, counted = document["benchmarks"]["it"]
    assert document["environment"] == environment()
    assert (timed["what"], timed["value"], timed["limit"]) == ("tokens[scopes]", 1.5, 1.2)
    assert (timed["sense"], timed["holds"]) == ("<=", False)
    assert (counted["value"], counted["counted"], counted["holds"]) == (100_000, True, True)


async def test_a_peer_that_is_left_out_is_named_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the figures sees what they were not compared with, and why."""
    left_out = {"MSAL": "requests is not installed"}
    monkeypatch.setattr(report, "available", lambda: ([], left_out))

    print_environment()

    versions, *lines = capsys.readouterr().out.splitlines()
    assert "Python 3." in versions
    assert f"loop {type(asyncio.get_running_loop()).__module__}" in versions
    assert lines == ["MSAL is left out: requests is not installed"]


def test_steps_count_and_draw_nothing_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a pipe or in CI there is no bar."""
    assert list(steps("it", 3)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_nothing_is_logged_where_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings of the package go nowhere for a while, and then where they went before."""
    logger = logging.getLogger("okta_tokens")
    before = [*logger.handlers]
    with quiet():
        within = [*logger.handlers]
        event_logger().warning("something")

    assert [type(it) for it in within if it not in before] == [logging.NullHandler]
    assert logger.handlers == before
    assert capsys.readouterr().err == ""
