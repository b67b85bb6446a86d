"""Any configuration is accepted, or refused by a typed error; an accepted one is valid."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import TypeVar
from unittest.mock import patch
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from okta_tokens import ClientSecretBasic, ClientSecretPost, OktaClient
from okta_tokens._auth.client_secret import secret_problem
from okta_tokens._endpoint.environment_proxy import environment_proxy
from okta_tokens._endpoint.token_response import MAX_LIFETIME
from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens._model.scopes import format_scopes, parse_scopes
from okta_tokens._runtime.redaction import contains_secret, sanitize, scrub
from okta_tokens.errors import ConfigurationError
from tests.fuzz.inputs import (
    FUZZ,
    SECRET,
    echoes,
    odd_numbers,
    odd_objects,
    pads,
    secrets,
    spellings,
)
from tests.fuzz.test_responses import MAX_MESSAGE, MAX_TEXT, visible_text

T = TypeVar("T")

BASIC = ClientSecretBasic("a-secret")

_DOMAIN = re.compile(
    r"(https?://)?([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?/?", re.ASCII | re.IGNORECASE
)
_SEGMENT = re.compile(r"[\w-]+", re.ASCII)

lifetimes = st.floats(1e-3, MAX_LIFETIME)
draws = st.floats(0, 1, exclude_max=True)
failures = st.integers(1, 10**9)

names = st.text("aZ09.-:_", max_size=70)
domains = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "", "https://", "http://", "HTTPS://", "ftp://", "://", "//"]),
        st.sampled_from(["", "", "me@", f"me:{SECRET}@", "@"]),
        st.one_of(
            st.just("acme.okta.com"),
            names,
            st.text(max_size=12),
            st.sampled_from(
                [
                    "localhost",
                    "a.localhost",
                    "127.0.0.1",
                    "0x7f.1",
                    "1.2.3",
                    "1.2.3.999",
                    "[::1]",
                    "[::1%25x]",
                    "[::ffff:1.2.3.4]",
                    "[v1.a]",
                    "xn--a",
                    "xn--",
                    "a.",
                    "\u2100.okta.com",
                    "\uff0f",
                    "[",
                    "]",
                ]
            ),
            st.integers(62, 65).map(lambda length: ".".join(["a" * length] * length)),
        ),
        st.sampled_from(["", "", "/", ":443", ":80", ":0", ":65535", ":65536", f":{'9' * 5_000}"])
        | st.text("/?#@[]{}%\\-.: \n\x00", max_size=8)
        | st.just(f"/?secret={SECRET}"),
    ),
    odd_objects,
)
hosts = st.sampled_from(["acme.okta.com", "https://Acme.Okta.com:8443/", "http://[::1]:80"])
client_ids = st.one_of(
    st.just("0oa1"), names, st.text(max_size=8), st.just(f"0oa:{SECRET}"), odd_objects
)
servers = st.one_of(st.none(), names, st.text(max_size=8), st.just(f"{SECRET}/"), odd_objects)
values = st.one_of(
    st.tuples(domains, st.just("0oa1"), st.none()),
    st.tuples(hosts, client_ids, st.just("default")),
    st.tuples(hosts, st.just("0oa1"), servers),
    st.tuples(domains, client_ids, servers),
)
"""A client's domain, its id and its authorization server."""
scope_names = st.one_of(
    st.text("aZ09.:/_-", max_size=20), st.text(max_size=20), st.just("\x00" * 100), st.just("a")
)


def returned_or_raised(parse: Callable[[object], T | ConfigurationError], value: object) -> T:
    """Return what a parser returns, or raise the error that it returns."""
    result = parse(value)
    if isinstance(result, ConfigurationError):
        raise result
    return result


def create_or_check_error(make: Callable[..., T], *args: object, **options: object) -> T | None:
    """Call a constructor with values of any type; return `None` and check the error if it raises.

    Only a `ConfigurationError` is expected.
    """
    try:
        return make(*args, **options)
    except ConfigurationError as caught:
        error = caught

    assert SECRET not in visible_text(error)
    assert str(error).isprintable()
    assert len(str(error)) <= MAX_MESSAGE
    assert error.__cause__ is None
    return None


