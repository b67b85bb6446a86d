"""The provider: its options, its hits, warming up, rejections, and its snapshots."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

import pytest

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    OktaClient,
    RefreshPolicy,
    RetryPolicy,
    TokenProvider,
    TokenSource,
)
from okta_tokens._cache.entry import USED
from okta_tokens.errors import (
    ConfigurationError,
    OAuthError,
    ProviderStateError,
    ServerError,
)
from okta_tokens.events import Event, KeyForgotten, RenewalScheduled
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.clock import settle
from tests.runtime.test_redaction import locals_with
from tests.support import CLIENT_ID, SCOPES, SECRET, at_once, default_client, until, world

ACME = OktaClient("acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET))


# Options


NUMBER = "must be a whole number of at least 1"


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"max_tokens": 0}, f"max_tokens {NUMBER}"),
        ({"max_tokens": 1.5}, f"max_tokens {NUMBER}"),
        (
            {"max_tokens": True, "max_concurrent_requests": "8"},
            f"max_tokens {NUMBER}; max_concurrent_requests {NUMBER}",
        ),
        (
            {"max_tokens": -1, "max_concurrent_requests": 0},
            f"max_tokens {NUMBER}; max_concurrent_requests {NUMBER}",
        ),
        ({"observers": [print, "this"]}, "observers must be callables that take an event"),
        ({"observers": 5}, "observers must be callables that take an event"),
        ({"session": object()}, "session must be an aiohttp.ClientSession"),
        (
            {"store": "redis://localhost"},
            "store must be a TokenStore, such as RedisTokenStore(url, keys=…)",
        ),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], problems: str) -> None:
    """One error lists every invalid option."""
    with pytest.raises(ConfigurationError) as caught:
        TokenProvider(**options)

    assert str(caught.value) == f"TokenProvider: {problems}"


@pytest.mark.parametrize(
    "text", ["", " a/1", "a/1 ", "a/1\r\nX: y", "a\t1", "bücher/1", "a" * 257, 1, b"a/1"]
)
def test_a_user_agent_is_printable_ascii(text: Any) -> None:  # noqa: ANN401 - invalid, too
    """The `user_agent` is 1 to 256 printable characters without a line break, or an error."""
    TokenProvider(user_agent="a")
    TokenProvider(user_agent="a" * 256)
    with pytest.raises(ConfigurationError, match=r"^TokenProvider: user_agent must be a name"):
        TokenProvider(user_agent=text)


async def test_the_org_server_needs_scopes() -> None:
    """A key of the org authorization server without scopes is refused."""
    org = OktaClient(
        "acme.okta.com", CLIENT_ID, ClientSecretBasic(SECRET), authorization_server=None
    )
    with pytest.raises(ConfigurationError, match="scopes"):
        TokenProvider().source(org)


async def test_a_client_must_be_an_okta_client() -> None:
    """A value that is not an `OktaClient`, such as a domain, is refused before any request."""
    with pytest.raises(ConfigurationError, match="OktaClient"):
        TokenProvider().source("acme.okta.com")  # type: ignore[arg-type]  # invalid on purpose
    async with TokenProvider() as provider:
        with pytest.raises(ConfigurationError, match="OktaClient"):
            await provider.get_token("acme.okta.com", "a")  # type: ignore[arg-type]  # invalid on purpose


async def test_no_more_than_max_tokens_keys_are_kept_fresh() -> None:
    """One key more than `max_tokens` cannot be kept fresh."""
    provider = TokenProvider(max_tokens=1)
    provider.source(ACME, "a", keep_fresh=True)

    with pytest.raises(ConfigurationError) as caught:
        provider.source(ACME, "b", keep_fresh=True)
    assert str(caught.value) == (
        "keep_fresh: max_tokens keys are kept fresh already; raise max_tokens"
    )


# Tokens


async def test_the_window_of_a_hit_ends() -> None:
    """At the end of a window, and not before, the provider compares both clocks."""
    async with world(lifetime=3600) as here:
        token = await here.provider.get_token(here.client, "a")
        at_once(here.provider.get_token(here.client, "a"))
        here.clock.boot += 3600

        here.clock.wall += 0.75
        assert at_once(here.provider.get_token(here.client, "a")) is token
        here.clock.wall += 0.25
        assert (await here.provider.get_token(here.client, "a")) is not token


async def test_a_hit_is_a_use() -> None:
    """A token that was only handed out within a window is renewed."""
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


async def test_spellings_are_bounded() -> None:
    """No more than `max_tokens` spellings of scopes are remembered."""
    async with world(max_tokens=3) as here:
        for spaces in range(1, 12):
            await here.provider.get_token(here.client, "a" + " " * spaces + "b")
            remembered = sum(map(len, here.provider._spellings.values()))
            assert remembered == (spaces - 1) % 3 + 1


class Subclass(str):
    """A string whose size is not the size of its text."""

    __slots__ = ("more",)


LONG = "a" + " " * 1_024


@pytest.mark.parametrize(
    "scopes",
    [LONG, ("a",) * 1_025, ("a",) * 600, frozenset({Subclass("a")}), (Subclass("a"),), ["a"]],
    ids=["text", "very long tuple", "long tuple", "subclass in a set", "subclass", "list"],
)
async def test_only_short_plain_spellings_are_remembered(scopes: Iterable[str]) -> None:
    """A spelling that wastes memory works, and the provider does not keep it."""
    async with world() as here:
        token = await here.provider.get_token(here.client, "a")
        assert await here.provider.get_token(here.client, scopes) is token

        assert [*here.provider._spellings[here.client]] == ["a"]


@pytest.mark.parametrize("scopes", [LONG[:-1], ("a",) * 511 + ("bb",), frozenset({"a"})])
async def test_every_spelling_of_a_key_without_waste_is_remembered(scopes: Iterable[str]) -> None:
    """A spelling of up to 1,024 characters is remembered."""
    async with world(app=SandboxClient(CLIENT_ID, [SECRET], scopes=["a", "bb"])) as here:
        await here.provider.get_token(here.client, scopes)

        assert [*here.provider._spellings[here.client]] == [scopes]


async def test_nothing_in_the_background_runs_in_the_context_of_a_caller() -> None:
    """A fetch runs in its caller's context; renewals, observers and the log in an empty one."""
    request_id: ContextVar[str] = ContextVar("request_id", default="none")
    seen: list[str] = []

    async def secret() -> str:
        seen.append(request_id.get())
        request_id.set("leaked")
        return SECRET

    request_id.set("of the start")
    async with world(authentication=ClientSecretBasic(secret)) as here:
        observed: list[str] = []
        async with TokenProvider(
            clock=here.clock, observers=[lambda _: observed.append(request_id.get())]
        ) as provider:
            request_id.set("of the first request")
            source = provider.source(here.client, "a", keep_fresh=True)
            await source.get_token()
            request_id.set("of the second request")
            await provider.get_token(here.client, "b")
            await here.clock.advance(3500, lambda: until(lambda: not provider.stats().in_flight))

    assert seen[:2] == ["of the first request", "of the second request"]
    assert {*seen[2:]} == {"none"}
    assert set(observed) == {"none"}


