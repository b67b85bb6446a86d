"""How the doctor prints results."""

from __future__ import annotations

import pytest

from okta_tokens.cli.doctor.report import result_lines, summary
from okta_tokens.doctor import Diagnosis, Result
from okta_tokens.doctor._diagnosis import failed, passed, skipped, warned

PASSED = passed("dns", "found")
WARNED = warned("clock", "late", "set it")
FAILED = failed("tls", "no", "renew it")
SKIPPED = skipped("lifetime", "tls failed")


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        (PASSED, ["  pass  dns       found"]),
        (WARNED, ["  WARN  clock     late", "                  -> set it"]),
        (FAILED, ["  FAIL  tls       no", "                  -> renew it"]),
        (SKIPPED, ["  skip  lifetime  tls failed"]),
        (
            failed("dns", "one\ntwo", "fix both"),
            ["  FAIL  dns       one", "                  two", "                  -> fix both"],
        ),
        (passed("scope with a long name", "granted"), ["  pass  scope with a long name  granted"]),
    ],
)
def test_a_result_has_a_line_for_each_detail_and_the_remedy(
    result: Result, lines: list[str]
) -> None:
    """A result is one line, plus one line for each further detail and for the remedy."""
    assert [*result_lines(result, 8)] == lines


def test_control_characters_are_escaped() -> None:
    """Text from a server cannot control the terminal, in whichever field it is."""
    shown = "".join(result_lines(failed("a\x1b[2J", "b\x9b\nc\r", "d\x07"), 1))

    assert shown == shown.encode("unicode_escape").decode().replace("\\\\", "\\")
    assert "\\x1b" in shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("results", "requests", "line"),
    [
        ([PASSED, SKIPPED], 0, "no problems found (0 token requests)"),
        ([PASSED, WARNED], 1, "no failures; check the warnings: clock (1 token request)"),
        ([WARNED, FAILED, FAILED], 2, "2 failed; begin with: tls (2 token requests)"),
    ],
)
def test_the_summary_says_where_to_begin(results: list[Result], requests: int, line: str) -> None:
    """The last line names the first failure, else the warnings, and counts the requests."""
    assert summary(Diagnosis(tuple(results), requests)) == line
