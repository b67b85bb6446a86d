"""One domain: its limit on concurrent requests, its pauses, and its attempts."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web
from multidict import CIMultiDict

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, RetryPolicy, TokenProvider
from okta_tokens._endpoint.endpoint import _ABANDONED
from okta_tokens._endpoint.response import Response
from okta_tokens._endpoint.token_request import FetchOperation, TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.store_identity import domain_identity
from okta_tokens._runtime.clock import current_instant
from okta_tokens._runtime.gate import Lane
from okta_tokens._runtime.single_flight import Flight
from okta_tokens.errors import OAuthError, RateLimitedError, ServerError, TransportError
from okta_tokens.events import (
    AttemptFailed,
    FetchFailed,
    RenewalPostponed,
    RequestsPaused,
    TokenRequested,
    TokenRevoked,
)
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.clock import settle
from tests.endpoint.servers import token_server
from tests.keys import ec_key, verified
from tests.stores.support import MemoryTokenStore
from tests.support import CLIENT_ID, SCOPES, SECRET, World, at_once, until, world


def org(here: World) -> OktaClient:
    """Return the client at the org authorization server."""
    return OktaClient(
        here.sandbox.origin, CLIENT_ID, here.client.authentication, authorization_server=None
    )


ORG_APP = SandboxClient(CLIENT_ID, [SECRET], scopes=[*SCOPES, "okta.users.read"], integration=True)


def has_paused(here: World, times: int) -> Callable[[], bool]:
    """Return a condition: the domain has been paused this number of times."""
    return lambda: len(here.seen(RequestsPaused)) == times


async def test_concurrent_requests_are_bounded() -> None:
    """Callers have all places but one of a domain, and the last place is for renewals."""
    async with world(max_concurrent_requests=3, lifetime=300) as here:
        await here.source("a", keep_fresh=True).get_token()
        here.sandbox.latency = 5
        here.clock.boot += 280
        scopes = ["b", "c", "a b", "a c", "b c", "a b c"]
        callers = [asyncio.ensure_future(here.source(name).get_token()) for name in scopes]
        await here.requests(3)
        await settle()
        assert here.sandbox.peak_concurrency == 2
        await here.clock.advance(0)
        await here.requests(4)
        await settle()

        assert here.sandbox.peak_concurrency == 3
        assert [event.renewal for event in here.seen(TokenRequested)][1:] == [False, False, True]
        for caller in callers:
            caller.cancel()


async def test_a_renewal_in_its_last_chance_takes_a_place_of_the_callers() -> None:
    """A renewal that waits for a place gets one of the callers' ten seconds before it is late."""
    async with world(max_concurrent_requests=4, lifetime=300) as here:
        for scopes in ("a", "b", "c"):
            await here.source(scopes, keep_fresh=True).get_token()
        here.sandbox.latency = 5
        here.clock.boot += 280
        await here.clock.advance(0)
        await here.requests(5)
        await settle()
        assert here.sandbox.peak_concurrency == 2
        await here.clock.advance(4)
        await settle()
        assert here.sandbox.peak_concurrency == 2
        await here.clock.advance(1.1)
        await here.requests(6)

        assert here.sandbox.peak_concurrency == 3
        assert [event.renewal for event in here.seen(TokenRequested)][3:] == [True] * 3


@pytest.mark.parametrize("work", ["fetch", "revocation"])
async def test_a_client_with_many_callers_holds_up_no_other_work(work: str) -> None:
    """A fetch of another client, and a revocation, wait for one of many fetches only."""
    apps = [SandboxClient(id_, [SECRET], scopes=SCOPES) for id_ in (CLIENT_ID, "0oa2other")]
    async with world(max_concurrent_requests=2, sandbox=Sandbox(apps)) as here:
        other = OktaClient(here.sandbox.origin, "0oa2other", ClientSecretBasic(SECRET))
        token = await here.source("a").get_token()
        here.sandbox.latency = 0.02
        scopes = ["b", "c", "a b", "a c", "b c", "a b c"]
        callers = [asyncio.ensure_future(here.source(name).get_token()) for name in scopes]
        await here.requests(2)
        if work == "fetch":
            await here.provider.get_token(other, "a")
        else:
            await here.provider.revoke(token)

        assert sum(caller.done() for caller in callers) <= 3
        assert len(await asyncio.gather(*callers)) == 6


