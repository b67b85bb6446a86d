"""The provider's life, its sources, and what it tells of itself."""

import asyncio
import gc
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
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
from okta_tokens._cache.entry import USED
from okta_tokens._lifecycle import _abandon_after_fork
from okta_tokens.errors import ConfigurationError, OAuthError, ProviderStateError
from okta_tokens.events import (
    Event,
    FetchFailed,
    ProviderClosed,
    ProviderFailed,
    TokenFetched,
)
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox
from tests.keys import ec_key, verified
from tests.runtime.test_redaction import locals_with
from tests.support import CLIENT_ID, SECRET, at_once, until, world

ACME = OktaClient("acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET))


@asynccontextmanager
async def sandboxed() -> AsyncIterator[tuple[Sandbox, OktaClient]]:
    """Run a sandbox, and make its default client."""
    async with Sandbox() as sandbox:
        secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
        yield sandbox, OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, secret)


# Life


async def test_a_provider_must_be_started() -> None:
    """Before its start a provider makes sources, and says how to start it when asked for more."""
    provider = TokenProvider()
    source = provider.source(ACME, "a")

    with pytest.raises(ProviderStateError, match="async with"):
        await source.get_token()
    with pytest.raises(ProviderStateError, match="async with"):
        await provider.warm(source)


async def test_a_provider_is_started_once() -> None:
    """A second start, and a start after closing, are errors that say so."""
    provider = TokenProvider()
    assert await provider.start() is provider
    with pytest.raises(ProviderStateError) as caught:
        await provider.start()
    assert str(caught.value) == "the provider is already started; start it once"
    assert "okta_tokens" in {task.get_name() for task in asyncio.all_tasks()}
    await provider.aclose()
    with pytest.raises(ProviderStateError, match="closed"):
        await provider.start()


