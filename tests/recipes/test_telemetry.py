"""The recipes for metrics and traces, with the instrumentations of other libraries."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from okta_tokens.sandbox import Sandbox
from tests.pages import ROOT
from tests.recipes.support import APP, SECRET, recipe, run_in_thread, run_source
from tests.stores.servers import server


async def run_service() -> dict[str, Any]:
    """Run the service with its recipes `"prometheus"` and `"traces"`, and return what it prints."""
    async with Sandbox([APP], lifetime=3) as okta, server() as valkey:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.recipes.traced_service", okta.origin, valkey.url),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    result: dict[str, Any] = json.loads(output)
    return result


async def test_an_observer_is_all_that_metrics_need() -> None:
    """Without an SDK the recipe runs, and measures nothing."""
    async with run_source() as (okta, _, _):
        await run_in_thread(recipe("telemetry"))

        assert okta.token_requests == 1


async def test_a_service_has_metrics_and_traces_without_secrets() -> None:
    """The caller's span is the parent of its fetch; a renewal is a root; nothing shows a secret."""
    result = await run_service()
    spans = result["spans"]
    (served,) = [span["id"] for span in spans if span["kind"] == "SERVER"]
    parents = [span["parent"] for span in spans if span["name"] == "POST"]
    texts = [result["metrics"], *(span["all"] for span in spans)]

    assert parents[:2] == [served, None]
    assert {span["parent"] for span in spans if span["name"] in {"GET", "SET", "EVAL"}} >= {served}
    assert 'okta_tokens_keys{okta_tokens_client_id="0oa1b2c3"' in result["metrics"]
    assert len(result["values"]) == 2
    assert not [text for text in texts for secret in (SECRET, *result["values"]) if secret in text]
