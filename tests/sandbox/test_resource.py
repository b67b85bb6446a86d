"""The protected resource accepts only live tokens; bound tokens need a proof (RFC 9449)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.jwts import bound_token, ec_key, proof
from tests.sandbox.support import PARTNER, Harness, HttpResponse, basic, form

ALGORITHMS = "RS256 RS384 RS512 ES256 ES384 ES512"


async def test_a_live_token_is_accepted_with_any_http_method(harness: Harness) -> None:
    """The resource accepts the tokens of every authorization server."""
    token = await harness.token()
    org = await harness.send(
        "/oauth2/v1/token", form("okta.users.read"), headers=basic("partner", PARTNER.secrets[0])
    )

    assert (await harness.call_resource(token)).json == {"ok": True}
    assert (await harness.call_resource(org.json["access_token"])).status == 200
    headers = {"Authorization": f"bearer {token}"}
    assert (await harness.send("/resource", b"x", headers=headers)).status == 200
    assert harness.sandbox.resource_calls == 3
    assert harness.sandbox.resource_refused == 0


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic abc"}], ids=str
)
async def test_the_challenge_for_a_call_without_a_token_has_no_error_code(
    harness: Harness, headers: dict[str, str]
) -> None:
    """A call without a bearer token gets a challenge without an error (RFC 6750 §3.1)."""
    response = await harness.send("/resource", method="GET", headers=headers)

    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="okta-tokens-sandbox"'
    assert harness.sandbox.resource_refused == 1


async def test_only_expired_tokens_are_counted_as_expired(
    harness: Harness,
) -> None:
    """Unknown, revoked and expired tokens are refused; only expired ones are counted as such."""
    token, revoked = await harness.token(), await harness.token()
    assert harness.sandbox.revoke(revoked)

    for value in (revoked, "unknown"):
        response = await harness.call_resource(value)
        assert response.status == 401
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert harness.sandbox.expired_tokens_seen == 0

    harness.clock.now += 300
    assert (await harness.call_resource(token)).status == 401
    assert harness.sandbox.expired_tokens_seen == 1
    assert harness.sandbox.resource_refused == 3


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("?scope=a", 200, ""),
        ("?scope=", 200, ""),
        ("?scope=a+c", 403, 'error="insufficient_scope"'),
        ("?scope=%22", 400, 'error="invalid_request"'),
    ],
)
async def test_a_required_scope_must_be_in_the_token(
    harness: Harness, query: str, status: int, error: str
) -> None:
    """The query can require scopes; a token without them gets a 403."""
    response = await harness.call_resource(await harness.token("a b"), query)

    assert response.status == status
    assert error in response.headers.get("WWW-Authenticate", "")


async def test_revoke_all_revokes_every_token(harness: Harness) -> None:
    """After `revoke_all` every earlier token is refused, and a new one is accepted."""
    tokens = [await harness.token() for _ in range(3)]
    assert harness.sandbox.revoke_all() == 3

    assert {(await harness.call_resource(token)).status for token in tokens} == {401}
    assert (await harness.call_resource(await harness.token())).status == 200
    assert harness.sandbox.tokens_revoked == 3


async def call_with_proof(
    harness: Harness,
    token: str,
    path: str = "/resource",
    *,
    scheme: str = "DPoP",
    method: str = "GET",
    **changes: Any,  # noqa: ANN401 — the arguments of `proof`
) -> HttpResponse:
    """Call the resource with a token and a proof, which is valid unless it is changed."""
    url = harness.sandbox.origin + path.partition("?")[0]
    claims: dict[str, Any] = {"token": token, "method": method, **changes}
    headers = {"Authorization": f"{scheme} {token}", "DPoP": proof(url, **claims)}
    return await harness.send(path, method=method, headers=headers)


@pytest.mark.parametrize("path", ["/resource", "/resource?scope=a", "/resource/users/me"])
async def test_a_bound_token_is_accepted_with_a_proof(harness: Harness, path: str) -> None:
    """A call with a valid proof of the token's key is accepted, also below the resource."""
    token = await bound_token(harness)

    for method in ("GET", "DELETE"):
        assert (
            await call_with_proof(harness, token, path, method=method, scheme="dpop")
        ).status == 200
    assert harness.sandbox.resource_refused == 0


@pytest.mark.parametrize(
    ("path", "htu", "status"),
    [
        ("/resource/a%40b.example", "/resource/a@b.example", 200),
        ("/resource/a%40b.example", "/resource/a%40b.example", 401),
        ("/resource/a%20b", "/resource/a%20b", 200),
        ("/resource/a?x=1", "/resource/a?x=1", 401),
    ],
)
async def test_the_path_in_a_proof_is_decoded(
    harness: Harness, path: str, htu: str, status: int
) -> None:
    """The resource compares `htu` with the decoded path, without the query, as Okta does."""
    response = await call_with_proof(
        harness, await bound_token(harness), path, htu=harness.sandbox.origin + htu
    )

    assert response.status == status


