"""Readiness: whether a service has the tokens that it needs."""

import asyncio
import json
from dataclasses import asdict

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.errors import ConfigurationError
from okta_tokens.sandbox import Fault
from tests.support import SECRET, World, world

ACME = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET))


def key_text(here: World) -> str:
    """Return how reasons name the key of the first source."""
    return str(here.source().key)


async def test_a_service_is_ready_while_it_holds_usable_tokens() -> None:
    """A provider that holds a usable token for each source is ready, also while Okta is down."""
    async with world() as here:
        sources = here.source("a"), here.source("b")
        await here.provider.warm(*sources)
        here.sandbox.fault = Fault.status(503)
        await here.advance(3500)
        ready = await asyncio.to_thread(here.provider.ready, *sources)

        assert (ready.ok, ready.reasons) == (True, ())
        assert ready.remaining == pytest.approx(95)
        assert json.loads(json.dumps(asdict(ready)))["ok"] is True


async def test_a_source_without_a_token_becomes_ready_by_itself() -> None:
    """The first look says that there is no token, and starts one request in the background."""
    async with world() as here:
        source = here.source()
        ready = here.provider.ready(source)
        here.provider.ready(source)
        await here.requests(1)
        await here.quiet()

        assert asdict(ready) == {
            "ok": False,
            "reasons": (f"no usable token for {key_text(here)}: none was fetched",),
            "remaining": 0.0,
        }
        assert here.sandbox.token_requests == 1
        assert here.provider.ready(source).ok


async def test_a_failed_fetch_is_the_reason_and_is_repeated_after_its_cool_down() -> None:
    """While a source cools down no request follows; afterwards a look starts another one."""
    async with world(authentication=ClientSecretBasic("wrong-secret-of-the-test")) as here:
        source = here.source()
        here.provider.ready(source)
        await here.requests(1)
        await here.quiet()
        (reason,) = here.provider.ready(source).reasons
        await here.quiet()
        requests = here.sandbox.token_requests
        await here.advance(31)
        here.provider.ready(source)
        await here.requests(2)

        assert reason.startswith(f"no usable token for {key_text(here)}: OAuthError: ")
        assert requests == 1


async def test_readiness_is_a_use() -> None:
    """The token of a source that only a readiness endpoint asks for is renewed."""
    async with world() as here:
        source = here.source()
        first = await source.get_token()
        for _ in range(8):
            await here.advance(900)
            assert here.provider.ready(source).ok

        assert source.peek() is not first


async def test_without_sources_those_that_are_kept_fresh_count() -> None:
    """Without arguments it covers exactly the sources that are kept fresh."""
    async with world() as here:
        here.source("b")
        nothing = here.provider.ready()
        here.source("a", keep_fresh=True)
        kept = here.provider.ready()

        assert asdict(nothing) == {"ok": True, "reasons": (), "remaining": None}
        assert kept.reasons == (f"no usable token for {key_text(here)}: none was fetched",)


async def test_a_session_that_is_not_suitable_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an unusable proxy in the environment no fetch begins in the background."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.acme.com")
    async with TokenProvider() as provider:
        source = provider.source(ACME, "a")
        provider.ready(source)
        await asyncio.sleep(0.01)

        assert provider.stats().requests == provider.stats().in_flight == 0


def test_a_provider_that_does_not_run_is_not_ready() -> None:
    """Before the start and after the end the reason says what is wrong, and nothing is raised."""
    provider = TokenProvider()
    source = provider.source(ACME, "a")
    new = provider.ready(source)
    asyncio.run(provider.aclose())
    closed = provider.ready()

    assert (new.ok, closed.ok) == (False, False)
    assert new.reasons[0].startswith("the provider is not started")
    assert closed.reasons == ("the provider is closed; make another one",)


async def test_a_look_just_before_the_end_starts_nothing() -> None:
    """A fetch that a look asked for does not begin after the provider was closed."""
    async with world() as here:
        source = here.source()
        here.provider._manager.stop()
        here.provider.ready(source)
        await asyncio.sleep(0.01)

        assert here.sandbox.token_requests == 0


async def test_a_source_of_another_provider_is_an_error() -> None:
    """Only sources of this provider are accepted."""
    async with world() as here:
        with pytest.raises(ConfigurationError, match="not a source of this provider"):
            here.provider.ready(TokenProvider().source(ACME, "a"))
        with pytest.raises(ConfigurationError, match="not a source of this provider"):
            here.provider.ready("a token")  # type: ignore[arg-type]  # invalid on purpose
