"""Revocation: the request to Okta, the token in the cache, and the errors."""

import asyncio
from typing import cast

import pytest
from aiohttp import web

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    OktaClient,
    PrivateKeyJWT,
    RetryPolicy,
    TokenProvider,
)
from okta_tokens.errors import (
    ConfigurationError,
    OAuthError,
    ProviderStateError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from okta_tokens.events import KeyForgotten, TokenRequested, TokenRevoked
from okta_tokens.sandbox import Fault, SandboxClient
from tests.endpoint.servers import token_server
from tests.keys import ec_key, public_jwk
from tests.support import CLIENT_ID, SCOPES, SECRET, at_once, until, world


async def test_a_revoked_token_is_not_handed_out() -> None:
    """Okta gets the revocation, and the next caller gets another token."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        await here.provider.revoke(token)
        await here.clock.advance(0)

        assert here.sandbox.tokens_revoked == 1
        assert here.provider.stats().tokens_revoked == 1
        (revoked,) = here.seen(TokenRevoked)
        assert revoked.key == source.key
        assert (await source.get_token()).value != token.value
        assert len(here.seen(TokenRequested)) == 2


async def test_a_revoked_token_is_replaced_when_a_caller_asks() -> None:
    """No token replaces a revoked one before a caller asks, even if the key is kept fresh."""
    async with world(lifetime=300) as here:
        kept, other = here.source("a", keep_fresh=True), here.source("b")
        for source in (kept, other):
            await here.provider.revoke(await source.get_token())
        await here.advance(1_000)

        assert here.sandbox.token_requests == 2
        assert len(here.seen(KeyForgotten)) == 1
        assert (await kept.get_token()).remaining() > 0
        await here.advance(1_000)
        assert here.sandbox.token_requests > 3


async def test_a_token_is_dropped_before_okta_responds() -> None:
    """No caller gets a token while its revocation is under way."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        revoking = asyncio.ensure_future(here.provider.revoke(token))
        await asyncio.sleep(0)

        assert (await source.get_token()).value != token.value
        await revoking


async def test_only_the_revoked_token_is_dropped() -> None:
    """The revocation of a token that was replaced leaves the new token in the cache."""
    async with world() as here:
        source = here.source()
        old = await source.get_token()
        source.invalidate(old)
        new = await source.get_token()
        await here.provider.revoke(old)

        assert at_once(source.get_token()) is new
        assert here.sandbox.tokens_revoked == 1


async def test_a_second_revocation_is_not_an_error() -> None:
    """A token that was revoked before can be revoked again (RFC 7009 section 2.2)."""
    async with world() as here:
        token = await here.source().get_token()
        await here.provider.revoke(token)
        await here.provider.revoke(token)

        assert here.sandbox.tokens_revoked == 1


async def test_concurrent_revocations_share_one_request() -> None:
    """Callers that revoke the same token at the same time share one request."""
    async with world() as here:
        token = await here.source().get_token()
        await asyncio.gather(*(here.provider.revoke(token) for _ in range(10)))

        assert [request.path for request in here.sandbox.received] == [
            "/oauth2/default/v1/token",
            "/oauth2/default/v1/revoke",
        ]


async def test_the_client_authenticates_as_for_a_token() -> None:
    """The assertion names the revocation URL, also the one of the org authorization server."""
    app = SandboxClient(CLIENT_ID, scopes=SCOPES, keys=[public_jwk(ec_key())])
    async with world(app=app, authentication=PrivateKeyJWT(ec_key())) as here:
        org = OktaClient(
            here.sandbox.origin, CLIENT_ID, PrivateKeyJWT(ec_key()), authorization_server=None
        )
        for client, scopes in ((here.client, "a"), (org, "okta.users.read")):
            await here.provider.revoke(await here.provider.get_token(client, scopes))

        assert [
            request.path for request in here.sandbox.received if request.path.endswith("revoke")
        ] == [
            "/oauth2/default/v1/revoke",
            "/oauth2/v1/revoke",
        ]
        assert here.sandbox.tokens_revoked == 2


async def test_the_request_is_that_of_rfc_7009() -> None:
    """The form holds the token, and the hint that it is an access token."""
    forms = []

    async def handler(request: web.Request) -> web.Response:
        form = await request.post()
        forms.append(dict(form))
        fields = {"access_token": "t0k", "token_type": "Bearer", "expires_in": 3600}
        return web.json_response(fields)

    async with token_server(handler) as origin, TokenProvider() as provider:
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        await provider.revoke(await provider.get_token(client, "a"))

    assert forms[1:] == [{"token": "t0k", "token_type_hint": "access_token"}]


async def test_each_caller_gets_the_refusal() -> None:
    """If Okta refuses, each caller gets its own typed error, which does not show the token."""
    async with world() as here:
        token = await here.source().get_token()
        here.sandbox.put_client(SandboxClient(CLIENT_ID, ["another-secret"], scopes=SCOPES))
        callers = [asyncio.ensure_future(here.provider.revoke(token)) for _ in range(2)]
        errors = await asyncio.gather(*callers, return_exceptions=True)

        assert all(isinstance(error, OAuthError) and error.attempts == 1 for error in errors)
        assert errors[0] is not errors[1]
        assert token.value not in f"{errors[0]} {errors[0]!r} {vars(errors[0])}"
        assert not here.seen(TokenRevoked)


async def test_a_failed_revocation_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retryable error is retried as for a fetch; the caller gets that of the last attempt."""
    async with world(retry=RetryPolicy(attempts=2)) as here:
        token = await here.source().get_token()
        endpoint = here.provider._registry.endpoint(token.key)
        send = endpoint._send
        fails = [True, False, True, True]  # one for each attempt

        async def send_or_fail(*arguments: object, **options: object) -> object:
            sent = await send(*arguments, **options)  # type: ignore[arg-type]  # passed on
            if fails.pop(0):
                return ServerError("the server failed", status=503, retryable=True), None
            return sent

        monkeypatch.setattr(endpoint, "_send", send_or_fail)
        caller = asyncio.ensure_future(here.provider.revoke(token))
        await until(lambda: len(fails) == 3)
        await here.clock.advance(0.5)
        await caller

        caller = asyncio.ensure_future(here.provider.revoke(token))
        await until(lambda: len(fails) == 1)
        await here.clock.advance(0.5)
        with pytest.raises(ServerError):
            await caller


async def test_the_error_of_a_revocation_counts_its_requests() -> None:
    """The error holds the number of requests that were sent."""
    token = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(token, status=503 if request.path.endswith("/revoke") else 200)

    retry = RetryPolicy(attempts=2)
    async with token_server(handler) as origin, TokenProvider(retry=retry) as provider:
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        with pytest.raises(ServerError) as caught:
            await provider.revoke(await provider.get_token(client, "a"))

    assert caught.value.attempts == 2


async def test_a_pause_that_is_too_long_is_an_error() -> None:
    """During a pause that outlasts the caller's deadline, no revocation is sent."""
    async with world(retry=RetryPolicy(max_wait=5, total_timeout=10)) as here:
        token = await here.source().get_token()
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError):
            await here.source("b").get_token()
        with pytest.raises(RateLimitedError):
            await here.provider.revoke(token)

        assert here.sandbox.tokens_revoked == 0


