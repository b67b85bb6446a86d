"""An Okta that answers when it is told to, in place of the network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import aiohttp
from multidict import CIMultiDict


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with.

    Args:
        kind: What a failure is called; empty for a token.
        amount: The token's lifetime, or the pause that a 429 asks for, in seconds.
    """

    kind: str = ""
    amount: int = 0


ERRORS = {
    "unavailable": "ServerError",
    "refused": "OAuthError",
    "reset": "TransportError",
    "no answer": "TransportError",
    "junk": "InvalidResponseError",
    "stale": "InvalidResponseError",
    "limited": "RateLimitedError",
}
"""What callers get for each failure."""
HOPELESS = {"refused"}

_FAILURES: dict[str, tuple[int, Mapping[str, object]]] = {
    "unavailable": (503, {"errorCode": "E0000009"}),
    "refused": (401, {"error": "invalid_client"}),
    "junk": (200, {}),
    "limited": (429, {"errorCode": "E0000047"}),
}


class Witness(Protocol):
    """Who is told what Okta sees."""

    def asked(self, request: Request) -> None:
        """Take note of a request that has come."""

    def answered(self, request: Request, reply: Reply | None) -> None:
        """Take note of a request that is over; without a reply if it was given up."""


class Puppet:
    """What a provider needs of `aiohttp.ClientSession`.

    Args:
        witness: Who is told what happens.
    """

    auth = None
    trust_env = False
    headers: Mapping[str, str] = {}

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.pending: list[Request] = []
        """The requests that wait for an answer, in the order of their coming."""
        self.habits: dict[str, Reply] = {}
        """By domain: what it answers by itself."""
        self.received = 0

    def post(self, url: str, *, data: bytes, **_: object) -> Request:
        """Return a request as a context manager, as aiohttp does."""
        self.received += 1
        scope = parse_qs(data.decode())["scope"][0]
        return Request(self, urlsplit(url).hostname or "", scope, f"token-{scope}-{self.received}")


class Request:
    """One request, from its first byte to the end of its answer."""

    def __init__(self, okta: Puppet, domain: str, scope: str, value: str) -> None:
        self._okta = okta
        self.domain = domain
        self.scope = scope
        self.value = value
        """The token that it is answered with, if it is."""
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Response:
        okta = self._okta
        okta.witness.asked(self)
        okta.pending.append(self)
        if self.domain in okta.habits:
            self.reply.set_result(okta.habits[self.domain])
        reply = None
        try:
            reply = await self.reply
        finally:
            okta.pending.remove(self)
            okta.witness.answered(self, reply)
        if reply.kind == "reset":
            raise aiohttp.ServerDisconnectedError
        return Response(reply, self.value)

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: there is no connection."""


class Response:
    """What aiohttp would hand to the provider."""

    def __init__(self, reply: Reply, value: str) -> None:
        lifetime = 0 if reply.kind == "stale" else reply.amount
        token = {"access_token": value, "token_type": "Bearer", "expires_in": lifetime}
        self.status, fields = _FAILURES.get(reply.kind, (200, token))
        self.headers = CIMultiDict[str]()
        if reply.kind == "limited":
            self.headers["Retry-After"] = str(reply.amount)
        self._body = json.dumps(fields).encode()

    @property
    def content(self) -> Response:
        """Itself: it is a stream, too."""
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        yield self._body