def check_client(client: OktaClient, domain: object) -> None:
    """Assert that a domain was only a host, and that every parser finds that host in the URL."""
    url = urlsplit(client.token_url)

    assert isinstance(domain, str)
    assert _DOMAIN.fullmatch(domain)
    assert _SEGMENT.fullmatch(client.authorization_server or "default")

    assert url.path in {
        "/oauth2/v1/token",
        f"/oauth2/{client.authorization_server}/v1/token",
    }
    assert (url.username, url.password, url.query, url.fragment) == (None, None, "", "")
    assert url.netloc == client.domain
    assert (
        url.scheme == "https"
        or url.hostname in {"localhost", "127.0.0.1", "::1"}
        or (url.hostname or "").endswith(".localhost")
    )
    requested = URL(client.token_url)
    host = requested.raw_host or ""
    if ":" in host:  # an address has many spellings
        assert ip_address(host) == ip_address(url.hostname or "")
    else:
        assert host == url.hostname
        assert str(requested) == client.token_url
    assert eval(repr(client.client_id)) == client.client_id  # noqa: S307 - of a repr
    assert SECRET not in repr(client)


@FUZZ
@given(values)
def test_any_client_is_made_or_refused(values: tuple[object, object, object]) -> None:
    """An error does not repeat a client's values, and a client requests only the named host."""
    domain, client_id, server = values
    client = create_or_check_error(
        OktaClient, domain, client_id, BASIC, authorization_server=server
    )

    if client is not None:
        check_client(client, domain)


@FUZZ
@given(values, secrets | odd_objects)
def test_any_environment_is_parsed(values: tuple[object, object, object], secret: object) -> None:
    """Environment variables give a client, or an error that does not repeat their values."""
    domain, client_id, server = values
    client = create_or_check_error(
        OktaClient.from_env,
        {
            "OKTA_CLIENT_ORGURL": domain,
            "OKTA_CLIENT_CLIENTID": client_id,
            "OKTA_CLIENT_SECRET": secret,
            "OKTA_CLIENT_AUTHORIZATIONSERVER": server,
        },
    )

    if client is not None:
        check_client(client, domain)


@FUZZ
@given(
    st.one_of(
        st.lists(scope_names).map(" ".join),
        st.lists(scope_names),
        st.integers(1, 3_000).map(lambda number: [f'"{each}' for each in range(number)]),
        st.integers(1, 300).map(lambda number: [f"scope-{each}" for each in range(number)]),
        odd_objects,
        st.frozensets(odd_objects.filter(lambda value: value.__hash__ is not None)),
    )
)
def test_any_scopes_are_parsed(scopes: object) -> None:
    """Accepted scopes survive formatting and parsing; others raise a short error."""
    names = create_or_check_error(returned_or_raised, parse_scopes, scopes)

    if names is not None:
        parameter = format_scopes(names)
        assert parse_scopes(parameter.split(" ") if names else ()) == names
        assert len(parameter) <= 16_384
        assert parameter.isascii()
        assert parameter.isprintable()


@FUZZ
@given(
    st.sampled_from([ClientSecretBasic, ClientSecretPost]),
    st.one_of(secrets, st.builds("{}\n".format, secrets), st.text(max_size=5), odd_objects),
)
def test_any_secret_is_accepted_or_refused(
    method: Callable[[object], ClientSecretBasic | ClientSecretPost], secret: object
) -> None:
    """A secret is accepted or refused, and neither result shows the secret."""
    made = create_or_check_error(method, secret)

    assert (made is None) == (secret_problem(secret) is not None)
    assert SECRET not in repr(made)
    assert SECRET not in str(secret_problem(secret))


@FUZZ
@given(
    st.fixed_dictionaries({}, optional={each.name: odd_numbers for each in fields(RefreshPolicy)}),
    lifetimes,
    failures,
    draws,
)
def test_any_refresh_policy_renews_in_time(
    values: dict[str, float], lifetime: float, count: int, draw: float
) -> None:
    """Every accepted policy renews a token that lives for a second or more while it is usable."""
    policy = create_or_check_error(RefreshPolicy, **values)
    if policy is None:
        return

    lead, leeway = policy.lead(lifetime), policy.leeway(lifetime)
    unusable = lifetime - leeway
    wait = policy.backoff(count, lifetime, lambda: draw)

    assert 0 < leeway < lead <= lifetime / 2
    assert leeway <= min(policy.max_leeway, lifetime / 20)
    if lifetime < 1:
        assert policy.refresh_after(lifetime, lambda: draw) == 1  # no key is requested more often
        return
    # If the lead is nanoseconds and the lifetime is days, rounding removes the lead.
    assert policy.refresh_after(lifetime, lambda: draw) <= unusable
    assert lead / 2 - leeway < math.ulp(lifetime) or (
        policy.refresh_after(lifetime, lambda: draw) < unusable
    )
    assert 0 < wait <= min(policy.max_backoff, lead / 4)
    assert 0 < policy.final_call(lifetime, 10.0) <= lead / 3
    assert 0 <= policy.spread(lifetime, lambda: draw) <= 10


