"""Files of public keys."""

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


@pytest.mark.parametrize("key", [ec_key(), ec_key(curve="P-521"), rsa_key()], ids=["1", "2", "3"])
def test_pem_is_a_key_without_an_id(tmp_path: Path, key: ECKey | RSAKey) -> None:
    """A public key as PEM is read as the JWK that it is, with nothing private in it."""
    path = file(tmp_path, key.as_pem(private=False).decode())

    assert public_keys(path) == [public(key, kid=None)]


def test_a_small_key_is_read_without_a_warning(tmp_path: Path) -> None:
    """Whether a key is good enough, the sandbox says."""
    with pytest.warns(match="Key size"):
        small = RSAKey.generate_key(1024)
    (key,) = public_keys(file(tmp_path, small.as_pem(private=False).decode()))

    assert key["kty"] == "RSA"


def test_json_is_a_key_or_a_set_of_them(tmp_path: Path) -> None:
    """A JWK is one key, a JWK Set several (RFC 7517 §5)."""
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
    ids=range(10),
)
def test_anything_else_is_no_key(tmp_path: Path, text: str) -> None:
    """A file with no key in it, or one of another kind as PEM, is refused in words."""
    with pytest.raises(ArgumentTypeError, match="holds neither a public key as PEM nor a JWK"):
        public_keys(file(tmp_path, text))


def test_a_private_key_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A private key as PEM is refused with the command that makes its public one."""
    secret = ec_key().as_pem(private=True).decode()
    with pytest.raises(ArgumentTypeError, match="openssl pkey -pubout") as raised:
        public_keys(file(tmp_path, secret))

    assert secret.splitlines()[1] not in str(raised.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    """A path where nothing can be read is refused."""
    with pytest.raises(ArgumentTypeError, match="cannot be read"):
        public_keys(str(tmp_path / name))


def test_pem_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where joserfc is missing, a key as PEM is refused with the command to install it."""
    path = file(tmp_path, ec_key().as_pem(private=False).decode())
    monkeypatch.setitem(sys.modules, "joserfc.errors", None)

    with pytest.raises(ArgumentTypeError, match=r"pip install 'okta-tokens\[jwt\]'"):
        public_keys(path)
