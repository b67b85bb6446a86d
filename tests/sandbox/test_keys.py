"""Keys are checked when they are registered, and the extra for them is loaded when it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from okta_tokens.sandbox._keys import SigningKey, public_key, signed_by, signed_with
from tests.sandbox.jwts import SECRET, assertion, ec_key, hmac_assertion, public, rsa_key


@pytest.mark.parametrize(
    "key",
    [rsa_key(), ec_key(), ec_key(curve="P-384"), ec_key(curve="P-521")],
    ids=["RSA", "P-256", "P-384", "P-521"],
)
def test_rsa_and_three_curves_are_known(key: RSAKey) -> None:
    """A public key of a known type is read, and has the thumbprint of RFC 7638."""
    assert public_key(public(key)).thumbprint() == key.thumbprint()


SHORT = {"kty": "RSA", "e": "AQAB", "n": "u" * 341}


@pytest.mark.parametrize(
    ("jwk", "message"),
    [
        ({**ec_key().as_dict(private=True)}, "public"),
        ({**rsa_key().as_dict(private=True)}, "public"),
        ({"kty": "oct", "k": "AAAA"}, "public"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}, "RSA, or EC"),
        (public(ec_key(), crv="secp256k1"), "RSA, or EC"),
        (public(ec_key(), crv=["P-256"]), "RSA, or EC"),
        ({}, "RSA, or EC"),
        (public(ec_key(), use="enc"), "for signatures"),
        (public(ec_key(), x=None), "well-formed"),
        (public(ec_key(), y="AAAA"), "well-formed"),
        (public(ec_key(), y="A" * 43), "well-formed"),
        (public(ec_key(), kid=1), "well-formed"),
        (SHORT, "well-formed"),
        (public(rsa_key(), n=None), "well-formed"),
        (public(rsa_key(), n="caf\u00e9"), "well-formed"),
        (public(rsa_key(), e="Ag"), "well-formed"),
        (public(rsa_key(), e=3), "well-formed"),
    ],
)
def test_other_keys_are_refused(jwk: dict[str, object], message: str) -> None:
    """A key that is private, unknown, too small or malformed is a `ValueError` that quotes none."""
    with pytest.raises(ValueError, match=message) as raised:
        public_key(jwk)

    assert raised.value.__cause__ is None
    assert all(str(part) not in str(raised.value) for part in jwk.values() if len(str(part)) > 9)


def test_a_signature_is_the_holders_or_not() -> None:
    """A signature counts with the key, or the secret, that made it, and with no other."""
    signed, hashed = assertion("https://h"), hmac_assertion("https://h")

    assert signed_by(signed, ec_key())
    assert not signed_by(signed, ec_key("two"))
    assert not signed_by(signed, rsa_key())
    assert not signed_by(signed[:-4] + "AAAA", ec_key())
    assert not signed_by(signed + "\u00e9", ec_key())
    assert signed_with(hashed, SECRET)
    assert not signed_with(hashed, SECRET + "x")


def test_a_signing_key_signs_what_its_jwks_verifies() -> None:
    """The key is made once, signs with RS256, and publishes its public part alone."""
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
    """Return what a fresh interpreter prints."""
    return subprocess.check_output([sys.executable, "-c", program], text=True)


def test_the_sandbox_loads_no_cryptography() -> None:
    """Importing the sandbox, and making one of secrets, loads nothing of the extra."""
    loaded = run(
        "from okta_tokens.sandbox import Sandbox; Sandbox()\n"
        "import sys; print(*sys.modules, sep='\\n')"
    ).split()

    assert "okta_tokens.sandbox" in loaded
    assert not {"joserfc", "cryptography", "okta_tokens.sandbox._keys"}.intersection(loaded)


@pytest.mark.parametrize(
    "made", ["SandboxClient('app', keys=[{'kty': 'RSA'}])", "Sandbox(signed_tokens=True)"]
)
def test_without_the_extra_an_error_says_what_to_install(made: str) -> None:
    """Where joserfc is missing, keys and signed tokens are an `ImportError` with the command."""
    said = run(
        "import sys; sys.modules['joserfc'] = None\n"
        "from okta_tokens.sandbox import Sandbox, SandboxClient\n"
        "Sandbox()\n"
        f"try: {made}\n"
        "except ImportError as error: print(error)"
    )

    assert "pip install 'okta-tokens[jwt]'" in said