async def test_invalidate_drops_the_token_of_the_right_key() -> None:
    """The provider drops a rejected token by the token's own key, and no other token."""
    async with world() as here:
        rejected, other = [await here.source(scopes).get_token() for scopes in ("a", "b")]

        assert here.provider.invalidate(rejected) is True
        assert here.provider.invalidate(rejected) is False
        assert (await here.source("a").get_token()) is not rejected
        assert at_once(here.source("b").get_token()) is other


async def test_invalidate_refuses_a_bare_value() -> None:
    """A bare value has no key, so it is refused, and the error does not show the value."""
    async with TokenProvider() as provider:
        with pytest.raises(ConfigurationError) as caught:
            provider.invalidate(SECRET)  # type: ignore[arg-type]  # invalid on purpose

    assert str(caught.value) == (
        "token: must be an AccessToken; pass the bare value of a token to a source's invalidate"
    )
    assert locals_with(caught.value, SECRET) == []


async def test_the_given_policies_are_used() -> None:
    """The provider renews and retries by the policies that it was given."""
    refresh, retry = RefreshPolicy(max_lead=60), RetryPolicy(attempts=2)
    async with world(refresh=refresh, retry=retry) as here:
        await here.source().get_token()
        [scheduled] = here.seen(RenewalScheduled)
        assert 3540 <= scheduled.after <= 3570

        here.sandbox.fault = Fault.status(503)
        caller = asyncio.ensure_future(here.source("b").get_token())
        for number in (1, 2):
            await here.failures(number)
            await here.clock.advance(1)
        with pytest.raises(ServerError) as caught:
            await caller
        assert caught.value.attempts == 2


