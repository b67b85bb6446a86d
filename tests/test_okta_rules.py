"""Okta's documented rules for its token endpoint and for DPoP: the provider follows each of them.

The sandbox is as strict as Okta, so that Okta would accept every request that the sandbox accepts.
"""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RetryPolicy,
    TokenKey,
    TokenProvider,
    TokenSource,
)
from okta_tokens._model.advice import OTHER_SCOPES_AT_ORG, SECRET_AT_ORG, USER_SCOPES
from okta_tokens.errors import ConfigurationError, InvalidResponseError, OAuthError
from okta_tokens.events import AttemptFailed, UnusualRequest
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.clock import ManualClock, settle
from tests.endpoint.servers import token_server
from tests.keys import CURVES, PrivateKey, ec_key, public_jwk, rsa_key
from tests.support import CLIENT_ID, SCOPES, SECRET, World, at_once, world

LONG_SECRET = f"{SECRET}-{SECRET}"
ALGORITHMS: dict[str, PrivateKey] = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), rsa_key()),
    **{algorithm: ec_key(algorithm) for algorithm in CURVES},
}
PARTS_OF_CODES = ["s", "client", "dpop"]
"""Secrets of tests that are parts of Okta's error codes and descriptions."""
GRANT = {"access_token": "t0k", "token_type": "Bearer", "expires_in": 3600, "scope": "a"}


def app(*keys: dict[str, object], **options: Any) -> SandboxClient:  # noqa: ANN401 - the arguments of `SandboxClient`
    """Return an app that is registered with a public key, unless keys or secrets are given."""
    if not keys and "secrets" not in options:
        keys = (public_jwk(ec_key()),)
    return SandboxClient(CLIENT_ID, **{"scopes": SCOPES, "keys": keys, **options})


def org(here: World) -> OktaClient:
    """Return the client at the org authorization server."""
    client = here.client
    return OktaClient(
        here.sandbox.origin,
        CLIENT_ID,
        client.authentication,
        authorization_server=None,
        dpop=client.dpop,
    )


async def refused(here: World, client: OktaClient, scopes: str = "a") -> OAuthError:
    """Request a token that Okta refuses, and return the error."""
    with pytest.raises(OAuthError) as caught:
        await here.provider.get_token(client, scopes)
    return caught.value


async def call(here: World, source: TokenSource, path: str = "") -> int:
    """Call the protected resource with the headers of a source, and return the status."""
    url = here.sandbox.resource_url + path
    headers = await source.headers("GET", url)
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(url, encoded=True), headers=headers) as response,
    ):
        return response.status


# Endpoints and client authentication


async def test_the_two_kinds_of_server_have_different_urls() -> None:
    """The path is /oauth2/{id}/v1/token at custom servers, /oauth2/v1/token at the org server."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        await here.source().get_token()
        await here.provider.get_token(org(here), "okta.users.read")

        assert [request.path for request in here.sandbox.received] == [
            "/oauth2/default/v1/token",
            "/oauth2/v1/token",
        ]


@pytest.mark.parametrize(
    ("authentication", "method"),
    [
        (ClientSecretBasic(LONG_SECRET), "client_secret_basic"),
        (ClientSecretPost(LONG_SECRET), "client_secret_post"),
        (ClientSecretJWT(LONG_SECRET), "client_secret_jwt"),
        (PrivateKeyJWT(ec_key()), "private_key_jwt"),
    ],
    ids=["basic", "post", "secret-jwt", "key-jwt"],
)
async def test_each_method_sends_one_credential(
    authentication: ClientAuthentication, method: str
) -> None:
    """A request has one credential, in the header or in the body and never in the query."""
    known = app(public_jwk(ec_key()), secrets=[LONG_SECRET], methods=[method])
    async with world(app=known, authentication=authentication) as here:
        token = await here.source().get_token()
        await here.provider.revoke(token)

        assert [request.method for request in here.sandbox.received] == [method, method]
        assert await call(here, here.source()) == 200


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_assertions_are_signed_with_six_key_algorithms(algorithm: str) -> None:
    """Okta accepts assertions with RS256, RS384, RS512, ES256, ES384 and ES512."""
    key = ALGORITHMS[algorithm]
    method = PrivateKeyJWT(key, algorithm=algorithm)
    async with world(app=app(public_jwk(key)), authentication=method) as here:
        await here.source().get_token()

        assert here.sandbox.received[0].algorithm == algorithm


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_assertions_are_signed_with_three_secret_algorithms(algorithm: str) -> None:
    """Okta accepts assertions that are signed with the secret by HS256, HS384 and HS512."""
    method = ClientSecretJWT(LONG_SECRET, algorithm=algorithm)
    async with world(app=app(secrets=[LONG_SECRET]), authentication=method) as here:
        await here.source().get_token()

        assert here.sandbox.received[0].algorithm == algorithm


async def test_the_audience_is_the_endpoint_that_is_called() -> None:
    """The audience of an assertion is the URL of its request: token or revocation endpoint."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        token = await here.source().get_token()
        await here.provider.revoke(token)

        assert [request.status for request in here.sandbox.received] == [200, 200]
        assert here.sandbox.tokens_revoked == 1


