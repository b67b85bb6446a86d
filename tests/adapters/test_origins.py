"""Where an adapter may send tokens."""

from __future__ import annotations

import pytest

from okta_tokens.adapters._origins import Origin, parse_origins
from okta_tokens.errors import ConfigurationError

SECRET = "Secret4f9B2c7D8e1A6f3B5c0D9e2F7a4B8c1D6e3Secret"


@pytest.mark.parametrize(
    ("text", "origin", "normalized"),
    [
        ("https://API.acme.com/", ("https", "api.acme.com", 443), "https://api.acme.com"),
        ("HTTPS://api.acme.com:443", ("https", "api.acme.com", 443), "https://api.acme.com"),
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
def test_an_origin_is_a_scheme_a_host_and_a_port(
    text: str, origin: tuple[str, str, int], normalized: str
) -> None:
    """The host becomes lower case, and the port is the default of the scheme if it is missing."""
    (parsed,) = parse_origins("Adapter", [text])

    assert parsed == Origin(*origin)
    assert str(parsed) == normalized


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "https:///orders",
        "https://user:secret@api.acme.com",
        "https://api.acme.com:",
        "https://api.acme.com:0",
        "https://api.acme.com:99999",
        "https://[::1",
        "https://[::1]x",
        "https://[1:2]",
        "https://[fe80::1%eth0]",
        "https://bücher.example",
        "https://*.acme.com",
        "https://api.acme.com https://b.acme.com",
        "ftp://api.acme.com",
        None,
    ],
)
def test_an_invalid_origin_raises_an_error(text: str) -> None:
    """Only a scheme, a host and an optional port are valid, and the error repeats no value."""
    with pytest.raises(
        ConfigurationError, match="Adapter: origins: each must be a scheme"
    ) as invalid:
        parse_origins("Adapter", ["https://api.acme.com", text])

    assert "secret" not in str(invalid.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://api.acme.com/orders", "https://api.acme.com has a path"),
        ("https://API.acme.com:8443//v1", "name only https://API.acme.com:8443"),
        ("https://api.acme.com?key=secret", "https://api.acme.com has a path, a query"),
        ("http://localhost:80#x", "name only http://localhost:80"),
        ("api.acme.com", "api.acme.com has no scheme; write https://api.acme.com"),
        ("10.0.0.1:8443", "10.0.0.1:8443 has no scheme; write https://10.0.0.1:8443"),
        (f"https://api.acme.com/{SECRET}", "each must be a scheme"),
        (f"{SECRET}.acme.com", "each must be a scheme"),
    ],
)
def test_a_base_url_is_named_with_the_origin_to_use(text: str, problem: str) -> None:
    """The error for a URL that is more or less than an origin says what to name instead."""
    with pytest.raises(ConfigurationError) as invalid:
        parse_origins("Adapter", [text])

    assert problem in str(invalid.value)
    assert "secret" not in str(invalid.value).lower()


@pytest.mark.parametrize(
    "text", ["http://api.acme.com", "http://127.0.0.1.acme.com", "http://10.0.0.1"]
)
def test_a_token_does_not_travel_in_clear_text(text: str) -> None:
    """Plain http raises an error, unless the host is this machine."""
    with pytest.raises(ConfigurationError, match="must be https, because a token"):
        parse_origins("Adapter", [text])


def test_plain_http_may_be_allowed() -> None:
    """With `allow_http` an origin may be plain http, except a name of this machine in disguise."""
    (allowed,) = parse_origins("Adapter", ["http://api.acme.com:8080"], allow_http=True)

    assert str(allowed) == "http://api.acme.com:8080"
    for name in ("localhost.", "api.localhost.", "127.0.0.1."):
        with pytest.raises(ConfigurationError, match="must be https"):
            parse_origins("Adapter", [f"http://{name}"], allow_http=True)


@pytest.mark.parametrize("flag", ["false", 1, None])
def test_only_true_allows_plain_http(flag: object) -> None:
    """A value that is only true in a condition is refused."""
    with pytest.raises(ConfigurationError, match=r"^Adapter: allow_http must be True or False$"):
        parse_origins("Adapter", ["https://api.acme.com"], allow_http=flag)


def test_no_origin_does_not_mean_every_origin() -> None:
    """An adapter without an origin raises an error."""
    with pytest.raises(ConfigurationError, match=r"Adapter: origins is empty.* name the origins"):
        parse_origins("Adapter", [])


def test_a_single_origin_needs_no_list() -> None:
    """A string is one origin, not a list of characters."""
    expected = parse_origins("Adapter", ["https://a.example"])

    assert parse_origins("Adapter", "https://a.example") == expected
