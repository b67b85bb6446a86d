"""Habits that defeat the cache, and settings that do not fit: each is told once, with advice."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RefreshPolicy,
    RetryPolicy,
    TokenKey,
    TokenProvider,
    TokenRequest,
)
from okta_tokens._auth import authentication
from okta_tokens._auth.signing import load_key
from okta_tokens._cache import misuse
from okta_tokens._cache.misuse import Fetches, Misuse
from okta_tokens._emitter import Emitter
from okta_tokens.errors import CredentialError, OAuthError
from okta_tokens.events import (
    CacheFull,
    ClientNotReused,
    Event,
    ProviderNotReused,
    SlowCallable,
    SlowResponses,
    StoreWithoutTls,
    UnsuitableLifetime,
)
from okta_tokens.sandbox import SandboxClient
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.clock import ManualClock
from tests.keys import ec_key, pem, public_jwk
from tests.stores.support import MemoryTokenStore
from tests.support import CLIENT_ID, SCOPES, SECRET, World, at_once, run_script, world

TRAPS = (
    *(CacheFull, ClientNotReused, ProviderNotReused, SlowCallable, SlowResponses),
    *(StoreWithoutTls, UnsuitableLifetime),
)
LONG_SECRET = SECRET * 2


def traps(events: list[Event]) -> list[Event]:
    """Return the events about habits and settings."""
    return [event for event in events if isinstance(event, TRAPS)]


def kinds(events: list[Event]) -> list[type[Event]]:
    """Return the types of the events about habits and settings, in order."""
    return [type(event) for event in traps(events)]


@pytest.fixture
def events() -> list[Event]:
    """The events of providers that a test makes."""
    return []


@pytest.fixture
def judge(events: list[Event]) -> Iterator[Misuse]:
    """What judges the habits of a provider, without the provider."""
    emitter = Emitter([events.append])
    yield Misuse(RefreshPolicy(), RetryPolicy(), emitter)
    emitter.deliver()


def key_of(
    method: ClientAuthentication | None = None,
    *,
    client_id: str = CLIENT_ID,
    scope: str = "a",
    dpop: DPoP | None = None,
) -> TokenKey:
    """Return a key."""
    client = OktaClient("acme.okta.com", client_id, method or ClientSecretBasic(SECRET), dpop=dpop)
    return TokenKey(client, frozenset({scope}))


# Providers


async def test_a_provider_for_each_call_is_told_once(events: list[Event]) -> None:
    """Providers that are made for each call fetch the same token again: one event per client."""
    async with world() as here:
        for scope in ("a", "b", "a", "b", "a", "c"):
            async with TokenProvider(clock=here.clock, observers=[events.append]) as provider:
                await provider.get_token(here.client, scope)

    assert kinds(events) == [ProviderNotReused]
    (told,) = traps(events)
    assert "Make one provider when the process starts" in told.advice  # type: ignore[attr-defined]


async def test_a_second_live_provider_is_told(events: list[Event]) -> None:
    """A provider that fetches a token that another one holds emits an event, the other one none."""
    async with (
        world() as here,
        TokenProvider(clock=here.clock, observers=[events.append]) as second,
    ):
        await here.source().get_token()
        await second.get_token(here.client, "a")
        await here.quiet()

    assert kinds(events) == [ProviderNotReused]
    assert kinds(here.events) == []


async def test_one_provider_may_follow_another(events: list[Event]) -> None:
    """No event: another client, scope or parameter, an expired token, a renewal, a refetch."""
    async with world(lifetime=300) as here:
        first = await here.source().get_token()
        here.provider.invalidate(first)
        await here.source().get_token()
        await here.advance(290)
        await here.source().get_token()
        other = OktaClient(
            here.sandbox.origin, CLIENT_ID, ClientSecretBasic(SECRET), parameters={"x": "y"}
        )
        async with TokenProvider(clock=here.clock, observers=[events.append]) as provider:
            await provider.get_token(here.client, "b")
            await provider.get_token(other, "a")
            await here.advance(900)  # the first provider lets its unused token expire
            await provider.get_token(here.client, "a")

        assert here.sandbox.token_requests >= 6

    assert kinds(events) == kinds(here.events) == []


async def test_a_token_of_the_store_is_no_misuse(events: list[Event]) -> None:
    """A provider that adopts the token of another one in the process emits nothing."""
    async with (
        world(store=MemoryTokenStore) as here,
        TokenProvider(clock=here.clock, store=here.store, observers=[events.append]) as second,
    ):
        token = await here.source().get_token()
        await here.quiet()
        adopted = await second.get_token(here.client, "a")

        assert adopted.value == token.value

    assert kinds(events) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_may_have_a_provider_of_its_own(tmp_path: Path) -> None:
    """A child knows no fetch of its parent's, also if a thread was about to record one."""
    script = """
    from okta_tokens import TokenKey
    from okta_tokens._cache.misuse import FETCHES

    client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
    key = TokenKey(client, frozenset({"a"}))
    parent, child = object(), object()
    assert not FETCHES.record(key, parent, now=0.0, usable_until=60.0)
    with FETCHES._lock:
        process = os.fork()
        if process == 0:
            os._exit(FETCHES.record(key, child, now=0.0, usable_until=60.0))
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert FETCHES.record(key, child, now=0.0, usable_until=60.0)
    """
    done = run_script(tmp_path / "forking.py", script)

    assert done.returncode == 0, done.stderr


