"""Counters can be serialized as JSON, and can be reset."""

from __future__ import annotations

import json

from okta_tokens.sandbox import Sandbox, SandboxClient


def test_counts_are_json_and_can_be_reset() -> None:
    """Counters can be serialized as JSON; a reset sets them to zero and tokens stay live."""
    sandbox = Sandbox([SandboxClient("app", ["one"])])
    token = sandbox.tokens.issue("app", None, ("a",), now=0, lifetime=10)
    sandbox.token_requests = 3
    sandbox.token_answers["200"] += 3
    assert json.loads(json.dumps(sandbox.counts()))["token_answers"] == {"200": 3}

    sandbox.reset_counters()

    assert not any(sandbox.counts().values())
    assert sandbox.received == []
    assert token.live(1)
