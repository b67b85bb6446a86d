"""The recipes for keys in key management services."""

import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from okta_tokens import OktaClient, TokenProvider
from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.keys import public_jwk, rsa_key
from tests.recipes.support import recipe, replace_texts, run_code

KEY = "projects/acme/locations/global/keyRings/okta/cryptoKeys/orders/cryptoKeyVersions/1"


def signature(digest: bytes) -> bytes:
    """Return what a key management service returns for a digest: a real signature."""
    return rsa_key().sign(digest, PKCS1v15(), Prehashed(SHA256()))


class AwsKms:
    """The part of boto3's client that the recipe calls, which blocks."""

    def sign(self, **options: object) -> Mapping[str, bytes]:
        """Sign a digest."""
        assert options.keys() == {"KeyId", "Message", "MessageType", "SigningAlgorithm"}
        assert isinstance(options["Message"], bytes)
        return {"Signature": signature(options["Message"])}


class GoogleKms:
    """The part of Google's asynchronous client that the recipe calls."""

    async def asymmetric_sign(self, request: dict[str, object]) -> SimpleNamespace:
        """Sign a digest."""
        assert request["name"] == KEY
        assert isinstance(request["digest"], dict)
        return SimpleNamespace(signature=signature(request["digest"]["sha256"]))


async def check(code: str) -> None:
    """Check that the sandbox accepts the client of a recipe."""
    app = SandboxClient(
        "0oa1b2c3", keys=[public_jwk(rsa_key(), kid="okta-key-1")], scopes=["orders:read"]
    )
    async with Sandbox([app]) as okta, TokenProvider() as provider:
        method = run_code(code)["method"]
        client = OktaClient(okta.origin, "0oa1b2c3", method)
        await provider.get_token(client, "orders:read")
        assert okta.received[0].method == "private_key_jwt"


async def test_a_key_in_aws_kms_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the recipe, a key that stays in AWS authenticates the client."""
    boto3 = ModuleType("boto3")
    vars(boto3)["client"] = {"kms": AwsKms()}.__getitem__
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    await check(recipe("auth.aws"))


async def test_a_key_in_google_kms_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the recipe, a key that stays in Google Cloud authenticates the client."""
    kms = ModuleType("google.cloud.kms")
    vars(kms)["KeyManagementServiceAsyncClient"] = GoogleKms
    for name in ("google", "google.cloud"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, kms.__name__, kms)
    await check(recipe("auth.gcp"))


async def test_a_vault_is_asked_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the recipe, hvac reads the secret of the moment from Vault's API."""
    secrets = ["the-first-secret-in-the-vault", "the-second-secret-in-the-vault"]

    async def read(request: web.Request) -> web.Response:
        assert request.headers["X-Vault-Token"] == "the-token-of-the-vault"
        data = {"client-secret": secrets[0]}
        return web.json_response({"data": {"data": data, "metadata": {"version": 1}}})

    api = web.Application()
    api.router.add_get("/v1/secret/data/okta/orders", read)
    app = SandboxClient("0oa1b2c3", [*secrets], scopes=["orders:read"])
    async with TestServer(api) as vault, Sandbox([app]) as okta, TokenProvider() as provider:
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{vault.port}")
        monkeypatch.setenv("VAULT_TOKEN", "the-token-of-the-vault")
        code = replace_texts(recipe("auth.vault"), {"acme.okta.com": okta.origin})
        names = run_code(code)
        source = provider.source(names["client"], "orders:read")
        first = await source.get_token()
        del secrets[0]
        okta.put_client(SandboxClient("0oa1b2c3", secrets, scopes=["orders:read"]))
        source.invalidate(first)
        assert await source.get_token() != first
        names["vault"].adapter.close()

        okta.assert_received(2, status=200)
