"""What callers get, what a flight leaves behind, and what happens in the background."""

import asyncio
import gc
import itertools
import re
from dataclasses import replace
from datetime import UTC

import pytest

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, RefreshPolicy, RetryPolicy
from okta_tokens._endpoint.operation import TokenFlight
from okta_tokens.errors import (
    FetchError,
    InvalidResponseError,
    OAuthError,
    ProviderStateError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from okta_tokens.events import (
    FetchFailed,
    InvalidationIgnored,
    KeyEvicted,
    KeyForgotten,
    KeyIdle,
    RenewalFailed,
    RenewalPostponed,
    RenewalScheduled,
    TokenFetched,
    TokenInvalidated,
)
from okta_tokens.sandbox import Fault
from tests.clock import settle
from tests.support import CLIENT_ID, World, at_once, until, value_of, world


async def fetch(here: World, scopes: str = "a") -> str:
    """Get a token, and let its renewal be scheduled."""
    value = (await here.source(scopes).get_token()).value
    await here.quiet()
    return value


def renewal_due_in(here: World) -> float:
    """Return the seconds until the provider looks at its only key again."""
    (status,) = here.provider.inspect()
    assert status.next_action_in is not None
    return status.next_action_in


# Hits


async def test_a_hit_never_suspends() -> None:
    """A call that finds a token returns it without giving control to the event loop."""
    async with world() as here:
        source = here.source("a b")
        token = await source.get_token()
        spellings = ["a b", "b a", ["b", "a"], ("a", "b"), {"a", "b"}, frozenset({"a", "b"})]

        twice = spellings + spellings
        found = [at_once(here.provider.get_token(here.client, scopes)) for scopes in twice]
        found += [at_once(source.get_token()) for _ in range(3)]

        assert all(it is token for it in found)
        assert here.sandbox.token_requests == 1


async def test_ten_thousand_callers_share_one_request() -> None:
    """However many wait for one token, Okta sees one request."""
    async with world() as here:
        here.sandbox.latency = 0.05
        source = here.source()

        tokens = await asyncio.gather(*(source.get_token() for _ in range(10_000)))

        assert len({id(token) for token in tokens}) == 1
        assert here.sandbox.token_requests == 1


async def test_a_key_is_everything_that_changes_the_token() -> None:
    """Another scope set, another server or another secret is another token."""
    async with world() as here:
        org = OktaClient(
            here.sandbox.origin,
            CLIENT_ID,
            here.client.authentication,
            authorization_server=None,
        )
        asked = [
            (here.client, "a"),
            (here.client, "a b"),
            (org, "okta.users.read"),
        ]

        tokens = [await here.provider.get_token(client, scopes) for client, scopes in asked]
        other = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic("x" * 30))
        with pytest.raises(OAuthError):
            await here.provider.get_token(other, "a")

        assert len({token.value for token in tokens}) == 3
        assert [sorted(token.scopes) for token in tokens] == [
            ["a"],
            ["a", "b"],
            ["okta.users.read"],
        ]


@pytest.mark.parametrize("lifetime", [1, 2, 5, 10, 60, 300, 3600, 86_400, 30 * 86_400])
async def test_a_token_is_renewed_in_time_whatever_its_lifetime(lifetime: int) -> None:
    """From one second to thirty days, a used key is renewed within its lead and nobody waits."""
    async with world(lifetime=lifetime) as here:
        source = here.source()
        first = await fetch(here)
        policy = RefreshPolicy()
        due = renewal_due_in(here)

        assert lifetime - policy.lead(lifetime) <= due <= lifetime - policy.lead(lifetime) / 2
        await here.advance(due * 0.999)
        assert at_once(value_of(source.get_token())) == first

        await here.advance(due * 0.002)
        await until(lambda: here.sandbox.tokens_issued == 2)
        await here.quiet()

        assert at_once(value_of(source.get_token())) != first


async def test_a_token_within_its_leeway_is_not_handed_out() -> None:
    """In the last moments of its life a token is as good as expired."""
    async with world(lifetime=100) as here:
        source = here.source()
        await fetch(here)
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(94.9)
        assert at_once(source.get_token()).remaining() == pytest.approx(5.1)

        await here.advance(0.2)

        with pytest.raises(OAuthError):
            await source.get_token()


@pytest.mark.parametrize("hand", ["boot", "wall"])
async def test_either_clock_can_end_a_token(hand: str) -> None:
    """A token is expired if the clock that counts sleep says so, or if the wall clock does."""
    async with world(lifetime=3600) as here:
        source = here.source()
        first = await source.get_token()

        setattr(here.clock, hand, getattr(here.clock, hand) + 3596)

        assert (await source.get_token()).value != first.value


async def test_a_wall_clock_that_jumps_back_lengthens_no_life() -> None:
    """A token does not live longer because somebody set the wall clock back."""
    async with world(lifetime=100) as here:
        source = here.source()
        await fetch(here)
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        for _ in range(10):
            here.clock.wall -= 1000
            here.clock.boot += 9
            assert at_once(source.get_token()).remaining() > 5

        here.clock.boot += 5.1
        here.clock.wall -= 1000

        with pytest.raises(OAuthError):
            await source.get_token()


