"""The endpoints over HTTP: routes, headers, limits, faults and nonces."""

from __future__ import annotations

import asyncio
import math
import sys
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

import okta_tokens.sandbox
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.sandbox.jwts import assertion, assertion_form, ec_key, proof, public
from tests.sandbox.support import (
    ORG_TOKEN,
    PARTNER,
    START,
    TOKEN,
    Harness,
    basic,
    form,
    run_sandbox,
    until,
)

SIGNER = SandboxClient("signer", keys=[public(ec_key())], scopes=["a"])
FORM = "application/x-www-form-urlencoded"


async def test_a_token_response_has_oktas_members(harness: Harness) -> None:
    """A token response has the four members of Okta's documentation."""
    response = await harness.request_token("b a")

    assert response.status == 200
    assert len(response.json.pop("access_token")) == 64
    assert {**response.json, "access_token": ""} == {
        "token_type": "Bearer",
        "expires_in": 300,
        "access_token": "",
        "scope": "b a",
    }
    assert harness.sandbox.tokens_issued == 1


async def test_the_org_server_grants_okta_scopes_for_an_hour(harness: Harness) -> None:
    """An API service integration gets org tokens with a secret; they live for an hour."""
    response = await harness.send(
        ORG_TOKEN, form("okta.users.read"), headers=basic("partner", PARTNER.secrets[0])
    )

    assert (response.status, response.json["expires_in"]) == (200, 3600)
    assert (await harness.request_token("okta.users.read", ORG_TOKEN)).json[
        "error"
    ] == "invalid_client"


async def test_every_token_response_has_oktas_headers(harness: Harness) -> None:
    """Each response has `Date`, a request id, `no-store` and the rate-limit headers."""
    harness.sandbox.date_offset = 90
    success, error = await harness.request_token(), await harness.request_token("unknown")

    for response in (success, error):
        assert parsedate_to_datetime(response.headers["Date"]).timestamp() == START + 90
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Rate-Limit-Reset"] == str(math.ceil(START + 60 + 90))
        assert response.headers["X-Rate-Limit-Limit"] == "2000"
    assert success.headers["X-Rate-Limit-Remaining"] == "1999"
    assert success.headers["X-Okta-Request-Id"] != error.headers["X-Okta-Request-Id"]


async def test_errors_are_sent_in_both_formats(harness: Harness) -> None:
    """A wrong secret is in OAuth's format with a challenge, an unknown client in Okta's."""
    wrong = await harness.request_token(headers=basic(secret="other"))
    unknown = await harness.request_token(headers=basic("unknown"))

    assert (wrong.status, unknown.status) == (401, 401)
    assert set(wrong.json) == {"error", "error_description"}
    assert wrong.headers["WWW-Authenticate"] == 'Basic realm="Okta"'
    assert unknown.json["errorCode"] == "invalid_client"
    assert unknown.json["errorId"].startswith("oae")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", TOKEN, 405, "E0000022"),
        ("GET", "/oauth2/default/v1/revoke", 405, "E0000022"),
        ("DELETE", "/.well-known/openid-configuration", 405, "E0000022"),
        ("POST", "/oauth2/other/v1/token", 404, "E0000007"),
        ("POST", "/oauth2/other/v1/introspect", 404, "E0000007"),
        ("POST", "//oauth2/v1/token", 404, "E0000008"),
        ("POST", "/oauth2/default/v1/token/", 404, "E0000008"),
        ("GET", "/", 404, "E0000008"),
    ],
)
async def test_wrong_methods_and_paths_are_refused_in_oktas_format(
    harness: Harness, method: str, path: str, status: int, code: str
) -> None:
    """An unsupported method or an unknown path is refused in Okta's format."""
    response = await harness.send(path, method=method, headers=basic())

    assert (response.status, response.json["errorCode"]) == (status, code)
    assert ("Allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "data", "media_type", "error"),
    [
        (TOKEN + "?scope=a", "scope=a", FORM, "invalid_request"),
        (TOKEN, "scope=a", "text/plain", "E0000021"),
        (TOKEN, "scope=a&scope=b", FORM, "invalid_request"),
        (TOKEN, "x" * 1_000_000, FORM, "invalid_request"),
    ],
    ids=["query", "media type", "repeated", "huge"],
)
async def test_a_malformed_request_is_refused(
    harness: Harness, path: str, data: str, media_type: str, error: str
) -> None:
    """A query, another media type, a repeated parameter or a huge body is refused."""
    response = await harness.send(path, data, headers={"Content-Type": media_type})

    assert response.status == 400
    assert error in {response.json.get("error"), response.json.get("errorCode")}


