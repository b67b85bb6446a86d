"""The domain of a client: which spellings are the same host, and which are invalid."""

from __future__ import annotations

from itertools import product
from urllib.parse import urlsplit

import pytest
from yarl import URL

from okta_tokens import ClientSecretBasic, OktaClient
from okta_tokens._model.domain import is_okta, parse_domain
from okta_tokens._model.urls import loopback_addresses
from okta_tokens.errors import ConfigurationError

EMPTY = "is empty; give the Okta host, like acme.okta.com"
PLACEHOLDER = "is a placeholder; replace it with your Okta host"
WHITE_SPACE = "contains white space; remove it"
NO_HOST_PORT = "is not host[:port]; give the Okta host, like acme.okta.com"
SCHEME = "has a scheme other than https; use https"
CLEAR = (
    "plain http would send the secret in clear text; use https (http is for a server on this "
    "machine), or, in code, pass allow_http=True for a service mesh or a container's sandbox"
)
USER = "contains a user name or password; remove it, and pass the credential as authentication"
PATH = "contains a path; give only the host, and authorization_server separately"
QUERY = "contains a query or fragment; give only the host"
NO_NAME = "is not a host name; write an international name in its xn-- form"
ADMIN = "is the host of the admin console; remove -admin"
TWICE = "ends in .com twice; remove one of them"

