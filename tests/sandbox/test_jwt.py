"""A JWT is read strictly, and nothing in it is believed."""

from __future__ import annotations

import base64

import pytest

from okta_tokens.sandbox._jwt import date, read, text
from tests.sandbox.jwts import unsigned


def test_header_and_claims_are_read() -> None:
    """A JWT has a header, claims, and an algorithm if that is a text."""
    jwt = read(unsigned({"alg": "ES256"}, {"sub": "me"}, "sig"))

    assert jwt is not None
    assert (jwt.header, jwt.claims, jwt.algorithm) == ({"alg": "ES256"}, {"sub": "me"}, "ES256")
    other = read(unsigned({"alg": ["ES256"]}, {}))
    assert other is not None
    assert other.algorithm == ""


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a.b",
        "a.b.c",
        "e30.e30",
        "e30.e30.x.y",
        "e30=.e30.x",
        "e3 0.e30.x",
        "\u00e930.e30.x",
        unsigned([], {}),
        unsigned({}, []),
        unsigned({"crit": ["exp"]}, {}),
        "{}.{}.x".format(*[base64.urlsafe_b64encode(b'{"a": \xff}').decode()] * 2),
        base64.urlsafe_b64encode(b"[" * 99_999).decode() + ".e30.x",
    ],
    ids=range(13),
)
def test_anything_else_is_no_jwt(value: str) -> None:
    """Too few parts, padding, other characters, no JSON, no object, or an extension: no JWT."""
    assert read(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1.5, 1.5),
        (-1, -1),
        (True, None),
        ("1", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
    ],
    ids=str,
)
def test_a_date_is_a_number_to_reckon_with(value: object, expected: float | None) -> None:
    """A date is an integer or a fraction, and not beyond all bounds."""
    assert date(value) == expected


def test_a_text_is_a_text() -> None:
    """What is no text reads as an empty one."""
    assert [text("a"), text(1), text(None), text(["a"])] == ["a", "", "", ""]


def test_no_repr_shows_the_claims() -> None:
    """A JWT prints its header only."""
    assert "canary" not in repr(read(unsigned({}, {"sub": "canary"}, "canary")))
