"""The protected resource accepts live tokens only (RFC 6750)."""

from __future__ import annotations

import pytest

from tests.sandbox.support import PARTNER, Harness, basic, form


async def test_a_live_token_is_accepted_by_any_method(here: Harness) -> None:
    """Tokens of every authorization server are good for the resource."""
    token = await here.token()
    org = await here.send(
        "/oauth2/v1/token", form("okta.users.read"), headers=basic("partner", PARTNER.secrets[0])
    )

    assert (await here.call(token)).json == {"ok": True}
    assert (await here.call(org.json["access_token"])).status == 200
    headers = {"Authorization": f"bearer {token}"}
    assert (await here.send("/resource", b"x", headers=headers)).status == 200
    assert here.sandbox.resource_calls == 3
    assert here.sandbox.resource_refused == 0


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic abc"}], ids=str
)
async def test_without_a_token_no_error_code_is_told(
    here: Harness, headers: dict[str, str]
) -> None:
    """A request without a bearer token gets a bare challenge (RFC 6750 §3.1)."""
    reply = await here.send("/resource", method="GET", headers=headers)

    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="okta-tokens-sandbox"'
    assert here.sandbox.resource_refused == 1


async def test_an_expired_token_is_counted_apart_from_unknown_and_revoked_ones(
    here: Harness,
) -> None:
    """Unknown, revoked and expired tokens are all refused, and the expired ones counted."""
    token, revoked = await here.token(), await here.token()
    assert here.sandbox.revoke(revoked)

    for value in (revoked, "unknown"):
        reply = await here.call(value)
        assert reply.status == 401
        assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
    assert here.sandbox.expired_tokens_seen == 0

    here.clock.now += 300
    assert (await here.call(token)).status == 401
    assert here.sandbox.expired_tokens_seen == 1
    assert here.sandbox.resource_refused == 3


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("?scope=a", 200, ""),
        ("?scope=", 200, ""),
        ("?scope=a+c", 403, 'error="insufficient_scope"'),
        ("?scope=%22", 400, 'error="invalid_request"'),
    ],
)
async def test_a_demanded_scope_must_be_in_the_token(
    here: Harness, query: str, status: int, error: str
) -> None:
    """The query can demand scopes; a token without them is a 403."""
    reply = await here.call(await here.token("a b"), query)

    assert reply.status == status
    assert error in reply.headers.get("WWW-Authenticate", "")


async def test_all_tokens_can_be_revoked_at_once(here: Harness) -> None:
    """After `revoke_all` every token is refused, until a new one is issued."""
    tokens = [await here.token() for _ in range(3)]
    assert here.sandbox.revoke_all() == 3

    assert {(await here.call(token)).status for token in tokens} == {401}
    assert (await here.call(await here.token())).status == 200
    assert here.sandbox.tokens_revoked == 3