async def test_a_closed_provider_hands_out_nothing() -> None:
    """After closing even a token that was held is not handed out any more."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        await here.provider.aclose()

        with pytest.raises(ProviderStateError, match="closed"):
            at_once(source.get_token())
        with pytest.raises(ProviderStateError, match="closed"):
            at_once(here.provider.get_token(here.client, "a"))
        assert source.invalidate("anything") is False


async def test_closing_tells_every_waiter() -> None:
    """Whoever waits when the provider is closed gets a `ProviderStateError`, each its own."""
    async with world() as here:
        here.sandbox.latency = 5
        callers = [asyncio.ensure_future(here.source().get_token()) for _ in range(10)]
        await here.requests(1)
        await here.provider.aclose()
        errors = await asyncio.gather(*callers, return_exceptions=True)

        assert len(here.seen(ProviderClosed)) == 1
        assert all(isinstance(error, ProviderStateError) for error in errors)
        assert {str(error) for error in errors} == {
            (
                "the provider was closed, or failed, while this caller waited for a token; make "
                "another provider"
            )
        }
        assert len({id(error) for error in errors}) == 10


async def test_a_provider_that_closes_is_closed() -> None:
    """Whoever asks while it still closes is told so, as afterwards."""
    async with world() as here:
        closing = asyncio.ensure_future(here.provider.aclose())
        await asyncio.sleep(0)

        assert repr(here.provider).startswith("<TokenProvider closed")
        with pytest.raises(ProviderStateError, match="closed; make another one"):
            await here.source().get_token()
        await closing


async def test_closing_is_idempotent() -> None:
    """Closing twice, closing at the same time, and closing what never started do nothing more."""
    fresh = TokenProvider()
    await fresh.aclose()
    await fresh.aclose()
    with pytest.raises(ProviderStateError, match="closed"):
        await fresh.start()

    async with TokenProvider() as provider:
        await asyncio.gather(provider.aclose(), provider.aclose())
        await provider.aclose()


async def test_closing_leaves_nothing_behind() -> None:
    """After closing no task, timer or connection of ours is left."""
    before = asyncio.all_tasks()
    async with sandboxed() as (sandbox, client):
        sandbox.latency = 0.2
        provider = await TokenProvider().start()
        await provider.get_token(client, "customScope")
        waiting = asyncio.ensure_future(provider.get_token(client, "orders:read"))
        await until(lambda: sandbox.token_requests == 2)
        session = provider._registry._session
        await provider.aclose()
        with pytest.raises(ProviderStateError):
            await waiting

        new = [repr(task) for task in asyncio.all_tasks() - before]
        assert all("RequestHandler" in task for task in new)  # the sandbox's own
        assert session is not None
        assert session.closed
        assert len(provider._schedule) == 0


async def test_a_provider_can_be_closed_in_another_task() -> None:
    """Fixtures and start-up hooks may enter the provider in one task and leave it in another."""
    async with sandboxed() as (_, client):
        provider = TokenProvider()
        await asyncio.create_task(provider.start())
        assert (await provider.get_token(client, "customScope")).value
        await asyncio.create_task(provider.aclose())

        assert "closed" in repr(provider)


async def test_an_error_of_the_body_comes_out_as_itself() -> None:
    """An exception in the `async with` body is neither wrapped in a group nor replaced."""
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with TokenProvider():
            raise error

    assert caught.value is error


async def test_closing_goes_on_when_its_caller_is_cancelled() -> None:
    """A cancelled `aclose()` leaves no half-closed provider."""
    async with world() as here:
        here.sandbox.latency = 5
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        closing = asyncio.ensure_future(here.provider.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(ProviderStateError):
            await caller

        await here.provider.aclose()
        assert here.provider._registry._session is not None
        assert here.provider._registry._session.closed


async def test_closing_while_it_starts_leaves_nothing_behind() -> None:
    """A provider that is closed before its background work has begun closes its session, too."""
    provider = TokenProvider()
    starting = asyncio.create_task(provider.start())
    closing = asyncio.create_task(provider.aclose())
    await asyncio.wait([starting, closing])

    assert provider._registry._session is not None
    assert provider._registry._session.closed
    with pytest.raises(ProviderStateError, match="closed"):
        await provider.get_token(ACME, "a")


async def test_a_provider_that_is_forgotten_ends_with_its_loop() -> None:
    """Whoever forgets to close gets no warning: the end of the event loop closes the provider."""

    async def forget() -> TokenProvider:
        async with sandboxed() as (_, client):
            provider = await TokenProvider().start()
            await provider.get_token(client, "customScope")
            return provider

    provider = await asyncio.to_thread(asyncio.run, forget())
    gc.collect()

    assert provider._registry._session is not None
    assert provider._registry._session.closed
    with pytest.raises(ProviderStateError, match="closed"):
        await provider.get_token(ACME, "a")


async def test_our_own_death_is_told_and_hangs_nobody() -> None:
    """If the background work dies, waiters and later callers get an error with the cause."""
    async with world() as here:
        here.sandbox.latency = 5
        source = here.source()
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(1)

        def broken() -> None:
            secret = SECRET
            raise ZeroDivisionError(len(secret) - len(SECRET))

        here.provider._schedule.call_at(0, broken)
        with pytest.raises(ProviderStateError):
            await caller
        with pytest.raises(
            ProviderStateError, match=r"^Internal error in okta-tokens while running the"
        ) as caught:
            await source.get_token()

        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert caught.value.__cause__.__traceback__ is None
        await here.provider.aclose()
        (died,) = here.seen(ProviderFailed)
        assert isinstance(died, ProviderFailed)
        assert str(died.error) == str(caught.value)
        assert died.error.__cause__ is caught.value.__cause__
        assert not here.seen(ProviderClosed)


async def test_flights_do_not_run_in_the_first_callers_context() -> None:
    """What the first caller put into its context is unknown to the request and to observers."""
    request_id: ContextVar[str] = ContextVar("request_id", default="none")
    seen: list[str] = []

    async def secret() -> str:
        seen.append(request_id.get())
        request_id.set("leaked")
        return DEFAULT_CLIENT.secrets[0]

    async with sandboxed() as (sandbox, _):
        client = OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, ClientSecretBasic(secret))
        observers = [lambda _: seen.append(request_id.get())]
        async with TokenProvider(observers=observers) as provider:
            request_id.set("caller's")
            await provider.get_token(client, "customScope")
            await provider.get_token(client, "orders:read")
            await asyncio.sleep(0)

    assert set(seen) == {"none"}


# Sessions


async def test_a_session_of_the_users_is_used_and_not_closed() -> None:
    """The provider sends its requests with the given session, and leaves it open."""
    async with sandboxed() as (sandbox, client), aiohttp.ClientSession() as session:
        async with TokenProvider(session=session) as provider:
            await provider.get_token(client, "customScope")

        assert not session.closed
        assert sandbox.token_requests == 1


async def test_a_session_that_sends_credentials_is_refused() -> None:
    """A session with an Authorization header of its own would send two credentials."""
    async with aiohttp.ClientSession(headers={"authorization": "Bearer x"}) as session:
        with pytest.raises(ConfigurationError, match="session"):
            TokenProvider(session=session)


async def test_a_session_with_a_netrc_entry_for_the_host_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that trusts the environment would add what `.netrc` says, so it is refused."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with (
        sandboxed() as (sandbox, client),
        aiohttp.ClientSession(trust_env=True) as session,
        TokenProvider(session=session) as provider,
    ):
        with pytest.raises(ConfigurationError, match="netrc"):
            await provider.get_token(client, "customScope")
        assert sandbox.token_requests == 0


async def test_our_own_session_reads_no_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials in `.netrc` are not added to a request of the provider's own session."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with sandboxed() as (_, client), TokenProvider() as provider:
        assert (await provider.get_token(client, "customScope")).value


# Configuration


NUMBER = "must be a whole number of at least 1"


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"max_tokens": 0}, f"max_tokens {NUMBER}"),
        ({"max_tokens": 1.5}, f"max_tokens {NUMBER}"),
        (
            {"max_tokens": True, "max_concurrent_requests": "8"},
            f"max_concurrent_requests {NUMBER}",
        ),
        (
            {"max_tokens": -1, "max_concurrent_requests": 0},
            f"max_tokens {NUMBER}; max_concurrent_requests {NUMBER}",
        ),
        ({"observers": [print, "this"]}, "observers must be callables that take an event"),
        (
            {"store": "redis://localhost"},
            "store must be a TokenStore, such as RedisTokenStore(url, keys=…)",
        ),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], problems: str) -> None:
    """Values that cannot be right are all named before anything is done."""
    with pytest.raises(ConfigurationError) as caught:
        TokenProvider(**options)

    assert str(caught.value) == f"TokenProvider: {problems}"


async def test_the_org_server_has_no_default_scopes() -> None:
    """Without scopes the org's own authorization server is not even asked."""
    org = OktaClient(
        "acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET), authorization_server=None
    )
    with pytest.raises(ConfigurationError, match="scopes"):
        TokenProvider().source(org)


