"""A store that fails in every way: each caller still gets a token, and nearly as soon."""

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
    """A provider that shares tokens, and what it tells."""

    provider: TokenProvider
    okta: Sandbox
    events: list[Event] = field(default_factory=list)

    async def get(self, scope: str, patience: float = TIMEOUT) -> str:
        """Return the value of a token; fail if it took much longer than without a store."""
        client = OktaClient(self.okta.origin, CLIENT_ID, ClientSecretBasic(SECRET))
        begun = time.monotonic()
        token = await self.provider.get_token(client, scope)
        assert time.monotonic() - begun < patience + 2
        return token.value

    def seen(self) -> list[type[Event]]:
        """Return the types of what was told of the store, in order."""
        told = (StoreFailed, StoreRecovered, StoreEntryIgnored)
        return [type(event) for event in self.events if isinstance(event, told)]


@asynccontextmanager
async def process(
    okta: Sandbox,
    url: str,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - the store's
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
    async with Sandbox([APP]) as made:
        yield made


@pytest.fixture
async def doomed() -> AsyncIterator[Server]:
    """A server that a test may do anything to."""
    async with server() as made:
        yield made


async def stop(it: Server) -> None:
    """Let the server answer nothing any more."""
    it.signal(signal.SIGSTOP)


async def kill(it: Server) -> None:
    """Let the server be gone."""
    it.signal(signal.SIGKILL)


async def slow_down(it: Server) -> None:
    """Let the server take longer than anybody waits for it."""
    await it.client.client_pause(1_000)


async def fill(it: Server) -> None:
    """Let the server have no memory left for anything."""
    await it.client.config_set("maxmemory-policy", "noeviction")
    await it.client.config_set("maxmemory", 1)


async def make_read_only(it: Server) -> None:
    """Let the server take no writes."""
    await it.client.replicaof("127.0.0.1", 1)


async def refuse(it: Server) -> None:
    """Let the server want a password."""
    await it.client.config_set("requirepass", "another")
    await it.client.client_kill_filter(_type="normal", skipme=True)


@pytest.mark.parametrize("harm", [stop, kill, slow_down, fill, make_read_only, refuse])
async def test_a_store_that_fails_in_between_is_done_without(
    okta: Sandbox, doomed: Server, harm: Callable[[Server], Awaitable[None]]
) -> None:
    """Whatever becomes of the store, every caller gets a token, and one event tells of it."""
    async with process(okta, doomed.url) as one:
        await one.get("s0")
        await harm(doomed)

        tokens = await asyncio.gather(*(one.get(f"s{number}") for number in range(1, 20)))

        assert len({*tokens}) == 19
        await until(lambda: bool(one.seen()))
        assert one.seen() == [StoreFailed]


async def test_a_store_that_is_not_there_is_done_without(okta: Sandbox) -> None:
    """A process starts without its store, and serves its callers."""
    async with process(okta, "redis://127.0.0.1:1/0") as one:
        assert len({await one.get(f"s{number}") for number in range(5)}) == 5

        await until(lambda: bool(one.seen()))
        assert one.seen() == [StoreFailed]


async def test_a_store_that_talks_nonsense_is_done_without(okta: Sandbox) -> None:
    """A server that is none of Redis's is a store that fails."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1")
    port = listening.sockets[0].getsockname()[1]
    async with process(okta, f"redis://127.0.0.1:{port}/0") as one:
        assert len({await one.get(f"s{number}") for number in range(5)}) == 5
        await until(lambda: bool(one.seen()))
        assert one.seen() == [StoreFailed]
    listening.close()


async def test_garbage_is_replaced(okta: Sandbox, valkey: Server) -> None:
    """What somebody put in a token's place is fetched anew, and one event tells of it."""
    async with process(okta, valkey.url, 5) as one, process(okta, valkey.url, 5) as two:
        await one.get("s0")
        await one.get("s1")
        names: list[Any] = []
        while len(names) < 2:
            names = await valkey.client.keys("okta-tokens:token:*")
        for name in names:
            await valkey.client.set(name, b"\x01" + b"garbage" * 10, px=100_000)

        fresh = [await two.get("s0"), await two.get("s1")]

        assert okta.token_requests == 4
        await until(lambda: bool(two.seen()))
        assert two.seen() == [StoreEntryIgnored]
        async with process(okta, valkey.url, 5) as three:
            await until(lambda: not two.provider.stats().in_flight)
            assert [await three.get("s0"), await three.get("s1")] == fresh


async def test_a_store_that_comes_back_is_used_again(okta: Sandbox, doomed: Server) -> None:
    """After an outage and a break tokens are shared again, and one event tells of it."""
    async with process(okta, doomed.url, 1) as one, process(okta, doomed.url, 5) as two:
        doomed.signal(signal.SIGSTOP)
        await one.get("s0", 1)
        doomed.signal(signal.SIGCONT)
        await asyncio.sleep(2.1)  # the break, which is in real time here

        tokens = {await one.get("s1"), await two.get("s1")}

        assert len(tokens) == 1
        assert TokenAdopted in {type(event) for event in two.events}
        assert one.seen() == [StoreFailed, StoreRecovered]
