"""SDKs that carry the token, and threads that ask for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

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

from okta_tokens import RetryPolicy, TokenSource
from okta_tokens.errors import ServerError
from okta_tokens.sandbox import Sandbox
from tests.recipes.broker import TOPIC, Broker, broker
from tests.recipes.support import is_live, recipe, replaced, run, serving, tokens
from tests.support import world


@dataclass
class Model:
    """An API like OpenAI's, which takes the tokens that a sandbox takes."""

    sandbox: Sandbox
    source: TokenSource | None = None
    """If set, the next request is told to come again at once, and its token is replaced."""
    seen: list[str] = field(default_factory=list)
    """What stood in `Authorization`, request by request."""

    async def respond(self, request: web.Request) -> web.Response:
        """Answer as Okta's verdict is, unless it is to be asked once more."""
        self.seen.append(request.headers["Authorization"])
        if self.source:
            self.source.invalidate(self.seen[-1].removeprefix("Bearer "))
            self.source = None
            return web.json_response({}, status=429, headers={"retry-after-ms": "1"})
        live = await is_live(self.sandbox, self.seen[-1])
        answer = {"id": "resp_1", "object": "response", "output": [], "model": "acme-1"}
        return web.json_response(answer, status=200 if live else 401)


@asynccontextmanager
async def asking(orders: TokenSource, model: Model) -> AsyncIterator[AsyncOpenAI]:
    """Run the recipe, which asks once, with another API than the one there."""
    app = web.Application()
    app.router.add_post("/v1/responses", model.respond)
    async with TestServer(app) as server:
        origin = f"http://127.0.0.1:{server.port}"
        names = await run(
            replaced(recipe("openai"), {"https://llm.acme.com": origin}), orders=orders
        )
        assert names["response"].id == "resp_1"
        async with names["client"] as client:
            yield client


async def test_openai_carries_the_token_of_the_moment() -> None:
    """The `openai` client asks for each request; one that is refused says which token it was."""
    async with tokens() as (okta, _, orders):
        model = Model(okta)
        async with asking(orders, model) as client:
            okta.revoke_all()
            with pytest.raises(AuthenticationError):
                await client.responses.create(model="acme-1", input="And now?")
            assert orders.invalidate(str(client.api_key))  # as the recipe says
            await client.responses.create(model="acme-1", input="And now?")

    one, again, other = model.seen
    assert one == again != other
    assert okta.token_requests == 2


async def test_openai_asks_for_each_retry() -> None:
    """What the `openai` client sends once more has the token of that moment."""
    async with tokens() as (okta, _, orders):
        model = Model(okta)
        async with asking(orders, model) as client:
            model.source = orders
            await client.responses.create(model="acme-1", input="And now?")

    one, again, retried = model.seen
    assert one == again != retried


async def test_openai_sends_nothing_without_a_token() -> None:
    """When there is no token, the caller of the `openai` client gets the error that says why."""
    async with world(retry=RetryPolicy(attempts=1)) as here:
        model = Model(here.sandbox)
        async with asking(here.source(), model) as client:
            here.source().invalidate(await here.source().get_token())
            with here.sandbox.outage(), pytest.raises(ServerError):
                await client.responses.create(model="acme-1", input="And now?")

    assert len(model.seen) == 1


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


@asynccontextmanager
async def producing(orders: TokenSource, kafka: Broker) -> AsyncIterator[AIOKafkaProducer]:
    """Run the producer of the recipe, with another broker than the one there."""
    instead = {"kafka.acme.com:9093": f"127.0.0.1:{kafka.port}", "SASL_SSL": "SASL_PLAINTEXT"}
    names = await run(replaced(recipe("aiokafka"), instead), orders=orders)
    producer: AIOKafkaProducer = names["producer"]
    try:
        await producer.start()
        yield producer
    finally:
        async with asyncio.timeout(5):  # one that is broken may never end
            await producer.stop()


async def test_aiokafka_sends_the_token_of_the_moment() -> None:
    """A producer of `aiokafka` asks for each connection, and so outlives any token."""
    async with (
        tokens() as (okta, _, orders),
        broker(okta) as kafka,
        producing(orders, kafka) as producer,
    ):
        await producer.send_and_wait(TOPIC, b"one")
        first = await orders.get_token()
        okta.revoke_all()
        orders.invalidate(first)
        kafka.drop()
        await producer.send_and_wait(TOPIC, b"two")
        second = await orders.get_token()

        assert {*kafka.authorizations} == {first.authorization, second.authorization}
        assert first != second
        assert (kafka.batches, kafka.refusals, okta.token_requests) == (2, 0, 2)


async def test_aiokafka_outlives_an_outage() -> None:
    """While there is no token a producer keeps what it is to send, and sends it afterwards."""
    async with (
        world(retry=RetryPolicy(attempts=1)) as here,
        broker(here.sandbox) as kafka,
        producing(here.source(), kafka) as producer,
    ):
        await producer.send_and_wait(TOPIC, b"one")
        here.source().invalidate(await here.source().get_token())
        with here.sandbox.outage():
            kafka.drop()
            sending = asyncio.create_task(producer.send_and_wait(TOPIC, b"two"))
            await here.failures(1)
        await here.advance(60)  # until a failure is not remembered any more
        await asyncio.wait_for(sending, 10)

        assert (kafka.batches, kafka.refusals) == (2, 0)


async def test_a_thread_asks_the_event_loop() -> None:
    """What runs in a thread gets its token from the event loop of the provider."""
    async with tokens() as (_, _, orders):
        names = await run(recipe("thread"), orders=orders, asyncio=asyncio)
        loop = asyncio.get_running_loop()

        bare: Any = await asyncio.to_thread(names["bare_token"], loop)

        assert bare == (await orders.get_token()).value
