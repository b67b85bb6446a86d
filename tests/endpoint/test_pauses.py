"""Pauses: how long a domain gets no requests after a 429."""

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.clock_offset import ClockOffset
from okta_tokens._endpoint.pauses import Pause, Pauses
from tests.clock import ManualClock
from tests.endpoint.responses import DATE, new_response, reset_in


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


@pytest.mark.parametrize(("wait", "refused"), [(29.9, True), (30.0, False), (31.0, False)])
def test_a_caller_who_cannot_wait_gets_the_end_of_the_pause(*, wait: float, refused: bool) -> None:
    """The error names the seconds that are left, when to try again, and what to do."""
    clock = ManualClock()
    pauses = Pauses(
        "https://acme.okta.com",
        clock=clock,
        clock_offset=ClockOffset(),
        max_pause=60.0,
        emit=Emitter(()),
        store=None,
    )
    key = TokenKey(
        OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("a-secret")), frozenset({"a"})
    )
    are_over = [pauses.are_over]
    pauses.adopt(key, 30)
    are_over.append(pauses.are_over)
    assert are_over == [True, False]
    error = pauses.error(key, clock.boot + wait)

    assert (error is not None) == refused
    if error is not None:
        assert error.args[0] == (
            "Okta's rate limit allows no request for another 30 s; send fewer requests, or raise "
            "the limit"
        )
        assert error.retry_at is not None
        assert error.retry_at.timestamp() == clock.wall + 30
        assert (error.key, error.retryable) == (key, True)
