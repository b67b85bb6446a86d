"""The result of a check, and what all results together say."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - an outcome
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one check. No part of it holds a secret, a key or a token.

    Args:
        name: The name of the check.
        outcome: How the check ended.
        detail: What the check found. If it found several things, each has its own line.
        remedy: What to do; None if there is nothing to do.
    """

    name: str
    outcome: Outcome
    detail: str
    remedy: str | None = None


def passed(name: str, detail: str) -> Result:
    """Return the result of a check that found no problem."""
    return Result(name, Outcome.PASS, detail)


def warned(name: str, detail: str, remedy: str) -> Result:
    """Return the result of a check that found something that works now and may fail later."""
    return Result(name, Outcome.WARN, detail, remedy)


def failed(name: str, detail: str, remedy: str) -> Result:
    """Return the result of a check that found a problem."""
    return Result(name, Outcome.FAIL, detail, remedy)


def skipped(name: str, why: str) -> Result:
    """Return the result of a check that could not run, or had nothing to check."""
    return Result(name, Outcome.SKIP, why)


def overall(results: Collection[Result]) -> Outcome:
    """Return the worst outcome.

    A skipped check does not count: the failure that caused the skip counts by itself.

    Args:
        results: The results of all checks.
    """
    outcomes = {result.outcome for result in results}
    return next(
        (worst for worst in (Outcome.FAIL, Outcome.WARN) if worst in outcomes), Outcome.PASS
    )


def document(results: Collection[Result], requests: int) -> dict[str, object]:
    """Return the results as a value for `json.dumps`.

    Args:
        results: The results of all checks.
        requests: How many token requests were sent.
    """
    return {
        "outcome": overall(results),
        "token_requests": requests,
        "checks": [asdict(result) for result in results],
    }