# Warming up


def only_for(source: TokenSource, replacement: Callable[[], None]) -> Callable[..., Any]:
    """Return a `get_token` that calls a function first if the source is a certain one."""
    get_token = TokenSource.get_token

    async def replaced(self: TokenSource) -> AccessToken:
        if self is source:
            replacement()
        return await get_token(self)

    return replaced


async def test_warm_fetches_every_token() -> None:
    """After `warm` every source has a token."""
    async with world() as here:
        sources = [here.source("a"), here.source("b"), here.source("c")]
        timers = len(here.provider._schedule)
        await here.provider.warm(*sources, timeout=0.5)

        assert [sorted(at_once(source.get_token()).scopes) for source in sources] == [
            ["a"],
            ["b"],
            ["c"],
        ]
        assert len(here.provider._schedule) == timers + len(sources)
        await here.provider.warm()


async def test_warm_collects_the_errors() -> None:
    """`warm` raises one group with the error of each source without a token."""
    async with world() as here:
        good, bad = here.source("a"), here.source("unknown")
        with pytest.raises(ExceptionGroup) as caught:
            await here.provider.warm(good, bad)

        (error,) = caught.value.exceptions
        assert isinstance(error, OAuthError)
        assert at_once(good.get_token()).value


async def test_warm_times_out_and_the_requests_continue() -> None:
    """After its timeout `warm` raises `TimeoutError`, and the token still arrives."""
    async with world() as here:
        here.sandbox.latency = 0.1
        source = here.source()
        warming = asyncio.ensure_future(here.provider.warm(source, timeout=3))
        await here.requests(1)
        await here.clock.advance(3)
        with pytest.raises(TimeoutError) as caught:
            await warming
        assert caught.value.args[0] == (
            "not every token arrived within 3 s; the requests go on, so call get_token later"
        )

        await here.quiet()
        assert at_once(source.get_token()).value
        assert here.sandbox.token_requests == 1


async def test_warm_goes_on_until_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a timeout, `warm` asks again each second after errors that may pass."""
    get_token, calls = TokenSource.get_token, list[TokenSource]()

    async def counted(source: TokenSource) -> AccessToken:
        calls.append(source)
        return await get_token(source)

    monkeypatch.setattr(TokenSource, "get_token", counted)
    async with world(retry=RetryPolicy(attempts=1)) as here:
        here.sandbox.fault = Fault.status(503)
        sources = [here.source("a"), here.source("b")]
        warming = asyncio.ensure_future(here.provider.warm(*sources, timeout=60))
        await here.failures(2)
        for _ in range(8):
            await here.advance(1)
        assert not warming.done()
        assert len(calls) <= 2 * 9
        here.sandbox.fault = None
        await here.advance(31)
        await warming

        assert all(at_once(source.get_token()).value for source in sources)


async def test_warm_returns_the_last_errors_when_the_time_is_used_up() -> None:
    """If the time is used up, the group holds the last error of each source that has failed."""
    async with world(retry=RetryPolicy(attempts=1)) as here:
        here.sandbox.fault = Fault.status(503)
        warming = asyncio.ensure_future(here.provider.warm(here.source(), timeout=3))
        await here.failures(1)
        await here.advance(3)
        with pytest.raises(ExceptionGroup, match="1 of 1 sources failed") as caught:
            await warming

        (error,) = caught.value.exceptions
        assert isinstance(error, ServerError)


async def test_warm_without_a_timeout_asks_once() -> None:
    """Without a timeout a source that fails is not asked again."""
    async with world(retry=RetryPolicy(attempts=1)) as here:
        here.sandbox.fail_next(Fault.status(503))
        with pytest.raises(ExceptionGroup):
            await here.provider.warm(here.source())

        assert here.sandbox.token_requests == 1


async def test_warm_waits_for_every_source_before_it_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error that no fetch causes is raised when the other sources have their tokens."""
    async with world() as here:
        here.sandbox.latency = 0.05
        broken, good = here.source("a"), here.source("b")

        def refuse(*_: object) -> None:
            raise ConfigurationError("the session is not suitable")

        monkeypatch.setattr(type(broken), "get_token", only_for(broken, refuse))
        with pytest.raises(ConfigurationError):
            await here.provider.warm(broken, good)

        assert at_once(good.get_token()).value


