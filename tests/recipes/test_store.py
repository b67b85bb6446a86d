"""The recipes for a store that processes share, and for the doctor that checks it."""

import asyncio
import json
import os
import sys
from pathlib import Path

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


PREFACE = """
from contextlib import asynccontextmanager
import pytest
from okta_tokens.stores.redis import RedisTokenStore as OurStore, generate_key
from okta_tokens.testing.store_contract import *
KEYS = generate_key()

@pytest.fixture
def anyio_backend():
    return "asyncio"

"""
"""What stands above the recipe; the store of the user is that of this package."""


async def test_the_contract_tests_a_store(tmp_path: Path) -> None:
    """The recipe runs the contract, and tells a store with optional parts which classes to use."""
    async with server() as valkey:
        for bases, tells in (
            ("StoreContract", "the store is a FleetStore; derive the class"),
            ("FleetStoreContract, NotifyingStoreContract", " passed in "),
        ):
            texts = {"rediss://tokens.acme.com": valkey.url, "(StoreContract)": f"({bases})"}
            code = replace_texts(recipe("store_contract"), texts)
            file = tmp_path / f"test_{len(bases)}.py"
            file.write_text(PREFACE + code)
            command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file)
            run = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
            )
            output, _ = await run.communicate()
            assert tells in output.decode()
            assert ("failed" in output.decode()) == (bases == "StoreContract")


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
