"""Hypothesis strategies: secrets in every spelling, texts, numbers, objects, responses."""

from __future__ import annotations

import html
import json
import math
import re
import string
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from okta_tokens._endpoint.response import MAX_BODY, Response
from okta_tokens._runtime.clock import Instant

FUZZ = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is slow
)

SECRET = "Kq7vR2mXw9"
"""A part of every secret of a request. Its letters and digits are the same in every spelling."""
TOKEN = "Tz4nB8yLc3"
"""A part of every token in a response."""

NOW = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
SENT = Instant(1_000.0, NOW - 0.5)

TOKEN_RESPONSE: dict[str, object] = {
    "token_type": "Bearer",
    "expires_in": 3600,
    "access_token": TOKEN,
    "scope": "a b",
}
ERROR_RESPONSE: dict[str, object] = {
    "error": "invalid_client",
    "error_description": "No.",
    "errorId": "oaeAb12",
}

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_OTHERS = re.compile(r"[^0-9A-Za-z]")


def _small_escapes(text: str) -> str:
    return _ESCAPE.sub(lambda escape: escape[0].lower(), text)


def _escaped(form: str) -> Callable[[str], str]:
    return lambda text: _OTHERS.sub(lambda match: form.format(ord(match[0])), text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "url": lambda text: quote(text, safe=""),
    "url, but for slashes": quote,
    "url, as JavaScript does it": lambda text: quote(text, safe="!'()*~"),
    "url, in small letters": lambda text: _small_escapes(quote(text, safe="")),
    "url, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "form, in small letters": lambda text: _small_escapes(quote_plus(text)),
    "html": html.escape,
    "html, but for quotes": lambda text: html.escape(text, quote=False),
    "html, in decimal": _escaped("&#{};"),
    "html, in hexadecimal": _escaped("&#x{:x};"),
    "json": lambda text: json.dumps(text)[1:-1],
    "json, as PHP does it": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json, all escaped": _escaped("\\u{:04x}"),
    "json, twice": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "repr": lambda text: repr(text)[1:-1],
}
"""The spellings of a text in logs, in escaped texts and in forwarded requests."""

spellings = st.sampled_from(list(SPELLINGS.values()))
affixes = st.just("") | st.text(_PRINTABLE, max_size=6)

secrets = st.builds("{}{}{}".format, affixes, st.just(SECRET), affixes).map(str.strip)
tokens = st.builds("{}{}{}".format, affixes, st.just(TOKEN), affixes).map(
    lambda text: text.replace(" ", "")
)
pads = st.one_of(
    st.just(""),
    st.text(string.ascii_letters + " .:,;=\n\t\x00\u00e9\u2028\U0001f600", max_size=12),
    st.integers(0, 300).map(lambda length: "x " * length),
)


@st.composite
def echoes(draw: st.DrawFn, text: str) -> str:
    """Draw a message that contains a text in any spelling."""
    return " ".join(filter(None, [draw(pads), draw(spellings)(text), draw(pads)]))


