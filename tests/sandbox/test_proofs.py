"""DPoP proofs are judged as RFC 9449 §4.3 and Okta want them."""

from __future__ import annotations

from typing import Any

import pytest

from okta_tokens.sandbox import _proofs as rules
from okta_tokens.sandbox._answers import Refusal
from okta_tokens.sandbox._proofs import Proof, examine, target
from tests.sandbox.jwts import CURVES, ec_key, key_for, proof, public, rsa_key
from tests.sandbox.support import START

URL = "https://acme.okta.com/oauth2/default/v1/token"
TOKEN = "the-access-token"


def judged(*headers: str, method: str = "POST", url: str = URL, token: str | None = None) -> Proof:
    """Examine the proof of a request."""
    return examine(headers, method=method, url=url, now=START, token=token)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", *CURVES])
def test_six_algorithms_prove_the_possession_of_a_key(algorithm: str) -> None:
    """A proof tells the thumbprint of its key, its nonce, and until when it is good."""
    key = key_for(algorithm)
    result = judged(proof(URL, key, algorithm=algorithm, jti="one", nonce="n"))

    assert result == Proof(key.thumbprint(), "one", "n", START + 60)


def test_a_large_key_fits_into_the_header() -> None:
    """An RSA key of 3072 bits, which some clients use, makes a long header and is accepted."""
    key = rsa_key(bits=3072)

    assert judged(proof(URL, key, algorithm="RS256")).jkt == key.thumbprint()


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ([], rules.MISSING),
        ([proof(URL), proof(URL)], rules.MULTIPLE),
        ([f"{proof(URL)}, {proof(URL)}"], rules.UNREADABLE),
        ([""], rules.UNREADABLE),
    ],
    ids=["none", "two", "joined", "empty"],
)
def test_there_is_exactly_one_proof(headers: list[str], refusal: Refusal) -> None:
    """No header, two, or two in one are refused."""
    assert judged(*headers).refusal is refusal


SMALL = {"kty": "RSA", "e": "AQAB", "n": "x" * 100}


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({"header": {"typ": None}}, "'typ'"),
        ({"header": {"typ": "JWT"}}, "'typ'"),
        ({"key": rsa_key(), "algorithm": "PS256"}, "'alg'"),
        ({"header": {"jwk": None}}, "'jwk'"),
        ({"header": {"jwk": SMALL}}, "'jwk'"),
        ({"header": {"jwk": {**ec_key().as_dict(private=True)}}}, "'jwk'"),
        ({"header": {"jwk": {"kty": "oct", "k": "AAAA"}}}, "'jwk'"),
        ({"header": {"jwk": public(ec_key("two"))}}, "signature"),
        ({"header": {"jwk": public(ec_key(), use="enc")}}, "'jwk'"),
        ({"htm": "GET"}, "'htm'"),
        ({"htm": "post"}, "'htm'"),
        ({"htm": None}, "'htm'"),
        ({"htu": None}, "'htu'"),
        ({"htu": URL + "/"}, "'htu'"),
        ({"htu": URL + "?a=b"}, "'htu'"),
        ({"htu": URL + "#a"}, "'htu'"),
        ({"htu": URL.replace("https", "http")}, "'htu'"),
        ({"htu": URL.replace("acme", "ACME")}, "'htu'"),
        ({"iat": None}, "'iat'"),
        ({"iat": "now"}, "'iat'"),
        ({"iat": START - 60.5}, "'iat'"),
        ({"iat": START + 5.5}, "'iat'"),
    ],
)
def test_what_proves_nothing_is_refused(changes: dict[str, Any], description: str) -> None:
    """Each rule that a proof breaks has its refusal, a 400 invalid_dpop_proof."""
    refusal = judged(proof(URL, **changes)).refusal

    assert refusal is not None
    assert (refusal.status, refusal.error) == (400, "invalid_dpop_proof")
    assert description in refusal.description


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
def test_what_keeps_the_rules_counts(changes: dict[str, Any]) -> None:
    """The date may touch its limits, a key may have further members."""
    assert judged(proof(URL, **changes)).refusal is None


def test_okta_says_it_in_these_words() -> None:
    """The refusals whose words are known are in these words."""
    assert rules.MISSING.description == "The DPoP proof JWT header is missing."
    assert rules.UNREADABLE.description == "DPoP proof JWT cannot be parsed."
    assert rules.USED.description == "The DPoP proof JWT has already been used."
    misdirected = judged(proof(URL, htu="https://elsewhere.example"))
    assert misdirected.refusal is not None
    assert misdirected.refusal.description == "'htu' claim in the DPoP proof JWT is invalid."


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/users/me", "/users/me"),
        ("/users/a%40b.example", "/users/a@b.example"),
        ("/groups/a%2Fb", "/groups/a/b"),
        ("/groups/a%20b", "/groups/a%20b"),
        ("/groups/100%25", "/groups/100%25"),
        ("/groups/%22a%22%23", "/groups/%22a%22%23"),
        ("/groups/caf%C3%A9", "/groups/caf\u00e9"),
        ("/groups/a+b", "/groups/a+b"),
    ],
)
def test_the_path_is_decoded_before_it_is_compared(path: str, expected: str) -> None:
    """Okta compares with the decoded path, in which only % space " and # are encoded again."""
    url, htu = "https://acme.okta.com" + path, "https://acme.okta.com" + expected

    assert target(url) == htu
    assert judged(proof(htu, method="GET"), method="GET", url=url).refusal is None
    literal = judged(proof(url, method="GET"), method="GET", url=url)
    assert (literal.refusal is None) is (path == expected)


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"token": TOKEN}, True),
        ({"token": "another"}, False),
        ({"token": TOKEN, "ath": None}, False),
        ({}, False),
    ],
)
def test_with_a_token_comes_its_hash(changes: dict[str, Any], *, good: bool) -> None:
    """At a resource the proof holds the hash of the very token that it comes with."""
    result = judged(proof(URL, **changes), token=TOKEN)

    assert (result.refusal is None) is good
    assert good or (result.refusal is not None and "'ath'" in result.refusal.description)


def test_a_signature_that_is_right_uses_the_proof() -> None:
    """What is rightly signed is used up even where it is refused; what is not stays usable."""
    assert judged(proof(URL, htm="GET", jti="one")).jti == "one"
    assert judged(proof(URL, iat="now", jti="one")).jti == "one"
    assert judged(proof(URL, header={"jwk": public(ec_key("two"))})) == Proof(
        refusal=rules.WRONG_SIGNATURE
    )


def test_no_repr_shows_a_nonce() -> None:
    """A nonce is no secret, and nobody's business."""
    assert "canary" not in repr(judged(proof(URL, nonce="canary")))
