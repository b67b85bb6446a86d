"""A token endpoint whose responses a test writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def token_server(handler: Handler) -> AsyncIterator[str]:
    """Serve a handler at the token and the revocation endpoint; yield the origin."""
    application = web.Application()
    for endpoint in ("token", "revoke"):
        application.router.add_post(f"/oauth2/default/v1/{endpoint}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
