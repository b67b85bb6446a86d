"""The guide for those who move from other code: what it shows runs, before and after."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox, SandboxClient
from tests.keys import ec_key, pem, public_jwk
from tests.pages import marked_block
from tests.recipes.support import recipe, replace_texts, run_code


def code_of(kind: str, name: str) -> str:
    """Return an example, which calls the sandbox's resource instead of the orders."""
    return replace_texts(marked_block(kind, name), {"{API}/orders": "{API}/resource"})


SECRET = DEFAULT_CLIENT.secrets[0]


def names_for(okta: Sandbox) -> dict[str, object]:
    """Return the names that the examples use."""
    return {
        "asyncio": asyncio,
        "API": okta.origin,
        "CLIENT_ID": DEFAULT_CLIENT.client_id,
        "SECRET": SECRET,
        "TOKEN_URL": f"{okta.origin}/oauth2/default/v1/token",
        "OktaClient": OktaClient,
        "TokenProvider": TokenProvider,
        "acme": OktaClient(okta.origin, DEFAULT_CLIENT.client_id, ClientSecretBasic(SECRET)),
    }


async def test_a_lock_and_a_dictionary_work_on_a_good_day() -> None:
    """The code before fetches one token for two calls."""
    async with Sandbox() as okta:
        names = await run_code(code_of("before", "dictionary"), **names_for(okta))
        assert [await names["call_api"]() for _ in range(2)] == [200, 200]

        assert okta.token_requests == 1


async def test_the_adapter_replaces_them() -> None:
    """The code after fetches one token for two calls, and needs none in an outage."""
    async with Sandbox() as okta:
        names = await run_code(code_of("recipe", "moving.dictionary"), **names_for(okta))
        async with names["provider"], names["client"]:
            assert await names["call_api"]() == 200
            with okta.outage():
                assert await names["call_api"]() == 200

        assert okta.token_requests == 1


async def test_threads_share_the_provider() -> None:
    """The code after MSAL calls the API from a thread."""
    async with Sandbox() as okta, TokenProvider() as provider:
        names: dict[str, Any] = {**names_for(okta)}
        names["orders"] = provider.source(names["acme"], "orders:read")
        found = await run_code(code_of("recipe", "moving.threads"), **names)

        assert await asyncio.to_thread(found["call_api"]) == 200


async def test_a_key_gets_tokens_of_the_org_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code after the SDK returns token and proof for a request."""
    (tmp_path / "key.pem").write_bytes(pem(ec_key()))
    monkeypatch.chdir(tmp_path)
    app = SandboxClient("0oa1", keys=[public_jwk(ec_key())], scopes=["okta.users.read"], dpop=True)
    async with Sandbox([app]) as okta, TokenProvider() as provider:
        names = names_for(okta) | {"DOMAIN": okta.origin, "CLIENT_ID": "0oa1"}
        found = await run_code(recipe("moving.okta"), **names)
        headers = await found["headers_for"](provider, "GET", f"{okta.origin}/api/v1/users/me")

        assert headers.keys() == {"Authorization", "DPoP"}


@pytest.mark.parametrize("name", ["msal", "authlib"])
def test_the_code_before_is_python(name: str) -> None:
    """What these libraries' users have written is shown without a mistake of syntax."""
    compile(marked_block("before", name), name, "exec", flags=0x2000)
