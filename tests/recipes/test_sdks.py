"""SDKs that carry the token, and threads that ask for it."""

import asyncio
import struct
from typing import Any

import pytest
import uvicorn
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from okta_tokens.sandbox import Sandbox
from tests.recipes.support import is_live, recipe, replaced, run, serving, tokens


async def test_openai_asks_for_each_request() -> None:
    """The `openai` client sends the token of the moment, also after it was replaced."""
    seen: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        live = await is_live(okta, seen[-1])
        answer = {"id": "resp_1", "object": "response", "output": [], "model": "acme-1"}
        return web.json_response(answer, status=200 if live else 401)

    async with tokens() as (okta, _, orders):
        app = web.Application()
        app.router.add_post("/v1/responses", respond)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            code = replaced(recipe("openai"), {"https://llm.acme.com": origin})
            names = await run(code, orders=orders)
            orders.invalidate(await orders.get_token())
            await names["client"].responses.create(model="acme-1", input="And now?")
            await names["client"].close()
        finally:
            await runner.cleanup()

    assert names["answer"].id == "resp_1"
    assert len({*seen}) == 2


class Verifier(TokenVerifier):
    """Take the tokens that the sandbox's resource takes."""

    def __init__(self, okta: Sandbox) -> None:
        self._okta = okta

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what is known of a token; None if it is not live."""
        if not await is_live(self._okta, f"Bearer {token}"):
            return None
        return AccessToken(token=token, client_id="0oa1b2c3", scopes=["orders:read"])


async def test_mcp_carries_the_token() -> None:
    """The MCP SDK's own client calls a tool of its own server, also after the token died."""
    async with tokens() as (okta, _, orders):
        settings = AuthSettings(
            issuer_url=AnyHttpUrl(f"{okta.origin}/oauth2/default"),
            resource_server_url=AnyHttpUrl("https://mcp.acme.com"),
            validate_token_resource=False,
        )
        server = MCPServer("orders", token_verifier=Verifier(okta), auth=settings)

        @server.tool()
        def late_orders(days: int) -> int:
            """Return how many orders are late."""
            okta.revoke_all()  # what comes next is refused, and sent again
            return 10 * days

        config = uvicorn.Config(
            server.streamable_http_app(), host="127.0.0.1", port=0, log_config=None
        )
        async with serving(config) as origin:
            code = replaced(recipe("mcp"), {"https://mcp.acme.com": origin})
            again = '    await mcp.call_tool("late_orders", {"days": 4})\n'
            names = await run(code + again, orders=orders)

    assert names["result"].structured_content == {"result": 30}
    assert okta.token_requests == 2


class Broker(asyncio.Protocol):
    """As much of a Kafka broker as it takes to be sent a token, which it then refuses."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._received += data
        while len(self._received) >= 4:
            (size,) = struct.unpack_from(">i", self._received)
            if len(self._received) < 4 + size:
                return
            self._answer(self._received[4 : 4 + size])
            self._received = self._received[4 + size :]

    def _answer(self, request: bytes) -> None:
        api, version, correlation = struct.unpack_from(">hhi", request)
        if api == 18:  # ApiVersions: all that is asked for in their versions from 0 on
            known = ((17, 0, 1), (18, 0, 0), (36, 0, 0))
            body = struct.pack(">hi", 0, len(known)) + b"".join(
                struct.pack(">hhh", *versions) for versions in known
            )
        elif api == 17:  # SaslHandshake
            body = struct.pack(">hih", 0, 1, len(b"OAUTHBEARER")) + b"OAUTHBEARER"
        else:  # SaslAuthenticate, or the bare token of handshakes of version 0
            self.sent.append(request)
            body = struct.pack(">h", 58) + struct.pack(">h", 2) + b"no" + struct.pack(">i", 0)
        assert version >= 0
        answer = struct.pack(">i", correlation) + body
        self._transport.write(struct.pack(">i", len(answer)) + answer)


async def test_aiokafka_sends_the_token() -> None:
    """A producer of `aiokafka` authenticates with the token of the moment."""
    async with tokens() as (_, _, orders):
        broker = Broker()
        server = await asyncio.get_running_loop().create_server(lambda: broker, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        code = replaced(
            recipe("aiokafka"),
            {"kafka.acme.com:9093": f"127.0.0.1:{port}", "SASL_SSL": "SASL_PLAINTEXT"},
        )
        names = await run(code, orders=orders)
        producer: AIOKafkaProducer = names["producer"]
        with pytest.raises(KafkaConnectionError):
            await producer.start()
        await producer.stop()
        server.close()
        await server.wait_closed()

        assert f"auth={(await orders.get_token()).authorization}\x01".encode() in broker.sent[0]


async def test_a_thread_asks_the_event_loop() -> None:
    """What runs in a thread gets its token from the event loop of the provider."""
    async with tokens() as (_, _, orders):
        names = await run(recipe("thread"), orders=orders, asyncio=asyncio)
        loop = asyncio.get_running_loop()

        bare: Any = await asyncio.to_thread(names["bare_token"], loop)

        assert bare == (await orders.get_token()).value
