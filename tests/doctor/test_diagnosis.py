"""The results of checks, and what they say together."""

from __future__ import annotations

import json

import pytest

from okta_tokens.doctor._diagnosis import (
    Diagnosis,
    Outcome,
    Result,
    failed,
    passed,
    skipped,
    warned,
)

PASSED = passed("dns", "found")
WARNED = warned("clock", "late", "set it")
FAILED = failed("tls", "no", "renew it")
SKIPPED = skipped("lifetime", "tls failed")


@pytest.mark.parametrize(
    ("results", "outcome"),
    [
        ([PASSED], Outcome.PASS),
        ([PASSED, SKIPPED], Outcome.PASS),
        ([SKIPPED], Outcome.PASS),
        ([PASSED, WARNED], Outcome.WARN),
        ([WARNED, FAILED, SKIPPED], Outcome.FAIL),
    ],
)
def test_the_worst_outcome_counts(results: list[Result], outcome: Outcome) -> None:
    """One failure fails the whole; without failures one warning counts; skips do not count."""
    diagnosis = Diagnosis(tuple(results), 3)

    assert diagnosis.outcome is outcome
    assert diagnosis.ok is (outcome is not Outcome.FAIL)


def test_the_document_is_json() -> None:
    """The document has exactly these names, with strings, numbers and null as values."""
    diagnosis = Diagnosis((PASSED, WARNED, FAILED, SKIPPED), 3)

    assert json.loads(json.dumps(diagnosis.as_dict())) == {
        "outcome": "fail",
        "token_requests": 3,
        "checks": [
            {"name": "dns", "outcome": "pass", "detail": "found", "remedy": None},
            {"name": "clock", "outcome": "warn", "detail": "late", "remedy": "set it"},
            {"name": "tls", "outcome": "fail", "detail": "no", "remedy": "renew it"},
            {"name": "lifetime", "outcome": "skip", "detail": "tls failed", "remedy": None},
        ],
    }
