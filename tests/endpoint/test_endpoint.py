"""One domain: how many requests at once, how pauses are kept, how often it is tried."""

import asyncio
from collections.abc import Callable

import pytest
from multidict import CIMultiDict

from okta_tokens import ClientSecretBasic, OktaClient, RetryPolicy, TokenProvider
from okta_tokens._endpoint.operation import FetchOperation
from okta_tokens._endpoint.response import Response
from okta_tokens._runtime.clock import current_instant
from okta_tokens._runtime.flight import Flight
from okta_tokens.errors import OAuthError, RateLimitedError, ServerError, TransportError
from okta_tokens.events import AttemptFailed, RenewalPostponed, RequestsPaused, TokenRequested
from okta_tokens.sandbox import Fault
from tests.stores.support import MemoryTokenStore
from tests.support import CLIENT_ID, SECRET, World, until, world


def org(here: World) -> OktaClient:
    """Return the client at the org's own authorization server."""
    return OktaClient(
        here.sandbox.origin, CLIENT_ID, here.client.authentication, authorization_server=None
    )


def has_paused(here: World, times: int) -> Callable[[], bool]:
    """Return a condition: that the domain has asked so many times to be left alone."""
    return lambda: len(here.seen(RequestsPaused)) == times


async def test_so_many_requests_at_once_and_no_more() -> None:
    """The gate bounds the requests that are under way at a domain."""
    async with world(max_concurrent_requests=3) as here:
        here.sandbox.latency = 0.01
        scopes = ["a", "b", "c", "a b", "a c", "b c", "a b c"]

        tokens = await asyncio.gather(*(here.source(it).get_token() for it in scopes))

        assert len({token.value for token in tokens}) == 7
        assert here.sandbox.peak_concurrency == 3


async def test_an_error_that_may_mend_itself_is_retried() -> None:
    """Two failures and a success are one fetch for the caller, with waits between the attempts."""
    async with world() as here:
        here.sandbox.fail_next(Fault.status(503), Fault.drop())
        caller = asyncio.ensure_future(here.source().get_token())
        await here.failures(1)
        await here.clock.advance(0.12)
        assert here.sandbox.token_requests == 1
        await here.clock.advance(0.13)
        await here.failures(2)
        assert here.sandbox.token_requests == 2
        await here.clock.advance(0.5)

        token = await caller
        assert token.remaining() > 0
        requested = [
            (event.attempt, event.renewal, event.key)
            for event in here.seen(TokenRequested)
            if isinstance(event, TokenRequested)
        ]
        failed = [
            (type(event.error), event.error.attempts, event.error.key)
            for event in here.seen(AttemptFailed)
            if isinstance(event, AttemptFailed)
        ]
        assert requested == [(attempt, False, token.key) for attempt in (1, 2, 3)]
        assert failed == [(ServerError, 1, token.key), (TransportError, 2, token.key)]


async def test_a_request_for_nobody_is_told_from_one_that_somebody_waits_for() -> None:
    """The event of a request says whether it renews a token in the background."""
    async with world(lifetime=300) as here:
        await here.source(keep_fresh=True).get_token()
        await here.advance(280)

        requested = [
            event.renewal
            for event in here.seen(TokenRequested)
            if isinstance(event, TokenRequested)
        ]
        assert requested == [False, True]


async def test_the_attempts_are_bounded() -> None:
    """After the last attempt the caller gets its error, and how many there were."""
    async with world(retry=RetryPolicy(attempts=2)) as here:
        here.sandbox.fault = Fault.status(500)
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        await here.failures(1)
        await here.clock.advance(0.25)

        with pytest.raises(ServerError) as caught:
            await caller
        assert caught.value.attempts == 2
        assert caught.value.status == 500
        assert here.sandbox.token_requests == 2


async def test_an_error_that_no_retry_mends_is_not_retried() -> None:
    """A refusal is the caller's answer after one request."""
    async with world() as here:
        with pytest.raises(OAuthError) as caught:
            await here.source("unknown").get_token()

        assert caught.value.attempts == 1
        assert here.sandbox.token_requests == 1


