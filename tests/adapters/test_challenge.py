"""What a 401 complains about."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okta_tokens.adapters._challenge import Fault, find_fault


@pytest.mark.parametrize(
    "challenges",
    [
        [],
        [""],
        ["Bearer"],
        ['Bearer realm="acme"'],
        ['Bearer realm="acme", error="invalid_token", error_description="expired, sorry"'],
        ["bearer error=invalid_token"],
        ['Bearer error = "invalid_token"'],
        ['Basic realm="x", Bearer error="invalid_token"'],
        ['Basic realm="x"', 'Bearer error="invalid_token"'],
        ['Bearer error="invalid_token", DPoP algs="ES256", error="use_dpop_nonce"'],
        ['Basic realm="api"'],
        ["Negotiate abc=="],
        ['JWT error="token_expired"'],
        ['Bearer error="expired_token"'],
        ['Bearer realm="error=\\"insufficient_scope\\""'],
        ['Bearer x="error=insufficient_scope", error="invalid_token"'],
        ['Bearer error="'],
    ],
    ids=str,
)
def test_who_names_no_other_reason_means_the_token(challenges: list[str]) -> None:
    """`invalid_token`, an unknown reason and none at all are complaints about the token."""
    assert find_fault(challenges, "Bearer") is Fault.TOKEN


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
def test_some_reasons_no_new_token_mends(challenge: str) -> None:
    """A token that lacks a scope, or a request that is malformed, is not the token's fault."""
    assert find_fault([challenge], "Bearer") is Fault.OTHER


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
def test_a_proof_is_at_fault_where_the_server_says_so(challenges: list[str]) -> None:
    """Of several challenges the one for the scheme that was used counts."""
    assert find_fault(challenges, "DPoP") is Fault.PROOF


@given(st.lists(st.text(alphabet=' ,="\\aBearerDPoPerror_token;\x00é\t', max_size=200), max_size=3))
def test_any_header_has_a_meaning(challenges: list[str]) -> None:
    """Whatever a server sends, it is read without an error."""
    assert find_fault(challenges, "Bearer") in Fault


@pytest.mark.parametrize("piece", ['"', "\\", 'a="\\', "a=", 'a="b" ', ",", " ", "="])
def test_reading_takes_a_moment(piece: str) -> None:
    """The time that it takes grows with the header, and not faster."""
    began = time.process_time()

    find_fault([piece * (100_000 // len(piece))], "Bearer")

    assert time.process_time() - began < 1
