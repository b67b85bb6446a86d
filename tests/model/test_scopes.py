"""Scopes: their spellings, their limits and their messages."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens._model.scopes import format_scopes, parse_scopes
from okta_tokens.errors import ConfigurationError

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
TOO_LONG = "scopes: more than 16384 characters together; request fewer scopes"
ALLOWED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')


def parsed(scopes: object) -> frozenset[str]:
    """Return the scopes that a valid value means."""
    names = parse_scopes(scopes)
    assert isinstance(names, frozenset)
    return names


def refusal(scopes: object) -> str:
    """Return the message with which scopes are refused."""
    error = parse_scopes(scopes)
    assert isinstance(error, ConfigurationError)
    return str(error)


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
    assert parsed(scopes) == {"orders:read", "orders:write"}


def test_no_scopes() -> None:
    """An empty string and an empty iterable make an empty set."""
    spellings: list[str | Iterable[str]] = ["", (), [], frozenset()]
    for scopes in spellings:
        assert parsed(scopes) == frozenset()
        assert format_scopes(parsed(scopes)) == ""


@pytest.mark.parametrize("scopes", [" ", "  \n", "\u00a0"])
def test_white_space_is_no_scope(scopes: str) -> None:
    """A string of white space is refused: it would silently mean the default scopes."""
    assert refusal(scopes) == (
        "scopes: the string is only white space; pass no scopes for the server's default scopes"
    )


def test_one_order() -> None:
    """The parameter of a set of scopes is always in alphabetical order."""
    assert format_scopes(["b", "c", "a"]) == format_scopes({"c", "a", "b"}) == "a b c"


@QUICK
@given(names)
def test_round_trip(scopes: frozenset[str]) -> None:
    """Formatted scopes are parsed to the same set, with every allowed character but the comma."""
    assert parsed(sorted(scopes, reverse=True)) == scopes
    assert parsed(format_scopes(scopes).split(" ") if scopes else "") == scopes
    plain = {name for name in scopes if "," not in name and not name.startswith(("[", "(", "{"))}
    assert parsed(format_scopes(plain)) == plain


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
    """Any value is a set of valid scopes or a `ConfigurationError`."""
    outcome = parse_scopes(scopes)

    if isinstance(outcome, ConfigurationError):
        assert str(outcome).startswith("scopes: ")
    else:
        assert all(name and set(name) <= set(ALLOWED) for name in outcome)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('a"b', "U+0022"),
        ("a\\b", "U+005C"),
        ("\u00e9", "U+00E9"),
        ("a\x00b", "U+0000"),
        ("a\x7fb", "U+007F"),
        ("\ud800", "U+D800"),
        ("\u0663", "U+0663"),
        ("a\u200bb", "U+200B"),
        ('"\u00e9\u0663\\', "U+0022, U+005C, U+00E9 and others"),
    ],
    ids=ascii,
)
def test_forbidden_characters(name: str, shown: str) -> None:
    """The message names up to three characters that RFC 6749 does not allow, and no scope."""
    assert refusal(f"orders:read {name}") == (
        f"scopes: a scope contains {shown}; use printable ASCII without space, double quote and "
        "backslash (RFC 6749)"
    )


def test_white_space_within_an_item() -> None:
    """An item of an iterable is one scope: it is not empty and contains no white space."""
    for name in (" ", "a b", "a\n", "\ta"):
        assert "a scope contains U+00" in refusal(["orders:read", name])
    assert refusal(["orders:read", ""]) == "scopes: one of the scopes is empty; remove it"


@pytest.mark.parametrize(
    "scopes", ["a,b", "a, b", "a,", "['a', 'b']", "['a']", '["a"]', "('a')", "{'a'}", " [a]"]
)
def test_a_list_that_became_a_string_is_refused(scopes: str) -> None:
    """A string whose scopes are not separated by spaces is refused; an item may have a comma."""
    assert refusal(scopes).startswith("scopes: the string is a list of another form; separate")
    assert parsed(["a,b"]) == {"a,b"}


@pytest.mark.parametrize(
    "secret",
    [
        f"eyJhbGciOiJSUzI1NiJ9.{'eyJpc3MiOiJhIn0' * 3}.{'c2lnbmF0dXJl' * 20}",
        "Aa1-" * 10,
        "x4Pq" * 16,
    ],
    ids=["token", "40 characters", "64 characters"],
)
def test_a_token_is_no_scope(secret: str) -> None:
    """A scope that looks like a token or a generated secret is refused and not repeated."""
    for scopes in (secret, f"orders:read {secret}", [secret], {secret: 1}, iter([secret])):
        message = refusal(scopes)

        assert "a scope looks like a token or a secret; pass the names of scopes" in message
        assert secret[:12] not in message


@pytest.mark.parametrize(
    "name", ["https://api.example.com/Orders2.Read.All", "a" * 100, "READ_orders_OF_2024_" * 1]
)
def test_a_long_name_is_a_scope(name: str) -> None:
    """Long names, and URLs, do not look like secrets."""
    assert parsed(name) == {name}


class HostileText(str):
    """A string whose methods raise."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # deliberately

    def split(self, *_: object) -> NoReturn:
        """Fail."""
        raise RuntimeError

    __eq__ = __len__ = __str__ = __repr__ = split


class HostileIterable:
    """An iterable that raises."""

    def __iter__(self) -> NoReturn:
        """Fail."""
        raise RuntimeError


def test_wrong_types() -> None:
    """A value that is neither a string nor an iterable of strings is refused."""
    for scopes in (None, 5, b"orders", [b"a"], ["a", None], 1.5, [["a"]], HostileIterable()):
        assert refusal(scopes) == (
            "scopes: must be one string with the scopes separated by spaces, or an iterable of "
            "strings"
        )


def test_only_the_text_of_a_string_counts() -> None:
    """The methods of a subclass of `str` are not called."""
    text: object = HostileText("a b")

    assert parsed(text) == {"a", "b"}
    assert parsed([HostileText("a")]) == {"a"}


def test_the_longest_parameter() -> None:
    """Scopes have up to 16 KiB together, including the spaces between them."""
    longest = ["a" * 8_000, "b" * 8_383]

    assert len(format_scopes(parsed(longest))) == 16_384
    assert refusal([*longest, "c"]) == TOO_LONG


@pytest.mark.parametrize(
    "scopes",
    ["a" * 1_000_001, "a " * 10_001, ["a"] * 10_001, (str(number) for number in count())],
    ids=["text", "repetition", "list", "endless"],
)
def test_what_is_read_of_scopes_is_bounded(scopes: object) -> None:
    """No more than a million characters of a string are read, and no more than 10,000 scopes."""
    assert refusal(scopes) == TOO_LONG


def test_repetition_has_no_length() -> None:
    """A scope that is repeated counts once."""
    assert parsed("orders:read " * 1_000) == {"orders:read"}


def test_all_problems_in_one_message() -> None:
    """One message lists everything that is wrong with the scopes."""
    message = refusal(["", 'b"', "\u00e9", "a" * 16_384, "Aa1-" * 10])

    assert message.removeprefix("scopes: ").split("; ") == [
        "one of the scopes is empty",
        "remove it",
        "a scope contains U+0022, U+00E9",
        "use printable ASCII without space, double quote and backslash (RFC 6749)",
        "a scope looks like a token or a secret",
        "pass the names of scopes",
        "more than 16384 characters together",
        "request fewer scopes",
    ]
