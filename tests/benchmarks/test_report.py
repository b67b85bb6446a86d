"""Reports: a table, JSON, and a progress bar."""

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
UNLIMITED = Figure.measure("a loop", [123.4], "µs")


def rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table by line."""
    lines = (line.strip() for line in text.splitlines())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]


def test_a_table_is_markdown_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If the output is not a terminal, the table is Markdown with every verdict."""
    print_table("hit", [TIMED, COUNTED, UNLIMITED])

    head, rule, *lines = rows(capsys.readouterr().out)
    assert head == ["hit", "median", "quartiles", "figure", ""]
    assert set("".join(rule)) == {"-"}
    assert lines == [
        ["tokens[scopes]", "1.50 ×", "1.38–1.62", "≤ 1.20", "MISSED"],
        ["requests", "100,000", "", "= 100,000", "reached"],
        ["a loop", "123 µs", "", "", ""],
    ]


def test_a_short_run_judges_only_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """In a short run, a time has no verdict, because it has too few samples."""
    print_table("hit", [TIMED, COUNTED], short=True)

    _, _, timed, counted = rows(capsys.readouterr().out)
    assert timed[-1] == ""
    assert counted[-1] == "reached"


async def test_json_has_the_figures_and_the_environment(tmp_path: Path) -> None:
    """The JSON file has every figure with its verdict, and what the figures depend on."""
    write_json(tmp_path / "figures.json", {"hit": [TIMED, COUNTED]})

    document = json.loads((tmp_path / "figures.json").read_text())
    timed, counted = document["benchmarks"]["hit"]
    assert document["environment"] == environment()
    assert (timed["name"], timed["value"], timed["limit"]) == ("tokens[scopes]", 1.5, 1.2)
    assert (timed["comparison"], timed["holds"]) == ("<=", False)
    assert (counted["value"], counted["counted"], counted["holds"]) == (100_000, True, True)


async def test_the_report_names_missing_peers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report names a library that is not installed, with the reason."""
    left_out = {"MSAL": "requests is not installed"}
    monkeypatch.setattr(report, "available", lambda: ([], left_out))

    print_environment()

    versions, *lines = capsys.readouterr().out.splitlines()
    assert "Python 3." in versions
    assert f"loop {type(asyncio.get_running_loop()).__module__}" in versions
    assert lines == ["MSAL is left out: requests is not installed"]


def test_there_is_no_progress_bar_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If the output is not a terminal, `steps` counts and prints nothing."""
    assert list(steps("hit", 3)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_quiet_hides_the_packages_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """Within `quiet` the package's warnings are not printed; afterwards nothing has changed."""
    logger = logging.getLogger("okta_tokens")
    before = [*logger.handlers]
    with quiet():
        within = [*logger.handlers]
        event_logger().warning("something")

    assert [type(handler) for handler in within if handler not in before] == [logging.NullHandler]
    assert logger.handlers == before
    assert capsys.readouterr().err == ""
