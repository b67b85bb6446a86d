"""Share tokens with other processes through a store, and do without it when it fails.

One process fetches a token, the others adopt it. The store makes this cheaper, and never worse:
what it cannot do in time is done as if there were none.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TypeVar

import anyio

from okta_tokens._endpoint.endpoint import Endpoint, TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.policies import Random, RefreshPolicy
from okta_tokens._model.token import TokenKey
from okta_tokens._runtime.clock import Clock, read
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._sharing.store import SharedToken, TokenStore, UnreadableEntry
from okta_tokens.errors import FetchError
from okta_tokens.events import Event, StoreEntryIgnored, StoreFailed, StoreRecovered

T = TypeVar("T")
Rejected = Callable[[str], bool]

_FIRST_POLL, _MAX_POLL = 0.02, 0.25
"""Seconds between two looks for what another process fetches."""

_MAX_BREAK = 30.0
"""Seconds for which a store that keeps failing is left alone."""

_CANCEL_AGAIN_AFTER = 0.5
"""Seconds between two cancellations of an errand that does not end."""

_COMPLAINTS_APART = 60.0
"""Seconds between two events about entries that cannot be used."""


class _Alone(Exception):  # noqa: N818 - no error: what is left to do
    """The store is not to be had: go on without it."""


class Sharing:
    """Fetch tokens as one of many processes.

    Args:
        store: What they share.
        clock: Tells the time, and waits.
        schedule: Ends what takes too long.
        refresh: Tells whether a token is fresh.
        endpoint: Returns the endpoint of a key's domain.
        random: Draws from the unit interval.
        emit: Hears what happens.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        clock: Clock,
        schedule: Schedule,
        refresh: RefreshPolicy,
        endpoint: Callable[[TokenKey], Endpoint],
        random: Random,
        emit: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._schedule = schedule
        self._refresh = refresh
        self._endpoint = endpoint
        self._random = random
        self._breaker = _Breaker(clock, random, emit)
        self._emit = emit
        self._complained_at = -math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = Context()
        self._errands: set[asyncio.Task[None]] = set()

    def attach(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        """Do what nobody waits for on a loop, each in a copy of a context."""
        self._loop, self._context = loop, context

    async def fetch(self, flight: TokenFlight, is_rejected: Rejected) -> TokenResponse | FetchError:
        """Adopt a token that another process fetched, or fetch one for all of them.

        Cancellation gives up what the endpoint's own fetch gives up, and leaves the lease to its
        end.

        Args:
            flight: On whose behalf.
            is_rejected: Tells of a value whether that token is not to be adopted; asked when one is
                found, since it may be rejected while a flight is under way.

        Returns:
            The grant, or the error of the last attempt.
        """
        key, lease = flight.key, None
        if self._breaker.admits():
            with suppress(_Alone):
                grant, lease = await self._adopt_or_lead(flight, is_rejected)
                if grant is not None:
                    return grant
        outcome = await self._endpoint(key).fetch(flight)
        self._later(self._publish(key, outcome, lease))
        return outcome

    async def look(self, flight: TokenFlight, is_rejected: Rejected) -> TokenResponse | None:
        """Adopt a token that another process fetched, if there is one.

        Args:
            flight: On whose behalf.
            is_rejected: As for `fetch`.
        """
        if self._breaker.admits():
            with suppress(_Alone):
                return await self._look(flight, is_rejected)
        return None

    def share_pause(self, key: TokenKey, seconds: float) -> None:
        """Let the other processes pause, too.

        Args:
            key: Whose half of its domain asked for it.
            seconds: For how long.
        """
        until = self._endpoint(key).server_time() + seconds
        self._later(self._call(partial(self._store.pause, key, seconds, until)))

    def discard(self, key: TokenKey, value: str) -> None:
        """Let nobody adopt a token any more.

        Args:
            key: Whose token.
            value: Its value.
        """
        self._later(self._call(partial(self._store.discard, key, value)))

    async def aclose(self) -> None:
        """Let what is under way end, for as long as a call may take; then cancel it."""
        if self._errands:
            await asyncio.wait(self._errands, timeout=self._store.timeout)
        while self._errands:
            for errand in self._errands:
                errand.cancel()
            # Whoever swallowed the cancellation hears it again.
            await asyncio.wait(self._errands, timeout=_CANCEL_AGAIN_AFTER)

    async def _adopt_or_lead(
        self, flight: TokenFlight, is_rejected: Rejected
    ) -> tuple[TokenResponse | None, str | None]:
        """Return a token of another process, or the lease: this one is to fetch it.

        Raises:
            _Alone: If the store is not to be had.
        """
        store, clock, key = self._store, self._clock, flight.key
        until = clock.boot_time() + store.timeout
        grant = await self._look(flight, is_rejected, until)
        if grant is not None:
            return grant, None
        pause = await self._pause(key, until)
        self._endpoint(key).pause(key, pause)
        # Two leases: whoever had the first may have died, and somebody else got the second.
        give_up, poll = clock.boot_time() + 2 * store.lease, _FIRST_POLL
        while True:
            lease = await self._call(partial(store.acquire, key, store.lease + pause), until)
            self._breaker.closed()  # by what writes: a store that is full can still be read
            # Whoever had the lease before has saved a token by now, if there is one.
            grant = await self._look(flight, is_rejected, until)
            if grant is not None and lease is not None:
                self._later(self._call(partial(store.release, key, lease)))
            if grant is not None or lease is not None:
                return grant, lease
            if clock.boot_time() >= give_up:
                return None, None
            await clock.sleep_until(clock.boot_time() + poll * (1 + self._random()) / 2)
            poll = min(2 * poll, _MAX_POLL)
            until = clock.boot_time() + store.timeout

    async def _look(
        self, flight: TokenFlight, is_rejected: Rejected, until: float | None = None
    ) -> TokenResponse | None:
        """Return the token in the store, if it is fresh here; for whoever waits, if it is usable.

        (Who starts while Okta is down is served, too, by what another process can do without.)

        Its remaining life is the least that anybody believes in: the store, by its own clock; who
        saved it; and this machine, by its clock and what it knows of Okta's.
        """
        key = flight.key
        try:
            found = await self._call(partial(self._store.load, key), until)
        except UnreadableEntry:
            self._complain(key)
            return None
        if found is None:
            return None
        token, seconds = found
        if is_rejected(token.value):
            self.discard(key, token.value)
            return None
        if token.token_type != key.token_type:
            self._complain(key)
            return None
        left = token.expires_at - self._endpoint(key).server_time()
        policy = self._refresh
        least = (policy.leeway if flight.wanted else policy.lead)(token.lifetime)
        if not (least < seconds and least < left):
            return None
        remaining = min(seconds, token.lifetime, left)
        sent = read(self._clock).later(remaining - token.lifetime)
        return TokenResponse(
            token.value,
            token.token_type,
            token.lifetime,
            token.scopes,
            sent,
            request_id=None,
            adopted=True,
        )

    async def _pause(self, key: TokenKey, until: float) -> float:
        """Return for how many seconds another process was asked to leave Okta alone."""
        try:
            found = await self._call(partial(self._store.paused, key), until)
        except UnreadableEntry:
            self._complain(key)
            return 0.0
        if found is None:
            return 0.0
        seconds, end = found
        return max(0.0, min(seconds, end - self._endpoint(key).server_time()))

    async def _publish(
        self, key: TokenKey, outcome: TokenResponse | FetchError, lease: str | None
    ) -> None:
        """Let the others have a token, and let one of them try if there is none."""
        try:
            if isinstance(outcome, TokenResponse):
                now, offset = read(self._clock), self._endpoint(key).clock_offset
                token = SharedToken(
                    outcome.value,
                    outcome.token_type,
                    outcome.scopes,
                    outcome.lifetime,
                    outcome.sent.wall + offset + outcome.lifetime,
                )
                left = outcome.sent.boot + outcome.lifetime - now.boot
                await self._call(partial(self._store.save, key, token, left))
        finally:
            if lease is not None:
                await self._call(partial(self._store.release, key, lease))

    async def _call(self, call: Callable[[], Awaitable[T]], until: float | None = None) -> T:
        """Ask the store for something.

        Args:
            call: What.
            until: When to give up, in seconds of boot time; as late as the store allows if None.

        Raises:
            _Alone: If the store fails, or takes too long.
            UnreadableEntry: As from the store.
        """
        if until is None:
            until = self._clock.boot_time() + self._store.timeout
        with anyio.CancelScope() as scope:
            timer = self._schedule.call_at(until, scope.cancel)
            try:
                return await call()
            except UnreadableEntry:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, there is a way without
                self._breaker.opened(type(error).__name__)
                raise _Alone from None
            finally:
                self._schedule.cancel(timer)
        self._breaker.opened(f"no answer within {self._store.timeout:g} s")
        raise _Alone

    def _later(self, work: Coroutine[object, object, object]) -> None:
        """Do something that nobody waits for, unless the store is left alone just now."""
        if self._loop is None or not self._breaker.admits():
            work.close()
            return
        errand = self._loop.create_task(self._quietly(work), context=self._context.copy())
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def _quietly(self, work: Coroutine[object, object, object]) -> None:
        with suppress(_Alone, UnreadableEntry):
            await work
            self._breaker.closed()

    def _complain(self, key: TokenKey) -> None:
        now = self._clock.boot_time()
        if now >= self._complained_at + _COMPLAINTS_APART:
            self._complained_at = now
            self._emit(StoreEntryIgnored(key=key))


class _Breaker:
    """Leave a store alone for a while after it failed.

    Args:
        clock: Tells the time.
        random: Draws from the unit interval.
        emit: Hears that it failed, once, and that it works again.
    """

    def __init__(self, clock: Clock, random: Random, emit: Callable[[Event], None]) -> None:
        self._clock = clock
        self._random = random
        self._emit = emit
        self._failures = 0
        self._failed_at = 0.0
        self._until = -math.inf

    def admits(self) -> bool:
        """Tell whether the store may be asked; of those who ask after a break, one."""
        if not self._failures:
            return True
        now = self._clock.boot_time()
        if now < self._until:
            return False
        self._until = now + 1.0
        return True

    def opened(self, why: str) -> None:
        """Take note of a failure."""
        now = self._clock.boot_time()
        first = not self._failures
        if first:
            self._failed_at = now
        self._failures += 1
        break_ = min(_MAX_BREAK, 2.0 ** min(self._failures, 10))
        self._until = now + break_ * (1 + self._random()) / 2
        if first:
            self._emit(StoreFailed(reason=why, after=self._until - now))

    def closed(self) -> None:
        """Take note of something that was written."""
        if self._failures:
            self._failures = 0
            self._emit(StoreRecovered(seconds=self._clock.boot_time() - self._failed_at))
