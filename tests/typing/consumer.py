"""A program that uses every public name, as the type checkers of users see it.

`.ci/run` checks it with mypy and pyright, both strict, where only the package with its extras is
installed. An annotation or an `assert_type` stands wherever another type would go unnoticed.
"""

# pyright: strict

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Unpack, assert_type

import aiohttp
import grpc
import httpx
import httpx2
from opentelemetry.metrics import get_meter_provider
from redis.asyncio import Redis

import okta_tokens
from okta_tokens import (
    AccessToken,
    AnyTokenSource,
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    Clock,
    DPoP,
    KeyStatus,
    OktaClient,
    PrivateKeyJWT,
    Readiness,
    RefreshPolicy,
    RetryPolicy,
    Stats,
    SystemClock,
    TokenKey,
    TokenProvider,
    TokenRequest,
    TokenSource,
    __version__,
    errors,
    events,
)
from okta_tokens.adapters.aiohttp import TokenMiddleware
from okta_tokens.adapters.grpc import token_channel, token_interceptors
from okta_tokens.adapters.httpx import TokenAuth
from okta_tokens.adapters.httpx2 import TokenAuth as TokenAuth2
from okta_tokens.cli import main as command
from okta_tokens.doctor import Diagnosis, Outcome, Result, check_names, diagnose
from okta_tokens.errors import (
    ConfigurationError,
    CredentialError,
    FetchError,
    FetchFacts,
    InvalidResponseError,
    KeyDescription,
    OAuthError,
    ProviderStateError,
    RateLimitedError,
    ServerError,
    StoreError,
    TokenProviderError,
    TransportError,
)
from okta_tokens.events import (
    AttemptFailed,
    CacheFull,
    ClientNotReused,
    ClockDiffers,
    Event,
    FailureEvent,
    FetchEvent,
    FetchFailed,
    InvalidationIgnored,
    KeyEvent,
    KeyEvicted,
    KeyForgotten,
    KeyIdle,
    KeyRecovered,
    LastRenewalFailed,
    NotificationsRefused,
    Observer,
    PlainHttpUsed,
    ProviderClosed,
    ProviderFailed,
    ProviderNotReused,
    ProviderStarted,
    RenewalAdopted,
    RenewalFailed,
    RenewalPostponed,
    RenewalScheduled,
    RequestsPaused,
    ScopesNotGranted,
    SlowCallable,
    SlowResponses,
    StoreEntryIgnored,
    StoreFailed,
    StoreRecovered,
    StoreWithoutTls,
    TokenAdopted,
    TokenFetched,
    TokenInvalidated,
    TokenNotShared,
    TokenRenewed,
    TokenRequested,
    TokenRevoked,
    TokenWithdrawn,
    UnsuitableLifetime,
    UnusualRequest,
)
from okta_tokens.sandbox import DEFAULT_CLIENT, Fault, ReceivedRequest, Sandbox, SandboxClient
from okta_tokens.stores import (
    DomainState,
    FleetStore,
    NotificationsRefusedError,
    NotifyingStore,
    SharedFailure,
    SharedRejection,
    SharedToken,
    StoredState,
    StoreIdentity,
    Subscription,
    TokenStore,
    UnreadableEntry,
)
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from okta_tokens.telemetry import OpenTelemetryObserver
from okta_tokens.testing import FakeTokenSource, ManualClock, assert_no_secrets, fake_token
from okta_tokens.testing.store_contract import (
    FleetStoreContract,
    NotifyingStoreContract,
    StoreContract,
)

API = "https://api.acme.com"


# A class of the user's own for each protocol.


class MutualTls:
    """A client authentication: the client's certificate is its credential (RFC 8705)."""

    credential_identity = "the certificate's thumbprint"

    async def __call__(self, request: TokenRequest, /) -> None:
        """Name the client in the body."""
        request.form["client_id"] = request.client_id
        assert_type(request.url, str)
        assert_type(request.headers, dict[str, str])
        assert_type(request.now, float)
        assert_type(request.secrets, list[str])


