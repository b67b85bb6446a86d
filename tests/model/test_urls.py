"""URLs: which are valid, and which parts of them a DPoP proof contains."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens._model.urls import is_address, is_loopback, request_target, split, unescape_path

QUICK = settings(max_examples=200, deadline=None, database=None, derandomize=True)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://acme.okta.com/api/v1/users?q=1#top", ("https://acme.okta.com", "/api/v1/users")),
        ("HTTPS://Acme.Okta.COM", ("https://acme.okta.com", "/")),
        ("https://acme.okta.com:443/", ("https://acme.okta.com", "/")),
        ("http://acme.okta.com:80/a", ("http://acme.okta.com", "/a")),
        ("https://acme.okta.com:80/a", ("https://acme.okta.com:80", "/a")),
        ("https://[2001:DB8::1]:8443/a;b", ("https://[2001:db8::1]:8443", "/a;b")),
        ("https://acme.okta.com//a/../b/", ("https://acme.okta.com", "//a/../b/")),
        ("https://acme.okta.com/a%40b", ("https://acme.okta.com", "/a%40b")),
        ("https://acme.okta.com?q", ("https://acme.okta.com", "/")),
        ("/api/v1/users", None),
        ("acme.okta.com/api", None),
        ("ftp://acme.okta.com/", None),
        ("https:///api", None),
        ("https://[::1/api", None),
        ("https://[::1].example/", None),
        ("https://acme.okta.com:/", None),
        ("https://acme.okta.com:port/", None),
        ("https://me:secret@acme.okta.com/", None),
        ("https://b\u00fccher.example/", None),
        ("https://acme.okta.com/a b", None),
        ("https://acme.okta.com/a\nb", None),
        (" https://acme.okta.com/", None),
        ("", None),
        (None, None),
        (b"https://acme.okta.com/", None),
    ],
    ids=ascii,
)
def test_urls(url: object, parts: tuple[str, str] | None) -> None:
    """A proof contains scheme, host, port and path of an absolute URL (RFC 9449 section 4.2)."""
    target = request_target("get", url)

    assert target == (None if parts is None else ("GET", *parts))


@QUICK
@given(st.text("htps:/@?#[]%.0a \x00\u00e9", max_size=20))
def test_any_url_is_split_or_refused(url: str) -> None:
    """Any text is refused or has a path without query and fragment; it raises no error."""
    target = request_target("GET", url)

    assert target is None or (target[2].startswith("/") and not {*target[2]} & {"?", "#"})


@pytest.mark.parametrize(
    ("path", "unescaped"),
    [
        ("/api/v1/users/me%40example.com", "/api/v1/users/me@example.com"),
        ("/api/v1/users/me@example.com", "/api/v1/users/me@example.com"),
        ("/a%2Fb%3Ac", "/a/b:c"),
        ("/50%25", "/50%25"),
        ("/a%20b", "/a%20b"),
        ("/a%22b%23c%3Fd", "/a%22b%23c%3Fd"),
        ("/caf%C3%A9", "/caf\u00e9"),
        ("/%zz", "/%25zz"),
        ("/", "/"),
    ],
)
def test_a_path_is_unescaped_as_okta_does_it(path: str, unescaped: str) -> None:
    """Okta compares a path without escapes; characters that would end the path stay escaped."""
    assert unescape_path(path) == unescaped


def test_methods() -> None:
    """A method is a token of HTTP (RFC 9110 section 5.6.2)."""
    url = "https://acme.okta.com/"

    assert all(request_target(method, url) for method in ("GET", "get", "M-SEARCH"))
    assert not any(request_target(method, url) for method in ("", "GET ", None))


def test_the_parts_of_a_url() -> None:
    """The origin of a URL is in lower case and has no default port."""
    parsed = split("HTTPS://Acme.example:443/a?b#c")

    assert parsed is not None
    assert parsed[1] == "https://acme.example"
    assert (parsed[0].path, parsed[0].query, parsed[0].fragment) == ("/a", "b", "c")


def test_hosts_of_this_machine() -> None:
    """Loopback addresses and names under `localhost` are this machine; similar hosts are not."""
    own = ("localhost", "okta.localhost", "127.0.0.1", "127.8.9.10", "::1")
    other = (
        "",
        "notlocalhost",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "192.168.0.1",
        "::2",
    )

    assert all(is_loopback(host) for host in own)
    assert not any(is_loopback(host) for host in other)


def test_addresses() -> None:
    """An address is IPv4 or IPv6 without a zone, which could be any text."""
    assert all(is_address(host) for host in ("192.0.2.7", "2001:db8::1"))
    assert not any(is_address(host) for host in ("acme.okta.com", "::1%evil.example", "1.2.3", ""))
