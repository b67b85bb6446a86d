"""The README's first example with an adapter."""

import asyncio
import re

import grpc
import pytest
from grpc import aio

from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox
from tests.recipes.support import first_example_with, is_valid, replace_texts


async def output(
    program: str,
    okta: Sandbox,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Run a program with a sandbox, and return what it prints."""
    monkeypatch.setenv("OKTA_CLIENT_ORGURL", okta.origin)
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", DEFAULT_CLIENT.client_id)
    monkeypatch.setenv("OKTA_CLIENT_SECRET", DEFAULT_CLIENT.secrets[0])
    await asyncio.to_thread(exec, compile(program, "README.md", "exec"), {})
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["aiohttp", "httpx", "httpx2"])
async def test_an_http_client_carries_the_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With an adapter, the first example calls the sandbox's API, which requires a token."""
    program = first_example_with(name.removesuffix("2"))
    if name == "httpx2":  # as the guide says
        program = re.sub(r"\bhttpx\b", "httpx2", program)
    async with Sandbox() as okta:
        program = replace_texts(program, {"http://127.0.0.1:6582": okta.origin})
        assert await output(program, okta, capsys, monkeypatch) == "200\n"

        assert (okta.resource_calls, okta.resource_refused) == (1, 0)


async def test_a_grpc_channel_carries_the_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `token_channel`, the first example calls a service that requires a token."""
    async with Sandbox() as okta:

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
        program = replace_texts(first_example_with("grpc"), replacements)
        try:
            printed = await output(program, okta, capsys, monkeypatch)
        finally:
            await server.stop(1)

    assert printed == "b'yes'\n"