@pytest.mark.parametrize("offset", [-400, 7_200])
async def test_an_assertion_is_dated_by_oktas_clock(offset: float) -> None:
    """If the local clock is wrong, the error response has the time, and the retry succeeds."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        here.sandbox.date_offset = offset
        await here.source("a").get_token()
        assert here.sandbox.token_requests == 2
        (failed,) = here.seen(AttemptFailed)
        assert isinstance(failed, AttemptFailed)
        assert isinstance(failed.error, OAuthError)
        assert failed.error.error == "invalid_client"

        await here.source("b").get_token()
        assert here.sandbox.token_requests == 3


@pytest.mark.parametrize(
    ("authentication", "offset", "requests"),
    [
        (PrivateKeyJWT(ec_key()), 600, 2),
        (PrivateKeyJWT(ec_key()), 10, 1),
        (ClientSecretBasic(LONG_SECRET), 600, 1),
    ],
    ids=["wrong", "right", "secret"],
)
async def test_an_assertion_with_a_wrong_date_is_retried_whatever_the_description(
    authentication: ClientAuthentication, offset: float, requests: int
) -> None:
    """If `Date` shows that the assertion was dated wrong, there is an immediate retry."""
    known = app(public_jwk(ec_key()), secrets=[LONG_SECRET])
    async with world(app=known, authentication=authentication) as here:
        here.sandbox.date_offset = offset
        here.sandbox.fault = Fault.refuse(401, "invalid_client", "Authentication failed.")
        await refused(here, here.client)
        assert here.sandbox.token_requests == requests

        await refused(here, here.client, "b")  # the offset is known now
        assert here.sandbox.token_requests == requests + 1


@pytest.mark.parametrize("offset", [-25, 0, 250])
async def test_small_offsets_cause_no_retry(offset: float) -> None:
    """An assertion is backdated and lives for minutes, so that a small offset is no problem."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        here.sandbox.date_offset = offset
        await here.source().get_token()

        assert here.sandbox.token_requests == 1


@pytest.mark.parametrize(
    "description",
    [
        "The client_assertion token is expired.",
        "The client_assertion token has an expiration too far into the future.",
        "The client_assertion token must be issued before current time.",
        "The client_assertion token has already been used.",
    ],
)
async def test_a_time_error_causes_one_immediate_retry(description: str) -> None:
    """After such an error there is one more request with a new assertion; then the error."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        here.sandbox.fail_next(Fault.refuse(401, "invalid_client", description))
        await here.source("a").get_token()
        assert here.sandbox.token_requests == 2

        here.sandbox.fault = Fault.refuse(401, "invalid_client", description)
        error = await refused(here, here.client, "b")
        assert here.sandbox.token_requests == 4
        assert error.attempts == 2
        assert error.description == description


async def test_an_assertion_is_used_for_one_request() -> None:
    """Okta uses up an assertion whatever the response is, so each request has a new one."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        here.sandbox.fail_next(Fault.status(503), Fault.drop())
        caller = asyncio.ensure_future(here.source().get_token())
        for failures in (1, 2):
            await here.failures(failures)
            await here.clock.advance(0.5)
        await caller

        assert [request.status for request in here.sandbox.received] == [503, None, 200]


