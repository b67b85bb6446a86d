"""Tokens are issued, bound, signed, revoked and introspected over HTTP."""

from __future__ import annotations

import json
from functools import partial

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.sandbox.jwts import (
    SECRET,
    asserted,
    assertion,
    bound_token,
    ec_key,
    hmac_assertion,
    proof,
    public,
    rsa_key,
)
from tests.sandbox.support import (
    ORG_TOKEN,
    PARTNER,
    START,
    TOKEN,
    Harness,
    basic,
    form,
    harness,
)

SIGNER = SandboxClient("signer", keys=[public(ec_key())], scopes=["a", "b", "okta.users.read"])
HASHER = SandboxClient("hasher", [SECRET], scopes=["a", "okta.users.read"])
BOUND = SandboxClient("bound", ["secret"], scopes=["a"], dpop=True)
INTROSPECT = "/oauth2/default/v1/introspect"


async def test_revoking_makes_a_token_dead_and_unknown_tokens_are_fine(here: Harness) -> None:
    """Revocation answers 200 for live, revoked and unknown tokens (RFC 7009 §2.2)."""
    token = await here.token()
    for value in (token, token, "unknown"):
        reply = await here.send("/oauth2/default/v1/revoke", {"token": value}, headers=basic())
        assert (reply.status, reply.body) == (200, b"")

    assert (await here.call(token)).status == 401
    assert here.sandbox.tokens_revoked == 1


async def test_a_client_revokes_only_its_own_tokens_at_their_own_server(here: Harness) -> None:
    """Another client is refused, and another server does not know the token."""
    token = await here.token()
    other = basic("reports", "reports-secret")
    refused = await here.send("/oauth2/default/v1/revoke", {"token": token}, headers=other)
    elsewhere = await here.send("/oauth2/v1/revoke", {"token": token}, headers=basic())

    assert (refused.status, refused.json["error"]) == (400, "invalid_request")
    assert elsewhere.status == 200
    assert (await here.call(token)).status == 200


@pytest.mark.parametrize("name", ["revoke", "introspect"])
async def test_the_token_endpoints_siblings_authenticate_and_want_a_token(
    here: Harness, name: str
) -> None:
    """Both endpoints demand client authentication and the parameter `token`."""
    path = f"/oauth2/default/v1/{name}"
    stranger = await here.send(path, {"token": "x"}, headers=basic(secret="wrong"))
    missing = await here.send(path, {"x": "y"}, headers=basic())

    assert (stranger.status, stranger.json["error"]) == (401, "invalid_client")
    assert (missing.status, missing.json["error"]) == (400, "invalid_request")


async def test_introspection_describes_live_tokens_only(here: Harness) -> None:
    """A live token is described; any other is only not active (RFC 7662 §2.2)."""
    token = await here.token("a b")
    path = "/oauth2/default/v1/introspect"
    live = await here.send(path, {"token": token}, headers=basic())
    elsewhere = await here.send("/oauth2/v1/introspect", {"token": token}, headers=basic())
    here.clock.now += 300
    expired = await here.send(path, {"token": token}, headers=basic())

    assert live.json == {
        "active": True,
        "token_type": "Bearer",
        "scope": "a b",
        "client_id": "batch",
        "sub": "batch",
        "iss": f"{here.sandbox.origin}/oauth2/default",
        "iat": int(START),
        "exp": int(START) + 300,
    }
    assert elsewhere.json == expired.json == {"active": False}


async def test_a_signed_assertion_is_as_good_as_a_secret(here: Harness) -> None:
    """`private_key_jwt` gets tokens from both kinds of servers, `client_secret_jwt` custom ones."""
    here.sandbox.put_client(SIGNER)
    here.sandbox.put_client(HASHER)
    origin = here.sandbox.origin

    custom = await here.send(TOKEN, form("a", **asserted(assertion(origin + TOKEN))))
    org = await here.send(
        ORG_TOKEN, form("okta.users.read", **asserted(assertion(origin + ORG_TOKEN)))
    )
    hashed = await here.send(TOKEN, form("a", **asserted(hmac_assertion(origin + TOKEN))))
    refused = await here.send(
        ORG_TOKEN, form("okta.users.read", **asserted(hmac_assertion(origin + ORG_TOKEN)))
    )

    assert [reply.status for reply in (custom, org, hashed, refused)] == [200, 200, 200, 401]
    assert "must use the private_key_jwt" in refused.json["error_description"]
    methods = [request.method for request in here.sandbox.received]
    assert methods == ["private_key_jwt"] * 2 + ["client_secret_jwt"] * 2