async def test_a_fetch_whose_callers_gave_up_in_the_line_leaves_its_place_to_others() -> None:
    """A fetch that gets a place after its callers' deadline ends, unless it is the last in line.

    A revocation goes on.
    """
    retry = RetryPolicy(max_wait=5)
    async with world(max_concurrent_requests=2, retry=retry) as here:
        token = await here.source("a").get_token()
        here.sandbox.latency = 0.1
        calls = [here.source(name).get_token() for name in ("b", "c", "a b", "a c")]
        callers = [asyncio.ensure_future(call) for call in calls]
        revocation = asyncio.ensure_future(here.provider.revoke(token))
        await here.requests(2)
        await here.clock.advance(5)
        errors = await asyncio.gather(*callers, revocation, return_exceptions=True)
        assert [type(error) for error in errors] == [TransportError] * 5
        await here.quiet()

        failed = here.seen(FetchFailed)
        assert [event.error.args[0] for event in failed] == [_ABANDONED] * 2
        for event in failed:
            assert isinstance(event.error, TransportError)
            assert (event.error.key, event.error.retryable) == (event.key, True)
        assert here.sandbox.token_requests == 3
        await until(lambda: bool(here.seen(TokenRevoked)))


async def test_a_fetch_that_gets_its_place_late_serves_a_waiter() -> None:
    """After suspend, a caller whose time is over but who still waits does not stop the fetch."""
    async with world(max_concurrent_requests=2, retry=RetryPolicy(max_wait=5)) as here:
        here.sandbox.latency = 0.05
        calls = [here.source(name).get_token() for name in ("a", "b", "c")]
        callers = [asyncio.ensure_future(call) for call in calls]
        await here.requests(1)
        here.clock.boot += 6

        assert len(await asyncio.gather(*callers)) == 3


async def test_a_renewal_that_became_urgent_before_it_came_to_the_gate_is_not_held_up() -> None:
    """A renewal in its last chance takes a place of the callers, also if it reads a store first."""
    async with world(max_concurrent_requests=4) as here, asyncio.timeout(5):
        key = here.source().key
        endpoint = here.provider._registry.endpoint(key)
        for ticket in range(2):
            await endpoint._gate.enter(ticket, Lane.BACKGROUND, "")
        flight: TokenFlight = Flight(key)
        flight.urgent = True

        assert isinstance(await endpoint.run(FetchOperation(flight)), TokenResponse)


async def test_a_retryable_error_is_retried() -> None:
    """A caller gets the token of the third attempt, with back-off between the attempts."""
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
            (event.attempt, event.renewal, event.key) for event in here.seen(TokenRequested)
        ]
        failed = [
            (type(event.error), event.error.attempts, event.error.key)
            for event in here.seen(AttemptFailed)
        ]
        assert requested == [(attempt, False, token.key) for attempt in (1, 2, 3)]
        assert failed == [(ServerError, 1, token.key), (TransportError, 2, token.key)]


async def test_the_event_of_a_request_tells_whether_it_is_a_renewal() -> None:
    """The event of a request says whether the request renews a token in the background."""
    async with world(lifetime=300) as here:
        await here.source(keep_fresh=True).get_token()
        await here.advance(280)

        requested = [event.renewal for event in here.seen(TokenRequested)]
        assert requested == [False, True]


async def test_the_attempts_are_bounded() -> None:
    """After the last attempt the caller gets its error, which holds the number of attempts."""
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


async def test_a_final_error_is_not_retried() -> None:
    """The caller gets an error that is not retryable after one request."""
    async with world() as here:
        with pytest.raises(OAuthError) as caught:
            await here.source("unknown").get_token()

        assert caught.value.attempts == 1
        assert here.sandbox.token_requests == 1


async def test_a_request_and_all_attempts_have_time_limits() -> None:
    """The total timeout bounds all attempts together, and the request timeout bounds each one."""
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


