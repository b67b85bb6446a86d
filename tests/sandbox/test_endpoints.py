"""The endpoints over HTTP: grants, refusals, headers, limits, records."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

import okta_tokens.sandbox
from okta_tokens.sandbox import Fault, ReceivedRequest, Sandbox, SandboxClient
from tests.sandbox.jwts import asserted, assertion, ec_key, proof, public
from tests.sandbox.support import (
    BATCH,
    ORG_TOKEN,
    PARTNER,
    START,
    TOKEN,
    Harness,
    basic,
    form,
    harness,
    until,
)

SIGNER = SandboxClient("signer", keys=[public(ec_key())], scopes=["a"])
FORM = "application/x-www-form-urlencoded"


async def test_a_good_request_gets_a_token_as_okta_words_it(here: Harness) -> None:
    """The response has the four members of Okta's sample, with the scopes in the token."""
    reply = await here.ask("b a")

    assert reply.status == 200
    assert len(reply.json.pop("access_token")) == 64
    assert {**reply.json, "access_token": ""} == {
        "token_type": "Bearer",
        "expires_in": 300,
        "access_token": "",
        "scope": "b a",
    }
    assert here.sandbox.tokens_issued == 1


async def test_the_org_server_grants_okta_scopes_for_an_hour(here: Harness) -> None:
    """An API service integration gets org tokens with a secret; their lifetime is fixed."""
    reply = await here.send(
        ORG_TOKEN, form("okta.users.read"), headers=basic("partner", PARTNER.secrets[0])
    )

    assert (reply.status, reply.json["expires_in"]) == (200, 3600)
    assert (await here.ask("okta.users.read", ORG_TOKEN)).json["error"] == "invalid_client"


async def test_every_answer_has_the_headers_of_okta(here: Harness) -> None:
    """Date, request id, no-store and the three rate-limit headers are on each token answer."""
    here.sandbox.date_offset = 90
    good, bad = await here.ask(), await here.ask("unknown")

    for reply in (good, bad):
        assert parsedate_to_datetime(reply.headers["Date"]).timestamp() == START + 90
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Rate-Limit-Reset"] == str(math.ceil(START + 60 + 90))
        assert reply.headers["X-Rate-Limit-Limit"] == "2000"
    assert good.headers["X-Rate-Limit-Remaining"] == "1999"
    assert good.headers["X-Okta-Request-Id"] != bad.headers["X-Okta-Request-Id"]


async def test_errors_of_both_formats_cross_the_wire(here: Harness) -> None:
    """A wrong secret comes in OAuth's format with a challenge, an unknown client in Okta's."""
    wrong = await here.ask(headers=basic(secret="other"))
    unknown = await here.ask(headers=basic("nobody"))

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
    here: Harness, method: str, path: str, status: int, code: str
) -> None:
    """A method or a path that does not exist is refused in Okta's own format."""
    reply = await here.send(path, method=method, headers=basic())

    assert (reply.status, reply.json["errorCode"]) == (status, code)
    assert ("Allow" in reply.headers) == (status == 405)


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
async def test_a_request_in_the_wrong_form_is_refused(
    here: Harness, path: str, data: str, media_type: str, error: str
) -> None:
    """A query, another media type, a repeated parameter or a huge body is refused."""
    reply = await here.send(path, data, headers={"Content-Type": media_type})

    assert reply.status == 400
    assert error in {reply.json.get("error"), reply.json.get("errorCode")}


