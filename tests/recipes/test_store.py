"""The recipes for a store that processes share, and for the doctor that checks it."""

import json
import os

import pytest

from okta_tokens import TokenProvider
from okta_tokens.doctor import Outcome
from okta_tokens.sandbox import Fault
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.recipes.support import recipe, replace_texts, run_code, run_source
from tests.stores.servers import server


async def test_processes_share_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that one process fetched with the recipe is adopted by the next process."""
    monkeypatch.setenv("TOKEN_STORE_KEYS", f"{generate_key()} {generate_key()}")
    async with run_source() as (okta, acme, _), server() as valkey:
        code = replace_texts(recipe("store"), {"rediss://tokens.acme.com": valkey.url})
        values = set()
        for _ in range(2):
            names = await run_code(code, acme=acme, os=os, TokenProvider=TokenProvider)
            values.add(names["token"].value)

        assert len(values) == okta.token_requests == 1


async def test_a_service_runs_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    """The diagnosis passes with a sandbox and a server, and is printed if a check fails."""
    async with (
        run_source() as (okta, acme, _),
        server() as valkey,
        RedisTokenStore(valkey.url, keys=generate_key()) as store,
    ):
        names = await run_code(recipe("doctor"), acme=acme, json=json, store=store)
        assert names["diagnosis"].outcome is Outcome.PASS
        assert capsys.readouterr().out == ""
        okta.fault = Fault.status(503)
        await run_code(recipe("doctor"), acme=acme, json=json, store=store)

    assert json.loads(capsys.readouterr().out)["outcome"] == "fail"
