"""Tokens are remembered for an hour past their expiry."""

from __future__ import annotations

from okta_tokens.sandbox._model import TokenRegistry


def test_a_token_stays_out_of_its_repr() -> None:
    """No repr shows a token value."""
    token = TokenRegistry().issue("app", None, ("a",), now=0, lifetime=10)

    assert token.value not in repr(token)


def test_a_token_is_bound_to_a_key_or_for_any_bearer() -> None:
    """The type of a token follows from whether it is bound."""
    registry = TokenRegistry()
    bearer = registry.issue("app", None, ("a",), now=0, lifetime=10)
    bound = registry.issue("app", None, ("a",), now=0, lifetime=10, jkt="thumb", value="signed")

    assert (bearer.token_type, bound.token_type) == ("Bearer", "DPoP")
    assert registry.find("signed") is bound


def test_a_token_is_live_until_it_expires_or_is_revoked() -> None:
    """A token stops being live in the instant of its expiry, or when it is revoked."""
    registry = TokenRegistry()
    first, second = (registry.issue("app", None, ("a",), now=0, lifetime=10) for _ in range(2))

    assert first.live(9.9)
    assert not first.live(10)
    assert registry.revoke(second.value)
    assert not second.live(1)


def test_revoking_says_whether_it_made_a_difference() -> None:
    """A token that is unknown or revoked already is not revoked again."""
    registry = TokenRegistry()
    token = registry.issue("app", None, ("a",), now=0, lifetime=10)

    assert [registry.revoke(token.value), registry.revoke(token.value)] == [True, False]
    assert not registry.revoke("unknown")


def test_all_tokens_of_one_client_can_be_revoked() -> None:
    """Revoking one client's tokens leaves those of others alone."""
    registry = TokenRegistry()
    mine, other = (registry.issue(who, None, ("a",), now=0, lifetime=9) for who in ("me", "you"))

    assert registry.revoke_all("me") == 1
    assert mine.revoked
    assert not other.revoked
    assert registry.revoke_all() == 1


def test_memory_is_bounded_and_expired_tokens_stay_known_for_an_hour() -> None:
    """Tokens are forgotten once an hour has passed since they expired, and not before."""
    registry = TokenRegistry()
    old = registry.issue("app", None, ("a",), now=0, lifetime=1)
    young = registry.issue("app", None, ("a",), now=0, lifetime=5000)
    for _ in range(5000):
        registry.issue("app", None, ("a",), now=100, lifetime=1)
    assert registry.find(old.value) is old

    for _ in range(6000):
        registry.issue("app", None, ("a",), now=4000, lifetime=1)

    assert registry.find(old.value) is None
    assert registry.find(young.value) is young
    assert len(registry) < 8000
