"""A sandbox on a socket, and the requests that tests send to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import aiohttp

from okta_tokens.sandbox import Sandbox, SandboxClient

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
    """Wall time that a test moves."""

    now: float = START

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, decoded."""
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


def basic(client_id: str = "batch", secret: str = "first-secret") -> dict[str, str]:
    """Return the header of `client_secret_basic`."""
    return {"Authorization": aiohttp.encode_basic_auth(client_id, secret)}


def form(scope: str | None = "a", **more: str) -> dict[str, str]:
    """Return the body of a token request."""
    fields = {"grant_type": "client_credentials", **more}
    return fields if scope is None else {**fields, "scope": scope}


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
    ) -> Reply:
        """Send a request and read the whole answer."""
        url = self.sandbox.origin + path
        async with self.session.request(
            method, url, data=data, headers=headers, ssl=ssl, allow_redirects=False
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def ask(
        self,
        scope: str | None = "a",
        path: str = TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a token request, by default a good one of the client `batch`."""
        return await self.send(path, form(scope), headers=headers or basic())

    async def token(self, scope: str = "a") -> str:
        """Return a fresh token's value."""
        reply = await self.ask(scope)
        assert reply.status == 200
        value: str = reply.json["access_token"]
        return value

    async def call(self, token: str, query: str = "") -> Reply:
        """Call the protected resource."""
        headers = {"Authorization": f"Bearer {token}"}
        return await self.send("/resource" + query, method="GET", headers=headers)


@asynccontextmanager
async def harness(make: Callable[..., Sandbox] = Sandbox) -> AsyncIterator[Harness]:
    """Run a sandbox with the usual clients, and the options of a `functools.partial`."""
    clock = Clock()
    sandbox = make([BATCH, REPORTS, PARTNER], wall_time=clock, lifetime=300)
    async with sandbox, aiohttp.ClientSession() as session:
        yield Harness(sandbox, clock, session)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens within milliseconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 — what is waited for has no event
            await asyncio.sleep(0.001)
