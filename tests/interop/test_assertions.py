"""Signed assertions, as a server reads them that nobody here wrote."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from joserfc.jwk import ECKey, RSAKey

from okta_tokens import ClientSecretJWT, OktaClient, PrivateKeyJWT, TokenProvider
from okta_tokens.errors import OAuthError
from tests.interop.apps import (
    KEY_ID,
    METHODS,
    SECRET_JWT_ID,
    SECRET_JWT_SECRET,
    App,
    private_jwk,
)
from tests.interop.authorization_server import AuthorizationServer

pytestmark = pytest.mark.timeout(120)  # the first test also installs and starts the server

APPS: Mapping[str, App] = {
    **METHODS,
    "RS384": lambda: (KEY_ID, PrivateKeyJWT(private_jwk("rsa"), algorithm="RS384")),
    "RS512": lambda: (KEY_ID, PrivateKeyJWT(private_jwk("rsa"), algorithm="RS512")),
    "HS384": lambda: (SECRET_JWT_ID, ClientSecretJWT(SECRET_JWT_SECRET, algorithm="HS384")),
    "HS512": lambda: (SECRET_JWT_ID, ClientSecretJWT(SECRET_JWT_SECRET, algorithm="HS512")),
}

WRONG: Mapping[str, App] = {
    "an RSA key of nobody": lambda: (KEY_ID, PrivateKeyJWT(stranger("rsa"))),
    "a curve's key of nobody": lambda: (KEY_ID, PrivateKeyJWT(stranger("ec"))),
    "a kid of nobody": lambda: (KEY_ID, PrivateKeyJWT(private_jwk("rsa"), kid="rsa-first")),
    "the kid of another key": lambda: (KEY_ID, PrivateKeyJWT(private_jwk("rsa"), kid="rsa-next")),
    "a secret of nobody": lambda: (SECRET_JWT_ID, ClientSecretJWT(f"not-{SECRET_JWT_SECRET}")),
    "a client of nobody": lambda: ("no-client", PrivateKeyJWT(private_jwk("rsa"))),
    "the method of another client": lambda: (SECRET_JWT_ID, PrivateKeyJWT(private_jwk("rsa"))),
}


def stranger(kid: str) -> Mapping[str, object]:
    """Return a key that is registered nowhere, under the kid of one that is."""
    if kid == "ec":
        return ECKey.generate_key("P-256", {"kid": kid}).as_dict(private=True)
    return RSAKey.generate_key(2048, {"kid": kid}).as_dict(private=True)


@pytest.mark.parametrize("method", APPS)
async def test_every_method_gets_a_token(server: AuthorizationServer, method: str) -> None:
    """However a client authenticates, one request brings it a token of its own."""
    client_id, authentication = APPS[method]()
    client = OktaClient(server.origin, client_id, authentication)

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        token = await provider.get_token(client, "orders:read")
        facts = await server.introspect(session, token.value)

    assert (facts["active"], facts["client_id"]) == (True, client_id)
    assert [request.status for request in recorded] == [200]


async def test_the_audience_is_the_url_that_is_requested(server: AuthorizationServer) -> None:
    """An assertion is for one endpoint, to the letter; like Okta, the server takes no other."""
    client = OktaClient(server.origin, KEY_ID, PrivateKeyJWT(private_jwk("ec")))

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        await provider.revoke(await provider.get_token(client, "orders:read"))

    assert [request.url for request in recorded] == [client.token_url, client.revocation_url]
    assert [request.assertion["aud"] for request in recorded] == [it.url for it in recorded]
    assert [request.status for request in recorded] == [200, 200]


async def test_a_proxy_that_rewrites_urls_makes_the_audience_wrong(
    server: AuthorizationServer,
) -> None:
    """A server that knows itself by another URL refuses, and is not asked again."""
    authentication = PrivateKeyJWT(private_jwk("rsa"))
    client = OktaClient(server.origin, KEY_ID, authentication, authorization_server="rewritten")

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        with pytest.raises(OAuthError) as caught:
            await provider.get_token(client, "orders:read")

    assert (caught.value.error, caught.value.status) == ("invalid_client", 401)
    assert caught.value.retryable is False
    (request,) = recorded
    assert request.assertion["aud"] == client.token_url
    assert request.url != client.token_url


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_credential(server: AuthorizationServer, what: str) -> None:
    """What the server cannot verify it refuses, and it is not asked again with the same."""
    client_id, authentication = WRONG[what]()
    client = OktaClient(server.origin, client_id, authentication)

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        with pytest.raises(OAuthError) as caught:
            await provider.get_token(client, "orders:read")

    assert (caught.value.error, caught.value.status) == ("invalid_client", 401)
    assert caught.value.retryable is False
    assert len(recorded) == 1


async def test_a_rotated_key_needs_no_restart(server: AuthorizationServer) -> None:
    """A callable for the key is asked for every request, and the kid comes with the key."""
    kids = iter(["rsa", "rsa-next", "ec"])
    client = OktaClient(server.origin, KEY_ID, PrivateKeyJWT(lambda: private_jwk(next(kids))))

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        for scopes in ("orders:read", "customScope", "orders:read customScope"):
            await provider.get_token(client, scopes)

    assert [it.assertion_header["kid"] for it in recorded] == ["rsa", "rsa-next", "ec"]
    assert [it.status for it in recorded] == [200, 200, 200]


async def test_a_key_that_the_server_has_dropped_is_asked_for_again(
    server: AuthorizationServer,
) -> None:
    """After `invalid_client` the callable's new key, if it has one, is tried at once."""
    keys = iter([stranger("rsa"), private_jwk("rsa-next")])
    client = OktaClient(server.origin, KEY_ID, PrivateKeyJWT(lambda: next(keys)))

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        token = await provider.get_token(client, "orders:read")
        facts = await server.introspect(session, token.value)

    assert facts["active"] is True
    assert [it.assertion_header["kid"] for it in recorded] == ["rsa", "rsa-next"]
    assert [it.status for it in recorded] == [401, 200]
