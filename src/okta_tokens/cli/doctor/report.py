"""The doctor's report: lines as the results arrive, or one JSON document at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from okta_tokens.cli._console import printable
from okta_tokens.doctor import Diagnosis, Outcome, Result

_MARKS = {Outcome.WARN: "WARN", Outcome.FAIL: "FAIL"}
_MAX_WIDTH = 32


class Report:
    """Results that are printed one by one as they arrive, or as one document at the end.

    Args:
        names: The names of all checks.
        as_json: Whether to print one JSON document at the end.
    """

    def __init__(self, names: Iterable[str], *, as_json: bool) -> None:
        self._results: list[Result] = []
        self._width = min(max(map(len, names)), _MAX_WIDTH)
        self._as_json = as_json

    def add(self, result: Result) -> None:
        """Keep a result, and print it unless the report is a document."""
        self._results.append(result)
        if not self._as_json:
            print(*result_lines(result, self._width), sep="\n", flush=True)

    def end(self, requests: int) -> None:
        """Print the summary or the document.

        Args:
            requests: How many token requests were sent.
        """
        diagnosis = Diagnosis(tuple(self._results), requests)
        if self._as_json:
            print(json.dumps(diagnosis.as_dict(), indent=2))
        else:
            print("", summary(diagnosis), sep="\n")


def result_lines(result: Result, width: int) -> Iterator[str]:
    """Yield a result as lines; characters that could control a terminal are escaped.

    Args:
        result: The result.
        width: The width of the column of names, in characters.
    """
    first, *others = result.detail.split("\n")
    mark = _MARKS.get(result.outcome, result.outcome.value)
    yield f"  {mark}  {printable(result.name):{width}}  {printable(first)}"
    margin = " " * (width + 10)
    yield from (f"{margin}{printable(line)}" for line in others)
    if result.remedy is not None:
        yield f"{margin}-> {printable(result.remedy)}"


def summary(diagnosis: Diagnosis) -> str:
    """Return the last line: the overall outcome, where to begin, and the token requests.

    Args:
        diagnosis: The diagnosis.
    """
    worst, requests = diagnosis.outcome, diagnosis.token_requests
    names = [result.name for result in diagnosis.results if result.outcome is worst]
    if worst is Outcome.FAIL:
        text = f"{len(names)} failed; begin with: {names[0]}"
    elif worst is Outcome.WARN:
        text = f"no failures; check the warnings: {', '.join(names)}"
    else:
        text = "no problems found"
    return f"{printable(text)} ({requests} token request{'' if requests == 1 else 's'})"
