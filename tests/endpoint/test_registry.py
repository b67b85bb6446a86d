"""The endpoints of a provider: one for each domain, and the session that they share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from okta_tokens import ClientSecretBasic, OktaClient, RetryPolicy, TokenKey, TokenProvider
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._runtime.schedule import Schedule
from okta_tokens.errors import ConfigurationError
from okta_tokens.sandbox import Fault, Sandbox
from tests.clock import ManualClock
from tests.endpoint.servers import token_server
from tests.support import CLIENT_ID, SECRET, default_client, until, world

NETRC = "machine 127.0.0.1 login me password mine\n"


def key_of(domain: str, client_id: str = CLIENT_ID, scope: str = "a") -> TokenKey:
    """Return a key of a domain."""
    client = OktaClient(domain, client_id, ClientSecretBasic(SECRET))
    return TokenKey(client, frozenset({scope}))


def new_registry(session: aiohttp.ClientSession | None = None) -> EndpointRegistry:
    """Return a registry without endpoints."""
    clock = ManualClock()
    return EndpointRegistry(
        session,
        clock=clock,
        schedule=Schedule(clock),
        policy=RetryPolicy(),
        max_concurrent_requests=8,
        emit=Emitter(()),
    )


# Endpoints


async def test_every_key_of_a_domain_has_the_same_endpoint() -> None:
    """A domain has one endpoint, whatever the client and the scopes."""
    registry = new_registry()
    registry.open()

    endpoint = registry.endpoint(key_of("acme.okta.com"))

    assert registry.endpoint(key_of("acme.okta.com", "0oa2other", "b")) is endpoint
    assert registry.endpoint(key_of("other.okta.com")) is not endpoint
    await registry.aclose()


async def test_clock_offsets_are_listed_by_domain() -> None:
    """The clock offset of each domain is listed by its host."""
    registry = new_registry()
    assert registry.clock_offsets() == {}
    registry.open()
    registry.endpoint(key_of("acme.okta.com"))._clock_offset.seconds = -7.5
    registry.endpoint(key_of("other.okta.com"))

    assert registry.clock_offsets() == {
        "acme.okta.com": -7.5,
        "other.okta.com": 0.0,
    }
    await registry.aclose()


@pytest.fixture
def three_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a registry keep no more than three endpoints if some are idle."""
    monkeypatch.setattr("okta_tokens._endpoint.registry.MAX_IDLE_ENDPOINTS", 3)


@pytest.mark.usefixtures("three_endpoints")
async def test_the_endpoint_that_was_last_asked_for_longest_ago_is_dropped() -> None:
    """The number of endpoints is bounded, and domains that are used keep theirs."""
    registry = new_registry()
    registry.open()
    used = registry.endpoint(key_of("used.okta.com"))
    for number in range(10):
        registry.endpoint(key_of(f"d{number}.okta.com"))
        assert registry.endpoint(key_of("used.okta.com")) is used

    assert [*registry.clock_offsets()] == [
        "d8.okta.com",
        "d9.okta.com",
        "used.okta.com",
    ]
    await registry.aclose()


@pytest.mark.usefixtures("three_endpoints")
async def test_no_endpoint_is_dropped_during_a_pause() -> None:
    """A pause outlasts the use of any number of other domains, even if no endpoint is idle."""
    registry = new_registry()
    registry.open()
    org = OktaClient(
        "acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET), authorization_server=None
    )
    keys = [key_of("x.okta.com"), key_of("y.okta.com"), TokenKey(org, frozenset({"a"}))]
    for key in keys:
        registry.endpoint(key).pauses.adopt(key, 30)
    for number in range(10):
        registry.endpoint(key_of(f"d{number}.okta.com"))
    assert all(registry.endpoint(key).pauses.end(key) == 1_030 for key in keys)
    registry._clock.boot += 31  # type: ignore[attr-defined]  # a manual clock
    for number in range(10):
        registry.endpoint(key_of(f"d{number}.okta.com"))

    assert len(registry.clock_offsets()) == 3
    assert registry.endpoint(keys[0]).pauses.end(keys[0]) < 0
    await registry.aclose()


@pytest.mark.usefixtures("three_endpoints")
@pytest.mark.parametrize("phase", ["request", "delay"])
async def test_no_endpoint_is_dropped_while_it_is_in_use(phase: str) -> None:
    """A domain keeps its endpoint, and with it its limits, until its last operation is over."""
    async with world() as here:
        key = here.source().key
        endpoint = here.provider._registry.endpoint(key)
        here.sandbox.fail_next(Fault.status(503))
        here.sandbox.latency = 0.02
        caller = asyncio.ensure_future(here.source().get_token())
        await (here.requests(1) if phase == "request" else here.failures(1))
        for number in range(10):
            here.provider._registry.endpoint(key_of(f"d{number}.okta.com"))
        assert here.provider._registry.endpoint(key) is endpoint
        await here.failures(1)
        await here.clock.advance(0.25)
        await caller
        for number in range(10):
            here.provider._registry.endpoint(key_of(f"d{number}.okta.com"))

        assert here.provider._registry.endpoint(key) is not endpoint


