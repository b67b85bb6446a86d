"""Rate limits and overload: what the headers of a 429 or a 503 ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from okta_tokens._endpoint.response import Response, parse_date
from okta_tokens.errors import ServerError

MAX_REQUESTED_PAUSE = 86_400.0
"""Seconds: a longer pause in a 429 is cut to this. Okta's own windows are minutes."""

_MAX_VALUES = 16  # of one header
_MAX_VALUE = 256  # characters
_DIGITS = re.compile(r"[0-9]{1,15}")


def requested_pause(response: Response, clock_offset: float) -> float | None:
    """Return the pause that a 429 asks for.

    Okta names the instant at which its window resets, in `X-Rate-Limit-Reset`. The pause is the
    time from the response's own `Date` to the reset, so that only the server's clock counts, plus
    one second, since both have whole seconds. If there are several values, the latest one wins.
    Other servers send `Retry-After`. A pause is never longer than `MAX_REQUESTED_PAUSE`.

    Args:
        response: The 429.
        clock_offset: Seconds by which the server's clock is ahead of this machine's, for a response
            without `Date`.

    Returns:
        The seconds, or None if the response names no pause.
    """
    resets = header_integers(response.headers.getall("X-Rate-Limit-Reset", []))
    if resets:
        now = _server_time(response, clock_offset)
        return min(max(0.0, max(resets) - now + 1), MAX_REQUESTED_PAUSE)
    return retry_after(response, clock_offset)


def retry_after(response: Response, clock_offset: float) -> float | None:
    """Return the wait that `Retry-After` asks for: seconds or a date (RFC 9110 section 10.2.3).

    Args:
        response: A response of any status.
        clock_offset: As for `requested_pause`.

    Returns:
        The seconds, at most `MAX_REQUESTED_PAUSE`; None if the response names no wait. If there are
        several values, the longest wait counts.
    """
    values = [*_short(response.headers.getall("Retry-After", []))]
    waits = [float(seconds) for seconds in header_integers(values)]
    dates = [date for value in values if (date := parse_date(value)) is not None]
    if dates:
        waits.append(max(0.0, max(dates) - _server_time(response, clock_offset)))
    return min(max(waits), MAX_REQUESTED_PAUSE) if waits else None


def requested_wait(error: Exception, wall_time: float, max_pause: float) -> float:
    """Return for how many seconds a server that is overloaded wants no other request.

    Args:
        error: Why there is no token.
        wall_time: The present moment, in seconds since the epoch.
        max_pause: The longest wait that the policy allows, in seconds.
    """
    if not isinstance(error, ServerError) or error.retry_at is None:
        return 0.0
    return min(max(0.0, error.retry_at.timestamp() - wall_time), max_pause)


def _server_time(response: Response, clock_offset: float) -> float:
    now = response.server_time
    return response.received_at + clock_offset if now is None else now


def is_concurrency_limit(response: Response) -> bool:
    """Tell whether a 429 means too many concurrent requests.

    Okta then sends `X-Rate-Limit-Limit: 0`.

    Args:
        response: The 429.
    """
    return {*header_integers(response.headers.getall("X-Rate-Limit-Limit", []))} == {0}


def header_integers(values: Iterable[str]) -> list[int]:
    """Return the numbers in a header that proxies may have repeated or joined with commas.

    Args:
        values: The values of the header. Those after the sixteenth, and those of more than 256
            characters, are ignored.
    """
    parts = (part.strip() for value in _short(values) for part in value.split(","))
    return [int(part) for part in parts if _DIGITS.fullmatch(part)]


def _short(values: Iterable[str]) -> Iterator[str]:
    return (value for value in islice(values, _MAX_VALUES) if len(value) <= _MAX_VALUE)