async def test_a_client_must_be_a_client() -> None:
    """Whoever passes a domain for the client is told, before any request."""
    with pytest.raises(ConfigurationError, match="OktaClient"):
        TokenProvider().source("acme.okta.com")  # type: ignore[arg-type]  # deliberately
    async with TokenProvider() as provider:
        with pytest.raises(ConfigurationError, match="OktaClient"):
            await provider.get_token("acme.okta.com", "a")  # type: ignore[arg-type]  # deliberately


async def test_not_more_keys_are_kept_fresh_than_tokens() -> None:
    """One key more than `max_tokens` cannot be kept fresh."""
    provider = TokenProvider(max_tokens=1)
    provider.source(ACME, "a", keep_fresh=True)

    with pytest.raises(ConfigurationError) as caught:
        provider.source(ACME, "b", keep_fresh=True)
    assert str(caught.value) == (
        "keep_fresh: max_tokens keys are kept fresh already; raise max_tokens"
    )


# Warming up


async def test_warm_waits_for_all() -> None:
    """After `warm` every source has a token, and no caller waits."""
    async with world() as here:
        sources = [here.source("a"), here.source("b"), here.source("c")]
        timers = len(here.provider._schedule)
        await here.provider.warm(*sources, timeout=0.5)

        assert [sorted(at_once(it.get_token()).scopes) for it in sources] == [["a"], ["b"], ["c"]]
        assert len(here.provider._schedule) == timers + len(sources)
        await here.provider.warm()