async def test_one_clock_decides_only_within_a_short_window() -> None:
    """While the wall clock stands still, the other one is consulted as soon as it moves on."""
    async with world(lifetime=100) as here:
        source = here.source()
        await source.get_token()
        at_once(source.get_token())

        here.clock.boot += 99
        here.clock.wall += 1.01
        call = source.get_token()

        assert (await call).remaining() > 50


@pytest.mark.parametrize("keep_fresh", [False, True])
@pytest.mark.parametrize("fault", [Fault.status(503), Fault.drip(1)], ids=lambda it: it.name)
async def test_a_window_is_not_entered_again(fault: Fault, *, keep_fresh: bool) -> None:
    """A wall clock that is set back to a hit of a minute ago does not bring its token back."""
    retry = RetryPolicy(request_timeout=100, total_timeout=100)
    async with world(lifetime=300, retry=retry) as here:
        source = here.source(keep_fresh=keep_fresh)
        token = await source.get_token()
        here.sandbox.fault = fault
        await here.clock.advance(294.5, lambda: asyncio.sleep(0.005))
        assert at_once(source.get_token()) is token
        here.clock.wall -= 60
        await here.clock.advance(60, lambda: asyncio.sleep(0.005))

        with pytest.raises((FetchError, TimeoutError)):
            await asyncio.wait_for(source.get_token(), 0.1)


# Renewals


async def test_a_due_token_is_handed_out_while_it_is_renewed() -> None:
    """A caller that comes when the renewal is due gets the token that is held, at once."""
    async with world(lifetime=100) as here:
        source = here.source()
        first = await fetch(here)
        here.clock.boot += 92  # as after a sleep of the machine: the schedule has not woken
        here.clock.wall += 92

        assert at_once(value_of(source.get_token())) == first
        await until(lambda: here.sandbox.tokens_issued == 2)
        await here.quiet()

        assert at_once(value_of(source.get_token())) != first


async def test_a_failed_renewal_reaches_no_caller() -> None:
    """While the token is good, nobody notices that its renewal fails, and nobody waits for it."""
    async with world(lifetime=300) as here:
        source = here.source()
        first = await fetch(here)
        here.sandbox.fault = Fault.status(503)

        for _ in range(290):
            await here.advance(1)
            assert at_once(value_of(source.get_token())) == first

        failed = [event for event in here.seen(RenewalFailed) if isinstance(event, RenewalFailed)]
        assert [event.failures for event in failed] == [*range(1, len(failed) + 1)]
        assert len(failed) >= 4
        assert all(isinstance(event.error, ServerError) for event in failed)
        assert {event.key for event in failed} == {source.key}
        assert here.sandbox.token_requests == 1 + len(failed)


async def test_renewals_that_fail_are_tried_more_and_more_slowly_and_once_before_the_end() -> None:
    """The wait doubles up to a quarter of the lead, and the last try comes just in time."""
    async with world(lifetime=3600) as here:
        here.source(keep_fresh=True)
        await fetch(here)
        here.sandbox.fault = Fault.status(503)
        await here.advance(3590)

        failed = here.seen(RenewalFailed)
        waits = [event.after for event in failed if isinstance(event, RenewalFailed)]
        last = failed[-1]

        assert isinstance(last, RenewalFailed)
        assert all(
            0.5 * min(60, 2**k) <= wait <= min(60, 2**k)
            for k, wait in enumerate(waits[:-2])
            if wait is not None
        )
        assert last.remaining == pytest.approx(10, abs=0.2)
        assert last.after == pytest.approx(last.remaining)


async def test_a_renewal_that_comes_too_late_is_tried_once_more_and_no_more() -> None:
    """After the instant of the last try, a first failure has a second chance, and no third one."""
    async with world(lifetime=300) as here:
        source = here.source()
        first = await fetch(here)
        here.sandbox.fault = Fault.status(503)
        here.clock.boot += 288  # the machine slept: unusable at 295, last try at 285
        here.clock.wall += 288
        at_once(source.get_token())
        await here.advance(6.9)

        assert at_once(value_of(source.get_token())) == first
        assert here.sandbox.token_requests == 1 + 2


async def test_an_outage_shorter_than_the_lead_is_not_noticed() -> None:
    """When Okta comes back before the token ends, the renewal succeeds and callers saw nothing."""
    async with world(lifetime=300) as here:
        source = here.source()
        first = await fetch(here)
        here.sandbox.fault = Fault.drop()
        for _ in range(280):
            await here.advance(1)
            at_once(source.get_token())
        here.sandbox.fault = None
        for _ in range(14):
            await here.advance(1)
            at_once(source.get_token())

        assert at_once(value_of(source.get_token())) != first


async def test_a_refused_renewal_waits_until_somebody_asks() -> None:
    """After an error that no retry mends nothing happens in the background, but a caller's call."""
    async with world(lifetime=300) as here:
        source = here.source()
        first = await fetch(here)
        here.sandbox.fault = Fault.refuse(401, "invalid_client", "wrong")
        await here.advance(290)
        (failed,) = here.seen(RenewalFailed)
        assert isinstance(failed, RenewalFailed)
        assert failed.after is None
        requests = here.sandbox.token_requests

        assert at_once(value_of(source.get_token())) == first
        await until(lambda: here.sandbox.token_requests == requests + 1)


