"""The most expensive input of any kind takes bounded time and memory."""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable

import pytest
from multidict import CIMultiDict

from okta_tokens import OktaClient
from okta_tokens._endpoint.rate_limits import requested_pause
from okta_tokens._endpoint.response import MAX_BODY, Response
from okta_tokens._endpoint.token_response import parse_token_response
from okta_tokens._model.scopes import parse_scopes
from okta_tokens._runtime.redaction import sanitize, scrub
from okta_tokens.errors import ConfigurationError
from tests.endpoint.responses import key_for
from tests.fuzz.inputs import TOKEN_RESPONSE, new_response
from tests.fuzz.test_validators import BASIC

KEY = key_for()
SECRETS = ["Kq7vR2mXw9/+ 1", "S3E3dlIybVh3OS8rIDE="]
MAX_HEADER = 8_190  # aiohttp's limit

SECONDS = 2.0
"""CPU seconds, while `tracemalloc` runs. The slowest input takes a twentieth of them, most inputs a
thousandth. An algorithm that is quadratic in 64 KiB takes minutes."""
MEGABYTES = 8.0
"""The memory that 64 KiB may need. A list of lists needs thirty times as much as its JSON."""


def repeated(begin: str, piece: str, end: str, size: int = MAX_BODY) -> str:
    """Return a text of nearly a size that repeats one piece."""
    return begin + piece * ((size - len(begin) - len(end)) // len(piece)) + end


def description(piece: str) -> str:
    """Return an error response whose description repeats one piece."""
    return repeated('{"error": "a", "error_description": "', piece, '"}')


JSON_BODIES = {
    "digits": repeated('{"expires_in": ', "9", "}"),
    "numbers": repeated('{"expires_in": [', "9" * 4_300 + ",", "0]}"),
    "fraction": repeated('{"expires_in": 0.', "1", "}"),
    "exponent": repeated('{"expires_in": 1e', "9", "}"),
    "lists": repeated('{"a": [', "[],", "0]}"),
    "objects": repeated('{"a": [', '{"":0},', "0]}"),
    "floats": repeated('{"a": [', "0.1,", "0]}"),
    "nested lists": "[" * MAX_BODY,
    "nested objects": repeated("", '{"":', ""),
    "names": "{" + ",".join(f'"{number}":0' for number in range(7_000)) + "}",
    "one name": repeated("{", '"error":"a",', '"error":"a"}'),
    "open string": repeated('{"a": "', "\\\\", ""),
    "token": repeated('{"access_token": "', "a", '"}'),
    "scopes": repeated(json.dumps(TOKEN_RESPONSE)[:-1] + ', "scope": "', "a ", '"}'),
}
ERROR_BODIES = {
    "nested lists": JSON_BODIES["nested lists"],
    "one name": JSON_BODIES["one name"],
    "escapes": description("%25"),
    "escapes of escapes": description("%2525252525"),
    "entities": description("&amp;amp;"),
    "open entities": description("&"),
    "numbered entities": description("&#38;#38;"),
    "long entity": description("&#" + "9" * 4_000),
    "backslashes": description("\\\\"),
    "mixed escapes": description("%26%23x5c;u0026\\\\x25&#x26;"),
    "markup": description("<a>"),
    "ligatures": description("\ufdfa"),
    "hexadecimal": description("6b"),
    "base64": description("a0o3"),
    "character codes": description("99,"),
    "unicode escapes": description("\\u005cu005c"),
    "nearly the secret": description("Kq7vR2mXw9/+ "),
    "the secret": description(json.dumps(SECRETS[0])[1:-1]),
    "unprintable": description("\\u0000a"),
    "causes": repeated(
        '{"errorCode": "E0000001", "errorCauses": [', '{"errorSummary":"a"},', "0]}"
    ),
}

HEADERS = {
    "commas": ("X-Rate-Limit-Reset", ","),
    "numbers": ("X-Rate-Limit-Reset", "9" * 15 + ","),
    "digits": ("Retry-After", "9"),
    "date of digits": ("Date", "9"),
    "date of words": ("Date", "Fri, "),
    "date of comments": ("Date", "("),
    "date of times": ("Date", "1:"),
    "escapes": ("Location", "%2525"),
    "mixed escapes": ("Location", "%26%23x5c;u0026\\x25&#x26;"),
    "id": ("X-Okta-Request-Id", "a"),
    "challenges": ("WWW-Authenticate", "error=invalid_client,"),
    "spaces of challenges": ("WWW-Authenticate", "error" + " " * 99),
}


def check_cost(work: Callable[[], object]) -> None:
    """Assert that a call keeps to the limits of time and memory."""
    tracemalloc.start()
    begun = time.process_time()
    try:
        work()
        seconds = time.process_time() - begun
        megabytes = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()

    assert seconds < SECONDS
    assert megabytes < MEGABYTES


def response(body: str, status: int, headers: CIMultiDict[str] | None = None) -> Response:
    """Return a response to a request that contained two secrets."""
    return new_response(status, headers or CIMultiDict(), body.encode(), SECRETS)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((200, body) for body in JSON_BODIES.values()),
        *((400, body) for body in ERROR_BODIES.values()),
    ],
    ids=[*(f"200 {name}" for name in JSON_BODIES), *(f"400 {name}" for name in ERROR_BODIES)],
)
def test_no_body_is_expensive(status: int, body: str) -> None:
    """Any body of 64 KiB is parsed in bounded time and memory."""
    assert MAX_BODY - 6_000 < len(body) <= MAX_BODY
    check_cost(lambda: parse_token_response(response(body, status), KEY))


@pytest.mark.parametrize(("name", "piece"), HEADERS.values(), ids=HEADERS)
def test_no_header_is_expensive(name: str, piece: str) -> None:
    """Headers of the greatest length that aiohttp accepts are parsed in bounded time and memory."""
    value = repeated("", piece, "", MAX_HEADER)
    headers = CIMultiDict([(name, value)] * 8)

    check_cost(lambda: parse_token_response(response("", 401, headers), KEY))
    check_cost(lambda: parse_token_response(response("", 429, headers), KEY))
    check_cost(lambda: requested_pause(response("", 429, headers), 0.0))


@pytest.mark.parametrize(
    "piece",
    ["a", "aA", "f" * 31 + "g", "0", "aA0 ", "%25", "&", "\\", "\n", "<", "=", "99 ", "\ufdfa"],
)
def test_no_text_is_expensive(piece: str) -> None:
    """A search for secrets, and for texts that look like one, takes linear time."""
    text = repeated("", piece, "", MAX_BODY // 4)  # an error repeats it as str, repr, argument

    check_cost(lambda: scrub(text, SECRETS))
    check_cost(lambda: sanitize(ValueError(text), SECRETS))


@pytest.mark.parametrize("piece", ["a", "a.", "a-", "-", ":", "[", "9", "@", "your-okta", "{"])
def test_no_domain_is_expensive(piece: str) -> None:
    """Any domain is validated in linear time."""
    domain = repeated("", piece, "")

    def validate() -> None:
        with contextlib.suppress(ConfigurationError):
            OktaClient(domain, domain, BASIC, authorization_server=domain)

    check_cost(validate)


@pytest.mark.parametrize("piece", ['" ', "a", "a ", "\x00 ", "\\"])
def test_no_scopes_are_expensive(piece: str) -> None:
    """Any scopes are validated in linear time."""
    scopes = repeated("", piece, "")

    def validate() -> None:
        parse_scopes(scopes)

    check_cost(validate)
