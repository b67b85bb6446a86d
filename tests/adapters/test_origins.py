"""Where an adapter may send tokens."""

from __future__ import annotations

import pytest

from okta_tokens.adapters._origins import Origin, parse_origins
from okta_tokens.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "origin", "shown"),
    [
        ("https://api.acme.com", ("https", "api.acme.com", 443), "https://api.acme.com"),
        ("https://API.acme.com/", ("https", "api.acme.com", 443), "https://api.acme.com"),
        ("HTTPS://api.acme.com:443", ("https", "api.acme.com", 443), "https://api.acme.com"),
        ("https://api.acme.com:8443", ("https", "api.acme.com", 8443), "https://api.acme.com:8443"),
        ("https://api.acme.com:80", ("https", "api.acme.com", 80), "https://api.acme.com:80"),
        (
            "https://[2001:0DB8::0:1]:8443",
            ("https", "2001:db8::1", 8443),
            "https://[2001:db8::1]:8443",
        ),
        ("http://127.0.0.1:8080", ("http", "127.0.0.1", 8080), "http://127.0.0.1:8080"),
        ("http://localhost", ("http", "localhost", 80), "http://localhost"),
        ("http://api.localhost:1", ("http", "api.localhost", 1), "http://api.localhost:1"),
        ("http://[::1]", ("http", "::1", 80), "http://[::1]"),
    ],
)
def test_an_origin_is_read_as_users_write_it(
    text: str, origin: tuple[str, str, int], shown: str
) -> None:
    """An origin has a scheme, a host in small letters, and a port that its scheme may imply."""
    (parsed,) = parse_origins("It", [text])

    assert parsed == Origin(*origin)
    assert str(parsed) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.acme.com",
        "//api.acme.com",
        "https://",
        "https:///path",
        "https://api.acme.com/orders",
        "https://api.acme.com?x=1",
        "https://api.acme.com?",
        "https://api.acme.com#x",
        "https://user@api.acme.com",
        "https://user:secret@api.acme.com",
        "https://api.acme.com:",
        "https://api.acme.com:0",
        "https://api.acme.com:99999",
        "https://api.acme.com:x",
        "https://[::1",
        "https://[::1]x",
        "https://bücher.example",
        "https://*.acme.com",
        "https://api.acme.com https://b.acme.com",
        "ftp://api.acme.com",
        "*",
        None,
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    """Everything else than a scheme, a host and perhaps a port is refused, and not repeated."""
    with pytest.raises(ConfigurationError, match="It: each of the origins must be a scheme") as it:
        parse_origins("It", ["https://api.acme.com", text])

    assert "secret" not in str(it.value)


@pytest.mark.parametrize(
    "text", ["http://api.acme.com", "http://127.0.0.1.acme.com", "http://10.0.0.1"]
)
def test_a_token_does_not_travel_in_clear(text: str) -> None:
    """Plain http is refused, unless it stays on this machine."""
    with pytest.raises(ConfigurationError, match="must be https, since a token"):
        parse_origins("It", [text])


def test_no_origin_is_not_every_origin() -> None:
    """An adapter without an origin is a mistake, not one that may send tokens everywhere."""
    with pytest.raises(ConfigurationError, match="It: name the origins that may have the token"):
        parse_origins("It", [])


def test_one_origin_needs_no_list() -> None:
    """A single origin may be given as it is; it is not taken for a list of letters."""
    assert parse_origins("It", "https://a.example") == parse_origins("It", ["https://a.example"])