async def test_an_app_with_several_keys_needs_a_kid() -> None:
    """If an app has several keys, an assertion without a `kid` is refused with Okta's error."""
    keys = (public_jwk(ec_key(), kid="one"), public_jwk(rsa_key(), kid="two"))
    named = PrivateKeyJWT(rsa_key(), kid="two")
    async with world(app=app(*keys), authentication=named) as here:
        await here.source().get_token()
        assert here.sandbox.received[0].kid == "two"

        without_kid = OktaClient(here.sandbox.origin, CLIENT_ID, PrivateKeyJWT(rsa_key()))
        error = await refused(here, without_kid)
        assert error.description == "The client_assertion JWT kid is invalid."


async def test_the_org_server_requires_a_private_key() -> None:
    """The org server refuses an app's secret; the provider emits a warning before the request."""
    async with world(app=app(secrets=[SECRET])) as here:
        error = await refused(here, org(here), "okta.users.read")

        assert "must use the private_key_jwt" in error.description
        await refused(here, org(here), "openid")
        assert error.advice == SECRET_AT_ORG.text
        more = f"{OTHER_SCOPES_AT_ORG.text}; {SECRET_AT_ORG.text}; {USER_SCOPES.text}"
        assert here.seen(UnusualRequest) == [
            UnusualRequest(key=TokenKey(org(here), frozenset({scope})), advice=told)
            for scope, told in (("okta.users.read", error.advice), ("openid", more))
        ]


async def test_an_integration_may_use_its_secret() -> None:
    """The provider warns of an unusual request and sends it, because Okta has exceptions."""
    async with world(app=app(secrets=[SECRET], integration=True)) as here:
        token = await here.provider.get_token(org(here), "okta.users.read")

        assert token.scopes == {"okta.users.read"}
        assert len(here.seen(UnusualRequest)) == 1


# Scopes


@pytest.mark.parametrize(
    ("of_org", "scopes", "advice"),
    [
        (True, "okta.users.read", ""),
        (False, "a b", ""),
        (True, "okta.users.read a", "grants only okta.* scopes"),
        (False, "a okta.users.read", "grants no okta.* scopes"),
        (False, "a openid", "OpenID Connect scopes need a signed-in user"),
    ],
)
async def test_scopes_that_a_server_does_not_grant_cause_a_warning(
    *, of_org: bool, scopes: str, advice: str
) -> None:
    """The org server grants `okta.*` scopes, custom servers others, neither OpenID scopes."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        client = org(here) if of_org else here.client
        if advice:
            await refused(here, client, scopes)
            await refused(here, client, f"{scopes} b")
        else:
            await here.provider.get_token(client, scopes)
        await here.clock.advance(0)

        warnings = [event.advice for event in here.seen(UnusualRequest)]
        assert len(warnings) == (2 if advice else 0)
        assert all(advice in warning for warning in warnings)


async def test_a_warning_is_emitted_once_for_each_key() -> None:
    """The first request for a key emits the warning, and renewals do not repeat it."""
    async with world(app=app(secrets=[SECRET], integration=True)) as here:
        source = here.provider.source(org(here), "okta.users.read", keep_fresh=True)
        await source.get_token()
        await here.advance(10_000)
        source.invalidate(await source.get_token())
        await source.get_token()

        assert here.sandbox.token_requests >= 4
        assert len(here.seen(UnusualRequest)) == 1


async def test_only_custom_servers_have_default_scopes() -> None:
    """Without scopes a custom server grants its defaults; at the org server it is an error."""
    okta = Sandbox([app(secrets=[SECRET])], default_scopes=["a"])
    async with world(sandbox=okta) as here:
        token = await here.provider.get_token(here.client)
        assert token.scopes == {"a"}
        assert (await here.provider.get_token(here.client, "a")) is not token
        with pytest.raises(ConfigurationError):
            await here.provider.get_token(org(here))

        assert here.sandbox.token_requests == 2


async def test_invalid_scopes_are_refused_before_the_request() -> None:
    """Scopes that are too long or have invalid characters are a `ConfigurationError`."""
    async with world() as here:
        for scopes in ("a" * 16_385, 'a"b', "a\\b"):
            with pytest.raises(ConfigurationError):
                await here.provider.get_token(here.client, scopes)

        assert here.sandbox.token_requests == 0


async def test_each_set_of_scopes_has_its_own_lifetime() -> None:
    """Okta's access rules match scopes, so that tokens with other scopes may live longer."""
    async with world(lifetimes={"a": 300, "b": 3_600}) as here:
        short, long = await here.source("a").get_token(), await here.source("b").get_token()

        assert (short.remaining(), long.remaining()) == (300, 3_600)


