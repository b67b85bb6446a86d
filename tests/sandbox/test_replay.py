"""An id that may be used once is remembered for as long as it could be used again."""

from __future__ import annotations

from okta_tokens.sandbox._replay import ReplayCache


def test_an_id_is_usable_once_until_it_expires() -> None:
    """The first use of an id is accepted, a second one only after the id has expired."""
    cache = ReplayCache()

    assert cache.use("a", expires_at=10, now=0)
    assert not cache.use("a", expires_at=10, now=9)
    assert cache.use("b", expires_at=10, now=9)
    assert cache.use("a", expires_at=20, now=10)


def test_expired_ids_are_removed() -> None:
    """The cache keeps the ids that have not expired, and few others."""
    cache = ReplayCache()
    cache.use("unexpired", expires_at=1e9, now=0)
    for number in range(10_000):
        cache.use(number, expires_at=number + 5, now=number)

    assert len(cache) <= 1024
    assert not cache.use("unexpired", expires_at=1e9, now=10_000)


def test_the_cache_is_bounded() -> None:
    """If the limit is exceeded, the newest ids are kept."""
    cache = ReplayCache()
    for number in range(ReplayCache.LIMIT + 500):
        cache.use(number, expires_at=1e9, now=0)

    assert len(cache) <= ReplayCache.LIMIT
    assert not cache.use(ReplayCache.LIMIT + 499, expires_at=1e9, now=0)
    assert cache.use(0, expires_at=1e9, now=0)
