"""The recipes for a store that processes share, and for the doctor that checks it."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from okta_tokens.sandbox import Fault
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.recipes.support import (
    recipe,
    replace_texts,
    run_code,
    run_in_thread,
    run_source,
)
from tests.stores.servers import server


async def test_processes_share_a_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token that one process fetched with the recipe is adopted by the next process."""
    monkeypatch.setenv("TOKEN_STORE_KEYS", f"{generate_key()} {generate_key()}")
    async with run_source() as (okta, _, _), server() as valkey:
        code = replace_texts(recipe("store"), {"rediss://tokens.acme.com": valkey.url})
        for _ in range(2):
            await run_in_thread(code)

        assert capsys.readouterr().out.count("AccessToken(") == 2
        assert okta.token_requests == 1


OUR_STORE = """
from functools import partial
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from okta_tokens.testing.store_contract import *
OurStore = partial(RedisTokenStore, keys=generate_key())
"""
"""The module with the store of the user, which is that of this package."""

CONFTEST = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


async def test_the_contract_tests_a_store(tmp_path: Path) -> None:
    """The recipe runs the contract, and tells a store with optional parts which classes to use."""
    async with server() as valkey:
        for bases, tells in (
            ("StoreContract", "the store is a FleetStore; derive the class"),
            ("FleetStoreContract, NotifyingStoreContract", " passed in "),
        ):
            texts = {
                "rediss://tokens.acme.com": valkey.url,
                "(StoreContract)": f"({bases})",
                "import StoreContract": f"import {bases}",
            }
            code = replace_texts(recipe("store_contract"), texts)
            file = tmp_path / f"test_{len(bases)}.py"
            file.write_text(code)
            (tmp_path / "our_store.py").write_text(OUR_STORE)
            (tmp_path / "conftest.py").write_text(CONFTEST)
            command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file)
            run = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
            )
            output, _ = await run.communicate()
            assert tells in output.decode()
            assert ("failed" in output.decode()) == (bases == "StoreContract")


async def test_a_service_runs_the_doctor() -> None:
    """The diagnosis passes with a sandbox and a server, and fails in an outage."""
    async with (
        run_source() as (okta, _, _),
        server() as valkey,
        RedisTokenStore(valkey.url, keys=generate_key()) as store,
    ):
        diagnose = run_code(recipe("doctor"))["check"]
        before = await diagnose(store)
        okta.fault = Fault.status(503)
        during = await diagnose(store)

    assert json.loads(json.dumps([before["outcome"], during["outcome"]])) == ["pass", "fail"]
    assert "store" in {check["name"] for check in before["checks"]}
