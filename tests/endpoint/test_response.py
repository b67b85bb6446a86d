"""A raw response: its headers, its ids, its date, its nonce and its JSON."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from okta_tokens._endpoint.response import MAX_BODY
from okta_tokens._runtime.redaction import WITHHELD
from okta_tokens.errors import OAuthError
from tests.endpoint.responses import (
    DATE,
    HTML,
    NESTED,
    NOT_JSON,
    NOW,
    QUICK,
    SECRET,
    TOKEN_FIELDS,
    TOO_LONG,
    VALUE,
    error_in,
    invalid_error_in,
    new_response,
    text_of,
    token_in,
)


def test_the_repr_shows_no_secret() -> None:
    """The repr of a response shows neither its body nor the secrets of its request."""
    response = new_response(TOKEN_FIELDS)

    assert VALUE not in repr(response)
    assert SECRET not in repr(response)


# The body


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "\xff"])
def test_the_content_type_does_not_matter(content_type: str) -> None:
    """Only the body decides whether it is JSON."""
    headers = {"Content-Type": content_type}

    assert token_in(new_response(TOKEN_FIELDS, headers=headers)).value == VALUE
    error = invalid_error_in(new_response(HTML, headers=headers))
    assert str(error).startswith(f"the response (200) is invalid: {NOT_JSON}")


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"\r\n  "], ids=["bom", "white-space"])
def test_json_may_follow_white_space_or_a_byte_order_mark(prefix: bytes) -> None:
    """White space or a byte-order mark before the JSON is ignored."""
    assert token_in(new_response(prefix + json.dumps(TOKEN_FIELDS).encode())).value == VALUE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        HTML,
        b"{}",
        json.dumps([TOKEN_FIELDS]).encode(),
        json.dumps(TOKEN_FIELDS).encode()[:-1],
        json.dumps(TOKEN_FIELDS).encode() + b"}",
        json.dumps(TOKEN_FIELDS).encode("utf-16"),
        b'{"access_token": "\xff"}',
        NESTED,
        b'{"expires_in": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda body: f"{body!r:.20}-{len(body)}",
)
def test_a_body_that_is_not_a_json_object_is_invalid(body: bytes) -> None:
    """A body that is not a JSON object with fields cannot be used, and a retry may help."""
    error = invalid_error_in(new_response(body))

    assert error.args == (f"the response (200) is invalid: {NOT_JSON}",)
    assert error.retryable


def test_a_body_of_64_kib_is_parsed_and_a_longer_one_is_not() -> None:
    """A body of exactly 64 KiB is parsed; a body with one more byte is invalid."""
    longest = json.dumps(TOKEN_FIELDS).encode().ljust(64 * 1024)

    assert len(longest) == MAX_BODY
    assert token_in(new_response(longest)).value == VALUE
    assert invalid_error_in(new_response(b" " * MAX_BODY)).args == (
        f"the response (200) is invalid: {NOT_JSON}",
    )

    error = invalid_error_in(new_response(longest + b" "))

    assert error.args == (f"the response (200) is invalid: {TOO_LONG}",)
    assert error.retryable


# Headers and ids


def test_an_error_names_the_request_and_keeps_the_headers_except_cookies() -> None:
    """An error holds the request's id, the error's id, and every header that is not a cookie."""
    headers = [
        ("X-Okta-Request-Id", "reqAb12"),
        ("x-rate-limit-remaining", "7"),
        ("Set-Cookie", f"sid={VALUE}"),
        ("set-cookie2", f"sid={VALUE}"),
        ("SET-COOKIE", f"JSESSIONID={VALUE}"),
    ]
    error = error_in(new_response({"errorCode": "E0000007", "errorId": "oaeAb12"}, 404, headers))

    assert error.request_id == "reqAb12"
    assert error.error_id == "oaeAb12"
    assert error.headers == {"X-Okta-Request-Id": "reqAb12", "x-rate-limit-remaining": "7"}
    assert VALUE not in text_of(error)


def test_the_headers_of_an_error_are_read_only() -> None:
    """The headers of an error, which its copies share, cannot be changed."""
    headers = error_in(new_response(b"", 500, {"Server": "nginx"})).headers

    assert not hasattr(headers, "__setitem__")


@pytest.mark.parametrize(
    "identifier",
    ["", "two words", "caf\u00e9", f"req-{SECRET}", "a" * 129],
    ids=ascii,
)
def test_an_invalid_id_is_not_shown(identifier: str) -> None:
    """A text that does not look like an id, or holds a secret, is not shown as an id."""
    headers = {"X-Okta-Request-Id": identifier}
    error = error_in(new_response({"error": "x", "errorId": identifier}, 400, headers))

    assert (error.request_id, error.error_id) == (None, None)
    assert SECRET not in text_of(error)


@pytest.mark.parametrize("identifier", [5, ["a"]], ids=repr)
def test_an_error_id_must_be_a_string(identifier: object) -> None:
    """An error id of another type than string is not shown."""
    assert error_in(new_response({"error": "x", "errorId": identifier}, 400)).error_id is None


@pytest.mark.parametrize("identifier", ["oaeAb12-_.", "Yx1@host:443/+=", "a" * 128])
def test_a_valid_id_is_shown_unchanged(identifier: str) -> None:
    """Ids of Okta, and of gateways before Okta, are shown as they are."""
    response = new_response(TOKEN_FIELDS, headers={"X-Okta-Request-Id": identifier})

    assert token_in(response).request_id == identifier


def test_the_first_value_of_a_repeated_header_wins() -> None:
    """If a header occurs twice, its first value is used."""
    headers = [("X-Okta-Request-Id", "one"), ("x-okta-request-id", "other")]

    assert new_response(headers=headers).request_id("a-token-of-20-letters") == "one"


def test_a_missing_header_is_none() -> None:
    """A header that the response does not have is `None`."""
    assert new_response().header("X-Okta-Request-Id") is None


def test_the_name_of_a_header_is_scrubbed() -> None:
    """A secret in the name of a header does not get into an error."""
    error = error_in(new_response(b"", 500, {f"X-{SECRET}": "1"}))

    assert error.headers == {"[withheld]": "1"}


def test_the_name_of_a_usual_header_is_shown() -> None:
    """The name of a usual header is shown, also if a test secret is a part of it."""
    headers = {"X-Rate-Limit-Reset": "7", "server": "8", "X-Others": "9"}
    error = error_in(new_response(b"", 500, headers, secrets=["s"]))

    assert error.headers == {"X-Rate-Limit-Reset": "7", "server": "8", "[withheld]": "9"}


def test_an_error_has_32_headers_of_256_characters() -> None:
    """An error has the first 32 headers, and 256 characters of each name and value."""
    headers = [("Set-Cookie", "a=b")] * 40 + [(f"X-{number}", "z") for number in range(99)]
    shown = error_in(new_response(b"", 500, headers)).headers

    assert list(shown) == [f"X-{number}" for number in range(32)]

    shown = error_in(new_response(b"", 500, {"x" * 257: "z" * 256, "y" * 256: "z" * 257})).headers

    assert shown == {f"{'x' * 253}...": "z" * 256, "y" * 256: f"{'z' * 253}..."}


def test_the_headers_of_a_usual_response_are_shown() -> None:
    """Long headers of Okta, and of a gateway before Okta, do not exhaust the search."""
    policy = "default-src 'self' https://acme.okta.com *.oktacdn.com; script-src 'unsafe-eval' "
    report = '{"endpoints":[{"url":"https://a.nel.example/report/v4?s=a%2Bb%2Fc%3D"}],"group":"x"}'
    headers = {
        "Content-Type": "application/json",
        "X-Okta-Request-Id": "Y9Rj2dNYMlGkTTZ8AAtqhAAADDs",
        "P3P": 'CP="HONK"',
        "Accept-CH": ",".join(f"Sec-CH-UA-Platform-{number}" for number in range(10)),
        "Content-Security-Policy": policy * 40,
        "Content-Security-Policy-Report-Only": policy * 40,
        "Report-To": report * 4,
        "NEL": '{"success_fraction":0.01,"report_to":"x","max_age":604800}',
        **{f"X-Gateway-{number}": f"cache-{number}.fra, {number * 37}" for number in range(20)},
    }
    body = {"errorCode": "E0000007", "errorSummary": "Not found: no such resource. " * 20}
    error = error_in(new_response(body, 404, headers))

    assert isinstance(error, OAuthError)
    assert WITHHELD not in text_of(error)
    assert len(error.headers) == 28


class CountedHeaders(CIMultiDict[str]):
    """Headers that count how many of them were read."""

    read = 0

    def items(self) -> Any:  # noqa: ANN401 - a generator instead of a view
        """Yield every header, and count it."""
        for pair in super().items():
            self.read += 1
            yield pair


def test_no_more_headers_are_read_than_are_shown() -> None:
    """Headers that are not shown are neither read nor searched."""
    headers = CountedHeaders([("X-Many", "1")] * 5_000)
    response = replace(new_response(b"", 500), headers=headers)

    assert error_in(response).headers == {"X-Many": "1"}
    assert headers.read == 32


def test_hostile_headers_take_no_longer_than_others() -> None:
    """An error with a megabyte of headers that decode to further escapes is made within 0.1 s."""
    hostile = "%26%23x5c;u0026\\x25&#x26;" * 320
    headers = [(f"X-{number}", hostile) for number in range(120)]
    begun = time.process_time()
    error = error_in(new_response(b"", 400, headers))

    assert time.process_time() - begun < 0.1
    assert 0 < len(error.headers) <= 32


# The nonce


@pytest.mark.parametrize(
    ("headers", "nonce"),
    [
        ({"DPoP-Nonce": "eyJ7S_zG.eyJH0-Z.HX4w-7v"}, "eyJ7S_zG.eyJH0-Z.HX4w-7v"),
        ({}, None),
        ({"DPoP-Nonce": ""}, None),
        ({"DPoP-Nonce": 'a"b'}, None),
        ({"DPoP-Nonce": "x" * 1_025}, None),
    ],
)
def test_only_a_valid_nonce_is_used(headers: dict[str, str], nonce: str | None) -> None:
    """A nonce that RFC 9449 section 8.1 does not allow, or that is too long, is ignored."""
    assert new_response(b"", 200, headers).dpop_nonce == nonce


# The date


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        (DATE, NOW),
        ("Fri, 15 Jan 2027 09:30:00 +0130", NOW),
        ("Friday, 15-Jan-27 08:00:00 GMT", NOW),
        (None, None),
        ("yesterday", None),
        ("Fri, 32 Jan 2027 08:00:00 GMT", None),
        ("Fri, 15 Jan 2027 08:00:00 +9999", None),
        ("Fri, 15 Jan 99999999999 08:00:00 GMT", None),
        (f"{' ' * 64}{DATE}", None),
    ],
)
def test_the_server_time_is_the_date_header(date: str | None, seconds: float | None) -> None:
    """The server's time is its `Date` header in any valid format, or `None`."""
    assert new_response(headers={} if date is None else {"Date": date}).server_time == seconds


@QUICK
@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - Hypothesis adds the zone
def test_every_http_date_is_parsed(moment: datetime) -> None:
    """Every second that an HTTP date can express is parsed exactly."""
    moment = moment.replace(microsecond=0)
    response = new_response(headers={"Date": format_datetime(moment, usegmt=True)})

    assert response.server_time == moment.timestamp()


def test_a_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's time does not depend on the time zone of this machine."""
    with_zone = new_response(headers={"Date": DATE}).server_time
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        without = [
            new_response(headers={"Date": date}).server_time
            for date in ("Fri Jan 15 08:00:00 2027", "Fri, 15 Jan 2027 08:00:00 -0000")
        ]
    finally:
        monkeypatch.undo()
        time.tzset()

    assert without == [with_zone, with_zone]
