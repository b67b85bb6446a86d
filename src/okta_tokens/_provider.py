"""The provider: its life, and the one place where the parts meet."""

from __future__ import annotations

import asyncio
import enum
import math
import os
import random
from collections.abc import Iterable
from contextvars import copy_context
from types import TracebackType
from typing import Self
from weakref import WeakSet

import aiohttp
import anyio

from okta_tokens._auth.dpop import DPoP
from okta_tokens._cache.entry import USED
from okta_tokens._cache.sharing import Sharing
from okta_tokens._cache.token_manager import TokenManager
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.endpoint import Endpoint
from okta_tokens._endpoint.exchange import Exchange
from okta_tokens._endpoint.revocation import TokenRevoker
from okta_tokens._endpoint.session import (
    check_netrc,
    check_session,
    environment_proxy,
    open_session,
)
from okta_tokens._model.client import OktaClient, is_okta
from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens._model.token import AccessToken, TokenKey, token_key
from okta_tokens._model.urls import as_okta_reads, request_target
from okta_tokens._runtime.clock import Clock, SystemClock, read
from okta_tokens._runtime.redaction import sanitize
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._sharing.store import TokenStore
from okta_tokens._status import KeyStatus, Stats, count_up, key_status
from okta_tokens.errors import ConfigurationError, FetchError, ProviderStateError
from okta_tokens.events import Observer, ProviderClosed, ProviderFailed, log_event


class _Life(enum.Enum):
    """Where a provider is in its life, and what to tell those who use it there."""

    NEW = "the provider is not started; enter it with `async with`, or await its start()"
    RUNNING = ""
    CLOSED = "the provider is closed; make another one"
    DIED = "the provider's own background work died, a defect of okta-tokens; please report it"
    STRANDED = (
        "the event loop that the provider was started on is closed; make another one, and close "
        "each before its event loop"
    )
    FORKED = "the provider was made in another process; make one in each process, after the fork"