async def test_warm_does_not_repeat_what_cannot_succeed() -> None:
    """An error that no retry can fix ends the wait for its source, also with a timeout."""
    async with world() as here:
        with pytest.raises(ExceptionGroup) as caught:
            await here.provider.warm(here.source("unknown"), here.source("a"), timeout=60)

        (error,) = caught.value.exceptions
        assert isinstance(error, OAuthError)
        assert here.sandbox.token_requests == 2


async def test_warm_refuses_sources_of_another_provider() -> None:
    """A source belongs to the provider that made it."""
    async with TokenProvider() as provider:
        with pytest.raises(ConfigurationError) as caught:
            await provider.warm(TokenProvider().source(ACME, "a"))

        assert str(caught.value) == (
            "sources: one of them is not a source of this provider; pass sources of this one"
        )


async def test_closing_ends_warm() -> None:
    """If the provider closes, `warm` raises `ProviderStateError`, not a group."""
    async with world() as here:
        here.sandbox.latency = 5
        warming = asyncio.ensure_future(here.provider.warm(here.source()))
        await here.requests(1)
        await here.provider.aclose()

        with pytest.raises(ProviderStateError):
            await warming


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
async def test_warm_refuses_an_invalid_timeout(seconds: float) -> None:
    """A timeout must be a positive, finite number; another one has no effect on the provider."""
    async with world() as here:
        with pytest.raises(ConfigurationError) as caught:
            await here.provider.warm(here.source(), timeout=seconds)

        assert str(caught.value) == (
            "timeout: must be a positive, finite number of seconds, or None"
        )
        assert (await here.source().get_token()).value


# Snapshots and observers


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
        held, absent = keys
        assert held["scopes"] == ("a", "b")
        assert (held["state"], held["remaining"]) == ("fresh", 3595)
        assert (absent["state"], absent["in_flight"], absent["waiters"]) == ("absent", True, 1)
        assert absent["remaining"] is None
        assert stats["keys"] == 2
        assert (stats["requests"], stats["tokens_fetched"], stats["waiters"]) == (2, 1, 1)
        assert list(stats["clock_offsets"]) == [here.client.domain]
        await caller


async def test_the_repr_shows_the_state_and_no_secret() -> None:
    """The repr shows the state, the keys and the requests in flight, and no secret."""
    async with world() as here:
        source = here.source()
        await source.get_token()

        assert repr(here.provider) == "<TokenProvider running: 1 keys, 0 in flight>"
        assert CLIENT_ID in repr(source)
        assert SECRET not in repr(source)


async def test_an_observer_that_raises_affects_no_caller() -> None:
    """An observer's error reaches neither a caller nor the observers after it."""
    events: list[Event] = []

    def raises(_: Event) -> None:
        raise RuntimeError("observer")

    async with (
        Sandbox() as sandbox,
        TokenProvider(observers=[raises, events.append]) as provider,
    ):
        await provider.get_token(default_client(sandbox), "customScope")
        await asyncio.sleep(0)

        assert len(events) == 4


async def test_an_observer_may_use_the_provider() -> None:
    """An observer runs outside of the provider's own steps, so it may call the provider."""
    async with world() as here:
        seen: list[int] = []

        def observer(_: Event) -> None:
            seen.append(len(here.provider.inspect()))

        here.provider._emitter._observers += (observer,)
        await here.source().get_token()
        await here.quiet()

        assert seen == [1] * 4


