"""What goes to standard error."""

from __future__ import annotations

import pytest

from okta_tokens.cli._console import complain


def test_nothing_of_a_server_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are shown, not obeyed."""
    complain("no \x1b[2Jtoken", "  Server: \x9b31m\r\u202eevil ü")

    assert capsys.readouterr().err == (
        "okta-tokens: no \\x1b[2Jtoken\n  Server: \\x9b31m\\r\\u202eevil ü\n"
    )
