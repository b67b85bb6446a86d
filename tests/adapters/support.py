"""An API that wants tokens, and remembers what it was sent."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from okta_tokens.sandbox import Sandbox
from tests.support import World

INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@dataclass(frozen=True)
class Seen:
    """A request that the API received."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    body: bytes | None
    """None if it was not read."""


@dataclass
class Api:
    """An API on a socket. What it is not told how to answer, the sandbox's resource decides."""

    sandbox: Sandbox
    session: aiohttp.ClientSession
    origin: str = ""
    seen: list[Seen] = field(default_factory=list)
    answers: deque[tuple[int, Mapping[str, str]]] = field(default_factory=deque)
    """The status and headers of the next answers."""
    says: str = "scripted"
    """What stands in them."""
    refuses_bodies: bool = False
    """Whether scripted answers are sent before the body is read, and before `100 Continue`."""

    def url(self, target: str = "/orders") -> str:
        """Return the URL of a path here."""
        return self.origin + target

    def tokens(self) -> list[str | None]:
        """Return what stood in `Authorization`, request by request."""
        return [seen.headers.get("Authorization") for seen in self.seen]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request: as told, by the redirect that its query wants, or as the resource."""
        early = self.refuses_bodies and bool(self.answers)
        body = None if early else await request.read()
        self.seen.append(Seen(request.method, request.path_qs, request.headers.copy(), body))
        if self.answers:
            status, headers = self.answers.popleft()
            return web.Response(status=status, headers=headers, text=self.says)
        if (target := request.query.get("to")) is not None:
            return web.Response(status=307, headers={"Location": target})
        return await self._judge(request)

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Let a body come, or answer before it does."""
        if self.refuses_bodies and self.answers:
            return await self.answer(request)
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    async def _judge(self, request: web.Request) -> web.StreamResponse:
        """Answer as the sandbox's resource answers these credentials."""
        names = {"Authorization", "DPoP"} & {*request.headers}
        credentials = {name: request.headers[name] for name in names}
        url = f"{self.sandbox.origin}/resource"
        async with self.session.get(url, headers=credentials) as verdict:
            name = "WWW-Authenticate"
            headers = {name: verdict.headers[name]} if name in verdict.headers else {}
            return web.Response(status=verdict.status, headers=headers, body=await verdict.read())


@asynccontextmanager
async def api(here: World) -> AsyncIterator[Api]:
    """Run an API beside a provider and its sandbox."""
    async with aiohttp.ClientSession() as session:
        made = Api(here.sandbox, session)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{tail:.*}", made.answer, expect_handler=made.expect)
        async with TestServer(app) as server:
            made.origin = f"http://127.0.0.1:{server.port}"
            yield made
