"""The token manager: what a caller gets, when a renewal starts, and what a result changes."""

import asyncio
import gc
import itertools
import json
import re
from collections.abc import Callable, Coroutine
from datetime import UTC

import pytest

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    OktaClient,
    RefreshPolicy,
    RetryPolicy,
    TokenSource,
)
from okta_tokens._cache import token_manager
from okta_tokens._cache.entry import Entry
from okta_tokens._endpoint.token_request import TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._runtime.clock import Instant
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
    KeyRecovered,
    RenewalFailed,
    RenewalPostponed,
    RenewalScheduled,
    ScopesNotGranted,
    TokenFetched,
    TokenInvalidated,
)
from okta_tokens.sandbox import Fault
from tests.clock import settle
from tests.support import CLIENT_ID, World, at_once, until, value_of, world


async def fetch(here: World, scopes: str = "a") -> str:
    """Fetch a token, and let its renewal be scheduled."""
    value = (await here.source(scopes).get_token()).value
    await here.quiet()
    return value


def renewal_due_in(here: World) -> float:
    """Return the seconds until the timer of the provider's only key fires."""
    (status,) = here.provider.inspect()
    assert status.next_action_in is not None
    return status.next_action_in


# Hits


async def test_a_hit_never_suspends() -> None:
    """A call that finds a token returns the token without suspending."""
    async with world() as here:
        source = here.source("a b")
        token = await source.get_token()
        spellings = ["a b", "b a", ["b", "a"], ("a", "b"), {"a", "b"}, frozenset({"a", "b"})]

        twice = spellings + spellings
        found = [at_once(here.provider.get_token(here.client, scopes)) for scopes in twice]
        found += [at_once(source.get_token()) for _ in range(3)]

        assert all(each is token for each in found)
        assert here.sandbox.token_requests == 1


async def test_a_thousand_callers_share_one_request() -> None:
    """A thousand callers that wait for one token cause one request."""
    async with world() as here:
        here.sandbox.latency = 0.05
        source = here.source()

        tokens = await asyncio.gather(*(source.get_token() for _ in range(1_000)))

        assert len({id(token) for token in tokens}) == 1
        assert here.sandbox.token_requests == 1


async def test_scopes_server_and_credential_belong_to_the_key() -> None:
    """Other scopes, another authorization server or another secret need another token."""
    async with world() as here:
        org = OktaClient(
            here.sandbox.origin,
            CLIENT_ID,
            here.client.authentication,
            authorization_server=None,
        )
        requested = [
            (here.client, "a"),
            (here.client, "a b"),
            (org, "okta.users.read"),
        ]

        tokens = [await here.provider.get_token(client, scopes) for client, scopes in requested]
        other = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic("x" * 30))
        with pytest.raises(OAuthError):
            await here.provider.get_token(other, "a")

        assert len({token.value for token in tokens}) == 3
        assert [sorted(token.scopes) for token in tokens] == [
            ["a"],
            ["a", "b"],
            ["okta.users.read"],
        ]


@pytest.mark.parametrize("lifetime", [1, 10, 300, 86_400, 30 * 86_400])
async def test_a_token_of_any_lifetime_is_renewed_within_its_lead(lifetime: int) -> None:
    """From one second to thirty days, a used token is renewed within its lead."""
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


