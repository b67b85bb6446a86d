"""Tokens are issued, bound, signed, revoked and introspected over HTTP."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from functools import partial
from urllib.parse import quote, quote_plus

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.sandbox.jwts import (
    SECRET,
    assertion,
    assertion_form,
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
    run_sandbox,
)

SIGNER = SandboxClient("signer", keys=[public(ec_key())], scopes=["a", "b", "okta.users.read"])
HASHER = SandboxClient("hasher", [SECRET], scopes=["a", "okta.users.read"])
BOUND = SandboxClient("bound", ["secret"], scopes=["a"], dpop=True)
INTROSPECT = "/oauth2/default/v1/introspect"


async def test_a_revoked_token_is_refused_and_revocation_can_be_repeated(harness: Harness) -> None:
    """The response to a revocation is 200 for any token (RFC 7009 §2.2)."""
    token = await harness.token()
    for value in (token, token, "unknown"):
        response = await harness.send(
            "/oauth2/default/v1/revoke", {"token": value}, headers=basic()
        )
        assert (response.status, response.body) == (200, b"")

    assert (await harness.call_resource(token)).status == 401
    assert harness.sandbox.tokens_revoked == 1


async def test_a_client_revokes_only_its_own_tokens_at_the_issuing_server(harness: Harness) -> None:
    """Another client is refused, and another server does not know the token."""
    token = await harness.token()
    other = basic("reports", "reports-secret")
    refused = await harness.send("/oauth2/default/v1/revoke", {"token": token}, headers=other)
    elsewhere = await harness.send("/oauth2/v1/revoke", {"token": token}, headers=basic())

    assert (refused.status, refused.json["error"]) == (400, "invalid_request")
    assert elsewhere.status == 200
    assert (await harness.call_resource(token)).status == 200


@pytest.mark.parametrize("name", ["revoke", "introspect"])
async def test_revocation_and_introspection_require_authentication_and_a_token(
    harness: Harness, name: str
) -> None:
    """Both endpoints require client authentication and the parameter `token`."""
    path = f"/oauth2/default/v1/{name}"
    unauthenticated = await harness.send(path, {"token": "x"}, headers=basic(secret="wrong"))
    missing = await harness.send(path, {"x": "y"}, headers=basic())

    assert (unauthenticated.status, unauthenticated.json["error"]) == (401, "invalid_client")
    assert (missing.status, missing.json["error"]) == (400, "invalid_request")


async def test_introspection_describes_live_tokens_only(harness: Harness) -> None:
    """A live token is described; any other is only reported as inactive (RFC 7662 §2.2)."""
    token = await harness.token("a b")
    path = "/oauth2/default/v1/introspect"
    live = await harness.send(path, {"token": token}, headers=basic())
    elsewhere = await harness.send("/oauth2/v1/introspect", {"token": token}, headers=basic())
    harness.clock.now += 300
    expired = await harness.send(path, {"token": token}, headers=basic())

    assert live.json == {
        "active": True,
        "token_type": "Bearer",
        "scope": "a b",
        "client_id": "batch",
        "sub": "batch",
        "iss": f"{harness.sandbox.origin}/oauth2/default",
        "iat": int(START),
        "exp": int(START) + 300,
    }
    assert elsewhere.json == expired.json == {"active": False}


SPECIAL = "".join(map(chr, range(0x20, 0x7F)))
"""Every character that a secret of one's own may contain."""


def lower_case_escapes(text: str) -> str:
    """Form-encode a text with the hexadecimal digits in lower case."""
    return re.sub("%..", lambda escape: escape[0].lower(), quote_plus(text))


@pytest.mark.parametrize("secret", [SPECIAL, "100%", "%41%42", "a+b", "a:b", " ", "%C3%A9"])
@pytest.mark.parametrize("client_id", ["0oaplain", "0oa +%&=/?~", "%41"])
@pytest.mark.parametrize("encode", [str, quote_plus, partial(quote, safe=""), lower_case_escapes])
async def test_basic_credentials_may_be_form_encoded(
    encode: Callable[[str], str], client_id: str, secret: str
) -> None:
    """Every endpoint accepts a Basic header whose id and secret are form-encoded, or are not."""

    def header(password: str) -> dict[str, str]:
        text = f"{encode(client_id)}:{encode(password)}"
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    async with run_sandbox() as harness:
        harness.sandbox.put_client(SandboxClient(client_id, [secret], scopes=["a"]))
        fields = form("a", token="unknown")
        for path in (TOKEN, "/oauth2/default/v1/revoke", INTROSPECT):
            right = await harness.send(path, fields, headers=header(secret))
            wrong = await harness.send(path, fields, headers=header(f"{secret}x"))

            assert (right.status, wrong.status) == (200, 401)
        assert {request.client_id for request in harness.sandbox.received} == {client_id}