async def test_no_caller_waits_longer_than_max_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller gives up after `max_wait`, and the request continues."""
    async with world(retry=RetryPolicy(max_wait=7)) as here:
        token = await here.source().get_token()
        begun = asyncio.Event()

        async def hang(_: object) -> bool:
            begun.set()
            await asyncio.sleep(3_600)
            return True

        monkeypatch.setattr(here.provider._registry.endpoint(token.key), "run", hang)
        caller = asyncio.ensure_future(here.provider.revoke(token))
        await begun.wait()
        await here.clock.advance(7)
        with pytest.raises(TransportError) as caught:
            await caller

        assert caught.value.args[0] == (
            "the revocation timed out; the request continues in the background, so revoke the "
            "token again later to learn the result"
        )
        assert caught.value.key == token.key
        assert caught.value.retryable
        assert len(here.provider._revoker.flights.under_way) == 1


async def test_closing_ends_a_revocation() -> None:
    """A caller that waits for a revocation when the provider closes gets an error."""
    async with world() as here:
        token = await here.source().get_token()
        caller = asyncio.ensure_future(here.provider.revoke(token))
        await asyncio.sleep(0)
        await here.provider.aclose()

        with pytest.raises(ProviderStateError) as caught:
            await caller
        assert caught.value.args[0] == (
            "the provider was closed, or failed, while this caller waited for a revocation; "
            "revoke the token again from a running provider"
        )
        with pytest.raises(ProviderStateError, match="closed"):
            await here.provider.revoke(token)
        assert not here.provider._revoker.flights.under_way


async def test_a_cancelled_caller_does_not_end_the_revocation() -> None:
    """The revocation continues after its caller was cancelled."""
    async with world() as here:
        token = await here.source().get_token()
        caller = asyncio.ensure_future(here.provider.revoke(token))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await until(lambda: here.sandbox.tokens_revoked == 1)


async def test_an_internal_error_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """If our own code raises during a revocation, the caller gets an error that says so."""
    async with world() as here:
        token = await here.source().get_token()

        async def broken(_: object) -> bool:
            raise ZeroDivisionError(SECRET)

        monkeypatch.setattr(here.provider._registry.endpoint(token.key), "run", broken)
        with pytest.raises(ProviderStateError, match=r"revoking a token \(ZeroDiv") as caught:
            await here.provider.revoke(token)

        assert SECRET not in str(caught.value.__cause__)


async def test_only_an_access_token_can_be_revoked() -> None:
    """A bare value is invalid, since its client is unknown; the error does not show the value."""
    async with world() as here:
        with pytest.raises(ConfigurationError, match=r"^token: must be an AccessToken") as caught:
            await here.provider.revoke(cast("AccessToken", "a-bare-token"))

        assert "a-bare-token" not in str(caught.value)
