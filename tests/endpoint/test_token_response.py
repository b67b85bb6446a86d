"""Build the form, read the answer."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from okta_tokens._endpoint.error_response import ImmediateRetry, immediate_retry_for
from okta_tokens._endpoint.rate_limits import is_concurrency_limit, requested_pause
from okta_tokens._endpoint.response import MAX_BODY, Response
from okta_tokens._endpoint.token_response import (
    MAX_LIFETIME,
    TokenResponse,
    build_form,
    parse_revocation_response,
    parse_token_response,
)
from okta_tokens._runtime.clock import Instant
from okta_tokens.errors import (
    FetchError,
    InvalidResponseError,
    OAuthError,
    RateLimitedError,
    ServerError,
)

QUICK = settings(max_examples=100, deadline=None, database=None, derandomize=True)
THOROUGH = settings(QUICK, max_examples=200)

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
VALUE = "Canary-Token-7d8e1a6f3b5c0d4f9b2c"
CANARY = "canary-of-the-body"

NOW = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
SENT = Instant(1_000.0, NOW - 0.5)

GRANT = {"token_type": "Bearer", "expires_in": 3600, "access_token": VALUE, "scope": "a b"}
REQUESTED = frozenset({"a", "b"})

MIDDLEBOXES = "the proxies and gateways between this machine and Okta"
NOT_JSON = f"it is not Okta's JSON; check the domain, and {MIDDLEBOXES}"
TOO_LONG = "its body is longer than 64 KiB; check the domain"
REDIRECT = "it is a redirect, which is never followed; check the domain"
BAD_TOKEN = "access_token is missing or holds forbidden characters; check the domain"
NOT_BEARER = "token_type is neither Bearer nor DPoP; check the domain"
DPOP = (
    "the token is bound to a key, but a bearer token was requested; check the app's DPoP setting, "
    "or give the client dpop=DPoP()"
)
NO_SECONDS = "expires_in is missing or is not a number of seconds; check the domain"
DEAD = "the token had expired when it arrived; check the token lifetime"
BAD_SCOPE = "scope is not a string of scope names; check the domain"

HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head></html>"


def new_answer(
    body: object = b"",
    status: int = 200,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    secrets: Iterable[str] = (SECRET,),
) -> Response:
    """Return an answer; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, CIMultiDict(headers), raw, SENT, NOW, secrets)


def grant_without(name: str, **others: object) -> dict[str, object]:
    """Return the fields of a grant without one of them, and with others."""
    return {key: value for key, value in GRANT.items() if key != name} | others


def granted(answer: Response, requested: frozenset[str] = REQUESTED) -> TokenResponse:
    """Return the grant in an answer."""
    outcome = parse_token_response(answer, requested)
    assert isinstance(outcome, TokenResponse), outcome
    return outcome


def refused(answer: Response) -> FetchError:
    """Return the error that an answer means."""
    outcome = parse_token_response(answer, REQUESTED)
    assert isinstance(outcome, FetchError), outcome
    return outcome


def invalid(answer: Response) -> InvalidResponseError:
    """Return the error of an answer that cannot be used."""
    error = refused(answer)
    assert isinstance(error, InvalidResponseError), error
    return error


def everything(error: FetchError) -> str:
    """Return all that an error tells anybody."""
    return f"{error} {error!r} {error.args} {error.__dict__}"


def test_form() -> None:
    """The form names the grant and the scopes, in one order, and nobody who asks."""
    assert build_form({"b", "a"}) == {"grant_type": "client_credentials", "scope": "a b"}


def test_form_without_scopes() -> None:
    """Without scopes the field is left out: an empty one would be malformed."""
    assert build_form(()) == {"grant_type": "client_credentials"}


def test_grant() -> None:
    """Okta's answer is a grant, whose lifetime counts from before the request was sent."""
    answer = new_answer(GRANT, headers={"X-Okta-Request-Id": "reqAb12"})

    assert parse_token_response(answer, REQUESTED) == TokenResponse(
        value=VALUE,
        token_type="Bearer",
        lifetime=3_600.0,
        scopes=REQUESTED,
        sent=SENT,
        request_id="reqAb12",
    )


def test_a_grant_shows_no_value() -> None:
    """Neither a grant nor an answer show the token, nor does an answer show its secrets."""
    answer = new_answer(GRANT)

    assert VALUE not in repr(granted(answer))
    assert VALUE not in repr(answer)
    assert SECRET not in repr(answer)


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/html", "text/plain;charset=x", "", "\xff"]
)
def test_the_content_type_does_not_matter(content_type: str) -> None:
    """A body is taken for what it is, whatever its content type says."""
    headers = {"Content-Type": content_type}

    assert granted(new_answer(GRANT, headers=headers)).value == VALUE
    assert invalid(new_answer(HTML, headers=headers)).args == (
        f"the response (200) is invalid: {NOT_JSON}",
    )


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"\r\n  ", b""])
def test_what_may_precede_json(prefix: bytes) -> None:
    """White space and a byte-order mark before the JSON do no harm."""
    assert granted(new_answer(prefix + json.dumps(GRANT).encode())).value == VALUE


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_token_types(kind: str) -> None:
    """The token type is read in any case and written in one."""
    assert granted(new_answer({**GRANT, "token_type": kind})).token_type == "Bearer"


