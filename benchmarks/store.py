"""`store`: what does a server of the store need for each token, process and command?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from redis.asyncio import Redis

from benchmarks.figures import Figure
from benchmarks.report import steps
from okta_tokens.stores import SharedToken, StoreIdentity
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.stores import servers

_TOKEN = "t" * 1_000
"""As long as a token of Okta with a few claims."""
_AT_ONCE = 8
_LIFETIME = 3_600.0

_Call = Callable[[StoreIdentity], Awaitable[object]]


async def run(*, short: bool) -> list[Figure]:
    """Measure the memory and the CPU of a Valkey server.

    Args:
        short: Whether to use fewer tokens and commands.
    """
    number, rounds, connections = (50, 1, 5) if short else (5_000, 5, 200)
    async with (
        servers.server() as server,
        RedisTokenStore(server.url, keys=[generate_key()]) as store,
    ):
        identities = [StoreIdentity("token", each) for each in range(number)]
        token = SharedToken(_TOKEN, "Bearer", frozenset({"orders:read"}), _LIFETIME, 2e9)
        domain, client = StoreIdentity("domain"), StoreIdentity("client")
        calls: dict[str, _Call] = {
            "`settle` of a token": lambda each: store.settle(each, token, _LIFETIME, None),
            "`look` that finds it": lambda each: store.look(each, _TOKEN),
            "`look_at_domain`": lambda _: store.look_at_domain(domain, client),
            "`acquire`": lambda each: store.acquire(each, 5.0),
            "`PING` of a connection": lambda _: server.client.ping(),
        }
        before = await _memory(server.client)
        costs: dict[str, list[float]] = {name: [] for name in calls}
        await _all(calls["`settle` of a token"], identities)
        size = (await _memory(server.client) - before) / number
        for _ in steps("store", rounds):
            for name, call in calls.items():
                costs[name].append(await _cost(server.client, partial(_all, call, identities)))
        connection, message = await _subscribers(server, connections, rounds * 20)
    return [
        Figure.single("memory of a token of 1,000 characters", size, "bytes"),
        Figure.single("memory of a connection", connection, "bytes"),
        *(
            Figure.measure(
                f"CPU of the server: {name}", [each / number * 1e6 for each in cost], "µs"
            )
            for name, cost in costs.items()
        ),
        Figure.single("CPU of the server: a notification of one process", message * 1e6, "µs"),
        Figure.measure(
            "`look` per second of a core",
            [number / cost for cost in costs["`look` that finds it"]],
            "",
        ),
    ]


async def _all(call: _Call, identities: list[StoreIdentity]) -> None:
    """Make a call for each identity, a few at the same time."""
    waiting = iter(identities)

    async def some() -> None:
        for identity in waiting:
            await call(identity)

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


async def _subscribers(
    server: servers.Server, connections: int, messages: int
) -> tuple[float, float]:
    """Return the memory of a connection in bytes, and the CPU of a message to it in seconds."""
    before = await _memory(server.client)
    async with AsyncExitStack() as stack:
        for _ in range(connections):
            client = await stack.enter_async_context(Redis.from_url(server.url))
            await client.ping()
            subscription = await stack.enter_async_context(client.pubsub())
            await subscription.subscribe("changed")
        memory = (await _memory(server.client) - before) / (2 * connections)

        async def publish() -> None:
            for _ in range(messages):
                await server.client.publish("changed", "")

        seconds = await _cost(server.client, publish)
    return memory, seconds / messages / connections


async def _cost(client: Redis, work: Callable[[], Awaitable[None]]) -> float:
    """Return the seconds of CPU that the server needs for some work."""
    begun = await _cpu(client)
    await work()
    return await _cpu(client) - begun


async def _cpu(client: Redis) -> float:
    used = await client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


async def _memory(client: Redis) -> int:
    return int((await client.info("memory"))["used_memory"])