@pytest.mark.parametrize("name", ["revoke", "introspect"])
async def test_each_endpoint_wants_assertions_of_its_own(here: Harness, name: str) -> None:
    """The audience is the URL of the endpoint that is called, not the token endpoint's."""
    here.sandbox.put_client(SIGNER)
    path = f"/oauth2/default/v1/{name}"
    own = asserted(assertion(here.sandbox.origin + path), token="x")
    other = asserted(assertion(here.sandbox.origin + TOKEN), token="x")

    assert (await here.send(path, own)).status == 200
    refused = await here.send(path, other)
    assert refused.status == 401
    assert "audience" in refused.json["error_description"]
    used = await here.send(path, own)
    assert used.json["error_description"] == "The client_assertion token has already been used."


async def test_an_assertion_is_judged_by_the_servers_clock(here: Harness) -> None:
    """A server whose clock is behind takes a lifetime of an hour for a longer one."""
    here.sandbox.put_client(SIGNER)

    async def ask(offset: float) -> int:
        here.sandbox.date_offset = offset
        value = assertion(here.sandbox.origin + TOKEN, exp=START + 3590, iat=START - 5)
        return (await here.send(TOKEN, form("a", **asserted(value)))).status

    assert [await ask(offset) for offset in (0, -5, -11, 3589, 3590)] == [200, 200, 401, 200, 401]


async def test_keys_are_replaced_at_once(here: Harness) -> None:
    """A client that is put anew has its new keys from the next request on."""
    here.sandbox.put_client(SIGNER)
    here.sandbox.put_client(
        SandboxClient("signer", keys=[public(ec_key()), public(rsa_key("two"))], scopes=["a"])
    )
    url = here.sandbox.origin + TOKEN
    new = assertion(url, rsa_key("two"), algorithm="RS256", header={"kid": "two"})
    assert (await here.send(TOKEN, form("a", **asserted(new)))).status == 200

    here.sandbox.put_client(SandboxClient("signer", keys=[public(rsa_key("two"))], scopes=["a"]))
    old = await here.send(TOKEN, form("a", **asserted(assertion(url))))
    assert old.json["error_description"] == "The client_assertion JWT kid is invalid."


@pytest.mark.parametrize(
    "change", [{"active": False}, {"methods": ["client_secret_basic"]}], ids=str
)
async def test_a_good_assertion_is_not_always_good_enough(
    here: Harness, change: dict[str, object]
) -> None:
    """An inactive client, and one that is registered for another method, is refused."""
    here.sandbox.put_client(
        SandboxClient("signer", keys=[public(ec_key())], scopes=["a"], **change)  # type: ignore[arg-type]  # one of two of different types
    )
    value = assertion(here.sandbox.origin + TOKEN)
    reply = await here.send(TOKEN, form("a", **asserted(value)))

    assert (reply.status, reply.json["error"]) == (401, "invalid_client")


async def test_a_proof_binds_the_token(here: Harness) -> None:
    """With a proof the token's type is DPoP, and introspection tells the key (RFC 9449 §6.2)."""
    token = await bound_token(here)
    described = (await here.send(INTROSPECT, {"token": token}, headers=basic())).json

    assert described["token_type"] == "DPoP"
    assert described["cnf"] == {"jkt": ec_key().thumbprint()}


async def test_a_client_can_be_made_to_send_proofs(here: Harness) -> None:
    """A client that must prove possession is refused without a proof, once it is authenticated."""
    here.sandbox.put_client(BOUND)
    wrong = await here.ask(headers=basic("bound", "wrong"))
    bare = await here.ask(headers=basic("bound", "secret"))

    assert wrong.json["error"] == "invalid_client"
    assert (bare.status, bare.json) == (
        400,
        {
            "error": "invalid_dpop_proof",
            "error_description": "The DPoP proof JWT header is missing.",
        },
    )