async def test_a_client_that_disconnects_during_its_body_causes_no_error(harness: Harness) -> None:
    """A request with an incomplete body is counted, and handled as malformed."""
    reader, writer = await asyncio.open_connection(harness.sandbox.host, harness.sandbox.port)
    writer.write(b"POST " + TOKEN.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")
    await until(lambda: harness.sandbox.active == 1)
    writer.close()
    await writer.wait_closed()
    await until(lambda: harness.sandbox.active == 0)

    assert harness.sandbox.token_requests == 1
    assert await reader.read() == b""


async def test_a_rotated_secret_is_active_from_the_next_request(harness: Harness) -> None:
    """A replaced client has its new secrets at once, and its tokens stay live."""
    token = await harness.token()
    harness.sandbox.put_client(SandboxClient("batch", ["third-secret"], scopes=["a"]))

    assert (await harness.request_token()).status == 401
    assert (await harness.request_token(headers=basic(secret="third-secret"))).status == 200
    assert (await harness.call_resource(token)).status == 200


async def test_default_scopes_are_granted_if_none_are_requested() -> None:
    """A custom server grants its default scopes, and refuses if it has none."""
    async with run_sandbox(partial(Sandbox, default_scopes=["a", "b"])) as harness:
        assert (await harness.request_token(None)).json["scope"] == "a b"
    async with run_sandbox() as harness:
        assert (await harness.request_token(None)).json[
            "error_description"
        ] == "No scopes were requested."


async def test_requests_over_the_rate_limit_get_a_429_until_the_window_ends() -> None:
    """Requests over the limit are refused with E0000047; the org server has its own window."""
    async with run_sandbox(partial(Sandbox, rate_limit=1, rate_window=60)) as harness:
        responses = [await harness.request_token(), await harness.request_token()]
        assert [response.status for response in responses] == [200, 429]
        assert responses[1].json["errorCode"] == "E0000047"
        assert responses[1].headers["X-Rate-Limit-Limit"] == "1"
        assert responses[1].headers["X-Rate-Limit-Remaining"] == "0"
        assert responses[1].headers["X-Rate-Limit-Reset"] == str(int(START) + 60)
        assert (await harness.request_token(path=ORG_TOKEN)).status == 401

        harness.clock.now += 60
        assert (await harness.request_token()).status == 200
        assert harness.sandbox.tokens_issued == 2


async def test_too_many_concurrent_requests_get_a_429_with_a_limit_of_zero() -> None:
    """A request over the concurrency limit is refused at once; the others get a token."""
    async with run_sandbox(partial(Sandbox, concurrency_limit=2)) as harness:
        harness.sandbox.latency = 0.05
        responses = await asyncio.gather(*(harness.request_token() for _ in range(3)))

        refused = [response for response in responses if response.status == 429]
        assert sorted(response.status for response in responses) == [200, 200, 429]
        assert refused[0].headers["X-Rate-Limit-Limit"] == "0"
        assert refused[0].headers["X-Rate-Limit-Remaining"] == "0"
        assert harness.sandbox.peak_concurrency == 3


async def test_a_fault_has_priority_over_the_limits() -> None:
    """A request with a fault gets the fault, even over the rate limit."""
    async with run_sandbox(partial(Sandbox, rate_limit=0)) as harness:
        harness.sandbox.fail_next(Fault.status(500))

        assert [(await harness.request_token()).status for _ in range(2)] == [500, 429]


async def test_an_outage_window_starts_relative_to_the_start_of_the_server(
    harness: Harness,
) -> None:
    """Requests get a 503 within the window, and a token before and after it."""
    harness.sandbox.outage_windows = [(10, 5)]
    statuses = []
    for step in (0, 10, 5):
        harness.clock.now += step
        statuses.append((await harness.request_token()).status)

    assert statuses == [200, 503, 200]


@pytest.mark.parametrize(
    ("path", "issuer"),
    [
        ("/.well-known/openid-configuration", ""),
        ("/.well-known/oauth-authorization-server", ""),
        ("/.well-known/oauth-authorization-server/oauth2/default", "/oauth2/default"),
        ("/oauth2/default/.well-known/oauth-authorization-server", "/oauth2/default"),
    ],
)
async def test_metadata_is_served_at_its_well_known_paths(
    harness: Harness, path: str, issuer: str
) -> None:
    """Each metadata document names the issuer and the token endpoint of its server."""
    document = (await harness.send(path, method="GET")).json

    assert document["issuer"] == harness.sandbox.origin + issuer
    assert document["token_endpoint"] in {
        harness.sandbox.origin + TOKEN,
        harness.sandbox.origin + ORG_TOKEN,
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/oauth2/v1/authorize?client_id=batch", 400),
        ("POST", "/oauth2/default/v1/authorize", 400),
        ("GET", "/oauth2/other/v1/authorize", 404),
        ("PUT", "/oauth2/v1/authorize", 405),
    ],
)
async def test_no_person_can_sign_in(harness: Harness, method: str, path: str, status: int) -> None:
    """The authorization endpoint shows a page with an error to people."""
    response = await harness.send(path, method=method)

    assert response.status == status
    assert (b"signs no people in" in response.body) == (status == 400)