async def test_warm_collects_the_errors() -> None:
    """What failed comes in one group, an error for each source without a token."""
    async with world() as here:
        good, bad = here.source("a"), here.source("unknown")
        with pytest.raises(ExceptionGroup) as caught:
            await here.provider.warm(good, bad)

        (error,) = caught.value.exceptions
        assert isinstance(error, OAuthError)
        assert at_once(good.get_token()).value


async def test_warm_gives_up_in_time_and_the_requests_go_on() -> None:
    """Out of time, `warm` raises `TimeoutError`; the token arrives all the same."""
    async with world() as here:
        here.sandbox.latency = 0.1
        source = here.source()
        warming = asyncio.ensure_future(here.provider.warm(source, timeout=3))
        await here.requests(1)
        await here.clock.advance(3)
        with pytest.raises(TimeoutError, match="3 s"):
            await warming

        await here.quiet()
        assert at_once(source.get_token()).value
        assert here.sandbox.token_requests == 1


async def test_warm_refuses_sources_of_another_provider() -> None:
    """A source belongs to the provider that made it."""
    async with TokenProvider() as provider:
        with pytest.raises(ConfigurationError) as caught:
            await provider.warm(TokenProvider().source(ACME, "a"))

        assert str(caught.value) == (
            "sources: one of them belongs to another provider; pass sources of this one"
        )


async def test_warm_tells_when_the_provider_closes() -> None:
    """Closing while it warms up is an error of the provider's state, not of a fetch."""
    async with world() as here:
        here.sandbox.latency = 5
        warming = asyncio.ensure_future(here.provider.warm(here.source()))
        await here.requests(1)
        await here.provider.aclose()

        with pytest.raises(ProviderStateError):
            await warming


# What it tells


async def test_snapshots_are_plain_values_without_tokens() -> None:
    """`inspect` and `stats` can be sent to a monitor as JSON, and hold no token."""
    async with world() as here:
        token = await here.source("b a").get_token()
        waiting = here.provider.source(here.client, "c")
        here.sandbox.latency = 0.1
        caller = asyncio.ensure_future(waiting.get_token())
        await here.requests(2)
        here.sandbox.latency = 0

        keys = [asdict(status) for status in here.provider.inspect()]
        stats = asdict(here.provider.stats())
        text = json.dumps([keys, stats])

        assert token.value not in text
        assert SECRET not in text
        held, wanted = keys
        assert held["scopes"] == ("a", "b")
        assert (held["state"], held["remaining"]) == ("fresh", 3595)
        assert (wanted["state"], wanted["in_flight"], wanted["waiters"]) == ("absent", True, 1)
        assert wanted["remaining"] is None
        assert stats["keys"] == 2
        assert (stats["requests"], stats["tokens_fetched"], stats["waiters"]) == (2, 1, 1)
        assert list(stats["clock_offsets"]) == [here.sandbox.origin]
        await caller


async def test_the_repr_shows_the_state_and_no_secret() -> None:
    """At a glance: how it lives, how many keys, how many requests under way."""
    async with world() as here:
        source = here.source()
        await source.get_token()

        assert repr(here.provider) == "<TokenProvider running: 1 keys, 0 in flight>"
        assert CLIENT_ID in repr(source)
        assert SECRET not in repr(source)


async def test_an_observer_that_raises_harms_nobody() -> None:
    """An observer's error reaches neither callers nor the observers after it."""
    events: list[Event] = []

    def raises(_: Event) -> None:
        raise RuntimeError("observer")

    async with (
        sandboxed() as (_, client),
        TokenProvider(observers=[raises, events.append]) as provider,
    ):
        await provider.get_token(client, "customScope")
        await asyncio.sleep(0)

        assert len(events) == 3


async def test_an_observer_may_use_the_provider() -> None:
    """An observer runs outside of the provider's own steps, so it may call back."""
    async with world() as here:
        seen: list[int] = []

        def observer(_: Event) -> None:
            seen.append(len(here.provider.inspect()))

        here.provider._emitter._observers += (observer,)
        await here.source().get_token()
        await here.quiet()

        assert seen == [1, 1, 1]


async def test_a_bare_token_for_sdks() -> None:
    """`access_token` returns the string that SDKs with an async callable want."""
    async with world() as here:
        source = here.source()

        assert await source.access_token() == (await source.get_token()).value


