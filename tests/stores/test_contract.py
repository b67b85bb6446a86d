"""The contract of stores, for the stores of this package and of its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import ClassVar

import pytest

from okta_tokens.stores import TokenStore
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from okta_tokens.testing.store_contract import (
    FleetStoreContract,
    NotifyingStoreContract,
    StoreContract,
)
from tests.clock import ManualClock
from tests.stores.servers import Server
from tests.stores.support import BasicMemoryStore, MemoryTokenStore, NotifyingMemoryStore

OLD, NEW = generate_key(), generate_key()


class _InMemory:
    """Tests with one store in memory, which is the store of every process."""

    kind: ClassVar[type[BasicMemoryStore]] = BasicMemoryStore

    @pytest.fixture(autouse=True)
    def _memory(self) -> None:
        self._clock = ManualClock()
        self._store = self.kind(self._clock)

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[TokenStore]:
        """Give the one store."""
        yield self._store

    async def let_pass(self, seconds: float) -> None:
        """Move the clock of the store."""
        self._clock.boot += seconds


class TestBasicMemoryStore(_InMemory, StoreContract):
    """A store with the seven methods only."""


class TestNotifyingStore(_InMemory, NotifyingStoreContract):
    """A store that notifies, without the other optional part."""

    kind: ClassVar[type[BasicMemoryStore]] = NotifyingMemoryStore


class TestMemoryStore(_InMemory, FleetStoreContract, NotifyingStoreContract):
    """A store in memory with the optional parts."""

    kind: ClassVar[type[BasicMemoryStore]] = MemoryTokenStore


class TestRedisStore(FleetStoreContract, NotifyingStoreContract):
    """The store in Valkey, and in Redis if it is installed."""

    key_lists: ClassVar[tuple[list[str], ...]] = ([NEW],)
    """The keys of the processes; each store that is opened has the next ones."""

    @pytest.fixture(autouse=True)
    def _server(self, valkey: Server) -> None:
        self._valkey = valkey
        self._next_keys = cycle(self.key_lists)

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[TokenStore]:
        """Open a store with connections of its own."""
        keys = next(self._next_keys)
        async with RedisTokenStore(self._valkey.url, keys=keys, timeout=5) as store:
            yield store

    async def stored_bytes(self) -> bytes:
        """Return all names and entries."""
        return repr(await self._valkey.entries()).encode()


class TestRedisStoreDuringARotation(TestRedisStore):
    """The same while the processes have the two keys in different orders."""

    key_lists: ClassVar[tuple[list[str], ...]] = ([OLD, NEW], [NEW, OLD])
