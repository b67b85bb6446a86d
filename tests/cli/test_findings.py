"""What the doctor finds, and how it is told."""

from __future__ import annotations

import json

import pytest

from okta_tokens.cli._findings import (
    Finding,
    Outcome,
    document,
    failed,
    overall,
    passed,
    skipped,
    verdict,
    warned,
)

FINE = passed("dns", "found")
ODD = warned("clock", "late", "set it")
WRONG = failed("tls", "no", "renew it")
NOT_MADE = skipped("lifetime", "tls failed")


@pytest.mark.parametrize(
    ("finding", "lines"),
    [
        (FINE, ["  pass  dns       found"]),
        (ODD, ["  WARN  clock     late", "                  -> set it"]),
        (WRONG, ["  FAIL  tls       no", "                  -> renew it"]),
        (NOT_MADE, ["  skip  lifetime  tls failed"]),
        (
            failed("dns", "one\ntwo", "mend both"),
            ["  FAIL  dns       one", "                  two", "                  -> mend both"],
        ),
        (passed("scope of a length", "granted"), ["  pass  scope of a length  granted"]),
    ],
)
def test_a_finding_is_a_line_and_its_remedy_another(finding: Finding, lines: list[str]) -> None:
    """A finding is one line, with a line more for each further thing, and for the remedy."""
    assert [*finding.lines(8)] == lines


def test_nothing_of_a_server_steers_the_terminal() -> None:
    """Control characters are shown, not obeyed, wherever they stand."""
    shown = "".join(failed("a\x1b[2J", "b\x9b\nc\r", "d\x07").lines(1))

    assert shown == shown.encode("unicode_escape").decode().replace("\\\\", "\\")
    assert "\\x1b" in shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("findings", "outcome", "line"),
    [
        ([FINE], Outcome.PASS, "all is well (1 token request)"),
        ([FINE, NOT_MADE], Outcome.PASS, "all is well (1 token request)"),
        ([FINE, ODD], Outcome.WARN, "it works; look at: clock (1 token request)"),
        ([ODD, WRONG, NOT_MADE], Outcome.FAIL, "1 failed; begin with: tls (1 token request)"),
        ([FINE, WRONG, WRONG], Outcome.FAIL, "2 failed; begin with: tls (1 token request)"),
        ([NOT_MADE], Outcome.PASS, "all is well (1 token request)"),
    ],
)
def test_the_worst_outcome_is_that_of_the_whole(
    findings: list[Finding], outcome: Outcome, line: str
) -> None:
    """One failure makes the whole one, else one warning does; what was skipped does not count."""
    assert overall(findings) is outcome
    assert verdict(findings, 1) == line


def test_requests_are_counted_in_words() -> None:
    """The last line says how many token requests were made."""
    assert [verdict([FINE], number).rpartition("(")[2] for number in (0, 1, 2)] == [
        "0 token requests)",
        "1 token request)",
        "2 token requests)",
    ]


def test_the_document_is_plain_and_stable() -> None:
    """A machine gets these names and no others, of strings, numbers and null alone."""
    assert json.loads(json.dumps(document([FINE, ODD, WRONG, NOT_MADE], 3))) == {
        "outcome": "fail",
        "token_requests": 3,
        "checks": [
            {"name": "dns", "outcome": "pass", "detail": "found", "remedy": None},
            {"name": "clock", "outcome": "warn", "detail": "late", "remedy": "set it"},
            {"name": "tls", "outcome": "fail", "detail": "no", "remedy": "renew it"},
            {"name": "lifetime", "outcome": "skip", "detail": "tls failed", "remedy": None},
        ],
    }
