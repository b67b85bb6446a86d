"""What the doctor finds, and how it is told: to a person in lines, to a machine as one document."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from okta_tokens.cli._console import printable


class Outcome(StrEnum):
    """How a check went."""

    PASS = "pass"  # noqa: S105 - an outcome
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


_MARKS = {Outcome.WARN: "WARN", Outcome.FAIL: "FAIL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check. No part of it holds a secret, a key or a token.

    Args:
        name: Which check it was.
        outcome: How it went.
        detail: What was found; a list of things has a line for each.
        remedy: What to do about it; None if there is nothing to do.
    """

    name: str
    outcome: Outcome
    detail: str
    remedy: str | None = None

    def lines(self, width: int) -> Iterator[str]:
        """Return lines for a person; what could steer a terminal is escaped.

        Args:
            width: Of the column of names.
        """
        first, *others = self.detail.split("\n")
        mark = _MARKS.get(self.outcome, self.outcome.value)
        yield f"  {mark}  {printable(self.name):{width}}  {printable(first)}"
        margin = " " * (width + 10)
        yield from (f"{margin}{printable(line)}" for line in others)
        if self.remedy is not None:
            yield f"{margin}-> {printable(self.remedy)}"


def passed(name: str, detail: str) -> Finding:
    """Return the finding of a check that found nothing wrong."""
    return Finding(name, Outcome.PASS, detail)


def warned(name: str, detail: str, remedy: str) -> Finding:
    """Return the finding of what works, and may not for long, or not as it is meant to."""
    return Finding(name, Outcome.WARN, detail, remedy)


def failed(name: str, detail: str, remedy: str) -> Finding:
    """Return the finding of what is wrong."""
    return Finding(name, Outcome.FAIL, detail, remedy)


def skipped(name: str, why: str) -> Finding:
    """Return the finding of a check that could not be made, or had nothing to look at."""
    return Finding(name, Outcome.SKIP, why)


def overall(findings: Collection[Finding]) -> Outcome:
    """Return the worst outcome; what was skipped, was for a reason that counts by itself."""
    outcomes = {finding.outcome for finding in findings}
    return next((it for it in (Outcome.FAIL, Outcome.WARN) if it in outcomes), Outcome.PASS)


def verdict(findings: Collection[Finding], requests: int) -> str:
    """Return the last line: where to begin, and what it took to find out.

    Args:
        findings: All of them.
        requests: How many token requests were made.
    """
    worst = overall(findings)
    concerned = [finding.name for finding in findings if finding.outcome is worst]
    if worst is Outcome.FAIL:
        what = f"{len(concerned)} failed; begin with: {concerned[0]}"
    elif worst is Outcome.WARN:
        what = f"it works; look at: {', '.join(concerned)}"
    else:
        what = "all is well"
    return f"{printable(what)} ({requests} token request{'' if requests == 1 else 's'})"


def document(findings: Collection[Finding], requests: int) -> dict[str, object]:
    """Return everything as what `json.dumps` takes.

    Args:
        findings: All of them.
        requests: How many token requests were made.
    """
    return {
        "outcome": overall(findings),
        "token_requests": requests,
        "checks": [asdict(finding) for finding in findings],
    }