async def test_a_caller_that_comes_to_wait_for_a_renewal_gets_all_attempts() -> None:
    """A renewal makes one attempt; one that somebody waits for makes as many as a fetch."""
    async with world(lifetime=300) as here:
        source = here.source()
        await fetch(here)
        here.sandbox.latency = 0.05
        here.sandbox.fail_next(Fault.status(503), Fault.status(503))
        await here.clock.advance(renewal_due_in(here) + 0.01)
        await here.requests(2)
        source.invalidate(at_once(source.get_token()))
        caller = asyncio.ensure_future(source.get_token())
        for failures in (1, 2):
            await here.failures(failures)
            await here.clock.advance(0.5)

        assert (await caller).remaining() > 200
        assert here.sandbox.token_requests == 4


async def test_an_unused_token_is_not_renewed_and_then_forgotten() -> None:
    """An idle key costs Okta nothing, and memory only until its token expires."""
    async with world(lifetime=300) as here:
        await fetch(here)
        await here.advance(280)  # the use by its first caller is one: it is renewed once
        assert here.sandbox.token_requests == 2
        await here.advance(290)
        assert here.seen(KeyIdle)
        assert here.sandbox.token_requests == 2

        await here.advance(300)

        assert here.seen(KeyForgotten)
        assert here.provider.inspect() == []
        assert here.sandbox.token_requests == 2


async def test_a_token_that_could_not_be_renewed_is_dropped_at_its_end() -> None:
    """When a used token expires in an outage, nothing is asked, and no caller gets an old error."""
    async with world(lifetime=300) as here:
        source = here.source()
        await source.get_token()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(280)
        at_once(source.get_token())
        await here.requests(3)
        await here.advance(20)
        assert here.seen(KeyForgotten)
        assert not here.seen(FetchFailed)
        assert here.sandbox.token_requests == 3
        here.sandbox.fault = None

        assert (await source.get_token()).remaining() > 200


async def test_failed_renewals_do_not_lengthen_the_cooldown() -> None:
    """The cool-down counts failed fetches, however many renewals failed before."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        await source.get_token()
        here.sandbox.fault = Fault.status(503)
        await here.advance(296)
        assert len(here.seen(RenewalFailed)) > 3
        await until(lambda: bool(here.seen(FetchFailed)))
        failed = here.seen(FetchFailed)[0]

        assert isinstance(failed, FetchFailed)
        assert 1 <= failed.cooldown <= 2


async def test_a_key_that_failed_is_forgotten_some_time_after_its_cooldown() -> None:
    """A typing error in a scope does not stay in memory for ever."""
    async with world() as here:
        with pytest.raises(OAuthError):
            await here.source("unknown").get_token()
        await here.advance(30)
        assert len(here.provider.inspect()) == 1

        await here.advance(2)

        assert here.provider.inspect() == []


async def test_a_fetch_under_way_outlives_the_end_of_a_cooldown() -> None:
    """A key is not forgotten while somebody waits for it."""
    async with world() as here:
        source = here.source("a")
        here.sandbox.fail_next(Fault.refuse(400, "invalid_scope"))
        with pytest.raises(OAuthError):
            await source.get_token()
        await here.advance(30.9)
        here.sandbox.latency = 0.1
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(2)
        here.clock.boot += 1.2
        await here.clock.advance(0)

        token = await caller
        assert at_once(source.get_token()) is token
        assert not here.seen(KeyForgotten)


async def test_a_forgotten_key_comes_back_when_somebody_asks() -> None:
    """A source whose key was forgotten fetches a new token, and all holders share the new entry."""
    async with world(lifetime=300) as here:
        source, other = here.source(), here.source()
        await here.provider.get_token(here.client, "a")
        await here.advance(2000)
        assert here.provider.inspect() == []

        token = await source.get_token()

        assert at_once(other.get_token()) is token
        assert at_once(here.provider.get_token(here.client, "a")) is token
        assert here.provider._spellings[here.client]["a"]._entry is source._entry


async def test_a_key_that_is_kept_fresh_is_renewed_while_nobody_asks() -> None:
    """With `keep_fresh` there is a token at any time, after the first one was fetched."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        assert here.source(keep_fresh=True).key == source.key
        await source.get_token()
        for _ in range(40):
            await here.advance(50)

        assert at_once(source.get_token()).remaining() > 5
        assert 2000 / 300 <= here.sandbox.token_requests <= 1 + 2000 / 240


async def test_a_key_that_is_kept_fresh_survives_an_outage_longer_than_its_token() -> None:
    """With `keep_fresh` the provider goes on asking until Okta is back, at a bounded rate."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        await source.get_token()
        here.sandbox.fault = Fault.status(503)
        for _ in range(60):
            await here.advance(20)
        tried = here.sandbox.token_requests
        assert 1200 / 30 / 2 < tried < 200
        here.sandbox.fault = None
        await here.advance(31)

        assert at_once(source.get_token()).remaining() > 5


async def test_a_key_that_is_kept_fresh_and_refused_waits_until_somebody_asks() -> None:
    """With `keep_fresh` a wrong secret does not cost Okta a request every half minute."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        await source.get_token()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(4000)
        assert here.sandbox.token_requests == 2

        here.sandbox.fault = None
        await here.advance(60)

        assert (await source.get_token()).remaining() > 200