def test_threads_record_fetches_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers in several threads may record their fetches while a full table makes room."""
    monkeypatch.setattr(misuse, "_MAX_CAUSES", 1)
    fetches, interval = Fetches(), sys.getswitchinterval()

    def fetch(scope: str) -> None:
        key, owner = key_of(scope=scope), object()
        for _ in range(100_000):
            fetches.record(key, owner, now=0.0, usable_until=60.0)

    sys.setswitchinterval(1e-6)
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(fetch, scope) for scope in "abcd"]
    sys.setswitchinterval(interval)

    assert [result.exception() for result in results] == [None] * 4


def test_only_the_latest_kinds_of_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of a process is bounded, and the kind that was fetched last stays in it."""
    monkeypatch.setattr(misuse, "_MAX_CAUSES", 3)
    fetches, one, other = Fetches(), object(), object()
    record = partial(fetches.record, now=0.0, usable_until=60.0)
    for scope in ("a", "b", "c", "a", "d"):
        record(key_of(scope=scope), one)

    assert [record(key_of(scope=scope), other) for scope in ("b", "a")] == [False, True]


# Clients


class Vault:
    """A vault whose method is a callable for a secret."""

    def read(self) -> str:
        """Return the secret."""
        return SECRET


class Custom:
    """An authentication without equality."""

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add a header."""
        request.headers["Authorization"] = f"Bearer {SECRET}"


class CustomBasic(ClientSecretBasic):
    """An authentication that may send more than the secret, so it has no equality."""

    __slots__ = ()

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the usual header."""
        await super().__call__(request)


