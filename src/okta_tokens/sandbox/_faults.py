"""Faults on demand: what a token endpoint does instead of answering as it should."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from okta_tokens.sandbox._answers import (
    HTML,
    JSON,
    NO_HEADERS,
    TOO_MANY_REQUESTS,
    Answer,
    Refusal,
    server_error,
)
from okta_tokens.sandbox._limits import RateState

_HTML_BODY: Final = b"<!doctype html><title>Error</title><h1>Something went wrong</h1>\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one answer. Made by the constructors below, not by hand.

    Faults with no `reply` of their own spoil the true answer on its way: the request is judged as
    ever, and a token that it is granted counts as issued.

    Args:
        name: What it is called in a repr.
        reply: The answer that is sent instead of the true one; ``None`` sends the true one.
        seconds_per_byte: How long each byte of the body takes.
        cut: The share of the body after which the connection is dropped. At 0 not even the head
            is sent.
        size: The size in bytes of a body that is streamed instead.
        exhausted: Whether the rate-limit headers say that nothing remains of the window.
        reset_in: Seconds until ``X-Rate-Limit-Reset`` then; ``None`` is the true window's end.
        crowded: Whether the rate-limit headers are those of a concurrency limit.
    """

    name: str
    reply: Answer | Refusal | None = None
    seconds_per_byte: float = 0.0
    cut: float | None = None
    size: int | None = None
    exhausted: bool = False
    reset_in: float | None = None
    crowded: bool = False

    @classmethod
    def status(cls, status: int = 503, *, html: bool = False) -> Self:
        """Answer with a 5xx, in Okta's format (E0000010 for 503, else E0000009) or as HTML.

        Raises:
            ValueError: `status` is not a 5xx.
        """
        if status not in range(500, 600):
            raise ValueError("Fault.status is for 5xx; Fault.answer answers anything")
        if html:
            return cls(name=f"status {status}", reply=Answer(status, _HTML_BODY, HTML))
        return cls(name=f"status {status}", reply=server_error(status))

    @classmethod
    def html(cls, status: int = 200) -> Self:
        """Answer with a web page, as proxies and firewalls do."""
        return cls(name="html", reply=Answer(status, _HTML_BODY, HTML))

    @classmethod
    def junk(cls) -> Self:
        """Answer 200 with a body that claims to be JSON and is neither that nor text."""
        return cls(name="junk", reply=Answer(200, b'{"access_token":\x00\xff\xfe]'))

    @classmethod
    def empty(cls, status: int = 200) -> Self:
        """Answer with an empty body."""
        return cls(name="empty", reply=Answer(status))

    @classmethod
    def drip(cls, seconds_per_byte: float = 0.05) -> Self:
        """Send the true answer's body byte by byte."""
        return cls(name="drip", seconds_per_byte=seconds_per_byte)

    @classmethod
    def drop(cls) -> Self:
        """Drop the connection without an answer, having judged the request."""
        return cls(name="drop", cut=0.0)

    @classmethod
    def truncate(cls) -> Self:
        """Drop the connection after half of the true answer's body."""
        return cls(name="truncate", cut=0.5)

    @classmethod
    def huge(cls, size: int = 1024 * 1024) -> Self:
        """Answer 200 with a JSON body of `size` bytes, streamed."""
        return cls(name="huge", reply=Answer(), size=size)

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Self:
        """Answer with a redirect to `location`."""
        return cls(name="redirect", reply=Answer(status, headers={"Location": location}))

    @classmethod
    def answer(
        cls,
        status: int = 200,
        body: bytes | str | Mapping[str, object] = b"",
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        content_type: str = JSON,
    ) -> Self:
        """Answer anything at all.

        Args:
            status: The HTTP status.
            body: Bytes as they are, a string as UTF-8, a mapping as JSON.
            headers: Further headers; they win over the server's own.
            content_type: The ``Content-Type`` header.
        """
        if isinstance(body, Mapping):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        return cls(name="answer", reply=Answer(status, data, content_type, dict(headers)))

    @classmethod
    def refuse(cls, status: int, error: str, description: str = "") -> Self:
        """Refuse in OAuth's format (RFC 6749 §5.2)."""
        return cls(name="refuse", reply=Refusal(status, error, description))

    @classmethod
    def rate_limited(cls, reset_in: float | None = None) -> Self:
        """Answer 429; the window ends in `reset_in` seconds, by default when the true one does."""
        return cls(name="rate limited", reply=TOO_MANY_REQUESTS, exhausted=True, reset_in=reset_in)

    @classmethod
    def concurrency_limited(cls) -> Self:
        """Answer 429 as for too many requests at once: a limit of 0, and 0 remaining."""
        return cls(name="concurrency limited", reply=TOO_MANY_REQUESTS, crowded=True)

    def rate(self, now: float, true: RateState) -> RateState:
        """Return what the rate-limit headers say under this fault, instead of `true`."""
        if self.crowded:
            return RateState(0, 0, true.reset)
        if self.exhausted:
            reset = true.reset if self.reset_in is None else now + self.reset_in
            return RateState(true.limit, 0, reset)
        return true


DEFAULT_OUTAGE: Final = Fault.status(503)


class FaultPlan:
    """Which fault comes next: a queued one, else the lasting one, else an outage window's."""

    def __init__(self) -> None:
        self.queue: deque[Fault] = deque()
        self.lasting: Fault | None = None
        self.windows: Sequence[tuple[float, float]] = ()

    def take(self, uptime: float) -> Fault | None:
        """Return the fault of a request that arrives `uptime` seconds after the start."""
        if self.queue:
            return self.queue.popleft()
        if self.lasting is not None:
            return self.lasting
        out = any(start <= uptime < start + duration for start, duration in self.windows)
        return DEFAULT_OUTAGE if out else None
