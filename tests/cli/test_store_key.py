"""A key for a shared store."""

from __future__ import annotations

import pytest

from okta_tokens.cli import main
from okta_tokens.stores.redis import RedisTokenStore


def test_a_key_opens_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is a key that a store takes, and each time another one."""
    keys = []
    for _ in range(2):
        assert main(["store-key"]) == 0
        keys.append(capsys.readouterr().out.strip())

    assert len({*keys}) == 2
    RedisTokenStore("redis://localhost", keys=keys)


@pytest.mark.usefixtures("without_redis")
def test_without_the_extra_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the extra is missing the command says how to get it."""
    assert main(["store-key"]) == 2

    assert "pip install 'okta-tokens[redis]'" in capsys.readouterr().err
