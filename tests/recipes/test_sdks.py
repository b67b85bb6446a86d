"""The recipes for SDKs that await."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiokafka import AIOKafkaProducer
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from openai import AsyncOpenAI, AuthenticationError
from pydantic import AnyHttpUrl
from websockets.asyncio.server import ServerConnection, serve

from okta_tokens import RetryPolicy, TokenSource
from okta_tokens.errors import ServerError
from okta_tokens.sandbox import Sandbox
from tests.recipes.broker import TOPIC, Broker, run_broker
from tests.recipes.support import (
    definitions,
    is_valid,
    recipe,
    replace_texts,
    run_code,
    run_in_thread,
    run_source,
    run_uvicorn,
)
from tests.support import world


@dataclass
class ModelApi:
    """An API like OpenAI's, which accepts the tokens that a sandbox accepts."""

    ORIGIN = "https://llm.acme.com"

    sandbox: Sandbox
    invalidate_with: TokenSource | None = None
    """If set, the next request gets a 429, and its token is invalidated with this source."""
    authorizations: list[str] = field(default_factory=list)
    """The `Authorization` header of each request."""

    async def respond(self, request: web.Request) -> web.Response:
        """Respond with 429 if requested by the test; otherwise as the sandbox's resource does."""
        self.authorizations.append(request.headers["Authorization"])
        if self.invalidate_with:
            self.invalidate_with.invalidate(self.authorizations[-1].removeprefix("Bearer "))
            self.invalidate_with = None
            return web.json_response({}, status=429, headers={"retry-after-ms": "1"})
        valid = await is_valid(self.sandbox, self.authorizations[-1])
        content = {"type": "output_text", "text": "Order 7.", "annotations": []}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [content]}
        body = {"id": "resp_1", "object": "response", "output": [message], "model": "acme-1"}
        return web.json_response(body, status=200 if valid else 401)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve the API, and yield the code of the recipe that calls it."""
        app = web.Application()
        app.router.add_post("/v1/responses", self.respond)
        async with TestServer(app) as server:
            replacements = {self.ORIGIN: f"http://127.0.0.1:{server.port}"}
            yield replace_texts(recipe("openai"), replacements)


@asynccontextmanager
async def run_openai_client(orders: TokenSource, api: ModelApi) -> AsyncIterator[AsyncOpenAI]:
    """Yield the client of the recipe, which has made one request."""
    async with api.serve() as code, run_code(definitions(code))["new_client"](orders) as client:
        await client.responses.create(model="acme-1", input="Which orders are late?")
        yield client


async def test_openai_carries_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe calls an API that requires a token."""
    async with run_source() as (okta, _, _), ModelApi(okta).serve() as code:
        await run_in_thread(code)

    assert capsys.readouterr().out == "Order 7.\n"


async def test_openai_gets_a_token_for_each_request() -> None:
    """The `openai` client gets a token for each request, and keeps the one that was rejected."""
    async with run_source() as (okta, _, orders):
        api = ModelApi(okta)
        async with run_openai_client(orders, api) as client:
            okta.revoke_all()
            with pytest.raises(AuthenticationError):
                await client.responses.create(model="acme-1", input="And now?")
            assert orders.invalidate(str(client.api_key))  # as the recipe says
            await client.responses.create(model="acme-1", input="And now?")

    first, rejected, last = api.authorizations
    assert first == rejected != last
    assert okta.token_requests == 2


async def test_openai_gets_a_token_for_each_retry() -> None:
    """The `openai` client gets a new token for each retry."""
    async with run_source() as (okta, _, orders):
        api = ModelApi(okta)
        async with run_openai_client(orders, api) as client:
            api.invalidate_with = orders
            await client.responses.create(model="acme-1", input="And now?")

    first, failed, retried = api.authorizations
    assert first == failed != retried


async def test_openai_sends_nothing_without_a_token() -> None:
    """If no token can be fetched, the caller of the `openai` client gets the error."""
    async with world(retry=RetryPolicy(attempts=1)) as running_world:
        api = ModelApi(running_world.sandbox)
        async with run_openai_client(running_world.source(), api) as client:
            running_world.source().invalidate(await running_world.source().get_token())
            with running_world.sandbox.outage(), pytest.raises(ServerError):
                await client.responses.create(model="acme-1", input="And now?")

    assert len(api.authorizations) == 1


