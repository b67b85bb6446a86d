"""The whole package against npm's oidc-provider, an OpenID-certified authorization server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import aiohttp
import pytest

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    ClientSecretPost,
    OktaClient,
    RetryPolicy,
    TokenProvider,
    TokenSource,
)
from okta_tokens.errors import OAuthError, TransportError
from tests.interop.apps import BASIC_ID, BASIC_SECRET, POST_ID, POST_SECRET
from tests.interop.authorization_server import AuthorizationServer

pytestmark = pytest.mark.timeout(120)  # the first test also installs and starts the server

WRONG_SECRET = "Wrong-secret_1234567890"


def basic_client(server: AuthorizationServer, secret: str = BASIC_SECRET) -> OktaClient:
    """Return the client that authenticates by HTTP Basic."""
    return OktaClient(server.origin, BASIC_ID, ClientSecretBasic(secret))


def post_client(server: AuthorizationServer) -> OktaClient:
    """Return the client that sends its secret in the form."""
    return OktaClient(server.origin, POST_ID, ClientSecretPost(POST_SECRET))


def get_without_waiting(source: TokenSource) -> AccessToken:
    """Return the token of one call, and fail the test if the call suspends."""
    call = source.get_token()
    try:
        call.send(None)
    except StopIteration as returned:
        token: AccessToken = returned.value
        return token
    call.close()
    pytest.fail("get_token suspended although a usable token was held")


@pytest.mark.parametrize("client_of", [basic_client, post_client])
async def test_concurrent_callers_share_one_request(
    server: AuthorizationServer, client_of: Callable[[AuthorizationServer], OktaClient]
) -> None:
    """Concurrent callers share one request, and the server reports their token as active."""
    client = client_of(server)
    before = await server.token_requests()

    async with server.session() as session, TokenProvider(session=session) as provider:
        source = provider.source(client, "orders:read customScope")
        tokens = await asyncio.gather(*(source.get_token() for _ in range(100)))
        token = tokens[0]
        facts = await server.introspect(session, token.value)

    assert {id(token)} == {id(each) for each in tokens}
    assert await server.token_requests() == before + 1
    assert facts["active"] is True
    assert facts["client_id"] == client.client_id
    assert token.scopes == {"orders:read", "customScope"}
    assert token.authorization == f"Bearer {token.value}"
    assert 3590 < token.remaining() <= 3600


async def test_short_lifetime_is_renewed_in_the_background(server: AuthorizationServer) -> None:
    """During three lifetimes of five seconds no call waits, and no token expires or is wasted."""
    lifetimes, lifetime = 3.2, 5.0
    before = await server.token_requests()
    tokens: list[AccessToken] = []

    async with server.session() as session, TokenProvider(session=session) as provider:
        source = provider.source(basic_client(server), "shortLived")
        tokens.append(await source.get_token())
        end = time.monotonic() + lifetimes * lifetime
        while time.monotonic() < end:
            token = get_without_waiting(source)
            assert token.remaining() > 0
            if token is not tokens[-1]:
                tokens.append(token)
            facts = await server.introspect(session, token.value)
            # The server counts whole seconds and rounds the start down, so that a token may expire
            # up to a second earlier there.
            assert facts["active"] is True or token.remaining() <= 1
            await asyncio.sleep(0.003)

    requests = await server.token_requests() - before
    assert len({token.value for token in tokens}) == len(tokens)
    # A renewal starts between a half and three quarters of a lifetime. The last one may have been
    # in progress when the loop ended.
    assert lifetimes / 0.75 <= len(tokens) <= 1 + lifetimes / 0.5
    assert len(tokens) <= requests <= len(tokens) + 1


async def test_a_wrong_secret_causes_one_request(server: AuthorizationServer) -> None:
    """A wrong secret causes one request; each caller gets its own error without the secret."""
    before = await server.token_requests()

    async with server.session() as session, TokenProvider(session=session) as provider:
        source = provider.source(basic_client(server, WRONG_SECRET), "customScope")
        errors = await asyncio.gather(
            *(source.get_token() for _ in range(100)), return_exceptions=True
        )

    assert await server.token_requests() == before + 1
    assert len({id(error) for error in errors}) == len(errors)
    for error in errors:
        assert isinstance(error, OAuthError)
        assert error.error == "invalid_client"
        assert error.status == 401
        assert error.retryable is False
        assert WRONG_SECRET not in f"{error} {error!r} {vars(error)}"


async def test_a_scope_that_is_not_allowed_is_an_error(server: AuthorizationServer) -> None:
    """A scope that the client may not have is an `invalid_scope` that is not retryable."""
    async with server.session() as session, TokenProvider(session=session) as provider:
        with pytest.raises(OAuthError) as caught:
            await provider.get_token(basic_client(server), "orders:delete")

    assert caught.value.error == "invalid_scope"
    assert caught.value.status == 400
    assert caught.value.retryable is False


async def test_an_untrusted_certificate_gets_no_credentials(server: AuthorizationServer) -> None:
    """A server with an untrusted certificate receives no request."""
    before = await server.token_requests()

    async with aiohttp.ClientSession() as session:
        retry = RetryPolicy(attempts=1)
        async with TokenProvider(session=session, retry=retry) as provider:
            with pytest.raises(TransportError):
                await provider.get_token(basic_client(server), "customScope")

    assert await server.token_requests() == before


async def test_the_command_prints_a_token(server: AuthorizationServer) -> None:
    """`okta-tokens get` prints the token response as indented JSON."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("OKTA_")}
    secrets = {"OKTA_CLIENT_SECRET": BASIC_SECRET, "SSL_CERT_FILE": str(server.ca_pem)}
    options = ["--domain", server.origin, "--client-id", BASIC_ID, "--scope", "customScope"]

    command = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "okta_tokens.cli", "get", *options],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**others, **secrets, "NO_PROXY": "localhost"},
    )

    assert command.returncode == 0, command.stderr
    printed = json.loads(command.stdout)
    assert command.stdout == json.dumps(printed, indent=2) + "\n"
    assert printed["token_type"] == "Bearer"
    assert printed["expires_in"] == 3600
    assert printed["scope"] == "customScope"
    async with server.session() as session:
        facts = await server.introspect(session, printed["access_token"])
    assert facts["active"] is True