async def test_a_signed_assertion_authenticates_a_client(harness: Harness) -> None:
    """`private_key_jwt` works at both kinds of server, `client_secret_jwt` at custom servers."""
    harness.sandbox.put_client(SIGNER)
    harness.sandbox.put_client(HASHER)
    origin = harness.sandbox.origin

    custom = await harness.send(TOKEN, form("a", **assertion_form(assertion(origin + TOKEN))))
    org = await harness.send(
        ORG_TOKEN, form("okta.users.read", **assertion_form(assertion(origin + ORG_TOKEN)))
    )
    hashed = await harness.send(TOKEN, form("a", **assertion_form(hmac_assertion(origin + TOKEN))))
    refused = await harness.send(
        ORG_TOKEN, form("okta.users.read", **assertion_form(hmac_assertion(origin + ORG_TOKEN)))
    )

    assert [response.status for response in (custom, org, hashed, refused)] == [200, 200, 200, 401]
    assert "must use the private_key_jwt" in refused.json["error_description"]
    methods = [request.method for request in harness.sandbox.received]
    assert methods == ["private_key_jwt"] * 2 + ["client_secret_jwt"] * 2


@pytest.mark.parametrize("name", ["revoke", "introspect"])
async def test_each_endpoint_requires_its_own_audience(harness: Harness, name: str) -> None:
    """The audience of an assertion is the URL of the endpoint that is called."""
    harness.sandbox.put_client(SIGNER)
    path = f"/oauth2/default/v1/{name}"
    own = assertion_form(assertion(harness.sandbox.origin + path), token="x")
    other = assertion_form(assertion(harness.sandbox.origin + TOKEN), token="x")

    assert (await harness.send(path, own)).status == 200
    refused = await harness.send(path, other)
    assert refused.status == 401
    assert "audience" in refused.json["error_description"]
    used = await harness.send(path, own)
    assert used.json["error_description"] == "The client_assertion token has already been used."


async def test_an_assertion_is_checked_by_the_servers_clock(harness: Harness) -> None:
    """The offset of the server's clock decides whether an assertion is too early or too late."""
    harness.sandbox.put_client(SIGNER)

    async def status_at(offset: float) -> int:
        harness.sandbox.date_offset = offset
        value = assertion(harness.sandbox.origin + TOKEN, exp=START + 3590, iat=START - 5)
        return (await harness.send(TOKEN, form("a", **assertion_form(value)))).status

    assert [await status_at(offset) for offset in (0, -5, -11, 3589, 3590)] == [
        200,
        200,
        401,
        200,
        401,
    ]


async def test_replaced_keys_are_active_from_the_next_request(harness: Harness) -> None:
    """A replaced client has its new keys at once."""
    harness.sandbox.put_client(SIGNER)
    harness.sandbox.put_client(
        SandboxClient("signer", keys=[public(ec_key()), public(rsa_key("two"))], scopes=["a"])
    )
    url = harness.sandbox.origin + TOKEN
    new = assertion(url, rsa_key("two"), algorithm="RS256", header={"kid": "two"})
    assert (await harness.send(TOKEN, form("a", **assertion_form(new)))).status == 200

    harness.sandbox.put_client(SandboxClient("signer", keys=[public(rsa_key("two"))], scopes=["a"]))
    old = await harness.send(TOKEN, form("a", **assertion_form(assertion(url))))
    assert old.json["error_description"] == "The client_assertion JWT kid is invalid."


@pytest.mark.parametrize(
    "change", [{"active": False}, {"methods": ["client_secret_basic"]}], ids=str
)
async def test_a_valid_assertion_does_not_override_the_registration(
    harness: Harness, change: dict[str, object]
) -> None:
    """A client that is inactive or registered for another method is refused."""
    harness.sandbox.put_client(
        SandboxClient("signer", keys=[public(ec_key())], scopes=["a"], **change)  # type: ignore[arg-type]  # one of two of different types
    )
    value = assertion(harness.sandbox.origin + TOKEN)
    response = await harness.send(TOKEN, form("a", **assertion_form(value)))

    assert (response.status, response.json["error"]) == (401, "invalid_client")


async def test_a_proof_binds_the_token(harness: Harness) -> None:
    """A proof makes the token type DPoP; introspection returns the key (RFC 9449 §6.2)."""
    token = await bound_token(harness)
    described = (await harness.send(INTROSPECT, {"token": token}, headers=basic())).json

    assert described["token_type"] == "DPoP"
    assert described["cnf"] == {"jkt": ec_key().thumbprint()}


