"""The forms of private keys that tools, vaults and environments make: used, or named."""

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens._auth import keys
from okta_tokens._auth.key_forms import CERTIFICATE, ENCRYPTED, PUBLIC, is_key_path, plain_form
from okta_tokens._auth.keys import LoadedKey, parse_key
from tests.keys import der, ec_key, jwk, old_pem, pem, public_pem, rsa_key

QUICK = settings(max_examples=300, deadline=None, database=None, derandomize=True)
TEXT = pem(ec_key()).decode()
KEY: rsa.RSAPrivateKey = rsa_key()


def certificate() -> x509.Certificate:
    """Return a certificate for `KEY`."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "svc")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(KEY.public_key()).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(9))
    return builder.sign(KEY, hashes.SHA256())


def pkcs12_file(password: bytes | None = None) -> bytes:
    """Return a PKCS #12 file with `KEY` and its certificate."""
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return pkcs12.serialize_key_and_certificates(b"svc", KEY, certificate(), None, encryption)


def openssh() -> bytes:
    """Return `KEY` as OpenSSH writes it."""
    return KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def encrypted_openssh() -> bytes:
    """Return what OpenSSH writes for a key with a password, with a key of no bytes."""
    texts = [b"aes256-ctr", b"bcrypt", b"\0" * 24]
    fields = [len(text).to_bytes(4, "big") + text for text in texts]
    public = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    blob = b64decode(public)
    fields += [(1).to_bytes(4, "big"), len(blob).to_bytes(4, "big") + blob, bytes(4)]
    body = b64encode(b"openssh-key-v1\0" + b"".join(fields))
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n%b\n-----END OPENSSH PRIVATE KEY-----" % body


CERTIFICATE_PEM = certificate().public_bytes(Encoding.PEM)
PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"

USED: dict[str, Callable[[], object]] = {
    "tabs before each line": lambda: TEXT.replace("\n", "\n\t"),
    "one line with spaces": lambda: TEXT.replace("\n", "  "),
    "one line without spaces": lambda: old_pem(KEY).replace(b"\n", b""),
    "carriage returns": lambda: pem(KEY).replace(b"\n", b"\r"),
    "escaped carriage returns": lambda: TEXT.replace("\n", "\\r\\n"),
    "backslashes of two environments": lambda: TEXT.replace("\n", "\\\\\\\\n"),
    "single quotation marks": lambda: f"'{TEXT}'",
    "the text of Python bytes": lambda: repr(pem(KEY)),
    "UTF-8 with a mark": lambda: b"\xef\xbb\xbf" + pem(KEY),
    "UTF-16": lambda: TEXT.encode("utf-16"),
    "UTF-16, big-endian": lambda: b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "parameters before": lambda: PARAMETERS + old_pem(ec_key()),
    "certificate after": lambda: pem(KEY) + CERTIFICATE_PEM,
    "certificate and comments before": lambda: b"Bag Attributes\n" + CERTIFICATE_PEM + pem(KEY),
    "public key before": lambda: public_pem(KEY) + pem(KEY),
    "the same key twice": lambda: pem(KEY) + pem(KEY),
    "base64 of PEM": lambda: b64encode(pem(KEY)).decode(),
    "base64 of PEM in lines": lambda: b"\n".join(
        [b64encode(pem(KEY))[:76], b64encode(pem(KEY))[76:]]
    ),
    "base64url of a JWK": lambda: urlsafe_b64encode(json.dumps(jwk(KEY)).encode()).rstrip(b"="),
    "base64 of DER": lambda: b64encode(der(ec_key())).decode(),
    "JWK with a mark, in quotation marks": lambda: f"\ufeff'{json.dumps(jwk(KEY))}'",
    "JWK Set": lambda: {"keys": [jwk(KEY)]},
    "JWK Set with public keys": lambda: json.dumps(
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, jwk(KEY)]}
    ),
    "PKCS #12": pkcs12_file,
    "OpenSSH": openssh,
}


@pytest.mark.parametrize("form", USED)
def test_a_form_with_a_usable_key_is_used(form: str) -> None:
    """A private key is used, whatever stands around it and in whatever form it arrives."""
    key = parse_key(USED[form](), kid=None, algorithm=None)

    assert isinstance(key, LoadedKey), key
    expected = parse_key(KEY if key.algorithm == "RS256" else ec_key(), kid=None, algorithm=None)
    assert key == expected


