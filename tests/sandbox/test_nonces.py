"""Nonces are replaced after a lifetime, and accepted for three."""

from __future__ import annotations

from okta_tokens.sandbox._nonces import Nonces, use_dpop_nonce

DAY = 86_400.0


def test_a_nonce_lives_a_lifetime_and_works_for_three() -> None:
    """A new nonce is told once the old one is a day old; that one works until it is three."""
    nonces = Nonces(DAY)
    first = nonces.current(0)

    assert nonces.current(DAY - 1) == first
    second = nonces.current(DAY)
    assert second != first
    assert nonces.accepts(first, 3 * DAY - 1)
    assert not nonces.accepts(first, 3 * DAY)
    assert nonces.accepts(second, 3 * DAY)


def test_an_unknown_nonce_and_none_at_all_are_not_accepted() -> None:
    """What was never told is not accepted, nor is nothing."""
    nonces = Nonces(DAY)

    assert not nonces.accepts("guessed", 0)
    assert not nonces.accepts(None, 0)


def test_old_nonces_can_be_forgotten_at_once() -> None:
    """A rotation keeps the old nonces, unless they are to be forgotten."""
    nonces = Nonces(DAY)
    first = nonces.current(0)
    second = nonces.rotate(1)
    assert nonces.accepts(first, 2)

    third = nonces.rotate(2, forget=True)
    assert nonces.current(3) == third
    assert not nonces.accepts(first, 3)
    assert not nonces.accepts(second, 3)


def test_no_more_is_kept_than_is_accepted() -> None:
    """What is too old to be accepted is not kept."""
    nonces = Nonces(1.0)
    for now in range(100):
        nonces.current(now)

    assert len(nonces._generated) <= 4


def test_the_refusal_tells_the_nonce() -> None:
    """A request without a nonce is answered with one, in Okta's header (RFC 9449 §8)."""
    refusal = use_dpop_nonce("Why.", "n")

    assert (refusal.status, refusal.error) == (400, "use_dpop_nonce")
    assert refusal.headers == {"dpop-nonce": "n"}