class Verifier(TokenVerifier):
    """A verifier that accepts the tokens that the sandbox's resource accepts."""

    def __init__(self, okta: Sandbox) -> None:
        self._okta = okta

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the claims of a token; `None` if it is not valid."""
        if not await is_valid(self._okta, f"Bearer {token}"):
            return None
        return AccessToken(token=token, client_id="0oa1b2c3", scopes=["orders:read"])


async def test_mcp_carries_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    """The client of the MCP SDK calls a tool of its server, also after the token is revoked."""
    async with run_source() as (okta, _, _):
        settings = AuthSettings(
            issuer_url=AnyHttpUrl(f"{okta.origin}/oauth2/default"),
            resource_server_url=AnyHttpUrl("https://mcp.acme.com"),
            validate_token_resource=False,
        )
        server = MCPServer("orders", token_verifier=Verifier(okta), auth=settings)

        @server.tool()
        def late_orders(days: int) -> int:
            """Return how many orders are late."""
            okta.revoke_all()  # the next request is rejected and retried
            return 10 * days

        config = uvicorn.Config(
            server.streamable_http_app(), host="127.0.0.1", port=0, log_config=None
        )
        async with run_uvicorn(config) as origin:
            call, last = 'await mcp.call_tool("late_orders", {"days": ', "print(result.structured"
            replacements = {"https://mcp.acme.com": origin, last: f"{call}4}})\n{' ' * 12}{last}"}
            await run_in_thread(replace_texts(recipe("mcp"), replacements))

    assert capsys.readouterr().out == "{'result': 30}\n"
    assert okta.token_requests == 2


@asynccontextmanager
async def run_producer(orders: TokenSource, kafka: Broker) -> AsyncIterator[AIOKafkaProducer]:
    """Run a producer with the tokens of the recipe, and a broker on this machine."""
    producer = AIOKafkaProducer(
        bootstrap_servers=f"127.0.0.1:{kafka.port}",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=run_code(definitions(recipe("aiokafka")))["OktaTokens"](orders),
    )
    try:
        await producer.start()
        yield producer
    finally:
        async with asyncio.timeout(5):  # a broken producer may never stop
            await producer.stop()


async def test_aiokafka_sends_with_the_token() -> None:
    """The recipe sends a message to a broker that requires a token."""
    async with run_source() as (okta, _, _), run_broker(okta) as kafka:
        address = f"127.0.0.1:{kafka.port}"
        replacements = {"kafka.acme.com:9093": address, "SASL_SSL": "SASL_PLAINTEXT"}
        await run_in_thread(replace_texts(recipe("aiokafka"), replacements))

        assert (kafka.batches, kafka.rejections, okta.token_requests) == (1, 0, 1)


async def test_aiokafka_gets_a_token_for_each_connection() -> None:
    """A producer of `aiokafka` gets a token for each connection."""
    async with (
        run_source() as (okta, _, orders),
        run_broker(okta) as kafka,
        run_producer(orders, kafka) as producer,
    ):
        await producer.send_and_wait(TOPIC, b"one")
        first = await orders.get_token()
        okta.revoke_all()
        orders.invalidate(first)
        kafka.close_connections()
        await producer.send_and_wait(TOPIC, b"two")
        second = await orders.get_token()

        assert {*kafka.authorizations} == {first.authorization, second.authorization}
        assert first != second
        assert (kafka.batches, kafka.rejections, okta.token_requests) == (2, 0, 2)


async def test_aiokafka_survives_an_outage() -> None:
    """Without a token a producer keeps its messages, and sends them after the outage."""
    async with (
        world(retry=RetryPolicy(attempts=1)) as running_world,
        run_broker(running_world.sandbox) as kafka,
        run_producer(running_world.source(), kafka) as producer,
    ):
        await producer.send_and_wait(TOPIC, b"one")
        running_world.source().invalidate(await running_world.source().get_token())
        with running_world.sandbox.outage():
            kafka.close_connections()
            sending = asyncio.create_task(producer.send_and_wait(TOPIC, b"two"))
            await running_world.failures(1)
        await running_world.advance(60)  # until the cool-down of the failure is over
        await asyncio.wait_for(sending, 10)

        assert (kafka.batches, kafka.rejections) == (2, 0)


async def test_a_web_socket_gets_the_token_of_its_moment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The handshake of `websockets` carries the token."""
    async with run_source() as (okta, _, _):

        async def check(connection: ServerConnection) -> None:
            assert connection.request is not None
            valid = await is_valid(okta, connection.request.headers["Authorization"])
            await connection.send("welcome" if valid else "unknown")

        async with serve(check, "127.0.0.1", 0) as server:
            origin = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            await run_in_thread(replace_texts(recipe("websockets"), {"wss://api.acme.com": origin}))

    assert capsys.readouterr().out == "welcome\n"