async def test_a_five_minute_token_is_cached() -> None:
    """Five minutes is Okta's shortest lifetime; such a token is cached."""
    async with world(lifetime=300) as here:
        token = await here.source().get_token()
        await here.advance(200)

        assert at_once(here.source().get_token()) is token
        assert here.sandbox.token_requests == 1


async def test_the_claims_of_a_token_are_ignored() -> None:
    """A token is opaque to a client: its lifetime is `expires_in`, not its `exp`."""
    async with world(signed_tokens=True, lifetime=300) as here:
        here.sandbox.date_offset = -100_000  # so that its `exp` is past
        token = await here.source().get_token()

        claims = json.loads(urlsafe_b64decode(token.value.split(".")[1] + "=="))
        assert claims["exp"] < here.clock.wall
        assert token.remaining() == 300
        assert at_once(here.source().get_token()) is token


# Rotation


@pytest.mark.parametrize("old", ["old-secret-0", *PARTS_OF_CODES])
async def test_a_rotated_secret_is_fetched_after_invalid_client(old: str) -> None:
    """After `invalid_client` the callable is called again; a new secret is sent at once, once."""
    secrets = [old, LONG_SECRET]
    async with world(
        app=app(secrets=[LONG_SECRET]), authentication=ClientSecretBasic(lambda: secrets.pop(0))
    ) as here:
        token = await here.source().get_token()

        assert token.remaining() > 0
        assert here.sandbox.token_requests == 2
        assert secrets == []


async def test_an_unchanged_secret_is_not_sent_again() -> None:
    """If the callable returns the same secret again, the caller gets the error."""
    calls: list[str] = []

    async def vault() -> str:
        calls.append("called")
        return "old-secret-0"

    async with world(
        app=app(secrets=[LONG_SECRET]), authentication=ClientSecretBasic(vault)
    ) as here:
        error = await refused(here, here.client)

        assert here.sandbox.token_requests == 1
        assert len(calls) == 2
        assert error.attempts == 1


async def test_an_immediate_retry_waits_for_a_pause() -> None:
    """A pause that begins during a request also delays its immediate retry."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        here.sandbox.latency = 0.05
        caller = asyncio.ensure_future(here.source("a").get_token())
        await here.requests(1)
        here.sandbox.fail_next(Fault.rate_limited(reset_in=20))
        other = asyncio.ensure_future(here.source("b").get_token())
        endpoint = here.provider._registry.endpoint(here.source("a").key)
        endpoint.pauses._custom.until = here.clock.boot + 20
        await here.failures(1)
        await settle()
        assert here.sandbox.token_requests <= 2

        await here.clock.advance(40)
        assert (await caller).remaining() > 0
        assert (await other).remaining() > 0


async def test_a_callable_that_fails_after_invalid_client_does_not_hide_the_error() -> None:
    """If the second call of the callable fails, the caller gets Okta's error."""
    secrets = ["old-secret-0"]
    async with world(
        app=app(secrets=[LONG_SECRET]), authentication=ClientSecretBasic(lambda: secrets.pop(0))
    ) as here:
        error = await refused(here, here.client)

        assert error.error == "invalid_client"
        assert here.sandbox.token_requests == 1


