"""Requests are read strictly, and credentials by RFC 7617 alone."""

from __future__ import annotations

import base64

import pytest

from okta_tokens.sandbox._request import Credentials, ParsedRequest, parse

FORM = "application/x-www-form-urlencoded"


def read(
    body: bytes = b"", *headers: str, content_type: str = FORM, query: str = ""
) -> ParsedRequest:
    """Parse a request."""
    return parse(body, content_type=content_type, authorization=list(headers), query=query)


def encoded(text: str) -> str:
    """Return a Basic header's value."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "body",
    [b"a", b"a=1&&b=2", b"a=%zz", b"a=%ff", b"a=\xff", b'{"grant_type": "client_credentials"}'],
)
def test_a_malformed_body_is_an_invalid_request(body: bytes) -> None:
    """A body that is no form is refused as malformed."""
    refusal = read(body).refusal

    assert refusal is not None
    assert (refusal.status, refusal.error) == (400, "invalid_request")


def test_a_repeated_parameter_is_an_invalid_request() -> None:
    """A parameter that comes twice is refused, even with one value."""
    refusal = read(b"scope=a&scope=a").refusal

    assert refusal is not None
    assert refusal.error == "invalid_request"


def test_a_query_is_an_invalid_request() -> None:
    """Parameters and credentials belong in the body, never in the URL."""
    refusal = read(b"a=1", query="client_id=x").refusal

    assert refusal is not None
    assert refusal.error == "invalid_request"


def test_another_content_type_is_refused_in_oktas_format() -> None:
    """A body that does not claim to be a form is Okta's E0000021."""
    refusal = read(b"a=1", content_type="application/json").refusal

    assert refusal is not None
    assert (refusal.status, refusal.error) == (400, "E0000021")


def test_scopes_are_each_read_once_in_order() -> None:
    """Repeated scopes count once, in the request's order."""
    assert read(b"scope=b+a+b").scopes == ("b", "a")
    assert read().scopes == ()


@pytest.mark.parametrize(
    ("header", "client_id", "secret"),
    [
        (encoded("app:s"), "app", "s"),
        (encoded("app:s:t"), "app", "s:t"),
        (encoded("a%2Bp:s%20+t"), "a%2Bp", "s%20+t"),
        (encoded("app:"), "app", ""),
        (encoded("app"), "app", None),
        (encoded(":s"), None, "s"),
        (encoded("app:s").replace("Basic", "basic"), "app", "s"),
        ("Basic !!!", None, None),
        ("Basic " + base64.b64encode(b"\xff\xfe").decode(), None, None),
        ("Basic caf\u00e9", None, None),
    ],
)
def test_basic_credentials_are_read_raw(
    header: str, client_id: str | None, secret: str | None
) -> None:
    """Basic is base64 of id, colon and secret, and nothing in it is form-decoded."""
    credentials = read(b"", header).credentials

    assert credentials == Credentials(client_id, secret, "client_secret_basic", challenge=True)


def test_another_scheme_carries_no_credentials() -> None:
    """An `Authorization` header of another scheme proves nothing."""
    assert read(b"", "Bearer x").credentials == Credentials(challenge=True)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"client_id=app&client_secret=s", [encoded("app:s")]),
        (b"client_id=app", [encoded("app:s")]),
        (b"client_assertion=x", [encoded("app:s")]),
        (b"", [encoded("app:s"), encoded("app:s")]),
        (b"client_id=app&client_secret=s&client_assertion=x", []),
    ],
)
def test_two_sets_of_credentials_are_seen_as_such(body: bytes, headers: list[str]) -> None:
    """Credentials in two places are multiple, a lone client id beside the header included."""
    assert read(body, *headers).credentials.method == "multiple"


@pytest.mark.parametrize(
    ("body", "method"),
    [
        (b"client_id=app&client_secret=s", "client_secret_post"),
        (b"client_assertion=x&client_assertion_type=y", "client_assertion"),
        (b"client_id=app", None),
        (b"", None),
    ],
)
def test_the_method_is_told_by_what_is_in_the_body(body: bytes, method: str | None) -> None:
    """A secret, an assertion or neither tells the method."""
    assert read(body).credentials.method == method


def test_no_repr_shows_the_form_or_the_secret() -> None:
    """A parsed request prints neither its parameters nor its secret."""
    assert "canary" not in repr(read(b"client_id=app&client_secret=canary&token=canary"))
