"""`okta-tokens store-key`."""

from __future__ import annotations

import pytest

from okta_tokens.cli import main
from okta_tokens.stores.redis import RedisTokenStore


def test_a_printed_key_opens_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints a new key for a store each time."""
    keys = []
    for _ in range(2):
        assert main(["store-key"]) == 0
        keys.append(capsys.readouterr().out.strip())

    assert len({*keys}) == 2
    RedisTokenStore("redis://localhost", keys=keys)


@pytest.mark.usefixtures("without_redis")
def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the extra the command says how to install it, and the exit code is 2."""
    assert main(["store-key"]) == 2

    assert "pip install 'okta-tokens[redis]'" in capsys.readouterr().err
