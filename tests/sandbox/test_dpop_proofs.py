"""DPoP proofs are checked by the rules of RFC 9449 §4.3 and of Okta."""

from __future__ import annotations

from typing import Any

import pytest

from okta_tokens.sandbox import _dpop_proofs as rules
from okta_tokens.sandbox._dpop_proofs import Proof, check_proof, expected_htu
from okta_tokens.sandbox._responses import ErrorResponse
from tests.sandbox.jwts import CURVES, ec_key, key_for, proof, public, rsa_key
from tests.sandbox.support import START

URL = "https://acme.okta.com/oauth2/default/v1/token"
TOKEN = "the-access-token"


def check(*headers: str, method: str = "POST", url: str = URL, token: str | None = None) -> Proof:
    """Check the proof of a request."""
    return check_proof(headers, method=method, url=url, now=START, token=token)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", *CURVES])
def test_six_algorithms_prove_possession_of_a_key(algorithm: str) -> None:
    """A valid proof has a thumbprint, a nonce and an expiry."""
    key = key_for(algorithm)
    result = check(proof(URL, key, algorithm=algorithm, jti="one", nonce="n"))

    assert result == Proof(key.thumbprint(), "one", "n", START + 60)


def test_a_large_key_fits_into_the_header() -> None:
    """A proof with an RSA key of 3072 bits has a long header, and is accepted."""
    key = rsa_key(bits=3072)

    assert check(proof(URL, key, algorithm="RS256")).jkt == key.thumbprint()


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([], rules.MISSING),
        ([proof(URL), proof(URL)], rules.MULTIPLE),
        ([f"{proof(URL)}, {proof(URL)}"], rules.UNREADABLE),
        ([""], rules.UNREADABLE),
    ],
    ids=["missing", "two", "joined", "empty"],
)
def test_there_is_exactly_one_proof(headers: list[str], error: ErrorResponse) -> None:
    """A missing header, two headers, and two proofs in one header are refused."""
    assert check(*headers).error is error


SMALL = {"kty": "RSA", "e": "AQAB", "n": "x" * 100}


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({"header": {"typ": None}}, "'typ'"),
        ({"key": rsa_key(), "algorithm": "PS256"}, "'alg'"),
        ({"header": {"jwk": None}}, "'jwk'"),
        ({"header": {"jwk": SMALL}}, "'jwk'"),
        ({"header": {"jwk": {**ec_key().as_dict(private=True)}}}, "'jwk'"),
        ({"header": {"jwk": public(ec_key("two"))}}, "signature"),
        ({"htm": "GET"}, "'htm'"),
        ({"htm": "post"}, "'htm'"),
        ({"htu": None}, "'htu'"),
        ({"htu": URL + "/"}, "'htu'"),
        ({"htu": URL + "?a=b"}, "'htu'"),
        ({"htu": URL.replace("https", "http")}, "'htu'"),
        ({"iat": None}, "'iat'"),
        ({"iat": "now"}, "'iat'"),
        ({"iat": START - 60.5}, "'iat'"),
        ({"iat": START + 5.5}, "'iat'"),
    ],
)
def test_an_invalid_proof_is_refused(changes: dict[str, Any], description: str) -> None:
    """Each broken rule is a 400 `invalid_dpop_proof` that names the part of the proof."""
    error = check(proof(URL, **changes)).error

    assert error is not None
    assert (error.status, error.code) == (400, "invalid_dpop_proof")
    assert description in error.description


@pytest.mark.parametrize(
    "changes",
    [
        {"iat": START - 60},
        {"iat": START + 5},
        {"jti": None},
        {"header": {"kid": "one", "x-extra": 1}},
        {"header": {"jwk": public(ec_key(), alg="ES256", use="sig", kid="one")}},
        {"algorithm": "RS256", "header": {"jwk": public(rsa_key(), alg="RS256")}},
    ],
)
def test_a_proof_within_the_limits_is_valid(changes: dict[str, Any]) -> None:
    """The time may equal its limits, and a key may have further members."""
    assert check(proof(URL, **changes)).error is None


def test_errors_have_oktas_wording() -> None:
    """The errors whose wording is known have that wording."""
    assert rules.MISSING.description == "The DPoP proof JWT header is missing."
    assert rules.UNREADABLE.description == "DPoP proof JWT cannot be parsed."
    assert rules.ALREADY_USED.description == "The DPoP proof JWT has already been used."
    wrong_target = check(proof(URL, htu="https://elsewhere.example"))
    assert wrong_target.error is not None
    assert wrong_target.error.description == "'htu' claim in the DPoP proof JWT is invalid."


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/users/me", "/users/me"),
        ("/users/a%40b.example", "/users/a@b.example"),
        ("/groups/a%20b", "/groups/a%20b"),
        ("/groups/100%25", "/groups/100%25"),
        ("/groups/%22a%22%23", "/groups/%22a%22%23"),
        ("/groups/caf%C3%A9", "/groups/caf\u00e9"),
    ],
)
def test_the_path_is_decoded_before_it_is_compared(path: str, expected: str) -> None:
    """Okta compares with the decoded path, in which only `%`, space, `"` and `#` are encoded."""
    url, htu = "https://acme.okta.com" + path, "https://acme.okta.com" + expected

    assert expected_htu(url) == htu
    assert check(proof(htu, method="GET"), method="GET", url=url).error is None
    literal = check(proof(url, method="GET"), method="GET", url=url)
    assert (literal.error is None) is (path == expected)


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({"token": TOKEN}, True),
        ({"token": "another"}, False),
        ({"token": TOKEN, "ath": None}, False),
        ({}, False),
    ],
)
def test_a_proof_for_a_resource_has_the_hash_of_the_token(
    changes: dict[str, Any], *, valid: bool
) -> None:
    """At a resource the proof must have the hash of the token in the same request."""
    result = check(proof(URL, **changes), token=TOKEN)

    assert (result.error is None) is valid
    assert valid or (result.error is not None and "'ath'" in result.error.description)


def test_a_valid_signature_uses_up_the_proof() -> None:
    """A proof with a valid signature is used up even if it is refused; others stay usable."""
    assert check(proof(URL, htm="GET", jti="one")).jti == "one"
    assert check(proof(URL, iat="now", jti="one")).jti == "one"
    assert check(proof(URL, header={"jwk": public(ec_key("two"))})) == Proof(
        error=rules.WRONG_SIGNATURE
    )


def test_the_repr_of_a_proof_does_not_show_the_nonce() -> None:
    """A nonce does not appear in logs."""
    assert "canary" not in repr(check(proof(URL, nonce="canary")))