# Forgetting


async def test_clear_forgets_the_tokens_of_a_client() -> None:
    """After `clear` the next call fetches; keys of other clients keep their tokens."""
    apps = [SandboxClient(name, [SECRET], scopes=SCOPES) for name in (CLIENT_ID, "0oa2")]
    async with world(sandbox=Sandbox(apps)) as here:
        other = OktaClient(here.sandbox.origin, "0oa2", ClientSecretBasic(SECRET))
        sources = [here.source(), here.provider.source(other, "a")]
        held = [await source.get_token() for source in sources]
        await here.provider.clear(other)
        await settle()

        assert [event.key for event in here.seen(KeyForgotten)] == [held[1].key]
        assert at_once(sources[0].get_token()) is held[0]
        assert (await sources[1].get_token()).value != held[1].value
        await here.provider.clear(here.client)
        assert (await sources[0].get_token()).value != held[0].value
        held = [at_once(source.get_token()) for source in sources]
        await here.provider.clear()
        values = {(await source.get_token()).value for source in sources}
        assert values.isdisjoint(token.value for token in held)


async def test_clear_ends_a_cool_down() -> None:
    """After `clear` the next call fetches, although the last fetch has just failed."""
    async with world() as here:
        unknown = here.provider.source(here.client, "unknown", keep_fresh=True)
        for source in (here.source("other"), unknown):
            with pytest.raises(OAuthError):
                await source.get_token()
        here.sandbox.put_client(
            SandboxClient(CLIENT_ID, [SECRET], scopes=["a", "unknown", "other"])
        )
        await here.provider.clear()

        assert (await here.source("other").get_token()).value
        assert (await unknown.get_token()).value


async def test_clear_disowns_a_request_that_is_under_way() -> None:
    """Callers that wait get the token, and the next call fetches another one."""
    async with world() as here:
        here.sandbox.latency = 0.05
        source = here.source()
        waiting = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        await here.provider.clear()
        later = asyncio.ensure_future(source.get_token())
        await here.requests(2)
        first, second = await waiting, await later

        assert first.value != second.value
        assert first.key == source.key
        assert at_once(source.get_token()) is second
        assert here.is_idle()


async def test_clear_leaves_the_requests_of_other_clients() -> None:
    """A request of another client that is under way brings the token of its key."""
    apps = [SandboxClient(name, [SECRET], scopes=SCOPES) for name in (CLIENT_ID, "0oa2")]
    async with world(sandbox=Sandbox(apps)) as here:
        here.sandbox.latency = 0.05
        source = here.source()
        waiting = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        other = OktaClient(here.sandbox.origin, "0oa2", ClientSecretBasic(SECRET))
        await here.provider.clear(other)

        assert await waiting is at_once(source.get_token())


async def test_clear_passes_on_the_error_of_a_request_that_is_under_way() -> None:
    """Callers that wait get the error, and the key does not cool down."""
    async with world(retry=RetryPolicy(attempts=1)) as here:
        here.sandbox.latency = 0.05
        here.sandbox.fail_next(Fault.status(503))
        source = here.source()
        waiting = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        await here.provider.clear(here.client)
        with pytest.raises(ServerError):
            await waiting

        assert (await source.get_token()).value


async def test_clear_lets_keys_be_fetched_again_that_are_kept_fresh() -> None:
    """A key that is kept fresh stays so: its token is fetched again in the background."""
    async with world() as here:
        source = here.source(keep_fresh=True)
        held = await source.get_token()
        await here.provider.clear()
        await here.advance(1)

        token = at_once(source.get_token())
        assert token.value != held.value
        assert here.seen(KeyForgotten) == []


async def test_clear_refuses_what_is_no_client() -> None:
    """A value that is no client is an error that does not show it."""
    async with TokenProvider() as provider:
        with pytest.raises(ConfigurationError) as caught:
            await provider.clear(SECRET)  # type: ignore[arg-type]

        assert str(caught.value) == "client: must be an OktaClient, or None for all clients"
        assert locals_with(caught.value, SECRET) == []
