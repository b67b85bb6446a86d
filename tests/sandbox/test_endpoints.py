"""The endpoints over HTTP: grants, refusals, headers, limits, records."""

from __future__ import annotations

import asyncio
import logging
import math
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

from okta_tokens.sandbox import Fault, ReceivedRequest, Sandbox, SandboxClient
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
