"""Pauses: how long a domain gets no requests after a 429."""

import asyncio
import math
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.clock_offset import ClockOffset
from okta_tokens._endpoint.pauses import Pause, Pauses
from okta_tokens.errors import RateLimitedError, ServerError
from okta_tokens.events import Event, RequestsPaused
from tests.clock import ManualClock, settle
from tests.endpoint.responses import DATE, NOW, new_response, reset_in


def extended(pause: Pause, headers: dict[str, str], *, now: float = 0.0) -> float:
    """Extend a pause after a 429, by a policy that allows a minute, and return its seconds."""
    response = new_response(b"", 429, {"Date": DATE, **headers})
    return pause.extend(response, now=now, clock_offset=0.0, max_pause=60.0)


CONCURRENCY = {"X-Rate-Limit-Limit": "0", "X-Rate-Limit-Reset": reset_in(50)}


def test_a_pause_is_as_long_as_requested() -> None:
    """A pause is as long as the 429 asks for, up to what the policy allows."""
    assert extended(Pause(), {"Retry-After": "59"}) == 59
    assert extended(Pause(), {"Retry-After": "61"}) == 60


def test_a_pause_without_a_request_doubles_with_each_429() -> None:
    """The pause after a 429 that names none doubles from 2 s up to what the policy allows."""
    pause = Pause()

    assert [extended(pause, {}, now=number * 60.0) for number in range(6)] == [2, 4, 8, 16, 32, 60]
    assert pause.consecutive_429s == 6


def test_the_pause_of_a_concurrency_limit_is_short() -> None:
    """After a concurrency limit the pause is the short default, not the suggested reset."""
    pause = Pause()

    assert [extended(pause, CONCURRENCY, now=number * 60.0) for number in range(3)] == [2, 4, 8]


def test_a_429_during_a_pause_belongs_to_the_same_limit() -> None:
    """A 429 that arrives during a pause does not count; one that arrives at its end does."""
    pause = Pause()

    assert extended(pause, CONCURRENCY, now=10.0) == 2
    assert extended(pause, CONCURRENCY, now=11.0) == 2
    assert pause.consecutive_429s == 1
    assert pause.until == 13
    assert extended(pause, CONCURRENCY, now=13.0) == 4
    assert pause.consecutive_429s == 2


def test_a_shorter_pause_does_not_end_a_longer_pause() -> None:
    """A 429 with a shorter pause leaves the end of the pause where it is."""
    pause = Pause()

    assert extended(pause, {"Retry-After": "30"}) == 30
    assert extended(pause, {"Retry-After": "5"}, now=10.0) == 20
    assert pause.until == 30


KEY = TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("a-secret")), frozenset({"a"}))
OKTAS = b'{"errorCode": "E0000010", "errorSummary": "Service is in read only mode."}'


def new_pauses(clock: ManualClock, events: list[Event], store: object = None) -> Pauses:
    """Return the pauses of a domain whose clock is 30 s ahead, by a policy that allows a minute."""
    offset = ClockOffset()
    offset.seconds = 30.0
    emit = Emitter([events.append])
    emit.attach(asyncio.get_running_loop())
    return Pauses(
        clock=clock,
        clock_offset=offset,
        max_pause=60.0,
        emit=emit,
        count_waiters=lambda: 2,
        store=cast("Any", store),
    )


async def test_an_outage_lasts_as_long_as_the_longest_wait() -> None:
    """Only a wait that ends later than the pause lengthens it, and only that is reported."""
    events: list[Event] = []
    clock = ManualClock()
    pauses = new_pauses(clock, events)
    errors = []
    for wait in ("40", "10", "50", "50", "Fri, 15 Jan 2027 08:00:55 GMT"):
        response = new_response(OKTAS, 503, {"Retry-After": wait, "X-Okta-Request-Id": "req1"})
        error = ServerError("no", status=503, request_id="req1")
        pauses.learn(KEY, response, error)
        errors.append(error)
    await settle()

    reported = [
        (event.seconds, event.request_id) for event in events if isinstance(event, RequestsPaused)
    ]
    assert reported == [(40.0, "req1"), (50.0, "req1")]
    assert pauses.end(KEY) == clock.boot + 50
    assert pauses.end(KEY, urgent=True) < 0
    ends = [error.retry_at for error in errors]
    assert ends == [datetime.fromtimestamp(NOW + seconds, UTC) for seconds in (40, 10, 50, 50, 25)]


async def test_an_outage_within_a_pause_changes_nothing() -> None:
    """A wait that ends before the pause after a 429 is not reported."""
    events: list[Event] = []
    clock = ManualClock()
    pauses = new_pauses(clock, events)
    pauses.adopt(KEY, 30)
    error = ServerError("no", status=503)
    pauses.learn(KEY, new_response(OKTAS, 503, {"Retry-After": "20"}), error)
    await settle()

    assert events == []
    assert pauses.end(KEY) == pauses.end(KEY, urgent=True) == clock.boot + 30


@pytest.mark.parametrize(("wait", "refused"), [(29.9, True), (30.0, False), (31.0, False)])
async def test_a_caller_who_cannot_wait_gets_the_end_of_the_pause(
    *, wait: float, refused: bool
) -> None:
    """The error names the seconds that are left, when to try again, and what to do."""
    clock = ManualClock()
    pauses = new_pauses(clock, [])
    are_over = [pauses.are_over]
    pauses.adopt(KEY, 30)
    are_over.append(pauses.are_over)
    assert are_over == [True, False]
    error = pauses.error(KEY, clock.boot + wait)

    assert (error is not None) == refused
    if error is not None:
        assert error.args[0] == (
            "Okta's rate limit allows no request for another 30 s; send fewer requests, or raise "
            "the limit"
        )
        assert error.retry_at is not None
        assert error.retry_at.timestamp() == clock.wall + 30
        assert (error.key, error.retryable) == (KEY, True)


async def test_a_caller_who_cannot_wait_for_an_outage_gets_its_end() -> None:
    """The error names the seconds that are left and when to try again; at the end there is none."""
    clock = ManualClock()
    pauses = new_pauses(clock, [])
    response = new_response(OKTAS, 503, {"Retry-After": "30"})
    pauses.learn(KEY, response, ServerError("no", status=503))
    error = pauses.error(KEY, -math.inf)

    assert isinstance(error, ServerError)
    assert error.args[0] == (
        "Okta asked for no request for another 30 s; this is a failure of the server, so try again "
        "later"
    )
    assert error.retry_at == datetime.fromtimestamp(clock.wall + 30, UTC)
    assert (error.status, error.key, error.retryable) == (503, KEY, True)
    clock.boot += 30
    assert pauses.error(KEY, -math.inf) is None


async def test_a_pause_is_shared_with_its_end_by_oktas_clock() -> None:
    """Other processes get the end of the pause by Okta's clock, which is 30 s ahead here."""
    shared: list[tuple[TokenKey, float, float]] = []

    def publish_pause(key: TokenKey, seconds: float, *, until: float) -> None:
        shared.append((key, seconds, until))

    clock = ManualClock()
    pauses = new_pauses(clock, [], SimpleNamespace(publish_pause=publish_pause))
    pauses.learn(
        KEY,
        new_response(b"", 429, {"Retry-After": "20"}),
        RateLimitedError("no", retry_at=datetime.fromtimestamp(NOW, UTC)),
    )

    assert shared == [(KEY, 20.0, clock.wall + 30 + 20)]
