"""An assertion and a proof are accepted for one request, whatever the response is."""

from __future__ import annotations

from urllib.parse import urlencode

from okta_tokens.sandbox import SandboxClient, _client_assertions, _dpop_proofs
from okta_tokens.sandbox._dpop_proofs import Proof
from okta_tokens.sandbox._request_parsing import Credentials, ParsedRequest, parse_request
from okta_tokens.sandbox._verification import Verifier
from tests.sandbox.jwts import assertion, assertion_form, ec_key, proof, public
from tests.sandbox.support import START

URL = "https://acme.okta.com/oauth2/v1/token"
CLIENTS = {
    name: SandboxClient(name, keys=[public(ec_key()), public(ec_key("two"))])
    for name in ("signer", "other")
}


def request(value: str) -> ParsedRequest:
    """Return a parsed request with a client assertion."""
    return parse_request(
        urlencode(assertion_form(value)).encode(),
        content_type="application/x-www-form-urlencoded",
        authorization=[],
        query="",
    )


def verify_assertion(verifier: Verifier, value: str, *, now: float = START) -> Credentials:
    """Return the credentials of a request after its client assertion is verified."""
    return verifier.verify_assertion(request(value), CLIENTS, url=URL, now=now).credentials


def verify_proof(verifier: Verifier, value: str, *, now: float = START) -> Proof:
    """Verify a proof in a request to the org server."""
    return verifier.verify_proof(
        [value], method="POST", url=URL, now=now, nonces=verifier.nonces[None], nonce_error="Nonce."
    )


def new_verifier() -> Verifier:
    """Return a new verifier whose nonces live a day."""
    return Verifier(["default"], 86_400)


def test_an_assertion_is_accepted_for_one_request() -> None:
    """The first use authenticates the client; the second is refused and still names the client."""
    verifier, value = new_verifier(), assertion(URL)

    assert verify_assertion(verifier, value) == Credentials(
        "signer", method="private_key_jwt", algorithm="ES256", kid="one", verified=True
    )
    again = verify_assertion(verifier, value)
    assert (again.verified, again.error) == (False, _client_assertions.ALREADY_USED)
    assert (again.client_id, again.method) == ("signer", "private_key_jwt")


def test_a_refused_assertion_is_used_up_as_well() -> None:
    """An assertion that was refused for its time cannot be used when that time has come."""
    verifier, value = new_verifier(), assertion(URL, iat=START + 30)

    assert verify_assertion(verifier, value).error is _client_assertions.NOT_YET_ISSUED
    assert verify_assertion(verifier, value, now=START + 60).error is (
        _client_assertions.ALREADY_USED
    )


def test_an_assertion_without_a_jti_may_be_repeated() -> None:
    """Only a `jti`, which Okta does not require, makes an assertion single-use."""
    verifier, value = new_verifier(), assertion(URL, jti=None)

    assert [verify_assertion(verifier, value).verified for _ in range(2)] == [True, True]


def test_two_clients_may_use_the_same_jti() -> None:
    """The `jti` of an assertion is unique per client."""
    verifier = new_verifier()

    for client_id in CLIENTS:
        assert verify_assertion(verifier, assertion(URL, client_id=client_id, jti="one")).verified


def test_a_request_without_an_assertion_is_unchanged() -> None:
    """A request with other credentials is returned as it is."""
    sent = parse_request(b"client_id=signer", content_type="", authorization=[], query="")

    assert new_verifier().verify_assertion(sent, CLIENTS, url=URL, now=START) is sent


def test_an_unreadable_assertion_has_no_known_method() -> None:
    """An assertion that cannot be parsed is recorded as `client_assertion`."""
    credentials = verify_assertion(new_verifier(), "x")

    assert (credentials.client_id, credentials.method) == (None, "client_assertion")
    assert credentials.error is _client_assertions.UNREADABLE


def test_a_proof_is_accepted_for_one_request() -> None:
    """The second use is refused, even if the first one only fetched a nonce."""
    verifier = new_verifier()
    nonce = verifier.nonces[None].current(START)
    with_nonce, without_nonce = proof(URL, nonce=nonce), proof(URL)

    assert verify_proof(verifier, with_nonce).error is None
    assert verify_proof(verifier, with_nonce).error is _dpop_proofs.ALREADY_USED
    first = verify_proof(verifier, without_nonce).error
    assert first is not None
    assert (first.code, first.description) == ("use_dpop_nonce", "Nonce.")
    assert first.headers == {"dpop-nonce": nonce}
    assert verify_proof(verifier, without_nonce).error is _dpop_proofs.ALREADY_USED


def test_two_keys_may_use_the_same_jti() -> None:
    """The `jti` of a proof is unique per key."""
    verifier = new_verifier()
    nonce = verifier.nonces[None].current(START)

    for name in ("one", "two"):
        assert verify_proof(verifier, proof(URL, ec_key(name), nonce=nonce, jti="x")).error is None


def test_the_nonce_is_checked_before_the_jti() -> None:
    """A proof that fetches a nonce needs no `jti`; every other proof needs one."""
    verifier = new_verifier()
    nonce = verifier.nonces[None].current(START)
    without_nonce = verify_proof(verifier, proof(URL, jti=None)).error

    assert without_nonce is not None
    assert without_nonce.code == "use_dpop_nonce"
    assert verify_proof(verifier, proof(URL, jti=None, nonce=nonce)).error is (
        _dpop_proofs.WRONG_JTI
    )


def test_each_server_has_its_own_nonces() -> None:
    """An authorization server does not accept the nonce of another one."""
    verifier = new_verifier()
    other_nonce = verifier.nonces["default"].current(START)
    error = verify_proof(verifier, proof(URL, nonce=other_nonce)).error

    assert error is not None
    assert error.code == "use_dpop_nonce"