async def test_the_first_proof_is_answered_with_a_nonce(here: Harness) -> None:
    """A proof without a nonce is refused, with the nonce that makes the next one good."""
    url = here.sandbox.origin + TOKEN
    first = await here.ask(headers={**basic(), "DPoP": proof(url)})
    nonce = first.headers["DPoP-Nonce"]
    second = await here.ask(headers={**basic(), "DPoP": proof(url, nonce=nonce)})

    assert (first.status, first.json) == (
        400,
        {
            "error": "use_dpop_nonce",
            "error_description": "Authorization server requires nonce in DPoP proof.",
        },
    )
    assert nonce == here.sandbox.dpop_nonce()
    assert (second.status, second.headers["DPoP-Nonce"]) == (200, nonce)


async def test_the_assertion_that_fetched_a_nonce_is_used(here: Harness) -> None:
    """Okta uses up the assertion of the request that it answers with a nonce."""
    here.sandbox.put_client(SIGNER)
    url = here.sandbox.origin + TOKEN
    sent = form("a", **asserted(assertion(url)))
    first = await here.send(TOKEN, sent, headers={"DPoP": proof(url)})
    nonce = first.headers["DPoP-Nonce"]
    second = await here.send(TOKEN, sent, headers={"DPoP": proof(url, nonce=nonce)})

    assert (first.status, second.status) == (400, 401)
    assert second.json["error_description"] == "The client_assertion token has already been used."


async def test_the_org_server_has_nonces_of_its_own(here: Harness) -> None:
    """A custom server's nonce is unknown to the org server."""
    url = here.sandbox.origin + ORG_TOKEN
    headers = basic("partner", "partner-secret")
    sent = {**headers, "DPoP": proof(url, nonce=here.sandbox.dpop_nonce())}
    refused = await here.ask("okta.users.read", ORG_TOKEN, sent)
    again = {**headers, "DPoP": proof(url, nonce=refused.headers["DPoP-Nonce"])}

    assert refused.json["error"] == "use_dpop_nonce"
    assert (await here.ask("okta.users.read", ORG_TOKEN, again)).json["token_type"] == "DPoP"


def verified(token: str, jwks: object) -> tuple[dict[str, object], dict[str, object]]:
    """Return header and claims of a token that one of the keys signed."""
    keys = KeySet.import_key_set(jwks)  # type: ignore[arg-type]  # JSON
    result = jws.deserialize_compact(token, keys, algorithms=["RS256"])
    return result.headers(), json.loads(result.payload)


async def test_tokens_can_be_signed_as_oktas_are() -> None:
    """A signed token of a custom server has Okta's claims, and the published key verifies it."""
    async with harness(partial(Sandbox, signed_tokens=True)) as here:
        here.sandbox.date_offset = 90
        token = await here.token("b a")
        keys = await here.send("/oauth2/default/v1/keys", method="GET")
        header, claims = verified(token, keys.json)
        described = (await here.send(INTROSPECT, {"token": token}, headers=basic())).json

        assert header == {"alg": "RS256", "kid": keys.json["keys"][0]["kid"]}
        assert str(claims.pop("jti")).startswith("AT.")
        assert claims == {
            "ver": 1,
            "iss": f"{here.sandbox.origin}/oauth2/default",
            "aud": "api://default",
            "iat": int(START) + 90,
            "exp": int(START) + 390,
            "cid": "batch",
            "sub": "batch",
            "scp": ["b", "a"],
        }
        assert (described["iat"], described["exp"]) == (claims["iat"], claims["exp"])
        assert (await here.call(token)).status == 200


async def test_signed_tokens_of_the_org_server_and_bound_ones() -> None:
    """The org server's tokens are for the org; a bound token names its key."""
    async with harness(partial(Sandbox, signed_tokens=True)) as here:
        org = await here.ask("okta.users.read", ORG_TOKEN, basic("partner", PARTNER.secrets[0]))
        keys = (await here.send("/oauth2/v1/keys", method="GET")).json
        _, of_org = verified(org.json["access_token"], keys)
        _, bound = verified(await bound_token(here), keys)

        assert (of_org["iss"], of_org["aud"]) == (here.sandbox.origin, here.sandbox.origin)
        assert bound["cnf"] == {"jkt": ec_key().thumbprint()}