async def test_a_key_that_is_kept_fresh_and_never_was_waits_until_somebody_asks() -> None:
    """With `keep_fresh` a first fetch that is refused is not repeated in the background."""
    async with world() as here:
        with pytest.raises(OAuthError):
            await here.source("unknown", keep_fresh=True).get_token()
        await here.advance(4000)

        (status,) = here.provider.inspect()
        assert (status.state, status.next_action_in) == ("absent", None)
        assert here.sandbox.token_requests == 1


@pytest.mark.parametrize("fault", [Fault.status(503), Fault.rate_limited(reset_in=30)])
async def test_a_key_that_is_kept_fresh_is_never_lost(fault: Fault) -> None:
    """A token that is rejected while its renewal has to wait is replaced after that wait."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        token = await source.get_token()
        here.sandbox.fault = fault
        while not here.seen(RenewalFailed) + here.seen(RenewalPostponed):
            await here.advance(1)
        here.sandbox.fault = None
        source.invalidate(token)
        await here.advance(60)

        assert at_once(source.get_token()).remaining() > 5


async def test_a_key_that_goes_idle_may_be_kept_fresh_after_all() -> None:
    """With `keep_fresh` a token that nobody used is renewed from that moment on."""
    async with world(lifetime=300) as here:
        source = here.source()
        await source.get_token()
        here.provider._manager.entries.get_or_add(source.key).used = 0
        await here.advance(280)
        assert here.seen(KeyIdle)

        here.source(keep_fresh=True)
        await here.advance(1)

        assert here.sandbox.token_requests == 2


async def test_to_keep_a_key_fresh_does_not_shorten_a_cooldown() -> None:
    """Asking for `keep_fresh` with every call makes no request for each of them in an outage."""
    async with world(lifetime=300) as here:
        await here.source(keep_fresh=True).get_token()
        here.sandbox.fault = Fault.status(503)
        await here.advance(295.05)
        await until(lambda: bool(here.seen(FetchFailed)))
        tried = here.sandbox.token_requests

        here.source(keep_fresh=True)
        await here.advance(0.9)

        assert here.sandbox.token_requests == tried


async def test_a_late_renewal_that_fails_is_tried_once_more() -> None:
    """A renewal that fell due after the last call is tried again while there is time."""
    async with world(lifetime=100) as here:
        source = here.source()
        await source.get_token()
        entry = here.provider._manager.entries.get_or_add(source.key)
        here.provider._manager._set_timer(entry, here.clock.boot + 89)
        entry.refresh_at = here.clock.boot + 89
        here.sandbox.fail_next(Fault.status(503))
        await here.advance(91)

        assert at_once(source.get_token()).remaining() > 50


# Errors


async def test_every_caller_of_a_failed_fetch_gets_its_own_error() -> None:
    """Ten thousand callers and a wrong secret make one request and ten thousand error objects."""
    async with world() as here:
        wrong = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic("wrong" * 6))
        source = here.provider.source(wrong, "a")
        calls = (source.get_token() for _ in range(10_000))

        errors = await asyncio.gather(*calls, return_exceptions=True)

        assert all(isinstance(it, OAuthError) and it.error == "invalid_client" for it in errors)
        assert len({id(error) for error in errors}) == 10_000
        assert here.sandbox.token_requests == 1


async def test_a_failed_fetch_answers_later_callers_for_a_while() -> None:
    """During the cool-down callers get the last error at once; after it comes one more request."""
    async with world() as here:
        source = here.source()
        here.sandbox.fault = Fault.refuse(401, "invalid_client", "wrong")
        for failures in (1, 2, 3):
            with pytest.raises(OAuthError) as first:
                await source.get_token()
            with pytest.raises(OAuthError) as second:
                at_once(source.get_token())
            assert second.value is not first.value
            assert here.sandbox.token_requests == failures
            (status,) = here.provider.inspect()
            assert 2**failures / 2 <= status.refuses_for <= 2**failures
            assert status.state == "cooling down"
            await here.advance(status.refuses_for)

        here.sandbox.fault = None

        assert (await source.get_token()).value
        (status,) = here.provider.inspect()
        assert (status.failures, status.last_error) == (0, None)


async def test_an_error_tells_what_to_do_and_whom_to_ask() -> None:
    """An error names the client, the server, the scopes, Okta's code and its request id."""
    async with world() as here:
        with pytest.raises(OAuthError) as caught:
            await here.provider.get_token(here.client, "unknown")
        error = caught.value

        assert (error.error, error.status, error.retryable) == ("invalid_scope", 400, False)
        assert error.request_id
        assert error.request_id in str(error)
        assert CLIENT_ID in str(error)
        assert "unknown" in str(error)
        assert error.key is not None
        assert error.key.scopes == {"unknown"}
        assert error.headers["X-Okta-Request-Id"] == error.request_id


