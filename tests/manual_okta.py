"""An Okta in memory that responds when the test says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import aiohttp
from multidict import CIMultiDict

from tests.streams import Stream


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a request.

    Args:
        kind: The name of a failure; empty for a token.
        amount: The lifetime of the token, or the pause that a 429 demands, in seconds.
    """

    kind: str = ""
    amount: int = 0


ERRORS = {
    "unavailable": "ServerError",
    "refused": "OAuthError",
    "reset": "TransportError",
    "no response": "TransportError",
    "junk": "InvalidResponseError",
    "stale": "InvalidResponseError",
    "limited": "RateLimitedError",
}
"""The class of error that callers get, by failure."""
PERMANENT = {"refused"}
"""Failures after which the provider makes no further attempt."""

_FAILURES: dict[str, tuple[int, Mapping[str, object]]] = {
    "unavailable": (503, {"errorCode": "E0000009"}),
    "refused": (401, {"error": "invalid_client"}),
    "junk": (200, {}),
    "limited": (429, {"errorCode": "E0000047"}),
}


class Recorder(Protocol):
    """An object that records the requests."""

    def request_started(self, request: Request) -> None:
        """Record that a request has arrived."""

    def request_ended(self, request: Request, reply: Reply | None) -> None:
        """Record that a request has ended; the reply is `None` if the client gave up."""


class ManualOkta:
    """An Okta that stands in for `aiohttp.ClientSession` and responds when the test says so.

    Args:
        recorder: Records the requests.
    """

    auth = None
    trust_env = False
    headers: Mapping[str, str] = {}

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.pending: list[Request] = []
        """The requests without a response, in the order of their arrival."""
        self.default_replies: dict[str, Reply] = {}
        """The reply that each request to a domain gets at once, by domain."""
        self.received = 0

    def post(self, url: str, *, data: bytes, **_: object) -> Request:
        """Return a request as an async context manager, as aiohttp does."""
        self.received += 1
        scope = parse_qs(data.decode())["scope"][0]
        return Request(self, urlsplit(url).hostname or "", scope, f"token-{scope}-{self.received}")


class Request:
    """A request, from its arrival to the end of its response."""

    def __init__(self, okta: ManualOkta, domain: str, scope: str, value: str) -> None:
        self._okta = okta
        self.domain = domain
        self.scope = scope
        self.value = value
        """The token in the response if the request succeeds."""
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Response:
        okta = self._okta
        okta.recorder.request_started(self)
        okta.pending.append(self)
        if self.domain in okta.default_replies:
            self.reply.set_result(okta.default_replies[self.domain])
        reply = None
        try:
            reply = await self.reply
        finally:
            okta.pending.remove(self)
            okta.recorder.request_ended(self, reply)
        if reply.kind == "reset":
            raise aiohttp.ServerDisconnectedError
        return Response(reply, self.value)

    async def __aexit__(self, *_: object) -> None:
        """Do nothing, because there is no connection."""


class Response:
    """A response with the attributes that the provider uses of aiohttp's responses."""

    def __init__(self, reply: Reply, value: str) -> None:
        lifetime = 0 if reply.kind == "stale" else reply.amount
        token = {"access_token": value, "token_type": "Bearer", "expires_in": lifetime}
        self.status, fields = _FAILURES.get(reply.kind, (200, token))
        self.headers = CIMultiDict[str]()
        if reply.kind == "limited":
            self.headers["Retry-After"] = str(reply.amount)
        self._body = json.dumps(fields).encode()

    @property
    def content(self) -> Stream:
        """The stream of the body."""
        return Stream(self._parts())

    async def _parts(self) -> AsyncIterator[bytes]:
        """Yield the body in one part."""
        yield self._body