async def test_a_rotated_key_is_used_without_a_restart() -> None:
    """A key may change between two requests, or after an error response."""
    keys = [ec_key(), ec_key(), ec_key(number=1)]
    method = PrivateKeyJWT(lambda: keys.pop(0))
    async with world(app=app(), authentication=method) as here:
        await here.source("a").get_token()
        here.sandbox.put_client(app(public_jwk(ec_key(number=1))))
        await here.source("b").get_token()

        assert [request.status for request in here.sandbox.received] == [200, 401, 200]
        assert keys == []


async def test_a_cached_token_stays_usable_after_its_secret_is_rotated() -> None:
    """A token is returned until its leeway begins, even if the secret is no longer valid."""
    async with world(app=app(secrets=[SECRET]), lifetime=300) as here:
        token = await here.source().get_token()
        here.sandbox.put_client(app(secrets=[LONG_SECRET]))
        await here.advance(290)

        assert at_once(here.source().get_token()) is token
        assert here.sandbox.token_requests == 2


# DPoP


async def test_the_error_of_a_missing_proof_says_what_to_configure() -> None:
    """If an app requires proofs, the error names the argument to give to `OktaClient`."""
    async with world(app=app(dpop=True), authentication=PrivateKeyJWT(ec_key())) as here:
        error = await refused(here, here.client)

        assert error.error == "invalid_dpop_proof"
        assert "dpop=DPoP()" in str(error)
        assert here.sandbox.token_requests == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_proofs_are_signed_with_six_algorithms(algorithm: str) -> None:
    """Okta and the API accept proofs with RS256, RS384, RS512, ES256, ES384 and ES512."""
    dpop = DPoP(ALGORITHMS[algorithm], algorithm=algorithm)
    async with world(app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=dpop) as here:
        token = await here.source().get_token()

        assert token.token_type == "DPoP"
        assert token.authorization == f"DPoP {token.value}"
        assert here.sandbox.received[-1].jkt == dpop.thumbprint
        assert await call(here, here.source()) == 200


@pytest.mark.parametrize("secret", PARTS_OF_CODES)
async def test_a_test_secret_does_not_hide_an_error_code(secret: str) -> None:
    """A secret that is a part of `use_dpop_nonce` does not keep the provider from a nonce."""
    okta = app(dpop=True, secrets=[secret])
    async with world(app=okta, authentication=ClientSecretPost(secret), dpop=DPoP()) as here:
        await here.source().get_token()

        assert [request.status for request in here.sandbox.received] == [400, 200]


async def test_only_the_first_fetch_needs_a_request_for_the_nonce() -> None:
    """The first error response has the nonce, and every later request repeats that nonce."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP(), lifetime=300
    ) as here:
        for scopes in ("a", "b", "a b"):
            await here.source(scopes, keep_fresh=True).get_token()
        assert [
            (request.proof, request.nonce, request.status) for request in here.sandbox.received
        ] == [
            (True, False, 400),
            *[(True, True, 200)] * 3,
        ]

        here.sandbox.reset_counters()
        await here.advance(10_000)
        issued = here.sandbox.tokens_issued
        assert issued > 100
        assert here.sandbox.token_requests == issued


async def test_every_response_may_have_a_new_nonce() -> None:
    """Okta replaces the nonce daily; a response to the old nonce has the new one."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP()
    ) as here:
        await here.source("a").get_token()
        here.sandbox.rotate_dpop_nonce()
        await here.source("b").get_token()
        here.sandbox.rotate_dpop_nonce()
        here.sandbox.fail_next(Fault.rate_limited(reset_in=1))
        caller = asyncio.ensure_future(here.source("c").get_token())
        await here.failures(2)
        here.sandbox.rotate_dpop_nonce(forget=True)
        await here.clock.advance(3)
        await caller

        assert [request.error for request in here.sandbox.received] == [
            "use_dpop_nonce",
            None,
            None,
            "E0000047",
            "use_dpop_nonce",
            None,
        ]