async def test_a_client_that_leaves_within_its_body_is_refused_quietly(here: Harness) -> None:
    """A body that breaks off is counted, judged as malformed, and logged by nobody as an error."""
    reader, writer = await asyncio.open_connection(here.sandbox.host, here.sandbox.port)
    writer.write(b"POST " + TOKEN.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")
    await until(lambda: here.sandbox.active == 1)
    writer.close()
    await writer.wait_closed()
    await until(lambda: here.sandbox.active == 0)

    assert here.sandbox.token_requests == 1
    assert await reader.read() == b""


async def test_a_rotated_secret_counts_from_the_next_request(here: Harness) -> None:
    """A client that is put anew has its new secrets at once, and its tokens stay live."""
    token = await here.token()
    here.sandbox.put_client(SandboxClient("batch", ["third-secret"], scopes=["a"]))

    assert (await here.ask()).status == 401
    assert (await here.ask(headers=basic(secret="third-secret"))).status == 200
    assert (await here.call(token)).status == 200


async def test_default_scopes_are_granted_where_none_are_asked_for() -> None:
    """A custom server with default scopes grants them; one without refuses."""
    async with harness(partial(Sandbox, default_scopes=["a", "b"])) as here:
        assert (await here.ask(None)).json["scope"] == "a b"
    async with harness() as here:
        assert (await here.ask(None)).json["error_description"] == "No scopes were requested."


async def test_over_the_rate_limit_is_a_429_until_the_window_ends() -> None:
    """Requests over the limit are refused with E0000047; the org server counts by itself."""
    async with harness(partial(Sandbox, rate_limit=1, rate_window=60)) as here:
        replies = [await here.ask(), await here.ask()]
        assert [reply.status for reply in replies] == [200, 429]
        assert replies[1].json["errorCode"] == "E0000047"
        assert replies[1].headers["X-Rate-Limit-Limit"] == "1"
        assert replies[1].headers["X-Rate-Limit-Remaining"] == "0"
        assert replies[1].headers["X-Rate-Limit-Reset"] == str(int(START) + 60)
        assert (await here.ask(path=ORG_TOKEN)).status == 401

        here.clock.now += 60
        assert (await here.ask()).status == 200
        assert here.sandbox.tokens_issued == 2


async def test_too_many_at_once_are_a_429_with_a_limit_of_zero() -> None:
    """One request more than may be under way is refused at once; the others are served."""
    async with harness(partial(Sandbox, concurrency_limit=2)) as here:
        here.sandbox.latency = 0.05
        replies = await asyncio.gather(*(here.ask() for _ in range(3)))

        refused = [reply for reply in replies if reply.status == 429]
        assert sorted(reply.status for reply in replies) == [200, 200, 429]
        assert refused[0].headers["X-Rate-Limit-Limit"] == "0"
        assert refused[0].headers["X-Rate-Limit-Remaining"] == "0"
        assert here.sandbox.peak_concurrency == 3


async def test_a_fault_comes_before_the_limits() -> None:
    """A request that meets a fault gets it, even over the rate limit."""
    async with harness(partial(Sandbox, rate_limit=0)) as here:
        here.sandbox.fail_next(Fault.status(500))

        assert [(await here.ask()).status for _ in range(2)] == [500, 429]


async def test_an_outage_window_counts_from_the_start(here: Harness) -> None:
    """In a window requests fail with a 503, before and after it they do not."""
    here.sandbox.outage_windows = [(10, 5)]
    statuses = []
    for step in (0, 10, 5):
        here.clock.now += step
        statuses.append((await here.ask()).status)

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
async def test_metadata_is_found_at_its_well_known_paths(
    here: Harness, path: str, issuer: str
) -> None:
    """Each metadata document names its server's issuer and a token endpoint that works."""
    document = (await here.send(path, method="GET")).json

    assert document["issuer"] == here.sandbox.origin + issuer
    assert document["token_endpoint"] in {
        here.sandbox.origin + TOKEN,
        here.sandbox.origin + ORG_TOKEN,
    }


async def test_keys_are_published_where_tokens_are_signed(here: Harness) -> None:
    """Both kinds of servers publish the key that the metadata names; an opaque one has none."""
    assert (await here.send("/oauth2/v1/keys", method="GET")).json["errorCode"] == "E0000008"
    async with harness(partial(Sandbox, signed_tokens=True)) as signing:
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


async def test_a_fault_uses_assertion_and_proof_all_the_same(here: Harness) -> None:
    """What came with a request that failed, or was one too many, cannot be sent again."""
    here.sandbox.put_client(SIGNER)
    url = here.sandbox.origin + TOKEN
    for fault in (Fault.status(503), Fault.rate_limited()):
        here.sandbox.fail_next(fault)
        nonce = here.sandbox.dpop_nonce()
        headers = {"DPoP": proof(url, nonce=nonce)}
        sent = form("a", **asserted(assertion(url)))
        failed = await here.send(TOKEN, sent, headers=headers)
        again = await here.send(TOKEN, sent, headers=headers)
        fresh = form("a", **asserted(assertion(url)))
        replayed = await here.send(TOKEN, fresh, headers=headers)

        assert failed.headers["DPoP-Nonce"] == nonce
        assert "already been used" in again.json["error_description"]
        assert replayed.json == {
            "error": "invalid_dpop_proof",
            "error_description": "The DPoP proof JWT has already been used.",
        }


async def test_a_nonce_is_told_on_every_answer_or_only_as_news(here: Harness) -> None:
    """Answers to a proof tell the next nonce; if so set, only to a client that has another one."""

    async def told(nonce: str) -> str | None:
        value = proof(here.sandbox.origin + TOKEN, nonce=nonce)
        reply = await here.ask("unknown", headers={**basic(), "DPoP": value})
        assert reply.json["error"] == "invalid_scope"
        return reply.headers.get("DPoP-Nonce")

    old = here.sandbox.dpop_nonce()
    assert await told(old) == old
    here.sandbox.nonce_on_every_answer = False
    assert await told(old) is None
    here.sandbox.rotate_dpop_nonce()
    assert await told(old) == here.sandbox.dpop_nonce()
    assert "DPoP-Nonce" not in (await here.ask()).headers


@pytest.mark.parametrize("path", ["/oauth2/other/v1/token", "/oauth2/default/v1/revoke"])
async def test_a_proof_where_none_is_asked_for_is_no_matter(here: Harness, path: str) -> None:
    """An unknown server has no nonces, and other endpoints take no proofs."""
    reply = await here.send(path, {"token": "x"}, headers={**basic(), "DPoP": "junk"})

    assert reply.status in {200, 404}
    assert "DPoP-Nonce" not in reply.headers


async def test_the_url_is_the_one_that_the_client_uses(here: Harness) -> None:
    """A sandbox that is known by another name is that name's, in audiences and proofs alike."""
    here.sandbox.put_client(SIGNER)
    url = "http://okta.test" + TOKEN
    headers = {"Host": "okta.test", "DPoP": proof(url, nonce=here.sandbox.dpop_nonce())}
    reply = await here.send(TOKEN, form("a", **asserted(assertion(url))), headers=headers)

    assert (reply.status, reply.json["token_type"]) == (200, "DPoP")


async def test_a_missing_extra_is_an_error_that_says_so(
    here: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof that cannot be judged for want of joserfc is a 500 with the command to install it."""
    monkeypatch.delitem(sys.modules, "okta_tokens.sandbox._keys", raising=False)
    monkeypatch.delattr(okta_tokens.sandbox, "_keys", raising=False)
    monkeypatch.setitem(sys.modules, "joserfc", None)
    reply = await here.ask(headers={**basic(), "DPoP": proof(here.sandbox.origin + TOKEN)})

    assert (reply.status, reply.json["error"]) == (500, "server_error")
    assert "pip install 'okta-tokens[jwt]'" in reply.json["error_description"]


async def test_what_a_signed_request_said_is_recorded_without_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The record tells method, algorithm, key and proof, and holds neither of the two JWTs."""
    caplog.set_level(logging.INFO, "okta_tokens.sandbox")
    async with harness() as here:
        here.sandbox.put_client(SIGNER)
        url = here.sandbox.origin + TOKEN
        signed, proven = assertion(url), proof(url, nonce="unknown")
        await here.send(TOKEN, form("a", **asserted(signed)), headers={"DPoP": proven})
        await here.ask(headers={**basic(), "DPoP": "junk"})
        first, second = here.sandbox.received

    assert (first.client_id, first.method) == ("signer", "private_key_jwt")
    assert (first.algorithm, first.kid) == ("ES256", "one")
    assert (first.proof, first.jkt, first.nonce) == (True, ec_key().thumbprint(), True)
    assert (second.proof, second.jkt, second.nonce) == (True, None, False)
    told = caplog.text + repr([first, second])
    assert signed.partition(".")[2] not in told
    assert proven.partition(".")[2] not in told


async def test_what_was_received_is_recorded_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each request is recorded, reported and logged once, with no secret and no token."""
    caplog.set_level(logging.INFO, "okta_tokens.sandbox")
    reported: list[ReceivedRequest] = []
    async with harness(partial(Sandbox, on_request=reported.append)) as here:
        headers = {
            **basic(),
            "User-Agent": "me/1",
            "X-Okta-Retry-For": "id",
            "X-Okta-Retry-Count": "1",
        }
        reply = await here.ask("b a", headers=headers)
        token = reply.json["access_token"]
        posted = form("z", client_id="batch", client_secret="second-secret")
        await here.send(TOKEN, posted)
        await here.send("/oauth2/default/v1/revoke", {"token": token}, headers=basic())
        first, second, third = here.sandbox.received

        assert reported == here.sandbox.received
    assert first == ReceivedRequest(
        at=START,
        path=TOKEN,
        client_id="batch",
        method="client_secret_basic",
        scopes=("b", "a"),
        user_agent="me/1",
        retry_for="id",
        retry_count="1",
        request_id=reply.headers["X-Okta-Request-Id"],
        status=200,
        error=None,
    )
    assert (second.method, second.status, second.error) == (
        "client_secret_post",
        400,
        "invalid_scope",
    )
    assert third.path == "/oauth2/default/v1/revoke"
    assert len(caplog.messages) == 2  # one for each token request
    for secret in (*BATCH.secrets, token):
        assert secret not in caplog.text + repr(reported)


async def test_every_post_to_a_token_endpoint_counts(here: Harness) -> None:
    """Refused and faulted requests count, and requests that are no POST do not."""
    here.sandbox.fail_next(Fault.status(503))
    await here.ask()
    await here.ask("unknown")
    await here.ask(path="/oauth2/other/v1/token")
    await here.send(TOKEN, method="GET")

    assert here.sandbox.token_requests == 3
    assert here.sandbox.tokens_issued == 0
    assert here.sandbox.counts()["token_answers"] == {"503": 1, "400": 1, "404": 1}