odd_numbers = st.one_of(
    st.floats(),
    st.floats(1e-3, 1e6),
    st.integers(-(10**9), 10**9),
    st.sampled_from(
        [
            5e-324,
            sys.float_info.min,
            sys.float_info.max,
            math.nextafter(0.1, 1),
            math.nextafter(1, 0),
            0.1,
            1,
            10**400,
            -(10**400),
            2**63,
        ]
    ),
)
odd_objects = st.one_of(
    odd_numbers,
    st.none(),
    st.booleans(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.complex_numbers(),
    st.lists(st.none() | st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none(), max_size=2),
    st.lists(st.lists(st.none(), max_size=1), max_size=2),
    st.just(object()),
)

_LENGTHS = st.sampled_from([1, 15, 16, 17, 309, 400, 4_299, 4_301])
_numbers = st.one_of(
    st.sampled_from(["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1E-999", "-0.0", "0"]),
    _LENGTHS.map(lambda length: "9" * length),
    _LENGTHS.map(lambda length: "-" + "9" * length),
    _LENGTHS.map(lambda length: "0." + "1" * length),
    _LENGTHS.map(lambda length: "1e" + "9" * length),
    st.integers(-10, 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
)
literals = st.one_of(
    _numbers,
    st.sampled_from(['"\\ud800"', '"\\u0000"', '"\\udc00\\ud800"', '"\ufeff"', "'x'", '"\\x"']),
    _LENGTHS.map(lambda length: "[" * (length // 2) + "]" * (length // 2)),
    _LENGTHS.map(lambda length: '{"":' * (length // 6) + "0" + "}" * (length // 6)),
    _LENGTHS.map(lambda length: f'"{"%25" * (length // 3)}"'),
    st.text(max_size=20).map(json.dumps),
    st.sampled_from(["null", "true", "false", "[]", "{}", "", '"Bearer"', '"dpop"', "3600"]),
)
_names = st.one_of(
    st.sampled_from(
        [
            "access_token",
            "error",
            "error_description",
            "errorCode",
            "errorId",
            "errorSummary",
            "expires_in",
            "id_token",
            "refresh_token",
            "scope",
            "token_type",
        ]
    ),
    st.text(max_size=5),
)
_TOKENS = ("access_token", "id_token", "refresh_token")
_TEXT_FIELDS = ("error", "error_description", "errorCode", "errorSummary", "errorId")
_header_names = st.one_of(
    st.sampled_from(
        [
            "Content-Type",
            "Date",
            "date",
            "Location",
            "Retry-After",
            "Set-Cookie",
            "SET-COOKIE2",
            "WWW-Authenticate",
            "X-Okta-Request-Id",
            "X-Rate-Limit-Limit",
            "X-Rate-Limit-Reset",
            "x-rate-limit-reset",
        ]
    ),
    st.text("!#$%&'*+-.^_`|~" + string.ascii_letters + string.digits, min_size=1, max_size=8),
)
_header_values = st.one_of(
    st.text(max_size=20),
    st.integers(-10, 10**18).map(str),
    st.lists(st.sampled_from(["0", "60", "9" * 15, "9" * 16, "-1", "1e3", "", "x"])).map(",".join),
    _LENGTHS.map(lambda length: "9" * length),
    _LENGTHS.map(lambda length: "," * length),
    st.sampled_from([DATE, f"{DATE}, {DATE}", f"{NOW + 30:.0f}", "\ud800", "\r\nX-Other: 1"]),
    st.lists(
        st.sampled_from(
            [
                "Fri,",
                "Fri",
                "15",
                "Jan",
                "2027",
                "0",
                "-1",
                "99999999999",
                "08:00:00",
                "08.00",
                "24:60:61",
                "::",
                ":",
                ",",
                "GMT",
                "+9999",
                "-0000",
                "+99999999",
                "(x",
            ],
        ),
        max_size=8,
    ).map(" ".join),
)


_additions: st.SearchStrategy[list[tuple[str, str]]] = st.one_of(
    st.just([]),
    st.tuples(st.just("expires_in"), _numbers).map(lambda member: [member]),
    st.lists(st.tuples(_names, literals), max_size=3),
)
_Members = dict[str, object]
_TYPICAL: list[tuple[int, _Members]] = [
    (200, TOKEN_RESPONSE),
    (200, TOKEN_RESPONSE),
    (200, TOKEN_RESPONSE),
    (401, ERROR_RESPONSE),
    (400, ERROR_RESPONSE),
    (403, ERROR_RESPONSE),
    (503, ERROR_RESPONSE),
    (429, ERROR_RESPONSE),
]
_statuses: st.SearchStrategy[tuple[int, _Members]] = st.one_of(
    st.sampled_from(_TYPICAL),
    st.tuples(
        st.sampled_from([200, 201, 302, 408, 429, 500]) | st.integers(-1, 1_000),
        st.sampled_from([TOKEN_RESPONSE, ERROR_RESPONSE, {}]),
    ),
)
"""A status, and the members of a body for it."""
_encodings = st.sampled_from(["utf-16", "utf-32-le", "latin-1"])


@st.composite
def bodies(draw: st.DrawFn, base: _Members, secret: str, token: str) -> bytes:
    """Draw a body: Okta's, a similar one, or any bytes.

    Args:
        draw: Draws a value from a strategy.
        base: The members that the body begins with.
        secret: The secret that a text of the server may repeat.
        token: The token in the body; texts may repeat it as well.
    """
    members = [
        (name, json.dumps(token if value == TOKEN else value)) for name, value in base.items()
    ]
    members += draw(_additions)
    known = [secret]
    if draw(st.booleans()):  # if a name occurs twice, JSON parsers use the last value
        members.append((draw(st.sampled_from(_TOKENS)), json.dumps(token)))
        known.append(token)
    texts = draw(st.lists(st.sampled_from((*_TEXT_FIELDS, "errorCauses")), max_size=2))
    for name in texts:
        echo = draw(echoes(draw(st.sampled_from(known))))
        value = [{"errorSummary": echo}, echo] if name == "errorCauses" else echo
        members.append((name, json.dumps(value)))
    text = ",".join(f"{json.dumps(name)}:{literal}" for name, literal in members)
    # A damaged secret cannot be recognized, so a body that repeats one is not damaged.
    return draw(_encoded(f"{{{text}}}", intact=bool(texts)))


@st.composite
def _encoded(draw: st.DrawFn, text: str, *, intact: bool) -> bytes:
    """Draw the bytes of a text: usually UTF-8, sometimes another encoding, or damaged."""
    body = text.encode(errors="surrogatepass")
    match draw(st.integers(0, 7)):
        case 7:
            return draw(st.binary(max_size=100))
        case 1:
            return text.encode(draw(_encodings), errors="replace")
        case 2:
            return BOM_UTF8 * draw(st.integers(1, 2)) + body
        case 3:
            return body.ljust(MAX_BODY + 1)
        case 4 | 5 if not intact:
            at = draw(st.integers(0, len(body)))
            return body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
        case _:
            return body


@st.composite
def headers(draw: st.DrawFn, secret: str) -> CIMultiDict[str]:
    """Draw the headers of a response, some of which repeat a secret."""
    pairs = draw(st.lists(st.tuples(_header_names, _header_values), max_size=4))
    for name in draw(st.lists(_header_names, max_size=1)):
        pairs.append((name, draw(echoes(secret))))
    if draw(st.booleans()):
        challenge = f'DPoP error="use_dpop_nonce", error_description="{draw(echoes(secret))}"'
        pairs.append(("WWW-Authenticate", challenge))
    if draw(st.booleans()):
        pairs.append((f"X-{quote(secret, safe='')}", "1"))
    return CIMultiDict(pairs)


def new_response(
    status: int, headers: CIMultiDict[str], body: bytes, secrets: Iterable[str] = ()
) -> Response:
    """Return a response to a request that contained some secrets."""
    return Response(status, headers, body, SENT, NOW, secrets)


@st.composite
def responses(draw: st.DrawFn, *, empty: bool = False) -> Response:
    """Draw any response to a request that contained a secret.

    Args:
        draw: Draws a value from a strategy.
        empty: Whether the response has no body.
    """
    secret = draw(secrets)
    status, base = draw(_statuses)
    body = b"" if empty else draw(bodies(base, secret, draw(tokens)))
    return new_response(status, draw(headers(secret)), body, [secret])
