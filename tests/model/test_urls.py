"""URLs: which are valid, and which parts of them a DPoP proof contains."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens._model.urls import (
    is_address,
    is_loopback,
    loopback_addresses,
    request_target,
    split,
    unescape_path,
)

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


@pytest.mark.parametrize("host", ["localhost", "okta.localhost", "a.b.localhost"])
def test_names_of_this_machine(host: str) -> None:
    """`localhost` and the names under it have this machine's two addresses, without a look-up."""
    assert loopback_addresses(host) == ("127.0.0.1", "::1")
    assert is_loopback(host)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.8.9.10", "127.8.9.10"),
        ("127.255.255.255", "127.255.255.255"),
        ("::1", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
    ],
)
def test_addresses_of_this_machine(host: str, address: str) -> None:
    """A loopback address is this machine."""
    assert loopback_addresses(host) == (address,)
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "LOCALHOST",
        "localhost.",
        "okta.localhost.",
        "notlocalhost",
        "localhost.example.com",
        "localhost.localdomain",
        "l\u043ecalhost",  # a Cyrillic letter
        "\uff4cocalhost",
        "127.0.0.1.example.com",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "\uff11\uff12\uff17.0.0.1",
        "127.0.0.1%lo",
        "0.0.0.0",  # noqa: S104 - it must be refused
        "0",
        "128.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "::",
        "::2",
        "::1%lo",
        "::1%127.0.0.1",
        "[::1]",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "64:ff9b::127.0.0.1",
        "fe80::1",
    ],
    ids=ascii,
)
def test_other_hosts(host: str) -> None:
    """Look-alikes, and forms of an address that libraries read differently, are other hosts."""
    assert loopback_addresses(host) == ()
    assert not is_loopback(host)


def test_addresses() -> None:
    """An address is IPv4 or IPv6 without a zone, which could be any text."""
    assert all(is_address(host) for host in ("192.0.2.7", "2001:db8::1"))
    assert not any(is_address(host) for host in ("acme.okta.com", "::1%evil.example", "1.2.3", ""))
