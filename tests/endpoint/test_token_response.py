"""Token responses: the token that a response holds, its lifetime and its scopes."""

from __future__ import annotations

import json
import math
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens import DPoP
from okta_tokens._endpoint.token_response import (
    MAX_LIFETIME,
    TokenResponse,
    parse_revocation_response,
    parse_token_response,
)
from okta_tokens.errors import FetchError, InvalidResponseError, OAuthError, ServerError
from tests.endpoint.responses import (
    NOT_JSON,
    QUICK,
    REQUESTED,
    SECRET,
    SENT,
    TOKEN_FIELDS,
    VALUE,
    canaries,
    error_in,
    header_lists,
    invalid_error_in,
    key_for,
    new_response,
    text_of,
    token_in,
)

THOROUGH = settings(QUICK, max_examples=100)

CANARY = "canary-of-the-body"

KEY = key_for()

INVALID_TOKEN = "access_token is missing or holds forbidden characters; check the domain"
INVALID_TYPE = "token_type is neither Bearer nor DPoP; check the domain"
BOUND = (
    "the token is bound to a key, but a bearer token was requested; check the app's DPoP setting, "
    "or give the client dpop=DPoP()"
)
NOT_BOUND = (
    "the token is not bound to a key, but a bound one was requested; check the app's DPoP setting"
)
INVALID_LIFETIME = "expires_in is missing or is not a number of seconds; check the domain"
EXPIRED = "the token had expired when it arrived; check the token lifetime"
INVALID_SCOPE = "scope is not a string of scope names; check the domain"


def fields_without(name: str) -> dict[str, object]:
    """Return the fields of a token response without one of them."""
    return {key: value for key, value in TOKEN_FIELDS.items() if key != name}


# The token


def test_a_token_response_is_parsed() -> None:
    """A token response holds the token, its scopes, and the moment before the request was sent."""
    response = new_response(TOKEN_FIELDS, headers={"X-Okta-Request-Id": "reqAb12"})

    assert parse_token_response(response, key_for()) == TokenResponse(
        value=VALUE,
        token_type="Bearer",
        lifetime=3_600.0,
        scope=REQUESTED,
        sent=SENT,
        response=response,
    )


def test_the_repr_shows_no_token() -> None:
    """The repr of a token response does not show the token."""
    assert VALUE not in repr(token_in(new_response(TOKEN_FIELDS)))


@pytest.mark.parametrize("token_type", ["bearer", "BEARER"])
def test_the_token_type_is_parsed_in_any_case(token_type: str) -> None:
    """The token type may have any case, and the token response has one spelling of it."""
    response = new_response({**TOKEN_FIELDS, "token_type": token_type})

    assert token_in(response).token_type == "Bearer"


@pytest.mark.parametrize("token_type", ["DPoP", "dpop"])
def test_an_unrequested_bound_token_is_invalid(token_type: str) -> None:
    """A token that is bound to a key is invalid if a bearer token was requested."""
    error = invalid_error_in(new_response({**TOKEN_FIELDS, "token_type": token_type}))

    assert error.args == (f"the response (200) is invalid: {BOUND}",)
    assert not error.retryable


@pytest.mark.parametrize("token_type", ["DPoP", "dpop"])
def test_a_requested_bound_token_is_parsed(token_type: str) -> None:
    """A token that is bound to a key is valid if a bound token was requested."""
    response = new_response({**TOKEN_FIELDS, "token_type": token_type})
    result = parse_token_response(response, key_for("", DPoP()))

    assert isinstance(result, TokenResponse)
    assert result.token_type == "DPoP"


def test_a_bearer_token_in_place_of_a_bound_token_is_invalid() -> None:
    """A bearer token is invalid if a token that is bound to a key was requested."""
    error = parse_token_response(new_response(TOKEN_FIELDS), key_for("", DPoP()))

    assert isinstance(error, InvalidResponseError)
    assert error.args == (f"the response (200) is invalid: {NOT_BOUND}",)
    assert not error.retryable


@pytest.mark.parametrize("token_type", ["N_A", "Bearer ", None, ["Bearer"]])
def test_another_token_type_is_invalid(token_type: object) -> None:
    """A token of a type other than `Bearer` and `DPoP` is invalid."""
    error = invalid_error_in(new_response({**TOKEN_FIELDS, "token_type": token_type}))

    assert error.args == (f"the response (200) is invalid: {INVALID_TYPE}",)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("access_token", INVALID_TOKEN),
        ("token_type", INVALID_TYPE),
        ("expires_in", INVALID_LIFETIME),
    ],
)
def test_a_missing_field_is_invalid(name: str, why: str) -> None:
    """A token response without one of its three required fields is invalid, and not retried."""
    error = invalid_error_in(new_response(fields_without(name)))

    assert error.args == (f"the response (200) is invalid: {why}",)
    assert error.status == 200
    assert not error.retryable


