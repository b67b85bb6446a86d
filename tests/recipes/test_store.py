"""A store that processes share."""

import os

import pytest

from okta_tokens import TokenProvider
from okta_tokens.stores.redis import generate_key
from tests.recipes.support import recipe, replaced, run, tokens
from tests.stores.servers import server


async def test_processes_share_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process has fetched with the recipe, the next one adopts."""
    monkeypatch.setenv("TOKEN_STORE_KEYS", f"{generate_key()} {generate_key()}")
    async with tokens() as (okta, acme, _), server() as valkey:
        code = replaced(recipe("store"), {"rediss://tokens.acme.com": valkey.url})
        values = set()
        for _ in range(2):
            names = await run(code, acme=acme, os=os, TokenProvider=TokenProvider)
            values.add(names["token"].value)

        assert len(values) == okta.token_requests == 1
