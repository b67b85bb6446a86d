"""Received requests are recorded without secrets and tokens."""

from __future__ import annotations

import logging
from functools import partial

import pytest

from okta_tokens.sandbox import ReceivedRequest, Sandbox, SandboxClient
from tests.sandbox.jwts import assertion, assertion_form, ec_key, proof, public
from tests.sandbox.support import BATCH, START, TOKEN, basic, form, run_sandbox

SIGNER = SandboxClient("signer", keys=[public(ec_key())], scopes=["a"])


async def test_assertion_and_proof_are_recorded_without_the_jwts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The record has method, algorithm, key and proof, but neither of the two JWTs."""
    caplog.set_level(logging.INFO, "okta_tokens.sandbox")
    async with run_sandbox() as harness:
        harness.sandbox.put_client(SIGNER)
        url = harness.sandbox.origin + TOKEN
        signed_assertion, signed_proof = assertion(url), proof(url, nonce="unknown")
        await harness.send(
            TOKEN, form("a", **assertion_form(signed_assertion)), headers={"DPoP": signed_proof}
        )
        await harness.request_token(headers={**basic(), "DPoP": "junk"})
        first, second = harness.sandbox.received

    assert (first.client_id, first.method) == ("signer", "private_key_jwt")
    assert (first.algorithm, first.kid) == ("ES256", "one")
    assert (first.proof, first.jkt, first.nonce) == (True, ec_key().thumbprint(), True)
    assert (second.proof, second.jkt, second.nonce) == (True, None, False)
    output = caplog.text + repr([first, second])
    assert signed_assertion.partition(".")[2] not in output
    assert signed_proof.partition(".")[2] not in output


async def test_requests_are_recorded_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each request is recorded, reported and logged once, without secrets and tokens."""
    caplog.set_level(logging.INFO, "okta_tokens.sandbox")
    reported: list[ReceivedRequest] = []
    async with run_sandbox(partial(Sandbox, on_request=reported.append)) as harness:
        headers = {
            **basic(),
            "User-Agent": "me/1",
            "X-Okta-Retry-For": "id",
            "X-Okta-Retry-Count": "1",
        }
        response = await harness.request_token("b a", headers=headers)
        token = response.json["access_token"]
        posted = form("z", client_id="batch", client_secret="second-secret")
        await harness.send(TOKEN, posted)
        await harness.send("/oauth2/default/v1/revoke", {"token": token}, headers=basic())
        first, second, third = harness.sandbox.received

        assert reported == harness.sandbox.received
    assert first == ReceivedRequest(
        at=START,
        path=TOKEN,
        client_id="batch",
        method="client_secret_basic",
        scopes=("b", "a"),
        user_agent="me/1",
        retry_for="id",
        retry_count="1",
        request_id=response.headers["X-Okta-Request-Id"],
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


@pytest.mark.parametrize("sent_as", ["header", "body"])
async def test_a_secret_in_the_place_of_the_client_id_is_not_recorded(
    caplog: pytest.LogCaptureFixture, sent_as: str
) -> None:
    """A client id that the sandbox does not know may be a secret, so no record has it."""
    caplog.set_level(logging.INFO, "okta_tokens.sandbox")
    async with run_sandbox() as harness:
        if sent_as == "header":
            response = await harness.request_token(headers=basic("first-secret", "batch"))
        else:
            exchanged = form("a", client_id="first-secret", client_secret="batch")
            response = await harness.send(TOKEN, exchanged)
        (received,) = harness.sandbox.received

    assert response.status == 401
    assert received.client_id is None
    assert "first-secret" not in caplog.text + repr(received) + response.body.decode()
