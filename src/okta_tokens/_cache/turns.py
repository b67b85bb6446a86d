"""Turns: which of the processes that share a store sends the next request for a key.

The process with the lease sends it. The others wait for its outcome, and adopt the token or the
failure. What the store cannot do in time happens without it.
"""

from __future__ import annotations

import math
import os

from okta_tokens._cache.entry import Entry
from okta_tokens._cache.renewals import USABLE
from okta_tokens._cache.shared_failure import (
    FAILURE_KEPT,
    KnownFailure,
    Setback,
    facts_of,
    is_fleet_wide,
    is_shared,
    message_of,
)
from okta_tokens._cache.store_reader import Found, StoreReader
from okta_tokens._endpoint.rate_limits import requested_wait
from okta_tokens._endpoint.registry import EndpointRegistry
from okta_tokens._endpoint.token_request import TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._model.policies import Random, RefreshPolicy, RetryPolicy
from okta_tokens._model.store_identity import StoreIdentity, part_identity
from okta_tokens._runtime.clock import Clock, current_instant
from okta_tokens._sharing.fleet_protocol import SharedFailure
from okta_tokens._sharing.guarded_store import GuardedStore, Lease, StoreUnavailableError
from okta_tokens.errors import FetchError, RateLimitedError

_FIRST_POLL, _MAX_POLL = 0.02, 0.25
"""Seconds between two reads of the store while another process fetches the token."""
_SLOW_POLL = 2.0
"""Likewise, if the store sends notifications."""

_PRECEDENCE = 0.3
"""Seconds for which a process that has failed lets others take the next turn: until each has looked
into the store."""

_WITNESSES = 3
"""So many processes must fail before all believe in a failure that may be one process's own."""
_WITNESSES_AGAIN = 2
"""So many processes must fail after the end of the wait, before all wait again."""


class Turn:
    """The part of one flight in what the processes do about a key.

    Args:
        flight: The flight.
        entry: The entry of its key.
        identity: The identity of the token.
    """

    __slots__ = (
        "_counted",
        "attempts",
        "cooldown_end",
        "damping",
        "entry",
        "failures",
        "flight",
        "identity",
        "is_everyones",
        "lease",
        "setback",
        "witnesses",
        "yields_until",
    )

    def __init__(self, flight: TokenFlight, entry: Entry, identity: StoreIdentity) -> None:
        self.flight = flight
        self.entry = entry
        self.identity = identity
        self.lease: Lease | None = None
        """The right to send the request, while this process has it."""
        self.setback: Setback | None = None
        """The shared failure with which the flight ends."""
        self.damping = 0.0
        """For how many seconds the token is kept if it is rejected, as its predecessor was."""
        self.failures = 0
        """How many fetches and renewals of all processes failed in a row."""
        self.witnesses: tuple[str, ...] = ()
        """The processes that failed since the last back-off, if it may be their own failure."""
        self.attempts = 0
        """How many failed since the last cool-down; after each back-off a process counts again."""
        self.is_everyones = False
        """Whether a failure holds back all processes, and this one has its last chance."""
        self.cooldown_end = -math.inf
        """When the shared cool-down ends, in seconds of boot time."""
        self.yields_until = -math.inf
        """Until when others take their turn first, in seconds of boot time."""
        self._counted: FetchError | None = None

    def learn(self, failure: KnownFailure | None, now: float, process: str) -> None:
        """Continue the count of the processes that failed before.

        Args:
            failure: What the store has; None if there is no failure.
            now: The present moment, in seconds of boot time.
            process: The name of this process.
        """
        self.is_everyones, self.cooldown_end = False, -math.inf
        if failure is not None:
            is_held_back = max(failure.cooldown, failure.backoff) > 0
            self.is_everyones = is_held_back and self.flight.urgent
            self.cooldown_end = now + failure.cooldown
        self.failures = 0 if failure is None else failure.record.failures
        self.witnesses, self.attempts = (), 0
        if failure is not None and not failure.holds_back:
            self.witnesses = failure.record.processes
            self.attempts = failure.error.attempts
            if process in self.witnesses:
                self.yields_until = max(self.yields_until, now + _PRECEDENCE - failure.age)

    @property
    def is_believed(self) -> bool:
        """Whether the failure is everyone's, though it may have been one process's own."""
        before = self.failures > 0 or self.attempts > len(self.witnesses)
        needed = _WITNESSES_AGAIN if before else _WITNESSES
        return self.is_everyones or len(self.witnesses) >= needed

    def count(self, error: FetchError, process: str) -> None:
        """Count this process among those that failed, once for each attempt.

        Args:
            error: Why it failed.
            process: The name of this process.
        """
        if error is not self._counted and process not in self.witnesses:
            self._counted = error
            self.attempts += 1
            self.witnesses = (*self.witnesses, process)