async def test_a_token_that_is_unusable_on_arrival_is_a_failure() -> None:
    """A token that arrives too late is an error that says that later may help, with a cool-down."""
    async with world(lifetime=100) as here:
        here.sandbox.latency = 0.02
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        here.clock.boot += 95  # to the instant at which its leeway begins

        with pytest.raises(InvalidResponseError) as caught:
            await caller
        with pytest.raises(InvalidResponseError):
            at_once(here.source().get_token())

        error = caught.value
        assert str(error).startswith(
            "the token was past its leeway when it arrived; its lifetime is too short for this "
            "machine or network, so raise "
        )
        assert (error.status, error.attempts, error.retryable) == (200, 1, True)
        assert error.key == here.source().key
        assert error.request_id
        assert here.sandbox.token_requests == 1


async def test_a_waiter_that_comes_just_in_time_has_its_token() -> None:
    """What is left of a token may be little, and is handed out all the same."""
    async with world(lifetime=100) as here:
        here.sandbox.latency = 0.02
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        here.clock.boot += 94.5

        token = await caller
        assert token.remaining() == 5.5
        assert token.authorization == f"Bearer {token.value}"
        assert here.sandbox.token_requests == 1


async def test_a_waiter_that_comes_too_late_twice_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter rejoins at most once, and then gets an error that says that later may help."""
    async with world(lifetime=100) as here:
        flights = here.provider._manager.flights
        release = flights._land

        def too_late(flight: TokenFlight) -> None:
            release(flight)
            here.clock.boot += 95  # to the instant at which its leeway begins

        monkeypatch.setattr(flights, "_land", too_late)
        with pytest.raises(InvalidResponseError) as caught:
            await here.source().get_token()
        monkeypatch.undo()

        error = caught.value
        assert str(error).startswith(
            "the token was past its leeway when the caller resumed, twice; its lifetime is too "
            "short for this machine or network, so raise "
        )
        assert (error.status, error.retryable) == (200, True)
        assert error.key == here.source().key
        assert here.sandbox.token_requests == 2


async def test_a_caller_waits_no_longer_than_it_may() -> None:
    """Who has waited for as long as the policy allows is told so, and the request goes on."""
    async with world(retry=RetryPolicy(max_wait=5)) as here:
        source = here.source()
        here.sandbox.latency = 0.2
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        await here.clock.advance(5)

        with pytest.raises(TransportError) as caught:
            await caller
        assert str(caught.value).startswith(
            "no token within RetryPolicy.max_wait (5 s): requests to the domain are slow, or wait "
            "for a place; they continue in the background, so try again later ["
        )
        assert (caught.value.key, caught.value.retryable) == (source.key, True)
        await here.quiet()
        assert at_once(source.get_token()).value


async def test_a_waiter_that_rejoins_waits_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also in the second flight that it waits for, a caller gives up at its own time."""
    async with world(lifetime=100, retry=RetryPolicy(max_wait=5)) as here:
        flights = here.provider._manager.flights
        release = flights._land

        def too_late(flight: TokenFlight) -> None:
            monkeypatch.undo()
            here.sandbox.latency = 0.2
            release(flight)
            here.clock.wall += 96

        monkeypatch.setattr(flights, "_land", too_late)
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(2)
        await here.clock.advance(5)

        with pytest.raises(TransportError, match=r"no token within RetryPolicy\.max_wait"):
            await caller


