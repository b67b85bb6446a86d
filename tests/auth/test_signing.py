"""Signed JWTs, key files, and signatures that a service makes."""

from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64decode
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from okta_tokens._auth.signing import (
    encode,
    generate_key,
    load_key,
    load_thumbprint,
    raw_signature,
    sign_jwt,
)
from tests.keys import CURVES, ec_key, pem, public_pem

EXTRA = "needs the extra jwt to sign: pip install 'okta-tokens[jwt]'"


class Echo:
    """A signer whose signature is the reversed signing input."""

    algorithm = "X"
    kid = identity = None

    async def sign(self, signing_input: bytes, /) -> bytes:
        """Return the reversed signing input."""
        return signing_input[::-1]

    def __hash__(self) -> int:
        """Return the same hash for all instances."""
        return 1


async def test_a_jwt_is_header_claims_and_signature() -> None:
    """A JWT has three parts in base64url without padding; the third signs the first two."""
    token = await sign_jwt(Echo(), {"a": "\u00e9", "b": [1]}, {"kid": "k"})

    head, claims, signature = token.split(".")
    assert "=" not in token
    assert json.loads(urlsafe_b64decode(head + "==")) == {"alg": "X", "kid": "k"}
    assert json.loads(urlsafe_b64decode(claims + "==")) == {"a": "\u00e9", "b": [1]}
    assert signature == encode(f"{head}.{claims}".encode()[::-1]).decode()


def test_base64url_has_no_padding() -> None:
    """base64url has no padding, and the alphabet of RFC 4648 section 5."""
    assert encode(b"\xfb\xff\xfe\xff") == b"-__-_w"


@pytest.mark.parametrize(
    "missing", ["joserfc.jwk", "cryptography.hazmat.primitives.asymmetric.rsa"]
)
def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Without the packages for signing, the message names the extra to install."""
    monkeypatch.delitem(sys.modules, "okta_tokens._auth.keys")
    monkeypatch.setitem(sys.modules, missing, None)

    assert load_key(pem(ec_key())) == EXTRA
    assert generate_key("ES256") == EXTRA
    assert load_thumbprint(public_pem(ec_key())) == (None, EXTRA.replace(" to sign", ""))


def test_keys_are_loaded_and_made() -> None:
    """With the packages, keys are parsed and made, and problems are returned."""
    key = load_key(pem(ec_key()), kid="1", algorithm="ES256")

    assert not isinstance(key, str)
    assert (key.kid, key.algorithm) == ("1", "ES256")
    assert str(load_key(b"x")).startswith("has no known form")
    assert not isinstance(generate_key("ES256"), str)


@pytest.mark.parametrize("algorithm", CURVES)
def test_a_signature_in_der_becomes_one_of_jws(algorithm: str) -> None:
    """A DER signature of a curve is converted; a signature in the form of RFC 7518 is not."""
    size = {"ES256": 32, "ES384": 48, "ES512": 66}[algorithm]
    in_der = encode_dss_signature(1, 2)

    raw = b"\x00" * (size - 1) + b"\x01" + b"\x00" * (size - 1) + b"\x02"
    assert raw_signature(in_der, algorithm) == raw
    assert raw_signature(raw, algorithm) == raw
    signature = ec_key(algorithm).sign(b"x", ec.ECDSA(hashes.SHA256()))
    assert len(raw_signature(signature, algorithm) or b"") == 2 * size


@pytest.mark.parametrize("signature", [b"", b"x", b"x" * 63, encode_dss_signature(1, 1 << 300)])
def test_invalid_signatures_of_a_curve(signature: bytes) -> None:
    """Bytes that are neither DER nor have the right length are refused."""
    assert raw_signature(signature, "ES256") is None


def test_a_signature_of_rsa_is_not_changed() -> None:
    """RSA has one form of signature; only an empty one is refused."""
    assert raw_signature(b"x" * 300, "RS256") == b"x" * 300
    assert raw_signature(b"", "RS256") is None


def test_without_the_extra_a_signature_in_der_is_refused() -> None:
    """A service that returns signatures in the form of RFC 7518 needs no extra."""
    name = "cryptography.hazmat.primitives.asymmetric"
    with patch.dict(sys.modules, {name: None}):
        assert raw_signature(encode_dss_signature(1, 2), "ES256") is None
        assert raw_signature(b"x" * 64, "ES256") == b"x" * 64
