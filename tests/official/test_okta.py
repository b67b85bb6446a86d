"""Okta's SDK, `okta`, as a client of the sandbox.

The SDK is not patched. Its settings have the URL of the sandbox, and its method `set_session` gets
a session that trusts the certificate.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.official.conftest import CLIENT_ID, ORG_SCOPE, Okta, official
from tests.pages import marked_block
from tests.sandbox.jwts import rsa_key

pytestmark = pytest.mark.timeout(120)  # importing the SDK and generating an RSA key take seconds


def sdk(okta: Okta, **settings: object) -> Any:  # noqa: ANN401 — see `official`
    """Return the request executor of an SDK client that is configured for the sandbox."""
    client = official("okta.client").Client(
        {
            "orgUrl": okta.sandbox.origin,
            "authorizationMode": "PrivateKey",
            "clientId": CLIENT_ID,
            "scopes": [ORG_SCOPE],
            "privateKey": rsa_key().as_pem(private=True).decode(),
            **settings,
        }
    )
    executor = client.get_request_executor()
    executor.set_session(okta.session)
    return executor


async def call(executor: Any, url: str) -> int:  # noqa: ANN401 — see `official`
    """Call an API with the SDK, which fetches a token for the call; return the status."""
    request, error = await executor.create_request("GET", url)
    assert error is None
    _, response, _, error = await executor.fire_request(request)
    assert error is None
    status: int = response.status
    return status


@pytest.mark.parametrize("kid", [None, "one"])
async def test_the_sdk_gets_a_token_and_uses_it(okta: Okta, kid: str | None) -> None:
    """The sandbox accepts the SDK's assertion, with or without a `kid`, and the token."""
    executor = sdk(okta, kid=kid)

    assert await call(executor, okta.sandbox.resource_url) == 200
    assert await call(executor, okta.sandbox.resource_url + "/users") == 200
    (request,) = okta.sandbox.received
    assert (request.client_id, request.method) == (CLIENT_ID, "private_key_jwt")
    assert (request.algorithm, request.kid, request.proof) == ("RS256", kid, False)


async def test_the_sdk_gets_a_bound_token_with_dpop(okta: Okta) -> None:
    """With DPoP the SDK fetches a nonce, then a token, and the resource accepts its proofs."""
    okta.sandbox.put_client(replace(okta.sandbox.client(CLIENT_ID), dpop=True))
    executor = sdk(okta, dpopEnabled=True)

    assert await call(executor, okta.sandbox.resource_url) == 200
    assert await call(executor, okta.sandbox.resource_url + "/users") == 200
    first, second = okta.sandbox.received
    assert (first.error, first.nonce) == ("use_dpop_nonce", False)
    assert (second.status, second.nonce) == (200, True)
    assert first.jkt == second.jkt is not None
    assert okta.sandbox.resource_refused == 0


async def test_the_sdk_without_a_proof_is_refused(okta: Okta) -> None:
    """If the client requires proofs, the SDK without DPoP gets Okta's error."""
    okta.sandbox.put_client(replace(okta.sandbox.client(CLIENT_ID), dpop=True))
    _, error = await sdk(okta).create_request("GET", okta.sandbox.resource_url)

    assert "The DPoP proof JWT header is missing." in str(error)


async def test_the_guides_code_with_the_sdk_runs(
    okta: Okta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code before, in the guide for those who move, calls an API of the org with a token."""
    official("okta.client")
    (tmp_path / "key.pem").write_bytes(rsa_key().as_pem(private=True))
    monkeypatch.chdir(tmp_path)
    code = marked_block("before", "okta").replace("https://acme.okta.com", okta.sandbox.origin)
    names: dict[str, Any] = {}
    exec(code.replace("0oa1b2c3", CLIENT_ID), names)  # noqa: S102 - a page of this repository
    names["client"].get_request_executor().set_session(okta.session)

    with pytest.raises(RuntimeError, match="404"):  # the sandbox has no users
        await names["list_users"]()
    okta.sandbox.assert_received(1, status=200, scopes=ORG_SCOPE)