class Comparable(Custom):
    """An authentication with equality."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __eq__(self, other: object) -> bool:
        """Compare the secrets."""
        return isinstance(other, Comparable) and self.secret == other.secret

    def __hash__(self) -> int:
        """Return a hash that is the same for equal methods."""
        return hash(self.secret)


async def _sign(_: bytes) -> bytes:
    return b"signature"


def _signer() -> PrivateKeyJWT:
    return PrivateKeyJWT.from_signer(partial(_sign), kid="1", algorithm="RS256")


MADE_FOR_EACH_CALL: dict[str, Callable[[], TokenKey]] = {
    "a lambda": lambda: key_of(ClientSecretBasic(lambda: SECRET)),
    "a lambda for a JWT": lambda: key_of(ClientSecretJWT(lambda: LONG_SECRET)),
    "a partial": lambda: key_of(ClientSecretBasic(partial(str, SECRET))),
    "a method of another object": lambda: key_of(ClientSecretBasic(Vault().read)),
    "a callable for the key": lambda: key_of(PrivateKeyJWT(lambda: pem(ec_key()))),
    "a signer": lambda: key_of(_signer()),
    "an authentication": lambda: key_of(Custom()),
    "a method as authentication": lambda: key_of(Custom().__call__),
    "a subclass": lambda: key_of(CustomBasic(SECRET)),
    "a DPoP key": lambda: key_of(dpop=DPoP()),
}


@pytest.mark.parametrize("habit", MADE_FOR_EACH_CALL)
def test_clients_that_are_made_for_each_call_are_told_once(
    habit: str, judge: Misuse, events: list[Event]
) -> None:
    """The third client that differs only by its credential or DPoP key emits one event for all."""
    keys = [MADE_FOR_EACH_CALL[habit]() for _ in range(5)]
    for key in keys:
        judge.check_request(key)
    judge._emit.deliver()

    (told,) = traps(events)
    assert isinstance(told, ClientNotReused)
    assert told.key is keys[2]
    assert ("DPoP key" in told.advice) == (habit == "a DPoP key")
    assert [len(clients) for clients in judge._clients.values()] == [3]


async def test_3000_clients_are_told_once() -> None:
    """A client that is made for each of 3,000 calls costs one event, and the sandbox every call."""
    number = 3_000
    async with world() as here:

        async def call() -> None:
            client = OktaClient(here.sandbox.origin, CLIENT_ID, ClientSecretBasic(lambda: SECRET))
            await here.provider.get_token(client, "a")

        for _ in range(number // 100):
            await asyncio.gather(*(call() for _ in range(100)))
        await here.quiet()

        assert here.sandbox.token_requests == number
        assert kinds(here.events) == [ClientNotReused]


KEPT = ClientSecretBasic(lambda: SECRET)
OLD = ClientSecretBasic(Vault().read)
BOUND = DPoP()
REUSED: dict[str, Callable[[int], TokenKey]] = {
    "a rotated secret": lambda number: key_of(ClientSecretBasic(f"{SECRET}{number}")),
    "a rotated key": lambda number: key_of(PrivateKeyJWT(ec_key(number=number))),
    "a rotated secret with a DPoP key": lambda number: key_of(
        ClientSecretBasic(f"{SECRET}{number}"), dpop=BOUND
    ),
    "an authentication with equality": lambda number: key_of(Comparable(str(number))),
    "one callable for many scopes": lambda number: key_of(KEPT, scope=f"s{number}"),
    "other scopes": lambda number: key_of(ClientSecretBasic(lambda: SECRET), scope=f"s{number}"),
    "other clients": lambda number: key_of(
        ClientSecretBasic(lambda: SECRET), client_id=f"0oa{number}"
    ),
    "a forgotten key": lambda _: key_of(KEPT),
    "an old client and a new one": lambda number: key_of(KEPT if number % 2 else OLD),
}


@pytest.mark.parametrize("case", REUSED)
def test_clients_that_differ_for_a_reason_are_not_told(
    case: str, judge: Misuse, events: list[Event]
) -> None:
    """No event: a credential that is a value and rotates, other ids and scopes, the same client."""
    keys = [REUSED[case](number) for number in range(6)]
    for key in keys:
        judge.check_request(key)
    judge._emit.deliver()

    assert traps(events) == []


def test_the_clients_that_are_counted_are_bounded(
    judge: Misuse, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The causes that are told are bounded in number, so a habit of many clients is no flood."""
    monkeypatch.setattr(misuse, "_MAX_CAUSES", 2)
    vaults = [Vault() for _ in range(4)]  # all alive, so that each has an identity of its own
    for number in range(5):
        for vault in vaults:
            method = ClientSecretBasic(vault.read)
            judge.check_request(key_of(method, client_id=f"0oa{number}"))
    judge._emit.deliver()

    assert kinds(events) == [ClientNotReused] * 2
    assert len(judge._clients) == 2


