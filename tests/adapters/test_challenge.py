"""What a 401 rejects, by its `WWW-Authenticate` header."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okta_tokens.adapters._challenge import Rejection, parse_rejection


@pytest.mark.parametrize(
    "challenges",
    [
        ['Bearer realm="acme", error="invalid_token", error_description="expired, sorry"'],
        ["bearer error=invalid_token"],
        ['Bearer error = "invalid_token"'],
        ['Basic realm="x", Bearer error="invalid_token"'],
        ['Basic realm="x"', 'Bearer error="invalid_token"'],
        ['Bearer error="invalid_token", DPoP algs="ES256", error="use_dpop_nonce"'],
        ['Bearer x="error=insufficient_scope", error="invalid_token"'],
    ],
    ids=str,
)
def test_an_error_rejects_the_token(challenges: list[str]) -> None:
    """A response rejects the token if its error is `invalid_token`."""
    assert parse_rejection(challenges, "Bearer") is Rejection.TOKEN


@pytest.mark.parametrize(
    "challenges",
    [
        [],
        ["Bearer"],
        ["Negotiate abc=="],
        ['JWT error="token_expired"'],
        ['Bearer realm="error=\\"insufficient_scope\\""'],
        ['Bearer error="'],
    ],
    ids=str,
)
def test_a_response_may_give_no_reason(challenges: list[str]) -> None:
    """A response without an error, or with an unknown one, gives no reason."""
    assert parse_rejection(challenges, "Bearer") is Rejection.UNSTATED


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer error="insufficient_scope", scope="a b"',
        'Bearer realm="x" , error=insufficient_scope',
        'Bearer error="invalid_request"',
        'Bearer error="insufficient_user_authentication", acr_values="x"',
        'Basic realm="x", Bearer scope="a", error="insufficient_scope"',
        'DPoP error="insufficient_scope"',
    ],
)
def test_some_errors_do_not_reject_the_token(challenge: str) -> None:
    """A missing scope, a missing login and a malformed request are not about the token."""
    assert parse_rejection([challenge], "Bearer") is Rejection.OTHER


@pytest.mark.parametrize(
    "challenges",
    [
        ['DPoP algs="ES256", error="use_dpop_nonce", error_description="nonce, please"'],
        ['DPoP error="invalid_dpop_proof"'],
        ['Bearer error="invalid_token", DPoP error="use_dpop_nonce"'],
        ['Bearer error="invalid_token"', 'dpop error="use_dpop_nonce"'],
    ],
    ids=str,
)
def test_the_challenge_for_the_scheme_of_the_token_decides(challenges: list[str]) -> None:
    """If there are several challenges, the one for the scheme of the token wins."""
    assert parse_rejection(challenges, "DPoP") is Rejection.PROOF


@given(st.lists(st.text(alphabet=' ,="\\aBearerDPoPerror_token;\x00é\t', max_size=200), max_size=3))
def test_every_header_can_be_parsed(challenges: list[str]) -> None:
    """No header value makes the parser raise an error."""
    assert parse_rejection(challenges, "Bearer") in Rejection


@pytest.mark.parametrize("piece", ['"', 'a="\\', "a=", 'a="b" ', " "])
def test_parsing_takes_linear_time(piece: str) -> None:
    """A header of 100,000 characters is parsed in less than a second of CPU time."""
    began = time.process_time()

    parse_rejection([piece * (100_000 // len(piece))], "Bearer")

    assert time.process_time() - began < 1
