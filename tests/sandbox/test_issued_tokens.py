"""Issued tokens are remembered for an hour after their expiry."""

from __future__ import annotations

from okta_tokens.sandbox._issued_tokens import TokenRegistry


def test_the_repr_of_a_token_does_not_show_its_value() -> None:
    """The repr of an issued token does not contain the token."""
    token = TokenRegistry().issue("app", None, ("a",), now=0, lifetime=10)

    assert token.value not in repr(token)


def test_the_type_of_a_token_follows_from_its_binding() -> None:
    """A token that is bound to a key is of type DPoP, any other of type Bearer."""
    registry = TokenRegistry()
    bearer = registry.issue("app", None, ("a",), now=0, lifetime=10)
    bound = registry.issue("app", None, ("a",), now=0, lifetime=10, jkt="thumb", value="signed")

    assert (bearer.token_type, bound.token_type) == ("Bearer", "DPoP")
    assert registry.find("signed") is bound


def test_a_token_is_live_until_it_expires_or_is_revoked() -> None:
    """A token is no longer live at the instant of its expiry, or after its revocation."""
    registry = TokenRegistry()
    first, second = (registry.issue("app", None, ("a",), now=0, lifetime=10) for _ in range(2))

    assert first.live(9.9)
    assert not first.live(10)
    assert registry.revoke(second.value)
    assert not second.live(1)


def test_revoke_returns_whether_the_token_was_live() -> None:
    """Revoking an unknown or revoked token returns `False`."""
    registry = TokenRegistry()
    token = registry.issue("app", None, ("a",), now=0, lifetime=10)

    assert [registry.revoke(token.value), registry.revoke(token.value)] == [True, False]
    assert not registry.revoke("unknown")


def test_all_tokens_of_one_client_can_be_revoked() -> None:
    """Revoking the tokens of one client does not affect those of others."""
    registry = TokenRegistry()
    mine, other = (registry.issue(who, None, ("a",), now=0, lifetime=9) for who in ("me", "you"))

    assert registry.revoke_all("me") == 1
    assert mine.revoked
    assert not other.revoked
    assert registry.revoke_all() == 1


def test_memory_is_bounded_and_expired_tokens_stay_known_for_an_hour() -> None:
    """A token is forgotten an hour after its expiry, and not before."""
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