NAMED: dict[str, tuple[Callable[[], object], str]] = {
    "encrypted": (lambda: pem(KEY, b"password"), ENCRYPTED),
    "encrypted, of old": (
        lambda: KEY.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"password")
        ),
        ENCRYPTED,
    ),
    "encrypted DER": (lambda: der(KEY, b"password"), ENCRYPTED),
    "encrypted OpenSSH": (encrypted_openssh, ENCRYPTED),
    "PKCS #12 with a password": (lambda: pkcs12_file(b"password"), "openssl pkcs12 -in FILE"),
    "PKCS #12 without a key": (
        lambda: pkcs12.serialize_key_and_certificates(
            b"svc", None, certificate(), None, NoEncryption()
        ),
        CERTIFICATE,
    ),
    "certificate": (lambda: CERTIFICATE_PEM, CERTIFICATE),
    "DER certificate": (lambda: certificate().public_bytes(Encoding.DER), CERTIFICATE),
    "public key": (lambda: public_pem(KEY), PUBLIC),
    "public key of OpenSSH": (
        lambda: KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        PUBLIC,
    ),
    "PuTTY": (lambda: "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n", "puttygen FILE"),
    "text of a Python dict": (lambda: str(jwk(KEY)), "json.dumps"),
    "half of a JWK": (lambda: json.dumps(jwk(KEY))[:-9], "not valid JSON"),
    "JSON around PEM": (lambda: json.dumps({"private_key": TEXT}), "no `kty`"),
    "cut off": (lambda: TEXT[:-9], "cut off"),
    "other characters": (lambda: TEXT.replace("M", "\u2019", 1), "not base64"),
    "two keys": (lambda: pem(KEY) + pem(ec_key()), "several keys"),
    "JWK Set with two keys": (lambda: {"keys": [jwk(KEY), jwk(ec_key())]}, "by its kid"),
    "JWK Set without a private key": (lambda: {"keys": [{"kty": "RSA"}, 1]}, "without a private"),
}


@pytest.mark.parametrize("form", NAMED)
def test_a_form_without_a_usable_key_is_named(form: str) -> None:
    """What holds no usable key is named, with what to do, and nothing of it is repeated."""
    make, expected = NAMED[form]
    problem = parse_key(make(), kid=None, algorithm=None)

    assert isinstance(problem, str)
    assert expected in problem
    assert "MII" not in problem


@pytest.mark.parametrize(
    ("kid", "expected"), [("one", "RS256"), ("two", "ES256"), ("three", "check the kid")]
)
def test_the_kid_chooses_from_a_set(kid: str, expected: str) -> None:
    """Of a JWK Set, the private key with the wanted `kid` is used."""
    jwks = {"keys": [jwk(KEY, kid="one"), jwk(ec_key(), kid="two")]}
    key = parse_key(jwks, kid=kid, algorithm=None)

    if isinstance(key, str):
        assert expected in key
    else:
        assert (key.kid, key.algorithm) == (kid, expected)


def test_a_text_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text gives the same key without another check, which takes long for RSA."""
    parse_key(pem(KEY), kid=None, algorithm=None)
    monkeypatch.setattr(keys, "_parse_bytes", None)

    again = parse_key(f" {pem(KEY).decode()} ", kid="k", algorithm="RS512")

    assert isinstance(again, LoadedKey)
    assert (again.kid, again.algorithm) == ("k", "RS512")


@QUICK
@given(st.binary(max_size=200) | st.text(alphabet="-BEGINRSAPVTKYD {}'\"\\nr=ab/+", max_size=200))
def test_any_text_has_a_plain_form(text: bytes | str) -> None:
    """Any text has a plain form, or a problem; the plain form of a plain form is itself."""
    found = plain_form(text if isinstance(text, bytes) else text.encode())

    if isinstance(found, bytes):
        assert plain_form(found) == found


@pytest.mark.parametrize(
    "path", ["key.pem", "~/.okta/privateKey.pem", "/etc/okta/key", "C:\\keys\\okta.pem", "abcd"]
)
def test_a_path_is_not_a_key(path: str) -> None:
    """The path of a file is recognized, also if it happens to be base64."""
    assert is_key_path(path)


@pytest.mark.parametrize("form", [form for form in USED if isinstance(USED[form](), str)])
def test_a_key_is_not_a_path(form: str) -> None:
    """A key as text is not taken for the path of a file."""
    text = USED[form]()
    assert isinstance(text, str)

    assert not is_key_path(text)
    assert not is_key_path("x" * 5_000)
    assert isinstance(parse_key(text, kid=None, algorithm=None), LoadedKey)


def test_a_key_file_may_have_any_form(tmp_path: Path) -> None:
    """A file is read as the text of a key is."""
    path = tmp_path / "key"
    path.write_bytes(b64encode(pem(KEY)))

    assert isinstance(parse_key(path.read_bytes(), kid=None, algorithm=None), LoadedKey)


class Sealed(Mapping[str, object]):
    """A mapping whose repr, like that of every other one, does not show the key."""

    def __init__(self, members: Mapping[str, object]) -> None:
        self._members = members

    def __getitem__(self, name: str) -> object:
        """Return a member."""
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._members)

    def __len__(self) -> int:
        """Return how many members there are."""
        return len(self._members)

    def __repr__(self) -> str:
        """Return the same text for every key."""
        return "<sealed>"


@pytest.mark.parametrize("more", [{}, {"ext": object()}], ids=["json", "no-json"])
def test_two_mappings_that_look_alike_are_two_keys(more: dict[str, object]) -> None:
    """The members of a JWK decide which key it is, and not how the mapping or a member looks."""
    sealed = [Sealed(jwk(ec_key(number=number)) | more) for number in (0, 1)]
    found = [parse_key(each, kid=None, algorithm=None) for each in sealed]

    assert all(isinstance(each, LoadedKey) for each in found), found
    assert found[0] != found[1]