@pytest.mark.parametrize("kind", ["DPoP", "dpop", "DPOP"])
def test_dpop_tokens(kind: str) -> None:
    """A token that is bound to a key nobody has is refused in any case."""
    error = invalid(new_answer({**GRANT, "token_type": kind}))

    assert error.args == (f"the response (200) is invalid: {DPOP}",)
    assert not error.retryable


@pytest.mark.parametrize("kind", ["DPoP", "dpop"])
def test_bound_tokens(kind: str) -> None:
    """A token that is bound to a key is taken where one was asked for, in any case of letters."""
    grant = parse_token_response(new_answer({**GRANT, "token_type": kind}), frozenset(), "DPoP")

    assert isinstance(grant, TokenResponse)
    assert grant.token_type == "DPoP"


def test_a_bearer_token_where_a_bound_one_was_asked_for() -> None:
    """A token that anybody could use is refused where one was asked for that nobody else can."""
    error = parse_token_response(new_answer(GRANT), frozenset(), "DPoP")

    assert isinstance(error, InvalidResponseError)
    assert error.args == (
        (
            "the response (200) is invalid: the token is not bound to a key, but a bound one was "
            "requested; check the app's DPoP setting"
        ),
    )
    assert not error.retryable


@pytest.mark.parametrize("kind", ["", "N_A", "mac", "Bearer ", "Bearer DPoP", None, 1, ["Bearer"]])
def test_other_token_types(kind: object) -> None:
    """A token of any other type is refused."""
    error = invalid(new_answer({**GRANT, "token_type": kind}))

    assert error.args == (f"the response (200) is invalid: {NOT_BEARER}",)


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (1, 1.0),
        (300, 300.0),
        (86_400, 86_400.0),
        (0.5, 0.5),
        (3599.75, 3599.75),
        ("3600", 3_600.0),
        ("00060", 60.0),
        (MAX_LIFETIME, MAX_LIFETIME),
        (MAX_LIFETIME + 1, MAX_LIFETIME),
        ("999999999999999", MAX_LIFETIME),
        (1e300, MAX_LIFETIME),
        (10**400, MAX_LIFETIME),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_lifetimes(expires_in: object, lifetime: float) -> None:
    """A number of seconds is a lifetime, also as a string or a fraction, up to thirty days."""
    assert MAX_LIFETIME == 30 * 24 * 3_600
    assert granted(new_answer({**GRANT, "expires_in": expires_in})).lifetime == lifetime


@pytest.mark.parametrize(
    "expires_in",
    [
        None,
        True,
        False,
        math.nan,
        math.inf,
        -math.inf,
        "",
        "soon",
        "-5",
        "+5",
        "3600.0",
        " 3600",
        "3600\n",
        "1e3",
        "٣٦٠٠",
        "9" * 16,
        [3600],
        {"seconds": 3600},
    ],
    ids=ascii,
)
def test_no_lifetimes(expires_in: object) -> None:
    """A token whose lifetime is no number of seconds is refused: guessing one would fail open."""
    error = invalid(new_answer({**GRANT, "expires_in": expires_in}))

    assert error.args == (f"the response (200) is invalid: {NO_SECONDS}",)
    assert not error.retryable


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_numbers_that_are_none(number: bytes) -> None:
    """A number beyond what a float holds is no lifetime."""
    body = json.dumps({**GRANT, "expires_in": 12345}).encode().replace(b"12345", number)

    assert invalid(new_answer(body)).args == (f"the response (200) is invalid: {NO_SECONDS}",)


@pytest.mark.parametrize("expires_in", [0, -1, 0.0, -0.0, -0.5, "0", -(10**9)], ids=repr)
def test_dead_on_arrival(expires_in: object) -> None:
    """A token without any time left is refused, and the next one may be better."""
    error = invalid(new_answer({**GRANT, "expires_in": expires_in}))

    assert error.args == (f"the response (200) is invalid: {DEAD}",)
    assert error.retryable


