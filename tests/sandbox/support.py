"""A sandbox that listens on a socket, and the requests that tests send to it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any
from urllib.parse import urlencode

import aiohttp

from okta_tokens.sandbox import Sandbox, SandboxClient
from okta_tokens.sandbox._request_parsing import ParsedRequest, parse_request

START = 1_700_000_000.0
BATCH = SandboxClient("batch", ["first-secret", "second-secret"], scopes=["a", "b", "c"])
REPORTS = SandboxClient("reports", ["reports-secret"], scopes=["d", "okta.users.read"])
PARTNER = SandboxClient(
    "partner", ["partner-secret"], scopes=["okta.users.read", "okta.groups.read"], integration=True
)
TOKEN = "/oauth2/default/v1/token"
ORG_TOKEN = "/oauth2/v1/token"


@dataclass
class Clock:
    """A wall clock that the test sets."""

    now: float = START

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass
class HttpResponse:
    """A complete HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The decoded body."""
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


def basic(client_id: str = "batch", secret: str = "first-secret") -> dict[str, str]:
    """Return the header of `client_secret_basic`."""
    return {"Authorization": aiohttp.encode_basic_auth(client_id, secret)}


def form(scope: str | None = "a", **more: str) -> dict[str, str]:
    """Return the body of a token request."""
    fields = {"grant_type": "client_credentials", **more}
    return fields if scope is None else {**fields, "scope": scope}


def basic_request(credentials: str | None = "app:one", **fields: str) -> ParsedRequest:
    """Return a parsed request with Basic credentials, or without, and with form parameters."""
    authorization = []
    if credentials is not None:
        authorization = ["Basic " + base64.b64encode(credentials.encode()).decode()]
    return parse_request(
        urlencode(fields).encode(),
        content_type="application/x-www-form-urlencoded",
        authorization=authorization,
        query="",
    )


@dataclass
class Harness:
    """A running sandbox, its clock, and a session."""

    sandbox: Sandbox
    clock: Clock
    session: aiohttp.ClientSession

    async def send(
        self,
        path: str,
        data: object = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | bool = True,
    ) -> HttpResponse:
        """Send a request and return the complete response."""
        url = self.sandbox.origin + path
        async with self.session.request(
            method, url, data=data, headers=headers, ssl=ssl, allow_redirects=False
        ) as response:
            return HttpResponse(response.status, response.headers, await response.read())

    async def request_token(
        self,
        scope: str | None = "a",
        path: str = TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """Send a token request; the default is a valid request of the client `batch`."""
        return await self.send(path, form(scope), headers=headers or basic())

    async def token(self, scope: str = "a") -> str:
        """Return the value of a new token."""
        response = await self.request_token(scope)
        assert response.status == 200
        value: str = response.json["access_token"]
        return value

    async def call_resource(self, token: str, query: str = "") -> HttpResponse:
        """Call the protected resource."""
        headers = {"Authorization": f"Bearer {token}"}
        return await self.send("/resource" + query, method="GET", headers=headers)


@asynccontextmanager
async def run_sandbox(make: Callable[..., Sandbox] = Sandbox) -> AsyncIterator[Harness]:
    """Run a sandbox with the usual clients; `make` may be a partial with further options."""
    clock = Clock()
    sandbox = make([BATCH, REPORTS, PARTNER], wall_time=clock, lifetime=300)
    async with sandbox, aiohttp.ClientSession() as session:
        yield Harness(sandbox, clock, session)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for at most 5 seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 — the condition has no event
            await asyncio.sleep(0.001)
