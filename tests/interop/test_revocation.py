"""An independent authorization server revokes tokens."""

from __future__ import annotations

import asyncio
import time

import pytest

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, PrivateKeyJWT, TokenProvider
from okta_tokens.errors import OAuthError
from okta_tokens.events import AttemptFailed, Event
from tests.clock import ManualClock
from tests.interop.apps import BASIC_ID, BASIC_SECRET, KEY_ID, METHODS, private_jwk
from tests.interop.authorization_server import AuthorizationServer
from tests.support import until

pytestmark = pytest.mark.timeout(120)  # the first test also installs and starts the server


@pytest.mark.parametrize("method", METHODS)
async def test_a_revoked_token_is_inactive(server: AuthorizationServer, method: str) -> None:
    """With every method a client can revoke a token, and revoke it again without an error."""
    client_id, authentication = METHODS[method]()
    client = OktaClient(server.origin, client_id, authentication)

    async with server.session() as session, TokenProvider(session=session) as provider:
        token = await provider.get_token(client, "orders:read")
        before = await server.introspect(session, token.value)
        async with server.recording() as recorded:
            await provider.revoke(token)
            after = await server.introspect(session, token.value)
            await provider.revoke(token)
        another = await provider.get_token(client, "orders:read")
        facts = await server.introspect(session, another.value)

    assert (before["active"], after["active"]) == (True, False)
    assert [(request.url, request.status) for request in recorded] == [
        (client.revocation_url, 200)
    ] * 2
    assert facts["active"] is True


async def test_only_the_token_is_revoked(server: AuthorizationServer) -> None:
    """The other tokens of the client stay cached and active."""
    client = OktaClient(server.origin, KEY_ID, PrivateKeyJWT(private_jwk("ec")))

    async with server.session() as session, TokenProvider(session=session) as provider:
        kept = await provider.get_token(client, "orders:read")
        await provider.revoke(await provider.get_token(client, "customScope"))
        async with server.recording() as recorded:
            same = await provider.get_token(client, "orders:read")
        facts = await server.introspect(session, same.value)

    assert same is kept
    assert recorded == []
    assert facts["active"] is True


async def test_a_bound_token_is_revoked_without_a_proof(server: AuthorizationServer) -> None:
    """A revocation needs the credential of the client, and no proof."""
    secret = ClientSecretBasic(BASIC_SECRET)
    client = OktaClient(server.origin, BASIC_ID, secret, dpop=DPoP())

    async with server.session() as session, TokenProvider(session=session) as provider:
        token = await provider.get_token(client, "orders:read")
        async with server.recording() as recorded:
            await provider.revoke(token)
        facts = await server.introspect(session, token.value)

    assert facts == {"active": False}
    assert [(request.proof, request.status) for request in recorded] == [(None, 200)]


async def test_a_wrong_key_revokes_nothing(server: AuthorizationServer) -> None:
    """If authentication fails, `revoke` raises an error, and the token stays active."""
    keys = iter(["rsa", "rsa-next", "rsa-next"])
    client = OktaClient(
        server.origin, KEY_ID, PrivateKeyJWT(lambda: (private_jwk(next(keys)), "rsa"))
    )

    async with server.session() as session, TokenProvider(session=session) as provider:
        token = await provider.get_token(client, "orders:read")
        with pytest.raises(OAuthError) as caught:
            await provider.revoke(token)
        facts = await server.introspect(session, token.value)

    assert (caught.value.error, caught.value.status) == ("invalid_client", 401)
    assert facts["active"] is True


@pytest.mark.parametrize("status", [503, 429])
async def test_a_retry_has_a_new_assertion(server: AuthorizationServer, status: int) -> None:
    """If the response is lost, the token is revoked again with a new assertion."""
    events: list[Event] = []
    clock = ManualClock(wall=time.time())
    client = OktaClient(server.origin, KEY_ID, PrivateKeyJWT(private_jwk("ec")))

    async with (
        server.session() as session,
        TokenProvider(session=session, clock=clock, observers=[events.append]) as provider,
    ):
        token = await provider.get_token(client, "orders:read")
        await server.replace_responses(status)
        async with server.recording() as recorded:
            call = asyncio.create_task(provider.revoke(token))
            await until(lambda: any(isinstance(event, AttemptFailed) for event in events))
            await clock.advance(5)
            await call

    assert [request.status for request in recorded] == [status, 200]
    assert len({request.form["client_assertion"] for request in recorded}) == 2