@pytest.mark.parametrize(
    ("name", "why"),
    [("access_token", BAD_TOKEN), ("token_type", NOT_BEARER), ("expires_in", NO_SECONDS)],
)
def test_missing_fields(name: str, why: str) -> None:
    """A grant without one of its three required fields is refused, for good."""
    error = invalid(new_answer(grant_without(name)))

    assert error.args == (f"the response (200) is invalid: {why}",)
    assert error.status == 200
    assert not error.retryable


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        f"{VALUE}\r\nX-Injected: 1",
        f"{VALUE}\n",
        f" {VALUE}",
        f"{VALUE} {VALUE}",
        f"{VALUE}\x00",
        f"{VALUE}\x7f",
        f"{VALUE}\u00e9",
        f"{VALUE}\ud800",
        None,
        7,
        [VALUE],
        {"value": VALUE},
    ],
    ids=ascii,
)
def test_bad_tokens(value: object) -> None:
    """A token that could not stand in a header, or would inject one, is not repeated."""
    error = invalid(new_answer({**GRANT, "access_token": value}))

    assert error.args == (f"the response (200) is invalid: {BAD_TOKEN}",)
    assert VALUE not in everything(error)


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("a b", {"a", "b"}),
        ("b  a a", {"a", "b"}),
        ("a", {"a"}),
        ("a b c", {"a", "b", "c"}),
        ("z", {"z"}),
        ("", {"a", "b"}),
        ("  ", {"a", "b"}),
    ],
)
def test_granted_scopes(scope: str, scopes: set[str]) -> None:
    """The granted scopes are those that the server tells, be they more or fewer than asked for."""
    assert granted(new_answer({**GRANT, "scope": scope})).scopes == scopes


def test_scopes_that_are_not_told() -> None:
    """A server that tells no scopes has granted what was asked for."""
    assert granted(new_answer(grant_without("scope"))).scopes == REQUESTED
    assert granted(new_answer(grant_without("scope")), frozenset()).scopes == frozenset()


@pytest.mark.parametrize("scope", [["a"], 5, None, "a\nb", "caf\u00e9", {"a": 1}], ids=ascii)
def test_bad_scopes(scope: object) -> None:
    """Granted scopes that are no string of names are refused."""
    error = invalid(new_answer({**GRANT, "scope": scope}))

    assert error.args == (f"the response (200) is invalid: {BAD_SCOPE}",)


def test_other_fields_are_ignored() -> None:
    """A grant may hold fields that nobody knows, however deep."""
    others: dict[str, object] = {"refresh_token": "x", "id_token": None, "extra": [[[{}]]]}

    assert granted(new_answer({**GRANT, **others})).value == VALUE


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_other_successes(status: int) -> None:
    """A grant comes with status 200 and no other."""
    assert invalid(new_answer(GRANT, status)).status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        HTML,
        b"null",
        b"[]",
        b"{}",
        b"3600",
        b'"token"',
        json.dumps([GRANT]).encode(),
        json.dumps(GRANT).encode()[:-1],
        json.dumps(GRANT).encode() + b"}",
        b"access_token=x&token_type=Bearer&expires_in=3600",
        json.dumps(GRANT).encode("utf-16"),
        b'{"access_token": "\xff"}',
        b"\x1f\x8b\x08\x00",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"expires_in": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda body: f"{body!r:.20}-{len(body)}",
)
def test_no_json_object(body: bytes) -> None:
    """A body that is no JSON object cannot be used; another answer may be better."""
    error = invalid(new_answer(body))

    assert error.args == (f"the response (200) is invalid: {NOT_JSON}",)
    assert error.retryable


def test_the_longest_body() -> None:
    """A body of 64 KiB is read; one with a byte more is not, whatever it holds."""
    longest = json.dumps(GRANT).encode().ljust(64 * 1024)

    assert len(longest) == MAX_BODY
    assert granted(new_answer(longest)).value == VALUE
    assert invalid(new_answer(b" " * MAX_BODY)).args == (
        f"the response (200) is invalid: {NOT_JSON}",
    )

    error = invalid(new_answer(longest + b" "))

    assert error.args == (f"the response (200) is invalid: {TOO_LONG}",)
    assert error.retryable


def test_a_long_error() -> None:
    """An error whose body is too long tells its status alone."""
    body = json.dumps({"error": "invalid_client"}).encode().ljust(MAX_BODY + 1)

    assert invalid(new_answer(body, 400)).args == (f"the response (400) is invalid: {TOO_LONG}",)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("body", [b"", HTML, {"error": "invalid_client"}, GRANT], ids=repr)
def test_redirects(status: int, body: object) -> None:
    """A redirect is not followed, whatever its body holds."""
    error = invalid(new_answer(body, status, {"Location": f"https://evil.example/?s={SECRET}"}))

    assert error.args == (f"the response ({status}) is invalid: {REDIRECT}",)
    assert error.status == status
    assert not error.retryable
    assert SECRET not in everything(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 415, 451])
@pytest.mark.parametrize(
    "body", [b"", HTML, {}, {"error": 5}, {"message": "x"}, {"error": ""}, {"error": {}}], ids=repr
)
def test_refusals_without_a_code(status: int, body: object) -> None:
    """A refusal without a code that Okta would send came from something else."""
    error = invalid(new_answer(body, status))

    assert error.args == (f"the response ({status}) is invalid: {NOT_JSON}",)
    assert not error.retryable


def test_request_timeout() -> None:
    """A 408 without Okta's error can be tried again."""
    assert invalid(new_answer(HTML, 408)).retryable