@FUZZ
@given(
    st.fixed_dictionaries({}, optional={each.name: odd_numbers for each in fields(RetryPolicy)}),
    failures,
    draws,
)
def test_any_retry_policy_is_bounded(values: dict[str, float], count: int, draw: float) -> None:
    """Every accepted policy waits for a positive and bounded time after a failure."""
    policy = create_or_check_error(RetryPolicy, **values)
    if policy is None:
        return

    assert 0 < policy.delay(count, lambda: draw) <= 5
    assert 0 < policy.cooldown(count, lambda: draw) <= policy.max_cooldown
    assert policy.request_timeout <= policy.total_timeout
    assert policy.attempts >= 1


@FUZZ
@given(secrets, st.data())
def test_any_text_is_scrubbed(secret: str, data: st.DataObject) -> None:
    """A text of a server becomes one printable line without the secret, in any spelling."""
    text = data.draw(echoes(secret))
    line = scrub(text, ["another", secret])

    assert contains_secret(text, ["another", secret])
    assert SECRET not in line
    assert line.isprintable()
    assert line.isascii()
    assert len(line) <= MAX_TEXT
    assert not contains_secret(line, [secret])


@FUZZ
@given(st.text(), st.text(max_size=5))
def test_any_text_can_be_scrubbed(text: str, secret: str) -> None:
    """Any text and any secret can be scrubbed without an error."""
    line = scrub(text, [secret])

    assert line.isprintable()
    assert len(line) <= MAX_TEXT
    assert isinstance(contains_secret(text, [secret]), bool)


class AttributedError(Exception):
    """An error that keeps its subject in an attribute, as many libraries do."""

    def __init__(self, about: object) -> None:
        super().__init__("failed")
        self.about = about


@dataclass(frozen=True)
class FrozenError(Exception):
    """An error whose attributes cannot be changed."""

    about: object


class UnprintableError(Exception):
    """An error whose text and attribute raise another error."""

    def __str__(self) -> str:
        """Raise an error that contains the secret."""
        raise LookupError(SECRET)

    __repr__ = __str__
    about = property(__str__)


KINDS: list[Callable[[object], BaseException]] = [
    ValueError,
    KeyError,
    OSError,
    AttributedError,
    FrozenError,
    UnprintableError,
    StopIteration,
    lambda about: ExceptionGroup("two", [ValueError(about)]),
    lambda about: AttributeError("no such attribute", name="x", obj=about),
    lambda about: OSError(2, "No such file", str(about)),
]


@FUZZ
@given(
    secrets,
    st.sampled_from(KINDS),
    spellings,
    pads,
    st.sampled_from(["argument", "note", "cause", "nothing"]),
    st.sampled_from([str, repr, str.encode, lambda text: [text], lambda text: {"key": text}]),
)
def test_any_error_can_be_sanitized(
    secret: str,
    kind: Callable[[object], BaseException],
    spell: Callable[[str], str],
    pad: str,
    place: str,
    wrap: Callable[[str], object],
) -> None:
    """A sanitized error contains no secret in its arguments, notes, attributes and causes."""
    text = f"{pad} {spell(secret)}"
    error = kind(wrap(text) if place == "argument" else "about")
    if place == "note":
        BaseException.__setattr__(error, "__notes__", [text])
    if place == "cause":
        BaseException.__setattr__(error, "__cause__", ValueError(text))

    sanitized = sanitize(error, [secret])

    notes = getattr(sanitized, "__notes__", "")
    attributes = [getattr(sanitized, name, None) for name in ("about", "obj", "name", "filename")]
    assert SECRET not in f"{visible_text(sanitized)} {notes} {attributes}"
    assert (sanitized.__cause__, sanitized.__context__, sanitized.__traceback__) == (
        None,
        None,
        None,
    )


@FUZZ
@given(
    hosts,
    st.dictionaries(
        st.sampled_from(["https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"]),
        st.one_of(
            names,
            st.text("*.,:/@[]% \t\u00e9", max_size=10),
            st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=8),
            st.sampled_from(["http://me:pw@proxy.example:3128", "acme.okta.com", "*", ","]),
        ),
    ),
)
def test_any_proxy_variables_are_parsed(host: str, variables: dict[str, str]) -> None:
    """Any environment gives one of its values as the proxy of https, no proxy, or an error."""
    origin = OktaClient(host, "0oa1", BASIC).origin
    with patch.dict(os.environ, variables, clear=True):
        proxy = environment_proxy(origin)

    if isinstance(proxy, ConfigurationError):
        assert "me:pw" not in visible_text(proxy)
    elif proxy is not None:
        assert {proxy, proxy.removeprefix("http://")} & {*variables.values()}
        assert origin.startswith("https://")
