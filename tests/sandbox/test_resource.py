"""The protected resource accepts live tokens only (RFC 6750), bound ones with proofs (RFC 9449)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.jwts import bound_token, ec_key, proof
from tests.sandbox.support import PARTNER, Harness, Reply, basic, form

ALGORITHMS = "RS256 RS384 RS512 ES256 ES384 ES512"


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


async def prove(
    here: Harness,
    token: str,
    path: str = "/resource",
    *,
    scheme: str = "DPoP",
    method: str = "GET",
    **changes: Any,  # noqa: ANN401 — as `proof` takes them
) -> Reply:
    """Call the resource with a token and a proof, a good one if nothing is changed."""
    url = here.sandbox.origin + path.partition("?")[0]
    claims: dict[str, Any] = {"token": token, "method": method, **changes}
    headers = {"Authorization": f"{scheme} {token}", "DPoP": proof(url, **claims)}
    return await here.send(path, method=method, headers=headers)


@pytest.mark.parametrize("path", ["/resource", "/resource?scope=a", "/resource/users/me"])
async def test_a_bound_token_is_accepted_with_a_proof(here: Harness, path: str) -> None:
    """A proof of the token's key, for this very call, opens the resource and what lies below."""
    token = await bound_token(here)

    for method in ("GET", "DELETE"):
        assert (await prove(here, token, path, method=method, scheme="dpop")).status == 200
    assert here.sandbox.resource_refused == 0


@pytest.mark.parametrize(
    ("path", "htu", "status"),
    [
        ("/resource/a%40b.example", "/resource/a@b.example", 200),
        ("/resource/a%40b.example", "/resource/a%40b.example", 401),
        ("/resource/a%20b", "/resource/a%20b", 200),
        ("/resource/a?x=1", "/resource/a?x=1", 401),
    ],
)
async def test_the_path_of_a_proof_is_decoded(
    here: Harness, path: str, htu: str, status: int
) -> None:
    """The resource compares as Okta does: the path decoded, and without the query."""
    reply = await prove(here, await bound_token(here), path, htu=here.sandbox.origin + htu)

    assert reply.status == status


@pytest.mark.parametrize(
    ("changes", "error", "description"),
    [
        ({"key": ec_key("two")}, "invalid_token", "another key"),
        ({"scheme": "Bearer"}, "invalid_token", "needs the scheme DPoP"),
        ({"ath": "wrong"}, "invalid_dpop_proof", "'ath'"),
        ({"htm": "POST"}, "invalid_dpop_proof", "'htm'"),
        ({"iat": 1}, "invalid_dpop_proof", "'iat'"),
    ],
)
async def test_what_does_not_prove_possession_is_challenged(
    here: Harness, changes: dict[str, Any], error: str, description: str
) -> None:
    """A bound token with another key or scheme, or a bad proof, is a 401 for the scheme DPoP."""
    reply = await prove(here, await bound_token(here), **changes)
    challenge = reply.headers["WWW-Authenticate"]

    assert reply.status == 401
    assert challenge.startswith(f'DPoP realm="okta-tokens-sandbox", algs="{ALGORITHMS}", error=')
    assert f'error="{error}"' in challenge
    assert description in challenge
    assert here.sandbox.resource_refused == 1


async def test_a_proof_is_needed_and_good_for_one_call(here: Harness) -> None:
    """Without a proof, or with one that was used, a bound token opens nothing."""
    token = await bound_token(here)
    bare = await here.send("/resource", method="GET", headers={"Authorization": f"DPoP {token}"})
    replies = [await prove(here, token, jti="one") for _ in range(2)]

    assert "The DPoP proof JWT header is missing." in bare.headers["WWW-Authenticate"]
    assert [reply.status for reply in replies] == [200, 401]
    assert "has already been used" in replies[1].headers["WWW-Authenticate"]


async def test_a_token_for_any_bearer_is_not_sent_as_a_bound_one(here: Harness) -> None:
    """A proof makes no bound token of one that is not."""
    reply = await prove(here, await here.token())

    assert reply.status == 401
    assert "needs the scheme Bearer" in reply.headers["WWW-Authenticate"]


async def test_a_dead_token_is_dead_in_either_scheme(here: Harness) -> None:
    """A proof does not help a token that is unknown, revoked, expired or too narrow."""
    token, revoked = await bound_token(here), await bound_token(here)
    here.sandbox.revoke(revoked)
    replies = [
        await prove(here, "unknown"),
        await prove(here, revoked),
        await prove(here, token, "/resource?scope=b"),
    ]
    here.clock.now += 300
    replies.append(await prove(here, token, now=here.clock.now))

    assert [reply.status for reply in replies] == [401, 401, 403, 401]
    assert all(reply.headers["WWW-Authenticate"].startswith("DPoP ") for reply in replies)
    assert here.sandbox.expired_tokens_seen == 1


async def test_the_bare_challenge_is_for_the_scheme_that_was_tried(here: Harness) -> None:
    """A call with the scheme DPoP and no token is told the algorithms, and no error code."""
    reply = await here.send("/resource", method="GET", headers={"Authorization": "DPoP "})

    assert reply.headers["WWW-Authenticate"] == (
        f'DPoP realm="okta-tokens-sandbox", algs="{ALGORITHMS}"'
    )


async def test_the_resource_can_want_nonces_of_its_own(here: Harness) -> None:
    """If so set, a proof without the resource's nonce is a 401 that tells it (RFC 9449 §9)."""
    token = await bound_token(here)
    here.sandbox.resource_nonce = True
    first = await prove(here, token, nonce=here.sandbox.dpop_nonce())
    nonce = first.headers["DPoP-Nonce"]
    second = await prove(here, token, nonce=nonce)
    here.sandbox.rotate_dpop_nonce(forget=True)
    third = await prove(here, token, nonce=nonce)

    assert [reply.status for reply in (first, second, third)] == [401, 200, 401]
    assert 'error="use_dpop_nonce"' in first.headers["WWW-Authenticate"]
    assert second.headers["DPoP-Nonce"] == nonce
    assert third.headers["DPoP-Nonce"] != nonce
    assert "DPoP-Nonce" not in (await here.call(token)).headers


async def test_only_the_resource_and_what_lies_below_is_protected(here: Harness) -> None:
    """A path that merely begins alike does not exist."""
    assert (await here.send("/resources", method="GET")).status == 404