@pytest.mark.parametrize(
    ("status", "body", "code", "description"),
    [
        pytest.param(
            401,
            {
                "error": "invalid_client",
                "error_description": "The client secret supplied for a confidential client is "
                "invalid.",
            },
            "invalid_client",
            "The client secret supplied for a confidential client is invalid.",
            id="oauth",
        ),
        pytest.param(
            401,
            {
                "errorCode": "invalid_client",
                "errorSummary": "Invalid value for 'client_id' parameter.",
                "errorLink": "invalid_client",
                "errorId": "oaeAb12",
                "errorCauses": [],
            },
            "invalid_client",
            "Invalid value for 'client_id' parameter.",
            id="okta-with-an-oauth-code",
        ),
        pytest.param(
            404,
            {
                "errorCode": "E0000007",
                "errorSummary": "Not found: Resource not found: aus1 (AuthorizationServer)",
                "errorId": "oaeAb12",
            },
            "E0000007",
            "Not found: Resource not found: aus1 (AuthorizationServer)",
            id="okta",
        ),
        pytest.param(400, {"error": "invalid_scope"}, "invalid_scope", "", id="no-description"),
        pytest.param(
            400,
            {"error": "a", "errorCode": "b", "error_description": "c", "errorSummary": "d"},
            "a",
            "c",
            id="both",
        ),
        pytest.param(
            400, {"error": "", "errorCode": "b", "errorSummary": 5}, "b", "", id="unusable-parts"
        ),
    ],
)
def test_both_formats(status: int, body: dict[str, object], code: str, description: str) -> None:
    """Okta's two formats of an error are read alike."""
    error = refused(new_answer(body, status))

    assert isinstance(error, OAuthError)
    assert (error.error, error.description, error.status) == (code, description, status)
    assert error.error_id == body.get("errorId")
    assert not error.retryable


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("invalid_client", "check the client id, the secret, and that the app is active and"),
        ("invalid_scope", "check that each scope exists on this authorization server and is"),
        ("access_denied", "check the access policies and network zones of the authorization"),
        ("unauthorized_client", "allow the client-credentials grant in the app's settings"),
        ("unsupported_grant_type", "allow the client-credentials grant in the app's settings"),
        ("invalid_dpop_proof", "if the app requires DPoP, give the client dpop=DPoP(); if"),
        ("use_dpop_nonce", "the server keeps asking for another nonce; check the"),
        ("E0000007", "check the domain and the authorization server's id"),
        ("E0000022", "check the domain and the authorization server's id"),
        ("invalid_request", "look the request id up in Okta's System Log"),
    ],
)
def test_remedies(code: str, remedy: str) -> None:
    """A refusal says what to mend."""
    error = refused(new_answer({"error": code, "error_description": "No."}, 400))

    assert str(error).startswith(f"Okta refused (400 {code}): No; {remedy}")


def test_a_refusal_without_a_description() -> None:
    """A refusal whose reason Okta does not tell says so."""
    error = refused(new_answer({"error": "invalid_request"}, 400))

    assert str(error).startswith("Okta refused (400 invalid_request): no reason given; ")


@pytest.mark.parametrize(
    "code", ["server_error", "temporarily_unavailable", "E0000009", "E0000010", "E0000047"]
)
def test_transient_codes(code: str) -> None:
    """A refusal by a code that means trouble on Okta's side may be tried again."""
    assert refused(new_answer({"error": code}, 400)).retryable
    assert refused(new_answer({"errorCode": code}, 403)).retryable


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 520, 599])
@pytest.mark.parametrize("body", [b"", HTML, {"error": ""}, GRANT, b"[" * 60_000])
def test_server_errors(status: int, body: object) -> None:
    """A 5xx is the server's trouble, and may be over soon."""
    error = refused(new_answer(body, status))

    assert isinstance(error, ServerError)
    assert error.args == (
        f"the server responded {status}; this is a failure of the server, so try again later",
    )
    assert error.status == status
    assert error.retryable


@pytest.mark.parametrize(
    "body",
    [
        {"error": "server_error", "error_description": "Try later."},
        {"errorCode": "server_error", "errorSummary": "Try later."},
    ],
)
def test_server_errors_with_a_code(body: object) -> None:
    """A 5xx with an error in either format tells what it says, and stays a server's error."""
    error = refused(new_answer(body, 503))

    assert isinstance(error, ServerError)
    assert str(error) == (
        "the server responded 503 (server_error: Try later); this is a failure of the server, so "
        "try again later"
    )


@pytest.mark.parametrize(
    "body",
    [
        {
            "errorCode": "E0000047",
            "errorSummary": "API call exceeded rate limit due to too many requests.",
            "errorId": "oaeAb12",
        },
        {"error": "invalid_client"},
        b"",
        HTML,
        GRANT,
    ],
    ids=["okta", "oauth", "empty", "html", "grant"],
)
def test_rate_limits(body: object) -> None:
    """A 429 is a rate limit whatever its body holds, and may be tried again later."""
    error = refused(new_answer(body, 429))

    assert isinstance(error, RateLimitedError)
    assert error.args == (
        (
            "Okta responded 429: too many requests in its window; send fewer requests, or raise "
            "the limit"
        ),
    )
    assert error.retry_at == datetime.fromtimestamp(NOW, UTC)
    assert error.retryable