async def test_a_caller_with_a_time_out_just_leaves() -> None:
    """A time-out of the caller's ends its wait, not the request."""
    async with world() as here:
        here.sandbox.latency = 0.05
        source = here.source()
        with anyio.move_on_after(0.01) as scope:
            await source.get_token()
        assert scope.cancelled_caught

        await here.quiet()
        assert at_once(source.get_token()).value
        assert here.sandbox.token_requests == 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
async def test_warm_refuses_a_timeout_that_is_none(seconds: float) -> None:
    """A timeout that no clock could keep is refused, and harms nobody."""
    async with world() as here:
        with pytest.raises(ConfigurationError) as caught:
            await here.provider.warm(here.source(), timeout=seconds)

        assert str(caught.value) == (
            "timeout: must be a positive, finite number of seconds, or None"
        )
        assert (await here.source().get_token()).value


async def test_a_token_knows_whose_it_is_when_it_is_rejected() -> None:
    """The provider drops a rejected token by itself, without a source, and no other one."""
    async with world() as here:
        rejected, other = [await here.source(scopes).get_token() for scopes in ("a", "b")]

        assert here.provider.invalidate(rejected) is True
        assert here.provider.invalidate(rejected) is False
        assert (await here.source("a").get_token()) is not rejected
        assert at_once(here.source("b").get_token()) is other


async def test_a_hit_of_the_provider_ends_with_its_window() -> None:
    """At the very end of a window the provider looks at both clocks again, and not before."""
    async with world(lifetime=3600) as here:
        token = await here.provider.get_token(here.client, "a")
        at_once(here.provider.get_token(here.client, "a"))
        here.clock.boot += 3600

        here.clock.wall += 0.75
        assert at_once(here.provider.get_token(here.client, "a")) is token
        here.clock.wall += 0.25
        assert (await here.provider.get_token(here.client, "a")) is not token


async def test_a_hit_of_the_provider_is_a_use() -> None:
    """A token that was only handed out by hits within a window is renewed all the same."""
    async with world(lifetime=300) as here:
        source = here.source()
        hits: list[Callable[[], Coroutine[Any, Any, AccessToken]]] = [
            source.get_token,
            lambda: here.provider.get_token(here.client, "a"),
        ]
        await source.get_token()
        at_once(source.get_token())
        (entry,) = here.provider._manager.entries
        for hit in hits:
            entry.used = 0
            at_once(hit())
            assert entry.used == USED
        await here.advance(280)

        assert here.sandbox.token_requests == 2


async def test_so_many_spellings_are_remembered_as_tokens() -> None:
    """However callers spell their scopes, what is remembered of that is bounded."""
    async with world(max_tokens=3) as here:
        for spaces in range(1, 12):
            await here.provider.get_token(here.client, "a" + " " * spaces + "b")
            remembered = sum(map(len, here.provider._spellings.values()))
            assert remembered == (spaces - 1) % 3 + 1


async def test_a_bare_value_is_not_invalidated_by_the_provider() -> None:
    """Without a key the provider cannot know whose token it is; the value is not repeated."""
    async with TokenProvider() as provider:
        with pytest.raises(ConfigurationError) as caught:
            provider.invalidate(SECRET)  # type: ignore[arg-type]  # deliberately

    assert str(caught.value) == (
        "token: must be an AccessToken; pass the bare value of a token to a source's invalidate"
    )
    assert locals_with(caught.value, SECRET) == []


async def test_closing_ends_also_what_swallows_its_cancellation() -> None:
    """A callable that takes a cancellation for an error of its own delays the end, no more."""
    asked = asyncio.Event()

    async def stubborn() -> str:
        asked.set()
        try:
            await asyncio.sleep(30)
        except BaseException:  # noqa: BLE001 - what users write
            return SECRET
        raise AssertionError

    async with world() as here:
        here.sandbox.latency = 30
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(stubborn))
        caller = asyncio.ensure_future(here.provider.get_token(client, "a"))
        await asked.wait()
        await asyncio.wait_for(here.provider.aclose(), 5)

        with pytest.raises(ProviderStateError):
            await caller