async def test_no_endpoint_is_idle_until_its_last_operation_is_over() -> None:
    """While one of several operations is under way, or waits for a place, the endpoint is kept."""
    async with world(max_concurrent_requests=1) as here:
        endpoint = here.provider._registry.endpoint(here.source().key)
        here.sandbox.latency = 0.02
        first, second = (asyncio.ensure_future(here.source(each).get_token()) for each in "ab")
        await first
        assert not second.done()
        assert not endpoint.is_idle
        await second

        assert endpoint.is_idle


# The session


async def test_the_own_session_is_opened_and_closed() -> None:
    """Without a given session the registry opens one, which the endpoints share, and closes it."""
    registry = new_registry()
    await registry.aclose()
    registry.open()
    sessions = {
        registry.endpoint(key_of(domain))._exchange._session
        for domain in ("acme.okta.com", "other.okta.com")
    }
    (session,) = sessions
    assert not session.closed

    await registry.aclose()

    assert session.closed


async def test_a_given_session_is_used_and_not_closed() -> None:
    """The provider sends its requests with the given session and leaves it open."""
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        async with TokenProvider(session=session) as provider:
            await provider.get_token(default_client(sandbox), "customScope")
            assert provider._registry._session is session

        assert not session.closed
        assert sandbox.token_requests == 1


async def test_a_given_session_with_credentials_is_invalid() -> None:
    """A session with an Authorization header would send two credentials."""
    async with aiohttp.ClientSession(headers={"authorization": "Bearer x"}) as session:
        with pytest.raises(ConfigurationError, match="session"):
            TokenProvider(session=session)


async def test_a_given_session_with_a_netrc_entry_for_the_domain_is_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that would add the credentials of `.netrc` sends no request to the domain."""
    netrc = tmp_path / "netrc"
    netrc.write_text(NETRC)
    monkeypatch.setenv("NETRC", str(netrc))
    async with (
        Sandbox() as sandbox,
        aiohttp.ClientSession(trust_env=True) as session,
        TokenProvider(session=session) as provider,
    ):
        with pytest.raises(ConfigurationError, match="netrc"):
            await provider.get_token(default_client(sandbox), "customScope")
        assert sandbox.token_requests == 0


async def test_the_own_session_does_not_use_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's own session adds no credentials of `.netrc` to a request."""
    netrc = tmp_path / "netrc"
    netrc.write_text(NETRC)
    monkeypatch.setenv("NETRC", str(netrc))
    async with Sandbox() as sandbox, TokenProvider() as provider:
        assert (await provider.get_token(default_client(sandbox), "customScope")).value


async def test_only_the_own_session_uses_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A given session chooses its proxy itself."""
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    key = key_of("acme.okta.com")
    own = new_registry()
    own.open()
    async with aiohttp.ClientSession() as session:
        given = new_registry(session)
        given.open()

        assert own.endpoint(key)._exchange._proxy == "http://proxy.example:3128"
        assert given.endpoint(key)._exchange._proxy is None
        assert given.endpoint(key)._exchange._session is session
    await own.aclose()


@pytest.mark.parametrize(("per_domain", "limit"), [(8, 99), (120, 119)])
async def test_all_domains_together_have_a_limit(per_domain: int, limit: int) -> None:
    """Over all domains 100 requests are under way at once, one of them left to renewals.

    If a domain may have more, that number is the limit.
    """
    under_way, finish = 0, asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        nonlocal under_way
        under_way += 1
        await finish.wait()
        return web.json_response({"access_token": "t", "token_type": "Bearer", "expires_in": 60})

    async with (
        token_server(handler) as origin,
        TokenProvider(max_concurrent_requests=per_domain) as provider,
    ):
        secret = ClientSecretBasic(SECRET)
        origins = [origin.replace("//", f"//org-{number}.") for number in range(130)]
        sources = [provider.source(OktaClient(name, "0oa1", secret), "a") for name in origins]
        warming = asyncio.ensure_future(provider.warm(*sources, timeout=20))
        await until(lambda: under_way == limit)
        assert len(provider._registry._gate) == len(sources) - limit
        finish.set()
        await warming

    assert under_way == len(sources)
