"""Output to standard error."""

from __future__ import annotations

import pytest

from okta_tokens.cli._console import print_error


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Text from a server cannot control the terminal."""
    print_error("no \x1b[2Jtoken", "  Server: \x9b31m\r\u202eevil ü")

    assert capsys.readouterr().err == (
        "okta-tokens: no \\x1b[2Jtoken\n  Server: \\x9b31m\\r\\u202eevil ü\n"
    )
