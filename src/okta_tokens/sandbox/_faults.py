"""Faults on demand: what happens to a token request instead of an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from okta_tokens.sandbox._answers import (
    INTERNAL_ERROR,
    READ_ONLY,
    TOO_MANY_REQUESTS,
    Reply,
    html_page,
    oauth_error,
    okta_error,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with one token request; made by its class methods.

    Args:
        reply: What is answered; None answers as if nothing were wrong.
        cut_after: Close the connection after so many bytes of the body; 0 sends nothing at all,
            not even a status. None sends everything.
        seconds_per_byte: Wait so long after each byte of the body.
    """

    reply: Reply | None = None
    cut_after: int | None = None
    seconds_per_byte: float = 0.0

    @classmethod
    def status(cls, status: int = 503, *, html: bool = False) -> Fault:
        """Answer 5xx, in Okta's own format or as a page of HTML."""
        if html:
            return cls(html_page(status))
        _, code, summary = READ_ONLY if status == READ_ONLY[0] else INTERNAL_ERROR
        return cls(okta_error(status, code, summary))

    @classmethod
    def html(cls, status: int = 200) -> Fault:
        """Answer with a page, as a captive portal does."""
        return cls(html_page(status))

    @classmethod
    def junk(cls) -> Fault:
        """Answer with bytes that are nothing, under the type of JSON."""
        return cls(Reply(200, b'\xff\xfe{"access_token":\x00', error="junk"))

    @classmethod
    def empty(cls, status: int = 200) -> Fault:
        """Answer without a body."""
        return cls(Reply(status, b"", error="empty"))

    @classmethod
    def huge(cls, size: int = 1024 * 1024) -> Fault:
        """Answer with so many bytes of white space before the end of a JSON object."""
        return cls(Reply(200, b"{" + b" " * size + b"}", error="huge"))

    @classmethod
    def redirect(cls, location: str) -> Fault:
        """Send the client elsewhere."""
        return cls(Reply(307, b"", headers={"Location": location}, error="redirect"))

    @classmethod
    def answer(
        cls,
        status: int = 200,
        body: bytes | str | Mapping[str, object] = b"",
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Fault:
        """Answer with anything at all."""
        if isinstance(body, Mapping):
            body = json.dumps(body)
        content = body.encode() if isinstance(body, str) else body
        return cls(Reply(status, content, content_type, headers or {}, error=f"answer-{status}"))

    @classmethod
    def refuse(cls, status: int, error: str, description: str = "") -> Fault:
        """Refuse in the format of RFC 6749."""
        return cls(oauth_error(status, error, description))

    @classmethod
    def rate_limited(cls, *, concurrency: bool = False) -> Fault:
        """Answer 429; the headers tell when the window resets, as for a real one."""
        reply = okta_error(*TOO_MANY_REQUESTS)
        headers = {"X-Rate-Limit-Remaining": "0"}
        if concurrency:
            headers["X-Rate-Limit-Limit"] = "0"
        return cls(Reply(reply.status, reply.body, headers=headers, error=reply.error))

    @classmethod
    def drop(cls) -> Fault:
        """Close the connection without an answer."""
        return cls(cut_after=0)

    @classmethod
    def truncate(cls, after: int = 10) -> Fault:
        """Close the connection after so many bytes of a good answer's body."""
        return cls(cut_after=after)

    @classmethod
    def drip(cls, seconds_per_byte: float = 0.05) -> Fault:
        """Send a good answer byte by byte."""
        return cls(seconds_per_byte=seconds_per_byte)