@pytest.mark.parametrize(
    ("changes", "error", "description"),
    [
        ({"key": ec_key("two")}, "invalid_token", "another key"),
        ({"scheme": "Bearer"}, "invalid_token", "needs the scheme DPoP"),
        ({"ath": "wrong"}, "invalid_dpop_proof", "'ath'"),
        ({"htm": "POST"}, "invalid_dpop_proof", "'htm'"),
    ],
)
async def test_a_call_that_does_not_prove_possession_is_refused(
    harness: Harness, changes: dict[str, Any], error: str, description: str
) -> None:
    """Another key or scheme, or an invalid proof, is a 401 with a DPoP challenge."""
    response = await call_with_proof(harness, await bound_token(harness), **changes)
    challenge = response.headers["WWW-Authenticate"]

    assert response.status == 401
    assert challenge.startswith(f'DPoP realm="okta-tokens-sandbox", algs="{ALGORITHMS}", error=')
    assert f'error="{error}"' in challenge
    assert description in challenge
    assert harness.sandbox.resource_refused == 1


async def test_each_call_with_a_bound_token_needs_its_own_proof(harness: Harness) -> None:
    """A bound token is refused without a proof and with a used proof."""
    token = await bound_token(harness)
    bare = await harness.send("/resource", method="GET", headers={"Authorization": f"DPoP {token}"})
    responses = [await call_with_proof(harness, token, jti="one") for _ in range(2)]

    assert "The DPoP proof JWT header is missing." in bare.headers["WWW-Authenticate"]
    assert [response.status for response in responses] == [200, 401]
    assert "has already been used" in responses[1].headers["WWW-Authenticate"]


async def test_an_unbound_token_is_refused_with_the_scheme_dpop(harness: Harness) -> None:
    """A call with a proof needs a bound token."""
    response = await call_with_proof(harness, await harness.token())

    assert response.status == 401
    assert "needs the scheme Bearer" in response.headers["WWW-Authenticate"]


async def test_a_proof_does_not_make_an_invalid_token_valid(harness: Harness) -> None:
    """An unknown, revoked or expired token, or one without the scope, is refused with a proof."""
    token, revoked = await bound_token(harness), await bound_token(harness)
    harness.sandbox.revoke(revoked)
    responses = [
        await call_with_proof(harness, "unknown"),
        await call_with_proof(harness, revoked),
        await call_with_proof(harness, token, "/resource?scope=b"),
    ]
    harness.clock.now += 300
    responses.append(await call_with_proof(harness, token, now=harness.clock.now))

    assert [response.status for response in responses] == [401, 401, 403, 401]
    assert all(response.headers["WWW-Authenticate"].startswith("DPoP ") for response in responses)
    assert harness.sandbox.expired_tokens_seen == 1


async def test_the_challenge_has_the_scheme_of_the_call(harness: Harness) -> None:
    """A call with the scheme DPoP and no token gets the algorithms, and no error code."""
    response = await harness.send("/resource", method="GET", headers={"Authorization": "DPoP "})

    assert response.headers["WWW-Authenticate"] == (
        f'DPoP realm="okta-tokens-sandbox", algs="{ALGORITHMS}"'
    )


async def test_the_resource_can_require_its_own_nonces(harness: Harness) -> None:
    """With `resource_nonce` a proof without its nonce gets a 401 with one (RFC 9449 §9)."""
    token = await bound_token(harness)
    harness.sandbox.resource_nonce = True
    first = await call_with_proof(harness, token, nonce=harness.sandbox.dpop_nonce())
    nonce = first.headers["DPoP-Nonce"]
    second = await call_with_proof(harness, token, nonce=nonce)
    harness.sandbox.rotate_dpop_nonce(forget=True)
    third = await call_with_proof(harness, token, nonce=nonce)

    assert [response.status for response in (first, second, third)] == [401, 200, 401]
    assert 'error="use_dpop_nonce"' in first.headers["WWW-Authenticate"]
    assert second.headers["DPoP-Nonce"] == nonce
    assert third.headers["DPoP-Nonce"] != nonce
    assert "DPoP-Nonce" not in (await harness.call_resource(token)).headers


async def test_a_path_that_only_starts_like_the_resource_does_not_exist(harness: Harness) -> None:
    """`/resources` is not the resource, and not a path below it."""
    assert (await harness.send("/resources", method="GET")).status == 404
