"""Any HTTP response becomes a token response or a typed error that reveals no secret."""

from __future__ import annotations

import copy
import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from okta_tokens._endpoint.rate_limits import (
    MAX_REQUESTED_PAUSE,
    is_concurrency_limit,
    requested_pause,
)
from okta_tokens._endpoint.response import MAX_BODY, Response
from okta_tokens._endpoint.token_response import (
    MAX_LIFETIME,
    TokenResponse,
    parse_token_response,
)
from okta_tokens.errors import FetchError
from tests.endpoint.responses import key_for
from tests.fuzz.inputs import (
    FUZZ,
    SECRET,
    SENT,
    TOKEN,
    TOKEN_RESPONSE,
    literals,
    new_response,
    responses,
)

MAX_MESSAGE = 2_000
MAX_TEXT = 500


def visible_text(error: BaseException) -> str:
    """Return every text that an error shows."""
    return f"{error} {error!r} {error.args!r} {vars(error)!r} {error.__cause__!r}"


def check_error(error: FetchError) -> None:
    """Assert that an error reveals neither secret nor token, and is short enough for a log."""
    text = visible_text(error)

    assert SECRET not in text
    assert TOKEN not in text
    assert str(error).isprintable()
    assert len(str(error)) <= MAX_MESSAGE
    assert all(len(text) <= MAX_TEXT for pair in error.headers.items() for text in pair)
    assert visible_text(copy.copy(error)) == text


def check_result(response: Response, result: TokenResponse | FetchError) -> None:
    """Assert that a response became a valid token response, or a safe error."""
    if isinstance(result, FetchError):
        check_error(result)
        return

    assert response.status == 200
    assert len(response.body) <= MAX_BODY
    assert result.value.isascii()
    assert result.value.isprintable()
    assert " " not in result.value
    assert 0 < result.lifetime <= MAX_LIFETIME
    assert result.sent == SENT
    assert TOKEN not in repr(result)
    assert SECRET not in repr(result)
    assert repr(result).isprintable()


@settings(FUZZ, max_examples=250)
@given(responses(), st.sampled_from(["", "a", "a b", "a b c"]))
def test_any_response_is_parsed(response: Response, requested: str) -> None:
    """Any response becomes a token response or an error, and neither reveals a secret."""
    check_result(response, parse_token_response(response, key_for(requested)))


@FUZZ
@given(st.sampled_from(sorted(TOKEN_RESPONSE)), literals)
def test_any_member_is_parsed(name: str, literal: str) -> None:
    """A token response with any value in one member is valid, or becomes an error."""
    members = {key: json.dumps(value) for key, value in TOKEN_RESPONSE.items()} | {name: literal}
    body = ",".join(f'"{key}":{value}' for key, value in members.items()).encode()
    response = new_response(200, CIMultiDict(), b"{%b}" % body)

    check_result(response, parse_token_response(response, key_for("")))


@FUZZ
@given(responses(empty=True), st.floats(-1e12, 1e12))
def test_any_pause_is_bounded(response: Response, clock_offset: float) -> None:
    """Any headers give no pause, or one that is neither negative nor longer than the limit."""
    pause = requested_pause(response, clock_offset)

    assert pause is None or 0 <= pause <= MAX_REQUESTED_PAUSE
    assert isinstance(is_concurrency_limit(response), bool)
    assert response.server_time is None or math.isfinite(response.server_time)
    request_id = response.request_id("a-token")
    assert request_id is None or SECRET not in request_id