def test_concurrency_limits() -> None:
    """A 429 whose limit is zero means too many requests at once."""
    error = refused(new_answer(b"", 429, {"X-Rate-Limit-Limit": "0"}))

    assert str(error) == (
        "Okta responded 429: too many concurrent requests; send fewer requests, or raise the limit"
    )


def test_what_identifies_a_request() -> None:
    """An error tells the request's id, the error's id, and the headers without cookies."""
    headers = [
        ("X-Okta-Request-Id", "reqAb12"),
        ("x-rate-limit-remaining", "7"),
        ("Set-Cookie", f"sid={VALUE}"),
        ("set-cookie2", f"sid={VALUE}"),
        ("SET-COOKIE", f"JSESSIONID={VALUE}"),
    ]
    error = refused(new_answer({"errorCode": "E0000007", "errorId": "oaeAb12"}, 404, headers))

    assert error.request_id == "reqAb12"
    assert error.error_id == "oaeAb12"
    assert error.headers == {"X-Okta-Request-Id": "reqAb12", "x-rate-limit-remaining": "7"}
    assert VALUE not in everything(error)


def test_headers_of_an_error_are_read_only() -> None:
    """The headers of an error, which its copies share, cannot be changed."""
    headers = refused(new_answer(b"", 500, {"Server": "nginx"})).headers

    assert not hasattr(headers, "__setitem__")


@pytest.mark.parametrize(
    "identifier",
    ["", "two words", "a\r\nb", "caf\u00e9", "<script>", SECRET, f"req-{SECRET}", "a" * 129],
    ids=ascii,
)
def test_what_is_no_identifier(identifier: str) -> None:
    """What does not look like an id, or holds a secret, is not told as one."""
    headers = {"X-Okta-Request-Id": identifier}
    error = refused(new_answer({"error": "x", "errorId": identifier}, 400, headers))

    assert (error.request_id, error.error_id) == (None, None)
    assert SECRET not in everything(error)


@pytest.mark.parametrize("identifier", [None, 5, ["a"], {"a": "b"}], ids=repr)
def test_error_ids_of_other_types(identifier: object) -> None:
    """An error's id is a string."""
    assert refused(new_answer({"error": "x", "errorId": identifier}, 400)).error_id is None


def test_identifiers() -> None:
    """Ids of Okta's and of gateways before it are told as they are."""
    for identifier in ("oaeAb12-_.", "Yx1@host:443/+=", "a" * 128):
        answer = new_answer(GRANT, headers={"X-Okta-Request-Id": identifier})

        assert granted(answer).request_id == identifier


def test_the_first_request_id_counts() -> None:
    """Of several values of a header, the first is told."""
    headers = [("X-Okta-Request-Id", "one"), ("x-okta-request-id", "other")]

    assert new_answer(headers=headers).request_id == "one"


@pytest.mark.parametrize("spell", [str, quote_plus, repr], ids=["raw", "form", "repr"])
def test_an_echoed_secret_is_withheld(spell: type[str]) -> None:
    """A server that repeats the secret does not get it into an error, wherever it puts it."""
    secret = "p%ss+w/o rd&Aa1"
    echo = spell(secret).strip("'")
    body = {
        "error": f"bad {echo}",
        "error_description": f"the secret {echo} is wrong",
        "errorId": f"id-{echo}",
    }
    headers = {"X-Okta-Request-Id": f"id-{echo}", "X-Debug": f"form: {echo}"}

    for status in (400, 429, 500, 200, 302):
        error = refused(new_answer(body, status, headers, [secret]))

        assert secret not in everything(error)
        assert echo not in everything(error)
        assert error.headers["X-Debug"] == "form: [withheld]"


@pytest.mark.parametrize("name", ["access_token", "id_token", "refresh_token"])
@pytest.mark.parametrize("status", [200, 302, 400, 429, 503])
def test_a_token_is_a_secret_of_the_answer(name: str, status: int) -> None:
    """A server that repeats a token where it speaks does not get it into an error."""
    body = {
        name: VALUE,
        "error": VALUE,
        "error_description": f"made {quote_plus(VALUE)}",
        "errorId": VALUE,
    }
    headers = {"X-Okta-Request-Id": VALUE, "Location": f"https://app.example/#token={VALUE}"}
    error = refused(new_answer(body, status, headers))

    assert VALUE not in everything(error)
    assert (error.request_id, error.error_id) == (None, None)
    assert error.headers["Location"] == "https://app.example/#token=[withheld]"


def test_the_name_of_a_header_is_scrubbed() -> None:
    """A server that repeats the secret as the name of a header does not get it into an error."""
    error = refused(new_answer(b"", 500, {f"X-{SECRET}": "1"}))

    assert error.headers == {"X-[withheld]": "1"}


