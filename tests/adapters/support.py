"""An API that requires tokens and keeps the requests that it received."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from okta_tokens.sandbox import Sandbox, SandboxClient
from tests.support import CLIENT_ID, SCOPES, SECRET, World

DPOP_APP = SandboxClient(CLIENT_ID, [SECRET], scopes=SCOPES, dpop=True)
INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
INSUFFICIENT_SCOPE = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="b"'}


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that the API received."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    body: bytes | None
    """`None` if the API responded before it read the body."""


@dataclass
class Api:
    """An API on a socket. The sandbox's resource decides about a request without a response here.

    Args:
        sandbox: The sandbox that issues the tokens.
        session: For requests to the sandbox's resource.
    """

    sandbox: Sandbox
    session: aiohttp.ClientSession
    origin: str = ""
    received: list[ReceivedRequest] = field(default_factory=list)
    responses: deque[tuple[int, Mapping[str, str]]] = field(default_factory=deque)
    """The status and headers of the next responses."""
    body: str = "scripted"
    """The body of those responses."""
    responds_early: bool = False
    """Whether those responses are sent before the request's body is read, and instead of
    `100 Continue`."""

    def url(self, target: str = "/orders") -> str:
        """Return the URL of a path of the API."""
        return self.origin + target

    def authorizations(self) -> list[str | None]:
        """Return the `Authorization` header of each request."""
        return [request.headers.get("Authorization") for request in self.received]

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Respond to a request.

        Three cases: there is a scripted response; the query `to` wants a redirect; the sandbox's
        resource decides.
        """
        early = self.responds_early and bool(self.responses)
        body = None if early else await request.read()
        headers = request.headers.copy()
        self.received.append(ReceivedRequest(request.method, request.path_qs, headers, body))
        if self.responses:
            status, scripted = self.responses.popleft()
            return web.Response(status=status, headers=scripted, text=self.body)
        if (target := request.query.get("to")) is not None:
            return web.Response(status=307, headers={"Location": target})
        return await self._check_credentials(request)

    async def continue_or_respond(self, request: web.Request) -> web.StreamResponse | None:
        """Send `100 Continue`, or respond before the body arrives."""
        if self.responds_early and self.responses:
            return await self.respond(request)
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    async def _check_credentials(self, request: web.Request) -> web.StreamResponse:
        """Respond as the sandbox's resource responds to the credentials of a request."""
        names = {"Authorization", "DPoP"} & {*request.headers}
        credentials = {name: request.headers[name] for name in names}
        url = f"{self.sandbox.origin}/resource"
        async with self.session.get(url, headers=credentials) as response:
            name = "WWW-Authenticate"
            headers = {name: response.headers[name]} if name in response.headers else {}
            body = await response.read()
            return web.Response(status=response.status, headers=headers, body=body)


@asynccontextmanager
async def run_api(world: World) -> AsyncIterator[Api]:
    """Run an API beside a provider and its sandbox."""
    async with aiohttp.ClientSession() as session:
        api = Api(world.sandbox, session)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{tail:.*}", api.respond, expect_handler=api.continue_or_respond)
        async with TestServer(app) as server:
            api.origin = f"http://127.0.0.1:{server.port}"
            yield api
