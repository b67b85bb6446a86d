"""Rate windows count requests, and refuse those over the limit."""

from __future__ import annotations

from okta_tokens.sandbox._rate_limits import NOMINAL_LIMIT, RateState, RateWindow


def test_requests_over_the_limit_are_refused_until_the_window_ends() -> None:
    """The first request opens a window; requests over the limit are refused until it ends."""
    window = RateWindow(2, 60)

    assert [window.take(now).exceeded for now in (1000, 1010, 1020, 1059.9, 1060)] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_the_state_has_the_remaining_requests_and_the_reset() -> None:
    """`remaining` is never negative, and `reset` is the end of the open window."""
    window = RateWindow(1, 60)

    assert window.take(1000.5) == RateState(1, 0, 1060.5)
    assert window.take(1001) == RateState(1, 0, 1060.5, exceeded=True)


def test_no_limit_shows_one_and_enforces_none() -> None:
    """Without a limit the headers show a nominal limit, with at least one request remaining."""
    window = RateWindow(None, 60)
    states = [window.take(1000) for _ in range(NOMINAL_LIMIT + 5)]

    assert not any(state.exceeded for state in states)
    assert states[0].remaining == NOMINAL_LIMIT - 1
    assert states[-1].remaining == 1


def test_a_clock_set_back_opens_a_new_window() -> None:
    """If the clock is set back to a time before the open window, that window ends."""
    window = RateWindow(1, 60)
    window.take(1000)

    assert not window.take(10).exceeded


def test_the_reset_header_is_in_whole_seconds_of_the_servers_clock() -> None:
    """The reset is rounded up, and shifted by the offset of the server's clock."""
    assert RateState(5, 3, 1000.2).headers(30) == {
        "X-Rate-Limit-Limit": "5",
        "X-Rate-Limit-Remaining": "3",
        "X-Rate-Limit-Reset": "1031",
    }