async def test_a_429_of_a_custom_server_does_not_pause_the_org_server() -> None:
    """A 429 pauses every custom server of a domain, but not the org authorization server."""
    async with world(retry=RetryPolicy(max_wait=5, total_timeout=10)) as here:
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError):
            await here.source("a").get_token()
        with pytest.raises(RateLimitedError):
            await here.source("b").get_token()

        assert (await here.provider.get_token(org(here), "okta.users.read")).value
        assert here.sandbox.token_requests == 2
        (paused,) = here.seen(RequestsPaused)
        assert paused.domain == here.client.domain
        assert (paused.org_server, paused.concurrency) == (False, False)
        assert paused.request_id


async def test_a_pause_is_measured_by_the_servers_clock() -> None:
    """A server whose clock is two hours late asks for the same pause as a server that is right."""
    async with world(retry=RetryPolicy(max_wait=5, total_timeout=10)) as here:
        here.sandbox.date_offset = -7200
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        with pytest.raises(RateLimitedError) as caught:
            await here.source().get_token()

        assert 55 <= caught.value.retry_at.timestamp() - here.clock.wall <= 63
        (offset,) = here.provider.stats().clock_offsets.values()
        assert offset == pytest.approx(-7200, abs=2)


async def test_a_pause_is_at_most_max_pause() -> None:
    """A pause is never longer than `max_pause`, even if the reset is a day away."""
    async with world(retry=RetryPolicy(max_wait=5, total_timeout=10, max_pause=20)) as here:
        far = str(int(here.clock.wall) + 86_400)
        here.sandbox.fail_next(Fault.answer(429, "{}", headers={"X-Rate-Limit-Reset": far}))
        with pytest.raises(RateLimitedError) as caught:
            await here.source().get_token()

        assert caught.value.retry_at.timestamp() - here.clock.wall == pytest.approx(20, abs=1)


async def test_a_pause_of_another_process_is_adopted() -> None:
    """A pause in the store applies to its half of the domain, and no shorter pause ends it."""
    retry = RetryPolicy(max_wait=5, total_timeout=10, max_pause=20)
    async with world(retry=retry, store=MemoryTokenStore) as here:
        assert here.store is not None
        key = (await here.source("a").get_token()).key
        custom = domain_identity(key)
        for seconds, scope in ((86_400, "b"), (10, "c")):
            await here.store.pause(custom, seconds, here.clock.wall + seconds)
            with pytest.raises(RateLimitedError) as caught:
                await here.source(scope).get_token()
            here.store.pauses.clear()

            left = caught.value.retry_at.timestamp() - here.clock.wall
            assert left == pytest.approx(20, abs=1)

        await here.provider.get_token(org(here), "okta.users.read")
        assert here.sandbox.token_requests == 2


async def test_the_pause_of_a_concurrency_limit_is_short_and_doubles() -> None:
    """The pause after a concurrency limit is two seconds, and doubles with each further 429."""
    async with world() as here:
        here.sandbox.fail_next(Fault.concurrency_limited(), Fault.concurrency_limited())
        caller = asyncio.ensure_future(here.source().get_token())
        await until(lambda: len(here.seen(RequestsPaused)) == 1)
        await here.clock.advance(2)
        await until(lambda: len(here.seen(RequestsPaused)) == 2)
        await here.clock.advance(4)

        assert (await caller).value
        seconds = [event.seconds for event in here.seen(RequestsPaused)]
        assert seconds == [2, 4]


async def test_a_token_resets_the_count_of_429s() -> None:
    """After a successful request the next pause is as short as the first one."""
    async with world() as here:
        for pauses, scopes in enumerate(("a", "b"), start=1):
            here.sandbox.fail_next(Fault.concurrency_limited())
            caller = asyncio.ensure_future(here.source(scopes).get_token())
            await until(has_paused(here, pauses))
            await here.clock.advance(2)
            assert (await caller).value

        seconds = [event.seconds for event in here.seen(RequestsPaused)]
        assert seconds == [2, 2]


async def test_a_429_that_names_no_pause_pauses_for_two_seconds() -> None:
    """A 429 that names no reset pauses the domain for two seconds."""
    async with world() as here:
        here.sandbox.fail_next(Fault.answer(429, "too many", headers={"X-Rate-Limit-Reset": ""}))
        caller = asyncio.ensure_future(here.source().get_token())
        await until(lambda: len(here.seen(RequestsPaused)) == 1)
        await here.clock.advance(1.9)
        assert here.sandbox.token_requests == 1
        await here.clock.advance(0.2)

        assert (await caller).value