async def test_who_comes_late_takes_what_is_held_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter whose token died before it resumed does not wait if another one is held."""
    async with world() as here:
        flights = here.provider._manager.flights
        release = flights._land

        def too_late(flight: TokenFlight) -> None:
            if isinstance(flight.result, AccessToken):
                flight.result = replace(flight.result, _boot_expiry=0)
            release(flight)

        monkeypatch.setattr(flights, "_land", too_late)
        token = await here.source().get_token()

        assert token.remaining() > 3000
        assert here.sandbox.token_requests == 1


async def test_a_defect_in_a_flight_is_an_error_and_not_a_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If our own work dies, every waiter is told, with the cause and without its frames."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        source.invalidate(await source.get_token())
        endpoint = here.provider._registry.endpoint(source.key)

        async def broken(_: object) -> None:
            raise KeyError("a defect")

        monkeypatch.setattr(endpoint, "fetch", broken)
        with pytest.raises(
            ProviderStateError,
            match=r"^Internal error .* fetching a token \(KeyError\)",
        ) as caught:
            await source.get_token()

        cause = caught.value.__cause__
        assert isinstance(cause, KeyError)
        assert cause.__traceback__ is None


# Waiting


async def test_nobody_waits_longer_than_allowed() -> None:
    """A caller gives up after `max_wait`; the request goes on, and serves the next caller."""
    async with world(retry=RetryPolicy(max_wait=7)) as here:
        here.sandbox.latency = 0.2
        source = here.source()
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        await here.clock.advance(7)

        with pytest.raises(TransportError) as caught:
            await caller
        assert caught.value.key == source.key
        assert caught.value.retryable
        assert str(caught.value).startswith(
            "no token within RetryPolicy.max_wait (7 s): requests to the domain are slow, or wait "
            "for a place; they continue in the background, so try again later ["
        )

        assert (await source.get_token()).remaining() > 0
        assert here.sandbox.token_requests == 1


async def test_a_pause_longer_than_the_wait_is_an_error_at_once() -> None:
    """During a pause too long to wait for, callers get `RateLimitedError`, without a request."""
    async with world(retry=RetryPolicy(max_wait=10, total_timeout=10)) as here:
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError) as first:
            await here.source().get_token()
        with pytest.raises(RateLimitedError) as second:
            at_once(here.source("b").get_token())

        assert here.sandbox.token_requests == 1
        for caught in (first, second):
            left = caught.value.retry_at.timestamp() - here.clock.wall
            assert 55 <= left <= 62
            assert caught.value.retry_at.tzinfo is UTC
            assert caught.value.retryable
        assert (first.value.attempts, second.value.attempts) == (1, 0)
        assert second.value.key == here.source("b").key
        assert first.value.request_id
        assert second.value.request_id is None
        assert re.match(
            r"Okta's rate limit allows no request for another \d+ s; send fewer requests",
            str(second.value),
        )


async def test_a_pause_that_can_be_waited_for_is_waited_for() -> None:
    """A caller whose patience outlasts the pause gets its token after it, by a second request."""
    async with world(retry=RetryPolicy(max_wait=70)) as here:
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        caller = asyncio.ensure_future(here.source().get_token())
        other = None
        await until(lambda: here.provider.stats().pauses == 1)
        other = asyncio.ensure_future(here.source("b").get_token())
        await here.clock.advance(50)
        assert here.sandbox.token_requests == 1

        await here.clock.advance(12)

        assert (await caller).scopes == {"a"}
        assert (await other).scopes == {"b"}
        assert here.sandbox.token_requests == 3


async def test_who_gives_up_during_a_pause_is_told_of_it() -> None:
    """A caller whose patience ends while its fetch waits for a later one's sake hears why."""
    async with world(retry=RetryPolicy(max_wait=60)) as here:
        source = here.source()
        here.sandbox.fail_next(Fault.rate_limited(reset_in=40), Fault.rate_limited(reset_in=40))
        first = asyncio.ensure_future(source.get_token())
        await until(lambda: here.provider.stats().pauses == 1)
        await here.clock.advance(30)
        second = asyncio.ensure_future(source.get_token())
        await here.clock.advance(15)
        await until(lambda: here.provider.stats().pauses == 2)
        await here.clock.advance(15)

        with pytest.raises(RateLimitedError, match="allows no request for another"):
            await first
        assert not second.done()
        await here.clock.advance(29)
        assert (await second).value


async def test_renewals_move_to_the_end_of_a_pause() -> None:
    """During a pause no renewal is sent; afterwards they come, spread a little."""
    async with world(lifetimes={"a": 300, "b": 300}) as here:
        sources = [here.source("a", keep_fresh=True), here.source("b", keep_fresh=True)]
        for source in sources:
            await source.get_token()
        await here.advance(239)
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        await here.advance(31)
        assert here.sandbox.token_requests in {3, 2 + len(here.seen(RenewalPostponed))}
        assert here.provider.stats().pauses == 1
        postponed = here.seen(RenewalPostponed)
        assert postponed
        assert not here.seen(RenewalFailed)
        endpoint = here.provider._registry.endpoint(sources[0].key)
        pause_end = endpoint.paused_until(sources[0].key)
        for event in postponed:
            assert isinstance(event, RenewalPostponed)
            assert event.key in {source.key for source in sources}
            assert 0 < event.after <= 62 + 7.5
            entry = here.provider._manager.entries.get(event.key)
            assert entry is not None
            assert pause_end < entry.renew_after <= pause_end + 7.5

        await here.advance(320)

        assert all(at_once(source.get_token()).remaining() > 0 for source in sources)


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "0"}, {"X-Rate-Limit-Reset": "0"}, {"X-Rate-Limit-Reset": "1000"}]
)
async def test_a_429_that_tells_no_pause_makes_no_storm(headers: dict[str, str]) -> None:
    """A pause of nothing is not believed, neither by a caller's fetch nor in the background."""
    async with world() as here:
        source = here.source(keep_fresh=True)
        here.sandbox.fault = Fault.answer(429, "{}", headers={"X-Rate-Limit-Reset": ""} | headers)
        caller = asyncio.ensure_future(source.get_token())
        for _ in range(40):
            await here.clock.advance(1)
            await asyncio.sleep(0.002)
        with pytest.raises(RateLimitedError):
            await caller
        await here.advance(60)

        assert 3 <= here.sandbox.token_requests <= 12


async def test_who_comes_during_a_pause_joins_what_is_under_way() -> None:
    """A request that was sent before the pause serves also those who come in it."""
    async with world(retry=RetryPolicy(max_wait=10, total_timeout=10)) as here:
        here.sandbox.latency = 0.1
        first = asyncio.ensure_future(here.source("a").get_token())
        await here.requests(1)
        here.sandbox.latency = 0
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError):
            await here.source("b").get_token()
        second = asyncio.ensure_future(here.source("a").get_token())

        assert await first is await second


# Rejections


async def test_a_thousand_late_rejections_cost_one_request() -> None:
    """Only the token that was rejected is dropped, never its replacement."""
    async with world() as here:
        source = here.source()
        rejected = await source.get_token()

        assert source.invalidate(rejected) is True
        replacement = await source.get_token()
        late = [source.invalidate(rejected.value) for _ in range(999)]
        late.append(here.provider.invalidate(rejected))

        assert not any(late)
        assert at_once(source.get_token()) is replacement
        assert here.sandbox.token_requests == 2