async def test_a_request_has_its_time_and_all_attempts_have_theirs() -> None:
    """A server that never answers costs a caller the total time-out, not that of each request."""
    retry = RetryPolicy(request_timeout=10, total_timeout=15)
    async with world(retry=retry) as here:
        here.sandbox.latency = 60
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        await here.clock.advance(10)
        await here.failures(1)
        await here.clock.advance(0.25)
        await here.requests(2)
        started = here.clock.boot
        await here.clock.advance(5)

        with pytest.raises(TransportError, match=r"within 4\.\d* s"):
            await caller
        assert here.clock.boot - started == 5
        assert here.sandbox.token_requests == 2


async def test_a_429_pauses_every_key_of_the_custom_servers_and_not_the_org_server() -> None:
    """The limit of the custom servers is theirs together; the org's own server has another one."""
    async with world(retry=RetryPolicy(max_wait=5, total_timeout=10)) as here:
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError):
            await here.source("a").get_token()
        with pytest.raises(RateLimitedError):
            await here.source("b").get_token()

        assert (await here.provider.get_token(org(here), "okta.users.read")).value
        assert here.sandbox.token_requests == 2
        (paused,) = here.seen(RequestsPaused)
        assert isinstance(paused, RequestsPaused)
        assert paused.origin == here.sandbox.origin
        assert (paused.org_server, paused.concurrency) == (False, False)
        assert paused.request_id


async def test_a_pause_is_read_against_the_servers_own_clock() -> None:
    """A server whose clock is hours off asks for the same pause as one that is right."""
    async with world(retry=RetryPolicy(max_wait=5, total_timeout=10)) as here:
        here.sandbox.date_offset = -7200
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError) as caught:
            await here.source().get_token()

        assert 55 <= caught.value.retry_at.timestamp() - here.clock.wall <= 63
        (offset,) = here.provider.stats().clock_offsets.values()
        assert offset == pytest.approx(-7200, abs=2)


async def test_a_pause_is_capped() -> None:
    """A reset that is hours away does not stop a service for hours."""
    async with world(retry=RetryPolicy(max_wait=5, total_timeout=10, max_pause=20)) as here:
        far = str(int(here.clock.wall) + 86_400)
        here.sandbox.fail_next(Fault.answer(429, "{}", headers={"X-Rate-Limit-Reset": far}))
        with pytest.raises(RateLimitedError) as caught:
            await here.source().get_token()

        assert caught.value.retry_at.timestamp() - here.clock.wall == pytest.approx(20, abs=1)


async def test_a_pause_of_another_process_is_one_here() -> None:
    """A pause that is found in the store holds for its half of the domain, and as one of a 429's.

    It is as long as the policy lets pauses be, and no shorter one ends it.
    """
    patience = RetryPolicy(max_wait=5, total_timeout=10, max_pause=20)
    async with world(retry=patience, store=MemoryTokenStore) as here:
        assert here.store is not None
        key = (await here.source("a").get_token()).key
        for seconds, scope in ((86_400, "b"), (10, "c")):
            await here.store.pause(key, seconds, here.clock.wall + seconds)
            with pytest.raises(RateLimitedError) as caught:
                await here.source(scope).get_token()
            here.store.pauses.clear()

            left = caught.value.retry_at.timestamp() - here.clock.wall
            assert left == pytest.approx(20, abs=1)

        await here.provider.get_token(org(here), "okta.users.read")
        assert here.sandbox.token_requests == 2


async def test_a_limit_on_concurrency_is_waited_out_briefly() -> None:
    """Too many at once is over as soon as another one is done: the pause is short, and doubles."""
    async with world() as here:
        here.sandbox.fail_next(Fault.concurrency_limited(), Fault.concurrency_limited())
        caller = asyncio.ensure_future(here.source().get_token())
        await until(lambda: len(here.seen(RequestsPaused)) == 1)
        await here.clock.advance(2)
        await until(lambda: len(here.seen(RequestsPaused)) == 2)
        await here.clock.advance(4)

        assert (await caller).value
        seconds = [it.seconds for it in here.seen(RequestsPaused) if isinstance(it, RequestsPaused)]
        assert seconds == [2, 4]


async def test_a_token_ends_a_row_of_429s() -> None:
    """After a request that went through, the next pause is as short as the first one was."""
    async with world() as here:
        for pauses, scopes in enumerate(("a", "b"), start=1):
            here.sandbox.fail_next(Fault.concurrency_limited())
            caller = asyncio.ensure_future(here.source(scopes).get_token())
            await until(has_paused(here, pauses))
            await here.clock.advance(2)
            assert (await caller).value

        seconds = [it.seconds for it in here.seen(RequestsPaused) if isinstance(it, RequestsPaused)]
        assert seconds == [2, 2]


