"""Rate limits and overload: what the headers of a response ask for."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okta_tokens._endpoint.rate_limits import (
    is_concurrency_limit,
    requested_pause,
    requested_wait,
)
from okta_tokens.errors import ServerError
from tests.endpoint.responses import DATE, NOW, QUICK, header_lists, new_response, reset_in

LATER = format_datetime(parsedate_to_datetime(DATE) + timedelta(seconds=90), usegmt=True)

# What a 429 asks for


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        pytest.param([("X-Rate-Limit-Reset", reset_in(30))], 31, id="reset"),
        pytest.param([("X-Rate-Limit-Reset", reset_in(0))], 1, id="now"),
        pytest.param([("X-Rate-Limit-Reset", reset_in(-1))], 0, id="just-over"),
        pytest.param([("X-Rate-Limit-Reset", reset_in(-500))], 0, id="long-over"),
        pytest.param([("X-Rate-Limit-Reset", reset_in(5, 40, 20))], 41, id="joined"),
        pytest.param(
            [("X-Rate-Limit-Reset", reset_in(40)), ("X-Rate-Limit-Reset", reset_in(5))],
            41,
            id="repeated",
        ),
        pytest.param([("X-Rate-Limit-Reset", f"soon,{reset_in(7)}, ,-5")], 8, id="partly-invalid"),
        pytest.param([("X-Rate-Limit-Reset", "soon")], None, id="invalid"),
        pytest.param([("X-Rate-Limit-Reset", "9" * 16)], None, id="too-long"),
        pytest.param([("Retry-After", "17")], 17, id="retry-after"),
        pytest.param([("Retry-After", "5"), ("Retry-After", "17, 6")], 17, id="retry-after-again"),
        pytest.param([("Retry-After", DATE)], 0, id="retry-after-now"),
        pytest.param([("Retry-After", LATER)], 90, id="retry-after-date"),
        pytest.param([("Retry-After", LATER), ("Retry-After", "95")], 95, id="date-and-seconds"),
        pytest.param([("Retry-After", "soon")], None, id="retry-after-invalid"),
        pytest.param(
            [("X-Rate-Limit-Reset", reset_in(3)), ("Retry-After", "60")], 4, id="reset-first"
        ),
        pytest.param(
            [("X-Rate-Limit-Reset", "soon"), ("Retry-After", "60")], 60, id="reset-invalid"
        ),
        pytest.param([("Retry-After", f"17{',' * 254}")], 17, id="longest"),
        pytest.param([("Retry-After", f"17{',' * 255}")], None, id="longer"),
        pytest.param([("Retry-After", "5")] * 15 + [("Retry-After", "17")], 17, id="sixteenth"),
        pytest.param([("Retry-After", "5")] * 16 + [("Retry-After", "17")], 5, id="seventeenth"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_a_pause_ends_one_second_after_the_latest_reset(
    headers: list[tuple[str, str]], pause: float | None
) -> None:
    """A pause ends a second after the latest reset, by the server's clock alone."""
    response = new_response(b"", 429, [("Date", DATE), *headers])

    assert requested_pause(response, clock_offset=0.0) == pause
    assert requested_pause(response, clock_offset=-86_400.0) == pause


@pytest.mark.parametrize("name", ["X-Rate-Limit-Reset", "Retry-After"])
def test_a_requested_pause_is_at_most_a_day(name: str) -> None:
    """A pause that a 429 asks for is cut to a day."""
    response = new_response(b"", 429, {name: "9" * 15})

    assert requested_pause(response, clock_offset=0.0) == 24 * 3_600


@pytest.mark.parametrize("date", [None, "yesterday"])
@pytest.mark.parametrize(
    ("header", "value", "pause"),
    [("X-Rate-Limit-Reset", reset_in(30), 31), ("Retry-After", LATER, 90)],
)
def test_without_a_date_the_clock_offset_counts(
    date: str | None, header: str, value: str, pause: float
) -> None:
    """Without a valid `Date` the server's time is this machine's time plus the clock offset."""
    headers = {header: value} | ({} if date is None else {"Date": date})
    response = new_response(b"", 429, headers)

    assert requested_pause(response, clock_offset=0.0) == pause
    assert requested_pause(response, clock_offset=20.0) == pause - 20
    assert requested_pause(response, clock_offset=-20.0) == pause + 20


@QUICK
@given(header_lists, st.floats(-1e6, 1e6))
def test_any_429_asks_for_a_finite_pause_or_for_none(
    headers: list[tuple[str, str]], clock_offset: float
) -> None:
    """Whatever the headers of a 429 hold, the pause is `None` or a finite time from now on."""
    response = new_response(b"", 429, headers)
    pause = requested_pause(response, clock_offset)

    assert pause is None or 0 <= pause < math.inf
    assert isinstance(is_concurrency_limit(response), bool)


def test_a_wait_lasts_until_the_instant_in_the_error() -> None:
    """An overloaded server's instant is a wait from now on; one that has passed is no wait."""
    error = ServerError("no", status=503, retry_at=datetime.fromtimestamp(NOW, UTC))

    waits = [requested_wait(error, NOW - left, 60.0) for left in (61.0, 0.5, 0.0, -5.0)]
    assert waits == [60.0, 0.5, 0.0, 0.0]


# Limits on concurrent requests


@pytest.mark.parametrize("limit", [" 0 ", "00", "0, 0"])
def test_a_limit_of_zero_is_a_concurrency_limit(limit: str) -> None:
    """A limit of zero, also a repeated one, is a limit on concurrent requests."""
    headers = {"x-rate-limit-limit": limit, "X-Rate-Limit-Remaining": "0"}

    assert is_concurrency_limit(new_response(b"", 429, headers))


@pytest.mark.parametrize("limit", ["600", "0, 600", "-", None])
def test_any_other_limit_is_not_a_concurrency_limit(limit: str | None) -> None:
    """Any other limit, or a missing limit, is a limit on the requests in a window."""
    headers = {"X-Rate-Limit-Remaining": "0"}
    if limit is not None:
        headers["X-Rate-Limit-Limit"] = limit

    assert not is_concurrency_limit(new_response(b"", 429, headers))