@pytest.mark.parametrize("lifetime", [0.01, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("keep_fresh", [False, True])
async def test_a_key_is_requested_once_a_second_if_its_tokens_live_shorter(
    lifetime: float, *, keep_fresh: bool
) -> None:
    """A token of any lifetime is handed out while it is usable, and then callers wait."""
    async with world() as here:
        body = json.dumps({"access_token": "t", "token_type": "Bearer", "expires_in": lifetime})
        here.sandbox.fault = Fault.answer(200, body)
        source = here.source(keep_fresh=keep_fresh)
        for requests in range(1, 4):
            token = await asyncio.ensure_future(source.get_token())
            began = here.clock.boot
            assert at_once(source.get_token()) is token
            await here.clock.advance(lifetime)
            caller = asyncio.ensure_future(source.get_token())
            await here.clock.advance(began + 0.998 - here.clock.boot)
            assert (here.sandbox.token_requests, caller.done()) == (requests, False)
            await here.clock.advance(0.002)
            await here.requests(requests + 1)
            assert (await caller) is not token


async def test_a_rejected_token_that_lives_shorter_than_a_second_is_replaced_at_once() -> None:
    """A caller that invalidates a token does not wait for the end of a second."""
    async with world() as here:
        body = json.dumps({"access_token": "t", "token_type": "Bearer", "expires_in": 0.5})
        here.sandbox.fail_next(Fault.answer(200, body))
        source = here.source()
        source.invalidate(await source.get_token())

        assert (await source.get_token()).remaining() > 3_000


async def test_a_token_within_its_leeway_is_not_handed_out() -> None:
    """A token within its leeway counts as expired."""
    async with world(lifetime=100) as here:
        source = here.source()
        await fetch(here)
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(94.9)
        assert at_once(source.get_token()).remaining() == pytest.approx(5.1)

        await here.advance(0.2)

        with pytest.raises(OAuthError):
            await source.get_token()


@pytest.mark.parametrize("name", ["boot", "wall"])
async def test_either_clock_can_end_a_token(name: str) -> None:
    """A token is expired if boot time or wall time says so."""
    async with world(lifetime=3600) as here:
        source = here.source()
        first = await source.get_token()

        setattr(here.clock, name, getattr(here.clock, name) + 3596)

        assert (await source.get_token()).value != first.value


async def test_a_wall_clock_that_is_set_back_does_not_extend_a_token() -> None:
    """A token does not live longer because the wall clock is set back."""
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


async def test_the_wall_clock_alone_decides_for_one_second() -> None:
    """After a window of one second of wall time, the boot clock counts again."""
    async with world(lifetime=100) as here:
        source = here.source()
        await source.get_token()
        at_once(source.get_token())

        here.clock.boot += 99
        here.clock.wall += 1.01
        call = source.get_token()

        assert (await call).remaining() > 50


@pytest.mark.parametrize("keep_fresh", [False, True])
@pytest.mark.parametrize("fault", [Fault.status(503), Fault.drip(1)], ids=lambda fault: fault.name)
async def test_a_window_is_not_entered_again(fault: Fault, *, keep_fresh: bool) -> None:
    """A wall clock that is set back into the window of an earlier hit does not revive its token."""
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
    """A caller gets a due token at once, and the provider renews it in the background."""
    async with world(lifetime=100) as here:
        source = here.source()
        first = await fetch(here)
        here.clock.boot += 92  # as after suspend: no timer has fired yet
        here.clock.wall += 92

        assert at_once(value_of(source.get_token())) == first
        await until(lambda: here.sandbox.tokens_issued == 2)
        await here.quiet()

        assert at_once(value_of(source.get_token())) != first


async def test_a_renewal_starts_earlier_where_responses_take_long() -> None:
    """The renewal starts twice the response time before expiry; quick responses end that slowly."""
    async with world(lifetime=60) as here:
        source = here.source()
        here.sandbox.latency = 0.05
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(1)
        await here.clock.advance(8)
        await caller
        [scheduled] = here.seen(RenewalScheduled)
        assert scheduled.after == pytest.approx(60 - 2 * 8 - 8)

        caller = asyncio.ensure_future(here.source("b").get_token())
        await here.requests(2)
        await here.clock.advance(4)
        await caller
        assert here.seen(RenewalScheduled)[1].after == pytest.approx(60 - 2 * 7 - 4)


async def test_a_failed_renewal_reaches_no_caller() -> None:
    """While a token is usable, no caller notices that its renewal fails, and no caller waits."""
    async with world(lifetime=300) as here:
        source = here.source()
        first = await fetch(here)
        here.sandbox.fault = Fault.status(503)

        for _ in range(58):
            await here.advance(5)
            assert at_once(value_of(source.get_token())) == first

        failed = here.seen(RenewalFailed)
        assert [event.failures for event in failed] == [*range(1, len(failed) + 1)]
        assert len(failed) >= 4
        assert all(isinstance(event.error, ServerError) for event in failed)
        assert {event.key for event in failed} == {source.key}
        assert here.sandbox.token_requests == 1 + len(failed)


async def test_the_back_off_of_renewals_doubles_and_ends_with_a_last_attempt() -> None:
    """The back-off doubles up to a quarter of the lead, and the last attempt can finish in time."""
    async with world(lifetime=3600) as here:
        here.source(keep_fresh=True)
        await fetch(here)
        here.sandbox.fault = Fault.status(503)
        await here.advance(3590)

        failed = here.seen(RenewalFailed)
        waits = [event.after for event in failed if event.after is not None]
        last = failed[-1]

        assert len(waits) == len(failed) > 10
        assert all(
            0.5 * min(60, 2**k) <= wait <= min(60, 2**k) for k, wait in enumerate(waits[:-2])
        )
        assert last.remaining == pytest.approx(10, abs=0.2)
        assert last.after == pytest.approx(last.remaining)


async def test_a_late_renewal_gets_two_attempts() -> None:
    """A renewal that starts after the last-attempt instant gets a second attempt, but no third."""
    async with world(lifetime=300) as here:
        source = here.source()
        first = await fetch(here)
        here.sandbox.fault = Fault.status(503)
        here.clock.boot += 288  # as after suspend: unusable at 295, last attempt at 285
        here.clock.wall += 288
        at_once(source.get_token())
        await here.advance(6.9)

        assert at_once(value_of(source.get_token())) == first
        assert here.sandbox.token_requests == 1 + 2


@pytest.mark.parametrize(("age", "urgent"), [(280, False), (288, True)])
async def test_a_renewal_in_its_last_chance_is_urgent(age: int, *, urgent: bool) -> None:
    """A renewal becomes urgent when its token is usable for ten more seconds, also at its start."""
    async with world(lifetime=300) as here:
        source = here.source()
        await fetch(here)
        here.sandbox.latency = 5
        here.clock.boot += age  # as after suspend: unusable at 295, last attempt at 285
        here.clock.wall += age
        at_once(source.get_token())
        flight = here.provider._manager.flights.under_way[source.key]
        await here.clock.advance(0)
        assert flight.urgent is urgent
        await here.clock.advance(5.1)

        assert flight.urgent


async def test_a_renewal_is_not_urgent_because_its_key_is_kept_fresh() -> None:
    """To keep a key fresh while its renewal is under way does not make the renewal urgent."""
    async with world(lifetime=300) as here:
        source = here.source()
        await fetch(here)
        here.sandbox.latency = 5
        here.clock.boot += 280
        at_once(source.get_token())
        here.source(keep_fresh=True)
        flight = here.provider._manager.flights.under_way[source.key]
        await here.clock.advance(4)
        assert not flight.urgent
        await here.clock.advance(1.1)

        assert flight.urgent


async def test_an_outage_shorter_than_the_lead_reaches_no_caller() -> None:
    """If Okta is available again before the token expires, the renewal succeeds."""
    async with world(lifetime=300) as here:
        source = here.source()
        first = await fetch(here)
        here.sandbox.fault = Fault.drop()
        for _ in range(56):
            await here.advance(5)
            at_once(source.get_token())
        here.sandbox.fault = None
        for _ in range(14):
            await here.advance(1)
            at_once(source.get_token())

        assert at_once(value_of(source.get_token())) != first


async def test_a_refused_renewal_is_retried_when_a_caller_asks() -> None:
    """After an error that no retry can fix, the next renewal starts when a caller asks."""
    async with world(lifetime=300) as here:
        source = here.source()
        first = await fetch(here)
        here.sandbox.fault = Fault.refuse(401, "invalid_client", "wrong")
        await here.advance(290)
        (failed,) = here.seen(RenewalFailed)
        assert failed.after is None
        requests = here.sandbox.token_requests

        assert at_once(value_of(source.get_token())) == first
        await until(lambda: here.sandbox.token_requests == requests + 1)


async def test_a_renewal_with_a_waiter_gets_all_attempts() -> None:
    """A renewal makes one attempt, but as many as a fetch once a caller waits for it."""
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


async def test_an_unused_token_is_not_renewed() -> None:
    """A token that is not used after its renewal is dropped at its expiry, without a request."""
    async with world(lifetime=300) as here:
        await fetch(here)
        await here.advance(280)  # its first caller is a use, so the token is renewed once
        assert here.sandbox.token_requests == 2
        await here.advance(290)
        assert here.seen(KeyIdle)
        assert here.sandbox.token_requests == 2

        await here.advance(300)

        assert here.seen(KeyForgotten)
        assert here.provider.inspect() == []
        assert here.sandbox.token_requests == 2


async def test_failed_renewals_are_remembered_for_five_minutes_after_expiry() -> None:
    """Meanwhile they are no error for the next caller, and that caller's token ends them."""
    async with world(lifetime=300) as here:
        source = here.source()
        await source.get_token()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(280)
        at_once(source.get_token())
        await here.requests(3)
        await here.advance(300)
        assert here.provider.inspect()[0].state == "expired"
        assert not here.seen(FetchFailed)
        assert here.sandbox.token_requests == 3
        here.sandbox.fault = None
        assert (await source.get_token()).remaining() > 200
        await here.quiet()
        (recovered,) = here.seen(KeyRecovered)
        assert recovered.failures == 2
        assert recovered.seconds > 300


async def test_failed_renewals_are_forgotten_five_minutes_after_expiry() -> None:
    """A key that no caller uses any more is forgotten, whether its renewals failed or not."""
    async with world(lifetime=300) as here:
        await here.source().get_token()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(594)
        assert not here.seen(KeyForgotten)
        await here.advance(2)

        assert here.seen(KeyForgotten)
        assert here.provider.inspect() == []


async def test_failed_renewals_do_not_lengthen_the_cooldown() -> None:
    """The cool-down grows with failed fetches, and not with failed renewals."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        await source.get_token()
        here.sandbox.fault = Fault.status(503)
        await here.advance(296)
        assert len(here.seen(RenewalFailed)) > 3
        await until(lambda: bool(here.seen(FetchFailed)))
        failed = here.seen(FetchFailed)[0]

        assert 1 <= failed.cooldown <= 2


async def test_a_failed_key_is_forgotten_after_its_cooldown() -> None:
    """A key without a token is forgotten five minutes after its cool-down."""
    async with world() as here:
        with pytest.raises(OAuthError):
            await here.source("unknown").get_token()
        await here.advance(300)
        assert len(here.provider.inspect()) == 1

        await here.advance(2)

        assert here.provider.inspect() == []


async def test_a_key_with_a_fetch_under_way_is_not_forgotten() -> None:
    """A key is not forgotten while a caller waits for its token."""
    async with world() as here:
        source = here.source("a")
        here.sandbox.fail_next(Fault.refuse(400, "invalid_scope"))
        with pytest.raises(OAuthError):
            await source.get_token()
        await here.advance(300.9)
        here.sandbox.latency = 0.1
        caller = asyncio.ensure_future(source.get_token())
        await here.requests(2)
        here.clock.boot += 1.2
        await here.clock.advance(0)

        token = await caller
        assert at_once(source.get_token()) is token
        assert not here.seen(KeyForgotten)


async def test_a_forgotten_key_is_added_again() -> None:
    """A source whose key was forgotten fetches a token, and every source shares the new entry."""
    async with world(lifetime=300) as here:
        source, other = here.source(), here.source()
        await here.provider.get_token(here.client, "a")
        await here.advance(2000)
        assert here.provider.inspect() == []

        token = await source.get_token()

        assert at_once(other.get_token()) is token
        assert at_once(here.provider.get_token(here.client, "a")) is token
        assert here.provider._spellings[here.client]["a"]._entry is source._entry


async def test_a_key_that_is_kept_fresh_is_renewed_without_use() -> None:
    """With `keep_fresh` a key has a usable token at any time after the first fetch."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        assert here.source(keep_fresh=True).key == source.key
        await source.get_token()
        for _ in range(40):
            await here.advance(50)

        assert at_once(source.get_token()).remaining() > 5
        assert 2000 / 300 <= here.sandbox.token_requests <= 1 + 2000 / 240


async def test_a_key_that_is_kept_fresh_recovers_from_a_long_outage() -> None:
    """With `keep_fresh` a key is fetched at a bounded rate until Okta is available again."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        await source.get_token()
        here.sandbox.fault = Fault.status(503)
        for _ in range(60):
            await here.advance(20)
        requests = here.sandbox.token_requests
        assert 1200 / 30 / 2 < requests < 200
        here.sandbox.fault = None
        await here.advance(31)

        assert at_once(source.get_token()).remaining() > 5


async def test_a_refused_key_that_is_kept_fresh_waits_for_a_caller() -> None:
    """With `keep_fresh` a refused renewal is not repeated before a caller asks."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        await source.get_token()
        here.sandbox.fault = Fault.refuse(401, "invalid_client")
        await here.advance(4000)
        assert here.sandbox.token_requests == 2

        here.sandbox.fault = None
        await here.advance(60)

        assert (await source.get_token()).remaining() > 200


async def test_a_refused_first_fetch_is_not_repeated_in_the_background() -> None:
    """With `keep_fresh` a refused first fetch is not repeated in the background."""
    async with world() as here:
        with pytest.raises(OAuthError):
            await here.source("unknown", keep_fresh=True).get_token()
        await here.advance(4000)

        (status,) = here.provider.inspect()
        assert (status.state, status.next_action_in) == ("absent", None)
        assert here.sandbox.token_requests == 1


@pytest.mark.parametrize("fault", [Fault.status(503), Fault.rate_limited(reset_in=30)])
async def test_a_rejected_token_is_replaced_after_the_back_off(fault: Fault) -> None:
    """With `keep_fresh` a token that is rejected during a back-off or a pause is replaced later."""
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


async def test_an_idle_key_can_be_kept_fresh() -> None:
    """With `keep_fresh` an idle key is renewed from that moment on."""
    async with world(lifetime=300) as here:
        source = here.source()
        await source.get_token()
        here.provider._manager.entries.get_or_add(source.key).used = 0
        await here.advance(280)
        assert here.seen(KeyIdle)

        here.source(keep_fresh=True)
        await here.advance(1)

        assert here.sandbox.token_requests == 2


async def test_keep_fresh_does_not_shorten_a_cooldown() -> None:
    """A repeated `keep_fresh` does not cause a request during a cool-down."""
    async with world(lifetime=300) as here:
        await here.source(keep_fresh=True).get_token()
        here.sandbox.fault = Fault.status(503)
        await here.advance(295.05)
        await until(lambda: bool(here.seen(FetchFailed)))
        requests = here.sandbox.token_requests

        here.source(keep_fresh=True)
        await here.advance(0.9)

        assert here.sandbox.token_requests == requests


async def test_a_renewal_that_falls_due_late_is_retried() -> None:
    """A first renewal that fails after the last-attempt instant is retried while there is time."""
    async with world(lifetime=100) as here:
        source = here.source()
        await source.get_token()
        entry = here.provider._manager.entries.get_or_add(source.key)
        here.provider._manager._renewals.set_timer(entry, here.clock.boot + 89)
        entry.refresh_at = here.clock.boot + 89
        here.sandbox.fail_next(Fault.status(503))
        await here.advance(91)

        assert at_once(source.get_token()).remaining() > 50


# Errors


async def test_every_caller_of_a_failed_fetch_gets_its_own_error() -> None:
    """A thousand callers with a wrong secret cause one request and get a thousand error objects."""
    async with world() as here:
        wrong = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic("wrong" * 6))
        source = here.provider.source(wrong, "a")
        calls = (source.get_token() for _ in range(1_000))

        errors = await asyncio.gather(*calls, return_exceptions=True)

        assert all(
            isinstance(error, OAuthError) and error.error == "invalid_client" for error in errors
        )
        assert len({id(error) for error in errors}) == 1_000
        assert here.sandbox.token_requests == 1


async def test_callers_get_the_last_error_during_the_cooldown() -> None:
    """During the cool-down callers get a copy of the last error; after it one request is made."""
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


async def test_an_error_names_client_scopes_code_and_request_id() -> None:
    """An error names the client, the scopes, Okta's code and the request id."""
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


async def test_a_token_that_arrives_within_its_leeway_is_an_error() -> None:
    """A token that arrives within its leeway is a retryable error, and a cool-down follows."""
    async with world(lifetime=100) as here:
        here.sandbox.latency = 0.02
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        here.clock.boot += 95  # the instant at which its leeway begins

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


async def test_a_token_that_arrives_just_before_its_leeway_is_handed_out() -> None:
    """A waiter gets a token with half a second left before its leeway."""
    async with world(lifetime=100) as here:
        here.sandbox.latency = 0.02
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        here.clock.boot += 94.5

        token = await caller
        assert token.remaining() == 5.5
        assert token.authorization == f"Bearer {token.value}"
        assert here.sandbox.token_requests == 1


async def test_a_waiter_that_resumes_too_late_rejoins_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter that resumes too late twice gets a retryable error."""
    async with world(lifetime=100) as here:
        flights = here.provider._manager.flights
        land = flights._land

        def land_late(flight: TokenFlight) -> None:
            land(flight)
            here.clock.boot += 95  # the instant at which its leeway begins

        monkeypatch.setattr(flights, "_land", land_late)
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


async def test_no_caller_waits_longer_than_max_wait() -> None:
    """A caller gets an error after `max_wait`, and the request serves the next caller."""
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
            "for a place; a request that was sent continues in the background, so try again later ["
        )
        assert (caught.value.key, caught.value.retryable) == (source.key, True)
        await here.quiet()
        assert at_once(source.get_token()).value
        assert here.sandbox.token_requests == 1


@pytest.mark.parametrize(("least", "max_tokens"), [(4, 1), (1, 2)])
async def test_flights_are_bounded(
    least: int, max_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller gets an error if four flights are under way, and may join those."""
    monkeypatch.setattr(token_manager, "_MIN_FLIGHT_LIMIT", least)
    async with world(max_tokens=max_tokens) as here:
        here.sandbox.latency = 0.05
        scopes = ("a", "b", "c", "a b", "a c", "b c", "a", "a b")
        calls = [here.source(each).get_token() for each in scopes]
        results = await asyncio.gather(*calls, return_exceptions=True)

        kinds = [type(result) for result in results]
        assert kinds == [*[AccessToken] * 4, *[TransportError] * 2, *[AccessToken] * 2]
        assert "4 fetches are under way" in str(results[4])
        assert (await here.source("a c").get_token()).value
        assert here.sandbox.token_requests == 5


@pytest.mark.parametrize("call", [TokenSource.get_token, TokenSource.refresh])
async def test_a_waiter_that_rejoins_keeps_its_deadline(
    call: Callable[[TokenSource], Coroutine[None, None, AccessToken]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A waiter keeps its deadline in the second flight that it joins."""
    async with world(lifetime=100, retry=RetryPolicy(max_wait=5)) as here:
        flights = here.provider._manager.flights
        land = flights._land

        def land_late(flight: TokenFlight) -> None:
            monkeypatch.undo()
            here.sandbox.latency = 0.2
            land(flight)
            here.clock.wall += 96

        monkeypatch.setattr(flights, "_land", land_late)
        caller = asyncio.ensure_future(call(here.source()))
        await here.requests(2)
        await here.clock.advance(5)

        with pytest.raises(TransportError, match=r"no token within RetryPolicy\.max_wait"):
            await caller


async def test_a_waiter_that_resumes_too_late_gets_the_token_in_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A waiter whose token expired before it resumed gets a usable token from the cache at once."""
    async with world() as here:
        flights = here.provider._manager.flights
        land = flights._land

        def land_late(flight: TokenFlight) -> None:
            if isinstance(flight.result, AccessToken):
                token = flight.result
                flight.result = AccessToken(
                    *(token.value, token.token_type, token._scope, token.key),
                    expiry=Instant(0.0, token._wall_expiry),
                    leeway=token._leeway,
                    clock=token._clock,
                )
            land(flight)

        monkeypatch.setattr(flights, "_land", land_late)
        token = await here.source().get_token()

        assert token.remaining() > 3000
        assert here.sandbox.token_requests == 1


async def test_an_internal_error_in_a_flight_reaches_every_waiter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An internal error reaches the waiters, with its cause and without the frames of the cause."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        source.invalidate(await source.get_token())
        endpoint = here.provider._registry.endpoint(source.key)

        async def fail(_: object) -> None:
            raise KeyError("an internal error")

        monkeypatch.setattr(endpoint, "run", fail)
        with pytest.raises(
            ProviderStateError,
            match=r"^Internal error .* fetching a token \(KeyError\)",
        ) as caught:
            await source.get_token()

        cause = caught.value.__cause__
        assert isinstance(cause, KeyError)
        assert cause.__traceback__ is None


# Waiting


async def test_a_pause_longer_than_max_wait_is_an_error_at_once() -> None:
    """During a pause that outlasts `max_wait` callers get `RateLimitedError` without a request."""
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


async def test_a_caller_waits_for_the_end_of_a_short_pause() -> None:
    """A caller whose deadline is after the pause gets its token after the pause."""
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


async def test_a_caller_whose_deadline_is_in_a_pause_gets_a_rate_limit_error() -> None:
    """If the deadline of a caller comes during a pause, its error names the rate limit."""
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
    """During a pause no renewal is sent, and after it the renewals are spread."""
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
        pause_end = endpoint.pauses.end(sources[0].key)
        for event in postponed:
            assert event.key in {source.key for source in sources}
            assert 0 < event.after <= 62 + 7.5
            entry = here.provider._manager.entries.get(event.key)
            assert entry is not None
            assert pause_end < entry.renew_after <= pause_end + 7.5

        await here.advance(320)

        assert all(at_once(source.get_token()).remaining() > 0 for source in sources)


async def test_a_renewal_that_falls_due_at_the_end_of_a_pause_begins_then() -> None:
    """The instant at which a pause ends does not belong to the pause."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        entry = here.provider._manager.entries.get_or_add(source.key)
        pauses = here.provider._registry.endpoint(source.key).pauses
        pauses._of(source.key).until = entry.refresh_at
        await here.advance(entry.refresh_at - here.clock.boot)

        assert here.sandbox.token_requests == 2
        assert here.seen(RenewalPostponed) == []


@pytest.mark.parametrize("headers", [{"Retry-After": "0"}, {"X-Rate-Limit-Reset": "1000"}])
async def test_a_429_with_a_pause_of_zero_causes_no_storm(headers: dict[str, str]) -> None:
    """After a 429 that asks for no pause, neither a fetch nor renewals send requests at once."""
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


async def test_a_caller_joins_a_request_that_was_sent_before_the_pause() -> None:
    """A request that was sent before the pause also serves callers that come during the pause."""
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
    """Only the rejected token is dropped, never its replacement."""
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


async def test_an_unknown_token_is_not_invalidated() -> None:
    """The rejection of a token that is not in the cache changes nothing."""
    async with world() as here:
        source = here.source()

        assert source.invalidate("unknown") is False
        await source.get_token()
        assert source.invalidate("unknown") is False
        assert here.seen(TokenInvalidated) == []


async def test_the_damping_of_rejected_replacements_doubles() -> None:
    """A rejected replacement is kept for a window that doubles from 5 s to 5 min."""
    async with world(lifetime=86_400) as here:
        source = here.source()
        for _ in range(700):
            source.invalidate(await source.get_token())
            await here.clock.advance(1)

        await here.quiet()
        assert here.sandbox.token_requests == 9
        assert here.seen(InvalidationIgnored)
        damping = [event.damping for event in here.seen(TokenInvalidated)]
        assert damping == [5, 10, 20, 40, 80, 160, 300, 300]


async def test_a_cooldown_delays_the_renewal_of_a_revived_token() -> None:
    """A token that is usable again after a clock jump is not renewed during the cool-down."""
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


async def test_the_events_of_a_fetch() -> None:
    """The events of a fetch hold its lifetime, duration, scopes and number of waiters."""
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
        assert (fetched.lifetime, fetched.duration, fetched.waiters) == (300, 2, 3)
        assert fetched.scopes == {"a", "b"}
        assert not fetched.missing_scopes
        assert scheduled.after == renewal_due_in(here)


async def test_every_event_of_a_key_names_the_key() -> None:
    """Every event about a key names the key, and holds the numbers that belong to it."""
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
        assert failed.waiters == 3
        assert ignored.kept_for == 4
        assert len(here.seen(TokenInvalidated)) == 1
        assert len(here.seen(KeyIdle)) == len(here.seen(KeyForgotten)) == 1
        assert {event.key for event in here.events if hasattr(event, "key")} == {source.key}


async def test_rare_callers_do_not_reset_the_damping() -> None:
    """Callers that come once a minute and reject each token do not cause one request each."""
    async with world(lifetime=86_400) as here:
        source = here.source()
        for _ in range(60):
            source.invalidate(await source.get_token())
            await here.clock.advance(60)

        assert here.sandbox.token_requests <= 20


async def test_a_renewal_does_not_end_the_damping() -> None:
    """A token that renewed one with ignored rejections is itself a replacement."""
    async with world(lifetime=300) as here:
        source = here.source()
        for _ in range(900):
            source.invalidate(await source.get_token())
            await here.clock.advance(1)
            await until(here.is_idle)

        assert here.sandbox.token_requests <= 13


async def test_a_key_is_not_forgotten_during_its_damping() -> None:
    """A key that is requested again soon after a rejection still damps."""
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


async def test_a_replacement_that_is_not_rejected_ends_the_damping() -> None:
    """After a replacement has lived for the longest window, the damping starts at 5 s again."""
    async with world(lifetime=86_400) as here:
        source = here.source()
        source.invalidate(await source.get_token())
        await source.get_token()
        await here.advance(301)

        assert source.invalidate(await source.get_token()) is True
        await here.quiet()
        last = here.seen(TokenInvalidated)[-1]
        assert last.damping == 5


async def test_a_renewal_under_way_is_the_replacement() -> None:
    """A token that is rejected during its renewal is replaced by that renewal."""
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
    """A rejection during a cool-down causes no request."""
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
    """With `keep_fresh` the replacement is fetched before a caller asks."""
    async with world() as here:
        source = here.source(keep_fresh=True)
        source.invalidate(await source.get_token())
        await here.clock.advance(0.001)
        await until(lambda: here.sandbox.tokens_issued == 2)
        await here.quiet()

        assert at_once(source.get_token()).value


# Eviction


async def test_a_full_cache_evicts_the_oldest_unused_key() -> None:
    """The oldest key that was not used since it was last considered is evicted."""
    async with world(max_tokens=2) as here:
        used, idle = here.source("a"), here.source("b")
        await used.get_token()
        await idle.get_token()
        here.provider._manager.entries.get_or_add(idle.key).used = 0
        await here.source("c").get_token()
        await here.quiet()

        assert at_once(used.get_token()).value
        assert [event.key.scopes for event in here.seen(KeyEvicted)] == [{"b"}]
        assert (await idle.get_token()).value
        assert len(here.provider.inspect()) == 2


async def test_a_flight_of_an_evicted_key_serves_its_waiters() -> None:
    """A flight whose key was evicted serves its waiters and later callers."""
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
    """Other keys do not evict a key that is kept fresh."""
    async with world(max_tokens=1) as here:
        kept = here.source("a", keep_fresh=True)
        token = await kept.get_token()
        for scopes in ("b", "c", "b c", "a b"):
            await here.source(scopes).get_token()

        assert at_once(kept.get_token()) is token


# Events


async def test_events_come_in_order() -> None:
    """A failed fetch, a fetch and its schedule emit these events, with their request ids."""
    async with world() as here:
        source = here.source()
        here.sandbox.fail_next(Fault.refuse(400, "invalid_scope", "no"))
        with pytest.raises(FetchError):
            await source.get_token()
        await here.advance(2.1)
        await source.get_token()
        await here.quiet()

        assert [event.name.removeprefix("okta_tokens.") for event in here.events] == [
            "provider_started",
            "token_requested",
            "attempt_failed",
            "fetch_failed",
            "token_requested",
            "token_fetched",
            "key_recovered",
            "renewal_scheduled",
        ]
        failed, fetched = here.seen(FetchFailed)[0], here.seen(TokenFetched)[0]
        assert isinstance(failed.error, FetchError)
        assert failed.error.request_id
        assert fetched.request_id
        assert fetched.missing_scopes == frozenset()
        assert here.seen(RenewalScheduled)


async def test_memory_is_bounded() -> None:
    """Many spellings and failing keys leave no more than `max_tokens` of anything."""
    async with world(max_tokens=20) as here:
        here.sandbox.fault = Fault.refuse(400, "invalid_scope")
        for number in range(60):
            with pytest.raises(FetchError):
                await here.provider.get_token(here.client, f"scope{number}")
        for spelling in itertools.islice(itertools.permutations("abcdefgh", 4), 60):
            here.provider._add_spelling(here.client, spelling)

        await here.quiet()
        gc.collect()
        assert len(here.provider.inspect()) <= 20
        assert sum(map(len, here.provider._spellings.values())) <= 20
        assert len(here.provider._schedule) <= 20


async def test_scopes_that_are_not_granted_are_a_warning_once_for_each_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A token without some of the requested scopes is a warning; the next such one is not."""
    async with world() as here:
        source, manager = here.source("a b"), here.provider._manager
        land, grants = manager._landing.land, ["a", "a", "b", "a b", "a b c", "b"]

        def narrowed(flight: TokenFlight, entry: Entry, result: object, _: object) -> object:
            assert isinstance(result, TokenResponse)
            result.scope = grants[len(told)]
            return land(flight, entry, result)

        monkeypatch.setattr(manager._landing, "land", narrowed)
        told: list[int] = []
        for _ in grants:
            manager.invalidation.drop(await source.get_token())
            await settle()
            told.append(len(here.seen(ScopesNotGranted)))
        missing = [event.missing_scopes for event in here.seen(ScopesNotGranted)]

        granted = [event.scopes for event in here.seen(ScopesNotGranted)]
        assert {event.key for event in here.seen(ScopesNotGranted)} == {source.key}

    assert told == [1, 1, 2, 2, 2, 3]
    assert missing == [{"b"}, {"a"}, {"a"}]
    assert granted == [{"a"}, {"b"}, {"b"}]


async def test_too_many_flights_are_an_error_that_says_what_to_raise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fetch beyond the limit of flights is refused at once, and a later call may succeed."""
    async with world() as here:
        monkeypatch.setattr(here.provider._manager, "_max_flights", 1)
        here.sandbox.latency = 0.05
        first = asyncio.ensure_future(here.source("a").get_token())
        await here.requests(1)
        with pytest.raises(TransportError) as caught:
            await here.source("b").get_token()

        assert caught.value.args[0] == (
            "1 fetches are under way already; send fewer requests with different scopes at once, "
            "or raise TokenProvider's max_tokens"
        )
        assert (caught.value.key, caught.value.retryable) == (here.source("b").key, True)
        assert (await first).value
        assert (await here.source("b").get_token()).value
