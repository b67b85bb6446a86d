"""Rate windows open with a request, count, refuse, and end."""

from __future__ import annotations

from okta_tokens.sandbox._limits import NOMINAL_LIMIT, RateState, RateWindow


def test_a_window_refuses_what_is_over_its_limit_until_it_ends() -> None:
    """Requests over the limit are refused until the window that the first one opened ends."""
    window = RateWindow(2, 60)

    assert [window.take(now).exceeded for now in (1000, 1010, 1020, 1059.9, 1060)] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_the_state_says_what_is_left_and_until_when() -> None:
    """Remaining never falls below zero, and the reset is the end of the open window."""
    window = RateWindow(1, 60)

    assert window.take(1000.5) == RateState(1, 0, 1060.5)
    assert window.take(1001) == RateState(1, 0, 1060.5, exceeded=True)


def test_no_limit_shows_one_and_enforces_none() -> None:
    """Without a limit the headers show a nominal one, of which something always remains."""
    window = RateWindow(None, 60)
    states = [window.take(1000) for _ in range(NOMINAL_LIMIT + 5)]

    assert not any(state.exceeded for state in states)
    assert states[0].remaining == NOMINAL_LIMIT - 1
    assert states[-1].remaining == 1


def test_a_clock_set_back_opens_a_new_window() -> None:
    """When the clock jumps back, the window that lies in the future is over."""
    window = RateWindow(1, 60)
    window.take(1000)

    assert not window.take(10).exceeded


def test_headers_are_whole_seconds_of_the_servers_own_clock() -> None:
    """The reset is rounded up, and off by as much as the server's clock."""
    assert RateState(5, 3, 1000.2).headers(30) == {
        "X-Rate-Limit-Limit": "5",
        "X-Rate-Limit-Remaining": "3",
        "X-Rate-Limit-Reset": "1031",
    }
