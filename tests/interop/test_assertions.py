"""An independent authorization server accepts the signed assertions."""

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
    "an unregistered RSA key": lambda: (KEY_ID, PrivateKeyJWT(unregistered_key("rsa"))),
    "an unregistered EC key": lambda: (KEY_ID, PrivateKeyJWT(unregistered_key("ec"))),
    "an unknown kid": lambda: (KEY_ID, PrivateKeyJWT(private_jwk("rsa"), kid="rsa-first")),
    "the kid of another key": lambda: (KEY_ID, PrivateKeyJWT(private_jwk("rsa"), kid="rsa-next")),
    "a wrong secret": lambda: (SECRET_JWT_ID, ClientSecretJWT(f"not-{SECRET_JWT_SECRET}")),
    "an unknown client": lambda: ("no-client", PrivateKeyJWT(private_jwk("rsa"))),
    "the method of another client": lambda: (SECRET_JWT_ID, PrivateKeyJWT(private_jwk("rsa"))),
}


def unregistered_key(kid: str) -> Mapping[str, object]:
    """Return an unregistered private key with the `kid` of a registered one."""
    if kid == "ec":
        return ECKey.generate_key("P-256", {"kid": kid}).as_dict(private=True)
    return RSAKey.generate_key(2048, {"kid": kid}).as_dict(private=True)


@pytest.mark.parametrize("method", APPS)
async def test_every_method_gets_a_token(server: AuthorizationServer, method: str) -> None:
    """With every authentication method one request gets a token for the client."""
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


async def test_the_audience_is_the_url_of_the_request(server: AuthorizationServer) -> None:
    """Like Okta, the server accepts only the exact URL of the endpoint as audience."""
    client = OktaClient(server.origin, KEY_ID, PrivateKeyJWT(private_jwk("ec")))

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        await provider.revoke(await provider.get_token(client, "orders:read"))

    assert [request.url for request in recorded] == [client.token_url, client.revocation_url]
    assert [request.assertion["aud"] for request in recorded] == [
        request.url for request in recorded
    ]
    assert [request.status for request in recorded] == [200, 200]


async def test_a_proxy_that_rewrites_urls_makes_the_audience_wrong(
    server: AuthorizationServer,
) -> None:
    """A server with another URL refuses the assertion, and there is no retry."""
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


@pytest.mark.parametrize("credential", WRONG)
async def test_a_wrong_credential_is_sent_once(
    server: AuthorizationServer, credential: str
) -> None:
    """The server refuses a credential that it cannot verify, and there is no retry."""
    client_id, authentication = WRONG[credential]()
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
    """The callable for the key is called for every request; each key has its own `kid`."""
    kids = iter(["rsa", "rsa-next", "ec"])
    client = OktaClient(server.origin, KEY_ID, PrivateKeyJWT(lambda: private_jwk(next(kids))))

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        for scopes in ("orders:read", "customScope", "orders:read customScope"):
            await provider.get_token(client, scopes)

    assert [request.assertion_header["kid"] for request in recorded] == ["rsa", "rsa-next", "ec"]
    assert [request.status for request in recorded] == [200, 200, 200]


async def test_a_key_that_is_no_longer_registered_is_fetched_again(
    server: AuthorizationServer,
) -> None:
    """After `invalid_client` a new key from the callable is used at once."""
    keys = iter([unregistered_key("rsa"), private_jwk("rsa-next")])
    client = OktaClient(server.origin, KEY_ID, PrivateKeyJWT(lambda: next(keys)))

    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        token = await provider.get_token(client, "orders:read")
        facts = await server.introspect(session, token.value)

    assert facts["active"] is True
    assert [request.assertion_header["kid"] for request in recorded] == ["rsa", "rsa-next"]
    assert [request.status for request in recorded] == [401, 200]
