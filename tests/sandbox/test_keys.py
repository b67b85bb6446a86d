"""Keys are checked when they are registered, and their extra is imported only when needed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from okta_tokens.sandbox._keys import SigningKey, public_key, verify_hmac, verify_signature
from tests.sandbox.jwts import SECRET, assertion, ec_key, hmac_assertion, public, rsa_key


@pytest.mark.parametrize(
    "key",
    [rsa_key(), ec_key(), ec_key(curve="P-384"), ec_key(curve="P-521")],
    ids=["RSA", "P-256", "P-384", "P-521"],
)
def test_rsa_and_three_curves_are_supported(key: RSAKey) -> None:
    """A public key of a supported type has the thumbprint of RFC 7638."""
    assert public_key(public(key)).thumbprint() == key.thumbprint()


SHORT = {"kty": "RSA", "e": "AQAB", "n": "u" * 341}


@pytest.mark.parametrize(
    ("jwk", "message"),
    [
        ({**ec_key().as_dict(private=True)}, "private parts"),
        ({**rsa_key().as_dict(private=True)}, "private parts"),
        ({"kty": "oct", "k": "AAAA"}, "private parts"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}, "RSA, or EC"),
        (public(ec_key(), crv="secp256k1"), "RSA, or EC"),
        (public(ec_key(), crv=["P-256"]), "RSA, or EC"),
        ({}, "RSA, or EC"),
        (public(ec_key(), use="enc"), "signature key"),
        (public(ec_key(), x=None), "well-formed"),
        (public(ec_key(), y="AAAA"), "well-formed"),
        (public(ec_key(), y="A" * 43), "well-formed"),
        (public(ec_key(), kid=1), "well-formed"),
        (SHORT, "well-formed"),
        (public(rsa_key(), n=None), "well-formed"),
        (public(rsa_key(), n="caf\u00e9"), "well-formed"),
        (public(rsa_key(), e=3), "well-formed"),
    ],
)
def test_other_keys_are_refused(jwk: dict[str, object], message: str) -> None:
    """A private, unsupported, short or malformed key is a `ValueError` that does not quote it."""
    with pytest.raises(ValueError, match=message) as raised:
        public_key(jwk)

    assert raised.value.__cause__ is None
    assert all(str(part) not in str(raised.value) for part in jwk.values() if len(str(part)) > 9)


def test_only_the_right_key_or_secret_verifies_a_signature() -> None:
    """A signature is valid only with the key or the secret that made it."""
    signed, hashed = assertion("https://h"), hmac_assertion("https://h")

    assert verify_signature(signed, ec_key())
    assert not verify_signature(signed, ec_key("two"))
    assert not verify_signature(signed, rsa_key())
    assert not verify_signature(signed[:-4] + "AAAA", ec_key())
    assert not verify_signature(signed + "\u00e9", ec_key())
    assert verify_hmac(hashed, SECRET)
    assert not verify_hmac(hashed, SECRET + "x")


def test_the_jwks_of_a_signing_key_verifies_its_signatures() -> None:
    """The key is generated once, signs with RS256, and publishes only its public part."""
    key = SigningKey()
    jwt = key.sign({"sub": "me"})
    keys: Any = key.jwks()["keys"]
    (jwk,) = keys
    verified = jws.deserialize_compact(jwt, RSAKey.import_key(jwk), algorithms=["RS256"])

    assert json.loads(verified.payload) == {"sub": "me"}
    assert verified.headers() == {"alg": "RS256", "kid": jwk["kid"]}
    assert {*jwk} == {"kty", "n", "e", "kid", "use", "alg"}
    assert key.jwks() == key.jwks()


def run(program: str) -> str:
    """Run a program in a new interpreter and return its output."""
    return subprocess.check_output([sys.executable, "-c", program], text=True)


def test_a_sandbox_without_keys_does_not_import_the_extra() -> None:
    """Importing and creating a sandbox with secrets only does not import joserfc."""
    loaded = run(
        "from okta_tokens.sandbox import Sandbox; Sandbox()\n"
        "import sys; print(*sys.modules, sep='\\n')"
    ).split()

    assert "okta_tokens.sandbox" in loaded
    assert not {"joserfc", "cryptography", "okta_tokens.sandbox._keys"}.intersection(loaded)


def test_without_the_extra_an_error_names_the_command_to_install_it() -> None:
    """Without joserfc, keys and signed tokens raise an `ImportError` with the command."""
    output = run(
        "import sys; sys.modules['joserfc'] = None\n"
        "from okta_tokens.sandbox import Sandbox, SandboxClient\n"
        "Sandbox()\n"
        "for make in (\n"
        "    lambda: SandboxClient('app', keys=[{'kty': 'RSA'}]),\n"
        "    lambda: Sandbox(signed_tokens=True),\n"
        "):\n"
        "    try: make()\n"
        "    except ImportError as error: print(error)"
    )

    assert output.count("pip install 'okta-tokens[jwt]'") == 2
