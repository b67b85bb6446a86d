"""The recipes for keys in key management services."""

from collections.abc import Mapping
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from okta_tokens import OktaClient, TokenProvider
from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.keys import public_jwk, rsa_key
from tests.recipes.support import recipe, run_code

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


async def check(code: str, **names: object) -> None:
    """Check that the sandbox accepts the client of a recipe."""
    app = SandboxClient(
        "0oa1b2c3", keys=[public_jwk(rsa_key(), kid="okta-key-1")], scopes=["orders:read"]
    )
    async with Sandbox([app]) as okta, TokenProvider() as provider:
        method = (await run_code(code, **names))["method"]
        client = OktaClient(okta.origin, "0oa1b2c3", method)
        await provider.get_token(client, "orders:read")
        assert okta.received[0].method == "private_key_jwt"


async def test_a_key_in_aws_kms_signs() -> None:
    """With the recipe, a key that stays in AWS authenticates the client."""
    await check(recipe("auth.aws"), kms=AwsKms())


async def test_a_key_in_google_kms_signs() -> None:
    """With the recipe, a key that stays in Google Cloud authenticates the client."""
    await check(recipe("auth.gcp"), kms=GoogleKms(), KEY=KEY)
