"""Client assertions are checked by Okta's rules, and refused with Okta's wording."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import OctKey

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox import SandboxClient
from okta_tokens.sandbox import _client_assertions as rules
from okta_tokens.sandbox._client_assertions import Assertion, check_assertion
from okta_tokens.sandbox._responses import ErrorResponse
from tests.sandbox.jwts import (
    CURVES,
    SECRET,
    assertion,
    assertion_form,
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
CLIENTS = {
    client.client_id: client for client in (SIGNER, ROTATING, NAMELESS, HASHER, SHORT, KEYLESS)
}


def check(value: str, *, now: float = START, **form: str) -> Assertion:
    """Check an assertion in a request to `URL`."""
    return check_assertion({**assertion_form(value), **form}, CLIENTS, url=URL, now=now)


def make_assertion(**changes: Any) -> str:  # noqa: ANN401 — the arguments of `assertion`
    """Return an assertion with changes; a `secret` among them signs it."""
    make = hmac_assertion if "secret" in changes else assertion
    return make(URL, **changes)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", *CURVES])
def test_six_algorithms_sign_with_a_private_key(algorithm: str) -> None:
    """RSA and EC keys sign with three hashes each, and the method is `private_key_jwt`."""
    client = SandboxClient("signer", keys=[public(key_for(algorithm))])
    form = assertion_form(make_assertion(algorithm=algorithm, jti="one"))
    result = check_assertion(form, {"signer": client}, url=URL, now=START)

    assert result == Assertion(
        client_id="signer",
        method="private_key_jwt",
        algorithm=algorithm,
        kid="one",
        jti="one",
        expires_at=START + 300,
    )


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_three_algorithms_sign_with_a_secret(algorithm: str) -> None:
    """A secret of 32 characters signs with three hashes; the method is `client_secret_jwt`."""
    result = check(hmac_assertion(URL, algorithm=algorithm))

    assert (result.method, result.algorithm) == ("client_secret_jwt", algorithm)
    assert (result.error, result.kid) == (None, None)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"header": {"crit": ["b64"], "b64": True}}, rules.UNREADABLE),
        ({"iss": "other"}, rules.WRONG_ISSUER_OR_SUBJECT),
        ({"sub": None}, rules.WRONG_ISSUER_OR_SUBJECT),
        ({"iss": ["signer"], "sub": ["signer"]}, rules.WRONG_ISSUER_OR_SUBJECT),
        ({"client_id": "unknown"}, okta_errors.UNKNOWN_CLIENT),
        ({"key": rsa_key(), "algorithm": "PS256"}, rules.WRONG_ALGORITHM),
        ({"aud": None}, rules.WRONG_AUDIENCE),
        ({"aud": URL + "/"}, rules.WRONG_AUDIENCE),
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
        ({"exp": START}, rules.EXPIRED),
        ({"exp": START + 3600}, rules.EXPIRES_TOO_LATE),
        ({"iat": START + 1}, rules.NOT_YET_ISSUED),
        ({"iat": "now"}, rules.NOT_YET_ISSUED),
        ({"nbf": START + 1}, rules.NOT_YET_VALID),
        ({"jti": 7}, rules.WRONG_JTI),
        ({"jti": ""}, rules.WRONG_JTI),
    ],
)
def test_an_invalid_assertion_is_refused(changes: dict[str, Any], error: ErrorResponse) -> None:
    """Each broken rule has its own error, and the audience is checked before the keys."""
    assert check(make_assertion(**changes)).error is error


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("", rules.NO_ASSERTION),
        ("x", rules.UNREADABLE),
        (
            unsigned({"alg": "none"}, {"iss": "signer", "sub": "signer", "aud": URL}),
            rules.WRONG_ALGORITHM,
        ),
    ],
    ids=["empty", "junk", "unsigned"],
)
def test_a_value_that_is_not_a_signed_jwt_is_refused(value: str, error: ErrorResponse) -> None:
    """An empty value, junk, and a JWT without a signature have different errors."""
    assert check(value).error is error


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://elsewhere.example", URL]},
        {"exp": START + 0.5},
        {"exp": START + 3599},
        {"iat": START, "nbf": START},
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
def test_an_assertion_within_the_limits_is_valid(changes: dict[str, Any]) -> None:
    """An audience may be in a list, times may equal their limits, a single key needs no `kid`."""
    assert check(make_assertion(**changes)).error is None


@pytest.mark.parametrize("kind", [None, "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"])
def test_the_type_of_the_assertion_is_exact(kind: str | None) -> None:
    """A missing or unknown type is an invalid request, and the assertion is not parsed."""
    form = {"client_assertion": make_assertion(), "client_id": "signer"}
    if kind is not None:
        form["client_assertion_type"] = kind
    result = check_assertion(form, CLIENTS, url=URL, now=START)

    assert result == Assertion("signer", error=rules.WRONG_TYPE)
    assert (rules.WRONG_TYPE.status, rules.WRONG_TYPE.code) == (400, "invalid_request")


def test_a_client_id_beside_the_assertion_must_be_its_subject() -> None:
    """The parameter is optional, and must not name another client (RFC 7521 §4.2)."""
    assert check(make_assertion(), client_id="signer").error is None
    assert check(make_assertion(), client_id="rotating").error is rules.WRONG_ISSUER_OR_SUBJECT
    assert check("x", client_id="signer").client_id == "signer"


@pytest.mark.parametrize(
    ("change", "used"),
    [
        ({}, True),
        ({"aud": "elsewhere"}, True),
        ({"key": ec_key("two")}, False),
        ({"iss": "other"}, True),
        ({"client_id": "unknown"}, False),
        ({"jti": None}, False),
    ],
)
def test_a_valid_signature_uses_up_the_assertion(change: dict[str, Any], *, used: bool) -> None:
    """An assertion with a valid signature is used up even if refused; others stay usable."""
    assert (check(make_assertion(**change)).jti is not None) is used


def test_an_hmac_with_a_public_key_is_refused() -> None:
    """A public key is not secret, so that an HMAC made with it is not accepted."""
    pem = rsa_key().as_pem(private=False)
    forged = make_assertion(key=OctKey(pem, pem), algorithm="HS256")

    assert check(forged).error is rules.WRONG_SIGNATURE


def test_every_error_is_a_401_without_a_challenge() -> None:
    """An assertion is in the body, so that no error has a `WWW-Authenticate` header."""
    errors = [
        rules.EXPIRED,
        rules.ALREADY_USED,
        rules.WRONG_KEY_ID,
        rules.SHORT_SECRET,
        rules.NO_KEYS,
    ]

    for error in errors:
        assert (error.status, error.code, error.headers) == (401, "invalid_client", {})
    assert rules.EXPIRES_TOO_LATE.description == (
        "The client_assertion token has an expiration too far into the future."
    )
    assert rules.SHORT_SECRET.description == (
        "The client secret is too short to verify a JWT HMAC."
    )
    assert rules.ALREADY_USED.description == "The client_assertion token has already been used."
