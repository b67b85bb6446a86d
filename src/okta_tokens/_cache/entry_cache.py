"""The bounded cache of entries, which evicts unused entries first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from okta_tokens._cache.entry import FOR_EVICTION, Entry
from okta_tokens._model.token_key import TokenKey


class EntryCache:
    """A bounded number of entries, and beside them the entries that are kept fresh.

    A full cache evicts the oldest entry that was not used since the cache last considered it: a
    used entry gets a second chance, and becomes the youngest. So a hit only sets a bit and moves no
    entry in a list.

    Args:
        maxsize: How many entries of each kind.
        evicted: Called with each evicted entry.
    """

    def __init__(self, maxsize: int, evicted: Callable[[Entry], None]) -> None:
        # From the oldest to the youngest. In a plain dictionary, to find the oldest one takes the
        # longer the more have been removed: seconds, if ten thousands get a second chance.
        self._entries: OrderedDict[TokenKey, Entry] = OrderedDict()
        self._kept: dict[TokenKey, Entry] = {}
        self._maxsize = maxsize
        self._evicted = evicted

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._entries) + len(self._kept)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over a copy of the entries, those that are kept fresh first."""
        return iter([*self._kept.values(), *self._entries.values()])

    def kept(self) -> list[Entry]:
        """Return the entries that are kept fresh."""
        return [*self._kept.values()]

    def get(self, key: TokenKey) -> Entry | None:
        """Return the entry of a key, or None."""
        entry = self._entries.get(key)
        return self._kept.get(key) if entry is None and self._kept else entry

    def get_or_add(self, key: TokenKey) -> Entry:
        """Return the entry of a key; add an empty entry if there is none."""
        entry = self.get(key)
        if entry is None:
            if len(self._entries) >= self._maxsize:
                self._evict()
            entry = self._entries[key] = Entry(key)
        return entry

    def keep(self, entry: Entry) -> bool:
        """Never evict an entry; return False if the limit of such entries is reached."""
        if not entry.kept_fresh:
            if len(self._kept) >= self._maxsize:
                return False
            self._entries.pop(entry.key, None)
            self._kept[entry.key] = entry
            entry.kept_fresh = True
        return True

    def remove(self, entry: Entry) -> None:
        """Drop an entry that is in the cache, and is not kept fresh."""
        del self._entries[entry.key]
        entry.detach()

    def replace(self, entry: Entry) -> Entry:
        """Drop an entry that is kept fresh, and return the empty one that takes its place."""
        new = self._kept[entry.key] = Entry(entry.key)
        new.kept_fresh = True
        entry.detach()
        return new

    def _evict(self) -> None:
        """Remove the oldest unused entry (the clock algorithm)."""
        while True:
            key, entry = self._entries.popitem(last=False)
            if not entry.used & FOR_EVICTION:
                break
            entry.used &= ~FOR_EVICTION
            self._entries[key] = entry
        self._evicted(entry)
