"""The report of a failed fetch, for cases that `test_get.py` cannot produce."""

from __future__ import annotations

from okta_tokens.cli._failure_report import failure_report
from okta_tokens.errors import FetchError


def test_missing_details_are_omitted() -> None:
    """The report has no line for a detail that the error does not have."""
    report = [*failure_report(FetchError("no luck"))]

    assert report == [
        "no luck",
        "  error        FetchError",
        "  status       no response",
        "  attempts     0",
        "  try again    no: fix the cause first; the same request would fail again",
    ]
