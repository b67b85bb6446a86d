"""The values that a provider keeps in a store."""

from __future__ import annotations

from typing import Any

from okta_tokens._sharing.store_protocol import SharedToken


def test_a_repr_shows_no_value() -> None:
    """The repr of a shared token does not contain its value."""
    token = SharedToken("Canary-Token-7d1f", "Bearer", frozenset({"a"}), 300.0, 1_800_000_300.0)

    assert "Canary" not in repr(token)


def test_equal_tokens() -> None:
    """Shared tokens are equal, with the same hash, if all values are."""
    values: list[Any] = ["value", "Bearer", frozenset({"a"}), 300.0, 1_800_000_300.0]
    token = SharedToken(*values)

    assert token == SharedToken(*values)
    assert hash(token) == hash(SharedToken(*values))
    for index in range(len(values)):
        others: list[Any] = [None if each == index else value for each, value in enumerate(values)]
        assert token != SharedToken(*others)
    assert token != "value"
