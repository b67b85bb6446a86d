"""The public surface: names, signatures and docstrings. A change here is a change for users."""

import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from enum import Enum
from types import ModuleType
from typing import TypeVar

import pytest

import okta_tokens
from okta_tokens import (
    AccessToken,
    ClientSecretJWT,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RefreshPolicy,
    RetryPolicy,
    TokenProvider,
    TokenSource,
    doctor,
    errors,
    events,
    stores,
    telemetry,
    testing,
)
from okta_tokens.adapters import aiohttp as of_aiohttp
from okta_tokens.adapters import grpc as of_grpc
from okta_tokens.adapters import httpx as of_httpx
from okta_tokens.adapters import httpx2 as of_httpx2
from okta_tokens.errors import TokenProviderError
from okta_tokens.events import Event
from okta_tokens.stores import redis as of_redis
from okta_tokens.testing import store_contract

Kind = TypeVar("Kind")

ADAPTERS = (of_aiohttp, of_grpc, of_httpx, of_httpx2)
MODULES = (
    okta_tokens,
    doctor,
    errors,
    events,
    *ADAPTERS,
    stores,
    of_redis,
    telemetry,
    testing,
    store_contract,
)
"""The public modules: the package, the doctor, errors and events, adapters, stores, telemetry,
testing, and the contract of stores."""

OPTIONAL = [
    *("rich", "argparse", "cryptography", "grpc", "httpx", "httpx2", "opentelemetry"),
    *("redis", "okta_tokens.adapters", "okta_tokens.cli", "okta_tokens.doctor"),
    *("okta_tokens.sandbox", "okta_tokens.stores.redis", "okta_tokens.telemetry"),
    "okta_tokens.testing",
]
"""Modules that `import okta_tokens` must not need."""

CALLED_BY_SYNTAX = {"__aenter__", "__aexit__", "__call__"}
"""Public methods that are called by syntax instead of by name."""

MADE_BY_THE_PROVIDER: set[type] = {AccessToken, TokenSource}
"""Classes that users do not instantiate. Their constructors take private parts."""