def test_a_description_is_one_line() -> None:
    """The words of a server can neither forge a log line nor flood the log."""
    body = {"error": "a\r\nb" + "c" * 1_000, "error_description": "d\x1b[0m\n" + "e" * 1_000}
    error = refused(new_answer(body, 400))

    assert isinstance(error, OAuthError)
    assert str(error).isprintable()
    assert len(error.error) == 64
    assert len(error.description) == 500


@pytest.mark.parametrize("name", ["access_token", "token_type", "expires_in", "scope", "other"])
@pytest.mark.parametrize("value", [f"{CANARY}\n", [CANARY], {CANARY: CANARY}], ids=repr)
@pytest.mark.parametrize("status", [200, 201, 302, 400, 408, 429, 500])
def test_no_value_of_a_body_is_repeated(name: str, value: object, status: int) -> None:
    """An error about a grant repeats nothing of it."""
    grant = {**GRANT, "expires_in": 0} if name == "other" else GRANT
    error = refused(new_answer({**grant, name: value}, status))

    assert CANARY not in everything(error)
    assert VALUE not in everything(error)


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        (DATE, NOW),
        ("Fri, 15 Jan 2027 08:00:00 +0000", NOW),
        ("Fri, 15 Jan 2027 09:30:00 +0130", NOW),
        ("Friday, 15-Jan-27 08:00:00 GMT", NOW),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("2027-01-15T08:00:00Z", None),
        ("Fri, 32 Jan 2027 08:00:00 GMT", None),
        ("Fri, 15 Jan 2027 08:00:00 +9999", None),
        ("Fri, 15 Jan 99999999999 08:00:00 GMT", None),
    ],
)
def test_server_time(date: str | None, seconds: float | None) -> None:
    """The server's time is its Date, in each of its spellings, or unknown."""
    assert new_answer(headers={} if date is None else {"Date": date}).server_time == seconds


@QUICK
@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - Hypothesis adds the zone
def test_any_server_time(moment: datetime) -> None:
    """Every second that HTTP can spell is read."""
    moment = moment.replace(microsecond=0)
    answer = new_answer(headers={"Date": format_datetime(moment, usegmt=True)})

    assert answer.server_time == moment.timestamp()


def reset_in(*seconds: int) -> str:
    """Return a reset so many seconds after the answer's date."""
    return ", ".join(str(int(NOW) + each) for each in seconds)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        pytest.param([("X-Rate-Limit-Reset", reset_in(30))], 31, id="reset"),
        pytest.param([("x-rate-limit-reset", reset_in(30))], 31, id="lower-case"),
        pytest.param([("X-Rate-Limit-Reset", reset_in(0))], 1, id="now"),
        pytest.param([("X-Rate-Limit-Reset", reset_in(-1))], 0, id="just-over"),
        pytest.param([("X-Rate-Limit-Reset", reset_in(-500))], 0, id="long-over"),
        pytest.param([("X-Rate-Limit-Reset", "0")], 0, id="zero"),
        pytest.param([("X-Rate-Limit-Reset", reset_in(5, 40, 20))], 41, id="joined"),
        pytest.param(
            [("X-Rate-Limit-Reset", reset_in(40)), ("X-Rate-Limit-Reset", reset_in(5))],
            41,
            id="repeated",
        ),
        pytest.param([("X-Rate-Limit-Reset", f"soon,{reset_in(7)}, ,-5")], 8, id="partly-unusable"),
        pytest.param([("X-Rate-Limit-Reset", "soon")], None, id="unusable"),
        pytest.param([("X-Rate-Limit-Reset", f"{NOW}")], None, id="fraction"),
        pytest.param([("X-Rate-Limit-Reset", "9" * 16)], None, id="absurd"),
        pytest.param([("X-Rate-Limit-Reset", "")], None, id="empty"),
        pytest.param([("Retry-After", "17")], 17, id="retry-after"),
        pytest.param([("Retry-After", "5"), ("Retry-After", "17, 6")], 17, id="retry-after-again"),
        pytest.param([("Retry-After", DATE)], None, id="retry-after-date"),
        pytest.param([("Retry-After", "-5")], None, id="retry-after-negative"),
        pytest.param(
            [("X-Rate-Limit-Reset", reset_in(3)), ("Retry-After", "60")], 4, id="reset-first"
        ),
        pytest.param(
            [("X-Rate-Limit-Reset", "soon"), ("Retry-After", "60")], 60, id="reset-unusable"
        ),
        pytest.param([], None, id="nothing"),
    ],
)
def test_pauses(headers: list[tuple[str, str]], pause: float | None) -> None:
    """A pause ends a second after the latest reset, by the server's clock alone."""
    answer = new_answer(b"", 429, [("Date", DATE), *headers])

    assert requested_pause(answer, clock_offset=0.0) == pause
    assert requested_pause(answer, clock_offset=-86_400.0) == pause


