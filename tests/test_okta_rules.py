"""What Okta documents of its token endpoint and of DPoP: each rule, and that the provider keeps it.

The sandbox is as strict as Okta is: what it accepts Okta would accept.
"""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from yarl import URL

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    TokenKey,
    TokenSource,
)
from okta_tokens.errors import ConfigurationError, InvalidResponseError, OAuthError
from okta_tokens.events import AttemptFailed, UnusualRequest
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.clock import ManualClock, settle
from tests.keys import CURVES, PrivateKey, ec_key, public_jwk, rsa_key
from tests.support import CLIENT_ID, SCOPES, SECRET, World, at_once, world

LONG_SECRET = f"{SECRET}-{SECRET}"
ALGORITHMS: dict[str, PrivateKey] = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), rsa_key()),
    **{algorithm: ec_key(algorithm) for algorithm in CURVES},
}
GRANT = {"access_token": "t0k", "token_type": "Bearer", "expires_in": 3600, "scope": "a"}


def app(*keys: dict[str, object], **options: Any) -> SandboxClient:  # noqa: ANN401 - the app's own
    """Return an app as Okta knows it: with a public key, unless others or secrets are given."""
    if not keys and "secrets" not in options:
        keys = (public_jwk(ec_key()),)
    return SandboxClient(CLIENT_ID, **{"scopes": SCOPES, "keys": keys, **options})


def org(here: World) -> OktaClient:
    """Return the client at the org's own authorization server."""
    client = here.client
    return OktaClient(
        here.sandbox.origin,
        CLIENT_ID,
        client.authentication,
        authorization_server=None,
        dpop=client.dpop,
    )


async def refused(here: World, client: OktaClient, scopes: str = "a") -> OAuthError:
    """Return why Okta refuses."""
    with pytest.raises(OAuthError) as caught:
        await here.provider.get_token(client, scopes)
    return caught.value


async def call(here: World, source: TokenSource, path: str = "") -> int:
    """Return the status of a call of the protected resource, with the headers of a source."""
    url = here.sandbox.resource_url + path
    headers = await source.headers("GET", url)
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(url, encoded=True), headers=headers) as response,
    ):
        return response.status


# Where, and how a client authenticates


async def test_the_two_kinds_of_server_have_urls_of_their_own() -> None:
    """Custom servers are asked at /oauth2/{id}/v1/token, the org's own at /oauth2/v1/token."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        await here.source().get_token()
        await here.provider.get_token(org(here), "okta.users.read")

        assert [it.path for it in here.sandbox.received] == [
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
    """A request holds one credential, in the header or the body and never in the query."""
    known = app(public_jwk(ec_key()), secrets=[LONG_SECRET], methods=[method])
    async with world(app=known, authentication=authentication) as here:
        token = await here.source().get_token()
        await here.provider.revoke(token)

        assert [it.method for it in here.sandbox.received] == [method, method]
        assert await call(here, here.source()) == 200


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_okta_verifies_six_algorithms_of_keys(algorithm: str) -> None:
    """An assertion may be signed by RS256, RS384, RS512, ES256, ES384 and ES512."""
    key = ALGORITHMS[algorithm]
    method = PrivateKeyJWT(key, algorithm=algorithm)
    async with world(app=app(public_jwk(key)), authentication=method) as here:
        await here.source().get_token()

        assert here.sandbox.received[0].algorithm == algorithm


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_okta_verifies_three_algorithms_of_secrets(algorithm: str) -> None:
    """An assertion may be signed with the secret by HS256, HS384 and HS512."""
    method = ClientSecretJWT(LONG_SECRET, algorithm=algorithm)
    async with world(app=app(secrets=[LONG_SECRET]), authentication=method) as here:
        await here.source().get_token()

        assert here.sandbox.received[0].algorithm == algorithm


async def test_the_audience_is_the_endpoint_that_is_called() -> None:
    """An assertion names the URL of its request: of the token or of the revocation endpoint."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        token = await here.source().get_token()
        await here.provider.revoke(token)

        assert [it.status for it in here.sandbox.received] == [200, 200]
        assert here.sandbox.tokens_revoked == 1