async def test_a_snapshot_shows_how_clients_authenticate() -> None:
    """`inspect` names the callable of a client, and of the user's own method only the type."""
    methods: dict[str, ClientAuthentication] = {
        "ClientSecretBasic(<secret>)": ClientSecretBasic(SECRET),
        "ClientSecretBasic(<Vault.read>)": ClientSecretBasic(Vault().read),
        "Comparable": Comparable(SECRET),
        "CustomBasic": CustomBasic(SECRET),
    }
    async with world() as here:
        for method in methods.values():
            client = OktaClient(here.sandbox.origin, CLIENT_ID, method)
            here.provider.source(client, "a", keep_fresh=True)

        assert [row.authentication for row in here.provider.inspect()] == [*methods]


# Callables that block the event loop


class Block:
    """Lets callables block the event loop for as long as a test says, in no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 0.0

    def __call__(self, value: Any) -> Any:  # noqa: ANN401 - a secret, key or signature
        """Block the event loop, and return the value."""
        self.now += self.seconds
        return value


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch) -> Block:
    """A stopwatch that only callables move."""
    made = Block()
    monkeypatch.setattr(authentication, "stopwatch", lambda: made.now)
    return made


def app() -> SandboxClient:
    """Return a client that has the secret, and the key."""
    jwk = public_jwk(ec_key(), kid="k1")
    return SandboxClient(
        CLIENT_ID, [SECRET, LONG_SECRET], scopes=SCOPES, keys=[jwk], integration=True
    )


def sign(data: bytes) -> bytes:
    """Return the signature of the key."""
    key = load_key(ec_key())
    assert not isinstance(key, str)
    return at_once(key.sign(data))


Method = Callable[[Callable[..., Any]], ClientAuthentication]
METHODS: dict[str, tuple[Method, Callable[..., object]]] = {
    "a secret": (ClientSecretBasic, lambda: SECRET),
    "a secret for a JWT": (ClientSecretJWT, lambda: LONG_SECRET),
    "a key": (PrivateKeyJWT, lambda: pem(ec_key()).decode()),
    "a key and its id": (PrivateKeyJWT, lambda: (pem(ec_key()), "k1")),
    "a signature": (
        lambda sign: PrivateKeyJWT.from_signer(sign, kid="k1", algorithm="ES256"),
        sign,
    ),
}


@pytest.mark.parametrize("credential", METHODS)
async def test_a_callable_that_blocks_the_event_loop_is_told_once(
    credential: str, block: Block
) -> None:
    """A plain callable that takes more than 50 ms emits one event, however often it is called."""
    make, returns = METHODS[credential]
    method = make(lambda *arguments: block(returns(*arguments)))
    async with world(app=app(), authentication=method) as here:
        block.seconds = 0.05
        await here.source("a").get_token()
        assert kinds(here.events) == []

        block.seconds = 0.06
        for scope in ("b", "c"):
            await here.source(scope).get_token()
        await here.quiet()

        (told,) = traps(here.events)
        assert isinstance(told, SlowCallable)
        assert told.seconds == pytest.approx(0.06)
        assert "lambda: asyncio.to_thread(read_secret)" in told.advice


@pytest.mark.parametrize("credential", METHODS)
async def test_a_callable_that_starts_a_thread_does_not_block(credential: str) -> None:
    """`lambda: asyncio.to_thread(read)` calls `read` in another thread, for each credential."""
    make, returns = METHODS[credential]
    threads: list[int] = []

    def read(*arguments: bytes) -> object:
        threads.append(threading.get_ident())
        return returns(*arguments)

    method = make(lambda *arguments: asyncio.to_thread(read, *arguments))
    async with world(app=app(), authentication=method) as here:
        await here.source().get_token()

    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_a_callable_that_blocks_and_fails_is_told(block: Block) -> None:
    """The time until the callable raises counts, also while a store is asked for the token."""

    def fail() -> str:
        block("")
        raise LookupError

    block.seconds = 1.0
    for store in (None, MemoryTokenStore):
        method, retry = ClientSecretBasic(fail), RetryPolicy(attempts=1)
        async with world(authentication=method, store=store, retry=retry) as here:
            with pytest.raises(CredentialError):
                await here.source().get_token()
            await here.quiet()

            assert kinds(here.events) == [SlowCallable]


async def test_an_async_callable_may_take_its_time(block: Block) -> None:
    """Only what runs before the first `await` counts: a callable may wait as long as it likes."""

    async def read() -> str:
        return await asyncio.to_thread(block, SECRET)

    block.seconds = 1.0
    async with world(authentication=ClientSecretBasic(read)) as here:
        await here.source().get_token()
        await here.quiet()

        assert kinds(here.events) == []


# Lifetimes


async def test_a_lifetime_that_does_not_fit_is_told_once() -> None:
    """A lead that does not fit into half of the lifetime emits one event per client."""
    async with world(lifetime=19, lifetimes={"b": 18, "c": 20}) as here:
        for scope in ("a", "b", "c", "a c"):
            await here.source(scope).get_token()
        await here.advance(60)
        await here.source().get_token()
        await here.quiet()

        told = [event for event in traps(here.events) if isinstance(event, UnsuitableLifetime)]
        assert [event.lifetime for event in told] == [19, 18]
        assert len(traps(here.events)) == 2
        assert "make min_lead at most 9.5" in told[0].advice


async def test_the_lead_of_the_policy_is_compared() -> None:
    """A longer least lead needs a longer lifetime."""
    async with world(lifetime=300, refresh=RefreshPolicy(min_lead=151)) as here:
        await here.source().get_token()
        await here.quiet()

        assert kinds(here.events) == [UnsuitableLifetime]


# The cache


async def test_a_usable_token_that_is_dropped_for_another_one_is_told_once() -> None:
    """A cache without a place for all tokens is told once; one that drops failures is not."""
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=["a", "b", "c"])
    async with world(app=app, max_tokens=2) as here:
        for unknown in ("x", "y", "z"):
            with pytest.raises(OAuthError):
                await here.source(unknown).get_token()
        await here.source("a").get_token()
        await here.source("b").get_token()
        assert kinds(here.events) == []
        for scope in ("c", "a", "b", "c"):
            await here.source(scope).get_token()
        await here.quiet()

        assert kinds(here.events) == [CacheFull]
        (told,) = traps(here.events)
        assert "raise max_tokens" in told.advice  # type: ignore[attr-defined]


# Response times


async def fetch_slowly(here: World, scope: str, seconds: float) -> None:
    """Fetch a token that arrives after a number of seconds."""
    here.sandbox.latency = 0.02
    sent = here.sandbox.token_requests
    caller = asyncio.ensure_future(here.source(scope).get_token())
    await here.requests(sent + 1)
    here.clock.boot += seconds
    here.clock.wall += seconds
    await caller
    await here.quiet()


async def test_slow_responses_are_told_again_only_after_quick_ones() -> None:
    """More than half of the time-out is slow, and half of the time that was told is quick again."""
    scopes = iter(f"s{number}" for number in range(20))
    sandbox_app = SandboxClient(CLIENT_ID, [SECRET], scopes=[*(f"s{n}" for n in range(20))])
    async with world(app=sandbox_app) as here:
        await fetch_slowly(here, next(scopes), 5.0)
        assert kinds(here.events) == []
        for seconds in (6.0, 7.0, 4.0, 4.0, 6.5):
            await fetch_slowly(here, next(scopes), seconds)
        (told,) = traps(here.events)
        assert isinstance(told, SlowResponses)
        assert told.duration == 6.0
        assert "half of RetryPolicy.request_timeout (10 s)" in told.advice

        for _ in range(4):
            await fetch_slowly(here, next(scopes), 0.0)
        assert kinds(here.events) == [SlowResponses]
        await fetch_slowly(here, next(scopes), 8.0)
        assert kinds(here.events) == [SlowResponses] * 2


async def test_a_response_time_near_the_lead_is_told() -> None:
    """A renewal that begins twice the response time before expiry must not take half the lead."""
    async with world(lifetime=24) as here:
        await fetch_slowly(here, "a", 2.5)
        assert kinds(here.events) == []
        await fetch_slowly(here, "b", 2.6)
        assert kinds(here.events) == [SlowResponses]


def test_the_slow_domains_that_are_told_are_bounded(
    judge: Misuse, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The domains that are slow at the same time are told up to a number."""
    monkeypatch.setattr(misuse, "_MAX_CAUSES", 2)
    for number in range(4):
        client = OktaClient(f"d{number}.okta.com", CLIENT_ID, ClientSecretBasic(SECRET))
        judge.check_response_time(TokenKey(client, frozenset({"a"})), 9.0, 3600.0)
    judge._emit.deliver()

    assert kinds(events) == [SlowResponses] * 2


