"""Files with public keys."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, RSAKey

from okta_tokens.cli._public_keys import public_keys
from tests.sandbox.jwts import ec_key, public, rsa_key


def pem(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    """Return a key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def file(directory: Path, text: str) -> str:
    """Return the path of a file with this text."""
    path = directory / "key"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("key", [ec_key(), rsa_key()], ids=["EC", "RSA"])
def test_pem_is_loaded_as_a_jwk_without_an_id(tmp_path: Path, key: ECKey | RSAKey) -> None:
    """A public key as PEM is loaded as a JWK without an id and without private members."""
    path = file(tmp_path, key.as_pem(private=False).decode())

    assert public_keys(path) == [public(key, kid=None)]


def test_a_small_key_is_loaded_without_a_warning(tmp_path: Path) -> None:
    """The sandbox rejects small keys, so loading one gives no warning."""
    with pytest.warns(match="Key size"):
        small = RSAKey.generate_key(1024)
    (key,) = public_keys(file(tmp_path, small.as_pem(private=False).decode()))

    assert key["kty"] == "RSA"


def test_json_is_a_jwk_or_a_jwk_set(tmp_path: Path) -> None:
    """A JWK holds one key, and a JWK Set holds several (RFC 7517 §5)."""
    one, two = public(ec_key()), public(rsa_key("two"))

    assert public_keys(file(tmp_path, json.dumps(one))) == [one]
    assert public_keys(file(tmp_path, json.dumps({"keys": [one, two]}))) == [one, two]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "junk",
        "[]",
        '{"keys": {}}',
        '{"keys": []}',
        '{"keys": [1]}',
        "[" * 60_000,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        pem(ed25519.Ed25519PrivateKey.generate().public_key()),
        pem(ec.generate_private_key(ec.BrainpoolP256R1()).public_key()),
    ],
    ids=[
        "empty",
        "junk",
        "list",
        "keys not a list",
        "no keys",
        "key not an object",
        "too deep",
        "broken PEM",
        "Ed25519",
        "unknown curve",
    ],
)
def test_other_content_is_rejected(tmp_path: Path, text: str) -> None:
    """A file without a key, or with a PEM key of another type, is rejected."""
    with pytest.raises(ArgumentTypeError, match="holds no public key; give a public RSA or EC key"):
        public_keys(file(tmp_path, text))


def test_a_private_key_is_rejected(tmp_path: Path) -> None:
    """A private key as PEM is rejected with the command that makes its public key."""
    secret = ec_key().as_pem(private=True).decode()
    with pytest.raises(ArgumentTypeError, match="openssl pkey -pubout") as raised:
        public_keys(file(tmp_path, secret))

    assert secret.splitlines()[1] not in str(raised.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_an_unreadable_file_is_rejected(tmp_path: Path, name: str) -> None:
    """A path that cannot be read is rejected."""
    with pytest.raises(ArgumentTypeError, match="cannot be read"):
        public_keys(str(tmp_path / name))


def test_pem_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without joserfc a PEM key is rejected with the command that installs joserfc."""
    path = file(tmp_path, ec_key().as_pem(private=False).decode())
    monkeypatch.setitem(sys.modules, "joserfc.errors", None)

    with pytest.raises(ArgumentTypeError, match=r"pip install 'okta-tokens\[jwt\]'"):
        public_keys(path)