class MonotonicClock:
    """A clock whose boot time does not count suspension."""

    def boot_time(self) -> float:
        """Return the seconds since the machine started."""
        return time.monotonic()

    def wall_time(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    async def sleep_until(self, instant: float) -> None:
        """Sleep."""
        await asyncio.sleep(instant - self.boot_time())


class MemoryStore:
    """A store for the tokens of one process."""

    timeout = 0.5
    lease = 5.0

    def __init__(self) -> None:
        self.tokens: dict[StoreIdentity, SharedToken] = {}

    async def load(self, identity: StoreIdentity) -> tuple[SharedToken, float] | None:
        """Return the token."""
        token = self.tokens.get(identity)
        if token is None:
            return None
        if token.scopes != frozenset({"orders:read"}):
            raise UnreadableEntry(identity.name(bytes(32), "token"))
        return token, token.lifetime

    async def save(self, identity: StoreIdentity, token: SharedToken, seconds: float) -> None:
        """Keep the token."""
        self.tokens[identity] = token

    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None:
        """Remove the token."""
        if self.tokens[identity].value == value:
            del self.tokens[identity]

    async def acquire(self, identity: StoreIdentity, seconds: float) -> str | None:
        """Lease nothing."""
        return None

    async def release(self, identity: StoreIdentity, lease: str) -> None:
        """Ignore the lease."""

    async def pause(self, identity: StoreIdentity, seconds: float, until: float) -> None:
        """Ignore the pause."""

    async def paused(self, identity: StoreIdentity) -> tuple[float, float] | None:
        """Know of no pause."""
        return None


class News:
    """Notifications, of which there are none."""

    async def add(self, *identities: StoreIdentity) -> None:
        """Ignore the identities."""

    async def remove(self, *identities: StoreIdentity) -> None:
        """Ignore the identities."""

    async def next(self) -> StoreIdentity:
        """Wait for ever."""
        never: asyncio.Future[StoreIdentity] = asyncio.get_running_loop().create_future()
        return await never

    async def aclose(self) -> None:
        """Close nothing."""


class FleetMemoryStore(MemoryStore):
    """A store with the optional parts."""

    async def look(self, identity: StoreIdentity, held: str | None) -> StoredState:
        """Return the token, and no failure and no rejection."""
        found = await self.load(identity)
        if found is None:
            return StoredState()
        return StoredState(*found, held_is_discarded=held is not None)

    async def settle(
        self,
        identity: StoreIdentity,
        outcome: SharedToken | SharedFailure,
        seconds: float,
        lease: str | None,
    ) -> None:
        """Keep a token, and print a failure."""
        if isinstance(outcome, SharedFailure):
            print(outcome.kind, outcome.message, outcome.failures)
        else:
            await self.save(identity, outcome, seconds)

    async def extend(self, identity: StoreIdentity, lease: str, seconds: float) -> None:
        """Ignore the lease."""

    async def reject(
        self,
        identity: StoreIdentity,
        value: str,
        seconds: float,
        rejection: SharedRejection | None,
    ) -> None:
        """Remove the token."""
        await self.discard(identity, value, seconds)

    async def look_at_domain(self, domain: StoreIdentity, client: StoreIdentity) -> DomainState:
        """Know of no pause."""
        return DomainState(pause=await self.paused(domain), cleared_at=None)

    async def clear(
        self, domain: StoreIdentity, client: StoreIdentity | None, at: float, seconds: float
    ) -> None:
        """Remember nothing."""

    async def subscribe(self, *identities: StoreIdentity) -> Subscription | None:
        """Return a subscription, or refuse one."""
        if not identities:
            raise NotificationsRefusedError
        return News()


class TestFleetMemoryStore(FleetStoreContract, NotifyingStoreContract):
    """The tests of that store."""

    @asynccontextmanager
    async def open_store(self) -> AsyncGenerator[TokenStore, None]:
        """Make a store."""
        yield FleetMemoryStore()


contract: StoreContract = TestFleetMemoryStore()
fleet: FleetStore = FleetMemoryStore()
notifying: NotifyingStore = FleetMemoryStore()


class ByTenant:
    """A source that asks the source of one of several tenants."""

    def __init__(self, sources: Mapping[str, TokenSource]) -> None:
        self.sources = sources
        self.tenant = "acme"

    @property
    def key(self) -> TokenKey:
        """Return the key of the tenant's tokens."""
        return self.sources[self.tenant].key

    async def get_token(self) -> AccessToken:
        """Return the tenant's token."""
        return await self.sources[self.tenant].get_token()

    def peek(self) -> AccessToken | None:
        """Return the tenant's token, if it is held."""
        return self.sources[self.tenant].peek()

    def get_token_from_thread(self, timeout: float = 60.0) -> AccessToken:
        """Return the tenant's token to a thread."""
        return self.sources[self.tenant].get_token_from_thread(timeout)

    async def proof(
        self, token: AccessToken, method: str, url: str, nonce: str | None = None
    ) -> str:
        """Return a proof for a request of the tenant."""
        return await self.sources[self.tenant].proof(token, method, url, nonce)

    def invalidate(
        self, token: AccessToken | str, *, api: str | None = None, challenge: str | None = None
    ) -> bool:
        """Drop the tenant's token."""
        return self.sources[self.tenant].invalidate(token, api=api, challenge=challenge)


mutual_tls: ClientAuthentication = MutualTls()
clocks: list[Clock] = [SystemClock(), MonotonicClock(), ManualClock()]
memory: TokenStore = MemoryStore()


# Credentials: values, files, and plain and async callables.


def read_secret() -> str:
    """Return the secret from a vault."""
    return "the secret"


async def fetch_secret() -> str:
    """Return the secret from a remote vault."""
    return "the secret"


def read_key() -> tuple[bytes, str]:
    """Return the key and its id."""
    return b"PEM", "key-1"


async def fetch_key() -> Mapping[str, object]:
    """Return the key as a JWK."""
    return {"kty": "RSA"}


async def sign(signing_input: bytes) -> bytes:
    """Let a key management service sign."""
    return signing_input


METHODS: Sequence[ClientAuthentication] = (
    ClientSecretBasic("the secret"),
    ClientSecretBasic(Path("/run/secrets/okta")),
    ClientSecretPost(read_secret),
    ClientSecretPost(fetch_secret),
    ClientSecretJWT(fetch_secret, algorithm="HS512"),
    PrivateKeyJWT(Path("/run/secrets/key.pem"), kid="key-1"),
    PrivateKeyJWT({"kty": "RSA"}, algorithm="RS256"),
    PrivateKeyJWT(read_key),
    PrivateKeyJWT(fetch_key),
    PrivateKeyJWT.from_signer(sign, kid="key-1", algorithm="ES256"),
    mutual_tls,
)


def make_clients() -> list[OktaClient]:
    """Return a client for each method, and those of the configuration."""
    dpop = DPoP()
    assert_type(dpop.thumbprint, str)
    return [
        *(OktaClient("acme.okta.com", "0oa1b2c3", method) for method in METHODS),
        OktaClient(
            "acme.okta.com",
            "0oa1b2c3",
            ClientSecretBasic("the secret"),
            authorization_server=None,
            dpop=dpop,
            parameters={"audience": "api", "resource": ("a", "b")},
            allow_http=True,
        ),
        assert_type(OktaClient.from_env(prefix="ORDERS_"), OktaClient),
        assert_type(OktaClient.from_file(Path("okta.yaml")), OktaClient),
    ]


# Errors: what a handler can read, by the class.


def explain(error: TokenProviderError) -> str:
    """Return what went wrong."""
    text = str(error)
    match error:
        case OAuthError():
            assert_type(error.status, int)
            text = f"{error.error}: {error.description}. {error.advice}"
        case RateLimitedError():
            assert_type(error.retry_at, datetime)
            assert_type(error.status, int | None)
        case ServerError():
            assert_type(error.retry_at, datetime | None)
            assert_type(error.status, int)
        case InvalidResponseError():
            assert_type(error.status, int)
        case CredentialError() | TransportError():
            assert_type(error, CredentialError | TransportError)
        case FetchError():
            text = describe(error)
        case ConfigurationError():
            wrong: ValueError = error
            text = str(wrong)
        case ProviderStateError():
            text = "use one provider in one event loop"
        case StoreError():
            text = "clear the tokens again"
        case _:
            assert_type(error, TokenProviderError)
    return text


def fail(**facts: Unpack[FetchFacts]) -> TransportError:
    """Return an error for a test, with the facts that every error of a fetch takes."""
    return TransportError("no connection", **facts)


RETRYABLE = fail(retryable=True, attempts=6)


def describe(error: FetchError) -> str:
    """Return what every failed fetch tells."""
    assert_type(error.attempts, int)
    assert_type(error.retryable, bool)
    assert_type(error.request_id, str | None)
    assert_type(error.error_id, str | None)
    assert_type(error.headers, Mapping[str, str])
    key: KeyDescription | None = error.key
    if key is None:
        return error.headers.get("Date", "")
    assert_type(key.scopes, frozenset[str])
    return f"{key.domain} {key.authorization_server} {key.client_id}"


# Observers: functions, and classes with a method `__call__`.


def observe(event: Event) -> None:
    """Look at the fields of an event."""
    match event:
        case KeyEvent():
            observe_key(event)
        case RequestsPaused():
            assert_type(event.seconds, float)
            assert_type(event.org_server, bool)
        case StoreFailed():
            assert_type(event.host, str | None)
        case ProviderFailed():
            assert_type(event.error, ProviderStateError)
        case _:
            print(event.name.upper(), event.level.upper())


def observe_key(event: KeyEvent) -> None:
    """Look at the fields of an event about one key."""
    assert_type(event.key, TokenKey)
    match event:
        case TokenFetched(lifetime=lifetime, request_id=request_id):
            assert_type(lifetime, float)
            assert_type(request_id, str | None)
        case TokenAdopted(remaining=remaining):
            assert_type(remaining, float)
        case AttemptFailed(error=failure):
            assert_type(failure, FetchError)
        case FetchFailed(error=error, without_token=seconds):
            assert_type(error, TokenProviderError)
            assert_type(seconds, float)
        case RenewalFailed(after=after):
            assert_type(after, float | None)
        case FailureEvent(error_type=error_type, status=status):
            assert_type(error_type, str)
            assert_type(status, int | None)
        case FetchEvent(reason=reason):
            print(reason.title())
        case TokenInvalidated(api=api, challenge=challenge):
            assert_type((api, challenge), tuple[str | None, str | None])
        case _:
            print(event.key)


KINDS: tuple[type[Event], ...] = (
    *(CacheFull, ClientNotReused, ClockDiffers, InvalidationIgnored, KeyEvicted, KeyForgotten),
    *(KeyIdle, KeyRecovered, LastRenewalFailed, PlainHttpUsed, ProviderClosed, ProviderNotReused),
    *(ProviderStarted, RenewalAdopted, RenewalPostponed, RenewalScheduled, ScopesNotGranted),
    *(SlowCallable, SlowResponses, StoreEntryIgnored, StoreRecovered, StoreWithoutTls),
    *(TokenNotShared, TokenRenewed, TokenRequested, TokenRevoked, UnsuitableLifetime),
    *(UnusualRequest, NotificationsRefused, TokenWithdrawn),
)


def of(seconds: float) -> Event:
    """Return an event, as a test of an observer makes it."""
    event = ClockDiffers(domain="acme.okta.com", seconds=seconds)
    assert_type(event.name, str)
    return event


class Counter:
    """Counts events of one kind."""

    def __init__(self, kind: type[events.Event]) -> None:
        self.kind = kind
        self.count = 0

    def __call__(self, event: Event, /) -> None:
        """Count an event."""
        self.count += isinstance(event, self.kind)


observers: list[Observer] = [observe, *map(Counter, KINDS), OpenTelemetryObserver()]


# A provider, its sources, and what they tell.


async def use_provider(client: OktaClient, store: TokenStore) -> None:
    """Call every method of a provider."""
    metrics = OpenTelemetryObserver(meter_provider=get_meter_provider(), client_id=False)
    session = aiohttp.ClientSession()
    provider = TokenProvider(
        refresh=RefreshPolicy(lead_fraction=0.3, min_lead=5),
        retry=RetryPolicy(attempts=3, request_timeout=5),
        session=session,
        store=store,
        max_tokens=100,
        user_agent="orders/1.2",
        observers=[*observers, metrics],
        clock=clocks[0],
    )
    metrics.attach(provider)
    async with provider as running:
        assert_type(running, TokenProvider)
        token = await provider.get_token(client, "orders:read")
        assert_type(token, AccessToken)
        source = provider.source(client, ["orders:read"], keep_fresh=True)
        assert_type(source, TokenSource)
        await provider.warm(source, timeout=10)
        readiness = provider.ready(source)
        assert_type(readiness, Readiness)
        assert_type(readiness.ok, bool)
        assert_type(readiness.reasons, tuple[str, ...])
        assert_type(readiness.remaining, float | None)
        report(provider.stats(), provider.inspect())
        if provider.invalidate(token, api=API, challenge="Bearer"):
            await provider.revoke(token)
        await provider.clear(client)
        await use_source(source)
    await (await TokenProvider().start()).aclose()


def report(stats: Stats, keys: list[KeyStatus]) -> None:
    """Print what a provider holds."""
    assert_type(stats.requests, int)
    assert_type(stats.store_available, bool | None)
    assert_type(stats.clock_offsets, Mapping[str, float])
    for key in keys:
        assert_type(key.state, str)
        assert_type(key.scopes, tuple[str, ...])
        assert_type(key.remaining, float | None)
        assert_type(key.in_flight, bool)


async def use_source(source: TokenSource) -> None:
    """Call every method of a source."""
    try:
        token = await source.get_token()
    except FetchError as error:
        print(explain(error), error.attempts)
        return
    assert_type(token, AccessToken)
    assert_type(token.value, str)
    assert_type(token.authorization, str)
    assert_type(token.expires_at, datetime)
    assert_type(token.remaining(), float)
    assert_type(token.scopes, frozenset[str])
    assert_type(token.key, TokenKey)
    assert_type(source.key.scope, str)
    assert_type(source.peek(), AccessToken | None)
    assert_type(await source.access_token(), str)
    assert_type(await source.refresh(), AccessToken)
    assert_type(await asyncio.to_thread(source.get_token_from_thread, 5), AccessToken)
    assert_type(await source.headers("GET", API), dict[str, str])
    assert_type(await source.proof(token, "GET", API), str)
    assert_type(source.invalidate(token.value), bool)


# Adapters.


async def use_adapters(source: AnyTokenSource) -> None:
    """Call an API with each adapter."""
    middleware = TokenMiddleware(source, origins=[API], pass_others=True)
    async with (
        aiohttp.ClientSession(middlewares=[middleware]) as session,
        session.get(API) as response,
    ):
        assert_type(response.status, int)
    async with httpx.AsyncClient(auth=TokenAuth(source, origins=[API])) as client:
        await client.get(API)
    async with httpx2.AsyncClient(auth=TokenAuth2(source, origins=[API])) as client2:
        await client2.get(API)
    interceptors: Sequence[grpc.aio.ClientInterceptor] = token_interceptors(source)
    tls = grpc.ssl_channel_credentials()
    channel = token_channel(source, "api.acme.com:443", tls, interceptors=interceptors)
    assert_type(channel, grpc.aio.Channel)
    async with channel:
        await channel.channel_ready()


def use_from_thread(source: AnyTokenSource) -> None:
    """Call an API from a thread."""
    with httpx.Client(auth=TokenAuth(source, origins=[API], token_timeout=5)) as client:
        client.get(API)


# Stores, the doctor, the sandbox.


async def share() -> None:
    """Open the store for Redis, with a URL and with a client."""
    key = generate_key()
    assert_type(key, str)
    async with RedisTokenStore("rediss://cache.acme.com", keys=[key, b"another"]) as store:
        assert_type(store, RedisTokenStore)
        shared: TokenStore = store
        assert_type(shared.timeout, float)
        assert_type(await store.count_tokens(), tuple[int, int])
        assert_type(store.host_without_tls, str | None)
    await RedisTokenStore(Redis(), keys=key, prefix="orders:").aclose()


async def examine(client: OktaClient, store: TokenStore) -> bool:
    """Let the doctor look at a client."""
    assert_type(check_names("orders:read"), list[str])
    diagnosis = await diagnose(client, "orders:read", store=store, on_result=show)
    assert_type(diagnosis, Diagnosis)
    assert_type(diagnosis.results, tuple[Result, ...])
    assert_type(diagnosis.as_dict(), dict[str, object])
    return diagnosis.ok


def show(result: Result) -> str:
    """Return a line about a result."""
    match result.outcome:
        case Outcome.PASS | Outcome.SKIP:
            return result.detail
        case Outcome.WARN | Outcome.FAIL:
            return f"{result.name}: {result.remedy or 'no remedy'}"


async def try_sandbox(record: Callable[[ReceivedRequest], None]) -> None:
    """Get a token from a sandbox."""
    known = [DEFAULT_CLIENT, SandboxClient("0oa1b2c3", ["the secret"], scopes=["orders:read"])]
    async with Sandbox(known, lifetime=300, on_request=record) as sandbox:
        assert_type(sandbox, Sandbox)
        assert_type(sandbox.origin, str)
        assert_type(sandbox.token_requests, int)
        sandbox.latency = 0.1, 0.2
        sandbox.fault = Fault.status(503)
        sandbox.fail_next(Fault.drop(), Fault.answer(400, "{}"))
        with sandbox.outage():
            pass
        for request in sandbox.received:
            assert_type(request, ReceivedRequest)
            assert_type(request.client_id, str | None)


# Tests of the user's own.


async def test_a_service() -> None:
    """Use the sandbox in a thread, the clock, and the fakes."""
    clock = ManualClock(boot=0.0)
    with Sandbox(wall_time=clock.wall_time) as sandbox, sandbox.temporarily(latency=0.5):
        provider = TokenProvider(clock=clock)
        clock.watch(provider)
        await clock.advance(3600)
        await asyncio.to_thread(clock.advance_from_thread, 60.0)
        sandbox.fail_for(30, Fault.named("drop"))
        assert_type(sandbox.rotate_secret(keep_old=True), str)
        sandbox.assert_received(0, scopes="orders:read", status=503)
        assert_no_secrets(repr(sandbox.received), "the secret")
    source = FakeTokenSource(fake_token("value", scopes=["orders:read"], lifetime=60))
    source.error = TransportError("no connection", retryable=True)
    assert_type(source.calls, int)
    assert_type(source.invalidated, list[AccessToken | str])
    await use_source(source)
    await use_adapters(source)
    await use_adapters(ByTenant({"acme": source}))


async def run() -> int:
    """Run everything."""
    print(__version__.split("."), okta_tokens.__version__)
    for client in make_clients():
        assert_type(TokenKey(client, frozenset({"orders:read"})).token_type, str)
        await use_provider(client, memory)
        async with TokenProvider() as provider:
            await use_adapters(provider.source(client))
            await asyncio.to_thread(use_from_thread, provider.source(client))
        await examine(client, memory)
    observe(of(math.inf))
    await share()
    await try_sandbox(print)
    await test_a_service()
    try:
        ClientSecretBasic("")
    except errors.ConfigurationError as error:
        print(explain(error))
    return command(["--help"])
