"""The circuit breaker: its breaks, its probes and its events."""

from __future__ import annotations

import pytest

from okta_tokens._sharing.circuit_breaker import CircuitBreaker
from okta_tokens.events import Event, StoreFailed, StoreRecovered
from tests.clock import ManualClock


class Breaker(CircuitBreaker):
    """A circuit breaker with a clock that a test moves.

    Args:
        draw: What every draw from the unit interval returns.
    """

    def __init__(self, draw: float = 1.0) -> None:
        self.clock = ManualClock()
        self.events: list[Event] = []
        super().__init__(self.clock, lambda: draw, self.events.append)

    def break_length(self) -> float:
        """Return the seconds until a call is allowed, in steps of half a second."""
        began = self.clock.boot
        while not self.allows_call():
            self.clock.boot += 0.5
        return self.clock.boot - began


def test_an_answer_after_the_break_lets_the_next_call_through() -> None:
    """After the break, an answered probe allows the next call at once; during a break, it does not.

    The break is over for good only after a successful write.
    """
    breaker = Breaker()
    breaker.record_failure("x")
    breaker.record_answer()
    assert not breaker.allows_call()

    assert breaker.break_length() > 0
    assert not breaker.allows_call()
    breaker.record_answer()
    assert breaker.allows_call()
    assert not breaker.is_available


def test_without_a_failure_every_call_is_allowed() -> None:
    """As long as no call failed, every call is allowed, and a success emits no event."""
    breaker = Breaker()
    breaker.record_success()

    assert all(breaker.allows_call() for _ in range(10))
    assert breaker.events == []


@pytest.mark.parametrize(
    ("draw", "lengths"), [(0.0, [1, 2, 4, 8, 15, 15]), (1.0, [2, 4, 8, 16, 30, 30])]
)
def test_breaks_double_up_to_thirty_seconds(draw: float, lengths: list[float]) -> None:
    """A break doubles with each failure in a row, up to a random 15 to 30 seconds."""
    breaker = Breaker(draw)
    measured = []
    for _ in lengths:
        breaker.record_failure("ConnectionError")
        measured.append(breaker.break_length())

    assert measured == lengths


def test_no_number_of_failures_overflows() -> None:
    """After two thousand failures in a row the break is as long as the longest one."""
    breaker = Breaker()
    for _ in range(2_000):
        breaker.clock.boot += 30
        breaker.record_failure("ConnectionError")

    assert breaker.break_length() == 30


def test_calls_that_fail_together_are_one_failure() -> None:
    """If many calls are under way when the store fails, the break is as short as after one call."""
    breaker = Breaker()
    for length in (2, 4):
        for _ in range(20):
            breaker.record_failure("ConnectionError")

        assert breaker.break_length() == length
    assert len(breaker.events) == 1


def test_after_a_break_one_call_per_second_is_allowed() -> None:
    """After a break one call per second may probe the store, until a call succeeds."""
    breaker = Breaker()
    breaker.record_failure("ConnectionError")
    breaker.clock.boot += 1.99
    assert not breaker.allows_call()

    breaker.clock.boot += 0.01
    for _ in range(3):
        assert breaker.allows_call()
        assert not breaker.allows_call()
        breaker.clock.boot += 0.99
        assert not breaker.allows_call()
        breaker.clock.boot += 0.02

    breaker.record_success()
    assert all(breaker.allows_call() for _ in range(10))


def test_an_outage_emits_one_event_at_each_end() -> None:
    """The first failure and the success after it emit an event; further failures do not."""
    breaker = Breaker()
    breaker.record_failure("TimeoutError")
    breaker.clock.boot += 5
    breaker.record_failure("ConnectionError")
    breaker.clock.boot += 7
    breaker.record_success()
    breaker.record_success()

    assert breaker.events == [
        StoreFailed(host=None, reason="TimeoutError", after=2.0),
        StoreRecovered(seconds=12.0),
    ]


def test_a_success_resets_the_breaks() -> None:
    """After a success the next break is as short as the first one, and has its own events."""
    breaker = Breaker()
    for _ in range(3):
        breaker.record_failure("ConnectionError")
        breaker.clock.boot += 100
    breaker.record_success()
    breaker.record_failure("ConnectionError")

    assert breaker.break_length() == 2
    breaker.record_success()
    assert breaker.events[2:] == [
        StoreFailed(host=None, reason="ConnectionError", after=2.0),
        StoreRecovered(seconds=2.0),
    ]
