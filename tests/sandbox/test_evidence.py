"""An assertion and a proof are good for one request, whatever becomes of it."""

from __future__ import annotations

from urllib.parse import urlencode

from okta_tokens.sandbox import SandboxClient, _assertions, _proofs
from okta_tokens.sandbox._evidence import Evidence
from okta_tokens.sandbox._proofs import Proof
from okta_tokens.sandbox._request import Credentials, ParsedRequest, parse
from tests.sandbox.jwts import asserted, assertion, ec_key, proof, public
from tests.sandbox.support import START

URL = "https://acme.okta.com/oauth2/v1/token"
CLIENTS = {
    name: SandboxClient(name, keys=[public(ec_key()), public(ec_key("two"))])
    for name in ("signer", "other")
}


def request(value: str) -> ParsedRequest:
    """Parse a request with a client assertion."""
    return parse(
        urlencode(asserted(value)).encode(),
        content_type="application/x-www-form-urlencoded",
        authorization=[],
        query="",
    )


def identified(evidence: Evidence, value: str, *, now: float = START) -> Credentials:
    """Return the credentials of a request with a client assertion."""
    return evidence.identify(request(value), CLIENTS, url=URL, now=now).credentials


def proven(evidence: Evidence, value: str, *, now: float = START) -> Proof:
    """Return what a proof proves at a token endpoint of the org server."""
    return evidence.prove(
        [value], method="POST", url=URL, now=now, nonces=evidence.nonces[None], wanted="Nonce."
    )


def new_evidence() -> Evidence:
    """Return what assertions and proofs are held against, with nonces that live a day."""
    return Evidence(["default"], 86_400)


def test_an_assertion_is_good_for_one_request() -> None:
    """The first use tells who sends it and how; the second is refused, and tells as much."""
    evidence, value = new_evidence(), assertion(URL)

    assert identified(evidence, value) == Credentials(
        "signer", method="private_key_jwt", algorithm="ES256", kid="one", proven=True
    )
    again = identified(evidence, value)
    assert (again.proven, again.refusal) == (False, _assertions.USED)
    assert (again.client_id, again.method) == ("signer", "private_key_jwt")


def test_a_refused_assertion_is_used_as_well() -> None:
    """What was refused by its date cannot be used once the date has come."""
    evidence, value = new_evidence(), assertion(URL, iat=START + 30)

    assert identified(evidence, value).refusal is _assertions.NOT_YET_ISSUED
    assert identified(evidence, value, now=START + 60).refusal is _assertions.USED


def test_an_assertion_without_a_jti_may_be_repeated() -> None:
    """Single use comes with the `jti`, which Okta does not ask for."""
    evidence, value = new_evidence(), assertion(URL, jti=None)

    assert [identified(evidence, value).proven for _ in range(2)] == [True, True]


def test_a_jti_is_its_clients_own() -> None:
    """Two clients may use the same `jti`."""
    evidence = new_evidence()

    for client_id in CLIENTS:
        assert identified(evidence, assertion(URL, client_id=client_id, jti="one")).proven


def test_what_is_no_assertion_stays_as_it_is() -> None:
    """A request with other credentials is passed on unchanged."""
    sent = parse(b"client_id=signer", content_type="", authorization=[], query="")

    assert new_evidence().identify(sent, CLIENTS, url=URL, now=START) is sent


def test_an_unreadable_assertion_is_of_no_known_method() -> None:
    """What cannot be read is recorded as an assertion, and no more."""
    credentials = identified(new_evidence(), "x")

    assert (credentials.client_id, credentials.method) == (None, "client_assertion")
    assert credentials.refusal is _assertions.UNREADABLE


def test_a_proof_is_good_for_one_request() -> None:
    """The second use is refused, also where the first one only fetched a nonce."""
    evidence = new_evidence()
    nonce = evidence.nonces[None].current(START)
    good, fetching = proof(URL, nonce=nonce), proof(URL)

    assert proven(evidence, good).refusal is None
    assert proven(evidence, good).refusal is _proofs.USED
    first = proven(evidence, fetching).refusal
    assert first is not None
    assert (first.error, first.description) == ("use_dpop_nonce", "Nonce.")
    assert first.headers == {"dpop-nonce": nonce}
    assert proven(evidence, fetching).refusal is _proofs.USED


def test_a_jti_is_its_keys_own() -> None:
    """Two keys may use the same `jti`."""
    evidence = new_evidence()
    nonce = evidence.nonces[None].current(START)

    for name in ("one", "two"):
        assert proven(evidence, proof(URL, ec_key(name), nonce=nonce, jti="x")).refusal is None


def test_a_nonce_is_asked_for_before_a_jti() -> None:
    """The proof that fetches a nonce needs no `jti`; any other one does."""
    evidence = new_evidence()
    nonce = evidence.nonces[None].current(START)
    fetching = proven(evidence, proof(URL, jti=None)).refusal

    assert fetching is not None
    assert fetching.error == "use_dpop_nonce"
    assert proven(evidence, proof(URL, jti=None, nonce=nonce)).refusal is _proofs.WRONG_JTI


def test_each_server_has_its_own_nonces() -> None:
    """The nonce of one authorization server is unknown to another one."""
    evidence = new_evidence()
    foreign = proven(evidence, proof(URL, nonce=evidence.nonces["default"].current(START)))

    assert foreign.refusal is not None
    assert foreign.refusal.error == "use_dpop_nonce"
