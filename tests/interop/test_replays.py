"""No assertion and no proof is sent twice, because the server refuses repetitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from itertools import combinations

import aiohttp
import pytest

from okta_tokens import DPoP, OktaClient, PrivateKeyJWT, TokenProvider, TokenRequest
from okta_tokens.events import AttemptFailed, Event
from tests.clock import ManualClock
from tests.interop.apps import KEY_ID, private_jwk
from tests.interop.authorization_server import AuthorizationServer, Request
from tests.support import until

pytestmark = pytest.mark.timeout(120)  # the first test also installs and starts the server


def key_client(server: AuthorizationServer) -> OktaClient:
    """Return a client with signed assertions and DPoP."""
    authentication = PrivateKeyJWT(private_jwk("rsa"))
    return OktaClient(server.origin, KEY_ID, authentication, dpop=DPoP())


async def new_form(client: OktaClient, like: Request) -> Mapping[str, str]:
    """Return the form of a request with a new assertion."""
    request = TokenRequest(client.token_url, client.client_id, {**like.form}, {}, time.time())
    await client.authentication(request)
    return request.form


async def new_proof(client: OktaClient, like: Request) -> str:
    """Return a new proof for a request, with the same nonce."""
    assert client.dpop is not None
    return await client.dpop.prove("POST", like.url, time.time(), nonce=str(like.nonce))


async def send(
    session: aiohttp.ClientSession, url: str, form: Mapping[str, str], proof: str | None
) -> tuple[int, str | None]:
    """Send a token request without the provider; return status and `error` of the response."""
    async with session.post(url, data=form, headers={"DPoP": proof or ""}) as response:
        return response.status, (await response.json()).get("error")


def has_failed(events: list[Event], times: int) -> bool:
    """Return whether at least `times` requests have failed."""
    return sum(isinstance(event, AttemptFailed) for event in events) >= times


def assert_nothing_repeated(recorded: list[Request]) -> None:
    """Fail if two requests carried the same assertion or the same proof."""
    assert len({request.form["client_assertion"] for request in recorded}) == len(recorded)
    assert len({request.assertion["jti"] for request in recorded}) == len(recorded)
    assert len({request.proof for request in recorded}) == len(recorded)


async def test_the_server_refuses_repetitions(server: AuthorizationServer) -> None:
    """A used assertion with a new proof gets a 401, a new assertion with a used proof a 400."""
    client = key_client(server)
    async with server.session() as session, TokenProvider(session=session) as provider:
        async with server.recording() as recorded:
            await provider.get_token(client, "orders:read")
        accepted = recorded[-1]
        url, form, proof = accepted.url, accepted.form, accepted.proof

        assert accepted.status == 200
        other_proof = await new_proof(client, accepted)
        assert await send(session, url, form, other_proof) == (401, "invalid_client")
        other_form = await new_form(client, accepted)
        assert await send(session, url, other_form, proof) == (400, "invalid_grant")
        other_form = await new_form(client, accepted)
        assert await send(session, url, other_form, other_proof) == (200, None)


@pytest.mark.parametrize("statuses", [[503], [429], [503, 429]], ids=str)
async def test_a_retry_repeats_nothing(server: AuthorizationServer, statuses: list[int]) -> None:
    """If the response to an accepted request is lost, the retry is accepted, too."""
    events: list[Event] = []
    clock = ManualClock(wall=time.time())
    async with (
        server.session() as session,
        TokenProvider(session=session, clock=clock, observers=[events.append]) as provider,
    ):
        client = key_client(server)
        async with server.recording() as recorded:
            await provider.get_token(client, "orders:read")  # fetches a nonce
            await server.replace_responses(*statuses)
            call = asyncio.create_task(provider.get_token(client, "customScope"))
            for failures in range(2, len(statuses) + 2):
                await until(partial(has_failed, events, failures))
                await clock.advance(5)
            token = await call
        facts = await server.introspect(session, token.value)

    assert facts["active"] is True
    assert [request.status for request in recorded] == [400, 200, *statuses, 200]
    assert_nothing_repeated(recorded)


async def test_concurrent_requests_repeat_nothing(server: AuthorizationServer) -> None:
    """Concurrent requests each have their own assertion and proof."""
    scopes = ("customScope", "orders:read", "shortLived", "twoMinutes")
    sets = [chosen for size in range(1, 5) for chosen in combinations(scopes, size)]
    client = key_client(server)
    async with (
        server.recording() as recorded,
        server.session() as session,
        TokenProvider(session=session) as provider,
    ):
        tokens = await asyncio.gather(*(provider.get_token(client, each) for each in sets))

    assert len({token.value for token in tokens}) == len(sets)
    assert sum(request.status == 200 for request in recorded) == len(sets)
    assert_nothing_repeated(recorded)
