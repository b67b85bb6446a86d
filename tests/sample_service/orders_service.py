"""A small service: it lists the orders that another API holds, with a token of Okta."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from okta_tokens import OktaClient, TokenProvider, TokenSource
from okta_tokens.adapters.httpx import TokenAuth
from okta_tokens.errors import FetchError

ERROR_SECONDS = 30
"""Seconds after which a caller may try again while there is no token."""


def create_app(provider: TokenProvider, client: OktaClient, api: str) -> FastAPI:
    """Make the application.

    Args:
        provider: The provider of the process; the application starts and closes it.
        client: The client of the service in Okta.
        api: The URL of the API that holds the orders.
    """
    orders: TokenSource = provider.source(client, "orders:read", keep_fresh=True)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        auth = TokenAuth(orders, origins=[api])
        async with provider, httpx.AsyncClient(base_url=api, auth=auth) as http:
            app.state.http = http
            yield

    app = FastAPI(lifespan=lifespan)

    @app.exception_handler(FetchError)
    @app.exception_handler(httpx.ConnectTimeout)  # the wait for a token took too long
    async def without_token(request: Request, error: Exception) -> JSONResponse:
        headers = {"Retry-After": str(ERROR_SECONDS)}
        return JSONResponse({"detail": "try again later"}, 503, headers)

    @app.get("/orders")
    async def list_orders(request: Request) -> JSONResponse:
        response = await request.app.state.http.get("/resource/orders")
        return JSONResponse({"orders": []}, response.status_code)

    @app.get("/ready")
    async def ready() -> JSONResponse:
        readiness = provider.ready(orders)
        return JSONResponse({"reasons": readiness.reasons}, 200 if readiness.ok else 503)

    return app
