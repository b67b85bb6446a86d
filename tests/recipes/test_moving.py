"""The guide for those who move from other code: what it shows runs, before and after."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.keys import ec_key, pem, public_jwk
from tests.pages import marked_block
from tests.recipes.support import APP, replace_texts, run_code, run_source, variables_set


def code_of(kind: str, name: str, okta: Sandbox) -> str:
    """Return an example with the sandbox as Okta and as the API."""
    replacements = {"{API}/orders": "{API}/resource", "https://api.acme.com": okta.origin}
    code = replace_texts(marked_block(kind, name), replacements)
    return code.replace("https://acme.okta.com", okta.origin)


@pytest.mark.parametrize("name", ["dictionary", "authlib"])
async def test_the_code_before_works_on_a_good_day(name: str) -> None:
    """The code before fetches one token for two calls."""
    async with run_source() as (okta, _, _):
        names = run_code(code_of("before", name, okta))
        assert [await names["call_api"]() for _ in range(2)] == [200, 200]
        if name == "authlib":
            await names["client"].aclose()

        assert okta.token_requests == 1


async def test_the_adapter_replaces_it() -> None:
    """The code after fetches one token for two calls, and needs none in an outage."""
    async with run_source() as (okta, _, _):
        names = run_code(code_of("recipe", "moving.dictionary", okta))
        async with names["provider"], names["client"]:
            assert await names["call_api"]() == 200
            with okta.outage():
                assert await names["call_api"]() == 200

        assert okta.token_requests == 1


def test_msal_works_on_a_good_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code before, with MSAL, fetches one token for two calls."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with Sandbox([APP], ssl_context=context) as okta, variables_set(okta):
        call_api = run_code(code_of("before", "msal", okta))["call_api"]
        assert [call_api() for _ in range(2)] == [200, 200]

        okta.assert_received(1)


async def test_threads_share_the_provider() -> None:
    """The code after MSAL calls the API from a thread."""
    async with run_source() as (okta, _, _):
        call_api = run_code(code_of("recipe", "moving.threads", okta))["call_api"]

        assert await asyncio.to_thread(call_api) == 200


async def test_a_key_gets_tokens_of_the_org_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code after the SDK calls the API of the org with a token and a proof."""
    (tmp_path / "key.pem").write_bytes(pem(ec_key()))
    monkeypatch.chdir(tmp_path)
    app = SandboxClient(
        "0oa1b2c3", keys=[public_jwk(ec_key())], scopes=["okta.users.read"], dpop=True
    )
    async with Sandbox([app]) as okta:
        replacements = {"https://acme.okta.com": okta.origin, "/api/v1/users": "/resource"}
        names = run_code(replace_texts(marked_block("recipe", "moving.okta"), replacements))
        async with names["provider"], names["client"]:
            assert await names["list_users"]() == {"ok": True}

        assert (okta.resource_calls, okta.resource_refused) == (1, 0)
