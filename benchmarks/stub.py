"""A token endpoint in its own process that accepts every client, so that it costs almost no CPU."""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from benchmarks.server import started
from okta_tokens import ClientAuthentication, DPoP, OktaClient

_RECENT = 16
"""The responses for which a nonce stays valid: more than the requests that are under way."""


class Stub:
    """A token endpoint that runs in another process. `serve_stub` creates it.

    Args:
        origin: The scheme, host and port where it listens.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def client(self, authentication: ClientAuthentication, dpop: DPoP | None = None) -> OktaClient:
        """Return a client of the endpoint.

        Args:
            authentication: The client's authentication.
            dpop: The key that its tokens are bound to.
        """
        return OktaClient(self._origin, "0oabenchmarks", authentication, dpop=dpop)

    async def requests(self) -> int:
        """Return the number of token requests so far."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._origin}/requests") as response,
        ):
            return int(await response.text())


@asynccontextmanager
async def serve_stub() -> AsyncIterator[Stub]:
    """Run the token endpoint in another process."""
    async with started("benchmarks.stub") as (origin, _):
        yield Stub(origin)


class _Endpoint:
    """The handlers. They check only that a proof contains a recent nonce."""

    def __init__(self) -> None:
        self._requests = 0

    async def token(self, request: web.Request) -> web.Response:
        proof = request.headers.get("DPoP")
        accepted = proof is None or self._is_recent(_claims(proof).get("nonce"))
        self._requests += 1
        headers = {} if proof is None else {"DPoP-Nonce": str(self._requests)}
        if not accepted:
            return web.json_response({"error": "use_dpop_nonce"}, status=400, headers=headers)
        body = {
            "access_token": f"token-{self._requests}",
            "token_type": "Bearer" if proof is None else "DPoP",
            "expires_in": 3600,
        }
        return web.json_response(body, headers=headers)

    async def requests(self, _request: web.Request) -> web.Response:
        return web.Response(text=str(self._requests))

    def _is_recent(self, nonce: object) -> bool:
        return isinstance(nonce, str) and int(nonce) > self._requests - _RECENT


def _claims(jwt: str) -> dict[str, object]:
    payload = jwt.split(".")[1]
    claims: dict[str, object] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


async def _main() -> None:
    endpoint = _Endpoint()
    app = web.Application()
    app.router.add_post("/oauth2/default/v1/token", endpoint.token)
    app.router.add_get("/requests", endpoint.requests)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    # The pipe also ends if the parent process dies.
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main())