async def test_a_429_has_a_nonce_too() -> None:
    """The next proof repeats the nonce of a 429."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP()
    ) as here:
        here.sandbox.fail_next(Fault.rate_limited(reset_in=1))
        caller = asyncio.ensure_future(here.source("c").get_token())
        await here.failures(1)
        await here.clock.advance(3)
        await caller

        assert [request.error for request in here.sandbox.received] == ["E0000047", None]


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, "", {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}),
        (401, "<p>No</p>", {"WWW-Authenticate": 'Basic realm=a, DPoP error="use_dpop_nonce"'}),
        (200, '{"error": "use_dpop_nonce"}', {}),
    ],
)
async def test_a_server_may_require_the_nonce_in_another_place(
    status: int, body: str, headers: dict[str, str]
) -> None:
    """A nonce that `WWW-Authenticate` or a 200 requires is repeated at once in one request."""
    nonces: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        payload = request.headers["DPoP"].split(".")[1]
        nonces.append(json.loads(urlsafe_b64decode(f"{payload}==")).get("nonce"))
        if nonces[-1] == "n1":
            return web.json_response({**GRANT, "token_type": "DPoP"})
        return web.Response(text=body, status=status, headers={**headers, "DPoP-Nonce": "n1"})

    async with token_server(handler) as origin, TokenProvider() as provider:
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET), dpop=DPoP())
        token = await provider.get_token(client, "a")

    assert token.token_type == "DPoP"
    assert nonces == [None, "n1"]


async def test_a_server_that_always_requires_another_nonce_is_an_error() -> None:
    """Each attempt has one immediate retry for a nonce, and the attempts are bounded."""
    async with world(
        app=app(dpop=True),
        authentication=PrivateKeyJWT(ec_key()),
        dpop=DPoP(),
        retry=RetryPolicy(attempts=3),
    ) as here:
        body = json.dumps({"error": "use_dpop_nonce", "error_description": "Again."})
        here.sandbox.fault = Fault.answer(400, body, headers={"DPoP-Nonce": "another"})
        caller = asyncio.ensure_future(here.source().get_token())
        for failures in (2, 4, 6):
            await here.failures(failures)
            await here.clock.advance(0.5)
        with pytest.raises(OAuthError) as caught:
            await caller

        assert (caught.value.error, caught.value.attempts) == ("use_dpop_nonce", 6)
        assert "keeps asking for another nonce" in str(caught.value)


async def test_each_attempt_has_a_new_assertion_and_a_new_proof() -> None:
    """An immediate retry and a retry repeat neither the assertion nor the proof."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP()
    ) as here:
        here.sandbox.fail_next(Fault.status(503))
        caller = asyncio.ensure_future(here.source().get_token())
        await here.failures(1)
        await here.clock.advance(0.5)
        await caller

        # The sandbox uses up both whatever the response is, as Okta does, and refuses repetitions.
        assert [request.error for request in here.sandbox.received][-1] is None


