"""Tokens are bound to a key by a server that requires a nonce in each proof."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, PrivateKeyJWT, TokenProvider
from okta_tokens.errors import InvalidResponseError, OAuthError
from tests.clock import ManualClock, settle
from tests.interop.apps import BASIC_ID, BASIC_SECRET, KEY_ID, METHODS, private_jwk
from tests.interop.authorization_server import AuthorizationServer
from tests.support import until

pytestmark = pytest.mark.timeout(120)  # the first test also installs and starts the server


def bound_client(server: AuthorizationServer, name: str = "default") -> OktaClient:
    """Return a client with a new DPoP key."""
    secret = ClientSecretBasic(BASIC_SECRET)
    return OktaClient(server.origin, BASIC_ID, secret, authorization_server=name, dpop=DPoP())


@dataclass
class World:
    """A provider and a server whose clocks the test sets."""

    server: AuthorizationServer
    clock: ManualClock
    provider: TokenProvider
    ahead: float = 0.0

    async def advance(self, seconds: float) -> None:
        """Advance both clocks, so that nonces age as they would in real time."""
        step = 10.0
        for _ in range(round(seconds / step)):
            self.ahead += step
            await self.server.set_ahead(self.ahead)
            await self.clock.advance(step, self._quiet)

    async def _quiet(self) -> None:
        await settle()
        await until(lambda: not self.provider.stats().in_flight)
        await settle()


@asynccontextmanager
async def world(server: AuthorizationServer) -> AsyncIterator[World]:
    """Run a provider with a manual clock, and reset the server's clock afterwards."""
    clock = ManualClock(wall=time.time())
    async with server.session() as session, TokenProvider(session=session, clock=clock) as provider:
        try:
            yield World(server, clock, provider)
        finally:
            await server.set_ahead(0)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512"])
async def test_a_token_is_bound_to_the_key(server: AuthorizationServer, algorithm: str) -> None:
    """The token's type is DPoP, and it is bound to the thumbprint of the client's key."""
    dpop = DPoP(algorithm=algorithm)
    client = OktaClient(server.origin, BASIC_ID, ClientSecretBasic(BASIC_SECRET), dpop=dpop)

    async with server.session() as session, TokenProvider(session=session) as provider:
        token = await provider.get_token(client, "orders:read")
        facts = await server.introspect(session, token.value)

    assert token.token_type == "DPoP"
    assert token.authorization == f"DPoP {token.value}"
    assert facts["token_type"] == "DPoP"
    assert facts["cnf"] == {"jkt": dpop.thumbprint}


@pytest.mark.parametrize("method", METHODS)
async def test_only_the_first_fetch_needs_a_request_for_the_nonce(
    server: AuthorizationServer, method: str
) -> None:
    """The first fetch needs two requests, every later one needs one, with any method."""
    client_id, authentication = METHODS[method]()
    client = OktaClient(server.origin, client_id, authentication, dpop=DPoP())

    async with server.session() as session, TokenProvider(session=session) as provider:
        async with server.recording() as first:
            token = await provider.get_token(client, "orders:read")
        async with server.recording() as later:
            await provider.get_token(client, "customScope")
            provider.invalidate(token)
            await provider.get_token(client, "orders:read")

    assert [(request.status, request.error) for request in first] == [
        (400, "use_dpop_nonce"),
        (200, None),
    ]
    assert first[0].nonce is None
    assert [request.status for request in later] == [200, 200]


async def test_clients_of_one_server_share_its_nonce(server: AuthorizationServer) -> None:
    """The nonce belongs to the authorization server, so that another client can use it."""
    authentication = PrivateKeyJWT(private_jwk("ec"))
    other = OktaClient(server.origin, KEY_ID, authentication, dpop=DPoP())

    async with server.session() as session, TokenProvider(session=session) as provider:
        await provider.get_token(bound_client(server), "orders:read")
        async with server.recording() as recorded:
            await provider.get_token(other, "orders:read")

    assert [request.status for request in recorded] == [200]


async def test_renewals_use_the_nonce_of_the_last_response(server: AuthorizationServer) -> None:
    """Each renewal needs one request, although the nonce changes every minute."""
    async with world(server) as here, server.recording() as recorded:
        source = here.provider.source(bound_client(server), "twoMinutes")
        tokens = [await source.get_token()]
        for _ in range(60):
            await here.advance(10)
            tokens.append(await source.get_token())

    fetched = len({token.value for token in tokens})
    assert fetched >= 6
    assert [request.status for request in recorded] == [400] + [200] * fetched
    assert len({request.nonce for request in recorded[1:]}) >= 5


async def test_an_expired_nonce_costs_one_request(server: AuthorizationServer) -> None:
    """After ten idle minutes a fetch needs two requests, and the next one needs one."""
    async with world(server) as here:
        client = bound_client(server)
        await here.provider.get_token(client, "orders:read")
        await here.advance(600)
        async with server.recording() as recorded:
            await here.provider.get_token(client, "customScope")
            await here.provider.get_token(client, "orders:read customScope")

    assert [(request.status, request.error) for request in recorded] == [
        (400, "use_dpop_nonce"),
        (200, None),
        (200, None),
    ]


async def test_a_bearer_token_in_place_of_a_bound_one_is_an_error(
    server: AuthorizationServer,
) -> None:
    """If a server ignores the proof, the caller gets an error instead of a bearer token."""
    async with server.session() as session, TokenProvider(session=session) as provider:
        with pytest.raises(InvalidResponseError, match="not bound to a key") as caught:
            await provider.get_token(bound_client(server, "bearer"), "orders:read")

    assert caught.value.status == 200
    assert caught.value.retryable is False


async def test_a_proxy_that_rewrites_urls_makes_a_proof_wrong(server: AuthorizationServer) -> None:
    """A server with another URL than that of the request refuses the proof."""
    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        with pytest.raises(OAuthError) as caught:
            await provider.get_token(bound_client(server, "rewritten"), "orders:read")

    assert (caught.value.error, caught.value.status) == ("invalid_dpop_proof", 400)
    assert caught.value.retryable is False
    assert len(recorded) == 2  # one immediate retry with a newly dated proof


async def test_an_api_accepts_the_headers(server: AuthorizationServer) -> None:
    """An API accepts a proof with its nonce, and refuses one for another token, method or URL.

    The only API of this server then refuses the token, because it is not the token of a user.
    """
    url = f"{server.origin}/oauth2/default/v1/userinfo"

    async with server.session() as session, TokenProvider(session=session) as provider:
        source = provider.source(bound_client(server), "orders:read")
        token = await source.get_token()
        other = await provider.get_token(source.key.client, "customScope")

        async def call(headers: Mapping[str, str]) -> tuple[object, str | None]:
            async with session.get(f"{url}?page=1", headers=headers) as response:
                return (await response.json())["error"], response.headers.get("DPoP-Nonce")

        error, nonce = await call(await source.headers("GET", url))
        assert error == "use_dpop_nonce"
        right = await source.headers("GET", f"{url}?page=1#top", nonce=nonce)
        assert (await call(right))[0] == "invalid_token"
        for wrong in (
            await source.proof(token, "POST", url, nonce),
            await source.proof(token, "GET", f"{url}/all", nonce),
            await source.proof(other, "GET", url, nonce),
        ):
            assert (await call(right | {"DPoP": wrong}))[0] == "invalid_dpop_proof"