async def test_invalidating_what_is_not_held_does_nothing() -> None:
    """An unknown token, and one of a key that holds none, are left alone."""
    async with world() as here:
        source = here.source()

        assert source.invalidate("never seen") is False
        await source.get_token()
        assert source.invalidate("never seen") is False
        assert here.seen(TokenInvalidated) == []


async def test_an_api_that_rejects_everything_does_not_burn_tokens_all_day() -> None:
    """A rejected replacement is kept for a while, which doubles from 5 s to 5 min."""
    async with world(lifetime=86_400) as here:
        source = here.source()
        for _ in range(3600):
            source.invalidate(await source.get_token())
            await here.clock.advance(1)

        await here.quiet()
        ignored = here.seen(InvalidationIgnored)
        assert 10 <= here.sandbox.token_requests <= 20
        assert ignored
        damping = [it.damping for it in here.seen(TokenInvalidated) if hasattr(it, "damping")]
        assert damping[:8] == [5, 10, 20, 40, 80, 160, 300, 300]


async def test_a_token_that_comes_back_is_not_renewed_while_its_key_cools_down() -> None:
    """When the wall clock is set right after a failed fetch, the token is back, and Okta rests."""
    async with world(lifetime=300) as here:
        source = here.source()
        token = await source.get_token()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        here.clock.boot += 275
        here.clock.wall += 275 + 3_600
        with pytest.raises(OAuthError):
            await source.get_token()
        here.clock.wall -= 3_600

        assert at_once(source.get_token()) is token
        await here.quiet()
        assert here.sandbox.token_requests == 2


async def test_what_a_fetch_brought_is_told() -> None:
    """The events of a fetch tell how long the token lives, what it allows, and who waited."""
    async with world(lifetime=300) as here:
        source = here.source("a b")
        here.sandbox.latency = 0.05
        callers = [asyncio.ensure_future(source.get_token()) for _ in range(3)]
        await here.requests(1)
        here.clock.boot += 2
        await asyncio.gather(*callers)
        await settle()

        (fetched,) = here.seen(TokenFetched)
        (scheduled,) = here.seen(RenewalScheduled)
        assert isinstance(fetched, TokenFetched)
        assert isinstance(scheduled, RenewalScheduled)
        assert (fetched.lifetime, fetched.duration, fetched.waiters) == (300, 2, 3)
        assert fetched.scopes == {"a", "b"}
        assert not fetched.missing_scopes
        assert scheduled.after == renewal_due_in(here)


async def test_every_event_of_a_key_tells_whose_it_is() -> None:
    """Whatever happens to a key, its event names the key, and how much of what there was."""
    async with world(lifetime=300) as here:
        source = here.source()
        here.sandbox.fail_next(Fault.refuse(401, "invalid_client"))
        callers = [asyncio.ensure_future(source.get_token()) for _ in range(3)]
        await asyncio.gather(*callers, return_exceptions=True)
        await here.advance(2)
        source.invalidate(await source.get_token())
        token = await source.get_token()
        await here.advance(1)
        assert source.invalidate(token) is False
        await settle()
        assert len(here.seen(InvalidationIgnored)) == 1
        assert source.invalidate(token) is source.invalidate(token) is False
        here.provider._manager.entries.get_or_add(source.key).used = 0
        await here.advance(300)

        (failed,) = here.seen(FetchFailed)
        (ignored,) = here.seen(InvalidationIgnored)
        assert isinstance(failed, FetchFailed)
        assert isinstance(ignored, InvalidationIgnored)
        assert failed.waiters == 3
        assert ignored.remaining == 4
        assert len(here.seen(TokenInvalidated)) == 1
        assert len(here.seen(KeyIdle)) == len(here.seen(KeyForgotten)) == 1
        assert {event.key for event in here.events if hasattr(event, "key")} == {source.key}


async def test_an_api_that_rejects_everything_is_remembered_by_those_who_call_seldom() -> None:
    """Callers who come once a minute, and report each token, do not burn one each."""
    async with world(lifetime=86_400) as here:
        source = here.source()
        for _ in range(60):
            source.invalidate(await source.get_token())
            await here.clock.advance(60)

        assert here.sandbox.token_requests <= 20


async def test_a_renewal_does_not_end_the_damping() -> None:
    """A token that renewed one whose rejections were ignored is a replacement itself."""
    async with world(lifetime=300) as here:
        source = here.source()
        for _ in range(3600):
            source.invalidate(await source.get_token())
            await here.clock.advance(1)
            await until(here.is_idle)

        assert here.sandbox.token_requests <= 30


async def test_a_rejected_key_is_remembered_for_its_damping() -> None:
    """A key that is asked for again soon after a rejection has not forgotten it."""
    async with world(lifetime=10) as here:
        source = here.source()
        token = await source.get_token()
        await here.advance(5)
        source.invalidate(token)
        await here.advance(4.9)
        replacement = await source.get_token()

        assert source.invalidate(replacement) is False
        await here.advance(60)
        assert here.provider.inspect() == []