async def test_429s_of_concurrent_requests_count_once() -> None:
    """Three 429s that arrive together make a pause as long as one 429."""
    async with world() as here:
        here.sandbox.latency = 0.02
        here.sandbox.fault = Fault.concurrency_limited()
        callers = [
            asyncio.ensure_future(here.source(scope).get_token()) for scope in ("a", "b", "c")
        ]
        await until(lambda: len(here.seen(RequestsPaused)) == 3)
        here.sandbox.fault = None
        await here.clock.advance(2)

        assert len(await asyncio.gather(*callers)) == 3


async def test_a_429_after_a_success_begins_a_full_pause() -> None:
    """A 429 during a pause makes a full first pause, even after another request succeeded."""
    async with world() as here:
        here.sandbox.latency = 0.02
        here.sandbox.fail_next(Fault.concurrency_limited())
        callers = [asyncio.ensure_future(here.source(scope).get_token()) for scope in ("a", "b")]
        await until(callers[1].done)
        key = here.source("c").key
        endpoint = here.provider._registry.endpoint(key)
        here.clock.boot += 1.5
        here.sandbox.fail_next(Fault.concurrency_limited())
        await endpoint._send(FetchOperation(Flight(key)), here.clock.boot + 10)

        assert endpoint.pauses.end(key) == here.clock.boot + 2
        await here.clock.advance(2)
        assert (await callers[0]).value


async def test_a_pause_applies_to_fetches_that_wait_for_a_place() -> None:
    """A fetch that gets its place after a 429 observes the pause and sends no request."""
    retry = RetryPolicy(max_wait=5, total_timeout=5, request_timeout=5)
    async with world(max_concurrent_requests=1, retry=retry) as here:
        here.sandbox.latency = 0.02
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        calls = [here.source(scopes).get_token() for scopes in ("a", "b", "c")]

        errors = await asyncio.gather(*calls, return_exceptions=True)

        assert all(isinstance(error, RateLimitedError) for error in errors)
        assert here.sandbox.token_requests == 1


async def test_an_error_of_a_pause_counts_the_earlier_attempts() -> None:
    """An error because of a pause holds the number of requests that were sent before the pause."""
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


async def test_a_renewal_does_not_keep_its_place_during_a_pause() -> None:
    """A renewal that finds a pause when it gets its place is postponed and gives the place up."""
    lifetimes = {"a": 300, "b": 300}
    async with world(max_concurrent_requests=1, lifetimes=lifetimes) as here:
        for scopes in lifetimes:
            await here.source(scopes, keep_fresh=True).get_token()
        here.sandbox.latency = 0.05
        here.sandbox.fail_next(Fault.rate_limited(reset_in=60))
        here.sandbox.reset_counters()
        here.clock.boot += 285
        await here.clock.advance(0)
        await until(lambda: len(here.seen(RenewalPostponed)) == 2)

        assert here.is_idle()
        assert here.sandbox.token_requests == 1


async def test_fetches_come_before_renewals() -> None:
    """Renewals leave a place free, so a fetch does not wait behind them."""
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


async def test_a_renewal_with_a_waiter_comes_before_other_renewals() -> None:
    """A renewal that waits for a place passes other renewals as soon as a caller waits for it."""
    async with world(max_concurrent_requests=2, lifetime=300) as here:
        scopes = ("a", "b", "c")
        sources = [here.source(name, keep_fresh=True) for name in scopes]
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


async def test_a_429_without_a_date_is_measured_by_the_clock_offset() -> None:
    """The pause of a 429 without `Date` is measured by the clock offset from earlier responses."""
    async with world() as here:
        here.sandbox.date_offset = 7_200
        key = here.source().key
        await here.source().get_token()
        endpoint = here.provider._registry.endpoint(key)
        reset = str(int(here.clock.wall) + 7_200 + 60)
        response = Response(
            status=429,
            headers=CIMultiDict({"X-Rate-Limit-Reset": reset}),
            body=b"",
            sent=current_instant(here.clock),
            received_at=here.clock.wall,
        )
        operation = FetchOperation(Flight(key))
        endpoint._handle(operation, operation.new_request(), response)

        assert endpoint.pauses.end(key) - here.clock.boot == pytest.approx(61, abs=2)