@pytest.mark.parametrize("brings", ["token", "error"])
async def test_what_a_flight_brings_after_closing_is_nobodys(brings: str) -> None:
    """Waiters hear that the provider was closed, whatever a swallowed cancellation turns into."""
    asked = asyncio.Event()

    async def stubborn() -> str:
        asked.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as error:
            if brings == "error":
                raise LookupError from error
        return SECRET

    async with world(retry=RetryPolicy(attempts=1)) as here:
        client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(stubborn))
        caller = asyncio.ensure_future(here.provider.get_token(client, "a"))
        await asked.wait()
        await here.provider.aclose()

        with pytest.raises(ProviderStateError):
            await caller
        assert here.seen(FetchFailed) == here.seen(TokenFetched) == []
        assert len(here.provider._schedule) == 0


async def test_a_provider_that_was_made_before_a_fork_may_start_after_it() -> None:
    """A provider that owns nothing yet belongs to no process."""
    fresh, running = TokenProvider(), await TokenProvider().start()
    state = running._lifecycle.state
    _abandon_after_fork()
    try:
        with pytest.raises(ProviderStateError, match="after the fork"):
            await running.get_token(ACME, "a")
        async with fresh:
            assert "running" in repr(fresh)
    finally:
        running._lifecycle.state = state
        await running.aclose()


# Headers for APIs


async def test_headers_of_a_bearer_token() -> None:
    """A bearer token takes one header, whatever the request."""
    async with world() as here:
        token = await here.source().get_token()

        assert await here.source().headers("GET", "https://api.example/a?b#c") == {
            "Authorization": f"Bearer {token.value}"
        }


async def test_headers_of_a_bound_token_belong_together() -> None:
    """Token and proof are of one pair, and of this very request; each call has a new proof."""
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
async def test_escapes_are_undone_for_okta_alone(url: str, uri: str) -> None:
    """Okta compares a decoded path, on its own domains and on the client's; others do not."""
    async with world(dpop=DPoP(ec_key())) as here:
        source, origin = here.source(), here.sandbox.origin
        headers = await source.headers("GET", url.format(domain=origin))

        assert verified(headers["DPoP"], ec_key()).claims["htu"] == uri.format(domain=origin)


async def test_a_proof_is_dated_by_oktas_clock() -> None:
    """An API's clock is more probably Okta's than that of a machine which is wrong."""
    async with world(dpop=DPoP(ec_key())) as here:
        here.sandbox.date_offset = 7_200
        token = await here.source().get_token()
        proof = await here.source().proof(token, "GET", "https://api.example/")

        claims = verified(proof, ec_key()).claims
        assert claims["iat"] - here.clock.wall == pytest.approx(7_200, abs=2)
        assert "nonce" not in claims


async def test_a_proof_has_the_nonce_that_it_is_asked_for() -> None:
    """The nonce that an API demanded goes into the proof for it."""
    async with world(dpop=DPoP(ec_key())) as here:
        token = await here.source().get_token()
        proof = await here.source().proof(token, "GET", "https://api.example/", "n-1")

        assert verified(proof, ec_key()).claims["nonce"] == "n-1"


async def test_a_proof_is_for_a_token_of_the_source() -> None:
    """A token and a proof that do not belong together are refused here, not by the API."""
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
                await source.proof(wrong, "GET", "https://api.example/")  # type: ignore[arg-type]  # deliberately
            assert str(caught.value) == (
                "proof: the token is not bound to the key of this source; pass a token of this "
                "source, whose client has dpop=DPoP()"
            )
            assert locals_with(caught.value, token.value) == []
        await here.provider.aclose()
        with pytest.raises(ProviderStateError):
            await here.source().proof(token, "GET", "https://api.example/")


@pytest.mark.parametrize(
    ("method", "url"),
    [("GET", "/api"), ("GET", "https://me:secret@api.example/"), ("GE T", "https://api.example/")],
)
async def test_headers_are_for_a_request(method: str, url: str) -> None:
    """What is no method or no absolute URL is refused before a token is asked for, or shown."""
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


async def test_a_bare_token_is_not_given_where_it_is_of_no_use() -> None:
    """A bound token without a proof is refused by every API, so the bare value is, too."""
    async with world(dpop=DPoP()) as here:
        with pytest.raises(ConfigurationError, match=r"a DPoP token .* use headers"):
            await here.source().access_token()

        assert here.sandbox.token_requests == 0
