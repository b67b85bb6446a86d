"""The README's first example with an adapter."""

import asyncio
import re
from collections.abc import Mapping

import grpc
import pytest
from aiohttp import web
from grpc import aio

from okta_tokens.sandbox import Sandbox
from tests.recipes.support import APP, SECRET, first_example_with, is_valid, replace_texts


async def output(
    program: str, okta: Sandbox, replacements: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> str:
    """Run a program with the sandbox instead of Okta, and return what it prints."""
    program = replace_texts(program, {"acme.okta.com": okta.origin, **replacements})
    await asyncio.to_thread(exec, compile(program, "README.md", "exec"), {})
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["aiohttp", "httpx", "httpx2"])
async def test_an_http_client_carries_the_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With an adapter, the first example calls an API that requires a token."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    program = first_example_with(name.removesuffix("2"))
    if name == "httpx2":  # as the guide says
        program = re.sub(r"\bhttpx\b", "httpx2", program)
    async with Sandbox([APP]) as okta:

        async def orders(request: web.Request) -> web.Response:
            valid = await is_valid(okta, request.headers["Authorization"])
            return web.Response(status=200 if valid else 401)

        app = web.Application()
        app.router.add_get("/orders", orders)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            printed = await output(program, okta, {"https://api.acme.com": origin}, capsys)
        finally:
            await runner.cleanup()

    assert printed == "200\n"


async def test_a_grpc_channel_carries_the_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `token_channel`, the first example calls a service that requires a token."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    async with Sandbox([APP]) as okta:

        async def list_orders(_: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
            metadata = dict(context.invocation_metadata() or ())
            return b"yes" if await is_valid(okta, str(metadata["authorization"])) else b"no"

        server = aio.server()
        service = grpc.method_handlers_generic_handler(
            "acme.Orders", {"List": grpc.unary_unary_rpc_method_handler(list_orders)}
        )
        server.add_generic_rpc_handlers([service])
        port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        await server.start()
        replacements = {
            "api.acme.com:443": f"127.0.0.1:{port}",
            "ssl_channel_credentials": "local_channel_credentials",
        }
        try:
            printed = await output(first_example_with("grpc"), okta, replacements, capsys)
        finally:
            await server.stop(1)

    assert printed == "b'yes'\n"