@pytest.mark.parametrize("offset", [-7_200, 7_200])
async def test_a_proof_is_dated_by_oktas_clock(offset: float) -> None:
    """If a proof is refused for its time, the retry is dated by the `Date` of the response."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        here.sandbox.date_offset = offset
        await here.source().get_token()

        assert await call(here, here.source()) == 200


async def test_a_proof_is_made_after_the_secret_is_fetched() -> None:
    """A callable for the secret may be slow, so the proof is dated after it returns."""
    clock: list[ManualClock] = []

    async def slow() -> str:
        clock[0].boot += 9
        clock[0].wall += 9
        return SECRET

    async with world(
        app=app(secrets=[SECRET], dpop=True), authentication=ClientSecretBasic(slow), dpop=DPoP()
    ) as here:
        clock.append(here.clock)
        ages = []
        prove = DPoP.prove

        async def spy(self: DPoP, method: str, uri: str, now: float, **more: Any) -> str:  # noqa: ANN401 - the arguments of `prove`
            ages.append(now - here.clock.wall)
            return await prove(self, method, uri, now, **more)

        with patch.object(DPoP, "prove", spy):
            await here.source().get_token()

        assert ages == [pytest.approx(0, abs=2)] * 2


async def test_all_requested_scopes_are_granted_or_none() -> None:
    """Okta grants all requested scopes or refuses the request."""
    async with world(app=app(secrets=[SECRET])) as here:
        error = await refused(here, here.client, "a unknown")

        assert error.error == "invalid_scope"
        assert (await here.source("b a").get_token()).scopes == {"a", "b"}
        assert at_once(here.source("a b").get_token()).scopes == {"a", "b"}


async def test_a_bearer_token_in_place_of_a_bound_one_is_an_error() -> None:
    """With DPoP, a token that is not bound to a key is an error and is not cached."""
    async with world(app=app(secrets=[SECRET]), dpop=DPoP()) as here:
        here.sandbox.fault = Fault.answer(200, json.dumps(GRANT))
        with pytest.raises(InvalidResponseError, match="not bound to a key") as caught:
            await here.source().get_token()

        assert not caught.value.retryable
        assert "t0k" not in str(caught.value)


async def test_the_dpop_key_is_part_of_the_token_key() -> None:
    """Clients with different DPoP keys have different tokens; the same key shares a token."""
    async with world(app=app(secrets=[SECRET])) as here:

        def client(dpop: DPoP | None) -> OktaClient:
            return OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(SECRET), dpop=dpop)

        clients = [client(None), client(DPoP(ec_key())), client(DPoP(ec_key(number=1)))]
        tokens = [await here.provider.get_token(each, "a") for each in clients]
        again = await here.provider.get_token(client(DPoP(ec_key())), "a")

        assert len({token.value for token in tokens}) == 3
        assert again is tokens[1]
        assert [status.dpop_thumbprint for status in here.provider.inspect()] == [
            None if each.dpop is None else each.dpop.thumbprint for each in clients
        ]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/users/me%40example.com",
        "/a%20b",
        "/50%25",
        "/caf%C3%A9",
        "/a%2Fb",
        "?q=a%20b#top",
    ],
)
async def test_the_path_in_a_proof_is_decoded(path: str) -> None:
    """A proof has the path as Okta decodes it, without query and fragment."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        assert await call(here, here.source(), path) == 200


async def test_a_slash_after_the_domain_does_not_change_the_url() -> None:
    """A slash after the domain is neither in the audience nor in the proof."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP()
    ) as here:
        client = OktaClient(
            f"{here.sandbox.origin}/", CLIENT_ID, here.client.authentication, dpop=DPoP()
        )
        await here.provider.get_token(client, "a")

        assert {request.path for request in here.sandbox.received} == {"/oauth2/default/v1/token"}


async def test_each_call_has_its_own_proof() -> None:
    """An API refuses a used proof; `headers` makes a new one for each call."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        source = here.source()
        headers = await source.headers("GET", here.sandbox.resource_url)
        async with aiohttp.ClientSession() as session:
            statuses = []
            for each in (headers, headers, await source.headers("get", here.sandbox.resource_url)):
                async with session.get(here.sandbox.resource_url, headers=each) as response:
                    statuses.append(response.status)

        assert statuses == [200, 401, 200]
        assert here.sandbox.token_requests == 2


async def test_an_api_may_require_its_own_nonce() -> None:
    """The `DPoP-Nonce` of an API's response can be given to the next call of `headers`."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        here.sandbox.resource_nonce = True
        source, url = here.source(), here.sandbox.resource_url
        async with aiohttp.ClientSession() as session:
            async with session.get(url, headers=await source.headers("GET", url)) as response:
                nonce = response.headers["DPoP-Nonce"]
            headers = await source.headers("GET", url, nonce=nonce)
            async with session.get(url, headers=headers) as response:
                assert response.status == 200