# Stores


def store_at(url_or_client: Any) -> RedisTokenStore:  # noqa: ANN401 - a URL or a client
    """Return a store that connects to nothing before it is used."""
    return RedisTokenStore(url_or_client, keys=generate_key())


def sentinel_client(host: str, **options: Any) -> Redis:  # noqa: ANN401 - of redis-py
    """Return a client that asks a sentinel for its server."""
    client: Redis = Sentinel([(host, 26379)]).master_for("fleet", **options)  # type: ignore[no-untyped-call]  # redis-py has no types here
    return client


HOSTS: dict[str, tuple[Callable[[], object], str | None]] = {
    "URL": (lambda: "redis://user:secret@tokens.acme.com:6379/0", "tokens.acme.com"),
    "URL with TLS": (lambda: "rediss://tokens.acme.com", None),
    "URL of this machine": (lambda: "redis://LOCALHOST:6379", None),
    "URL of a loopback address": (lambda: "redis://127.0.0.1", None),
    "URL without a host": (lambda: "redis://", None),
    "URL of a socket": (lambda: "unix:///run/valkey.sock", None),
    "client": (lambda: Redis(host="10.0.0.7"), "10.0.0.7"),
    "client with TLS": (lambda: Redis(host="10.0.0.7", ssl=True), None),
    "client of this machine": (Redis, None),
    "cluster": (
        lambda: RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", 1), ClusterNode("a.b", 1)]),
        "a.b",
    ),
    "cluster with TLS": (lambda: RedisCluster(host="a.b", ssl=True), None),
    "sentinel": (lambda: sentinel_client("sentinel.acme.com"), "sentinel.acme.com"),
    "sentinel with TLS": (lambda: sentinel_client("sentinel.acme.com", ssl=True), None),
    "sentinel of this machine": (lambda: sentinel_client("127.0.0.1"), None),
}


