"""DPoP: the claims of proofs, their keys and their nonces."""

from __future__ import annotations

import copy
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from okta_tokens import DPoP
from okta_tokens._auth.dpop import is_nonce
from okta_tokens.errors import ConfigurationError
from tests.keys import (
    PrivateKey,
    ec_key,
    imported,
    jwk,
    pem,
    public_jwk,
    public_pem,
    rsa_key,
    verified,
)
from tests.runtime.test_redaction import locals_with

URL = "https://acme.okta.com/oauth2/default/v1/token"
NOW = 1_800_000_000.75


@pytest.mark.parametrize("key", [ec_key(), ec_key("ES384"), rsa_key()], ids=["256", "384", "rsa"])
async def test_a_proof_has_the_claims_of_rfc_9449(key: PrivateKey) -> None:
    """A proof contains public key, method, URI and the server's time, and is signed."""
    dpop = DPoP(key)
    proof = verified(await dpop.prove("POST", URL, NOW, nonce="n-1"), key)

    assert proof.header == {"alg": dpop.algorithm, "typ": "dpop+jwt", "jwk": public_jwk(key)}
    assert {*proof.header["jwk"]} in ({"kty", "crv", "x", "y"}, {"kty", "n", "e"})
    assert len(proof.claims.pop("jti")) == 32
    assert proof.claims == {"htm": "POST", "htu": URL, "iat": 1_800_000_000, "nonce": "n-1"}


async def test_without_a_nonce_there_is_no_claim_for_it() -> None:
    """A proof for a server that sent no nonce has no claim for a nonce."""
    proof = verified(await DPoP(ec_key()).prove("GET", URL, NOW, nonce=None), ec_key())

    assert {*proof.claims} == {"jti", "htm", "htu", "iat"}


async def test_a_proof_for_an_api_is_bound_to_the_token() -> None:
    """`ath` is the hash of the token in base64url without padding."""
    proof = verified(await DPoP(ec_key()).prove("GET", URL, NOW, nonce=None, token="t0k"), ec_key())

    digest = sha256(b"t0k").digest()
    assert proof.claims["ath"] == urlsafe_b64encode(digest).decode().rstrip("=")


async def test_no_two_proofs_are_the_same() -> None:
    """Each proof has its own id, also for the same request at the same time."""
    dpop = DPoP()
    proofs = [await dpop.prove("GET", URL, NOW, nonce=None) for _ in range(20)]

    assert len({*proofs}) == 20


def test_a_new_key_is_made_unless_one_is_given() -> None:
    """Without a key, each instance makes a new key, for ES256 or the given algorithm."""
    assert DPoP().algorithm == "ES256"
    assert DPoP(algorithm="ES512").algorithm == "ES512"
    assert DPoP().thumbprint != DPoP().thumbprint
    assert DPoP(rsa_key()).algorithm == "RS256"
    assert DPoP(rsa_key(), algorithm="RS384").algorithm == "RS384"


def test_the_thumbprint_is_what_a_token_is_bound_to() -> None:
    """The thumbprint is the SHA-256 thumbprint of RFC 7638."""
    assert DPoP(pem(ec_key())).thumbprint == imported(ec_key()).thumbprint()


def test_a_key_may_come_from_a_file(tmp_path: Path) -> None:
    """A key file is read once, because the DPoP key is part of the client's identity."""
    path = tmp_path / "key.pem"
    path.write_bytes(pem(ec_key()))

    assert DPoP(path) == DPoP(ec_key())


@pytest.mark.parametrize(
    ("key", "algorithm", "problem"),
    [
        (public_pem(rsa_key()), None, "is a public key; give the private key"),
        (ec_key(), "RS256", "does not fit the algorithm; use ES256"),
        (None, "HS256", "must have one of the algorithms RS256, RS384, RS512, ES256, ES384,"),
        (
            Path("nowhere"),
            None,
            "cannot be read from nowhere: no such file or directory; check the path",
        ),
        (lambda: pem(ec_key()), None, "has no known form; give PEM or a JWK as text,"),
    ],
    ids=["public", "unfit", "hmac", "no-file", "callable"],
)
def test_a_bad_key_is_refused(key: Any, algorithm: str | None, problem: str) -> None:  # noqa: ANN401 - deliberately
    """An invalid key is refused at once, and no frame contains it."""
    with pytest.raises(ConfigurationError) as caught:
        DPoP(key, algorithm=algorithm)

    assert str(caught.value).startswith(f"DPoP: the key {problem}")
    assert locals_with(caught.value, "BEGIN ") == []


def test_equality_and_copies() -> None:
    """Two instances are equal if their keys are; a copy is the instance itself."""
    one = DPoP(ec_key())

    assert one == DPoP(jwk(ec_key()))
    assert hash(one) == hash(DPoP(jwk(ec_key())))
    assert one != DPoP()
    assert one != one.thumbprint
    assert copy.copy(one) is copy.deepcopy([one])[0] is one


def test_the_repr_shows_only_the_thumbprint() -> None:
    """The repr contains the algorithm and the public thumbprint."""
    dpop = DPoP(ec_key())

    assert repr(dpop) == f"DPoP(<ES256 key {dpop.thumbprint}>)"


def test_a_nonce_has_the_characters_of_rfc_9449() -> None:
    """A nonce is 1 to 1,024 printable characters without space, quote and backslash."""
    assert all(is_nonce(text) for text in ("a", "!#[]~", "n" * 1_024))
    assert not any(is_nonce(text) for text in ("", " a", 'a"', "a\\", "\x7f", "é", "n" * 1_025))
