"""Assertions about the requests that a sandbox received."""

from __future__ import annotations

import pytest

from okta_tokens.sandbox import Sandbox
from tests.sandbox.support import ORG_TOKEN, TOKEN, Harness, basic


async def test_token_requests_are_counted_by_their_properties(harness: Harness) -> None:
    """Token requests are counted by scopes in any order, client, status and path."""
    token = await harness.token("b a")
    await harness.request_token("unknown")
    await harness.request_token("a", ORG_TOKEN)
    revocation = "/oauth2/default/v1/revoke"
    await harness.send(revocation, {"token": token}, headers=basic())
    received = harness.sandbox.assert_received

    received(3)
    received(1, scopes="a b")
    received(1, scopes=["b", "a"], client_id="batch", status=200, path=TOKEN)
    received(1, scopes=iter(["a"]), path=ORG_TOKEN)
    received(0, client_id="reports")
    received(1, status=400)
    received(1, path=revocation)


async def test_a_failed_assertion_shows_what_was_received(harness: Harness) -> None:
    """The message is a table of all requests, without secrets; matching ones have a mark."""
    token = await harness.token()
    await harness.request_token("z", headers=basic("first-secret", "batch"))

    with pytest.raises(AssertionError) as caught:
        harness.sandbox.assert_received(2, scopes="a")
    count, head, *rows = str(caught.value).splitlines()
    assert count.startswith("assert_received: 1 requests match, and 2 are expected. ")
    assert head.split() == [
        "time",
        "(UTC)",
        "path",
        "client",
        "method",
        "scopes",
        "status",
        "error",
    ]
    assert [row.split() for row in rows] == [
        ["*", "22:13:20.000", TOKEN, "batch", "client_secret_basic", "a", "200", "-"],
        ["22:13:20.000", TOKEN, "-", "client_secret_basic", "z", "401", "invalid_client"],
    ]
    assert {row.index("client_secret_basic") for row in rows} == {head.index("method")}
    assert token not in str(caught.value)
    assert caught.traceback[-1].frame.f_locals["__tracebackhide__"]


async def test_the_table_has_the_last_requests(harness: Harness) -> None:
    """A table of many requests has the last 50, and no table says that there was no request."""
    with pytest.raises(AssertionError, match="received no request"):
        Sandbox().assert_received(1)
    for _ in range(52):
        await harness.request_token()

    with pytest.raises(AssertionError, match="2 earlier requests are not shown") as caught:
        harness.sandbox.assert_received(1)
    assert str(caught.value).count("*  22:13") == 50
