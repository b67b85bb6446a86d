"""The result of a check, and the diagnosis: all results together."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The results of all checks. No part of it holds a secret, a key or a token.

    Args:
        results: The result of each check, in the order in which the checks ran.
        token_requests: How many token requests were sent.
    """

    results: tuple[Result, ...]
    token_requests: int

    @property
    def ok(self) -> bool:
        """Whether no check failed. A warning is not a failure."""
        return self.outcome is not Outcome.FAIL

    @property
    def outcome(self) -> Outcome:
        """The worst outcome.

        A skipped check does not count: the failure that caused the skip counts by itself.
        """
        outcomes = {result.outcome for result in self.results}
        return next(
            (worst for worst in (Outcome.FAIL, Outcome.WARN) if worst in outcomes), Outcome.PASS
        )

    def as_dict(self) -> dict[str, object]:
        """Return the diagnosis as a value for `json.dumps`.

        Returns:
            `outcome`, `token_requests` and `checks`, a list with the `name`, `outcome`, `detail`
            and `remedy` of each check.
        """
        return {
            "outcome": self.outcome,
            "token_requests": self.token_requests,
            "checks": [asdict(result) for result in self.results],
        }


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
