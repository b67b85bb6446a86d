"""URLs: which there are, and what of them a proof of possession names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens._model.urls import request_target, split, unescape_path

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
    """Of an absolute URL a proof names scheme, host, port and path (RFC 9449 section 4.2)."""
    target = request_target("get", url)

    assert target == (None if parts is None else ("GET", *parts))


@QUICK
@given(st.text("htps:/@?#[]%.0a \x00\u00e9", max_size=20))
def test_any_url_is_split_or_refused(url: str) -> None:
    """Whatever a caller gives as a URL, no other error comes out, and what comes out is a URI."""
    target = request_target("GET", url)

    assert target is None or (target[2].startswith("/") and not {*target[2]} & {"?", "#"})


@pytest.mark.parametrize(
    ("path", "read"),
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
def test_paths_are_named_unescape_path_them(path: str, read: str) -> None:
    """Okta undoes the escapes of a path before it compares; what would end it stays escaped."""
    assert unescape_path(path) == read


@pytest.mark.parametrize(
    ("method", "right"),
    [("GET", True), ("get", True), ("M-SEARCH", True), ("", False), ("GET ", False), (None, False)],
)
def test_methods(method: object, right: bool) -> None:  # noqa: FBT001 - a row of a table
    """A method is a token of HTTP's."""
    target = request_target(method, "https://acme.okta.com/")

    assert (target is not None) is right


def test_the_parts_of_a_url() -> None:
    """A URL is split as Python does it, and its origin is as short as it may be."""
    parsed = split("HTTPS://Acme.example:443/a?b#c")

    assert parsed is not None
    assert parsed[1] == "https://acme.example"
    assert (parsed[0].path, parsed[0].query, parsed[0].fragment) == ("/a", "b", "c")
