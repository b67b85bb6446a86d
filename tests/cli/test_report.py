"""What is told of a failed fetch, apart from what `test_get.py` sees on a real socket."""

from __future__ import annotations

from okta_tokens.cli._report import failure_report
from okta_tokens.errors import FetchError


def test_an_error_without_details() -> None:
    """What an error does not know is left out."""
    report = [*failure_report(FetchError("no luck"))]

    assert report == [
        "no luck",
        "  error        FetchError",
        "  status       none: there was no answer",
        "  attempts     0",
        "  try again    no: it would fail the same way; something must be changed first",
    ]