def test_a_token_may_hold_every_printable_ascii_character() -> None:
    """A token may hold every character that a header may hold, except the space."""
    value = "".join(map(chr, range(0x21, 0x7F)))

    assert token_in(new_response({**TOKEN_FIELDS, "access_token": value})).value == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"{VALUE}\r\nX-Injected: 1",
        f"{VALUE}\n",
        f" {VALUE}",
        f"{VALUE}\x7f",
        f"{VALUE}\u00e9",
        f"{VALUE}\ud800",
        None,
        [VALUE],
    ],
    ids=ascii,
)
def test_a_token_that_cannot_be_a_header_is_invalid(value: object) -> None:
    """A token that no header may hold is invalid, and the error does not repeat the token."""
    error = invalid_error_in(new_response({**TOKEN_FIELDS, "access_token": value}))

    assert error.args == (f"the response (200) is invalid: {INVALID_TOKEN}",)
    assert VALUE not in text_of(error)


def test_unknown_fields_are_ignored() -> None:
    """A token response may hold unknown fields of any depth."""
    others: dict[str, object] = {"refresh_token": "x", "id_token": None, "extra": [[[{}]]]}

    assert token_in(new_response({**TOKEN_FIELDS, **others})).value == VALUE


@pytest.mark.parametrize("status", [201, 204, 299])
def test_only_status_200_is_a_success(status: int) -> None:
    """A token response with another successful status than 200 is invalid."""
    error = invalid_error_in(new_response(TOKEN_FIELDS, status))

    assert error.args == (f"the response ({status}) is invalid: {NOT_JSON}",)
    assert error.status == status


# The lifetime


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (1, 1.0),
        (0.5, 0.5),
        ("1", 1.0),
        ("00060", 60.0),
        (MAX_LIFETIME, MAX_LIFETIME),
        (MAX_LIFETIME + 1, MAX_LIFETIME),
        ("999999999999999", MAX_LIFETIME),
        (10**400, MAX_LIFETIME),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_a_lifetime_is_a_number_of_seconds_up_to_thirty_days(
    expires_in: object, lifetime: float
) -> None:
    """A lifetime is a number of seconds, also as a string or a fraction, and is cut to 30 days."""
    assert MAX_LIFETIME == 30 * 24 * 3_600
    assert token_in(new_response({**TOKEN_FIELDS, "expires_in": expires_in})).lifetime == lifetime


@pytest.mark.parametrize(
    "expires_in",
    [
        None,
        True,
        math.nan,
        math.inf,
        "",
        "-5",
        "3600.0",
        "3600\n",
        "٣٦٠٠",
        "9" * 16,
        [3600],
    ],
    ids=ascii,
)
def test_an_invalid_lifetime_is_not_guessed(expires_in: object) -> None:
    """A token whose lifetime is not a number of seconds is invalid, since a guess is unsafe."""
    error = invalid_error_in(new_response({**TOKEN_FIELDS, "expires_in": expires_in}))

    assert error.args == (f"the response (200) is invalid: {INVALID_LIFETIME}",)
    assert not error.retryable


@pytest.mark.parametrize("number", [b"1e999", b"-1e999"])
def test_a_number_beyond_the_range_of_floats_is_not_a_lifetime(number: bytes) -> None:
    """A number that the JSON parser turns into infinity is not a lifetime."""
    body = json.dumps(TOKEN_FIELDS).encode().replace(b"3600", number)

    assert invalid_error_in(new_response(body)).args == (
        f"the response (200) is invalid: {INVALID_LIFETIME}",
    )


@pytest.mark.parametrize(
    "expires_in", [0, -0.5, "0", -(10**400)], ids=lambda value: f"{value!r:.20}"
)
def test_a_token_that_expired_on_arrival_is_invalid(expires_in: object) -> None:
    """A token without remaining life is invalid, and a retry may help."""
    error = invalid_error_in(new_response({**TOKEN_FIELDS, "expires_in": expires_in}))

    assert error.args == (f"the response (200) is invalid: {EXPIRED}",)
    assert error.retryable