class Turns:
    """Let one process at a time send a request for a key, and share what becomes of it.

    Args:
        store: The store that the processes share.
        reader: Judges what is in the store.
        clock: Tells the time and waits.
        refresh: How long renewals are held back after a failure.
        retry: How long fetches are held back, and how often they try.
        registry: Has the endpoint of each domain.
        random: Draws from the unit interval.
    """

    def __init__(
        self,
        store: GuardedStore,
        reader: StoreReader,
        *,
        clock: Clock,
        refresh: RefreshPolicy,
        retry: RetryPolicy,
        registry: EndpointRegistry,
        random: Random,
    ) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._refresh = refresh
        self._retry = retry
        self._registry = registry
        self._random = random
        self._process = os.urandom(8).hex()

    async def take(self, turn: Turn) -> TokenResponse | FetchError | None:
        """Return another process's token or failure, or None: it is this process's turn.

        Four cases end the wait: a usable token is in the store; so is a failure that holds this
        flight back; this process has the lease, and there is still neither; the lease was another
        process's for too long, or the store fails, and this process goes on without a lease.

        Args:
            turn: The flight's part, which has no lease.
        """
        try:
            return await self._take(turn)
        except StoreUnavailableError:
            return None

    async def _take(self, turn: Turn) -> TokenResponse | FetchError | None:
        store, clock, key = self._store, self._clock, turn.flight.key
        deadline = store.call_deadline()
        found = await self._look(turn, deadline)
        if found is not None:
            return found
        pause = await self._reader.look_at_domain(key, deadline)
        self._registry.endpoint(key).pauses.adopt(key, pause)
        news, half = store.notifications, (clock.boot_time() + deadline) / 2
        await news.watch(turn.identity, part_identity(key.client), until=half)
        give_up, poll = clock.boot_time() + pause + self._patience, _FIRST_POLL
        lease_end = not_before = -math.inf
        count = news.count(turn.identity)
        while True:
            if clock.boot_time() >= turn.yields_until:
                turn.lease = await store.acquire(turn.identity, store.lease + pause, deadline)
                store.record_success()  # by a write: a store that is full can still be read
            if turn.lease is not None:
                # The previous holder of the lease has settled by now, if it could.
                return await self._look(turn, deadline)
            if clock.boot_time() >= give_up:
                return None
            if clock.boot_time() >= lease_end:
                lease_end = clock.boot_time() + store.lease + pause
            until = self._next_look(turn, poll, lease_end, give_up)
            await news.wait(turn.identity, count, until)
            poll = min(2 * poll, _MAX_POLL)
            if clock.boot_time() < not_before:  # many notifications cause no more looks than none
                await clock.sleep_until(not_before)
            not_before = clock.boot_time() + poll / 2
            count, deadline = news.count(turn.identity), store.call_deadline()
            found = await self._look(turn, deadline)
            if found is not None:
                return found

    def _next_look(self, turn: Turn, poll: float, lease_end: float, give_up: float) -> float:
        """Return when a process looks again if no notification comes, in seconds of boot time.

        A holder that dies sends no notification. Its lease has ended at `lease_end`, and another
        process takes over.
        """
        now = self._clock.boot_time()
        longest = _SLOW_POLL if self._store.notifications.is_live(turn.identity) else poll
        until = now + longest * (1 + self._random()) / 2
        until = min(until, lease_end + self._random() * _MAX_POLL, give_up)
        return min(until, turn.yields_until) if now < turn.yields_until else until

    @property
    def _patience(self) -> float:
        """For how many seconds this process waits for the leases of others.

        The holder of a lease that goes on trying extends it, and a caller must get an answer while
        it still waits. Where leases cannot be extended, two of them are enough: the first holder
        may have died, and another process got the second.
        """
        leases = 2 * self._store.lease
        if not self._store.shares_failures:
            return leases
        return max(leases, self._retry.max_wait - self._retry.request_timeout)

    async def retry(
        self, turn: Turn, error: FetchError, delay: float
    ) -> TokenResponse | FetchError | None:
        """Wait between two attempts of a flight; return another process's token or failure, if any.

        Four cases:

        1. There is no lease to pass on, or every process would meet the same error: this process
           keeps its turn.
        2. The error is that of this process's own credential, or may be this process's own: another
           process has the next turn.
        3. So many processes met the error that it is everyone's: this process waits for all of
           them, and keeps its turn.
        4. Likewise, and they have made as many attempts as the policy allows: it is final.

        Args:
            turn: The flight's part.
            error: Why the last attempt failed.
            delay: How long to wait, in seconds.
        """
        begun = self._clock.boot_time()
        if turn.lease is None or is_fleet_wide(error) or not self._store.shares_failures:
            await self._clock.sleep_until(begun + delay)
            return None
        turn.count(error, self._process)
        if is_shared(error) and turn.is_believed:
            if self._is_over(turn):
                return error
            turn.witnesses = ()
            rounds = turn.attempts // _WITNESSES_AGAIN
            await self._clock.sleep_until(begun + self._retry.delay(rounds, self._random))
            return None
        turn.yields_until = begun + delay
        self._pass_on(turn, error)
        found = await self.take(turn)
        if found is None:
            await self._clock.sleep_until(begun + delay)  # if the store failed meanwhile
        return found

    def end(self, turn: Turn, error: FetchError, *, is_its: bool) -> None:
        """Share the failure with which a flight ends, as far as it concerns others.

        If all processes are to wait for the end of its cool-down or back-off, `turn.setback` tells.

        Args:
            turn: The flight's part. Its lease is given back.
            error: Why there is no token.
            is_its: Whether the last request had the credential of the identity.
        """
        if turn.lease is None or not self._store.shares_failures:
            return
        if not error.attempts or not is_shared(error) or not is_its:
            return
        if not is_fleet_wide(error):
            turn.count(error, self._process)
            if not turn.is_believed:
                self._pass_on(turn, error)
                return
        self._share(turn, error)

    def give_back(self, turn: Turn) -> None:
        """Give the lease of a flight back, if it has one.

        Args:
            turn: The flight's part.
        """
        lease, turn.lease = turn.lease, None
        if lease is not None:
            self._store.release(lease)

    async def _look(self, turn: Turn, deadline: float) -> TokenResponse | FetchError | None:
        """Return the token or the failure with which another process ends this flight, or None."""
        wanted = turn.flight.wanted
        found = await self._reader.look(turn.entry, turn.identity, deadline, wanted=wanted)
        if found.response is not None:
            return found.response
        turn.damping = found.damping
        turn.learn(found.failure, self._clock.boot_time(), self._process)
        turn.setback = self._setback(turn, found)
        return None if turn.setback is None else turn.setback.error

    def _setback(self, turn: Turn, found: Found) -> Setback | None:
        """Return the failure of another process if it holds a flight back.

        A flight that must bring a token for callers waits for the end of the cool-down, and a
        renewal of a usable token for the end of the back-off. A renewal in its last chance waits
        only if another process has just failed: by the clocks of the processes, their last chances
        begin at different times, and not each of them is worth a request.
        """
        failure, entry = found.failure, turn.entry
        if failure is None:
            return None
        cooldown, backoff = failure.cooldown, failure.backoff
        if turn.flight.urgent and failure.holds_back:
            length = self._refresh.final_call(entry.lifetime, self._retry.request_timeout)
            backoff = length - failure.age
        is_usable = entry.state(current_instant(self._clock)) in USABLE
        if (backoff if is_usable else cooldown) <= 0:
            return None
        return Setback(failure.error, cooldown, backoff, adopted=True)

    def _is_over(self, turn: Turn) -> bool:
        """Tell whether the processes have tried for as long as one process alone would."""
        seconds = self._clock.boot_time() - turn.flight.started_at
        most = _WITNESSES_AGAIN * self._retry.attempts
        return turn.attempts >= most or seconds >= self._retry.total_timeout

    def _pass_on(self, turn: Turn, error: FetchError) -> None:
        """Let another process have the next turn at once."""
        if not is_shared(error):
            self.give_back(turn)
            return
        self._settle(turn, error, 0.0, 0.0, turn.attempts)

    def _share(self, turn: Turn, error: FetchError) -> None:
        """Begin the cool-down, or the back-off of renewals, for all processes."""
        entry = turn.entry
        # The store may have lost its record, or may have failed meanwhile.
        turn.failures = 1 + max(turn.failures, entry.failures)
        # A renewal in its last chance does not end the cool-down of processes without a token.
        cooldown = max(0.0, turn.cooldown_end - self._clock.boot_time())
        if entry.state(current_instant(self._clock)) in USABLE:
            backoff = self._refresh.backoff(turn.failures, entry.lifetime, self._random)
        else:
            cooldown = backoff = self._retry.cooldown(turn.failures, self._random)
        wall_time = self._clock.wall_time()
        asked = requested_wait(error, wall_time, self._retry.max_pause)
        backoff = max(backoff, asked)
        if isinstance(error, RateLimitedError):
            backoff = max(backoff, error.retry_at.timestamp() - wall_time)
        self._settle(turn, error, cooldown, backoff, error.attempts)
        turn.setback = Setback(error, max(cooldown, asked), backoff, adopted=False)

    def _settle(
        self, turn: Turn, error: FetchError, cooldown: float, backoff: float, attempts: int
    ) -> None:
        endpoint = self._registry.endpoint(turn.flight.key)
        now = endpoint.server_time()
        record = SharedFailure(
            type(error).__name__,
            message_of(error),
            facts_of(error, endpoint.clock_offset) | {"attempts": attempts},
            turn.failures,
            failed_at=now,
            until=now + cooldown,
            renew_at=now + backoff,
            processes=turn.witnesses[:_WITNESSES],
        )
        lease, turn.lease = turn.lease, None
        self._store.settle(turn.identity, record, max(cooldown, backoff) + FAILURE_KEPT, lease)
