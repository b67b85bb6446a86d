"""Faults: what a token endpoint does instead of responding correctly, and to which requests."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Self, TypeVar

from okta_tokens.sandbox._okta_errors import TOO_MANY_REQUESTS, server_error
from okta_tokens.sandbox._rate_limits import RateState
from okta_tokens.sandbox._responses import HTML, JSON, NO_HEADERS, ErrorResponse, Response

_T = TypeVar("_T")
_HTML_BODY: Final = b"<!doctype html><title>Error</title><h1>Something went wrong</h1>\n"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Fault:
    """A fault of one response. Create a fault with one of the class methods.

    `drip`, `drop` and `truncate` damage the true response while it is sent: the server handles the
    request as usual, and a token in the response counts as issued.
    """

    name: str
    """The name of the fault."""
    reply: Response | ErrorResponse | None = None  # in the place of the true one
    seconds_per_byte: float = 0.0  # before each further byte of the body
    # The fraction of the body after which the connection closes. At 0 the head is not sent either.
    cut: float | None = None
    size: int | None = None  # bytes of a generated body that replaces the body
    exhausted: bool = False  # the rate-limit headers report 0 remaining requests
    # Seconds until ``X-Rate-Limit-Reset`` if `exhausted`; ``None`` is the end of the true window.
    reset_in: float | None = None
    crowded: bool = False  # the rate-limit headers are those of a concurrency limit

    def __repr__(self) -> str:
        """Return the name, for the signatures in which a fault is the default."""
        return f"<Fault: {self.name}>"

    @classmethod
    def status(cls, status: int = 503, *, html: bool = False) -> Self:
        """Respond with a 5xx status.

        Args:
            status: The HTTP status.
            html: Whether the body is a web page instead of Okta's error format, with E0000010 for
                503 and E0000009 for any other status.

        Raises:
            ValueError: `status` is not a 5xx.
        """
        if status not in range(500, 600):
            raise ValueError(
                f"Fault.status: status {status} is invalid, because it is not a 5xx. "
                "Use Fault.answer for any other status."
            )
        if html:
            return cls(name=f"status {status}", reply=Response(status, _HTML_BODY, HTML))
        return cls(name=f"status {status}", reply=server_error(status))

    @classmethod
    def html(cls, status: int = 200) -> Self:
        """Respond with a web page, as proxies and firewalls do."""
        return cls(name="html", reply=Response(status, _HTML_BODY, HTML))

    @classmethod
    def junk(cls) -> Self:
        """Respond with a 200 whose ``Content-Type`` is JSON and whose body is not even text."""
        return cls(name="junk", reply=Response(200, b'{"access_token":\x00\xff\xfe]'))

    @classmethod
    def empty(cls, status: int = 200) -> Self:
        """Respond with an empty body."""
        return cls(name="empty", reply=Response(status))

    @classmethod
    def drip(cls, seconds_per_byte: float = 0.05) -> Self:
        """Send the body of the true response byte by byte."""
        return cls(name="drip", seconds_per_byte=seconds_per_byte)

    @classmethod
    def drop(cls) -> Self:
        """Handle the request, then close the connection without a response."""
        return cls(name="drop", cut=0.0)

    @classmethod
    def truncate(cls) -> Self:
        """Close the connection after half of the body of the true response."""
        return cls(name="truncate", cut=0.5)

    @classmethod
    def huge(cls, size: int = 1024 * 1024) -> Self:
        """Respond with a 200 and a streamed JSON body of `size` bytes."""
        return cls(name="huge", reply=Response(), size=size)

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Self:
        """Respond with a redirect to `location`."""
        return cls(name="redirect", reply=Response(status, headers={"Location": location}))

    @classmethod
    def answer(
        cls,
        status: int = 200,
        body: bytes | str | Mapping[str, object] = b"",
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        content_type: str = JSON,
    ) -> Self:
        """Respond with any status, body and headers.

        Args:
            status: The HTTP status.
            body: Bytes are sent unchanged, a string as UTF-8, a mapping as JSON.
            headers: Further headers; they override the server's own.
            content_type: The ``Content-Type`` header.
        """
        if isinstance(body, Mapping):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        return cls(name="answer", reply=Response(status, data, content_type, dict(headers)))

    @classmethod
    def refuse(cls, status: int, error: str, description: str = "") -> Self:
        """Respond with an error response in OAuth's format (RFC 6749 §5.2)."""
        return cls(name="refuse", reply=ErrorResponse(status, error, description))

    @classmethod
    def rate_limited(cls, reset_in: float | None = None) -> Self:
        """Respond with the 429 of a rate limit.

        Args:
            reset_in: Seconds until the window ends; ``None`` is the end of the true window.
        """
        return cls(name="rate limited", reply=TOO_MANY_REQUESTS, exhausted=True, reset_in=reset_in)

    @classmethod
    def concurrency_limited(cls) -> Self:
        """Respond with the 429 of a concurrency limit: a limit of 0, and 0 remaining."""
        return cls(name="concurrency limited", reply=TOO_MANY_REQUESTS, crowded=True)

    @staticmethod
    def names() -> list[str]:
        """Return the names that `named` knows, except those of the 5xx statuses."""
        return [*_NAMED]

    @staticmethod
    def named(name: str) -> Fault:
        """Return the fault with a name: a 5xx status such as ``"503"``, or one of `names`.

        Args:
            name: The name, as on the command line.

        Raises:
            ValueError: No fault has this name. The message does not repeat the name.
        """
        if name in _NAMED:
            return _NAMED[name]()
        if not _FIVE_XX.fullmatch(name):
            raise ValueError(f"give a fault, one of: a 5xx status, {', '.join(_NAMED)}")
        return Fault.status(int(name))

    def _rate(self, now: float, true: RateState) -> RateState:
        """Return the values of the rate-limit headers under this fault.

        Args:
            now: Seconds since the epoch.
            true: The true values.
        """
        if self.crowded:
            return RateState(0, 0, true.reset)
        if self.exhausted:
            reset = true.reset if self.reset_in is None else now + self.reset_in
            return RateState(true.limit, 0, reset)
        return true


