"""The worst that fits into an answer takes some milliseconds and a few megabytes."""

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
from tests.fuzz.inputs import GRANT, new_answer
from tests.fuzz.test_validators import BASIC

SECRETS = ["Kq7vR2mXw9/+ 1", "S3E3dlIybVh3OS8rIDE="]
MAX_HEADER = 8_190  # aiohttp's limit

SECONDS = 2.0
"""Of CPU, while memory is watched. The slowest takes a twentieth, most a thousandth; what is
quadratic in 64 KiB takes minutes."""
MEGABYTES = 8.0
"""What 64 KiB may become at the worst: a list of lists is thirty times its JSON."""


def filled(begin: str, piece: str, end: str, size: int = MAX_BODY) -> str:
    """Return a text of nearly a size, made of one piece again and again."""
    return begin + piece * ((size - len(begin) - len(end)) // len(piece)) + end


def description(piece: str) -> str:
    """Return a refusal that says the same again and again."""
    return filled('{"error": "a", "error_description": "', piece, '"}')


BODIES = {
    "digits": filled('{"expires_in": ', "9", "}"),
    "numbers": filled('{"expires_in": [', "9" * 4_300 + ",", "0]}"),
    "fraction": filled('{"expires_in": 0.', "1", "}"),
    "exponent": filled('{"expires_in": 1e', "9", "}"),
    "lists": filled('{"a": [', "[],", "0]}"),
    "objects": filled('{"a": [', '{"":0},', "0]}"),
    "floats": filled('{"a": [', "0.1,", "0]}"),
    "nested lists": "[" * MAX_BODY,
    "nested objects": filled("", '{"":', ""),
    "names": "{" + ",".join(f'"{number}":0' for number in range(7_000)) + "}",
    "one name": filled("{", '"error":"a",', '"error":"a"}'),
    "open string": filled('{"a": "', "\\\\", ""),
    "token": filled('{"access_token": "', "a", '"}'),
    "scopes": filled(json.dumps(GRANT)[:-1] + ', "scope": "', "a ", '"}'),
    "escapes": description("%25"),
    "escapes of escapes": description("%2525252525"),
    "entities": description("&amp;amp;"),
    "open entities": description("&"),
    "numbered entities": description("&#38;#38;"),
    "long entity": description("&#" + "9" * 4_000),
    "backslashes": description("\\\\"),
    "unicode escapes": description("\\u005cu005c"),
    "nearly the secret": description("Kq7vR2mXw9/+ "),
    "the secret": description(json.dumps(SECRETS[0])[1:-1]),
    "unprintable": description("\\u0000a"),
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
    "id": ("X-Okta-Request-Id", "a"),
}


def check_cost(work: Callable[[], object]) -> None:
    """Assert that a call is cheap enough."""
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


def answer(body: str, status: int, headers: CIMultiDict[str] | None = None) -> Response:
    """Return an answer to a request that held two secrets."""
    return new_answer(status, headers or CIMultiDict(), body.encode(), SECRETS)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_body_is_expensive(body: str, status: int) -> None:
    """Any 64 KiB are read in bounded time and memory."""
    assert MAX_BODY - 6_000 < len(body) <= MAX_BODY
    check_cost(lambda: parse_token_response(answer(body, status), frozenset()))


@pytest.mark.parametrize(("name", "piece"), HEADERS.values(), ids=HEADERS)
def test_no_header_is_expensive(name: str, piece: str) -> None:
    """Any headers of the length that HTTP allows are read in bounded time and memory."""
    value = filled("", piece, "", MAX_HEADER)
    headers = CIMultiDict([(name, value)] * 8)

    check_cost(lambda: parse_token_response(answer("", 429, headers), frozenset()))
    check_cost(lambda: requested_pause(answer("", 429, headers), 0.0))


@pytest.mark.parametrize("piece", ["a", "aA", "f" * 31 + "g", "0", "aA0 ", "%25", "&", "\\", "\n"])
def test_no_text_is_expensive(piece: str) -> None:
    """Any text is searched for secrets, and for what looks like one, in linear time."""
    text = filled("", piece, "", MAX_BODY // 4)  # an error repeats it as str, repr, argument

    check_cost(lambda: scrub(text, SECRETS))
    check_cost(lambda: sanitize(ValueError(text), SECRETS))


@pytest.mark.parametrize("piece", ["a", "a.", "a-", "-", ":", "[", "9", "@", "your-okta", "{"])
def test_no_domain_is_expensive(piece: str) -> None:
    """Whatever is taken for a domain, it is judged in linear time."""
    domain = filled("", piece, "")

    def judge() -> None:
        with contextlib.suppress(ConfigurationError):
            OktaClient(domain, domain, BASIC, authorization_server=domain)

    check_cost(judge)


@pytest.mark.parametrize("piece", ['" ', "a", "a ", "\x00 ", "\\"])
def test_no_scopes_are_expensive(piece: str) -> None:
    """Whatever is taken for scopes, it is judged in linear time."""
    scopes = filled("", piece, "")

    def judge() -> None:
        with contextlib.suppress(ConfigurationError):
            parse_scopes(scopes)

    check_cost(judge)
