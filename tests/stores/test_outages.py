"""Failures of a store: every caller gets a token, nearly as fast as without a store."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, RetryPolicy, TokenProvider
from okta_tokens.events import Event, StoreEntryIgnored, StoreFailed, StoreRecovered, TokenAdopted
from okta_tokens.sandbox import Sandbox, SandboxClient
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.stores.servers import Server, server
from tests.support import CLIENT_ID, SECRET, until

KEYS = [generate_key()]
APP = SandboxClient(CLIENT_ID, [SECRET], scopes=[f"s{number}" for number in range(100)])
TIMEOUT = 0.25


@dataclass
class Process:
    """A provider that shares tokens, and its events."""

    provider: TokenProvider
    okta: Sandbox
    events: list[Event] = field(default_factory=list)

    async def get(self, scope: str, store_timeout: float = TIMEOUT) -> str:
        """Return the value of a token; fail if the call took much longer than without a store."""
        client = OktaClient(self.okta.origin, CLIENT_ID, ClientSecretBasic(SECRET))
        start = time.monotonic()
        token = await self.provider.get_token(client, scope)
        assert time.monotonic() - start < store_timeout + 2
        return token.value

    def store_events(self) -> list[type[Event]]:
        """Return the types of the events about the store, in order."""
        types = (StoreFailed, StoreRecovered, StoreEntryIgnored)
        return [type(event) for event in self.events if isinstance(event, types)]


@asynccontextmanager
async def process(
    okta: Sandbox,
    url: str,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - the timeout of the store
) -> AsyncIterator[Process]:
    """Run a provider with a store."""
    events: list[Event] = []
    async with (
        RedisTokenStore(url, keys=KEYS, timeout=timeout) as store,
        TokenProvider(
            store=store, observers=[events.append], retry=RetryPolicy(attempts=1)
        ) as provider,
    ):
        yield Process(provider, okta, events)


@pytest.fixture
async def okta() -> AsyncIterator[Sandbox]:
    """An Okta that knows the client."""
    async with Sandbox([APP]) as sandbox:
        yield sandbox


@pytest.fixture
async def own_server() -> AsyncIterator[Server]:
    """A server for one test, which may break it."""
    async with server() as running:
        yield running


async def stop(server: Server) -> None:
    """Stop the process of the server, so that it does not respond."""
    server.signal(signal.SIGSTOP)


async def kill(server: Server) -> None:
    """Kill the server."""
    server.signal(signal.SIGKILL)


async def slow_down(server: Server) -> None:
    """Make the server take longer than the timeout of the store."""
    await server.client.client_pause(1_000)


async def fill(server: Server) -> None:
    """Leave the server no memory for entries."""
    await server.client.config_set("maxmemory-policy", "noeviction")
    await server.client.config_set("maxmemory", 1)


async def make_read_only(server: Server) -> None:
    """Make the server reject writes."""
    await server.client.replicaof("127.0.0.1", 1)


async def change_password(server: Server) -> None:
    """Make the server reject the store's credentials."""
    await server.client.config_set("requirepass", "another")
    await server.client.client_kill_filter(_type="normal", skipme=True)


@pytest.mark.parametrize(
    "break_store", [stop, kill, slow_down, fill, make_read_only, change_password]
)
async def test_a_provider_works_without_a_store_that_fails(
    okta: Sandbox, own_server: Server, break_store: Callable[[Server], Awaitable[None]]
) -> None:
    """However the store fails, every caller gets a token, and there is one event about it."""
    async with process(okta, own_server.url) as one:
        await one.get("s0")
        await break_store(own_server)

        tokens = await asyncio.gather(*(one.get(f"s{number}") for number in range(1, 20)))

        assert len({*tokens}) == 19
        await until(lambda: bool(one.store_events()))
        assert one.store_events() == [StoreFailed]


async def test_a_provider_starts_without_its_store(okta: Sandbox) -> None:
    """A provider whose store cannot be reached starts, and every caller gets a token."""
    async with process(okta, "redis://127.0.0.1:1/0") as one:
        assert len({await one.get(f"s{number}") for number in range(5)}) == 5

        await until(lambda: bool(one.store_events()))
        assert one.store_events() == [StoreFailed]


async def test_a_server_of_another_protocol_is_a_store_that_fails(okta: Sandbox) -> None:
    """If another kind of server is at the URL of the store, every caller gets a token."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        writer.close()

    listening = await asyncio.start_server(respond, "127.0.0.1")
    port = listening.sockets[0].getsockname()[1]
    async with process(okta, f"redis://127.0.0.1:{port}/0") as one:
        assert len({await one.get(f"s{number}") for number in range(5)}) == 5
        await until(lambda: bool(one.store_events()))
        assert one.store_events() == [StoreFailed]
    listening.close()


async def test_a_damaged_entry_is_replaced(okta: Sandbox, valkey: Server) -> None:
    """A provider fetches the token of a damaged entry again; there is one event about it."""
    async with process(okta, valkey.url, 5) as one, process(okta, valkey.url, 5) as two:
        await one.get("s0")
        await one.get("s1")
        names: list[Any] = []
        while len(names) < 2:
            names = await valkey.client.keys("okta-tokens:*:token")
        for name in names:
            await valkey.client.set(name, b"\x01" + b"garbage" * 10, px=100_000)

        fresh = [await two.get("s0"), await two.get("s1")]

        assert okta.token_requests == 4
        await until(lambda: bool(two.store_events()))
        assert two.store_events() == [StoreEntryIgnored]
        async with process(okta, valkey.url, 5) as three:
            await until(lambda: not two.provider.stats().in_flight)
            assert [await three.get("s0"), await three.get("s1")] == fresh


async def test_a_store_that_recovers_is_used_again(okta: Sandbox, own_server: Server) -> None:
    """After an outage and a break tokens are shared again, and there is one event about it."""
    async with process(okta, own_server.url, 1) as one, process(okta, own_server.url, 5) as two:
        own_server.signal(signal.SIGSTOP)
        await one.get("s0", 1)
        own_server.signal(signal.SIGCONT)
        await asyncio.sleep(2.1)  # the break of the circuit breaker, in real time

        tokens = {await one.get("s1"), await two.get("s1")}

        assert len(tokens) == 1
        assert TokenAdopted in {type(event) for event in two.events}
        assert one.store_events() == [StoreFailed, StoreRecovered]