DEFAULT_OUTAGE: Final = Fault.status(503)

_FIVE_XX: Final = re.compile("5[0-9]{2}")
_NAMED: Final[Mapping[str, Callable[[], Fault]]] = {
    "outage": lambda: DEFAULT_OUTAGE,
    "html": Fault.html,
    "junk": Fault.junk,
    "empty": Fault.empty,
    "huge": Fault.huge,
    "drip": Fault.drip,
    "drop": Fault.drop,
    "truncate": Fault.truncate,
    "redirect": lambda: Fault.redirect("https://example.com/"),
    "rate-limit": Fault.rate_limited,
    "concurrency-limit": Fault.concurrency_limited,
}


@dataclass(frozen=True, slots=True)
class Timed(Generic[_T]):
    """A value that ends at a time.

    Args:
        value: The value.
        until: The end in seconds since the epoch, by the server's `wall_time`.
    """

    value: _T
    until: float


class FaultPlan:
    """The faults of the next token requests."""

    def __init__(self) -> None:
        self.queue: deque[Fault] = deque()
        self.timed: Timed[Fault] | None = None
        self.lasting: Fault | None = None
        self.windows: Sequence[tuple[float, float]] = ()

    def clear(self) -> None:
        """End every fault, and cancel the planned outages."""
        self.queue.clear()
        self.timed = self.lasting = None
        self.windows = ()

    def take(self, now: float, started_at: float) -> Fault | None:
        """Return the fault of a token request, or ``None``.

        Five cases, in this order: the next queued fault, the timed fault, the lasting fault, a 503
        within an outage window, no fault.

        Args:
            now: The arrival of the request, in seconds since the epoch.
            started_at: The start of the server, in seconds since the epoch.
        """
        if self.queue:
            return self.queue.popleft()
        return next((fault for fault, _ in self.under_way(now, started_at)), None)

    def under_way(self, now: float, started_at: float) -> Iterator[tuple[Fault, float | None]]:
        """Yield the faults of more than single requests, and the seconds after which each ends.

        The first fault is the one that requests get. ``None`` is no end.

        Args:
            now: Seconds since the epoch.
            started_at: The start of the server, in seconds since the epoch.
        """
        if self.timed is not None and now < self.timed.until:
            yield self.timed.value, self.timed.until - now
        if self.lasting is not None:
            yield self.lasting, None
        for start, duration in self.windows:
            if start <= now - started_at < start + duration:
                yield DEFAULT_OUTAGE, started_at + start + duration - now