async def test_a_server_that_signs_tokens_publishes_its_keys(harness: Harness) -> None:
    """Both kinds of server publish their key at `jwks_uri`, or no key if tokens are opaque."""
    assert (await harness.send("/oauth2/v1/keys", method="GET")).json == {"keys": []}
    async with run_sandbox(partial(Sandbox, signed_tokens=True)) as signing:
        path = "/oauth2/default/.well-known/oauth-authorization-server"
        document = (await signing.send(path, method="GET")).json
        org, custom = [
            (await signing.send(path, method="GET")).json
            for path in ("/oauth2/v1/keys", "/oauth2/default/v1/keys")
        ]

        assert document["jwks_uri"] == f"{signing.sandbox.origin}/oauth2/default/v1/keys"
        assert org == custom
        assert org["keys"][0]["kty"] == "RSA"
        assert (await signing.send("/oauth2/v1/keys")).status == 405
        missing = await signing.send("/oauth2/other/v1/keys", method="GET")
        assert missing.json["errorCode"] == "E0000007"


async def test_a_request_with_a_fault_uses_up_assertion_and_proof(harness: Harness) -> None:
    """The assertion and the proof of a failed request cannot be sent again."""
    harness.sandbox.put_client(SIGNER)
    url = harness.sandbox.origin + TOKEN
    for fault in (Fault.status(503), Fault.rate_limited()):
        harness.sandbox.fail_next(fault)
        nonce = harness.sandbox.dpop_nonce()
        headers = {"DPoP": proof(url, nonce=nonce)}
        sent = form("a", **assertion_form(assertion(url)))
        failed = await harness.send(TOKEN, sent, headers=headers)
        again = await harness.send(TOKEN, sent, headers=headers)
        new_form = form("a", **assertion_form(assertion(url)))
        replayed = await harness.send(TOKEN, new_form, headers=headers)

        assert failed.headers["DPoP-Nonce"] == nonce
        assert "already been used" in again.json["error_description"]
        assert replayed.json == {
            "error": "invalid_dpop_proof",
            "error_description": "The DPoP proof JWT has already been used.",
        }


async def test_a_nonce_is_in_every_response_or_only_if_it_is_new(harness: Harness) -> None:
    """Every response to a proof has the nonce, or only if the client used another one."""

    async def nonce_in_response(nonce: str) -> str | None:
        value = proof(harness.sandbox.origin + TOKEN, nonce=nonce)
        response = await harness.request_token("unknown", headers={**basic(), "DPoP": value})
        assert response.json["error"] == "invalid_scope"
        return response.headers.get("DPoP-Nonce")

    old = harness.sandbox.dpop_nonce()
    assert await nonce_in_response(old) == old
    harness.sandbox.nonce_on_every_answer = False
    assert await nonce_in_response(old) is None
    harness.sandbox.rotate_dpop_nonce()
    assert await nonce_in_response(old) == harness.sandbox.dpop_nonce()
    assert "DPoP-Nonce" not in (await harness.request_token()).headers


@pytest.mark.parametrize("path", ["/oauth2/other/v1/token", "/oauth2/default/v1/revoke"])
async def test_a_proof_at_another_endpoint_is_ignored(harness: Harness, path: str) -> None:
    """An unknown server and the revocation endpoint ignore proofs and send no nonce."""
    response = await harness.send(path, {"token": "x"}, headers={**basic(), "DPoP": "junk"})

    assert response.status in {200, 404}
    assert "DPoP-Nonce" not in response.headers


async def test_audience_and_htu_have_the_host_name_that_the_client_uses(harness: Harness) -> None:
    """Assertions and proofs are checked against the URL with the `Host` of the request."""
    harness.sandbox.put_client(SIGNER)
    url = "http://okta.test" + TOKEN
    headers = {"Host": "okta.test", "DPoP": proof(url, nonce=harness.sandbox.dpop_nonce())}
    response = await harness.send(
        TOKEN, form("a", **assertion_form(assertion(url))), headers=headers
    )

    assert (response.status, response.json["token_type"]) == (200, "DPoP")


async def test_a_missing_extra_is_a_500_with_the_command_to_install_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without joserfc a proof cannot be checked; the response is a 500 with the command."""
    monkeypatch.delitem(sys.modules, "okta_tokens.sandbox._keys", raising=False)
    monkeypatch.delattr(okta_tokens.sandbox, "_keys", raising=False)
    monkeypatch.setitem(sys.modules, "joserfc", None)
    response = await harness.request_token(
        headers={**basic(), "DPoP": proof(harness.sandbox.origin + TOKEN)}
    )

    assert (response.status, response.json["error"]) == (500, "server_error")
    assert "pip install 'okta-tokens[jwt]'" in response.json["error_description"]


async def test_every_post_to_a_token_endpoint_counts(harness: Harness) -> None:
    """Refused requests and requests with a fault count; requests other than POST do not."""
    harness.sandbox.fail_next(Fault.status(503))
    await harness.request_token()
    await harness.request_token("unknown")
    await harness.request_token(path="/oauth2/other/v1/token")
    await harness.send(TOKEN, method="GET")

    assert harness.sandbox.token_requests == 3
    assert harness.sandbox.tokens_issued == 0
    assert harness.sandbox.counts()["token_answers"] == {"503": 1, "400": 1, "404": 1}
