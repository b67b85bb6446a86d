"""TokenProvider: the public methods, and the one place where the parts are wired."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterable
from types import TracebackType
from typing import ClassVar, Self, cast

import aiohttp

from okta_tokens._cache.entry import USED
from okta_tokens._cache.token_manager import TokenManager
from okta_tokens._emitter import Emitter
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.revocation import TokenRevoker
from okta_tokens._lifecycle import Lifecycle, State
from okta_tokens._logging import log_event
from okta_tokens._model.client import OktaClient
from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens._model.token import AccessToken
from okta_tokens._model.token_key import token_key
from okta_tokens._provider_arguments import argument_problems
from okta_tokens._runtime.arguments import checked, number_of, text_of
from okta_tokens._runtime.clock import Clock, SystemClock, current_instant
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens._sharing.store_protocol import TokenStore
from okta_tokens._source import TokenSource, dropping, is_access_token
from okta_tokens._status import KeyStatus, Readiness, Stats, count_up, key_status
from okta_tokens.errors import (
    ConfigurationError,
    FetchError,
    ProviderStateError,
    StoreError,
    TokenProviderError,
)
from okta_tokens.events import Observer, ProviderClosed, ProviderFailed, ProviderStarted


class TokenProvider(Unserializable):
    """Access tokens for outgoing requests: cached, fetched once, renewed in the background.

    One provider serves a whole process: any number of Okta domains, clients and scopes. Enter it
    with `async with`, or await `start` and `aclose`, also from different tasks of one event loop.

    Args:
        refresh: When tokens are renewed.
        retry: How often a fetch tries, and how long callers wait.
        session: Sends the token requests: for proxies and TLS settings of your own. Each request
            has a connection of its own, and plain http must not go through a proxy. The provider
            never closes the session. None opens a session that honours `HTTPS_PROXY`, `ALL_PROXY`
            and `NO_PROXY`, and uses connections again.
        store: Shares tokens with other processes; see `okta_tokens.stores`. The provider never
            closes it. None shares nothing.
        max_tokens: How many keys are held; a key that was not used lately is evicted for a new one.
            As many keys again can be kept fresh. At most twice as many fetches are under way at a
            time, but at least 1,000 can be.
        max_concurrent_requests: How many token requests may be under way at once, for each domain.
            One of them is always left to renewals, and clients take turns. All domains together
            have at most 100, or this number if it is greater.
        user_agent: What the `User-Agent` of token and revocation requests begins with, such as
            `orders/1.2`, before the package's own (RFC 9110 section 10.1.5), so that logs of Okta
            and of gateways name the service. At most 256 characters of printable ASCII.
        observers: Called with every event, in this order; see `okta_tokens.events`.
        clock: Tells the time and waits, for tests.

    Raises:
        ConfigurationError: If a value is invalid, or the session carries credentials of its own.
            The message lists every problem.
    """

    _is_diagnostic: ClassVar[bool] = False
    """Whether this is the doctor's provider, which may run beside that of a service: it logs
    nothing, and does not count as a second provider."""

    def __init__(  # noqa: PLR0913 - every option of a provider, by keyword
        self,
        *,
        refresh: RefreshPolicy | None = None,
        retry: RetryPolicy | None = None,
        session: aiohttp.ClientSession | None = None,
        store: TokenStore | None = None,
        max_tokens: int = 10_000,
        max_concurrent_requests: int = 8,
        user_agent: str | None = None,
        observers: Iterable[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        # An observer that is None is refused below, and so are observers that cannot be iterated.
        observers = checked(lambda: tuple(observers), (cast("Observer", None),))
        problems = argument_problems(
            {"max_tokens": max_tokens, "max_concurrent_requests": max_concurrent_requests},
            {
                "refresh": refresh,
                "retry": retry,
                "session": session,
                "user_agent": user_agent,
                "observers": observers,
                "store": store,
                "clock": clock,
            },
        )
        if problems:
            del self, refresh, retry, session, store, max_tokens, max_concurrent_requests
            del observers, clock, user_agent
            message = f"TokenProvider: {'; '.join(problems)}"
            raise ConfigurationError(message)
        refresh = RefreshPolicy() if refresh is None else refresh
        retry = RetryPolicy() if retry is None else retry
        self._clock = SystemClock() if clock is None else clock
        self._wall_time = self._clock.wall_time
        self._emitter = emit = Emitter(
            observers if self._is_diagnostic else (log_event, *observers)
        )
        self._schedule = Schedule(self._clock)
        self._store = None
        if store is not None:
            # Most programs have no store, and do not load what serves one.
            from okta_tokens._sharing.guarded_store import GuardedStore  # noqa: PLC0415

            self._store = GuardedStore(
                store,
                clock=self._clock,
                schedule=self._schedule,
                random=random.random,
                emit=emit,
            )
        self._registry = EndpointRegistry(
            session,
            clock=self._clock,
            schedule=self._schedule,
            policy=retry,
            max_concurrent_requests=max_concurrent_requests,
            emit=emit,
            store=self._store,
            user_agent=text_of(user_agent),
        )
        self._sharing = None
        if self._store is not None:
            from okta_tokens._cache.shared_fetch import SharedFetch  # noqa: PLC0415 - as above

            self._sharing = SharedFetch(
                self._store,
                clock=self._clock,
                refresh=refresh,
                retry=retry,
                registry=self._registry,
                random=random.random,
                emit=emit,
            )
        self._manager = TokenManager(
            clock=self._clock,
            schedule=self._schedule,
            refresh=refresh,
            retry=retry,
            max_tokens=max_tokens,
            registry=self._registry,
            random=random.random,
            emit=emit,
            sharing=self._sharing,
            is_diagnostic=self._is_diagnostic,
        )
        self._revoker = TokenRevoker(schedule=self._schedule, registry=self._registry, emit=emit)
        self._lifecycle = Lifecycle(self._stop_serving)
        # Sources by client and by the scopes as the caller spells them: a hit parses no scopes.
        self._spellings: dict[OktaClient, dict[object, TokenSource]] = {}
        self._spelling_count = 0
        self._max_spellings = max_tokens
        self._last_client: OktaClient | None = None
        self._last_spellings: dict[object, TokenSource] = {}

    async def start(self) -> Self:
        """Start the background work; `async with` calls this on entry.

        Renewals, observers and the log run in an empty context: nothing that the caller has set,
        such as the id of a request or a span, sticks to them. A fetch runs in a copy of the context
        of the caller that started it, also for the callers that join it.

        If this call is cancelled, the provider is closed.

        Returns:
            The provider itself.

        Raises:
            ProviderStateError: If the provider was started or closed before.
        """
        self._lifecycle.check_new()
        loop = asyncio.get_running_loop()
        self._emitter.introduce(self)
        self._registry.open()
        self._emitter.attach(loop)
        if self._store is not None:
            self._store.attach(loop)
        await self._lifecycle.start(self._run())
        self._emitter(ProviderStarted())
        return self

    async def aclose(self) -> None:
        """Cancel every request under way and wake every waiter; `async with` calls this on exit.

        Waiters get a `ProviderStateError`. Nothing is left running. Closing twice, or closing a
        provider that was not started, does nothing. If this call is cancelled, the provider still
        closes.

        Raises:
            ProviderStateError: If the provider runs on another event loop, or its event loop was
                closed before it.
        """
        await self._lifecycle.aclose()

    async def __aenter__(self) -> Self:
        """Start the provider."""
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the provider; an error of the body passes unchanged."""
        await self.aclose()

    async def get_token(self, client: OktaClient, scopes: str | Iterable[str] = ()) -> AccessToken:
        """Return a valid access token, at once if the provider holds one.

        A call that finds a token does not suspend, so a loop that makes only such calls never lets
        the event loop run. If the renewal of a token is due, the call returns the token at once and
        the provider renews it in the background. Callers that wait for the same token share one
        request. A cancelled caller leaves; the request goes on.

        Args:
            client: The client, which names the authorization server and the credential.
            scopes: Scope names, separated by spaces in one string, or as an iterable. They are a
                set: order does not matter. Without scopes, a custom authorization server grants its
                default scopes.

        Returns:
            The token. The provider does not hand it out within its leeway, so use it at once and
            call this again for the next request.

        Raises:
            ConfigurationError: If a scope is invalid, if the org authorization server is asked
                without scopes, if the session would add credentials for this domain, or may send
                plain http through a proxy, or if the environment names an unusable proxy.
            FetchError: If no token could be fetched. During the cool-down after a failure, later
                callers get a copy of its error without another request.
            ProviderStateError: If the provider is not started, is closed (also while the caller
                waits), or belongs to another event loop or process.
        """
        try:
            # Most services have one client. Not looking it up saves a sixth of a hit.
            source = (
                self._last_spellings if client is self._last_client else self._spellings[client]
            )[scopes]
        except Exception as miss:  # noqa: BLE001 - not held, not hashable, or its hash raises
            found = self._add_spelling(client, scopes)
            if not isinstance(found, TokenSource):
                # A caller may have passed a secret. The missing key is the context of the error.
                miss.args = ()
                del client, scopes
                raise found from None
            source = found
        entry = source._entry
        if entry.opens <= self._wall_time() < entry.closes:
            entry.used = USED
            return entry.token  # type: ignore[return-value]  # an open window is over a token
        return await source.get_token()

    def source(
        self, client: OktaClient, scopes: str | Iterable[str] = (), *, keep_fresh: bool = False
    ) -> TokenSource:
        """Return a provider with the client and the scopes filled in, to keep and to pass on.

        It sends no request, and works before the provider is started.

        Args:
            client: As for `get_token`.
            scopes: As for `get_token`.
            keep_fresh: From the first token on, renew the token even if it is unused, and never
                evict its key, for as long as the provider lives.

        Raises:
            ConfigurationError: As for `get_token`, or if `max_tokens` keys are kept fresh already.
        """
        self._lifecycle.observe()
        key = token_key(client, scopes)
        del client, scopes  # a caller may have passed a secret
        if isinstance(key, ConfigurationError):
            raise key
        if keep_fresh and not self._manager.keep_fresh(key):
            message = "keep_fresh: max_tokens keys are kept fresh already; raise max_tokens"
            raise ConfigurationError(message)
        return TokenSource(key, self._manager, self._lifecycle, self._wall_time)

    def invalidate(
        self, token: AccessToken, *, api: str | None = None, challenge: str | None = None
    ) -> bool:
        """Drop a token that an API rejected, so that the next caller gets another one.

        Only that token is dropped: a late rejection of an old token costs nothing. If its
        replacement is rejected too within the damping window (5 seconds at first, 5 minutes at
        most), the replacement is kept, since a third token would not help; an event tells so.

        Call this from any thread; another thread than the event loop's waits for the event loop.

        Args:
            token: The rejected token.
            api: Which API rejected it, such as `https://orders.acme.com`, for the event.
            challenge: The `WWW-Authenticate` of its response (RFC 6750 section 3), for the event,
                which shows no secret of it.

        Returns:
            True if the token was held and is dropped.

        Raises:
            ConfigurationError: If the argument is not an `AccessToken`.
            ProviderStateError: If the provider stops while another thread waits.
            TimeoutError: If the event loop is not free within a minute.
        """
        if not is_access_token(token):
            del token, api, challenge  # an error tracker records the locals of the frame
            message = (
                "token: must be an AccessToken; pass the bare value of a token to a source's "
                "invalidate"
            )
            raise ConfigurationError(message)
        drop = dropping(self._manager, token.key, token, api, challenge)
        del token, api, challenge  # an error tracker records the locals of the frames
        return self._lifecycle.call(drop, name="invalidate")

    async def revoke(self, token: AccessToken) -> None:
        """Ask Okta to revoke a token (RFC 7009).

        From the call on, the provider does not hand the token out, and fetches no other one before
        a caller asks, even for a key that is kept fresh. It is no error if the token has expired or
        was revoked before. Processes that share a store drop the token, too; those that keep its
        key fresh fetch another one.

        If this call is cancelled, the request goes on.

        Args:
            token: The token.

        Raises:
            ConfigurationError: If the argument is not an `AccessToken`, or the session would add
                credentials for its domain.
            FetchError: If Okta could not be reached, or refused.
            ProviderStateError: As for `get_token`.
        """
        if not is_access_token(token):
            del token  # an error tracker records the locals of the frame that raises
            message = "token: must be an AccessToken; pass what get_token returned"
            raise ConfigurationError(message)
        self._lifecycle.check()
        self._manager.invalidation.drop(token)
        flight = await self._revoker.join_or_start(token, self._manager.deadline())
        self._revoker.check_result(token.key, flight)

    async def warm(
        self,
        *sources: TokenSource,
        timeout: float | None = None,  # noqa: ASYNC109 - the provider's clock measures it
    ) -> None:
        """Fetch the tokens of some sources and wait for all of them: for the start of a service.

        With a timeout, a source that fails is asked again once a second for as long as a later
        attempt may succeed: the network of a service may be ready later than the service.

        Requests that are under way when this call is cancelled, or times out, go on.

        Args:
            *sources: Sources of this provider.
            timeout: How long to wait for all of them together, in seconds; None asks each source
                once, and waits for as long as `RetryPolicy.max_wait` allows.

        Raises:
            ExceptionGroup: With the last `FetchError` of each source that has failed and has no
                token.
            TimeoutError: If the time is used up, and no source has failed.
            ConfigurationError: If a source belongs to another provider, or the timeout is not a
                positive number.
            ProviderStateError: As for `get_token`.
        """
        if not self._are_mine(sources):
            del sources  # a caller may have passed a token or a secret
            raise ConfigurationError(_FOREIGN_SOURCE)
        if timeout is not None and not (number_of(timeout) or 0) > 0:
            message = "timeout: must be a positive, finite number of seconds, or None"
            raise ConfigurationError(message)
        self._lifecycle.check()
        errors: dict[int, FetchError] = {}
        results: list[BaseException | None] = []
        deadline = math.inf if timeout is None else self._clock.boot_time() + timeout
        with self._schedule.deadline(deadline) as wait:
            calls = (
                self._warm(source, number, errors, once=timeout is None)
                for number, source in enumerate(sources)
            )
            results = await asyncio.gather(*calls, return_exceptions=True)
        for result in results:
            if result is not None:
                raise result
        if errors:
            message = f"{len(errors)} of {len(sources)} sources failed"
            raise BaseExceptionGroup(message, [*errors.values()])
        if wait.caught:
            message = (
                f"not every token arrived within {timeout:g} s; the requests go on, so call "
                "get_token later"
            )
            raise TimeoutError(message)

    async def _warm(
        self, source: TokenSource, number: int, errors: dict[int, FetchError], *, once: bool
    ) -> None:
        """Fetch the token of a source; meanwhile its last error is among the errors."""
        while True:
            try:
                await source.get_token()
            except FetchError as error:
                errors[number] = error
                if once or not error.retryable:
                    return
            else:
                errors.pop(number, None)
                return
            await self._clock.sleep_until(self._clock.boot_time() + _WARM_INTERVAL)

    async def clear(self, client: OktaClient | None = None, *, everywhere: bool = False) -> None:
        """Forget the tokens, errors and cool-downs of a client, or of all clients.

        The next call fetches a token. A request that is under way goes on for the callers that wait
        for it, and its token is not kept. Keys that are kept fresh are fetched again in the
        background. Processes that share a store drop those of the forgotten tokens that they hold,
        too, and adopt none of them.

        With `everywhere`, they drop every token of the client that was requested before this call,
        whatever its scopes; without a client, every token of the domains of which this provider has
        keys, or cleared some before. If the store fails, this process has forgotten the tokens, and
        the error says that the others were not told.

        Cancellation ends the wait for the store.

        Args:
            client: The client whose keys are forgotten; None forgets all keys.
            everywhere: Whether the processes that share the store forget all tokens, too.

        Raises:
            ConfigurationError: If the client is neither an `OktaClient` nor None; or if the tokens
                are to be forgotten everywhere, and the provider has no store that can tell others,
                or neither a client nor a key names a domain.
            ProviderStateError: As for `get_token`.
            StoreError: If the tokens are to be forgotten everywhere, and the store fails.
        """
        if client is not None and not issubclass(type(client), OktaClient):
            del client  # a caller may have passed a secret
            message = "client: must be an OktaClient, or None for all clients"
            raise ConfigurationError(message)
        if everywhere and (self._sharing is None or not self._sharing.reaches_others):
            message = (
                "everywhere: the provider has no store that tells other processes; pass "
                "TokenProvider a store such as RedisTokenStore, or call clear in each process"
            )
            raise ConfigurationError(message)
        self._lifecycle.check()
        clients = (
            {entry.key.client for entry in self._manager.entries} if client is None else {client}
        )
        sharing = self._sharing if everywhere else None
        parts = {} if sharing is None else sharing.parts_to_clear(client, clients)
        if everywhere and not parts:
            message = (
                "everywhere: the provider has no keys, which name the domains to clear; pass the "
                "client whose tokens all processes must forget"
            )
            raise ConfigurationError(message)
        self._manager.invalidation.clear(client)
        reason = None if sharing is None else await sharing.clear(client, parts)
        if reason is not None:
            message = (
                f"everywhere: the store failed ({reason}), so other processes were not told and "
                "still use the tokens, which this process has forgotten. Call clear again when the "
                "store works, or call clear() in each process"
            )
            raise StoreError(message)

    def ready(self, *sources: TokenSource) -> Readiness:
        """Tell whether a service has its tokens, for readiness endpoints; call from any thread.

        It waits for nothing. It is ready while usable tokens are held, whether or not Okta can be
        reached. It counts as a use of each source. For a source without a usable token it starts a
        fetch in the background, unless one is under way or the source cools down: a service that
        gets no requests because it is not ready becomes ready again.

        Args:
            *sources: Sources of this provider; without any, those that are kept fresh.

        Raises:
            ConfigurationError: If a source belongs to another provider.
        """
        if not self._are_mine(sources):
            del sources  # a caller may have passed a token or a secret
            raise ConfigurationError(_FOREIGN_SOURCE)
        problem = self._lifecycle.problem()
        if problem is not None:
            return Readiness(ok=False, reasons=(problem,), remaining=0.0)
        manager, call_soon = self._manager, self._lifecycle.call_soon
        entries = [source._entry for source in sources] if sources else manager.entries.kept()
        reasons, remaining = list[str](), list[float]()
        for entry in entries:
            token = manager.peek(entry, call_soon)
            if token is None:
                reasons.append(manager.reason(entry.key))
                call_soon(manager.fetch_soon, entry.key)
            else:
                now = current_instant(self._clock)
                remaining.append(token._usable_for(*now))
        least = 0.0 if reasons else min(remaining, default=None)
        return Readiness(ok=not reasons, reasons=tuple(reasons), remaining=least)

    def inspect(self) -> list[KeyStatus]:
        """Return the status of each key in the cache: a snapshot without token values."""
        now = current_instant(self._clock)
        under_way = self._manager.flights.under_way
        entries = self._manager.entries
        return [
            key_status(entry, under_way.get(entry.key), now, self._registry.pause_end(entry.key))
            for entry in entries
        ]

    def stats(self) -> Stats:
        """Return counts of what the provider has done so far: a snapshot."""
        flights = self._manager.flights.under_way.values()
        store = self._store
        return count_up(
            self._emitter.counts,
            len(self._manager.entries),
            flights,
            store_available=None if store is None else store.is_available,
            clock_offsets=self._registry.clock_offsets(),
            response_times=self._registry.response_times(),
        )

    def __repr__(self) -> str:
        """Return the state at a glance."""
        state = self._lifecycle.state.name.lower().replace("_", " ")
        keys, flights = len(self._manager.entries), len(self._manager.flights.under_way)
        return f"<TokenProvider {state}: {keys} keys, {flights} in flight>"

    def _tasks_in_flight(self) -> list[asyncio.Task[None]]:
        """Return the tasks of the flights under way, to the clock of a test; from any thread."""
        return [*self._manager.flights.tasks(), *self._revoker.flights.tasks()]

    def _are_mine(self, sources: tuple[TokenSource, ...]) -> bool:
        """Tell whether every argument is a source of this provider."""
        return all(
            issubclass(type(source), TokenSource)
            and getattr(source, "_manager", None) is self._manager  # a fake source has none
            for source in sources
        )

    def _add_spelling(
        self, client: OktaClient, scopes: str | Iterable[str]
    ) -> TokenSource | TokenProviderError:
        """Return the source for a client and scopes, and remember how the scopes were spelt.

        An error is returned, not raised, because a caller may have passed a secret.
        """
        try:
            self._lifecycle.check()  # a caller on another loop must not evict anything
        except ProviderStateError as error:
            return error.with_traceback(None)
        key = token_key(client, scopes)
        if isinstance(key, ConfigurationError):
            return key
        source = TokenSource(key, self._manager, self._lifecycle, self._wall_time)
        if _is_remembered(scopes):
            if self._spelling_count >= self._max_spellings:
                self._spellings.clear()
                self._spelling_count = 0
            self._last_client = client
            self._last_spellings = self._spellings.setdefault(client, {})
            self._last_spellings[scopes] = source
            self._spelling_count += 1
        return source

    async def _run(self) -> None:
        """Run the schedule until closed; then end everything else that the provider owns."""
        try:
            await self._schedule.run()
        except asyncio.CancelledError:
            self._lifecycle.cancelled()
        except Exception as error:  # noqa: BLE001 - an internal error must not end the host
            self._emitter(ProviderFailed(error=self._lifecycle.fail(error)))
        self._manager.stop()
        try:
            await self._manager.flights.aclose()
            await self._revoker.flights.aclose()
            if self._store is not None:
                await self._store.aclose()
        finally:
            await self._registry.aclose()
            if self._lifecycle.state is not State.FAILED:
                self._emitter(ProviderClosed())
            self._emitter.detach()

    def _stop_serving(self) -> None:
        """Hand out no token and deliver no event any more; the event loop cannot clean up."""
        self._manager.stop()
        self._emitter.mute()


_FOREIGN_SOURCE = "sources: one of them is not a source of this provider; pass sources of this one"

_WARM_INTERVAL = 1.0
"""Seconds after which `warm` asks a source again."""

_MAX_SPELLING = 1_024
"""Characters of a spelling that is remembered. A key has no more, if it is spelt without waste."""


def _is_remembered(scopes: Iterable[str]) -> bool:
    """Tell whether a valid spelling is hashable, and short enough to be remembered."""
    if type(scopes) is str:
        return len(scopes) <= _MAX_SPELLING
    if type(scopes) not in {tuple, frozenset} or len(scopes) > _MAX_SPELLING:  # type: ignore[arg-type]
        return False
    is_plain = {*map(type, scopes)} <= {str}
    return is_plain and len(" ".join(scopes)) <= _MAX_SPELLING