SPELLINGS = [
    ("acme.okta.com", "https://acme.okta.com"),
    ("ACME.Okta.COM", "https://acme.okta.com"),
    ("https://acme.okta.com", "https://acme.okta.com"),
    ("HTTPS://acme.okta.com/", "https://acme.okta.com"),
    ("acme.okta.com/", "https://acme.okta.com"),
    ("acme.okta.com:443", "https://acme.okta.com"),
    ("acme.okta.com:8443", "https://acme.okta.com:8443"),
    ("acme.okta.com:80", "https://acme.okta.com:80"),
    ("login.example.com", "https://login.example.com"),
    ("my-administration.example.com", "https://my-administration.example.com"),
    ("portal-admin.example.com", "https://portal-admin.example.com"),
    ("acmeadmin.okta.com", "https://acmeadmin.okta.com"),
    ("somethingecom.com", "https://somethingecom.com"),
    ("acme.okta-emea.com", "https://acme.okta-emea.com"),
    ("xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ("okta", "https://okta"),
    ("a." * 122 + "a.example", "https://" + "a." * 122 + "a.example"),
    ("192.0.2.7", "https://192.0.2.7"),
    ("[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
    ("http://localhost:8080", "http://localhost:8080"),
    ("http://okta.localhost", "http://okta.localhost"),
    ("http://127.0.0.1:80/", "http://127.0.0.1"),
    ("http://127.8.9.10:443", "http://127.8.9.10:443"),
    ("http://[::1]:9000", "http://[::1]:9000"),
]

INVALID: list[tuple[str, list[object]]] = [
    (EMPTY, ["", " \t\n", None, b"acme.okta.com"]),
    (
        PLACEHOLDER,
        [
            "{yourOktaDomain}",
            "https://{yourOktaDomain}/oauth2",
            "<org>.okta.com",
            "$OKTA_DOMAIN",
            "your-okta-domain.okta.com",
            "YOUROKTADOMAIN.okta.com",
        ],
    ),
    (WHITE_SPACE, [" acme.okta.com", "acme.okta.com\n", "acme\u00a0.okta.com"]),
    (
        NO_HOST_PORT,
        [
            "acme.okta.com:https",
            "acme.okta.com:65536",
            "acme.okta.com:-1",
            "https://[::1",
            "https://[nonsense]",
            "https://https://acme.okta.com",
            "acme.okta.com:",
            "https://[::1]:/",
            "[::1].okta.com",
            "acme[::1]",
            "[v1.a]",
            "[192.0.2.7]",
            "acme.okta.com:+443",
            "acme.okta.com:4_43",
        ],
    ),
    (SCHEME, ["ftp://acme.okta.com", "httpsfoo://acme.okta.com"]),
    (
        CLEAR,
        [
            "http://acme.okta.com",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://192.168.0.1",
            "http://0.0.0.0",
            "http://127.0.0.1.example.com",
            "http://[::2]",
        ],
    ),
    (
        USER,
        [
            "user:password@acme.okta.com",
            "https://user@acme.okta.com",
            "https://@acme.okta.com",
            "https://acme.okta.com\\@evil.example",
        ],
    ),
    (
        PATH,
        [
            "acme.okta.com/oauth2/default",
            "acme.okta.com//",
            "https://acme.okta.com/oauth2/v1/token",
        ],
    ),
    (QUERY, ["acme.okta.com?client_id=0oa1", "acme.okta.com/#top", "acme.okta.com?"]),
    (
        NO_NAME,
        [
            "https://",
            "-acme.okta.com",
            "acme-.okta.com",
            "acme..okta.com",
            ".okta.com",
            "acme_1.okta.com",
            "b\u00fccher.example",
            "acme.okta.com\x00",
            "acme%2eokta.com",
            "a" * 64 + ".okta.com",
            "a." * 123 + "okta.com",
        ],
    ),
    (ADMIN, ["acme-admin.okta.com", "https://ACME-ADMIN.oktapreview.com/", "acme-admin.okta.mil"]),
    (TWICE, ["acme.okta.com.com"]),
]


def test_spellings_of_a_domain() -> None:
    """Scheme, upper case, a trailing slash and the default port do not make another domain."""
    for domain, origin in SPELLINGS:
        assert parse_domain(domain) == (origin, [])
        assert parse_domain(origin) == (origin, [])


@pytest.mark.parametrize(
    ("problem", "domains"),
    INVALID,
    ids=[
        "empty",
        "placeholder",
        "white-space",
        "no-host-port",
        "scheme",
        "clear-text",
        "user",
        "path",
        "query",
        "no-name",
        "admin",
        "twice",
    ],
)
def test_an_invalid_domain_is_refused(problem: str, domains: list[object]) -> None:
    """A domain that cannot be an Okta host is refused, and the problem says what to do."""
    for domain in domains:
        assert parse_domain(domain)[1] == [problem], domain


def test_every_problem_of_a_domain_is_listed() -> None:
    """A domain with several problems is refused with all of them."""
    assert parse_domain("://acme.okta.com")[1] == [SCHEME, PATH, NO_NAME]
    assert parse_domain("http://127.0.0.1@acme.okta.com")[1] == [CLEAR, USER]
    assert parse_domain("ftp://user@acme-admin.okta.com.com/a?b")[1] == [
        SCHEME,
        USER,
        PATH,
        QUERY,
        TWICE,
    ]


@pytest.mark.parametrize(
    "base",
    [
        *("okta.com", "oktapreview.com", "okta-emea.com", "okta-gov.com", "okta.mil"),
        *("okta-miltest.com", "trex-govcloud.com"),
    ],
)
def test_hosts_below_each_domain_of_okta(base: str) -> None:
    """Each of Okta's domains has admin consoles, which are refused, and APIs, which are known."""
    assert parse_domain(f"acme-admin.{base}")[1] == [ADMIN]
    assert is_okta(f"https://acme.{base}", "https://login.example.com")


def test_an_api_belongs_to_okta_or_not() -> None:
    """The client's own domain belongs to Okta, also with a port; a similar host does not."""
    own = "https://login.example.com:8443"

    assert is_okta(own, own)
    assert is_okta("https://acme.okta.com:8443", own)
    assert not is_okta("https://login.example.com", own)
    assert not is_okta("https://notokta.com", own)
    assert not is_okta("", own)


@pytest.mark.parametrize(
    "domain", ["acme.okta.com:0", "http://[::1%evil.example]", "acme.o\u212ata.com"], ids=ascii
)
def test_domains_that_only_look_right(domain: str) -> None:
    """Port 0, an address with a zone, and a letter that folds into another one are refused."""
    with pytest.raises(ConfigurationError, match="domain"):
        OktaClient(domain, "0oa1", ClientSecretBasic("secret"))


HOSTS = [
    *("localhost", "okta.localhost", "127.0.0.1", "127.8.9.10", "[::1]", "[0:0:0:0:0:0:0:1]"),
    *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost"),
    *("localhost.", "127.0.0.1.", "127.1", "127.0.1", "0177.0.0.1", "0x7f.1", "2130706433", "0"),
    *("0.0.0.1", "[::]", "[::ffff:127.0.0.1]", "[::1%25evil]", "[::1].evil.example", "::1", ""),
    *("l\u043ecalhost", "\uff4cocalhost", "localhost\u3002", "127.0.0.1\u2024evil", "\u2460.0.0.1"),
]
BEFORE = ["", "localhost@", "evil@", "localhost:80@", "127.0.0.1#@", "localhost?@", "localhost/@"]
AFTER = [
    *("", ":80", ":8080/", ":", ":0", ":99999", ":80:80", ":+80", ":8_0", ":\uff18"),
    *("@evil.example", "#@evil.example", "?@evil.example", "/@evil.example", "\\@evil.example"),
    *("%2eevil.example", "%00.evil.example", "\t.evil.example", " evil.example", ";evil.example"),
]


@pytest.mark.parametrize("scheme", ["http://", "HTTP://", "http:/", "http:\\\\", "http:////"])
def test_plain_http_is_only_for_this_machine(scheme: str) -> None:
    """Whatever the form of a domain, its requests by plain http go to this machine."""
    accepted = set()
    for before, host, after in product(BEFORE, HOSTS, AFTER):
        try:
            client = OktaClient(scheme + before + host + after, "0oa1", ClientSecretBasic("secret"))
        except ConfigurationError:
            continue
        for url in (URL(client.token_url), URL(client.revocation_url)):
            assert url.scheme == "https" or loopback_addresses(url.raw_host or "")
            assert loopback_addresses(url.raw_host or "") == loopback_addresses(
                urlsplit(client.origin).hostname or ""
            )
            accepted.add(url.raw_host)

    expected = {"localhost", "okta.localhost", "127.0.0.1", "127.8.9.10", "::1"}
    assert accepted == (expected if scheme.lower() == "http://" else set())