@pytest.mark.parametrize("connection", HOSTS)
async def test_a_store_without_tls_is_told_at_each_start(
    connection: str, events: list[Event]
) -> None:
    """A store on another machine without TLS emits one event when a provider starts."""
    make, host = HOSTS[connection]
    store = store_at(make())
    for _ in range(2):
        async with TokenProvider(store=store, observers=[events.append]):
            await asyncio.sleep(0)
            told = [event for event in events if isinstance(event, StoreWithoutTls)]
            events.clear()

        assert [event.host for event in told] == ([] if host is None else [host])
        assert all("rediss://" in event.advice for event in told)


class Client:
    """A client that only looks like one of redis-py."""

    async def execute_command(self) -> None:
        """Do nothing."""


class OpenStore(MemoryTokenStore):
    """A store of the user's whose attribute fails."""

    @property
    def host_without_tls(self) -> str:
        """Fail."""
        raise LookupError


async def test_a_store_of_the_users_needs_no_attribute(events: list[Event]) -> None:
    """A store without the attribute, or whose attribute or client fails, emits nothing."""
    clock = ManualClock()
    for store in (MemoryTokenStore(clock), OpenStore(clock), store_at(Client())):
        async with TokenProvider(store=store, observers=[events.append]):
            await asyncio.sleep(0)

    assert kinds(events) == []
