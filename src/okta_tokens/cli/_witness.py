"""What is to be seen of answers that the provider does not tell: TLS, the time, the limit."""

from __future__ import annotations

import re
import ssl
import time
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import aiohttp

from okta_tokens import __version__
from okta_tokens.cli._network_checks import Greeting, Handshake, Route
from okta_tokens.cli._token_checks import RateLimit

_NUMBER = re.compile(r"[0-9]{1,15}")


class Witness:
    """Watches a session. Of the requests, which hold credentials, it looks at the method alone."""

    def __init__(self) -> None:
        self.rate_limit: RateLimit | None = None
        """By the last answer to a token request; None if it told none."""
        self._handshake: Handshake | None = None
        self._sent_at = 0.0
        self._offset: float | None = None
        self._margin = 0.0

    def session(self, route: Route) -> aiohttp.ClientSession:
        """Return a session that is watched, and in all else like a provider's own.

        Args:
            route: How to get to Okta.
        """
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(self._note_sending)
        trace.on_request_end.append(self._note_answer)
        return aiohttp.ClientSession(
            # What is said unasked on an idle connection must not be taken for an answer.
            connector=aiohttp.TCPConnector(ssl=self._ssl_context(), force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"okta-tokens/{__version__}"},
            proxy=route.proxy,
            trace_configs=[trace],
        )

    def greeting(self, error: BaseException | None) -> Greeting:
        """Return what was seen of the first request.

        Args:
            error: Why there was no answer; None if there was one.
        """
        return Greeting(
            error=error, handshake=self._handshake, offset=self._offset, margin=self._margin
        )

    def _ssl_context(self) -> ssl.SSLContext:
        """Return what trusts whom the machine trusts, and takes note of whom it did."""
        witness = self

        class Watched(ssl.SSLObject):
            def do_handshake(self) -> None:
                super().do_handshake()
                witness._handshake = Handshake(
                    at=time.time(),
                    version=str(self.version()),
                    certificate=self.getpeercert() or {},
                )

        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])  # as aiohttp's own does
        context.sslobject_class = Watched
        return context

    async def _note_sending(self, *_: object) -> None:
        self._sent_at = time.time()

    async def _note_answer(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, ended: aiohttp.TraceRequestEndParams
    ) -> None:
        received_at, answer = time.time(), ended.response
        date = _date(answer)
        if date is not None:
            self._offset = date - (self._sent_at + received_at) / 2
            self._margin = 0.5 + (received_at - self._sent_at) / 2
        if ended.method == "POST":
            self.rate_limit = _rate_limit(answer, received_at if date is None else date)


def _date(answer: aiohttp.ClientResponse) -> float | None:
    """Return the middle of the second that `Date` tells, in seconds since the epoch."""
    with suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(answer.headers.get("Date", ""))
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp() + 0.5
    return None


def _rate_limit(answer: aiohttp.ClientResponse, now: float) -> RateLimit | None:
    """Return the limit that an answer tells, also where a proxy has repeated a header."""
    limits, remaining, resets = (
        [
            int(number)
            for value in answer.headers.getall(f"X-Rate-Limit-{name}", [])
            for number in _NUMBER.findall(value)
        ]
        for name in ("Limit", "Remaining", "Reset")
    )
    if not (limits and remaining and resets):
        return None
    return RateLimit(min(limits), min(remaining), max(0.0, max(resets) - now))