# The scopes


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("b  a a", "a b"),
        ("a", "a"),
        ("a b c~", "a b c~"),
        ("", "a b"),
        ("  ", "a b"),
    ],
)
def test_the_granted_scopes_are_those_of_the_response(scope: str, granted: str) -> None:
    """The granted scopes are those that the server names, even if more or fewer were requested."""
    assert token_in(new_response({**TOKEN_FIELDS, "scope": scope})).scope == granted


def test_without_granted_scopes_the_requested_scopes_are_granted() -> None:
    """If the server names no scopes, it has granted the requested scopes."""
    assert token_in(new_response(fields_without("scope"))).scope == REQUESTED
    assert token_in(new_response(fields_without("scope")), "").scope == ""


@pytest.mark.parametrize("scope", [["a"], None, "a\nb", "a\x7f", "caf\u00e9"], ids=ascii)
def test_granted_scopes_that_are_not_a_string_of_names_are_invalid(scope: object) -> None:
    """Granted scopes must be a string of printable ASCII characters."""
    error = invalid_error_in(new_response({**TOKEN_FIELDS, "scope": scope}))

    assert error.args == (f"the response (200) is invalid: {INVALID_SCOPE}",)


def test_granted_scopes_have_at_most_8_kib() -> None:
    """Granted scopes of 8 KiB are parsed; longer ones are invalid."""
    longest = "a " * 4 * 1024

    assert token_in(new_response({**TOKEN_FIELDS, "scope": longest})).scope == "a"

    error = invalid_error_in(new_response({**TOKEN_FIELDS, "scope": f"{longest}b"}))

    assert error.args == (
        "the response (200) is invalid: scope is longer than 8 KiB; check the domain",
    )


# Revocation


@pytest.mark.parametrize("body", [b"", {"anything": "else"}, {"error": "Not an error code"}])
def test_a_200_means_that_the_token_is_revoked(body: object) -> None:
    """A 200 without an error code means that the token is revoked (RFC 7009 section 2.2)."""
    assert parse_revocation_response(new_response(body, 200), KEY) is None


def test_a_revocation_error_inside_a_200_is_that_error() -> None:
    """A token whose revocation Okta refuses is not revoked, whatever the status is."""
    error = parse_revocation_response(new_response({"error": "invalid_client"}, 200), KEY)

    assert isinstance(error, OAuthError)
    assert error.error == "invalid_client"


def test_any_other_revocation_response_is_an_error() -> None:
    """Another status than 200 is the same error as for the token endpoint."""
    error = parse_revocation_response(new_response({"error": "invalid_client"}, 401), KEY)

    assert isinstance(error, OAuthError)
    assert isinstance(parse_revocation_response(new_response(b"", 503), KEY), ServerError)
    assert isinstance(parse_revocation_response(new_response(b"", 204), KEY), InvalidResponseError)


# Any response


@pytest.mark.parametrize("name", ["access_token", "token_type", "expires_in", "scope", "other"])
def test_an_error_repeats_no_value_of_a_token_response(name: str) -> None:
    """An error about a token response repeats no value of its body, whatever the status."""
    fields = {**TOKEN_FIELDS, "expires_in": 0} if name == "other" else TOKEN_FIELDS
    for status in (200, 201, 302, 400, 408, 429, 500):
        for value in (f"{CANARY}\n", [CANARY], {CANARY: CANARY}):
            error = error_in(new_response({**fields, name: value}, status))

            assert CANARY not in text_of(error)
            assert VALUE not in text_of(error)


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
    fields.map(lambda body: json.dumps({**TOKEN_FIELDS, **body}).encode()),
    fields.map(lambda body: json.dumps({**body, "error_description": SECRET}).encode()),
    st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(
        lambda body: json.dumps(body).encode()
    ),
)
statuses = st.one_of(st.sampled_from(list(HTTPStatus)).map(int), st.integers(100, 999))


@THOROUGH
@given(bodies, statuses, header_lists)
def test_any_response_is_a_token_or_an_error_and_shows_no_secret(
    body: bytes, status: int, headers: list[tuple[str, str]]
) -> None:
    """Any response is a token response or an error, and shows neither the secret nor the token."""
    result = parse_token_response(new_response(body, status, headers), KEY)

    if isinstance(result, TokenResponse):
        assert status == 200
        assert 0 < result.lifetime <= MAX_LIFETIME
        assert (result.value, result.token_type) == (VALUE, "Bearer")
        assert VALUE not in repr(result)
    else:
        assert isinstance(result, FetchError)
        assert SECRET not in text_of(result)
        assert VALUE not in text_of(result)
        assert str(result).isprintable()
