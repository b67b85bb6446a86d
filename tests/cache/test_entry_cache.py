"""The bounded cache of entries: eviction, and entries that are kept fresh."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey
from okta_tokens._cache.entry import FOR_EVICTION, FOR_RENEWAL, USED, Entry
from okta_tokens._cache.entry_cache import EntryCache

QUICK = settings(max_examples=50, deadline=None, database=None, derandomize=True)
CLIENT = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("secret"))
KEYS = [TokenKey(CLIENT, frozenset({name})) for name in "abcdefgh"]


class Cache(EntryCache):
    """A cache that records its evicted keys."""

    def __init__(self, maxsize: int) -> None:
        self.evicted: list[TokenKey] = []
        super().__init__(maxsize, self._record)

    def _record(self, entry: Entry) -> None:
        assert entry.key not in [each.key for each in self]
        entry.detach()
        self.evicted.append(entry.key)

    @property
    def keys(self) -> list[TokenKey]:
        """The keys in the order of the cache."""
        return [entry.key for entry in self]


def new_cache(maxsize: int, *keys: TokenKey) -> Cache:
    """Return a cache with an entry for each key."""
    cache = Cache(maxsize)
    for key in keys:
        cache.get_or_add(key)
    return cache


def test_a_new_cache_is_empty() -> None:
    """A new cache has no entry."""
    cache = new_cache(3)

    assert len(cache) == 0
    assert list(cache) == []
    assert cache.get(KEYS[0]) is None


def test_a_key_has_one_entry() -> None:
    """Equal keys have one entry, which is empty at first."""
    cache = new_cache(3)
    entry = cache.get_or_add(KEYS[0])

    assert entry.key == KEYS[0]
    assert entry.token is None
    assert not entry.kept_fresh
    assert cache.get(KEYS[0]) is entry
    assert cache.get_or_add(TokenKey(CLIENT, frozenset({"a"}))) is entry
    assert len(cache) == 1


def test_a_full_cache_evicts_the_oldest_unused_entry() -> None:
    """A full cache evicts its oldest unused entry, and reports it."""
    cache = new_cache(3, *KEYS[:5])

    assert cache.keys == KEYS[2:5]
    assert cache.evicted == KEYS[:2]


def test_a_lookup_is_not_a_use() -> None:
    """A lookup does not protect an entry from eviction; only a hit is a use."""
    cache = new_cache(2, *KEYS[:2])
    cache.get(KEYS[0])
    cache.get_or_add(KEYS[0])
    cache.get_or_add(KEYS[2])

    assert cache.evicted == [KEYS[0]]


def test_a_used_entry_gets_a_second_chance() -> None:
    """An entry that was used since the cache last considered it is kept once."""
    cache = new_cache(2, *KEYS[:2])
    entry = cache.get_or_add(KEYS[0])
    entry.used = USED
    cache.get_or_add(KEYS[2])

    assert cache.evicted == [KEYS[1]]
    assert cache.get(KEYS[0]) is entry
    assert entry.used == FOR_RENEWAL

    cache.get_or_add(KEYS[3])
    cache.get_or_add(KEYS[4])

    assert cache.evicted == [KEYS[1], KEYS[0], KEYS[2]]


def test_eviction_has_a_bit_of_its_own() -> None:
    """Eviction does not look at the bit for renewal."""
    cache = new_cache(1, KEYS[0])
    cache.get_or_add(KEYS[0]).used = FOR_RENEWAL
    cache.get_or_add(KEYS[1])

    assert cache.evicted == [KEYS[0]]


def test_if_every_entry_was_used_the_oldest_is_evicted() -> None:
    """If every entry was used, the oldest one is evicted, and no entry counts as used."""
    cache = new_cache(3, *KEYS[:3])
    for entry in cache:
        entry.used = USED
    cache.get_or_add(KEYS[3])

    assert cache.evicted == [KEYS[0]]
    assert cache.keys == KEYS[1:4]
    assert [entry.used & FOR_EVICTION for entry in cache] == [0, 0, 0]


def test_a_kept_entry_is_never_evicted() -> None:
    """An entry that is kept fresh is not evicted, and takes no place of other entries."""
    cache = new_cache(2)
    kept = cache.get_or_add(KEYS[0])

    assert cache.keep(kept)

    for key in KEYS[1:]:
        cache.get_or_add(key)

    assert kept.kept_fresh
    assert cache.get(KEYS[0]) is cache.get_or_add(KEYS[0]) is kept
    assert cache.keys == [KEYS[0], *KEYS[-2:]]
    assert len(cache) == 3
    assert KEYS[0] not in cache.evicted


def test_kept_entries_are_bounded() -> None:
    """No more entries are kept fresh than the size of the cache; keeping one again is allowed."""
    cache = new_cache(2)
    first, second, third = (cache.get_or_add(key) for key in KEYS[:3])

    assert [cache.keep(first), cache.keep(second), cache.keep(third)] == [True, True, False]
    assert not third.kept_fresh
    assert cache.keep(first)
    assert cache.get(KEYS[2]) is third


def test_a_kept_entry_leaves_the_other_entries() -> None:
    """An entry that is kept fresh does not count among the other entries."""
    cache = new_cache(2, *KEYS[:2])
    entry = cache.get_or_add(KEYS[1])
    cache.keep(entry)

    assert len(cache) == 2
    assert cache.keys == [KEYS[1], KEYS[0]]


def test_a_removed_entry_is_detached() -> None:
    """A removed entry is detached, and does not count as evicted."""
    cache = new_cache(3, *KEYS[:2])
    entry = cache.get_or_add(KEYS[0])
    cache.remove(entry)

    assert entry.detached
    assert cache.keys == [KEYS[1]]
    assert cache.evicted == []
    assert cache.get_or_add(KEYS[0]) is not entry


def test_the_cache_may_change_during_an_iteration() -> None:
    """An iteration goes over a copy, so the cache may change meanwhile."""
    cache = new_cache(3, *KEYS[:3])
    for entry in cache:
        cache.remove(entry)

    assert len(cache) == 0


@QUICK
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from(["add", "use", "keep", "remove"]), st.sampled_from(KEYS)),
        max_size=60,
    ),
)
def test_the_cache_agrees_with_its_model(maxsize: int, steps: list[tuple[str, TokenKey]]) -> None:
    """After every sequence of steps the cache holds what a simple second-chance model holds."""
    cache = Cache(maxsize)
    used: dict[TokenKey, bool] = {}
    kept: list[TokenKey] = []
    evicted: list[TokenKey] = []

    for step, key in steps:
        entry = cache.get(key)
        if step == "add" and entry is None:
            while len(used) == maxsize:
                oldest = next(iter(used))
                if used.pop(oldest):
                    used[oldest] = False
                else:
                    evicted.append(oldest)
            used[key] = False
        if step == "add":
            cache.get_or_add(key)
        elif step == "use" and entry is not None:
            entry.used = USED
            if key in used:
                used[key] = True
        elif step == "keep" and entry is not None and cache.keep(entry) and key in used:
            kept.append(key)
            del used[key]
        elif step == "remove" and key in used and entry is not None:
            cache.remove(entry)
            del used[key]

        assert cache.keys == [*kept, *used]
        assert cache.evicted == evicted
        assert len(cache) == len(kept) + len(used)
        assert len(kept) <= maxsize


def test_keeping_a_new_entry_evicts_no_entry() -> None:
    """A new entry that is kept fresh from its beginning takes no place of other entries."""
    evicted: list[Entry] = []
    cache = EntryCache(1, evicted.append)
    ordinary = cache.get_or_add(KEYS[0])
    first, second = Entry(KEYS[1]), Entry(KEYS[2])

    assert [cache.keep(first), cache.keep(second)] == [True, False]
    assert evicted == []
    assert [*cache] == [first, ordinary]