async def test_closing_frees_every_place() -> None:
    """Closing ends every fetch, under way or waiting for a place, and frees the place."""
    async with world(max_concurrent_requests=1) as here:
        here.sandbox.latency = 5
        callers = [
            asyncio.ensure_future(here.source(scope).get_token()) for scope in ("a", "b", "c")
        ]
        await here.requests(1)
        await here.provider.aclose()
        await asyncio.gather(*callers, return_exceptions=True)

        (endpoint,) = here.provider._registry._endpoints.values()
        assert endpoint._gate.is_empty


async def test_a_response_without_a_nonce_leaves_the_last_one() -> None:
    """A proof repeats the nonce of the last response that had one."""
    received: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        received.append(verified(request.headers["DPoP"], ec_key()).claims.get("nonce"))
        if received == [None]:
            body = {"error": "use_dpop_nonce", "error_description": "Again."}
            return web.json_response(body, status=400, headers={"DPoP-Nonce": "n1"})
        return web.json_response({"access_token": "t", "token_type": "DPoP", "expires_in": 3600})

    async with token_server(handler) as origin, TokenProvider() as provider:
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET), dpop=DPoP(ec_key()))
        for scopes in ("a", "b"):
            await provider.get_token(client, scopes)

    assert received == [None, "n1", "n1"]


async def test_a_response_without_a_date_does_not_change_the_clock_offset() -> None:
    """A response without `Date` leaves the clock offset as it is."""
    body = b'{"access_token":"t","token_type":"Bearer","expires_in":3600}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len("grant_type=client_credentials&scope=a"))
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server, TokenProvider() as provider:
        origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = OktaClient(origin, CLIENT_ID, ClientSecretBasic(SECRET))
        await provider.get_token(client, "a")

        assert provider.stats().clock_offsets == {client.domain: 0.0}


async def test_a_pause_is_at_most_a_day() -> None:
    """A 429 with an absurd reset pauses for a day even if the policy allows any pause."""
    async with world(retry=RetryPolicy(attempts=1, max_pause=1e12)) as here:
        here.sandbox.fault = Fault.answer(429, headers={"X-Rate-Limit-Reset": "9" * 15})

        for _ in range(2):
            with pytest.raises(RateLimitedError) as caught:
                await here.source().get_token()
            left = caught.value.retry_at.timestamp() - here.clock.wall_time()
            assert left == pytest.approx(86_400, abs=2)


# A server that is overloaded

OVERLOADED = {"errorCode": "E0000010", "errorSummary": "Service is in read only mode."}


def overloaded(retry_after: str = "20") -> Fault:
    """Return a 503 of Okta that asks for a wait."""
    return Fault.answer(503, OVERLOADED, headers={"Retry-After": retry_after})


def proxy_overloaded(retry_after: str = "20") -> Fault:
    """Return a 503 of a middlebox that asks for a wait."""
    return Fault.answer(
        503, "busy", headers={"Retry-After": retry_after}, content_type="text/plain"
    )


async def test_a_503_of_okta_pauses_its_half_of_the_domain() -> None:
    """After Okta's 503 no key of the domain is requested before the time that it named."""
    async with world(sandbox=Sandbox([ORG_APP])) as here:
        here.sandbox.fail_next(overloaded())
        callers = [asyncio.ensure_future(here.source("a").get_token())]
        await until(has_paused(here, 1))
        callers.append(asyncio.ensure_future(here.source("b").get_token()))
        await here.provider.get_token(org(here), "okta.users.read")
        await here.clock.advance(19.5)
        assert here.sandbox.token_requests == 2
        await here.clock.advance(1)

        assert len(await asyncio.gather(*callers)) == 2
        [pause] = here.seen(RequestsPaused)
        assert (pause.status, pause.concurrency) == (503, False)
        assert pause.seconds == pytest.approx(20, abs=1)