@pytest.mark.parametrize("offset", [-7_200, -400, 400, 7_200])
async def test_an_assertion_goes_by_oktas_clock(offset: float) -> None:
    """On a machine whose clock is off, the refusal tells the time, and the next one is right."""
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
async def test_a_server_need_not_say_that_the_time_is_wrong(
    authentication: ClientAuthentication, offset: float, requests: int
) -> None:
    """If the refusal's `Date` shows that an assertion was dated wrong, there is another one."""
    known = app(public_jwk(ec_key()), secrets=[LONG_SECRET])
    async with world(app=known, authentication=authentication) as here:
        here.sandbox.date_offset = offset
        here.sandbox.fault = Fault.refuse(401, "invalid_client", "Authentication failed.")
        await refused(here, here.client)
        assert here.sandbox.token_requests == requests

        await refused(here, here.client, "b")  # by when the time is known
        assert here.sandbox.token_requests == requests + 1


@pytest.mark.parametrize("offset", [-25, 0, 250])
async def test_small_offsets_cost_nothing(offset: float) -> None:
    """An assertion is backdated and lives for minutes, so that a clock may be a little off."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        here.sandbox.date_offset = offset
        await here.source().get_token()

        assert here.sandbox.token_requests == 1


@pytest.mark.parametrize(
    "said",
    [
        "The client_assertion token is expired.",
        "The client_assertion token has an expiration too far into the future.",
        "The client_assertion token must be issued before current time.",
        "The client_assertion token has already been used.",
    ],
)
async def test_an_assertion_that_came_at_the_wrong_time_is_made_anew_once(said: str) -> None:
    """After such a refusal there is one more request, with a new assertion; then the error."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        here.sandbox.fail_next(Fault.refuse(401, "invalid_client", said))
        await here.source("a").get_token()
        assert here.sandbox.token_requests == 2

        here.sandbox.fault = Fault.refuse(401, "invalid_client", said)
        error = await refused(here, here.client, "b")
        assert here.sandbox.token_requests == 4
        assert error.attempts == 2
        assert error.description == said


async def test_an_assertion_is_good_for_one_request() -> None:
    """Okta takes an assertion for used whatever it answers, so each request has another one."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        here.sandbox.fail_next(Fault.status(503), Fault.drop())
        caller = asyncio.ensure_future(here.source().get_token())
        for failures in (1, 2):
            await here.failures(failures)
            await here.clock.advance(0.5)
        await caller

        assert [it.status for it in here.sandbox.received] == [503, None, 200]


async def test_several_keys_need_an_id() -> None:
    """An app with more than one key wants to be told which it is; the error says so."""
    keys = (public_jwk(ec_key(), kid="one"), public_jwk(rsa_key(), kid="two"))
    named = PrivateKeyJWT(rsa_key(), kid="two")
    async with world(app=app(*keys), authentication=named) as here:
        await here.source().get_token()
        assert here.sandbox.received[0].kid == "two"

        nameless = OktaClient(here.sandbox.origin, CLIENT_ID, PrivateKeyJWT(rsa_key()))
        error = await refused(here, nameless)
        assert error.description == "The client_assertion JWT kid is invalid."


async def test_the_org_server_wants_a_key() -> None:
    """The org's own server refuses an app's secret, in Okta's words; and a warning came before."""
    async with world(app=app(secrets=[SECRET])) as here:
        error = await refused(here, org(here), "okta.users.read")

        assert "must use the private_key_jwt" in error.description
        await refused(here, org(here), "openid")
        advice = (
            "the org's own authorization server takes PrivateKeyJWT alone, save from API service "
            "integrations"
        )
        more = (
            "the org's own authorization server grants okta.* scopes alone; name a custom one; "
            f"{advice}; scopes of OpenID Connect are for people, and here is none"
        )
        assert here.seen(UnusualRequest) == [
            UnusualRequest(key=TokenKey(org(here), frozenset({scope})), advice=told)
            for scope, told in (("okta.users.read", advice), ("openid", more))
        ]


async def test_an_integration_may_use_its_secret() -> None:
    """What looks wrong is warned of and asked all the same: Okta has exceptions."""
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
        (True, "okta.users.read a", "grants okta.* scopes alone"),
        (False, "a okta.users.read", "grants no okta.* scopes"),
        (False, "a openid", "scopes of OpenID Connect are for people"),
    ],
)
async def test_scopes_that_a_server_does_not_grant_are_warned_of(
    *, of_org: bool, scopes: str, advice: str
) -> None:
    """okta.* scopes belong to the org's own server, others to custom ones, OpenID's to people."""
    async with world(app=app(), authentication=PrivateKeyJWT(ec_key())) as here:
        client = org(here) if of_org else here.client
        if advice:
            await refused(here, client, scopes)
            await refused(here, client, f"{scopes} b")
        else:
            await here.provider.get_token(client, scopes)
        await here.clock.advance(0)

        warnings = [it.advice for it in here.seen(UnusualRequest) if isinstance(it, UnusualRequest)]
        assert len(warnings) == (2 if advice else 0)
        assert all(advice in warning for warning in warnings)