async def test_a_replacement_that_lives_ends_the_damping() -> None:
    """Once a replacement has lived for the longest window, a rejection is an ordinary one again."""
    async with world(lifetime=86_400) as here:
        source = here.source()
        source.invalidate(await source.get_token())
        await source.get_token()
        await here.advance(301)

        assert source.invalidate(await source.get_token()) is True
        await here.quiet()
        last = here.seen(TokenInvalidated)[-1]
        assert isinstance(last, TokenInvalidated)
        assert last.damping == 5


async def test_a_renewal_under_way_is_the_replacement() -> None:
    """A token that is rejected while it is renewed costs no request beyond that renewal."""
    async with world(lifetime=300) as here:
        source = here.source()
        await fetch(here)
        here.sandbox.latency = 0.05
        await here.clock.advance(renewal_due_in(here) + 0.01)
        await here.requests(2)

        assert source.invalidate(at_once(source.get_token())) is True
        replacement = await source.get_token()

        assert here.sandbox.token_requests == 2
        assert source.invalidate(replacement) is False


async def test_a_rejection_does_not_shorten_a_cooldown() -> None:
    """Callers who reject a token while fetches fail make no request of it."""
    async with world(lifetime=300) as here:
        source = here.source()
        token = await source.get_token()
        source.invalidate(token)
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        with pytest.raises(OAuthError):
            await source.get_token()

        assert source.invalidate(token) is False
        with pytest.raises(OAuthError):
            at_once(source.get_token())
        assert here.sandbox.token_requests == 2


async def test_a_rejected_token_that_is_kept_fresh_is_replaced_at_once() -> None:
    """With `keep_fresh` the replacement is fetched before anybody asks."""
    async with world() as here:
        source = here.source(keep_fresh=True)
        source.invalidate(await source.get_token())
        await here.clock.advance(0.001)
        await until(lambda: here.sandbox.tokens_issued == 2)
        await here.quiet()

        assert at_once(source.get_token()).value


# Eviction


async def test_a_full_cache_evicts_what_was_not_used() -> None:
    """The oldest key that nobody used since it was last considered makes room."""
    async with world(max_tokens=2) as here:
        used, idle = here.source("a"), here.source("b")
        await used.get_token()
        await idle.get_token()
        here.provider._manager.entries.get_or_add(idle.key).used = 0
        await here.source("c").get_token()
        await here.quiet()

        assert at_once(used.get_token()).value
        assert [it.key.scopes for it in here.seen(KeyEvicted) if isinstance(it, KeyEvicted)] == [
            {"b"}
        ]
        assert (await idle.get_token()).value
        assert len(here.provider.inspect()) == 2


async def test_evicting_a_key_with_a_flight_is_harmless() -> None:
    """A flight whose key was evicted still serves its waiters, and later callers."""
    async with world(max_tokens=1) as here:
        here.sandbox.latency = 0.02
        source = here.source("a")
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        here.source("b")

        token = await caller

        assert at_once(here.source("a").get_token()) is token
        assert here.sandbox.token_requests == 1


async def test_a_key_that_is_kept_fresh_is_never_evicted() -> None:
    """Keys that come and go do not push out one that is kept fresh."""
    async with world(max_tokens=1) as here:
        kept = here.source("a", keep_fresh=True)
        token = await kept.get_token()
        for scopes in ("b", "c", "b c", "a b"):
            await here.source(scopes).get_token()

        assert at_once(kept.get_token()) is token


# Events


async def test_what_happens_is_told_in_order() -> None:
    """A fetch, its schedule, a failure and a recovery make these events, with their ids."""
    async with world() as here:
        source = here.source()
        here.sandbox.fail_next(Fault.refuse(400, "invalid_scope", "no"))
        with pytest.raises(FetchError):
            await source.get_token()
        await here.advance(2.1)
        await source.get_token()
        await here.quiet()

        assert [event.name.removeprefix("okta_tokens.") for event in here.events] == [
            "token_requested",
            "attempt_failed",
            "fetch_failed",
            "token_requested",
            "token_fetched",
            "renewal_scheduled",
        ]
        failed, fetched = here.seen(FetchFailed)[0], here.seen(TokenFetched)[0]
        assert isinstance(failed, FetchFailed)
        assert isinstance(failed.error, FetchError)
        assert failed.error.request_id
        assert isinstance(fetched, TokenFetched)
        assert fetched.request_id
        assert fetched.missing_scopes == frozenset()
        assert here.seen(RenewalScheduled)


async def test_nothing_grows_with_the_number_of_calls() -> None:
    """Ten thousand different spellings and failing keys leave a bounded memory behind."""
    async with world(max_tokens=50) as here:
        here.sandbox.fault = Fault.refuse(400, "invalid_scope")
        for number in range(200):
            with pytest.raises(FetchError):
                await here.provider.get_token(here.client, f"scope{number}")
        for spelling in itertools.islice(itertools.permutations("abcdefgh", 4), 500):
            here.provider._add_spelling(here.client, spelling)

        await here.quiet()
        gc.collect()
        assert len(here.provider.inspect()) <= 50
        assert sum(map(len, here.provider._spellings.values())) <= 50
        assert len(here.provider._schedule) <= 50
