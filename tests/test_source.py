"""A token source: its token, the headers of a request, and the proofs."""

import asyncio
from base64 import urlsafe_b64encode
from hashlib import sha256

import anyio
import pytest

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    DPoP,
    OktaClient,
    RetryPolicy,
    TokenProvider,
)
from okta_tokens.errors import (
    ConfigurationError,
    ProviderStateError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from okta_tokens.sandbox import Fault
from tests.keys import ec_key, verified
from tests.runtime.test_redaction import locals_with
from tests.support import CLIENT_ID, SECRET, at_once, world

PLAIN = ClientSecretBasic(SECRET)

# The token


async def test_access_token_returns_the_value() -> None:
    """`access_token` returns the string that an SDK with an async callable needs."""
    async with world() as here:
        source = here.source()

        assert await source.access_token() == (await source.get_token()).value


async def test_access_token_refuses_a_bound_token() -> None:
    """A token that is bound to a key is useless without a proof, so its value is not returned."""
    async with world(dpop=DPoP()) as here:
        with pytest.raises(ConfigurationError) as caught:
            await here.source().access_token()

        assert str(caught.value) == (
            "access_token: a DPoP token needs a proof for each request; use headers() instead"
        )
        assert here.sandbox.token_requests == 0


async def test_a_timeout_of_the_caller_does_not_end_the_request() -> None:
    """A timeout of the caller ends its wait, but not the request."""
    async with world() as here:
        here.sandbox.latency = 0.05
        source = here.source()
        with anyio.move_on_after(0.01) as scope:
            await source.get_token()
        assert scope.cancelled_caught

        await here.quiet()
        assert at_once(source.get_token()).value
        assert here.sandbox.token_requests == 1


# A new token


async def test_refresh_replaces_a_held_token() -> None:
    """`refresh` fetches although a token is held, which callers get until the new one arrives."""
    async with world() as here:
        source = here.source()
        held = await source.get_token()
        here.sandbox.latency = 0.05
        refreshing = asyncio.ensure_future(source.refresh())
        await here.requests(2)
        assert at_once(source.get_token()) is held
        token = await refreshing

        assert token.value != held.value
        assert at_once(source.get_token()) is token
        assert here.sandbox.token_requests == 2


async def test_the_request_of_a_refresh_begins_after_the_call() -> None:
    """A request that was sent before the call does not count; later calls share the next one."""
    async with world() as here:
        source = here.source()
        here.sandbox.latency = 0.05
        calls = [asyncio.ensure_future(source.get_token())]
        await here.requests(1)
        calls += [asyncio.ensure_future(source.refresh()) for _ in range(3)]
        await here.requests(2)
        calls.append(asyncio.ensure_future(source.refresh()))
        first, *shared, last = [(await call).value for call in calls]

        assert len({first, *shared, last}) == 3
        assert len({*shared}) == 1
        assert here.sandbox.token_requests == 3


async def test_a_flight_that_may_adopt_a_token_is_no_refresh() -> None:
    """A refresh joins no flight of an ordinary call, even one that begins after it."""
    async with world() as here:
        here.sandbox.latency = 0.05
        source = here.source()

        async def reject() -> AccessToken:
            source.invalidate(await source.get_token())
            return await source.get_token()

        rejecting = asyncio.ensure_future(reject())
        await here.requests(1)
        refreshed = await source.refresh()

        assert (await rejecting).value != refreshed.value
        assert here.sandbox.token_requests == 3


async def test_refresh_does_not_wait_for_the_cool_down() -> None:
    """While other callers get the error of the last fetch, `refresh` fetches."""
    async with world(retry=RetryPolicy(attempts=1)) as here:
        here.sandbox.fail_next(Fault.status(503))
        source = here.source()
        for _ in range(2):
            with pytest.raises(ServerError):
                await source.get_token()

        assert (await source.refresh()).value
        assert here.sandbox.token_requests == 2


async def test_refresh_waits_for_the_end_of_a_pause() -> None:
    """After a 429, `refresh` sends no request before the end of the pause."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        here.sandbox.fail_next(Fault.rate_limited(reset_in=20))
        refreshing = asyncio.ensure_future(source.refresh())
        await here.failures(1)
        await here.clock.advance(19)
        assert here.sandbox.token_requests == 2
        await here.clock.advance(3)

        assert (await refreshing).value


async def test_refresh_during_a_pause_waits_or_is_an_error_at_once() -> None:
    """`refresh` waits for a pause that ends before `max_wait`, and for no longer one."""
    async with world(retry=RetryPolicy(max_wait=30, max_pause=60)) as here:
        source = here.source()
        held = await source.get_token()
        pauses = here.provider._registry.endpoint(source.key).pauses
        pauses.adopt(source.key, 20)
        refreshing = asyncio.ensure_future(source.refresh())
        await here.clock.advance(19)
        assert here.sandbox.token_requests == 1
        await here.clock.advance(1)
        assert (await refreshing).value != held.value

        pauses.adopt(source.key, 31)
        with pytest.raises(RateLimitedError) as caught:
            at_once(source.refresh())
        assert caught.value.key == source.key


async def test_a_failed_refresh_keeps_the_held_token() -> None:
    """If `refresh` fails, its caller gets the error, and other callers get the held token."""
    async with world(retry=RetryPolicy(attempts=1)) as here:
        source = here.source()
        held = await source.get_token()
        here.sandbox.fault = Fault.status(503)
        with pytest.raises(ServerError):
            await source.refresh()

        assert at_once(source.get_token()) is held


async def test_refresh_gives_up_at_the_deadline() -> None:
    """A caller of `refresh` waits at most `max_wait`, also for a request that was sent before."""
    async with world(retry=RetryPolicy(max_wait=5, request_timeout=20)) as here:
        source = here.source()
        here.sandbox.latency = 0.2
        first = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        refreshing = asyncio.ensure_future(source.refresh())
        other = here.source("b")
        alone = asyncio.ensure_future(other.refresh())
        await here.clock.advance(6)
        for call, key in ((first, source.key), (refreshing, source.key), (alone, other.key)):
            with pytest.raises(TransportError, match="max_wait") as caught:
                await call
            assert caught.value.key == key


async def test_refresh_needs_a_running_provider() -> None:
    """`refresh` of a provider that is not started is an error."""
    provider = TokenProvider()
    with pytest.raises(ProviderStateError, match="started"):
        await provider.source(OktaClient("acme.okta.com", "0oa1", PLAIN), "a").refresh()


# Headers


async def test_headers_of_a_bearer_token() -> None:
    """A bearer token needs one header, whatever the request."""
    async with world() as here:
        token = await here.source().get_token()

        assert await here.source().headers("GET", "https://api.example/a?b#c") == {
            "Authorization": f"Bearer {token.value}"
        }


async def test_headers_of_a_bound_token() -> None:
    """A bound token comes with a new proof for the token and for this very request."""
    async with world(dpop=DPoP(ec_key())) as here:
        source = here.source()
        seen = []
        for method, url in (
            ("get", "https://api.example/a%40b?c"),
            ("POST", "https://api.example"),
        ):
            headers = await source.headers(method, url, nonce="n-1")
            token = await source.get_token()
            proof = verified(headers["DPoP"], ec_key()).claims
            assert headers["Authorization"] == f"DPoP {token.value}"
            digest = urlsafe_b64encode(sha256(token.value.encode()).digest()).decode().rstrip("=")
            assert proof["ath"] == digest
            seen.append((proof["htm"], proof["htu"], proof["nonce"]))

        assert seen == [
            ("GET", "https://api.example/a%40b", "n-1"),
            ("POST", "https://api.example/", "n-1"),
        ]


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://api.example/a%40b", "https://api.example/a%40b"),
        ("https://acme.okta.com/a%40b", "https://acme.okta.com/a@b"),
        ("https://notokta.com/a%40b", "https://notokta.com/a%40b"),
        ("{domain}/a%40b", "{domain}/a@b"),
    ],
)
async def test_only_okta_gets_a_proof_with_a_decoded_path(url: str, uri: str) -> None:
    """The path in a proof is decoded for Okta's domains and the client's domain only."""
    async with world(dpop=DPoP(ec_key())) as here:
        source, origin = here.source(), here.sandbox.origin
        headers = await source.headers("GET", url.format(domain=origin))

        assert verified(headers["DPoP"], ec_key()).claims["htu"] == uri.format(domain=origin)


@pytest.mark.parametrize(
    ("method", "url"),
    [("GET", "/api"), ("GET", "https://me:secret@api.example/"), ("GE T", "https://api.example/")],
)
async def test_headers_and_proof_refuse_an_invalid_request(method: str, url: str) -> None:
    """An invalid method or URL is refused without a request, and no error shows the token."""
    async with world(dpop=DPoP()) as here:
        with pytest.raises(ConfigurationError) as caught:
            await here.source().headers(method, url)

        assert str(caught.value) == (
            "method, url: the request is invalid; pass an HTTP method, and an absolute http(s) "
            "URL without a user name"
        )
        assert here.sandbox.token_requests == 0

        token = await here.source().get_token()
        with pytest.raises(ConfigurationError, match="absolute") as caught:
            await here.source().proof(token, method, url)
        assert locals_with(caught.value, token.value) == []


# Proofs


async def test_a_proof_is_dated_by_oktas_clock() -> None:
    """A proof for an API is dated by Okta's clock, not by this machine's."""
    async with world(dpop=DPoP(ec_key())) as here:
        here.sandbox.date_offset = 7_200
        token = await here.source().get_token()
        proof = await here.source().proof(token, "GET", "https://api.example/")

        claims = verified(proof, ec_key()).claims
        assert claims["iat"] - here.clock.wall == pytest.approx(7_200, abs=2)
        assert "nonce" not in claims


async def test_a_proof_repeats_the_nonce() -> None:
    """A proof for an API repeats the nonce that the API requested."""
    async with world(dpop=DPoP(ec_key())) as here:
        token = await here.source().get_token()
        proof = await here.source().proof(token, "GET", "https://api.example/", "n-1")

        assert verified(proof, ec_key()).claims["nonce"] == "n-1"


async def test_a_proof_is_for_a_token_of_the_source() -> None:
    """A proof for a token of another client is refused, and no error shows the token."""
    async with world(dpop=DPoP()) as here:
        token = await here.source().get_token()
        bearer = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(SECRET))
        unbound = here.provider.source(bearer, "a")
        for source, wrong in (
            (unbound, token),
            (unbound, await unbound.get_token()),
            (here.source(), await unbound.get_token()),
            (here.source(), "a bare token"),
        ):
            with pytest.raises(ConfigurationError) as caught:
                await source.proof(wrong, "GET", "https://api.example/")  # type: ignore[arg-type]  # invalid on purpose
            assert str(caught.value) == (
                "proof: the token is not bound to the key of this source; pass a token of this "
                "source, whose client has dpop=DPoP()"
            )
            assert locals_with(caught.value, token.value) == []
        await here.provider.aclose()
        with pytest.raises(ProviderStateError):
            await here.source().proof(token, "GET", "https://api.example/")