async def test_a_warning_comes_once_for_each_key() -> None:
    """A key is warned of when it is asked for the first time, and not at each renewal."""
    async with world(app=app(secrets=[SECRET], integration=True)) as here:
        source = here.provider.source(org(here), "okta.users.read", keep_fresh=True)
        await source.get_token()
        await here.advance(10_000)
        source.invalidate(await source.get_token())
        await source.get_token()

        assert here.sandbox.token_requests >= 4
        assert len(here.seen(UnusualRequest)) == 1


async def test_default_scopes_are_a_custom_servers_alone() -> None:
    """Without scopes a custom server grants its default ones, and the org's own is not asked."""
    okta = Sandbox([app(secrets=[SECRET])], default_scopes=["a"])
    async with world(sandbox=okta) as here:
        token = await here.provider.get_token(here.client)
        assert token.scopes == {"a"}
        assert (await here.provider.get_token(here.client, "a")) is not token
        with pytest.raises(ConfigurationError):
            await here.provider.get_token(org(here))

        assert here.sandbox.token_requests == 2


async def test_a_scope_parameter_has_1024_characters_at_most() -> None:
    """What Okta would refuse for its length or its letters is refused before the request."""
    async with world() as here:
        for scopes in ("a" * 1_025, 'a"b', "a\\b"):
            with pytest.raises(ConfigurationError):
                await here.provider.get_token(here.client, scopes)

        assert here.sandbox.token_requests == 0


async def test_lifetimes_may_differ_by_scopes() -> None:
    """An access rule is matched by the scopes, so each set of them has a lifetime of its own."""
    async with world(lifetimes={"a": 300, "b": 3_600}) as here:
        one, other = await here.source("a").get_token(), await here.source("b").get_token()

        assert (one.remaining(), other.remaining()) == (300, 3_600)


async def test_a_five_minute_token_is_kept() -> None:
    """Okta's shortest lifetime is five minutes; such a token serves more than one call."""
    async with world(lifetime=300) as here:
        token = await here.source().get_token()
        await here.advance(200)

        assert at_once(here.source().get_token()) is token
        assert here.sandbox.token_requests == 1


async def test_the_tokens_own_claims_do_not_count() -> None:
    """A token is opaque to a client: its lifetime is `expires_in`, whatever is in it."""
    async with world(signed_tokens=True, lifetime=300) as here:
        here.sandbox.date_offset = -100_000  # so that its `exp` is past
        token = await here.source().get_token()

        claims = json.loads(urlsafe_b64decode(token.value.split(".")[1] + "=="))
        assert claims["exp"] < here.clock.wall
        assert token.remaining() == 300
        assert at_once(here.source().get_token()) is token


# Rotation


async def test_a_secret_that_was_rotated_is_asked_for_again() -> None:
    """On invalid_client the callable is asked once more; a new secret is sent, at once and once."""
    secrets = ["old-secret-0", LONG_SECRET]
    async with world(
        app=app(secrets=[LONG_SECRET]), authentication=ClientSecretBasic(lambda: secrets.pop(0))
    ) as here:
        token = await here.source().get_token()

        assert token.remaining() > 0
        assert here.sandbox.token_requests == 2
        assert secrets == []


async def test_a_secret_that_stays_wrong_is_sent_once() -> None:
    """If the callable returns the same secret again, the refusal is the answer."""
    asked: list[str] = []

    async def vault() -> str:
        asked.append("asked")
        return "old-secret-0"

    async with world(
        app=app(secrets=[LONG_SECRET]), authentication=ClientSecretBasic(vault)
    ) as here:
        error = await refused(here, here.client)

        assert here.sandbox.token_requests == 1
        assert len(asked) == 2
        assert error.attempts == 1