@pytest.mark.parametrize("name", ["X-Rate-Limit-Reset", "Retry-After"])
def test_a_pause_is_a_day_at_most(name: str) -> None:
    """A pause that no calendar could tell the end of is cut, whatever a policy would allow."""
    assert requested_pause(new_answer(b"", 429, {name: "9" * 15}), clock_offset=0.0) == 24 * 3_600


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_pause_without_a_date(date: str | None) -> None:
    """Without a usable Date the server's clock is what the last answers told of it."""
    headers = {"X-Rate-Limit-Reset": reset_in(30)} | ({} if date is None else {"Date": date})
    answer = new_answer(b"", 429, headers)

    assert requested_pause(answer, clock_offset=0.0) == 31
    assert requested_pause(answer, clock_offset=20.0) == 11
    assert requested_pause(answer, clock_offset=-20.0) == 51


@pytest.mark.parametrize("limit", ["0", " 0 ", "00"])
def test_concurrency(limit: str) -> None:
    """A limit of zero, which no window has, is a limit on concurrency."""
    headers = {"x-rate-limit-limit": limit, "X-Rate-Limit-Remaining": "0"}

    assert is_concurrency_limit(new_answer(b"", 429, headers))


@pytest.mark.parametrize(
    "headers", [{"X-Rate-Limit-Limit": "600"}, {"X-Rate-Limit-Limit": "-"}, {}]
)
def test_no_concurrency(headers: dict[str, str]) -> None:
    """Any other limit, or none, is one on the requests in a window."""
    answer = new_answer(b"", 429, headers | {"X-Rate-Limit-Remaining": "0"})

    assert not is_concurrency_limit(answer)


canaries = st.sampled_from([SECRET, f"bad {SECRET}.", quote_plus(SECRET)])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**20), st.floats(), st.text(max_size=20)
)
fields = st.dictionaries(
    st.sampled_from(
        ["token_type", "expires_in", "scope", "error", "errorCode", "errorSummary", "errorId"]
    ),
    st.one_of(canaries, scalars, st.lists(scalars, max_size=2), st.just("Bearer"), st.just(300)),
)
bodies = st.one_of(
    st.binary(max_size=200),
    fields.map(lambda body: json.dumps(body).encode()),
    fields.map(lambda body: json.dumps({**body, "access_token": VALUE}).encode()),
    fields.map(lambda body: json.dumps({**GRANT, **body}).encode()),
    fields.map(lambda body: json.dumps({**body, "error_description": SECRET}).encode()),
    st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(
        lambda body: json.dumps(body).encode()
    ),
)
header_lists = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Date",
                "Retry-After",
                "Set-Cookie",
                "X-Okta-Request-Id",
                "X-Rate-Limit-Limit",
                "X-Rate-Limit-Reset",
            ]
        ),
        st.one_of(
            canaries,
            st.text(max_size=20),
            st.integers(-10, 10**18).map(str),
            st.sampled_from([DATE, "0", "0,0", reset_in(9), "Fri, 15 Jan 2027 08:00:00 -2400"]),
        ),
    ),
    max_size=5,
)
statuses = st.one_of(st.sampled_from(list(HTTPStatus)).map(int), st.integers(100, 999))


@THOROUGH
@given(bodies, statuses, header_lists)
def test_any_answer(body: bytes, status: int, headers: list[tuple[str, str]]) -> None:
    """Any answer is a grant or an error, and shows neither the secret nor the token."""
    answer = new_answer(body, status, headers)
    outcome = parse_token_response(answer, REQUESTED)

    if isinstance(outcome, TokenResponse):
        assert status == 200
        assert 0 < outcome.lifetime <= MAX_LIFETIME
        assert (outcome.value, outcome.token_type) == (VALUE, "Bearer")
        assert VALUE not in repr(outcome)
    else:
        assert isinstance(outcome, FetchError)
        assert SECRET not in everything(outcome)
        assert VALUE not in everything(outcome)
        assert str(outcome).isprintable()


@QUICK
@given(header_lists, st.floats(-1e6, 1e6))
def test_any_pause(headers: list[tuple[str, str]], clock_offset: float) -> None:
    """Whatever the headers of a 429 hold, the pause is unknown or a finite time from now on."""
    answer = new_answer(b"", 429, headers)
    pause = requested_pause(answer, clock_offset)

    assert pause is None or 0 <= pause < math.inf
    assert is_concurrency_limit(answer) in {True, False}


