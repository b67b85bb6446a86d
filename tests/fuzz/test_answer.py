"""Whatever comes back, what comes out is a grant or a typed error that tells nothing of it."""

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
from tests.fuzz.inputs import FUZZ, GRANT, SECRET, SENT, TOKEN, answers, literals, new_answer

MAX_MESSAGE = 2_000
MAX_TEXT = 500


def everything(error: BaseException) -> str:
    """Return all that an error tells anybody."""
    return f"{error} {error!r} {error.args!r} {vars(error)!r} {error.__cause__!r}"


def check_error(error: FetchError) -> None:
    """Assert that an error tells neither secret nor token, and no more than a log can hold."""
    told = everything(error)

    assert SECRET not in told
    assert TOKEN not in told
    assert str(error).isprintable()
    assert len(str(error)) <= MAX_MESSAGE
    assert all(len(text) <= MAX_TEXT for pair in error.headers.items() for text in pair)
    assert everything(copy.copy(error)) == told


def check_outcome(answer: Response, outcome: TokenResponse | FetchError) -> None:
    """Assert that an answer became a grant that can be kept, or an error that can be told."""
    if isinstance(outcome, FetchError):
        check_error(outcome)
        return

    assert answer.status == 200
    assert len(answer.body) <= MAX_BODY
    assert outcome.value.isascii()
    assert outcome.value.isprintable()
    assert " " not in outcome.value
    assert 0 < outcome.lifetime <= MAX_LIFETIME
    assert outcome.sent == SENT
    assert TOKEN not in repr(outcome)
    assert SECRET not in repr(outcome)
    assert repr(outcome).isprintable()


@settings(FUZZ, max_examples=250)
@given(answers(), st.frozensets(st.sampled_from("abc")))
def test_any_answer_is_read(answer: Response, requested: frozenset[str]) -> None:
    """Any answer is a grant or an error, neither of which shows a secret or the token."""
    check_outcome(answer, parse_token_response(answer, requested))


@FUZZ
@given(st.sampled_from(sorted(GRANT)), literals)
def test_any_value_is_read(name: str, literal: str) -> None:
    """A grant with any value in one of its places is a grant that can be kept, or an error."""
    members = {key: json.dumps(value) for key, value in GRANT.items()} | {name: literal}
    body = ",".join(f'"{key}":{value}' for key, value in members.items()).encode()
    answer = new_answer(200, CIMultiDict(), b"{%b}" % body)

    check_outcome(answer, parse_token_response(answer, frozenset()))


@FUZZ
@given(answers(empty=True), st.floats(-1e12, 1e12))
def test_any_pause_is_told(answer: Response, clock_offset: float) -> None:
    """Whatever the headers hold, a pause is unknown, or finite and not over before it began."""
    pause = requested_pause(answer, clock_offset)

    assert pause is None or 0 <= pause <= MAX_REQUESTED_PAUSE
    assert is_concurrency_limit(answer) in {True, False}
    assert answer.server_time is None or math.isfinite(answer.server_time)
    assert answer.request_id is None or SECRET not in answer.request_id