SURFACES = {
    "okta_tokens": """
class AccessToken, made by the provider
    authorization: str
    expires_at: datetime
    key: TokenKey
    def remaining(self) -> float
    scopes: frozenset[str]
    token_type: str
    value: str
protocol AnyTokenSource
    async def get_token(self) -> AccessToken
    def get_token_from_thread(self, timeout: float = 60.0) -> AccessToken
    def invalidate(self, token: AccessToken, *, api: str | None = None,
        challenge: str | None = None) -> bool
    key: TokenKey
    def peek(self) -> AccessToken | None
    async def proof(self, token: AccessToken, method: str, url: str,
        nonce: str | None = None) -> str
protocol ClientAuthentication
    async def __call__(self, request: TokenRequest, /) -> None
class ClientSecretBasic(secret: SecretSource)
    async def __call__(self, request: TokenRequest, /) -> None
class ClientSecretJWT(secret: SecretSource, *, algorithm: str = 'HS256')
    async def __call__(self, request: TokenRequest, /) -> None
class ClientSecretPost(secret: SecretSource)
    async def __call__(self, request: TokenRequest, /) -> None
protocol Clock
    boot_time: Callable[[], float]
    async def sleep_until(self, instant: float) -> None
    wall_time: Callable[[], float]
class DPoP(key: KeyMaterial | None = None, *, algorithm: str | None = None)
    async def prove(self, method: str, uri: str, now: float, *, nonce: str | None,
        token: str | None = None) -> str
    thumbprint: str
class KeyStatus(*, domain: str, authorization_server: str | None, client_id: str,
        authentication: str, scopes: tuple[str, ...], parameters: tuple[str, ...],
        dpop_thumbprint: str | None, state: str, remaining: float | None,
        next_action_in: float | None, paused_for: float, refuses_for: float, failures: int,
        last_error: str | None, rejections: int, in_flight: bool, waiters: int,
        kept_fresh: bool, used: bool)
class OktaClient(domain: str, client_id: str, authentication: ClientAuthentication, *,
        authorization_server: str | None = 'default', dpop: DPoP | None = None,
        parameters: Mapping[str, str | tuple[str, ...]] | None = None,
        allow_http: bool = False)
    classmethod def from_env(cls, environ: Mapping[str, str] | None = None, *,
        prefix: str = 'OKTA_CLIENT_', allow_http: bool = False) -> OktaClient
    classmethod def from_file(cls, path: str | Path | None = None, *,
        allow_http: bool = False) -> OktaClient
    origin: str
    revocation_url: str
    token_url: str
class PrivateKeyJWT(key: KeyMaterial | KeyCallable, *, kid: str | None = None,
        algorithm: str | None = None)
    async def __call__(self, request: TokenRequest, /) -> None
    classmethod def from_signer(cls, sign: SignCallable, *, kid: str | None, algorithm: str,
        public_key: KeyMaterial | None = None) -> Self
class Readiness(*, ok: bool, reasons: tuple[str, ...], remaining: float | None)
class RefreshPolicy(*, lead_fraction: float = 0.2, min_lead: float = 10.0,
        max_lead: float = 600.0, max_leeway: float = 5.0, max_backoff: float = 60.0)
    def backoff(self, failures: int, lifetime: float, random: Random) -> float
    def final_call(self, lifetime: float, request_timeout: float) -> float
    def lead(self, lifetime: float) -> float
    def leeway(self, lifetime: float) -> float
    def refresh_after(self, lifetime: float, random: Random,
        response_time: float = 0.0) -> float
    def spread(self, lifetime: float, random: Random) -> float
class RetryPolicy(*, attempts: int = 6, request_timeout: float = 10.0,
        total_timeout: float = 30.0, max_wait: float = 60.0, max_pause: float = 90.0,
        max_cooldown: float = 30.0)
    def cooldown(self, failures: int, random: Random) -> float
    def delay(self, attempt: int, random: Random) -> float
class Stats(*, keys: int, in_flight: int, waiters: int, requests: int, tokens_fetched: int,
        tokens_adopted: int, store_failures: int, fetches_failed: int, renewals_failed: int,
        renewals_postponed: int, tokens_invalidated: int, tokens_revoked: int,
        tokens_withdrawn: int, invalidations_ignored: int, pauses: int, keys_evicted: int,
        keys_forgotten: int, store_available: bool | None, clock_offsets: Mapping[str,
        float], response_times: Mapping[str, float])
class SystemClock()
    async def sleep_until(self, instant: float) -> None
class TokenKey(client: OktaClient, scopes: frozenset[str])
    authorization_server: str | None
    client_id: str
    domain: str
    scope: str
    token_type: str
class TokenProvider(*, refresh: RefreshPolicy | None = None,
        retry: RetryPolicy | None = None, session: aiohttp.ClientSession | None = None,
        store: TokenStore | None = None, max_tokens: int = 10000,
        max_concurrent_requests: int = 8, user_agent: str | None = None,
        observers: Iterable[Observer] = (), clock: Clock | None = None)
    async def __aenter__(self) -> Self
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None) -> None
    async def aclose(self) -> None
    async def clear(self, client: OktaClient | None = None, *,
        everywhere: bool = False) -> None
    async def get_token(self, client: OktaClient,
        scopes: str | Iterable[str] = ()) -> AccessToken
    def inspect(self) -> list[KeyStatus]
    def invalidate(self, token: AccessToken, *, api: str | None = None,
        challenge: str | None = None) -> bool
    def ready(self, *sources: TokenSource) -> Readiness
    async def revoke(self, token: AccessToken) -> None
    def source(self, client: OktaClient, scopes: str | Iterable[str] = (), *,
        keep_fresh: bool = False) -> TokenSource
    async def start(self) -> Self
    def stats(self) -> Stats
    async def warm(self, *sources: TokenSource, timeout: float | None = None) -> None
class TokenRequest(url: str, client_id: str, form: dict[str, str], headers: dict[str, str],
        now: float, secrets: list[str] | None = None, credential: Hashable = None,
        parameters: Fields = ())
class TokenSource, made by the provider
    async def access_token(self) -> str
    async def get_token(self) -> AccessToken
    def get_token_from_thread(self, timeout: float = 60.0) -> AccessToken
    async def headers(self, method: str, url: str, *, nonce: str | None = None) -> dict[str,
        str]
    def invalidate(self, token: AccessToken | str, *, api: str | None = None,
        challenge: str | None = None) -> bool
    key: TokenKey
    def peek(self) -> AccessToken | None
    async def proof(self, token: AccessToken, method: str, url: str,
        nonce: str | None = None) -> str
    async def refresh(self) -> AccessToken
module errors
module events
""",
    "okta_tokens.doctor": """
class Diagnosis(results: tuple[Result, ...], token_requests: int)
    def as_dict(self) -> dict[str, object]
    ok: bool
    outcome: Outcome
enum Outcome
    FAIL = 'fail'
    PASS = 'pass'
    SKIP = 'skip'
    WARN = 'warn'
class Result(name: str, outcome: Outcome, detail: str, remedy: str | None = None)
def check_names(scopes: str | None = None) -> list[str]
async def diagnose(client: OktaClient, scopes: str | Iterable[str] = '', *,
        store: TokenStore | None = None, session: aiohttp.ClientSession | None = None,
        step_timeout: float = 10.0, on_result: Callable[[Result],
        object] | None = None) -> Diagnosis
""",
    "okta_tokens.errors": """
class ConfigurationError
class CredentialError(message: str, **facts: Unpack[FetchFacts])
class FetchError(message: str, **facts: Unpack[FetchFacts])
class FetchFacts
    attempts: int
    error_id: str | None
    headers: Mapping[str, str]
    key: KeyDescription | None
    request_id: str | None
    retryable: bool
class InvalidResponseError(message: str, *, status: int, **facts: Unpack[FetchFacts])
protocol KeyDescription
    authorization_server: str | None
    client_id: str
    domain: str
    scopes: frozenset[str]
class OAuthError(message: str, *, error: str, description: str, status: int,
        advice: str = '', **facts: Unpack[FetchFacts])
class ProviderStateError
class RateLimitedError(message: str, *, retry_at: datetime, status: int | None = None,
        **facts: Unpack[FetchFacts])
class ServerError(message: str, *, status: int, retry_at: datetime | None = None,
        **facts: Unpack[FetchFacts])
class StoreError
class TokenProviderError
class TransportError(message: str, **facts: Unpack[FetchFacts])
""",
    "okta_tokens.events": """
class AttemptFailed(*, key: TokenKey, reason: Reason, waited: float, error: FetchError,
        duration: float)
    level = 'debug'
    name = 'okta_tokens.attempt_failed'
class CacheFull(*, key: TokenKey, advice: str)
    level = 'warning'
    name = 'okta_tokens.cache_full'
class ClientNotReused(*, key: TokenKey, advice: str)
    level = 'warning'
    name = 'okta_tokens.client_not_reused'
class ClockDiffers(*, domain: str, seconds: float)
    level = 'warning'
    name = 'okta_tokens.clock_differs'
class Event()
    level: ClassVar[Level]
    name: ClassVar[str]
class FailureEvent(*, key: TokenKey, reason: Reason, waited: float,
        error: TokenProviderError, duration: float)
    error_type: str
    status: int | None
class FetchEvent(*, key: TokenKey, reason: Reason, waited: float)
class FetchFailed(*, key: TokenKey, reason: Reason, waited: float,
        error: TokenProviderError, duration: float, waiters: int, failures: int,
        without_token: float, cooldown: float, adopted: bool)
    level = 'error'
    name = 'okta_tokens.fetch_failed'
class InvalidationIgnored(*, key: TokenKey, api: str | None, challenge: str | None,
        rejections: int, kept_for: float)
    level = 'warning'
    name = 'okta_tokens.invalidation_ignored'
class KeyEvent(*, key: TokenKey)
class KeyEvicted(*, key: TokenKey)
    level = 'debug'
    name = 'okta_tokens.key_evicted'
class KeyForgotten(*, key: TokenKey)
    level = 'debug'
    name = 'okta_tokens.key_forgotten'
class KeyIdle(*, key: TokenKey)
    level = 'debug'
    name = 'okta_tokens.key_idle'
class KeyRecovered(*, key: TokenKey, failures: int, seconds: float)
    level = 'info'
    name = 'okta_tokens.key_recovered'
class LastRenewalFailed(*, key: TokenKey, reason: Reason, waited: float,
        error: TokenProviderError, duration: float, failures: int, remaining: float,
        after: float | None, adopted: bool)
    level = 'error'
    name = 'okta_tokens.last_renewal_failed'
class NotificationsRefused(*, host: str | None, advice: str)
    level = 'warning'
    name = 'okta_tokens.notifications_refused'
protocol Observer
    def __call__(self, event: Event, /) -> None
class PlainHttpUsed(*, origin: str)
    level = 'warning'
    name = 'okta_tokens.plain_http_used'
class ProviderClosed()
    level = 'info'
    name = 'okta_tokens.provider_closed'
class ProviderFailed(*, error: ProviderStateError)
    level = 'error'
    name = 'okta_tokens.provider_failed'
class ProviderNotReused(*, key: TokenKey, advice: str)
    level = 'warning'
    name = 'okta_tokens.provider_not_reused'
class ProviderStarted()
    level = 'info'
    name = 'okta_tokens.provider_started'
class RenewalAdopted(*, key: TokenKey, reason: Reason, waited: float, duration: float,
        lifetime: float, remaining: float, scopes: frozenset[str], waiters: int)
    level = 'debug'
    name = 'okta_tokens.renewal_adopted'
class RenewalFailed(*, key: TokenKey, reason: Reason, waited: float,
        error: TokenProviderError, duration: float, failures: int, remaining: float,
        after: float | None, adopted: bool)
    level = 'warning'
    name = 'okta_tokens.renewal_failed'
class RenewalPostponed(*, key: TokenKey, reason: Reason, waited: float, status: int | None,
        after: float)
    level = 'debug'
    name = 'okta_tokens.renewal_postponed'
class RenewalScheduled(*, key: TokenKey, after: float)
    level = 'debug'
    name = 'okta_tokens.renewal_scheduled'
class RequestsPaused(*, domain: str, org_server: bool, seconds: float, concurrency: bool,
        status: int, waiters: int, request_id: str | None)
    level = 'warning'
    name = 'okta_tokens.requests_paused'
class ScopesNotGranted(*, key: TokenKey, missing_scopes: frozenset[str],
        scopes: frozenset[str])
    level = 'warning'
    name = 'okta_tokens.scopes_not_granted'
class SlowCallable(*, key: TokenKey, seconds: float, advice: str)
    level = 'warning'
    name = 'okta_tokens.slow_callable'
class SlowResponses(*, key: TokenKey, duration: float, advice: str)
    level = 'warning'
    name = 'okta_tokens.slow_responses'
class StoreEntryIgnored(*, key: TokenKey)
    level = 'warning'
    name = 'okta_tokens.store_entry_ignored'
class StoreFailed(*, host: str | None, reason: str, after: float)
    level = 'warning'
    name = 'okta_tokens.store_failed'
class StoreRecovered(*, seconds: float)
    level = 'info'
    name = 'okta_tokens.store_recovered'
class StoreWithoutTls(*, host: str, advice: str)
    level = 'warning'
    name = 'okta_tokens.store_without_tls'
class TokenAdopted(*, key: TokenKey, reason: Reason, waited: float, duration: float,
        lifetime: float, remaining: float, scopes: frozenset[str], waiters: int)
    level = 'info'
    name = 'okta_tokens.token_adopted'
class TokenFetched(*, key: TokenKey, reason: Reason, waited: float, lifetime: float,
        duration: float, scopes: frozenset[str], missing_scopes: frozenset[str],
        waiters: int, request_id: str | None)
    level = 'info'
    name = 'okta_tokens.token_fetched'
class TokenInvalidated(*, key: TokenKey, api: str | None, challenge: str | None,
        damping: float)
    level = 'info'
    name = 'okta_tokens.token_invalidated'
class TokenNotShared(*, key: TokenKey)
    level = 'warning'
    name = 'okta_tokens.token_not_shared'
class TokenRenewed(*, key: TokenKey, reason: Reason, waited: float, lifetime: float,
        duration: float, scopes: frozenset[str], missing_scopes: frozenset[str],
        waiters: int, request_id: str | None)
    level = 'debug'
    name = 'okta_tokens.token_renewed'
class TokenRequested(*, key: TokenKey, reason: Reason, waited: float, attempt: int,
        renewal: bool)
    level = 'debug'
    name = 'okta_tokens.token_requested'
class TokenRevoked(*, key: TokenKey)
    level = 'info'
    name = 'okta_tokens.token_revoked'
class TokenWithdrawn(*, key: TokenKey, damping: float)
    level = 'info'
    name = 'okta_tokens.token_withdrawn'
class UnsuitableLifetime(*, key: TokenKey, lifetime: float, advice: str)
    level = 'warning'
    name = 'okta_tokens.unsuitable_lifetime'
class UnusualRequest(*, key: TokenKey, advice: str)
    level = 'warning'
    name = 'okta_tokens.unusual_request'
""",
    "okta_tokens.adapters.aiohttp": """
class TokenMiddleware(source: AnyTokenSource, *, origins: Iterable[str],
        pass_others: bool = False, allow_http: bool = False)
    async def __call__(self, request: ClientRequest,
        handler: ClientHandlerType) -> ClientResponse
""",
    "okta_tokens.adapters.grpc": """
def token_channel(source: AnyTokenSource, target: str,
        credentials: grpc.ChannelCredentials | None, *, options: Sequence[tuple[str,
        str | int]] | None = None, compression: grpc.Compression | None = None,
        interceptors: Iterable[aio.ClientInterceptor] = (),
        allow_http: bool = False) -> aio.Channel
def token_interceptors(source: AnyTokenSource) -> list[aio.ClientInterceptor]
""",
    "okta_tokens.adapters.httpx": """
class TokenAuth(source: AnyTokenSource, *, origins: Iterable[str],
        pass_others: bool = False, trust_env: bool = True,
        token_timeout: float | None = None, allow_http: bool = False)
""",
    "okta_tokens.adapters.httpx2": """
class TokenAuth(source: AnyTokenSource, *, origins: Iterable[str],
        pass_others: bool = False, trust_env: bool = True,
        token_timeout: float | None = None, allow_http: bool = False)
""",
    "okta_tokens.stores": """
class DomainState
    cleared_at: float | None
    pause: tuple[float, float] | None
protocol FleetStore
    async def clear(self, domain: StoreIdentity, client: StoreIdentity | None, at: float,
        seconds: float) -> None
    async def extend(self, identity: StoreIdentity, lease: str, seconds: float) -> None
    async def look(self, identity: StoreIdentity, held: str | None) -> StoredState
    async def look_at_domain(self, domain: StoreIdentity,
        client: StoreIdentity) -> DomainState
    async def reject(self, identity: StoreIdentity, value: str, seconds: float,
        rejection: SharedRejection | None) -> None
    async def settle(self, identity: StoreIdentity, outcome: SharedToken | SharedFailure,
        seconds: float, lease: str | None) -> None
class NotificationsRefusedError
protocol NotifyingStore
    async def subscribe(self, *identities: StoreIdentity) -> Subscription | None
class SharedFailure
    facts: collections.abc.Mapping[str, str | int | bool | None]
    failed_at: <class 'float'>
    failures: <class 'int'>
    kind: <class 'str'>
    message: <class 'str'>
    processes: tuple[str, ...]
    renew_at: <class 'float'>
    until: <class 'float'>
class SharedRejection
    damping: <class 'float'>
    rejected_at: <class 'float'>
class SharedToken(value: str, token_type: str, scopes: frozenset[str], lifetime: float,
        expires_at: float)
class StoreIdentity(*values: object)
    def name(self, key: bytes, kind: str, *values: str) -> str
class StoredState
    failure: SharedFailure | None
    failure_seconds: <class 'float'>
    held_is_discarded: <class 'bool'>
    rejection: SharedRejection | None
    seconds: <class 'float'>
    token: SharedToken | None
protocol Subscription
    async def aclose(self) -> None
    async def add(self, *identities: StoreIdentity) -> None
    async def next(self) -> StoreIdentity
    async def remove(self, *identities: StoreIdentity) -> None
protocol TokenStore
    async def acquire(self, identity: StoreIdentity, seconds: float) -> str | None
    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None
    lease: float
    async def load(self, identity: StoreIdentity) -> tuple[SharedToken, float] | None
    async def pause(self, identity: StoreIdentity, seconds: float, until: float) -> None
    async def paused(self, identity: StoreIdentity) -> tuple[float, float] | None
    async def release(self, identity: StoreIdentity, lease: str) -> None
    async def save(self, identity: StoreIdentity, token: SharedToken,
        seconds: float) -> None
    timeout: float
class UnreadableEntry
""",
    "okta_tokens.stores.redis": """
class RedisTokenStore(url_or_client: str | Redis | RedisCluster, *,
        keys: str | bytes | Sequence[str | bytes], prefix: str = 'okta-tokens:',
        timeout: float = 0.5, lease: float = 5.0)
    async def __aenter__(self) -> Self
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None) -> None
    async def aclose(self) -> None
    async def acquire(self, identity: StoreIdentity, seconds: float) -> str | None
    async def clear(self, domain: StoreIdentity, client: StoreIdentity | None, at: float,
        seconds: float) -> None
    async def count_tokens(self, limit: int = 100) -> tuple[int, int]
    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None
    async def extend(self, identity: StoreIdentity, lease: str, seconds: float) -> None
    host: str
    host_without_tls: str | None
    async def load(self, identity: StoreIdentity) -> tuple[SharedToken, float] | None
    async def look(self, identity: StoreIdentity, held: str | None) -> StoredState
    async def look_at_domain(self, domain: StoreIdentity,
        client: StoreIdentity) -> DomainState
    async def pause(self, identity: StoreIdentity, seconds: float, until: float) -> None
    async def paused(self, identity: StoreIdentity) -> tuple[float, float] | None
    async def reject(self, identity: StoreIdentity, value: str, seconds: float,
        rejection: SharedRejection | None) -> None
    async def release(self, identity: StoreIdentity, lease: str) -> None
    async def save(self, identity: StoreIdentity, token: SharedToken,
        seconds: float) -> None
    async def settle(self, identity: StoreIdentity, outcome: SharedToken | SharedFailure,
        seconds: float, lease: str | None) -> None
    async def subscribe(self, *identities: StoreIdentity) -> Subscription | None
def generate_key() -> str
""",
    "okta_tokens.testing.store_contract": """
class FleetStoreContract
    async def test_a_clearing_concerns_one_client_or_all(self) -> None
    async def test_a_clearing_is_forgotten_in_time(self) -> None
    async def test_a_failure_is_removed_when_its_time_is_over(self) -> None
    async def test_a_lease_is_extended_by_its_owner_only(self) -> None
    async def test_a_look_finds_what_a_load_finds(self) -> None
    async def test_a_rejection_is_forgotten_in_time(self) -> None
    async def test_a_rejection_is_found_by_all(self) -> None
    async def test_a_settled_failure_leaves_the_token(self) -> None
    async def test_a_settled_token_replaces_token_and_failure(self) -> None
    async def test_only_the_own_lease_is_ended(self) -> None
    async def test_the_latest_clearing_stays(self) -> None
    async def test_what_is_not_stored_is_not_found(self) -> None
class NotifyingStoreContract
    async def test_a_cancelled_call_loses_no_notification(self) -> None
    async def test_a_closed_subscription_ends_its_wait(self) -> None
    async def test_each_change_is_notified(self) -> None
    async def test_identities_are_added_and_removed(self) -> None
    async def test_identities_are_added_while_a_process_waits(self) -> None
class StoreContract
    async def let_pass(self, seconds: float) -> None
    def open_store(self) -> AbstractAsyncContextManager[TokenStore]
    async def stored_bytes(self) -> bytes
    async def test_a_cancelled_call_affects_no_other_call(self) -> None
    async def test_a_discarded_token_is_forgotten_in_time(self) -> None
    async def test_a_discarded_token_is_not_loaded(self) -> None
    async def test_a_later_token_replaces_an_earlier_one(self) -> None
    async def test_a_lease_ends_by_itself(self) -> None
    async def test_a_lease_is_ended_by_its_owner_only(self) -> None
    async def test_a_pause_ends(self) -> None
    async def test_a_saved_token_is_loaded(self) -> None
    async def test_a_token_can_be_discarded_before_it_is_stored(self) -> None
    async def test_a_token_is_removed_when_its_time_is_over(self) -> None
    async def test_entries_reveal_nothing(self) -> None
    async def test_every_optional_part_is_tested(self) -> None
    async def test_one_process_gets_the_lease(self) -> None
    async def test_other_tokens_stay_when_one_is_discarded(self) -> None
    async def test_processes_that_discard_do_not_disturb_each_other(self) -> None
    async def test_the_longest_pause_stays(self) -> None
    async def test_the_time_limits_are_positive(self) -> None
""",
    "okta_tokens.telemetry": """
class OpenTelemetryObserver(*, meter_provider: MeterProvider | None = None,
        client_id: bool = True)
    def __call__(self, event: Event) -> None
    def attach(self, provider: TokenProvider) -> None
""",
    "okta_tokens.testing": """
class FakeTokenSource(token: AccessToken | str | None = None, *,
        error: BaseException | None = None)
    calls: int
    async def get_token(self) -> AccessToken
    def get_token_from_thread(self, timeout: float = 60.0) -> AccessToken
    def invalidate(self, token: AccessToken | str, *, api: str | None = None,
        challenge: str | None = None) -> bool
    invalidated: list[AccessToken | str]
    key: TokenKey
    def peek(self) -> AccessToken | None
    async def refresh(self) -> AccessToken
class ManualClock(boot: float = 1000.0, wall: float = 1800000000.0)
    async def advance(self, seconds: float, wait_idle: Callable[[],
        Awaitable[None]] | None = None) -> None
    def advance_from_thread(self, seconds: float) -> None
    async def sleep_until(self, instant: float) -> None
    def watch(self, provider: TokenProvider) -> None
def assert_no_secrets(caplog: object, *secrets: str) -> None
def fake_token(value: str = 'fake-token', *, lifetime: float = 3600.0,
        scopes: str | Iterable[str] = (), clock: Clock | None = None) -> AccessToken
""",
}
"""The public names of each public module, with the signatures and members of its classes."""