async def test_a_caller_who_cannot_wait_for_an_outage_gets_its_end() -> None:
    """A caller whose `max_wait` is shorter than Okta's wait gets an error with its end, at once."""
    retry = RetryPolicy(max_wait=5, total_timeout=5, request_timeout=5)
    async with world(retry=retry) as here:
        here.sandbox.fail_next(overloaded())
        with pytest.raises(ServerError) as first:
            await here.source("a").get_token()
        with pytest.raises(
            ServerError, match="Okta asked for no request for another 20 s"
        ) as other:
            await here.source("b").get_token()

        assert here.sandbox.token_requests == 1
        for error in (first.value, other.value):
            assert error.retry_at is not None
            assert error.retry_at.timestamp() - here.clock.wall == pytest.approx(20, abs=1)
            assert error.status == 503
            assert error.retryable


async def test_a_503_of_a_middlebox_delays_only_its_key() -> None:
    """After a middlebox's 503 the key waits for as long as it asked, and other keys do not."""
    async with world() as here:
        here.sandbox.fail_next(proxy_overloaded())
        caller = asyncio.ensure_future(here.source("a").get_token())
        await here.failures(1)
        assert (await here.source("b").get_token()).value
        await here.clock.advance(19)
        assert here.sandbox.token_requests == 2
        await here.clock.advance(1.1)

        assert (await caller).value
        assert here.seen(RequestsPaused) == []


@pytest.mark.parametrize("make", [overloaded, proxy_overloaded])
async def test_a_requested_wait_is_bounded(make: Callable[[str], Fault]) -> None:
    """No 503 delays requests for longer than `max_pause`."""
    retry = RetryPolicy(max_pause=40, max_wait=10, total_timeout=10)
    async with world(retry=retry) as here:
        here.sandbox.fail_next(make("86400"))
        with pytest.raises(ServerError) as caught:
            await here.source("a").get_token()
        assert caught.value.retry_at is not None
        assert caught.value.retry_at.timestamp() - here.clock.wall == pytest.approx(40, abs=1)
        await here.clock.advance(39)
        with pytest.raises(ServerError):
            await here.source("a").get_token()
        await here.clock.advance(2)

        assert (await here.source("a").get_token()).value
        assert here.sandbox.token_requests == 2


@pytest.mark.parametrize("make", [overloaded, proxy_overloaded])
async def test_the_last_renewal_does_not_wait_for_an_outage(make: Callable[[str], Fault]) -> None:
    """A renewal waits as a 503 asks, but the last one is tried before the token is unusable."""
    async with world(lifetime=300) as here:
        source = here.source(keep_fresh=True)
        held = await source.get_token()
        here.clock.boot += 271  # unusable at 295, last attempt at 285
        here.clock.wall += 271
        here.sandbox.fail_next(make("60"))
        await here.advance(13.5)
        assert here.sandbox.token_requests == 2
        assert at_once(source.get_token()) is held
        await here.advance(1)

        assert here.sandbox.token_requests == 3
        assert at_once(source.get_token()) is not held


async def test_a_renewal_that_is_first_due_during_an_outage_is_tried_in_its_last_chance() -> None:
    """A pause for which a 503 asked postpones a renewal, but not beyond its last chance."""
    retry = RetryPolicy(max_wait=100)
    async with world(lifetimes={"a": 300, "b": 3600}, retry=retry) as here:
        source = here.source("a", keep_fresh=True)
        held = await source.get_token()
        here.clock.boot += 235  # due from 240 to 270, unusable at 295, last attempt at 285
        here.clock.wall += 235
        here.sandbox.fail_next(overloaded("80"))
        other = asyncio.ensure_future(here.source("b").get_token())
        await until(has_paused(here, 1))
        await here.clock.advance(49)
        assert here.sandbox.token_requests == 2
        assert len(here.seen(RenewalPostponed)) == 1
        await here.clock.advance(1.5)
        await here.requests(3)
        await until(lambda: at_once(source.get_token()) is not held)

        await here.clock.advance(30)
        assert (await other).value


async def test_a_response_for_which_the_machine_slept_tells_nothing_about_the_server() -> None:
    """A response that took longer than a request may take does not make renewals earlier."""
    async with world() as here:
        here.sandbox.latency = 0.05
        caller = asyncio.ensure_future(here.source().get_token())
        await here.requests(1)
        here.clock.boot += 600  # no timer fires while the machine sleeps
        here.clock.wall += 600
        await caller

        assert here.provider._registry.endpoint(here.source().key).response_time == 0