async def test_a_429_that_tells_nothing_pauses_for_a_guess() -> None:
    """Without a reset the pause is a few seconds, not none."""
    async with world() as here:
        here.sandbox.fail_next(Fault.answer(429, "too many", headers={"X-Rate-Limit-Reset": ""}))
        caller = asyncio.ensure_future(here.source().get_token())
        await until(lambda: len(here.seen(RequestsPaused)) == 1)
        await here.clock.advance(1.9)
        assert here.sandbox.token_requests == 1
        await here.clock.advance(0.2)

        assert (await caller).value


async def test_what_was_under_way_when_a_pause_began_is_one_strike() -> None:
    """Eight 429s of one moment make a pause as long as one of them does."""
    async with world() as here:
        here.sandbox.latency = 0.02
        here.sandbox.fault = Fault.concurrency_limited()
        callers = [asyncio.ensure_future(here.source(it).get_token()) for it in ("a", "b", "c")]
        await until(lambda: len(here.seen(RequestsPaused)) == 3)
        here.sandbox.fault = None
        await here.clock.advance(2)

        assert len(await asyncio.gather(*callers)) == 3


async def test_an_answer_to_an_earlier_request_does_not_halve_a_pause() -> None:
    """What is refused after another request went through is a first strike, and no half of one."""
    async with world() as here:
        here.sandbox.latency = 0.02
        here.sandbox.fail_next(Fault.concurrency_limited())
        callers = [asyncio.ensure_future(here.source(it).get_token()) for it in ("a", "b")]
        await until(callers[1].done)
        key = here.source("c").key
        endpoint = here.provider._registry.endpoint(key)
        here.clock.boot += 1.5
        here.sandbox.fail_next(Fault.concurrency_limited())
        await endpoint._attempt(FetchOperation(Flight(key)), here.clock.boot + 10)

        assert endpoint.paused_until(key) == here.clock.boot + 2
        await here.clock.advance(2)
        assert (await callers[0]).value


async def test_a_pause_that_begins_while_fetches_queue_holds_for_them() -> None:
    """Whoever is let in after a 429 of somebody else's sees the pause, and makes no request."""
    retry = RetryPolicy(max_wait=5, total_timeout=5, request_timeout=5)
    async with world(max_concurrent_requests=1, retry=retry) as here:
        here.sandbox.latency = 0.02
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        calls = [here.source(scopes).get_token() for scopes in ("a", "b", "c")]

        errors = await asyncio.gather(*calls, return_exceptions=True)

        assert all(isinstance(error, RateLimitedError) for error in errors)
        assert here.sandbox.token_requests == 1


async def test_a_pause_that_ends_a_fetch_leaves_its_attempts_counted() -> None:
    """Whoever is refused because of a pause is told how many requests there were before it."""
    retry = RetryPolicy(max_wait=5, total_timeout=5, request_timeout=5)
    async with world(retry=retry) as here:
        here.sandbox.fail_next(Fault.status(503), Fault.rate_limited(reset_in=60))
        caller = asyncio.ensure_future(here.source("a").get_token())
        await here.failures(1)
        with pytest.raises(RateLimitedError) as never_sent:
            await here.source("b").get_token()
        await until(has_paused(here, 1))
        await here.clock.advance(0.5)
        with pytest.raises(RateLimitedError) as sent_once:
            await caller

        assert (sent_once.value.attempts, never_sent.value.attempts) == (1, 1)
        assert here.sandbox.token_requests == 2


async def test_a_renewal_that_queues_does_not_wait_for_the_end_of_a_pause() -> None:
    """A renewal that finds a pause when its place comes moves, and gives its place up meanwhile."""
    lifetimes = {"a": 300, "b": 300}
    async with world(max_concurrent_requests=1, lifetimes=lifetimes) as here:
        for scopes in lifetimes:
            await here.source(scopes, keep_fresh=True).get_token()
        here.sandbox.latency = 0.05
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        here.sandbox.reset_counters()
        here.clock.boot += 285
        await here.clock.advance(0)
        await until(here.is_idle)

        assert here.sandbox.token_requests == 1
        assert len(here.seen(RenewalPostponed)) == 2