def signature(function: Callable[..., object]) -> str:
    """Return a signature as text, with its annotations as they are written in the code."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))


def describe(name: str, thing: object, annotation: str = "") -> str:
    """Return a line that describes a function, a property or a value."""
    if isinstance(thing, classmethod):
        return f"classmethod {describe(name, thing.__func__)}"
    if isinstance(thing, property):
        return f"{name}: {inspect.get_annotations(thing.fget)['return']}" if thing.fget else name
    if isinstance(thing, Enum):
        return f"{name} = {thing.value!r}"
    if inspect.isfunction(thing):
        kind = "async def" if inspect.iscoroutinefunction(thing) else "def"
        return f"{kind} {name}{signature(thing)}"
    if thing is not annotation and str(annotation).startswith("ClassVar"):
        return f"{name} = {thing!r}"
    return f"{name}: {annotation}"


def members(kind: type) -> dict[str, object]:
    """Return the public members that a class itself defines."""
    return {
        name: thing
        for name, thing in sorted({**inspect.get_annotations(kind), **vars(kind)}.items())
        if name in CALLED_BY_SYNTAX or not name.startswith("_")
    }


def describe_class(kind: type) -> Iterator[str]:
    """Yield a line for the constructor, and one for each member that this line does not name."""
    shown = set()
    if getattr(kind, "_is_protocol", False):
        yield f"protocol {kind.__name__}"
    elif kind in MADE_BY_THE_PROVIDER:
        yield f"class {kind.__name__}, made by the provider"
    elif issubclass(kind, Enum):
        yield f"enum {kind.__name__}"
    elif not inspect.isfunction(inspect.getattr_static(kind, "__init__")):
        yield f"class {kind.__name__}"
    else:
        yield f"class {kind.__name__}{signature(kind).removesuffix(' -> None')}"
        shown = {*inspect.signature(kind).parameters}
    annotations: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        for name, annotation in inspect.get_annotations(base).items():
            # That of a typed dictionary is wrapped.
            annotations[name] = str(getattr(annotation, "__forward_arg__", annotation))
    for name, thing in members(kind).items():
        if name not in shown:
            yield f"    {describe(name, thing, annotations.get(name, ''))}"


def surface(module: ModuleType) -> str:
    """Return a line for each public name of a module, and for each member of its classes."""
    lines: list[str] = []
    for name in module.__all__:
        thing = getattr(module, name)
        if isinstance(thing, ModuleType):
            lines.append(f"module {name}")
        elif isinstance(thing, type):
            lines += describe_class(thing)
        elif name != "__version__":
            lines.append(describe(name, thing))
    return "\n".join(wrapped for line in lines for wrapped in wrap(line))


def wrap(line: str) -> list[str]:
    """Return the lines of a text that is broken after a comma where it is too long."""
    line = re.sub(r"\bokta_tokens(?:\.[a-z_]\w*)+\.", "", line)
    glued = re.sub(r"(?<=[^, ]) ", "\N{NO-BREAK SPACE}", line)
    wrapped = textwrap.wrap(glued, 92, subsequent_indent=" " * 8, break_on_hyphens=False)
    return [part.replace("\N{NO-BREAK SPACE}", " ") for part in wrapped]


def public_callables() -> list[tuple[str, Callable[..., object]]]:
    """Return the name and the object of every public class, function, method and property."""
    found: list[tuple[str, Callable[..., object]]] = []
    for module in MODULES:
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, type):
                found.append((name, thing))
                for member, value in members(thing).items():
                    function = value.__func__ if isinstance(value, classmethod) else value
                    function = function.fget if isinstance(function, property) else function
                    if inspect.isfunction(function):
                        found.append((f"{name}.{member}", function))
            elif inspect.isfunction(thing):
                found.append((name, thing))
    return found


def drawn_tree() -> dict[str, set[str]]:
    """Return the bases of each error, as the docstring of the errors module draws them."""
    bases: dict[str, set[str]] = {}
    path: list[str] = []
    for line in (inspect.getdoc(errors) or "").splitlines():
        drawn = re.match(r"    ([│ ]*[├└]── )?(\w+Error)(?: \(also (\w+)\))?(?:  |$)", line)
        if drawn:
            depth = len(drawn[1] or "") // 4
            path[depth:] = [drawn[2]]
            bases[drawn[2]] = {path[depth - 1] if depth else "Exception"}
            bases[drawn[2]] |= {drawn[3]} if drawn[3] else set()
    return bases


def family(kind: type[Kind]) -> list[type[Kind]]:
    """Return a class and all its subclasses in the package."""
    # A dataclass with slots replaces the class that was written, which may live on for a while.
    children = [
        child
        for child in kind.__subclasses__()
        if child.__module__.partition(".")[0] == "okta_tokens"
        and getattr(sys.modules[child.__module__], child.__name__, None) is child
    ]
    return [kind, *(one for child in children for one in family(child))]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_public_surface_changes_only_on_purpose(module: ModuleType) -> None:
    """The public names, signatures and members are those that this module lists."""
    assert surface(module) == SURFACES[module.__name__].strip("\n")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_public_names_are_listed_once_in_order(module: ModuleType) -> None:
    """`__all__` is in alphabetical order and repeats no name."""
    assert module.__all__ == sorted({*module.__all__})


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_star_import_brings_every_public_name(module: ModuleType) -> None:
    """A star import brings the names in `__all__` and no other name."""
    namespace: dict[str, object] = {}

    exec(f"from {module.__name__} import *", namespace)  # noqa: S102 - only a module may do it

    assert {*namespace} - {"__builtins__"} == {*module.__all__}


def test_a_name_that_is_loaded_later_is_like_any_other() -> None:
    """`dir` lists every public name before its first use; an unknown name is an error."""
    program = """if True:
        import okta_tokens

        assert {*okta_tokens.__all__} <= {*dir(okta_tokens)}
        assert "PrivateKeyJWT" not in vars(okta_tokens)
        assert okta_tokens.PrivateKeyJWT is okta_tokens.PrivateKeyJWT
        assert "PrivateKeyJWT" in vars(okta_tokens)
    """
    subprocess.run([sys.executable, "-c", program], check=True)

    with pytest.raises(AttributeError, match=r"^module 'okta_tokens' has no attribute 'Token'$"):
        vars(okta_tokens)["__getattr__"]("Token")


def test_the_package_works_without_the_extras() -> None:
    """The public names can be imported where no optional module can be imported."""
    program = f"""