async def test_a_client_can_be_required_to_send_proofs(harness: Harness) -> None:
    """A client with `dpop` is refused without a proof, after it is authenticated."""
    harness.sandbox.put_client(BOUND)
    wrong = await harness.request_token(headers=basic("bound", "wrong"))
    bare = await harness.request_token(headers=basic("bound", "secret"))

    assert wrong.json["error"] == "invalid_client"
    assert (bare.status, bare.json) == (
        400,
        {
            "error": "invalid_dpop_proof",
            "error_description": "The DPoP proof JWT header is missing.",
        },
    )


async def test_the_response_to_the_first_proof_has_a_nonce(harness: Harness) -> None:
    """A proof without a nonce is refused, and the response has the nonce for the next proof."""
    url = harness.sandbox.origin + TOKEN
    first = await harness.request_token(headers={**basic(), "DPoP": proof(url)})
    nonce = first.headers["DPoP-Nonce"]
    second = await harness.request_token(headers={**basic(), "DPoP": proof(url, nonce=nonce)})

    assert (first.status, first.json) == (
        400,
        {
            "error": "use_dpop_nonce",
            "error_description": "Authorization server requires nonce in DPoP proof.",
        },
    )
    assert nonce == harness.sandbox.dpop_nonce()
    assert (second.status, second.headers["DPoP-Nonce"]) == (200, nonce)


async def test_the_request_that_fetches_a_nonce_uses_up_its_assertion(harness: Harness) -> None:
    """The assertion in a request without a nonce cannot be sent again, as at Okta."""
    harness.sandbox.put_client(SIGNER)
    url = harness.sandbox.origin + TOKEN
    sent = form("a", **assertion_form(assertion(url)))
    first = await harness.send(TOKEN, sent, headers={"DPoP": proof(url)})
    nonce = first.headers["DPoP-Nonce"]
    second = await harness.send(TOKEN, sent, headers={"DPoP": proof(url, nonce=nonce)})

    assert (first.status, second.status) == (400, 401)
    assert second.json["error_description"] == "The client_assertion token has already been used."


async def test_the_org_server_has_its_own_nonces(harness: Harness) -> None:
    """The org server does not accept the nonce of a custom server."""
    url = harness.sandbox.origin + ORG_TOKEN
    headers = basic("partner", "partner-secret")
    sent = {**headers, "DPoP": proof(url, nonce=harness.sandbox.dpop_nonce())}
    refused = await harness.request_token("okta.users.read", ORG_TOKEN, sent)
    again = {**headers, "DPoP": proof(url, nonce=refused.headers["DPoP-Nonce"])}

    assert refused.json["error"] == "use_dpop_nonce"
    assert (await harness.request_token("okta.users.read", ORG_TOKEN, again)).json[
        "token_type"
    ] == "DPoP"


def verify(token: str, jwks: object) -> tuple[dict[str, object], dict[str, object]]:
    """Verify a token with a JWKS, and return its header and claims."""
    keys = KeySet.import_key_set(jwks)  # type: ignore[arg-type]  # JSON
    result = jws.deserialize_compact(token, keys, algorithms=["RS256"])
    return result.headers(), json.loads(result.payload)


async def test_signed_tokens_have_oktas_claims() -> None:
    """A signed token of a custom server has Okta's claims, and the published key verifies it."""
    async with run_sandbox(partial(Sandbox, signed_tokens=True)) as harness:
        harness.sandbox.date_offset = 90
        token = await harness.token("b a")
        keys = await harness.send("/oauth2/default/v1/keys", method="GET")
        header, claims = verify(token, keys.json)
        described = (await harness.send(INTROSPECT, {"token": token}, headers=basic())).json

        assert header == {"alg": "RS256", "kid": keys.json["keys"][0]["kid"]}
        assert str(claims.pop("jti")).startswith("AT.")
        assert claims == {
            "ver": 1,
            "iss": f"{harness.sandbox.origin}/oauth2/default",
            "aud": "api://default",
            "iat": int(START) + 90,
            "exp": int(START) + 390,
            "cid": "batch",
            "sub": "batch",
            "scp": ["b", "a"],
        }
        assert (described["iat"], described["exp"]) == (claims["iat"], claims["exp"])
        assert (await harness.call_resource(token)).status == 200


async def test_signed_tokens_of_the_org_server_and_bound_ones() -> None:
    """The audience of the org server's tokens is the org; a bound token names its key."""
    async with run_sandbox(partial(Sandbox, signed_tokens=True)) as harness:
        org = await harness.request_token(
            "okta.users.read", ORG_TOKEN, basic("partner", PARTNER.secrets[0])
        )
        keys = (await harness.send("/oauth2/v1/keys", method="GET")).json
        _, of_org = verify(org.json["access_token"], keys)
        _, bound = verify(await bound_token(harness), keys)

        assert (of_org["iss"], of_org["aud"]) == (harness.sandbox.origin, harness.sandbox.origin)
        assert bound["cnf"] == {"jkt": ec_key().thumbprint()}