async def test_those_whom_somebody_waits_for_go_first() -> None:
    """Renewals take half of the places, and a caller's fetch does not queue behind them."""
    lifetimes = {"a": 300, "b": 300, "c": 300, "a b": 300}
    async with world(max_concurrent_requests=2, lifetimes=lifetimes) as here:
        for scopes in lifetimes:
            await here.source(scopes, keep_fresh=True).get_token()
        here.sandbox.latency = 0.1
        here.sandbox.reset_counters()
        here.clock.boot += 285
        await here.clock.advance(0)
        await here.requests(1)
        assert here.provider.stats().in_flight == 4
        assert here.sandbox.peak_concurrency == 1

        await here.source("a b c").get_token()

        assert here.sandbox.peak_concurrency == 2
        assert here.sandbox.token_requests <= 3


async def test_a_renewal_that_queues_goes_first_once_somebody_waits_for_it() -> None:
    """Whoever comes to wait for a renewal that has no place yet takes it past the others."""
    async with world(max_concurrent_requests=2, lifetime=300) as here:
        scopes = ("a", "b", "c")
        sources = [here.source(it, keep_fresh=True) for it in scopes]
        for source in sources:
            await source.get_token()
        here.sandbox.latency = 5
        here.sandbox.reset_counters()
        here.clock.boot += 280
        await here.clock.advance(0)
        await here.requests(1)
        here.sandbox.latency = 0
        here.clock.boot += 20
        last = list(here.provider._manager.flights.under_way.values())[-1]

        token = await here.provider.get_token(here.client, last.key.scopes)

        assert token.scopes == last.key.scopes
        assert here.sandbox.peak_concurrency == 2
        assert here.sandbox.token_requests == 2


async def test_a_pause_is_read_against_what_is_known_of_the_servers_clock() -> None:
    """A 429 without a `Date` is read by the clock offset that earlier answers told."""
    async with world() as here:
        here.sandbox.date_offset = 7_200
        key = here.source().key
        await here.source().get_token()
        endpoint = here.provider._registry.endpoint(key)
        reset = str(int(here.clock.wall) + 7_200 + 60)
        answer = Response(
            status=429,
            headers=CIMultiDict({"X-Rate-Limit-Reset": reset}),
            body=b"",
            sent=current_instant(here.clock),
            received_at=here.clock.wall,
        )
        endpoint._handle(FetchOperation(Flight(key)), answer)

        assert endpoint.paused_until(key) - here.clock.boot == pytest.approx(61, abs=2)


async def test_a_cancelled_wait_for_a_pause_leaves_no_place_taken() -> None:
    """Closing while fetches wait for a pause, for a place and for an answer ends them all."""
    async with world(max_concurrent_requests=1) as here:
        here.sandbox.latency = 5
        callers = [asyncio.ensure_future(here.source(it).get_token()) for it in ("a", "b", "c")]
        await here.requests(1)
        await here.provider.aclose()
        await asyncio.gather(*callers, return_exceptions=True)

        (endpoint,) = here.provider._registry._endpoints.values()
        assert len(endpoint._gate) == 0
        assert endpoint._gate._free == 1


async def test_an_answer_without_a_date_teaches_no_clock() -> None:
    """A server that does not tell its time leaves the clock offset as it is."""
    body = b'{"access_token":"t","token_type":"Bearer","expires_in":3600}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len("grant_type=client_credentials&scope=a"))
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening, TokenProvider() as provider:
        origin = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        await provider.get_token(client, "a")

        assert provider.stats().clock_offsets == {origin: 0.0}


async def test_no_pause_is_beyond_the_calendar() -> None:
    """A 429 with an absurd reset is a rate limit also where the policy allows any pause."""
    async with world(retry=RetryPolicy(attempts=1, max_pause=1e12)) as here:
        here.sandbox.fault = Fault.answer(429, headers={"X-Rate-Limit-Reset": "9" * 15})

        for _ in range(2):
            with pytest.raises(RateLimitedError) as caught:
                await here.source().get_token()
            left = caught.value.retry_at.timestamp() - here.clock.wall_time()
            assert left == pytest.approx(86_400, abs=2)