import sys
import {", ".join(sorted({"aiohttp", "anyio", "cachetools", "structlog"}))}

sys.modules.update(dict.fromkeys({OPTIONAL!r}))
from okta_tokens import *

print(TokenProvider.__name__, errors.FetchError.__name__, events.TokenFetched.__name__)
"""
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)

    assert run.stdout.split() == [b"TokenProvider", b"FetchError", b"TokenFetched"]


@pytest.mark.parametrize("kind", sorted(MADE_BY_THE_PROVIDER, key=str))
def test_a_class_that_the_provider_makes_says_so(kind: type) -> None:
    """The docstring of a class that users do not instantiate names the provider as its maker."""
    docstring = inspect.getdoc(kind) or ""

    assert re.search(r"The provider makes it|made by `TokenProvider\.\w+`", docstring)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_public_signature_has_a_private_parameter(module: ModuleType) -> None:
    """No signature in the public surface has a parameter whose name begins with an underscore."""
    assert re.findall(r"[(\s]\*{0,2}_\w+:", surface(module)) == []


def test_the_version_is_a_version() -> None:
    """The version has the form that package installers compare."""
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", okta_tokens.__version__)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_module_has_a_docstring(module: ModuleType) -> None:
    """The docstring of a public module begins with a sentence in one line."""
    assert (module.__doc__ or "").partition("\n")[0].endswith(".")


def test_every_public_callable_has_a_docstring() -> None:
    """The docstring of a public callable begins with a line that ends in a full stop."""
    undocumented = []
    for name, thing in public_callables():
        first, _, rest = (inspect.getdoc(thing) or "").partition("\n")
        own = thing.__doc__ is not None
        sentence = re.fullmatch(r"[A-Z`].*[^ .]\.", first) and not rest.partition("\n")[0].strip()
        if not (own and sentence):
            undocumented.append(name)

    assert undocumented == []


def test_every_public_callable_documents_its_arguments() -> None:
    """An `Args:` section names each argument of its callable, in order, and no other name."""
    wrong = []
    for name, thing in public_callables():
        _, found, section = (inspect.getdoc(thing) or "").partition("\nArgs:\n")
        if not found:
            continue
        section = re.split(r"\n(?=\S)", section)[0]
        documented = re.findall(r"^    (\*{0,2}\w+): ", section, flags=re.MULTILINE)
        expected = [
            str(parameter).partition(":")[0]
            for parameter in inspect.signature(thing).parameters.values()
            if parameter.name not in {"self", "cls"}
        ]
        if documented != expected:
            wrong.append(name)

    assert wrong == []


@pytest.mark.parametrize(
    ("thing", "raised"),
    [
        (TokenProvider, {"ConfigurationError"}),
        (TokenProvider.start, {"ProviderStateError"}),
        (TokenProvider.aclose, {"ProviderStateError"}),
        (TokenProvider.get_token, {"ConfigurationError", "FetchError", "ProviderStateError"}),
        (TokenProvider.source, {"ConfigurationError"}),
        (
            TokenProvider.warm,
            {"ConfigurationError", "ExceptionGroup", "ProviderStateError", "TimeoutError"},
        ),
        (TokenSource.get_token, {"ConfigurationError", "FetchError", "ProviderStateError"}),
        (TokenProvider.revoke, {"ConfigurationError", "FetchError", "ProviderStateError"}),
        (TokenSource.access_token, {"ConfigurationError", "TokenProviderError"}),
        (TokenSource.headers, {"ConfigurationError", "TokenProviderError"}),
        (TokenSource.peek, {"ProviderStateError"}),
        (
            TokenSource.get_token_from_thread,
            {"ConfigurationError", "FetchError", "ProviderStateError", "TimeoutError"},
        ),
        (TokenSource.proof, {"ConfigurationError", "ProviderStateError"}),
        (PrivateKeyJWT, {"ConfigurationError"}),
        (PrivateKeyJWT.from_signer, {"ConfigurationError"}),
        (ClientSecretJWT, {"ConfigurationError"}),
        (DPoP, {"ConfigurationError"}),
        (doctor.diagnose, {"ConfigurationError", "TokenProviderError"}),
        (OktaClient, {"ConfigurationError"}),
        (OktaClient.from_env, {"ConfigurationError"}),
        (OktaClient.from_file, {"ConfigurationError"}),
        (RefreshPolicy, {"ConfigurationError"}),
        (RetryPolicy, {"ConfigurationError"}),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_the_errors_of_a_callable_are_documented(thing: object, raised: set[str]) -> None:
    """The `Raises:` section names each error that a user may have to handle."""
    section = (inspect.getdoc(thing) or "").partition("\nRaises:\n")[2]

    assert {*re.findall(r"^    (\w+): \S", section, flags=re.MULTILINE)} == raised


def test_the_drawn_tree_of_errors_is_correct() -> None:
    """Each error has the bases that the drawing in the module's docstring shows."""
    kinds = family(TokenProviderError)

    assert {
        kind.__name__: {base.__name__ for base in kind.__bases__} for kind in kinds
    } == drawn_tree()