async def test_nothing_is_amended_in_a_pause() -> None:
    """A pause that begins while a request is under way holds for its amendment as well."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        here.sandbox.latency = 0.05
        caller = asyncio.ensure_future(here.source("a").get_token())
        await here.requests(1)
        here.sandbox.fail_next(Fault.rate_limited(reset_in=20))
        other = asyncio.ensure_future(here.source("b").get_token())
        endpoint = here.provider._endpoint(here.source("a").key)
        endpoint._pauses[False].until = here.clock.boot + 20
        await here.failures(1)
        await settle()
        assert here.sandbox.token_requests <= 2

        await here.clock.advance(40)
        assert (await caller).remaining() > 0
        assert (await other).remaining() > 0


async def test_a_vault_that_fails_meanwhile_does_not_hide_the_refusal() -> None:
    """If the second answer cannot be had, what Okta said is the error."""
    answers = ["old-secret-0"]
    async with world(
        app=app(secrets=[LONG_SECRET]), authentication=ClientSecretBasic(lambda: answers.pop(0))
    ) as here:
        error = await refused(here, here.client)

        assert error.error == "invalid_client"
        assert here.sandbox.token_requests == 1


async def test_a_rotated_key_is_picked_up() -> None:
    """A key that changes between two requests, or after a refusal, needs no restart."""
    keys = [ec_key(), ec_key(), ec_key(number=1)]
    method = PrivateKeyJWT(lambda: keys.pop(0))
    async with world(app=app(), authentication=method) as here:
        await here.source("a").get_token()
        here.sandbox.put_client(app(public_jwk(ec_key(number=1))))
        await here.source("b").get_token()

        assert [it.status for it in here.sandbox.received] == [200, 401, 200]
        assert keys == []


async def test_a_valid_token_outlives_its_secret() -> None:
    """A token is handed out to its end, whatever becomes of the secret."""
    async with world(app=app(secrets=[SECRET]), lifetime=300) as here:
        token = await here.source().get_token()
        here.sandbox.put_client(app(secrets=[LONG_SECRET]))
        await here.advance(290)

        assert at_once(here.source().get_token()) is token
        assert here.sandbox.token_requests == 2


# Proofs of possession


async def test_an_app_that_demands_proofs_says_so() -> None:
    """Without a proof Okta refuses, and the error tells what to give the client."""
    async with world(app=app(dpop=True), authentication=PrivateKeyJWT(ec_key())) as here:
        error = await refused(here, here.client)

        assert error.error == "invalid_dpop_proof"
        assert "dpop=DPoP()" in str(error)
        assert here.sandbox.token_requests == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_okta_verifies_six_algorithms_of_proofs(algorithm: str) -> None:
    """A proof may be signed by RS256, RS384, RS512, ES256, ES384 and ES512; and the API agrees."""
    dpop = DPoP(ALGORITHMS[algorithm], algorithm=algorithm)
    async with world(app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=dpop) as here:
        token = await here.source().get_token()

        assert token.token_type == "DPoP"
        assert token.authorization == f"DPoP {token.value}"
        assert here.sandbox.received[-1].jkt == dpop.thumbprint
        assert await call(here, here.source()) == 200


async def test_a_nonce_costs_one_round_trip_the_first_time_and_none_afterwards() -> None:
    """The proof comes with the first request, the nonce with its refusal, and it is kept."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP(), lifetime=300
    ) as here:
        for scopes in ("a", "b", "a b"):
            await here.source(scopes, keep_fresh=True).get_token()
        assert [(it.proof, it.nonce, it.status) for it in here.sandbox.received] == [
            (True, False, 400),
            *[(True, True, 200)] * 3,
        ]

        here.sandbox.reset_counters()
        await here.advance(86_000)
        issued = here.sandbox.tokens_issued
        assert issued > 900
        assert here.sandbox.token_requests == issued


async def test_a_nonce_that_is_replaced_is_learnt_from_any_answer() -> None:
    """A day later there is another nonce; the old one still works, and the new one came with it."""
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

        assert [it.error for it in here.sandbox.received] == [
            "use_dpop_nonce",
            None,
            None,
            "E0000047",
            "use_dpop_nonce",
            None,
        ]


async def test_a_429_brings_a_nonce_too() -> None:
    """The nonce of a 429 is the one that the next proof repeats."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP()
    ) as here:
        here.sandbox.fail_next(Fault.rate_limited(reset_in=1))
        caller = asyncio.ensure_future(here.source("c").get_token())
        await here.failures(1)
        await here.clock.advance(3)
        await caller

        assert [it.error for it in here.sandbox.received] == ["E0000047", None]


async def test_a_server_that_keeps_asking_for_a_nonce_is_an_error() -> None:
    """A nonce is amended once in an attempt, and attempts are bounded: there is no loop."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP()
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
    """The request with the nonce repeats neither the assertion nor the proof of the one without."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP()
    ) as here:
        here.sandbox.fail_next(Fault.status(503))
        caller = asyncio.ensure_future(here.source().get_token())
        await here.failures(1)
        await here.clock.advance(0.5)
        await caller

        # The sandbox, as Okta, takes both for used by whatever it answered, and refuses them again.
        assert [it.error for it in here.sandbox.received][-1] is None


@pytest.mark.parametrize("offset", [-7_200, 7_200])
async def test_a_proof_goes_by_oktas_clock(offset: float) -> None:
    """A proof that is refused for its time is made anew by the clock of the refusal."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        here.sandbox.date_offset = offset
        await here.source().get_token()

        assert await call(here, here.source()) == 200


