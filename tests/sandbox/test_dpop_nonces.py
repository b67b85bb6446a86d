"""Nonces are replaced after one lifetime, and accepted for three."""

from __future__ import annotations

from okta_tokens.sandbox._dpop_nonces import Nonces

DAY = 86_400.0


def test_a_nonce_is_replaced_after_a_lifetime_and_accepted_for_three() -> None:
    """A new nonce replaces one that is a day old, which is accepted until it is three days old."""
    nonces = Nonces(DAY)
    first = nonces.current(0)

    assert nonces.current(DAY - 1) == first
    second = nonces.current(DAY)
    assert second != first
    assert nonces.accepts(first, 3 * DAY - 1)
    assert not nonces.accepts(first, 3 * DAY)
    assert nonces.accepts(second, 3 * DAY)


def test_an_unknown_or_missing_nonce_is_not_accepted() -> None:
    """A nonce that the server did not generate is not accepted, and neither is `None`."""
    nonces = Nonces(DAY)

    assert not nonces.accepts("guessed", 0)
    assert not nonces.accepts(None, 0)


def test_old_nonces_can_be_forgotten_at_once() -> None:
    """A rotation keeps the old nonces unless `forget` is set."""
    nonces = Nonces(DAY)
    first = nonces.current(0)
    second = nonces.rotate(1)
    assert nonces.accepts(first, 2)

    third = nonces.rotate(2, forget=True)
    assert nonces.current(3) == third
    assert not nonces.accepts(first, 3)
    assert not nonces.accepts(second, 3)


def test_nonces_that_are_too_old_are_removed() -> None:
    """A nonce that is too old to be accepted is not kept in memory."""
    nonces = Nonces(1.0)
    for now in range(100):
        nonces.current(now)

    assert len(nonces._generated) <= 4
