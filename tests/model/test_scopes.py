"""Scopes: their spellings, their limits and their messages."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens._model.scopes import format_scopes, parse_scopes
from okta_tokens.errors import ConfigurationError

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
ALLOWED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')


def parsed_or_refused(scopes: str | Iterable[str]) -> frozenset[str] | ConfigurationError:
    """Parse scopes; return the error if they are invalid."""
    try:
        return parse_scopes(scopes)
    except ConfigurationError as error:
        return error


names = st.frozensets(st.text(ALLOWED, min_size=1, max_size=30), max_size=10)


@pytest.mark.parametrize(
    "scopes",
    [
        "orders:read orders:write",
        pytest.param("  orders:write\torders:read\n orders:write ", id="untidy"),
        ["orders:read", "orders:write"],
        ("orders:write", "orders:read", "orders:write"),
        {"orders:write", "orders:read"},
        frozenset({"orders:write", "orders:read"}),
        dict.fromkeys(["orders:write", "orders:read"]),
        (name for name in ["orders:read", "orders:write"]),
    ],
    ids=lambda scopes: type(scopes).__name__,
)
def test_spellings(scopes: str | Iterable[str]) -> None:
    """A string and any iterable make the same set, in any order and with any repetition."""
    assert parse_scopes(scopes) == {"orders:read", "orders:write"}


def test_no_scopes() -> None:
    """An empty string and an empty iterable make an empty set."""
    spellings: list[str | Iterable[str]] = ["", "  \n", (), [], frozenset()]
    for scopes in spellings:
        assert parse_scopes(scopes) == frozenset()
        assert format_scopes(parse_scopes(scopes)) == ""


def test_one_order() -> None:
    """The parameter of a set of scopes is always in alphabetical order."""
    assert format_scopes(["b", "c", "a"]) == format_scopes({"c", "a", "b"}) == "a b c"


@QUICK
@given(names)
def test_round_trip(scopes: frozenset[str]) -> None:
    """Formatted scopes are parsed to the same set, with every allowed character."""
    assert parse_scopes(format_scopes(scopes)) == scopes
    assert parse_scopes(sorted(scopes, reverse=True)) == scopes


@QUICK
@given(
    st.one_of(
        st.text(max_size=40),
        st.binary(max_size=5),
        st.integers(),
        st.none(),
        st.lists(st.one_of(st.text(max_size=10), st.none(), st.integers(), st.binary(max_size=3))),
    )
)
def test_parsed_or_refused(scopes: str) -> None:
    """Any value is a set of valid scopes or raises a `ConfigurationError`."""
    outcome = parsed_or_refused(scopes)

    if isinstance(outcome, ConfigurationError):
        assert str(outcome).startswith("scopes: ")
    else:
        assert all(name and set(name) <= set(ALLOWED) for name in outcome)


def test_forbidden_characters() -> None:
    """The message names a scope that contains a character that RFC 6749 does not allow."""
    for name in ('a"b', "a\\b", "é", "a\x00b", "a\x7fb", "\ud800", "٣", "a\u200bb"):
        with pytest.raises(ConfigurationError) as caught:
            parse_scopes(f"orders:read {name}")

        assert str(caught.value).startswith(f"scopes: {name!r} is not a scope; use printable ASCII")


def test_white_space_within_an_item() -> None:
    """An item of an iterable is one scope: it is not empty and contains no white space."""
    for name in ("", " ", "a b", "a\n", "\ta"):
        with pytest.raises(ConfigurationError) as caught:
            parse_scopes(["orders:read", name])

        assert repr(name) in str(caught.value)


def test_wrong_types() -> None:
    """A value that is neither a string nor an iterable of strings is refused."""
    for scopes in (None, 5, b"orders", [b"a"], ["a", None], 1.5, [["a"]]):
        with pytest.raises(ConfigurationError) as caught:
            parse_scopes(scopes)  # type: ignore[arg-type]  # deliberately

        assert str(caught.value) == (
            "scopes: must be one string with the scopes separated by spaces, or an iterable of "
            "strings"
        )


def test_the_longest_parameter() -> None:
    """Scopes have up to 1024 characters together, including the spaces between them."""
    longest = ["a" * 500, "b" * 523]

    assert len(format_scopes(parse_scopes(longest))) == 1024

    with pytest.raises(ConfigurationError, match=r"^scopes: more than 1024 characters together;"):
        parse_scopes([*longest, "c"])


def test_repetition_has_no_length() -> None:
    """A scope that is repeated counts once."""
    assert parse_scopes("orders:read " * 1_000) == {"orders:read"}


def test_all_problems_in_one_message() -> None:
    """One message lists every invalid scope, and that the scopes are too long."""
    with pytest.raises(ConfigurationError) as caught:
        parse_scopes(['b"', "é", "a" * 1_024])

    message = str(caught.value)

    assert message.index("'b\"' is not a scope") < message.index("'é' is not a scope")
    assert message.endswith("; more than 1024 characters together; request fewer scopes")


def test_a_long_name_is_cut() -> None:
    """A message repeats no more than eighty characters of a scope."""
    with pytest.raises(ConfigurationError) as caught:
        parse_scopes('"' * 1_000)

    assert repr('"' * 80) in str(caught.value)
    assert '"' * 81 not in str(caught.value)


def test_a_message_names_three_invalid_scopes() -> None:
    """A message about many invalid scopes names three, counts the others, and stays short."""
    with pytest.raises(ConfigurationError) as caught:
        parse_scopes([f'"{number:04}' for number in range(2_000)])
    message = str(caught.value)

    assert message.count("is not a scope") == 3
    assert message.endswith(
        "; 1997 more are invalid, too; more than 1024 characters together; request fewer scopes"
    )
    assert len(message) < 500