def test_all_errors_are_public() -> None:
    """Every error that the package raises can be imported from `okta_tokens.errors`."""
    kinds = family(TokenProviderError)

    assert {kind.__module__ for kind in kinds} == {"okta_tokens.errors"}
    assert {kind.__name__ for kind in kinds} == {*errors.__all__} - {"FetchFacts", "KeyDescription"}


def test_all_events_are_public() -> None:
    """Every event that the package emits can be imported from `okta_tokens.events`."""
    kinds = family(Event)

    assert {kind.__module__ for kind in kinds} == {"okta_tokens.events"}
    assert {kind.__name__ for kind in kinds} | {"Observer"} == {*events.__all__}


@pytest.mark.parametrize("kind", [kind for kind in family(Event) if kind is not Event])
def test_events_are_frozen(kind: type[Event]) -> None:
    """An observer can neither change an attribute of an event nor add an attribute to it."""
    event = object.__new__(kind)

    for name in (*inspect.signature(kind).parameters, "something_else"):
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(event, name, None)


def test_each_event_has_its_own_name() -> None:
    """The name of each event is unique and begins with the name of the package."""
    leaves = [kind for kind in family(Event) if hasattr(kind, "name")]
    names = [kind.name for kind in leaves]

    assert all(re.fullmatch(r"okta_tokens\.[a-z_]+", name) for name in names)
    assert len({*names}) == len(names)
    assert {kind.level for kind in leaves} == {"debug", "info", "warning", "error"}
