"""What may be used once is remembered as long as it could be used again."""

from __future__ import annotations

from okta_tokens.sandbox._replay import Replays


def test_a_second_use_is_told_from_the_first() -> None:
    """The same thing is used once, until it could not be used any more."""
    replays = Replays()

    assert replays.use("a", until=10, now=0)
    assert not replays.use("a", until=10, now=9)
    assert replays.use("b", until=10, now=9)
    assert replays.use("a", until=20, now=10)


def test_what_has_expired_is_forgotten() -> None:
    """Memory holds what is still good, and little else."""
    replays = Replays()
    replays.use("good", until=1e9, now=0)
    for number in range(10_000):
        replays.use(number, until=number + 5, now=number)

    assert len(replays) <= 1024
    assert not replays.use("good", until=1e9, now=10_000)


def test_memory_is_bounded() -> None:
    """Of more than the limit only the latest are remembered."""
    replays = Replays()
    for number in range(Replays.LIMIT + 500):
        replays.use(number, until=1e9, now=0)

    assert len(replays) <= Replays.LIMIT
    assert not replays.use(Replays.LIMIT + 499, until=1e9, now=0)
    assert replays.use(0, until=1e9, now=0)