async def test_a_proof_is_made_when_it_is_sent() -> None:
    """A callable for the secret may be slow; the proof is dated after it has answered."""
    clock: list[ManualClock] = []

    async def slow() -> str:
        clock[0].boot += 9
        clock[0].wall += 9
        return SECRET

    async with world(
        app=app(secrets=[SECRET], dpop=True), authentication=ClientSecretBasic(slow), dpop=DPoP()
    ) as here:
        clock.append(here.clock)
        seen = []
        prove = DPoP.prove

        async def spy(self: DPoP, method: str, uri: str, now: float, **more: Any) -> str:  # noqa: ANN401 - passed on
            seen.append(now - here.clock.wall)
            return await prove(self, method, uri, now, **more)

        with patch.object(DPoP, "prove", spy):
            await here.source().get_token()

        assert seen == [pytest.approx(0, abs=2)] * 2


async def test_a_set_of_scopes_is_granted_whole_or_not() -> None:
    """Okta grants all that is asked for or nothing, and that is what callers get."""
    async with world(app=app(secrets=[SECRET])) as here:
        error = await refused(here, here.client, "a unknown")

        assert error.error == "invalid_scope"
        assert (await here.source("b a").get_token()).scopes == {"a", "b"}
        assert at_once(here.source("a b").get_token()).scopes == {"a", "b"}


async def test_a_bearer_token_is_not_taken_for_a_bound_one() -> None:
    """Where DPoP was asked for, a token that is bound to nothing is an error, and is not kept."""
    async with world(app=app(secrets=[SECRET]), dpop=DPoP()) as here:
        here.sandbox.fault = Fault.answer(200, json.dumps(GRANT))
        with pytest.raises(InvalidResponseError, match="bound to no key") as caught:
            await here.source().get_token()

        assert not caught.value.retryable
        assert "t0k" not in str(caught.value)


async def test_the_key_is_part_of_the_tokens_identity() -> None:
    """Another key means another token; the same key, however it is given, the same one."""
    async with world(app=app(secrets=[SECRET])) as here:

        def client(dpop: DPoP | None) -> OktaClient:
            return OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(SECRET), dpop=dpop)

        clients = [client(None), client(DPoP(ec_key())), client(DPoP(ec_key(number=1)))]
        tokens = [await here.provider.get_token(it, "a") for it in clients]
        again = await here.provider.get_token(client(DPoP(ec_key())), "a")

        assert len({token.value for token in tokens}) == 3
        assert again is tokens[1]
        assert [it.dpop_thumbprint for it in here.provider.inspect()] == [
            None if it.dpop is None else it.dpop.thumbprint for it in clients
        ]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/users/me%40example.com",
        "/a%20b",
        "/50%25",
        "/caf%C3%A9",
        "/a%2Fb",
        "?q=a%20b#top",
    ],
)
async def test_okta_compares_the_path_with_its_escapes_undone(path: str) -> None:
    """A proof names the path as Okta reads it, without query and fragment."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        assert await call(here, here.source(), path) == 200


async def test_a_domain_with_a_slash_makes_no_other_url() -> None:
    """A slash after the domain is in neither the audience nor the proof."""
    async with world(
        app=app(dpop=True), authentication=PrivateKeyJWT(ec_key()), dpop=DPoP()
    ) as here:
        client = OktaClient(
            f"{here.sandbox.origin}/", CLIENT_ID, here.client.authentication, dpop=DPoP()
        )
        await here.provider.get_token(client, "a")

        assert {it.path for it in here.sandbox.received} == {"/oauth2/default/v1/token"}


async def test_a_proof_is_good_for_one_call() -> None:
    """An API refuses a proof that it has seen; each call has its own."""
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


async def test_an_api_may_want_a_nonce_of_its_own() -> None:
    """What an API sends as `DPoP-Nonce` goes into the next proof for it."""
    async with world(app=app(secrets=[SECRET], dpop=True), dpop=DPoP()) as here:
        here.sandbox.resource_nonce = True
        source, url = here.source(), here.sandbox.resource_url
        async with aiohttp.ClientSession() as session:
            async with session.get(url, headers=await source.headers("GET", url)) as response:
                nonce = response.headers["DPoP-Nonce"]
            headers = await source.headers("GET", url, nonce=nonce)
            async with session.get(url, headers=headers) as response:
                assert response.status == 200
