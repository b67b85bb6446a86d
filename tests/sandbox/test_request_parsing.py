"""Requests are parsed strictly, and Basic credentials with and without form-decoding."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from okta_tokens.sandbox._request_parsing import Credentials, ParsedRequest, parse_request

FORM = "application/x-www-form-urlencoded"


def parse(
    body: bytes = b"", *headers: str, content_type: str = FORM, query: str = ""
) -> ParsedRequest:
    """Parse a request."""
    return parse_request(body, content_type=content_type, authorization=list(headers), query=query)


def encoded(text: str) -> str:
    """Return a Basic header's value."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "body",
    [b"a", b"a=1&&b=2", b"a=%zz", b"a=%ff", b"a=\xff"],
)
def test_a_malformed_body_is_an_invalid_request(body: bytes) -> None:
    """A body that is not a form is refused as malformed."""
    error = parse(body).error

    assert error is not None
    assert (error.status, error.code) == (400, "invalid_request")


def test_a_repeated_parameter_is_an_invalid_request() -> None:
    """A repeated parameter is refused, even if both values are equal."""
    error = parse(b"scope=a&scope=a").error

    assert error is not None
    assert error.code == "invalid_request"


def test_a_query_is_an_invalid_request() -> None:
    """Parameters and credentials are accepted in the body, never in the URL."""
    error = parse(b"a=1", query="client_id=x").error

    assert error is not None
    assert error.code == "invalid_request"


def test_another_content_type_is_refused_in_oktas_format() -> None:
    """A body whose media type is not that of a form is Okta's E0000021."""
    error = parse(b"a=1", content_type="application/json").error

    assert error is not None
    assert (error.status, error.code) == (400, "E0000021")


def test_scopes_have_no_repetitions_and_keep_their_order() -> None:
    """Repeated scopes count once, in the order of the request."""
    assert parse(b"scope=b+a+b").scopes == ("b", "a")
    assert parse().scopes == ()


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
def test_basic_credentials_are_read_without_form_decoding(
    header: str, client_id: str | None, secret: str | None
) -> None:
    """Basic is base64 of id, colon and secret."""
    credentials = replace(parse(b"", header).credentials, form_decoded=None)

    assert credentials == Credentials(client_id, secret, "client_secret_basic", challenge=True)


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("app:s", None),  # there is nothing to decode
        ("a%2Bp:s%20+t", ("a+p", "s  t")),
        ("app:s%3at", ("app", "s:t")),
        ("app:caf%C3%A9", ("app", "caf\u00e9")),
        ("%3A:s", (":", "s")),
        ("app:s:+", ("app", "s: ")),
        ("app:100%", None),
        ("app%zz:s", None),
        ("app:%ff", None),  # not UTF-8
        ("a%2Bpp", None),  # no secret
    ],
)
def test_basic_credentials_are_read_with_form_decoding(
    text: str, decoded: tuple[str, str] | None
) -> None:
    """Basic is base64 of the form-encoded id, a colon and the form-encoded secret, too."""
    assert parse(b"", encoded(text)).credentials.form_decoded == decoded


def test_another_scheme_has_no_credentials() -> None:
    """An `Authorization` header with another scheme contains no credentials."""
    assert parse(b"", "Bearer x").credentials == Credentials(challenge=True)


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
def test_two_sets_of_credentials_are_multiple(body: bytes, headers: list[str]) -> None:
    """Credentials in two places are `multiple`; so is a client id beside the header."""
    assert parse(body, *headers).credentials.method == "multiple"


@pytest.mark.parametrize(
    ("body", "method"),
    [
        (b"client_id=app&client_secret=s", "client_secret_post"),
        (b"client_assertion=x&client_assertion_type=y", "client_assertion"),
        (b"client_id=app", None),
        (b"", None),
    ],
)
def test_the_method_follows_from_the_parameters(body: bytes, method: str | None) -> None:
    """A secret or an assertion in the body determines the method."""
    assert parse(body).credentials.method == method


def test_the_repr_of_a_request_does_not_show_its_form_or_secret() -> None:
    """The repr of a parsed request contains neither its parameters nor its secret."""
    assert "canary" not in repr(parse(b"client_id=app&client_secret=canary&token=canary"))
    assert "canary" not in repr(parse(b"", encoded("app:canary+canary")))