def test_a_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server tells of its time does not depend on where this machine stands."""
    with_zone = new_answer(headers={"Date": "Fri, 15 Jan 2027 08:00:00 GMT"}).server_time
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        without = [
            new_answer(headers={"Date": date}).server_time
            for date in ("Fri Jan 15 08:00:00 2027", "Fri, 15 Jan 2027 08:00:00 -0000")
        ]
    finally:
        monkeypatch.undo()
        time.tzset()

    assert without == [with_zone, with_zone]


def test_a_limit_of_nothing_that_was_repeated_is_one_on_concurrency() -> None:
    """A proxy that joins equal headers does not turn one sort of limit into the other."""
    assert is_concurrency_limit(new_answer(b"", 429, {"X-Rate-Limit-Limit": "0, 0"}))
    assert not is_concurrency_limit(new_answer(b"", 429, {"X-Rate-Limit-Limit": "0, 600"}))


def test_a_lifetime_below_all_numbers_has_ended() -> None:
    """A negative lifetime too large for a float is no long one."""
    body = json.dumps(GRANT).replace("3600", "-1" + "0" * 400).encode()

    assert "expired when it arrived" in str(refused(new_answer(body)))


def test_a_time_out_of_the_server_may_mend_itself_in_any_format() -> None:
    """A 408 is retryable, whatever its body says."""
    body = {"error": "invalid_request", "error_description": "too slow"}

    assert refused(new_answer(body, 408)).retryable
    assert refused(new_answer(b"<html>", 408)).retryable


# After a refusal


@pytest.mark.parametrize(
    ("error", "description", "proof", "amendment"),
    [
        ("use_dpop_nonce", "Authorization server requires nonce in DPoP proof.", True, "NONCE"),
        ("use_dpop_nonce", "Authorization server requires nonce in DPoP proof.", False, None),
        ("invalid_dpop_proof", "The DPoP proof JWT has already been used.", True, "TIME"),
        ("invalid_dpop_proof", "The DPoP proof JWT header is missing.", False, None),
        ("invalid_client", "The client_assertion token is expired.", False, "TIME"),
        ("invalid_client", "The client_assertion token is expired.", True, "TIME"),
        ("invalid_client", "... an expiration too far into the future.", False, "TIME"),
        ("invalid_client", "... must be issued before current time.", False, "TIME"),
        ("invalid_client", "client_assertion token has already been used", False, "TIME"),
        ("invalid_client", '"jti" was seen', False, "TIME"),
        ("invalid_client", "The client secret supplied ... is invalid.", False, "CREDENTIAL"),
        ("invalid_client", "", True, "CREDENTIAL"),
        ("invalid_client", "nothing of an adjtime", False, "CREDENTIAL"),
        ("invalid_scope", "The scope is expired.", True, None),
        ("access_denied", "", False, None),
    ],
)
def test_amendments(*, error: str, description: str, proof: bool, amendment: str | None) -> None:
    """What a refusal says tells what to change before one more request, if anything."""
    body = {"error": error, "error_description": description}
    found = immediate_retry_for(refused(new_answer(body, 400)), proof=proof, mistimed=False)

    assert found == (None if amendment is None else ImmediateRetry[amendment])


def test_other_errors_are_not_amended() -> None:
    """Only what Okta refuses can be amended: a server's failure is retried, or is not."""
    for answer in (new_answer(b"", 500), new_answer(b"", 429), new_answer({}, 200)):
        error = parse_token_response(answer, frozenset())
        assert isinstance(error, FetchError)
        assert immediate_retry_for(error, proof=True, mistimed=True) is None


def test_a_refusal_without_a_reason_may_be_for_the_time() -> None:
    """A clock that proved wrong, and dated an assertion, is to blame for any `invalid_client`."""
    for error, amendment in (("invalid_client", ImmediateRetry.TIME), ("invalid_scope", None)):
        answer = new_answer({"error": error, "error_description": "Failed."}, 401)
        assert immediate_retry_for(refused(answer), proof=False, mistimed=True) == amendment


@pytest.mark.parametrize("body", [b"", b"<html>", {"anything": "else"}])
def test_a_revocation_is_a_200(body: object) -> None:
    """Whatever is in a 200 of the revocation endpoint, the token is of no use (RFC 7009)."""
    assert parse_revocation_response(new_answer(body, 200)) is None


def test_a_refused_revocation_is_an_error() -> None:
    """Other answers are the errors that the token endpoint's are."""
    error = parse_revocation_response(new_answer({"error": "invalid_client"}, 401))

    assert isinstance(error, OAuthError)
    assert isinstance(parse_revocation_response(new_answer(b"", 503)), ServerError)
    assert isinstance(parse_revocation_response(new_answer(b"", 204)), InvalidResponseError)


@pytest.mark.parametrize(
    ("headers", "nonce"),
    [
        ({"DPoP-Nonce": "eyJ7S_zG.eyJH0-Z.HX4w-7v"}, "eyJ7S_zG.eyJH0-Z.HX4w-7v"),
        ({"dpop-nonce": "x"}, "x"),
        ({}, None),
        ({"DPoP-Nonce": ""}, None),
        ({"DPoP-Nonce": 'a"b'}, None),
        ({"DPoP-Nonce": "a b"}, None),
        ({"DPoP-Nonce": "x" * 1_025}, None),
    ],
)
def test_nonces(headers: dict[str, str], nonce: str | None) -> None:
    """A nonce is what RFC 9449 section 8.1 allows, and not without end."""
    assert new_answer(b"", 200, headers).dpop_nonce == nonce
