"""A JWT is parsed strictly."""

from __future__ import annotations

import base64

import pytest

from okta_tokens.sandbox._jwt import number_claim, parse_jwt, text_claim
from tests.sandbox.jwts import unsigned


def test_header_and_claims_are_parsed() -> None:
    """A JWT has a header, claims, and an algorithm; an algorithm that is not a string is empty."""
    jwt = parse_jwt(unsigned({"alg": "ES256"}, {"sub": "me"}, "sig"))

    assert jwt is not None
    assert (jwt.header, jwt.claims, jwt.algorithm) == ({"alg": "ES256"}, {"sub": "me"}, "ES256")
    other = parse_jwt(unsigned({"alg": ["ES256"]}, {}))
    assert other is not None
    assert other.algorithm == ""


@pytest.mark.parametrize(
    "value",
    [
        "",
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
    ids=range(12),
)
def test_a_malformed_jwt_is_none(value: str) -> None:
    """Wrong parts, padding, other characters, invalid JSON or an extension are `None`."""
    assert parse_jwt(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1.5, 1.5),
        (True, None),
        ("1", None),
        (None, None),
        (float("nan"), None),
        (10**400, None),
    ],
    ids=str,
)
def test_a_number_claim_is_a_finite_number(value: object, expected: float | None) -> None:
    """A number claim is an integer or a float within bounds; any other value is `None`."""
    assert number_claim(value) == expected


def test_a_text_claim_is_a_string() -> None:
    """A text claim that is not a string is empty."""
    assert [text_claim("a"), text_claim(1), text_claim(None), text_claim(["a"])] == [
        "a",
        "",
        "",
        "",
    ]


def test_the_repr_of_a_jwt_does_not_show_the_claims() -> None:
    """The repr of a JWT shows only its header."""
    assert "canary" not in repr(parse_jwt(unsigned({}, {"sub": "canary"}, "canary")))
