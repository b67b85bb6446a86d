"""Test a store of your own: everything that a provider relies on.

Example:
    ```python
    import pytest
    from okta_tokens.testing.store_contract import StoreContract

    @pytest.mark.anyio  # or @pytest.mark.asyncio
    class TestOurStore(StoreContract):
        @asynccontextmanager
        async def open_store(self):
            async with OurStore("server.internal", keys=KEYS) as store:
                yield store
    ```

The tests use identities that no other test uses, so the server may hold other entries.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import cast

from okta_tokens.stores import (
    DomainState,
    FleetStore,
    NotifyingStore,
    SharedFailure,
    SharedRejection,
    SharedToken,
    StoredState,
    StoreIdentity,
    Subscription,
    TokenStore,
)

__all__ = ["FleetStoreContract", "NotifyingStoreContract", "StoreContract"]

_LONG = 100.0
"""Seconds that no test lasts."""
_SHORT = 0.2
"""Seconds after which something ends."""
_TIME_LIMIT = 10.0
"""Seconds to wait for a notification."""

_EARLY, _LATE = 1_800_000_010.5, 1_800_000_020.5
"""Moments in seconds since the epoch."""


class StoreContract:
    """The tests of `TokenStore`, as coroutine methods for pytest with a plugin for asyncio.

    Derive a class from it whose name begins with `Test`, and override `open_store`. If the store
    also has the optional parts, derive the class from `FleetStoreContract`,
    `NotifyingStoreContract` or both.
    """

    def open_store(self) -> AbstractAsyncContextManager[TokenStore]:
        """Open a store as another process would; override it.

        All stores that it opens have the same entries and the same keys. Some tests open two.
        """
        raise NotImplementedError

    async def let_pass(self, seconds: float) -> None:
        """Let time pass for the store; override it if the store has a clock that a test moves.

        Args:
            seconds: How much time.
        """
        await asyncio.sleep(seconds)

    async def stored_bytes(self) -> bytes:
        """Return all that is stored, names included; override it to test that it reveals nothing.

        By default nothing is returned, and so nothing is tested.
        """
        return b""

    async def test_every_optional_part_is_tested(self) -> None:
        """A store that has an optional part is tested by the class for this part."""
        async with self.open_store() as store:
            for part, contract in (
                (FleetStore, FleetStoreContract),
                (NotifyingStore, NotifyingStoreContract),
            ):
                _check(
                    isinstance(self, contract) or not isinstance(store, part),
                    f"the store is a {part.__name__}; derive the class of the tests from "
                    f"{contract.__name__}",
                )

    async def test_the_time_limits_are_positive(self) -> None:
        """`timeout` and `lease` are numbers of seconds."""
        async with self.open_store() as store:
            _check(store.timeout > 0, "timeout is not positive")
            _check(store.lease > 0, "lease is not positive")

    async def test_a_saved_token_is_loaded(self) -> None:
        """Another process loads the five values of a token, and the seconds until its removal."""
        one, other = _identity(), _identity()
        for token in (_token("a"), _token("b", token_type="DPoP", scopes=())):  # noqa: S106 - no secret
            async with self._two() as (saves, loads):
                await saves.save(one, token, _LONG)
                found = await loads.load(one)
                _check(found is not None, "a saved token is not loaded")
                loaded, seconds = cast("tuple[SharedToken, float]", found)
                _check(loaded == token, "a loaded token has other values than the saved one")
                _check(0 < seconds <= _LONG, "the seconds until the removal are wrong")
                _check(await loads.load(other) is None, "a token is loaded for another identity")

    async def test_a_later_token_replaces_an_earlier_one(self) -> None:
        """A saved token replaces the stored one, and the time until its removal."""
        identity = _identity()
        async with self._two() as (store, loads):
            await store.save(identity, _token("a"), _LONG)
            await store.save(identity, _token("b", expires_at=2e9 - 100), 2 * _LONG)
            token, seconds = await loads.load(identity) or (None, 0.0)
            _check(_value(token) == "b", "a later token does not replace an earlier one")
            _check(_LONG < seconds <= 2 * _LONG, "a later token keeps the time of the earlier one")

    async def test_a_token_is_removed_when_its_time_is_over(self) -> None:
        """The store removes a token after the seconds for which it was saved."""
        identity = _identity()
        async with self.open_store() as store:
            await store.save(identity, _token("a"), _SHORT)
            await self.let_pass(2 * _SHORT)
            _check(await store.load(identity) is None, "a token is loaded after its time")

    async def test_a_discarded_token_is_not_loaded(self) -> None:
        """A discarded token is removed, and is not loaded if a process puts it back."""
        identity = _identity()
        async with self._two() as (store, other):
            await store.save(identity, _token("a"), _LONG)
            await other.discard(identity, "a", _LONG)
            _check(await store.load(identity) is None, "a discarded token is loaded")
            await store.save(identity, _token("a"), _LONG)
            _check(await store.load(identity) is None, "a discarded token is loaded again")

    async def test_a_token_can_be_discarded_before_it_is_stored(self) -> None:
        """A token that is discarded while it is not stored is not loaded later."""
        identity = _identity()
        async with self.open_store() as store:
            await store.discard(identity, "a", _LONG)
            await store.save(identity, _token("a"), _LONG)
            _check(await store.load(identity) is None, "a discarded token is loaded")

    async def test_other_tokens_stay_when_one_is_discarded(self) -> None:
        """A newer token stays, and so does the same token of another identity."""
        identity, other = _identity(), _identity()
        async with self.open_store() as store:
            await store.save(identity, _token("b"), _LONG)
            await store.save(other, _token("a"), _LONG)
            await store.discard(identity, "a", _LONG)
            _check(await store.load(identity) is not None, "another token was discarded, too")
            _check(await store.load(other) is not None, "another identity lost its token")

    async def test_processes_that_discard_do_not_disturb_each_other(self) -> None:
        """Of many tokens that are discarded at the same time, none is loaded."""
        identity = _identity()
        values = [f"token {number}" for number in range(20)]
        async with self._two() as stores:
            await asyncio.gather(
                *(stores[at % 2].discard(identity, value, _LONG) for at, value in enumerate(values))
            )
            for value in values:
                await stores[0].save(identity, _token(value), _LONG)
                _check(await stores[1].load(identity) is None, "a discarded token is loaded")

    async def test_a_discarded_token_is_forgotten_in_time(self) -> None:
        """Each token counts as discarded for the seconds that its call names."""
        identity = _identity()
        async with self.open_store() as store:
            await store.discard(identity, "a", _LONG)
            await store.discard(identity, "b", _SHORT)
            await self.let_pass(2 * _SHORT)
            await store.save(identity, _token("a"), _LONG)
            _check(await store.load(identity) is None, "a discarded token is forgotten too early")
            await store.save(identity, _token("b"), _LONG)
            _check(await store.load(identity) is not None, "a discarded token is never forgotten")

    async def test_one_process_gets_the_lease(self) -> None:
        """Of many processes that want a lease at the same time, one gets it."""
        identity = _identity()
        async with self._two() as stores:
            leases = await asyncio.gather(
                *(stores[number % 2].acquire(identity, _LONG) for number in range(10))
            )
            _check(sum(lease is not None for lease in leases) == 1, "not one lease was given")
            other = await stores[0].acquire(_identity(), _LONG)
            _check(other is not None, "the lease of another identity is taken, too")

    async def test_a_lease_ends_by_itself(self) -> None:
        """Another process can take a lease over when its seconds are over."""
        identity = _identity()
        async with self._two() as (one, two):
            await one.acquire(identity, _SHORT)
            await self.let_pass(2 * _SHORT)
            _check(await two.acquire(identity, _LONG) is not None, "a lease does not end by itself")

    async def test_a_lease_is_ended_by_its_owner_only(self) -> None:
        """A lease is released with its identifier, and not with that of an earlier lease."""
        identity = _identity()
        async with self._two() as (one, two):
            first = await _lease_of(one, identity)
            await two.release(identity, f"{first}x")
            _check(await two.acquire(identity, _LONG) is None, "a wrong identifier ends a lease")
            await one.release(identity, first)
            second = await two.acquire(identity, _LONG)
            _check(second is not None, "a released lease cannot be acquired")
            await one.release(identity, first)
            _check(await one.acquire(identity, _LONG) is None, "an old identifier ends a lease")

    async def test_the_longest_pause_stays(self) -> None:
        """A pause has both of its ends, and a shorter one does not replace it."""
        identity = _identity()
        async with self._two() as (one, two):
            _check(await one.paused(identity) is None, "there is a pause that no process stored")
            await one.pause(identity, _LONG, _EARLY)
            await two.pause(identity, _LONG / 2, _LATE)
            seconds, until = await two.paused(identity) or (0.0, 0.0)
            _check(_LONG / 2 < seconds <= _LONG, "a shorter pause replaces a longer one")
            _check(until == _EARLY, "a pause ends at another moment than it was stored")
            await two.pause(identity, 2 * _LONG, _LATE)
            seconds, until = await one.paused(identity) or (0.0, 0.0)
            _check(seconds > _LONG, "a longer pause does not replace a shorter one")
            _check(until == _LATE, "a longer pause keeps the end of a shorter one")
            _check(await one.paused(_identity()) is None, "another part of a domain pauses, too")

    async def test_a_pause_ends(self) -> None:
        """A pause ends when its seconds are over."""
        identity = _identity()
        async with self.open_store() as store:
            await store.pause(identity, _SHORT, _EARLY)
            await self.let_pass(2 * _SHORT)
            _check(await store.paused(identity) is None, "a pause does not end")

    async def test_a_cancelled_call_affects_no_other_call(self) -> None:
        """A cancelled call raises the cancellation, and the next calls get their own results."""
        identity, empty = _identity(), _identity()
        async with self.open_store() as store:
            await store.save(identity, _token("a"), _LONG)
            for turns in range(1, 20):
                call = asyncio.create_task(store.load(empty))
                for _ in range(turns):
                    await asyncio.sleep(0)
                over = call.done()
                call.cancel()
                await asyncio.wait([call], timeout=_TIME_LIMIT)
                _check(over or call.cancelled(), "a cancellation was swallowed")
                token, _ = await store.load(identity) or (None, 0.0)
                _check(_value(token) == "a", "a call gets the result of a cancelled one")

    async def test_entries_reveal_nothing(self) -> None:
        """Nothing that is stored contains a value or a scope of a token, or its type."""
        identity = _identity()
        async with self.open_store() as store:
            await store.save(identity, _token("canary-value"), _LONG)
            await store.discard(identity, "canary-discarded", _LONG)
            await self._store_more(store, identity)
            stored = await self.stored_bytes()
            _check(b"canary" not in stored, "an entry or a name is not encrypted")

    async def _store_more(self, store: TokenStore, identity: StoreIdentity) -> None:
        """Store, with the optional parts, what may reveal something."""

    @asynccontextmanager
    async def _two(self) -> AsyncIterator[tuple[TokenStore, TokenStore]]:
        """Open the stores of two processes."""
        async with self.open_store() as one, self.open_store() as two:
            yield one, two


class FleetStoreContract(StoreContract):
    """The tests of `TokenStore` and of `FleetStore`."""

    async def test_what_is_not_stored_is_not_found(self) -> None:
        """A look at an identity or a part of a domain without entries finds nothing."""
        async with self._fleet() as (store, _):
            _check(await store.look(_identity(), None) == StoredState(), "something is stored")
            _check(await store.look(_identity(), "a") == StoredState(), "something is stored")
            found = await store.look_at_domain(_identity(), _identity())
            _check(found == DomainState(), "something is stored about a part of a domain")

    async def test_a_look_finds_what_a_load_finds(self) -> None:
        """A look finds a token with its seconds, unless the token was discarded."""
        identity = _identity()
        async with self._fleet() as (one, two):
            await one.save(identity, _token("a"), _LONG)
            found = await two.look(identity, None)
            _check(found.token == _token("a"), "a look does not find the saved token")
            _check(0 < found.seconds <= _LONG, "the seconds until the removal are wrong")
            await one.discard(identity, "a", _LONG)
            _check((await two.look(identity, None)).token is None, "a look finds a discarded token")

    async def test_a_settled_token_replaces_token_and_failure(self) -> None:
        """A token replaces the stored token, removes the stored failure, and ends the lease."""
        identity = _identity()
        async with self._fleet() as (one, two):
            await one.save(identity, _token("a"), _LONG)
            await one.settle(identity, _FAILURE, _LONG, None)
            lease = await _lease_of(one, identity)
            await one.settle(identity, _token("b"), 2 * _LONG, lease)
            found = await two.look(identity, None)
            _check(found.token == _token("b"), "a settled token is not found")
            _check(found.seconds > _LONG, "a settled token has the time of an earlier one")
            _check(found.failure is None, "a failure stays beside the token that followed")
            _check(await two.acquire(identity, _LONG) is not None, "the lease did not end")

    async def test_a_settled_failure_leaves_the_token(self) -> None:
        """A failure replaces the stored failure, leaves the token alone, and ends the lease."""
        identity = _identity()
        async with self._fleet() as (one, two):
            await one.save(identity, _token("a"), _LONG)
            await one.settle(identity, _FAILURE, _LONG, await _lease_of(one, identity))
            later = _FAILURE._replace(failures=3, failed_at=_FAILURE.failed_at + 1, processes=())
            for failure in (_FAILURE, later):
                await one.settle(identity, failure, _LONG, None)
                found = await two.look(identity, None)
                _check(found.failure == failure, "a failure is found with other values")
                _check(found.token == _token("a"), "a failure removed the token")
                is_right = 0 < found.failure_seconds <= _LONG
                _check(is_right, "the seconds until a failure is removed are wrong")
            _check(await two.acquire(identity, _LONG) is not None, "the lease did not end")

    async def test_a_failure_is_removed_when_its_time_is_over(self) -> None:
        """The store removes a failure after the seconds for which it was settled."""
        identity = _identity()
        async with self._fleet() as (store, _):
            await store.settle(identity, _FAILURE, _SHORT, None)
            await self.let_pass(2 * _SHORT)
            _check((await store.look(identity, None)).failure is None, "a failure stays")

    async def test_only_the_own_lease_is_ended(self) -> None:
        """An outcome ends the lease of its process, and no lease that began later."""
        identity = _identity()
        async with self._fleet() as (one, two):
            old = await _lease_of(one, identity)
            await one.release(identity, old)
            await _lease_of(two, identity)
            for lease in (old, None):
                await one.settle(identity, _token("a"), _LONG, lease)
                _check(await one.acquire(identity, _LONG) is None, "another lease was ended")

    async def test_a_lease_is_extended_by_its_owner_only(self) -> None:
        """An extended lease ends later; a lease that ended, or another one, is not extended."""
        identity = _identity()
        async with self._fleet() as (one, two):
            lease = await _lease_of(one, identity, 2 * _SHORT)
            await one.extend(identity, lease, _LONG)
            await self.let_pass(3 * _SHORT)
            _check(await two.acquire(identity, _LONG) is None, "a lease was not extended")
            await one.release(identity, lease)
            await one.extend(identity, lease, _LONG)
            await _lease_of(two, identity, _SHORT)
            await one.extend(identity, lease, _LONG)
            await self.let_pass(2 * _SHORT)
            _check(await one.acquire(identity, _LONG) is not None, "another lease was extended")

    async def test_a_rejection_is_found_by_all(self) -> None:
        """All processes find the last rejection, and whether the token that they hold is discarded.

        A token that was revoked, not rejected, leaves the rejection alone.
        """
        identity = _identity()
        first, second = (
            SharedRejection(5.0, _EARLY),
            SharedRejection(10.0, _LATE),
        )
        async with self._fleet() as (one, two):
            await one.save(identity, _token("b"), _LONG)
            for value, rejection in (("a", first), ("b", second), ("c", None)):
                await one.reject(identity, value, _LONG, rejection)
                found = await two.look(identity, value)
                _check(found.held_is_discarded, "a held token does not count as discarded")
                _check(found.rejection == (rejection or second), "the last rejection is not found")
            found = await two.look(identity, "d")
            _check(not found.held_is_discarded, "a token counts as discarded that is not")
            _check(found.token is None, "a rejected token is found")
            await one.save(identity, _token("d"), _LONG)
            found = await two.look(identity, None)
            _check(found.rejection == second, "a token removed the rejection")
            _check(found.token is not None, "the successor of a rejected token is not found")

    async def test_a_rejection_is_forgotten_in_time(self) -> None:
        """A rejection and its token are remembered for the seconds that the call names."""
        identity = _identity()
        async with self._fleet() as (store, _):
            await store.reject(identity, "a", _SHORT, SharedRejection(5.0, _EARLY))
            await self.let_pass(2 * _SHORT)
            found = await store.look(identity, "a")
            _check(found == StoredState(), "a rejection is never forgotten")

    async def test_a_clearing_concerns_one_client_or_all(self) -> None:
        """A look finds the last moment at which tokens of its client, or of all, were cleared."""
        domain, client, other = _identity(), _identity(), _identity()
        async with self._fleet() as (one, two):
            await one.pause(domain, _LONG, _EARLY)
            await one.clear(domain, client, _LATE, _LONG)
            found = await two.look_at_domain(domain, client)
            _check(found.cleared_at == _LATE, "a clearing is not found")
            _check(found.pause is not None, "a pause is not found beside a clearing")
            found = await two.look_at_domain(domain, other)
            _check(found.cleared_at is None, "a clearing concerns another client")
            await one.clear(domain, None, _EARLY, _LONG)
            found = await two.look_at_domain(domain, client)
            _check(found.cleared_at == _LATE, "an earlier clearing hides a later one")
            found = await two.look_at_domain(domain, other)
            _check(found.cleared_at == _EARLY, "a clearing does not concern all clients")

    async def test_the_latest_clearing_stays(self) -> None:
        """A process whose clock is behind does not replace a later moment."""
        domain, client = _identity(), _identity()
        async with self._fleet() as (one, two):
            for at, latest in ((10.5, 10.5), (5.5, 10.5), (20.5, 20.5)):
                await one.clear(domain, client, at, _LONG)
                found = await two.look_at_domain(domain, client)
                _check(found.cleared_at == latest, "not the latest clearing is found")

    async def test_a_clearing_is_forgotten_in_time(self) -> None:
        """A clearing is remembered for the seconds that the call names."""
        domain, client = _identity(), _identity()
        async with self._fleet() as (store, _):
            await store.clear(domain, client, 10.5, _SHORT)
            await self.let_pass(2 * _SHORT)
            found = await store.look_at_domain(domain, client)
            _check(found == DomainState(), "a clearing is never forgotten")

    async def _store_more(self, store: TokenStore, identity: StoreIdentity) -> None:
        await super()._store_more(store, identity)
        fleet = _fleet_store(store)
        await fleet.settle(identity, _FAILURE, _LONG, None)
        await fleet.reject(identity, "canary-rejected", _LONG, SharedRejection(5.0, 10.5))

    @asynccontextmanager
    async def _fleet(self) -> AsyncIterator[tuple[FleetStore, FleetStore]]:
        """Open the stores of two processes."""
        async with self._two() as (one, two):
            yield _fleet_store(one), _fleet_store(two)


class NotifyingStoreContract(StoreContract):
    """The tests of `TokenStore` and of `NotifyingStore`."""

    async def test_each_change_is_notified(self) -> None:
        """A process is notified after another one has stored or discarded, or released a lease."""
        identity = _identity()
        async with self._subscribed(identity) as (store, subscription):
            await store.save(identity, _token("a"), _LONG)
            await _expect(subscription, identity, "save")
            await store.discard(identity, "a", _LONG)
            await _expect(subscription, identity, "discard")
            await store.release(identity, await _lease_of(store, identity))
            await _expect(subscription, identity, "release")
            if isinstance(store, FleetStore):
                await store.settle(identity, _FAILURE, _LONG, None)
                await _expect(subscription, identity, "settle with a failure")
                await store.settle(identity, _token("b"), _LONG, None)
                await _expect(subscription, identity, "settle with a token")
                await store.reject(identity, "b", _LONG, None)
                await _expect(subscription, identity, "reject")
                for client in (None, _identity()):
                    await store.clear(identity, client, 10.5, _LONG)
                    await _expect(subscription, identity, "clear")

    async def test_identities_are_added_and_removed(self) -> None:
        """A process is notified about the identities that it added and did not remove."""
        first, second, third = _identity(), _identity(), _identity()
        async with self._subscribed(first) as (store, subscription):
            await subscription.add(second, third)
            await subscription.add(second)
            await subscription.remove(first, third)
            for identity in (first, third, second):
                await store.save(identity, _token("a"), _LONG)
            await _expect(subscription, second, "save")
            await subscription.add(first)
            await store.save(first, _token("b"), _LONG)
            await _expect(subscription, first, "save")

    async def test_identities_are_added_while_a_process_waits(self) -> None:
        """An identity can be added, and another one removed, while a task waits."""
        first, second = _identity(), _identity()
        async with self._subscribed(first) as (store, subscription):
            waiting = asyncio.create_task(_expect(subscription, second, "save"))
            await asyncio.sleep(0)
            await subscription.add(second)
            await subscription.remove(first)
            await store.save(second, _token("a"), _LONG)
            await waiting

    async def test_a_cancelled_call_loses_no_notification(self) -> None:
        """A notification that arrives after a cancelled wait is there for the next one."""
        identity = _identity()
        async with self._subscribed(identity) as (store, subscription):
            for turns in range(5):
                waiting = asyncio.create_task(subscription.next())
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
                await store.save(identity, _token("a"), _LONG)
                await _expect(subscription, identity, "save")

    async def test_a_closed_subscription_ends_its_wait(self) -> None:
        """A task that waits gets an error when the subscription is closed; other ones go on."""
        identity = _identity()
        async with (
            self._subscribed(identity) as (_, closed),
            self._subscribed(identity) as (store, open_one),
        ):
            waiting = asyncio.create_task(_next(closed))
            await asyncio.sleep(0)
            await closed.aclose()
            await closed.aclose()
            error: BaseException | None = None
            try:
                await waiting
            except Exception as raised:  # noqa: BLE001 - any error ends the wait
                error = raised
            _check(error is not None, "a closed subscription returned a notification")
            _check(not isinstance(error, TimeoutError), "a closed subscription does not end a wait")
            await store.save(identity, _token("a"), _LONG)
            await _expect(open_one, identity, "save")

    @asynccontextmanager
    async def _subscribed(
        self, *identities: StoreIdentity
    ) -> AsyncIterator[tuple[TokenStore, Subscription]]:
        """Open the stores of two processes; give one, and a subscription of the other."""
        async with self._two() as (one, two):
            _check(isinstance(two, NotifyingStore), "the store is no NotifyingStore")
            subscription = await cast("NotifyingStore", two).subscribe(*identities)
            _check(subscription is not None, "the store returns no subscription")
            opened = cast("Subscription", subscription)
            try:
                yield one, opened
            finally:
                await opened.aclose()


_FAILURE = SharedFailure(
    kind="ServerError",
    message="canary-message",
    facts={"status": 503, "request_id": "canary-id", "retry_at": None, "advice": None},
    failures=2,
    failed_at=1_800_000_000.25,
    until=1_800_000_030.25,
    renew_at=1_800_000_060.25,
    processes=("canary-process", "p2"),
)


def _check(condition: bool, problem: str) -> None:  # noqa: FBT001 - like `assert`
    if not condition:
        raise AssertionError(problem)


def _identity() -> StoreIdentity:
    """Return an identity that nothing else uses."""
    return StoreIdentity("contract", uuid.uuid4().hex)


def _token(
    value: str,
    *,
    token_type: str = "Bearer",  # noqa: S107 - no secret
    scopes: tuple[str, ...] = ("canary:read", "canary:write"),
    expires_at: float = 2e9,
) -> SharedToken:
    return SharedToken(value, token_type, frozenset(scopes), 3600.5, expires_at)


def _value(token: SharedToken | None) -> str | None:
    return None if token is None else token.value


async def _lease_of(store: TokenStore, identity: StoreIdentity, seconds: float = _LONG) -> str:
    """Take a lease that no process has."""
    lease = await store.acquire(identity, seconds)
    _check(lease is not None, "a lease that no process has cannot be acquired")
    return cast("str", lease)


async def _next(subscription: Subscription) -> StoreIdentity:
    async with asyncio.timeout(_TIME_LIMIT):
        return await subscription.next()


async def _expect(subscription: Subscription, identity: StoreIdentity, cause: str) -> None:
    """Wait for a notification."""
    notified: StoreIdentity | None = None
    with suppress(TimeoutError):
        notified = await _next(subscription)
    _check(notified is not None, f"there is no notification after {cause}")
    _check(notified == identity, f"the notification after {cause} is about another identity")


def _fleet_store(store: TokenStore) -> FleetStore:
    _check(isinstance(store, FleetStore), "the store is no FleetStore")
    return cast("FleetStore", store)
