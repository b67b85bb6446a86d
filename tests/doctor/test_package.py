"""The doctor as a package."""

from __future__ import annotations

from tests.test_imports import loaded_by


def test_the_doctor_needs_no_terminal_and_no_extra() -> None:
    """A service that runs the checks loads neither the command nor what only the command needs."""
    loaded = loaded_by("import okta_tokens.doctor") - loaded_by("import structlog")
    not_needed = {"argparse", "okta_tokens.cli", "okta_tokens.sandbox", "redis", "rich"}

    assert not loaded & not_needed