class TokenProvider:
    """Access tokens for outgoing requests: cached, fetched once, renewed in the background.

    One provider serves a whole process: any number of Okta domains, clients and scopes. Enter it
    with `async with`, or await `start` and `aclose`, also from different tasks of one event loop.

    Args:
        refresh: When tokens are renewed.
        retry: How hard a fetch tries, and how long callers wait.
        session: What token requests are sent with: for proxies, TLS settings and connections of
            your own. It is never closed here. None means a session of the provider's own, which
            honours the proxy variables of the environment.
        store: Where tokens are shared with other processes; see `okta_tokens.stores`. It is never
            closed here. None shares nothing.
        max_tokens: How many keys are held; then one that was not used lately makes room. Those that
            are kept fresh are held beside them, as many at most.
        max_concurrent_requests: Token requests under way at once, for each domain.
        observers: Called with every event, in this order; see `okta_tokens.events`.
        clock: Tells and waits for the time: for tests.

    Raises:
        ConfigurationError: If a value cannot be right, or the session carries credentials of its
            own. The message lists every problem.
    """

    def __init__(
        self,
        *,
        refresh: RefreshPolicy | None = None,
        retry: RetryPolicy | None = None,
        session: aiohttp.ClientSession | None = None,
        store: TokenStore | None = None,
        max_tokens: int = 10_000,
        max_concurrent_requests: int = 8,
        observers: Iterable[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        observers = tuple(observers)
        _refuse_unusable(max_tokens, max_concurrent_requests, observers, store)
        if session is not None:
            check_session(session)
        refresh = refresh or RefreshPolicy()
        self._life = _Life.NEW
        self._retry = retry or RetryPolicy()
        self._given_session = session
        self._session: aiohttp.ClientSession | None = None
        self._places = max_concurrent_requests
        self._max_spellings = max_tokens
        self._clock = clock or SystemClock()
        self._wall_time = self._clock.wall_time
        self._emitter = Emitter((log_event, *observers))
        self._schedule = Schedule(self._clock)
        self._endpoints: dict[str, Endpoint] = {}
        self._sharing = None
        if store is not None:
            self._sharing = Sharing(
                store,
                clock=self._clock,
                schedule=self._schedule,
                refresh=refresh,
                endpoint=self._endpoint,
                random=random.random,
                emit=self._emitter,
            )
        self._manager = TokenManager(
            clock=self._clock,
            schedule=self._schedule,
            refresh=refresh,
            retry=self._retry,
            max_tokens=max_tokens,
            endpoint=self._endpoint,
            random=random.random,
            emit=self._emitter,
            fleet=self._sharing,
        )
        self._revoker = TokenRevoker(
            schedule=self._schedule, endpoint=self._endpoint, emit=self._emitter
        )
        # Sources by client and by scopes as the caller spells them, so that a hit parses nothing.
        self._spellings: dict[OktaClient, dict[object, TokenSource]] = {}
        self._spelt = 0
        self._last_client: OktaClient | None = None
        self._last_spellings: dict[object, TokenSource] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner: asyncio.Task[None] | None = None
        self._cause: BaseException | None = None
        _PROVIDERS.add(self)

    async def start(self) -> Self:
        """Start the background work; what `async with` does on entry.

        If this call is cancelled, the provider is closed.

        Returns:
            The provider itself.

        Raises:
            ProviderStateError: If it was started or closed before.
        """
        life = self._present_life()
        if life is not _Life.NEW:
            message = life.value or "the provider is started already; start it once"
            raise ProviderStateError(message)
        self._loop = asyncio.get_running_loop()
        context = copy_context()
        self._session = self._given_session or open_session()
        self._manager.flights.context = self._revoker.flights.context = context
        if self._sharing is not None:
            self._sharing.attach(self._loop, context)
        self._emitter.attach(self._loop, context)
        # A task of its own, so that the provider can be closed from another task than this one, and
        # no error of ours can cancel the caller's code or wrap the caller's errors in a group.
        self._owner = self._loop.create_task(self._own(), context=context, name="okta_tokens")
        self._life = _Life.RUNNING
        try:
            # Once the owner has begun, it cannot be cancelled without cleaning up.
            await asyncio.sleep(0)
        except BaseException:
            self._owner.cancel()
            raise
        return self

    async def aclose(self) -> None:
        """Stop: end every request under way, and tell every waiter; what `async with` does on exit.

        Whoever waits for a token gets a `ProviderStateError`. Nothing is left running. Closing
        twice, or a provider that was not started, does nothing. If this call is cancelled, closing
        goes on without it.

        Raises:
            ProviderStateError: If the provider runs on another event loop, or ran on one that was
                closed before it.
        """
        life = self._present_life()
        if life is _Life.NEW:
            self._life = _Life.CLOSED
        if self._owner is None or self._owner.done() or life is _Life.FORKED:
            return
        if life is _Life.STRANDED:
            raise ProviderStateError(life.value)
        if asyncio.get_running_loop() is not self._loop:
            raise _wrong_loop()
        if self._life is _Life.RUNNING:
            self._life = _Life.CLOSED
            # Not before the owner has begun, lest it end without cleaning up.
            self._loop.call_soon(self._owner.cancel)
        await asyncio.wait([self._owner])

    async def __aenter__(self) -> Self:
        """Start."""
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; an error of the body comes out as it is."""
        await self.aclose()

    async def get_token(self, client: OktaClient, scopes: str | Iterable[str] = ()) -> AccessToken:
        """Return a valid access token: at once if one is held, else as soon as Okta has sent one.

        A call that finds a token does not suspend, so a loop of nothing but such calls never lets
        the event loop run. A token whose renewal is due is returned at once too, and renewed in the
        background. Any number of callers that wait for the same token share one request. A caller
        that is cancelled just leaves; the request goes on.

        Args:
            client: Who asks, and where.
            scopes: Separated by spaces in one string, or an iterable of names; a set, whatever the
                order. Without any, a custom authorization server grants its default scopes.

        Returns:
            The token. It will not be handed out in the last moments of its life, so use it at once
            and ask again for the next request.

        Raises:
            ConfigurationError: If a scope is no scope name, if none is asked of the org's own
                authorization server, or if the session would add credentials for this domain.
            FetchError: If no token could be fetched. For a moment after a failure later callers get
                a copy of its error without another request.
            ProviderStateError: If the provider is not started, is closed (also while the caller
                waits), or belongs to another event loop or process.
        """
        try:
            # Most services have one client, which need not be looked up: a sixth of a hit.
            source = (
                self._last_spellings if client is self._last_client else self._spellings[client]
            )[scopes]
        except (KeyError, TypeError):
            source = self._spell(client, scopes)
        entry = source._entry
        if entry.opens <= self._wall_time() < entry.closes:
            entry.used = USED
            return entry.token  # type: ignore[return-value]  # an open window is over a token
        return await source.get_token()

    def source(
        self, client: OktaClient, scopes: str | Iterable[str] = (), *, keep_fresh: bool = False
    ) -> TokenSource:
        """Return a provider with the client and the scopes filled in, to keep and to pass on.

        It makes no request, and works also before the provider is started.

        Args:
            client: As for `get_token`.
            scopes: As for `get_token`.
            keep_fresh: From the first token on, renew it even while nobody asks, and never evict
                it, for as long as the provider lives.

        Raises:
            ConfigurationError: As for `get_token`, or if more keys than `max_tokens` are to be kept
                fresh.
        """
        self._present_life()
        key = token_key(client, scopes)
        if keep_fresh and not self._manager.keep_fresh(key):
            message = "keep_fresh: as many keys as max_tokens are kept fresh already; raise it"
            raise ConfigurationError(message)
        return TokenSource(self, key)

    def invalidate(self, token: AccessToken) -> bool:
        """Drop a token that an API rejected, so that the next caller gets another one.

        Only that very token is dropped: a late rejection of an old one costs nothing. If its
        replacement is rejected as well within a while (5 seconds at first, 5 minutes at last), it
        is kept, since a third token would not help; an event says so.

        Args:
            token: The rejected token. Call this from the provider's event loop.

        Returns:
            True if it was held and is dropped.

        Raises:
            ConfigurationError: If it is no `AccessToken`.
        """
        if not _is_token(token):
            del token  # an error tracker records the locals of the frame that raises
            message = "token: must be an AccessToken; a bare value goes to a source's invalidate"
            raise ConfigurationError(message)
        self._present_life()
        return self._manager.reject(token.key, token.value)

    async def revoke(self, token: AccessToken) -> None:
        """Have Okta revoke a token (RFC 7009), so that it is of no use to anybody.

        It is not handed out any more as soon as this is called, and none is fetched in its place
        until somebody asks, even for a key that is kept fresh. To revoke a token that has expired,
        or was revoked before, is no error. Other processes that share the token are not told.

        The request goes on when this call is cancelled.

        Args:
            token: The token.

        Raises:
            ConfigurationError: If it is no `AccessToken`, or the session would add credentials for
                its domain.
            FetchError: If Okta could not be reached, or refused.
            ProviderStateError: As for `get_token`.
        """
        if not _is_token(token):
            del token  # an error tracker records the locals of the frame that raises
            message = "token: must be an AccessToken"
            raise ConfigurationError(message)
        self._check()
        self._manager.forget(token.key, token.value)
        flight = await self._revoker.ask(token, self._manager.deadline())
        self._revoker.confirm(token.key, flight)

    async def warm(
        self,
        *sources: TokenSource,
        timeout: float | None = None,  # noqa: ASYNC109 - it goes by the provider's clock
    ) -> None:
        """Fetch the tokens of some sources, and wait for all of them: for the start of a service.

        Requests that are under way when this call is cancelled, or out of time, go on.

        Args:
            *sources: Sources of this provider.
            timeout: How long to wait in all, in seconds; None waits for as long as `RetryPolicy`
                lets a caller wait.

        Raises:
            ExceptionGroup: Of the `FetchError` of each source without a token.
            TimeoutError: If time ran out.
            ConfigurationError: If a source belongs to another provider, or the timeout is no
                positive number.
            ProviderStateError: As for `get_token`.
        """
        if any(source._provider is not self for source in sources):
            message = "sources: one of them belongs to another provider"
            raise ConfigurationError(message)
        if timeout is not None and not 0 < timeout < math.inf:
            message = "timeout: must be a positive, finite number of seconds, or None"
            raise ConfigurationError(message)
        self._check()
        outcomes: list[AccessToken | BaseException] = []
        with anyio.CancelScope() as scope:
            deadline = None
            if timeout is not None:
                deadline = self._schedule.call_at(self._clock.boot_time() + timeout, scope.cancel)
            try:
                calls = (source.get_token() for source in sources)
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
            finally:
                self._schedule.cancel(deadline)
        if scope.cancelled_caught:
            message = f"not every token arrived within {timeout:g} s; the requests go on"
            raise TimeoutError(message)
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in errors:
            if not isinstance(error, FetchError):
                raise error
        if errors:
            message = f"{len(errors)} of {len(sources)} sources have no token"
            raise BaseExceptionGroup(message, errors)

    def inspect(self) -> list[KeyStatus]:
        """Return how each key in the cache fares: a snapshot, without token values."""
        now = read(self._clock)
        under_way = self._manager.flights.under_way
        entries = self._manager.entries
        return [key_status(entry, under_way.get(entry.key), now) for entry in entries]

    def stats(self) -> Stats:
        """Return what the provider has done so far: a snapshot."""
        offsets = {origin: endpoint.clock_offset for origin, endpoint in self._endpoints.items()}
        flights = self._manager.flights.under_way.values()
        return count_up(self._emitter.counts, len(self._manager.entries), flights, offsets)

    def __repr__(self) -> str:
        """Return the state at a glance."""
        life = self._life.name.lower()
        keys, flights = len(self._manager.entries), len(self._manager.flights.under_way)
        return f"<TokenProvider {life}: {keys} keys, {flights} in flight>"

    def _check(self) -> None:
        """Refuse to work where the provider does not live."""
        life = self._present_life()
        if life is not _Life.RUNNING:
            raise ProviderStateError(life.value) from self._cause
        if asyncio.get_running_loop() is not self._loop:
            raise _wrong_loop()

    def _present_life(self) -> _Life:
        """Return where in its life the provider is, first asking its loop, which tells nobody."""
        loop = self._loop
        if self._life is _Life.RUNNING and loop is not None and loop.is_closed():
            self._abandon(_Life.STRANDED)
        return self._life

    def _abandon(self, life: _Life) -> None:
        """Hand out nothing any more, and leave alone what only its event loop could end."""
        self._life = life
        self._manager.shut()
        self._emitter.mute()

    def _spell(self, client: OktaClient, scopes: str | Iterable[str]) -> TokenSource:
        """Return the source that a caller means, and remember how it was spelt."""
        self._check()  # another loop's caller must not evict anything
        source = TokenSource(self, token_key(client, scopes))
        if type(scopes) in _HASHABLE_SPELLINGS:
            if self._spelt >= self._max_spellings:
                self._spellings.clear()
                self._spelt = 0
            self._last_client = client
            self._last_spellings = self._spellings.setdefault(client, {})
            self._last_spellings[scopes] = source
            self._spelt += 1
        return source

    def _endpoint(self, key: TokenKey) -> Endpoint:
        """Return the endpoint of a key's domain; there is one for each."""
        origin = key.client.origin
        endpoint = self._endpoints.get(origin)
        if endpoint is None:
            endpoint = self._endpoints[origin] = self._open_endpoint(origin)
        return endpoint

    def _open_endpoint(self, origin: str) -> Endpoint:
        assert self._session is not None  # noqa: S101 - narrows the type
        proxy = None
        if self._given_session is None:
            proxy = environment_proxy(origin)
        else:
            check_netrc(self._given_session, origin)
        return Endpoint(
            origin,
            exchange=Exchange(self._session, proxy, self._clock, self._schedule),
            clock=self._clock,
            policy=self._retry,
            places=self._places,
            random=random.random,
            emit=self._emitter,
            on_pause=None if self._sharing is None else self._sharing.share_pause,
        )

    async def _own(self) -> None:
        """Run the schedule until closed; then end everything else that is the provider's."""
        try:
            await self._schedule.run()
        except asyncio.CancelledError:
            self._life = _Life.CLOSED
        except Exception as error:  # noqa: BLE001 - a defect here must not bring the host down
            self._life = _Life.DIED
            self._cause = sanitize(error)
            failure = ProviderStateError(self._life.value)
            failure.__cause__ = self._cause
            self._emitter(ProviderFailed(error=failure))
        self._manager.shut()
        try:
            await self._manager.flights.aclose()
            await self._revoker.flights.aclose()
            if self._sharing is not None:
                await self._sharing.aclose()
        finally:
            if self._session is not None and self._session is not self._given_session:
                await self._session.close()
            if self._life is _Life.CLOSED:
                self._emitter(ProviderClosed())
            self._emitter.detach()


class TokenSource:
    """A provider with the client and the scopes filled in; made by `TokenProvider.source`."""

    __slots__ = ("_entry", "_manager", "_provider", "_wall_time")

    def __init__(self, provider: TokenProvider, key: TokenKey) -> None:
        self._provider = provider
        self._manager = provider._manager
        self._wall_time = provider._wall_time
        self._entry = provider._manager.entries.get_or_add(key)

    @property
    def key(self) -> TokenKey:
        """Which token it gives."""
        return self._entry.key

    async def get_token(self) -> AccessToken:
        """Return a valid access token: at once if one is held, else as soon as Okta has sent one.

        It behaves as `TokenProvider.get_token` does: a call that finds a token does not suspend,
        callers share one request, and one that is cancelled just leaves.

        Raises:
            ConfigurationError: If the session would add credentials for this domain.
            FetchError: If no token could be fetched.
            ProviderStateError: If the provider is not started, is closed (also while the caller
                waits), or belongs to another event loop or process.
        """
        entry = self._entry
        if entry.opens <= self._wall_time() < entry.closes:
            entry.used = USED
            return entry.token  # type: ignore[return-value]  # an open window is over a token
        self._provider._check()
        if entry.detached:
            entry = self._entry = self._manager.entries.get_or_add(entry.key)
        deadline = self._manager.deadline()
        offer = self._manager.ask(entry, deadline)
        if isinstance(offer, AccessToken):
            return offer
        # Waiting here, not in a coroutine of the keeper's, is a tenth of what a waiter costs.
        token = self._manager.take(entry.key, await offer)
        return token or await self._manager.ask_again(entry.key, deadline)

    async def access_token(self) -> str:
        """Return the bare token, for SDKs that take an async callable which returns one.

        Raises:
            ConfigurationError: If the client asks for tokens that are bound to a key, since such a
                token is of no use without a proof; see `headers`.
            TokenProviderError: As for `get_token`.
        """
        if self.key.client.dpop is not None:
            message = "a DPoP token is of no use without a proof for each request: use headers()"
            raise ConfigurationError(message)
        return (await self.get_token()).value

    async def headers(self, method: str, url: str, *, nonce: str | None = None) -> dict[str, str]:
        """Return the headers that authorize one request of an API, for any HTTP client.

        Bearer tokens take one, `Authorization`. Tokens that are bound to a key take another one,
        `DPoP`, with a proof for this very request (RFC 9449 section 7): ask again for each request,
        also when one is sent again.

        The token goes wherever the caller sends it: send it to APIs that are meant to have it.
        Cancellation does what it does to `get_token`: the caller leaves, a request for a token goes
        on.

        Args:
            method: The request's HTTP method.
            url: The request's URL, absolute, as it will be sent. Its query and fragment do not
                matter.
            nonce: The `DPoP-Nonce` of the API's last answer, if it sends one.

        Raises:
            ConfigurationError: If the method or the URL is none; and as for `get_token`.
            TokenProviderError: As for `get_token`.
        """
        target = request_target(method, url)
        if target is None:
            del method, url, nonce  # an error tracker records the locals of the frame that raises
            raise _no_request()
        token = await self.get_token()
        headers = {"Authorization": token.authorization}
        if self.key.client.dpop is not None:
            headers["DPoP"] = await self._prove(self.key.client.dpop, token, *target, nonce)
        return headers

    async def proof(
        self, token: AccessToken, method: str, url: str, nonce: str | None = None
    ) -> str:
        """Return a proof for one request of an API (RFC 9449 section 4.2): its `DPoP` header.

        It makes no request, and cancellation leaves nothing behind but a signature of RSA that goes
        on in its thread.

        Args:
            token: The token that the request carries; one of this source's.
            method: As for `headers`.
            url: As for `headers`.
            nonce: As for `headers`.

        Raises:
            ConfigurationError: If the client asks for bearer tokens, the token is none of its, or
                the method or the URL is none.
            ProviderStateError: As for `get_token`.
        """
        target = request_target(method, url)
        if target is None:
            del token, method, url, nonce
            raise _no_request()
        dpop = self.key.client.dpop
        theirs = token.key.client.dpop if _is_token(token) else None
        if dpop is None or theirs != dpop:
            del token, method, url, nonce, target
            message = (
                "proof: the token and this source do not belong together; take a token of this "
                "source's, of a client with dpop=DPoP()"
            )
            raise ConfigurationError(message)
        self._provider._check()
        return await self._prove(dpop, token, *target, nonce)

    async def _prove(
        self, dpop: DPoP, token: AccessToken, method: str, origin: str, path: str, nonce: str | None
    ) -> str:
        client = self.key.client
        # Okta undoes the escapes of a path before it compares; others compare as RFC 3986 says.
        uri = origin + (as_okta_reads(path) if is_okta(origin, client) else path)
        now = self._provider._endpoint(self.key).server_time()
        return await dpop.prove(method, uri, now, nonce=nonce, token=token.value)

    def invalidate(self, token: AccessToken | str) -> bool:
        """Drop a token that an API rejected, so that the next caller gets another one.

        Args:
            token: The rejected token, or its bare value; see `TokenProvider.invalidate`.

        Returns:
            True if it was held and is dropped.
        """
        value = token.value if isinstance(token, AccessToken) else token
        self._provider._present_life()
        return self._manager.reject(self.key, value)

    def __repr__(self) -> str:
        """Return whose tokens it gives."""
        return f"<TokenSource {self.key!r}>"


_HASHABLE_SPELLINGS = {str, tuple, frozenset}
_PROVIDERS: WeakSet[TokenProvider] = WeakSet()


def _refuse_unusable(
    max_tokens: object, places: object, observers: tuple[Observer, ...], store: object
) -> None:
    problems = [
        f"{name} must be a whole number of at least 1"
        for name, number in (("max_tokens", max_tokens), ("max_concurrent_requests", places))
        if not isinstance(number, int) or number < 1
    ]
    if not all(callable(observer) for observer in observers):
        problems.append("observers must be callables that take an event")
    if store is not None and not isinstance(store, TokenStore):
        problems.append("store must be a TokenStore, such as RedisTokenStore(url, keys=…)")
    if problems:
        message = f"TokenProvider: {'; '.join(problems)}"
        raise ConfigurationError(message)


def _no_request() -> ConfigurationError:
    return ConfigurationError(
        "a request has an HTTP method, and an absolute http(s) URL without a user name"
    )


def _is_token(token: object) -> bool:
    return isinstance(token, AccessToken)


def _wrong_loop() -> ProviderStateError:
    return ProviderStateError(
        "the provider belongs to another event loop; make one in each loop, or call it from there "
        "with asyncio.run_coroutine_threadsafe"
    )


def _leave_the_parent_alone() -> None:
    """In a forked child: hand out no token of the parent's, and touch none of its connections."""
    for provider in _PROVIDERS:
        if provider._life is not _Life.NEW:
            provider._abandon(_Life.FORKED)


# Where there is no fork there is nothing to register.
getattr(os, "register_at_fork", dict)(after_in_child=_leave_the_parent_alone)
