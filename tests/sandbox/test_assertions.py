"""Client assertions are judged by Okta's rules, and refused in its words."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import OctKey

import okta_tokens.sandbox._answers as answers
from okta_tokens.sandbox import SandboxClient
from okta_tokens.sandbox import _assertions as rules
from okta_tokens.sandbox._answers import Refusal
from okta_tokens.sandbox._assertions import Assertion, examine
from tests.sandbox.jwts import (
    CURVES,
    SECRET,
    asserted,
    assertion,
    ec_key,
    hmac_assertion,
    key_for,
    public,
    rsa_key,
    unsigned,
)
from tests.sandbox.support import START

URL = "https://acme.okta.com/oauth2/default/v1/token"
SIGNER = SandboxClient("signer", keys=[public(ec_key())])
ROTATING = SandboxClient(
    "rotating", keys=[public(ec_key("one")), public(ec_key("two")), public(rsa_key("three"))]
)
NAMELESS = SandboxClient("nameless", keys=[public(ec_key(), kid=None)])
HASHER = SandboxClient("hasher", ["short", SECRET])
SHORT = SandboxClient("short", ["a-client-secret-of-31-character"])
KEYLESS = SandboxClient("keyless", [SECRET], methods=["private_key_jwt"])
CLIENTS = {one.client_id: one for one in (SIGNER, ROTATING, NAMELESS, HASHER, SHORT, KEYLESS)}


def judged(value: str, *, now: float = START, **form: str) -> Assertion:
    """Examine an assertion that is sent to `URL`."""
    return examine({**asserted(value), **form}, CLIENTS, url=URL, now=now)


def made(**changes: Any) -> str:  # noqa: ANN401 — as `assertion` takes them
    """Return an assertion, with changes; signed with a secret if one is among them."""
    make = hmac_assertion if "secret" in changes else assertion
    return make(URL, **changes)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", *CURVES])
def test_six_algorithms_sign_with_a_private_key(algorithm: str) -> None:
    """RSA and elliptic keys sign with three hashes each, and the method is `private_key_jwt`."""
    client = SandboxClient("signer", keys=[public(key_for(algorithm))])
    form = asserted(made(algorithm=algorithm, jti="one"))
    result = examine(form, {"signer": client}, url=URL, now=START)

    assert result == Assertion(
        client_id="signer",
        method="private_key_jwt",
        algorithm=algorithm,
        kid="one",
        jti="one",
        until=START + 300,
    )


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_three_algorithms_sign_with_a_secret(algorithm: str) -> None:
    """Either secret of 32 characters signs with three hashes: the method `client_secret_jwt`."""
    result = judged(hmac_assertion(URL, algorithm=algorithm))

    assert (result.method, result.algorithm) == ("client_secret_jwt", algorithm)
    assert (result.refusal, result.kid) == (None, None)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"header": {"crit": ["b64"], "b64": True}}, rules.UNREADABLE),
        ({"iss": "other"}, rules.NOT_THE_CLIENT),
        ({"iss": None}, rules.NOT_THE_CLIENT),
        ({"sub": None}, rules.NOT_THE_CLIENT),
        ({"iss": ["signer"], "sub": ["signer"]}, rules.NOT_THE_CLIENT),
        ({"client_id": "nobody"}, answers.UNKNOWN_CLIENT),
        ({"key": rsa_key(), "algorithm": "PS256"}, rules.WRONG_ALGORITHM),
        ({"aud": None}, rules.WRONG_AUDIENCE),
        ({"aud": URL + "/"}, rules.WRONG_AUDIENCE),
        ({"aud": "https://acme.okta.com/oauth2/default"}, rules.WRONG_AUDIENCE),
        ({"aud": []}, rules.WRONG_AUDIENCE),
        ({"aud": ["https://acme.okta.com"]}, rules.WRONG_AUDIENCE),
        ({"aud": "elsewhere", "client_id": "keyless"}, rules.WRONG_AUDIENCE),
        ({"client_id": "short", "secret": SHORT.secrets[0]}, rules.SHORT_SECRET),
        ({"secret": SECRET[::-1]}, rules.WRONG_SIGNATURE),
        ({"client_id": "signer", "secret": SECRET}, rules.WRONG_SIGNATURE),
        ({"client_id": "keyless"}, rules.NO_KEYS),
        ({"header": {"kid": "two"}}, rules.WRONG_KEY_ID),
        ({"client_id": "nameless"}, rules.WRONG_KEY_ID),
        ({"client_id": "rotating", "header": {"kid": None}}, rules.WRONG_KEY_ID),
        ({"key": ec_key("two")}, rules.WRONG_SIGNATURE),
        ({"key": rsa_key(), "algorithm": "RS256"}, rules.WRONG_SIGNATURE),
        ({"exp": None}, rules.NO_EXPIRY),
        ({"exp": "soon"}, rules.NO_EXPIRY),
        ({"exp": True}, rules.NO_EXPIRY),
        ({"exp": START}, rules.EXPIRED),
        ({"exp": START + 3600}, rules.EXPIRES_TOO_LATE),
        ({"exp": START * 1000}, rules.EXPIRES_TOO_LATE),
        ({"iat": START + 1}, rules.NOT_YET_ISSUED),
        ({"iat": "now"}, rules.NOT_YET_ISSUED),
        ({"nbf": START + 1}, rules.NOT_YET_VALID),
        ({"jti": 7}, rules.WRONG_JTI),
        ({"jti": ""}, rules.WRONG_JTI),
    ],
)
def test_what_does_not_prove_who_sends_it_is_refused(
    changes: dict[str, Any], refusal: Refusal
) -> None:
    """Each rule that an assertion breaks has its refusal; an audience comes before the keys."""
    assert judged(made(**changes)).refusal is refusal


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        ("", rules.NO_ASSERTION),
        ("x", rules.UNREADABLE),
        (
            unsigned({"alg": "none"}, {"iss": "signer", "sub": "signer", "aud": URL}),
            rules.WRONG_ALGORITHM,
        ),
    ],
    ids=["nothing", "junk", "unsigned"],
)
def test_what_is_no_signed_jwt_is_refused(value: str, refusal: Refusal) -> None:
    """Nothing, junk, and a JWT without a signature are told apart."""
    assert judged(value).refusal is refusal


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://elsewhere.example", URL]},
        {"exp": START + 0.5},
        {"exp": START + 3599},
        {"iat": START, "nbf": START},
        {"iat": START - 9000},
        {"jti": None},
        {"header": {"kid": None}},
        {"client_id": "nameless", "header": {"kid": None}},
        {"client_id": "rotating", "key": ec_key("two"), "header": {"kid": "two"}},
        {
            "client_id": "rotating",
            "key": rsa_key("three"),
            "header": {"kid": "three"},
            "algorithm": "RS256",
        },
        {"header": {"typ": "JWT", "x-extra": "fine"}},
    ],
)
def test_what_keeps_the_rules_counts(changes: dict[str, Any]) -> None:
    """An audience may be in a list, dates may touch their limits, one key need not be named."""
    assert judged(made(**changes)).refusal is None


@pytest.mark.parametrize(
    "kind", [None, "", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"]
)
def test_the_type_of_the_assertion_is_exact(kind: str | None) -> None:
    """Another type, or none, is an invalid request, and the assertion is not read."""
    form = {"client_assertion": made(), "client_id": "signer"}
    if kind is not None:
        form["client_assertion_type"] = kind
    result = examine(form, CLIENTS, url=URL, now=START)

    assert result == Assertion("signer", refusal=rules.WRONG_TYPE)
    assert (rules.WRONG_TYPE.status, rules.WRONG_TYPE.error) == (400, "invalid_request")


def test_a_client_id_beside_the_assertion_must_be_its_subject() -> None:
    """The parameter is not needed, and must not name somebody else (RFC 7521 §4.2)."""
    assert judged(made(), client_id="signer").refusal is None
    assert judged(made(), client_id="rotating").refusal is rules.NOT_THE_CLIENT
    assert judged("x", client_id="signer").client_id == "signer"


@pytest.mark.parametrize(
    ("change", "used"),
    [
        ({}, True),
        ({"aud": "elsewhere"}, True),
        ({"exp": START - 1}, True),
        ({"key": ec_key("two")}, False),
        ({"iss": "other"}, True),
        ({"client_id": "nobody"}, False),
        ({"jti": None}, False),
    ],
)
def test_a_signature_that_is_right_uses_the_assertion(
    change: dict[str, Any], *, used: bool
) -> None:
    """What is rightly signed is used up even where it is refused; what is not stays usable."""
    assert (judged(made(**change)).jti is not None) is used


def test_an_hmac_with_a_public_key_proves_nothing() -> None:
    """A public key is no secret: an HMAC made with it is refused."""
    pem = rsa_key().as_pem(private=False)
    forged = made(key=OctKey(pem, pem), algorithm="HS256")

    assert judged(forged).refusal is rules.WRONG_SIGNATURE


def test_every_refusal_is_a_401_without_a_challenge() -> None:
    """An assertion comes in the body, so that no refusal asks for an `Authorization` header."""
    refusals = [rules.EXPIRED, rules.USED, rules.WRONG_KEY_ID, rules.SHORT_SECRET, rules.NO_KEYS]

    for refusal in refusals:
        assert (refusal.status, refusal.error, refusal.headers) == (401, "invalid_client", {})
    assert rules.EXPIRES_TOO_LATE.description == (
        "The client_assertion token has an expiration too far into the future."
    )
    assert rules.SHORT_SECRET.description == (
        "The client secret is too short to verify a JWT HMAC."
    )
    assert rules.USED.description == "The client_assertion token has already been used."
