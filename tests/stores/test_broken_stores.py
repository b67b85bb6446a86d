"""The contract of stores notices each way in which a store may break it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from okta_tokens.stores import SharedToken, StoredState, StoreIdentity, TokenStore
from okta_tokens.testing.store_contract import (
    FleetStoreContract,
    NotifyingStoreContract,
    StoreContract,
)
from tests.clock import ManualClock
from tests.stores.support import BasicMemoryStore, MemorySubscription, MemoryTokenStore

Method = Callable[..., Any]


class Contract(FleetStoreContract, NotifyingStoreContract):
    """The contract for a broken store, whose entries are readable."""

    def __init__(self, **broken: object) -> None:
        self.clock = ManualClock()
        kind = type("Broken", (MemoryTokenStore,), broken)
        self.store = kind(self.clock)

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[TokenStore]:
        """Give the broken store."""
        yield self.store

    async def let_pass(self, seconds: float) -> None:
        """Move the clock of the store."""
        self.clock.boot += seconds

    async def stored_bytes(self) -> bytes:
        """Return the values of tokens."""
        return repr([token.value for token, _ in self.store.tokens.values()]).encode()


async def nothing(*_: object) -> None:
    """Do nothing."""


async def always_given(*_: object) -> str:
    """Return the identifier of a lease."""
    return "lease"


async def remember_one(
    self: BasicMemoryStore, identity: StoreIdentity, value: str, _: float
) -> None:
    """Remember only the last token that was discarded."""
    await BasicMemoryStore.discard(self, identity, value, 1e6)
    self.discarded = {(identity, value): 1e9}


def before(name: str, change: Callable[..., object]) -> Method:
    """Return a method that changes something before it does what it should do."""
    original: Method = getattr(MemoryTokenStore, name)

    async def method(self: object, *arguments: object) -> object:
        change(self, *arguments)
        return await original(self, *arguments)

    return method


def after(name: str, change: Callable[..., object]) -> Method:
    """Return a method whose result is changed."""
    original: Method = getattr(MemoryTokenStore, name)

    async def method(self: object, *arguments: object) -> object:
        return change(await original(self, *arguments))

    return method


def with_argument(name: str, position: int, value: object) -> Method:
    """Return a method that takes another value for one of its arguments."""
    original: Method = getattr(MemoryTokenStore, name)

    async def method(self: object, *arguments: object) -> object:
        return await original(self, *arguments[:position], value, *arguments[position + 1 :])

    return method


async def swallow(self: BasicMemoryStore, identity: StoreIdentity) -> object:
    """Load a token, and swallow a cancellation."""
    with suppress(asyncio.CancelledError):
        return await BasicMemoryStore.load(self, identity)
    return None


def other_scopes(found: tuple[SharedToken, float] | None) -> object:
    """Return a loaded token with other scopes."""
    if found is None:
        return None
    token, seconds = found
    it = SharedToken(token.value, token.token_type, frozenset("x"), token.lifetime, 2e9)
    return it, seconds


def without_notice(name: str) -> Method:
    """Return a method that notifies no process."""
    original: Method = getattr(MemoryTokenStore, name)

    async def method(self: MemoryTokenStore, *arguments: object) -> None:
        subscriptions, self.subscriptions = self.subscriptions, {}
        await original(self, *arguments)
        self.subscriptions = subscriptions

    return method


def to_all(self: MemoryTokenStore, _: StoreIdentity) -> None:
    """Notify all processes about all identities."""
    for subscription in self.subscriptions:
        for identity in subscription.identities:
            subscription.notify(identity)


class Deaf(MemorySubscription):
    """A subscription to which nothing can be added."""

    async def add(self, *identities: StoreIdentity) -> None:
        """Add only the first identities."""
        if not self.identities:
            await super().add(*identities)


class Clinging(MemorySubscription):
    """A subscription from which nothing can be removed."""

    remove = nothing


class Forgetful(MemorySubscription):
    """A subscription that loses what has arrived when a wait is cancelled."""

    async def next(self) -> StoreIdentity:
        """Wait for the next notification."""
        try:
            return await super().next()
        except asyncio.CancelledError:
            self.identities.clear()
            raise


class Endless(MemorySubscription):
    """A subscription whose wait ends neither with the connection nor with an error."""

    async def next(self) -> StoreIdentity:
        """Wait for ever after the end."""
        with suppress(ConnectionError):
            return await super().next()
        raise TimeoutError


def subscribing(kind: type[MemorySubscription]) -> Method:
    """Return a method that returns another kind of subscription."""

    async def subscribe(self: MemoryTokenStore, *identities: StoreIdentity) -> MemorySubscription:
        subscription = kind(self)
        self.subscriptions[subscription] = None
        await subscription.add(*identities)
        return subscription

    return subscribe


NO_TIME = property(lambda self: 0.0, lambda self, value: None)
BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("the_time_limits_are_positive", {"timeout": NO_TIME}),
    ("the_time_limits_are_positive", {"lease": NO_TIME}),
    ("a_saved_token_is_loaded", {"save": nothing}),
    ("a_saved_token_is_loaded", {"load": after("load", other_scopes)}),
    ("a_saved_token_is_loaded", {"load": after("load", lambda it: it and (it[0], it[1] + 1))}),
    (
        "a_saved_token_is_loaded",
        {"load": with_argument("load", 0, "all"), "save": with_argument("save", 0, "all")},
    ),
    (
        "a_later_token_replaces_an_earlier_one",
        {
            "save": before(
                "save", lambda self, identity, *_: self.discarded.update({(identity, "b"): 1e9})
            )
        },
    ),
    ("a_later_token_replaces_an_earlier_one", {"save": with_argument("save", 2, 100.0)}),
    ("a_token_is_removed_when_its_time_is_over", {"save": with_argument("save", 2, 1e6)}),
    ("a_discarded_token_is_not_loaded", {"discard": nothing}),
    ("a_token_can_be_discarded_before_it_is_stored", {"discard": nothing}),
    (
        "other_tokens_stay_when_one_is_discarded",
        {"discard": before("discard", lambda self, *_: self.tokens.clear())},
    ),
    (
        "processes_that_discard_do_not_disturb_each_other",
        {"discard": remember_one},
    ),
    ("a_discarded_token_is_forgotten_in_time", {"discard": with_argument("discard", 2, 0.1)}),
    ("a_discarded_token_is_forgotten_in_time", {"discard": with_argument("discard", 2, 1e6)}),
    (
        "one_process_gets_the_lease",
        {"acquire": always_given},
    ),
    ("one_process_gets_the_lease", {"acquire": with_argument("acquire", 0, "all")}),
    ("a_lease_ends_by_itself", {"acquire": with_argument("acquire", 1, 1e6)}),
    ("a_lease_is_ended_by_its_owner_only", {"release": nothing}),
    (
        "a_lease_is_ended_by_its_owner_only",
        {"release": before("release", lambda self, *_: self.leases.clear())},
    ),
    ("the_longest_pause_stays", {"pause": before("pause", lambda self, *_: self.pauses.clear())}),
    ("the_longest_pause_stays", {"pause": with_argument("pause", 2, 1.5)}),
    ("a_pause_ends", {"pause": with_argument("pause", 1, 1e6)}),
    ("a_cancelled_call_affects_no_other_call", {"load": swallow}),
    ("entries_reveal_nothing", {}),
    (
        "what_is_not_stored_is_not_found",
        {"look": after("look", lambda it: it._replace(held_is_discarded=True))},
    ),
    (
        "what_is_not_stored_is_not_found",
        {"look_at_domain": after("look_at_domain", lambda it: it._replace(cleared_at=1.0))},
    ),
    ("a_look_finds_what_a_load_finds", {"look": after("look", lambda it: StoredState())}),
    ("a_settled_token_replaces_token_and_failure", {"settle": nothing}),
    ("a_settled_token_replaces_token_and_failure", {"settle": with_argument("settle", 3, None)}),
    ("a_settled_token_replaces_token_and_failure", {"settle": with_argument("settle", 2, 100.0)}),
    ("a_settled_failure_leaves_the_token", {"settle": nothing}),
    (
        "a_settled_failure_leaves_the_token",
        {"settle": before("settle", lambda self, *_: self.tokens.clear())},
    ),
    ("a_failure_is_removed_when_its_time_is_over", {"settle": with_argument("settle", 2, 1e6)}),
    (
        "only_the_own_lease_is_ended",
        {"settle": before("settle", lambda self, *_: self.leases.clear())},
    ),
    ("a_lease_is_extended_by_its_owner_only", {"extend": nothing}),
    (
        "a_lease_is_extended_by_its_owner_only",
        {
            "extend": before(
                "extend",
                lambda self, identity, lease, seconds: self.leases.update(
                    {identity: (lease, self._clock.boot_time() + seconds)}
                ),
            )
        },
    ),
    ("a_rejection_is_found_by_all", {"reject": nothing}),
    (
        "a_rejection_is_found_by_all",
        {"reject": before("reject", lambda self, *_: self.rejections.clear())},
    ),
    ("a_rejection_is_forgotten_in_time", {"reject": with_argument("reject", 2, 1e6)}),
    ("a_clearing_concerns_one_client_or_all", {"clear": nothing}),
    ("a_clearing_concerns_one_client_or_all", {"clear": with_argument("clear", 1, None)}),
    (
        "the_latest_clearing_stays",
        {"clear": before("clear", lambda self, *_: self.clearings.clear())},
    ),
    ("a_clearing_is_forgotten_in_time", {"clear": with_argument("clear", 3, 1e6)}),
    *(
        ("each_change_is_notified", {name: without_notice(name)})
        for name in ("save", "discard", "release", "settle", "reject", "clear")
    ),
    ("each_change_is_notified", {"notify": to_all, "subscribe": nothing}),
    ("identities_are_added_and_removed", {"subscribe": subscribing(Deaf)}),
    ("identities_are_added_and_removed", {"subscribe": subscribing(Clinging)}),
    ("identities_are_added_while_a_process_waits", {"subscribe": subscribing(Deaf)}),
    ("a_cancelled_call_loses_no_notification", {"subscribe": subscribing(Forgetful)}),
    ("a_closed_subscription_ends_its_wait", {"subscribe": subscribing(Endless)}),
]
"""A test of the contract that fails, and how the store breaks the contract."""


@pytest.mark.parametrize(("test", "broken"), BROKEN, ids=range(len(BROKEN)))
async def test_a_broken_store_fails(
    test: str, broken: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each way to break the contract there is a test that fails, and says what is wrong."""
    monkeypatch.setattr("okta_tokens.testing.store_contract._TIME_LIMIT", 0.05)

    with pytest.raises(AssertionError, match=r"^\w"):
        await getattr(Contract(**broken), f"test_{test}")()


def test_every_test_notices_something() -> None:
    """No test of the contract passes whatever the store does."""
    tests = {name for name in dir(Contract) if name.startswith("test_")}

    assert {f"test_{test}" for test, _ in BROKEN} == tests - {"test_every_optional_part_is_tested"}


async def test_an_optional_part_must_be_tested() -> None:
    """A store with an optional part fails if its class tests only the seven methods."""

    class Narrow(StoreContract):
        @asynccontextmanager
        async def open_store(self) -> AsyncIterator[TokenStore]:
            yield MemoryTokenStore(ManualClock())

    with pytest.raises(AssertionError, match="derive the class of the tests from FleetStoreC"):
        await Narrow().test_every_optional_part_is_tested()
    with pytest.raises(NotImplementedError):
        StoreContract().open_store()
