"""Private keys: their forms, their checks, and their signatures."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import time
import warnings
from collections.abc import Callable
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from okta_tokens._auth.key_forms import CERTIFICATE, ENCRYPTED, PUBLIC
from okta_tokens._auth.keys import _LOADED, LoadedKey, new_key, parse_key, public_thumbprint
from okta_tokens._auth.signing import sign_jwt
from tests.keys import (
    CURVES,
    PrivateKey,
    der,
    ec_key,
    jwk,
    old_pem,
    pem,
    public_der,
    public_jwk,
    public_pem,
    rsa_key,
    verified,
)

QUICK = settings(max_examples=150, deadline=None, database=None, derandomize=True)

UNKNOWN_FORM = (
    "has no known form; give PEM or a JWK as text, PEM or DER as bytes, a JWK as a mapping, "
    "a pathlib.Path, or a key object of the cryptography package"
)
EMPTY = "is empty; check where it comes from"
CUT_OFF = "is cut off: its last line, which begins with -----END, is missing; copy the whole key"
NO_KTY = "is JSON that is no JWK: it has no `kty`; give the JWK itself"
WRONG_TYPE = "is neither RSA nor on one of the curves P-256, P-384 and P-521; make such a key"
NO_D = "is a JWK without `d`, so a public key; give the private key"
BROKEN = "is a JWK whose members do not make a key; export the key again"

FORMS: dict[str, Callable[[PrivateKey], object]] = {
    "pem": pem,
    "pem-text": lambda key: pem(key).decode(),
    "pem-text-of-one-line": lambda key: pem(key).decode().replace("\n", "\\n"),
    "pem-with-space-around": lambda key: b"\n\n" + pem(key) + b"\n ",
    "old-pem": old_pem,
    "der": der,
    "jwk": jwk,
    "jwk-text": lambda key: json.dumps(jwk(key)),
    "jwk-bytes": lambda key: json.dumps(jwk(key), indent=2).encode(),
    "object": lambda key: key,
}
KEYS: list[tuple[PrivateKey, str]] = [
    (rsa_key(), "RS256"),
    *((ec_key(algorithm), algorithm) for algorithm in CURVES),
]


def loaded(material: object, kid: str | None = None, algorithm: str | None = None) -> LoadedKey:
    """Return a valid key."""
    key = parse_key(material, kid=kid, algorithm=algorithm)
    assert isinstance(key, LoadedKey), key
    return key


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_every_form_of_a_key_signs(form: Callable[[PrivateKey], object]) -> None:
    """A key in any form signs with the algorithm of its type."""
    for key, algorithm in KEYS:
        token = await sign_jwt(loaded(form(key)), {"iss": "me"}, {})

        decoded = verified(token, key)
        assert decoded.header == {"alg": algorithm}
        assert decoded.claims == {"iss": "me"}


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
async def test_an_rsa_key_signs_with_each_algorithm(algorithm: str) -> None:
    """The caller's algorithm wins over the JWK's algorithm, and that over the default."""
    key = rsa_key()

    for each in (
        loaded(key, algorithm=algorithm),
        loaded(jwk(key, alg=algorithm)),
        loaded(jwk(key, alg="RS256"), algorithm=algorithm),
    ):
        assert verified(await sign_jwt(each, {}, {}), key).header["alg"] == algorithm


def test_the_id_of_a_key() -> None:
    """The caller's `kid` wins over the `kid` of the JWK, which must be a string."""
    key = ec_key()

    assert loaded(key).kid is None
    assert loaded(jwk(key)).kid is None
    assert loaded(jwk(key, kid="of the jwk")).kid == "of the jwk"
    assert loaded(jwk(key, kid="of the jwk"), kid="given").kid == "given"
    assert loaded(jwk(key, kid=7)).kid is None


def test_the_public_key_contains_nothing_private() -> None:
    """The public JWK has only the required members, and the thumbprint is that of RFC 7638."""
    for key in (rsa_key(), ec_key()):
        public = loaded(jwk(key, kid="1", use="sig", alg=None)).public_jwk
        members = {"kty", "n", "e"} if key is rsa_key() else {"kty", "crv", "x", "y"}

        assert {*public} == members
        assert public == {name: public_jwk(key)[name] for name in members}
        assert loaded(pem(key)).thumbprint == loaded(jwk(key)).thumbprint
        assert len(loaded(key).thumbprint) == 43


def small_rsa_key() -> object:
    """Return an RSA key of 1024 bits, which is too short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rsa_key(1_024)


BAD: list[tuple[str, Callable[[], object], str]] = [
    ("nothing", lambda: b"", EMPTY),
    ("nothing-text", lambda: "", EMPTY),
    ("none", lambda: None, UNKNOWN_FORM),
    ("number", lambda: 5, UNKNOWN_FORM),
    ("junk", lambda: b"\x00\x01", UNKNOWN_FORM),
    ("text", lambda: "a secret, perhaps", UNKNOWN_FORM),
    ("surrogates", lambda: "\ud800", UNKNOWN_FORM),
    ("a-path-as-text", lambda: "/etc/key.pem", UNKNOWN_FORM),
    ("half-a-pem", lambda: pem(ec_key())[:-80], CUT_OFF),
    ("list", lambda: "[1]", UNKNOWN_FORM),
    ("deep-json", lambda: "[" * 100_000, UNKNOWN_FORM),
    ("empty-jwk", dict, NO_KTY),
    ("encrypted-pem", lambda: pem(ec_key(), b"x"), ENCRYPTED),
    ("encrypted-der", lambda: der(ec_key(), b"x"), ENCRYPTED),
    ("public-pem", lambda: public_pem(rsa_key()), PUBLIC),
    ("public-der", lambda: public_der(rsa_key()), PUBLIC),
    ("public-object", lambda: rsa_key().public_key(), PUBLIC),
    ("certificate", lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n", CERTIFICATE),
    ("public-jwk", lambda: public_jwk(ec_key()), NO_D),
    ("short", small_rsa_key, "has 1024 bits; use an RSA key with at least 2048 bits"),
    ("another-curve", lambda: ec.generate_private_key(ec.SECP256K1()), WRONG_TYPE),
    ("ed25519", ed25519.Ed25519PrivateKey.generate, WRONG_TYPE),
    ("dsa", lambda: dsa.generate_private_key(1_024), WRONG_TYPE),  # noqa: S505 - refused
    ("oct", lambda: {"kty": "oct", "k": "AAAA"}, WRONG_TYPE),
    ("kty-list", lambda: {"kty": ["RSA"]}, WRONG_TYPE),
    ("jwk-of-nonsense", lambda: {"kty": "EC", "crv": "P-256", "x": "!", "y": 5, "d": []}, BROKEN),
    ("jwk-of-two-keys", lambda: {**jwk(ec_key()), "d": jwk(ec_key(number=1))["d"]}, BROKEN),
    ("jwk-without-y", lambda: {k: v for k, v in jwk(ec_key()).items() if k != "y"}, BROKEN),
    (
        "for-encryption",
        lambda: jwk(ec_key(), use="enc"),
        "is a JWK whose `use` is not sig; give a key for signing",
    ),
    (
        "another-algorithm",
        lambda: jwk(ec_key(), alg="ES384"),
        "does not fit the algorithm; use ES256",
    ),
    (
        "an-algorithm-of-pss",
        lambda: jwk(rsa_key(), alg="PS256"),
        "does not fit the algorithm; use RS256 or RS384 or RS512",
    ),
]


@pytest.mark.parametrize(("make", "problem"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_sign_is_refused(make: Callable[[], object], problem: str) -> None:
    """An invalid key is refused with a message that does not repeat the key."""
    assert parse_key(make(), kid=None, algorithm=None) == problem


def test_a_key_with_one_wrong_byte_is_refused() -> None:
    """The numbers of an RSA key belong together, so each wrong byte of its file is noticed."""
    traditional = PrivateFormat.TraditionalOpenSSL
    text = rsa_key().private_bytes(Encoding.DER, traditional, NoEncryption())
    wrong = (text[:i] + bytes([text[i] ^ 1]) + text[i + 1 :] for i in range(len(text)))

    problems = [parse_key(each, kid=None, algorithm=None) for each in wrong]

    assert all(isinstance(problem, str) for problem in problems)
    assert "has numbers that do not belong together; export the key again" in problems


@pytest.mark.parametrize("form", ["PEM", "DER", "JWK", "OpenSSH"])
def test_to_load_an_rsa_key_is_no_longer_than_a_few_signatures(form: str) -> None:
    """No form of an RSA key is tested for primes, which takes as long as 60 signatures."""
    key = rsa_key()
    forms: dict[str, object] = {"PEM": pem(key), "DER": der(key), "JWK": jwk(key)}
    forms["OpenSSH"] = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    def load() -> None:
        _LOADED.clear()
        loaded(forms[form])

    def sign() -> None:
        key.sign(b"x", PKCS1v15(), SHA256())

    assert shortest(load) < 15 * shortest(sign)


def shortest(step: Callable[[], None]) -> float:
    """Return the CPU time of the fastest of ten runs, in seconds."""
    times: list[float] = []
    for _ in range(10):
        began = time.thread_time()
        step()
        times.append(time.thread_time() - began)
    return min(times)


def test_a_jwk_needs_no_factors() -> None:
    """The modulus and the two exponents are a key; one factor alone is not."""
    full = jwk(rsa_key())
    numbers = {name: full[name] for name in ("kty", "n", "e", "d")}

    assert loaded(numbers) == loaded(full)
    assert parse_key({**numbers, "p": full["p"]}, kid=None, algorithm=None) == BROKEN


def test_an_algorithm_that_does_not_fit_is_refused() -> None:
    """A key for one algorithm does not sign with another."""
    assert parse_key(rsa_key(), kid=None, algorithm="ES256") == (
        "does not fit the algorithm; use RS256 or RS384 or RS512"
    )


def test_an_object_of_another_kind_of_public_key_is_refused() -> None:
    """A public key of any type is refused as a public key."""
    public = ed25519.Ed25519PrivateKey.generate().public_key()

    assert parse_key(public, kid=None, algorithm=None) == PUBLIC
    raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert parse_key(raw, kid=None, algorithm=None) == PUBLIC


@QUICK
@given(
    st.one_of(
        st.binary(max_size=80),
        st.text(max_size=40),
        st.binary(max_size=20).map(lambda tail: der(ec_key())[:60] + tail),
        st.dictionaries(
            st.sampled_from(["kty", "crv", "x", "y", "d", "n", "e", "alg", "use", "kid", "p", "q"]),
            st.sampled_from(["RSA", "EC", "P-256", "AQAB", "", "sig", "ES256"])
            | st.none()
            | st.integers(),
        ),
        st.integers(),
    )
)
def test_any_value_is_parsed_or_refused(material: object) -> None:
    """Any value is refused with one short sentence; no error of a library escapes."""
    problem = parse_key(material, kid=None, algorithm=None)

    assert isinstance(problem, str)
    assert len(problem) < 200
    assert problem.isprintable()


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "RS256"])
async def test_a_new_key_signs(algorithm: str) -> None:
    """Each algorithm has new keys, and each key is different."""
    key, other = new_key(algorithm), new_key(algorithm)

    assert isinstance(key, LoadedKey)
    assert isinstance(other, LoadedKey)
    assert key.algorithm == algorithm
    assert key != other
    assert (await key.sign(b"x")) != b""


def test_a_key_for_an_unknown_algorithm_is_not_made() -> None:
    """Keys are made only for the algorithms that Okta verifies."""
    assert new_key("HS256") == (
        "has an unknown algorithm; use one of RS256, RS384, RS512, ES256, ES384, ES512"
    )


async def test_rsa_signs_in_a_worker_thread_and_curves_in_place() -> None:
    """An RSA signature takes milliseconds, so it does not block the event loop."""
    threads: list[int] = []

    def spy(key: LoadedKey) -> None:
        sign = key._model.sign

        def noted(signing_input: bytes, own: object) -> bytes:
            threads.append(threading.get_ident())
            return sign(signing_input, own)

        key._model = type("Model", (), {"sign": staticmethod(noted)})()

    for key in (rsa_key(), ec_key()):
        one = loaded(key)
        spy(one)
        await one.sign(b"x")

    assert threads[0] != threading.get_ident()
    assert threads[1] == threading.get_ident()


async def test_a_cancelled_signature_ends_at_once() -> None:
    """A caller that is cancelled while a worker thread signs does not wait for the thread."""
    release = threading.Event()
    key = loaded(rsa_key())
    with patch.object(key._model, "sign", lambda *_: release.wait(10) and b""):
        task = asyncio.ensure_future(key.sign(b"x"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not release.is_set()
        release.set()


@pytest.mark.parametrize("key", [rsa_key(), ec_key("ES384")], ids=["rsa", "ec"])
def test_equality_and_copies(key: PrivateKey) -> None:
    """Keys are equal if value, id and algorithm are; a copy is the key itself."""
    one = loaded(key, kid="1")

    assert one == loaded(pem(key), kid="1")
    assert hash(one) == hash(loaded(pem(key), kid="1"))
    assert one != loaded(key, kid="2")
    assert one != loaded(ec_key(number=2), kid="1")
    assert one != "something else"
    assert copy.deepcopy(one) is one


def test_keys_with_different_algorithms_differ() -> None:
    """The same RSA key with another algorithm is not equal."""
    assert loaded(rsa_key()) != loaded(rsa_key(), algorithm="RS512")


def test_repr() -> None:
    """The repr contains the algorithm and the public thumbprint."""
    key = loaded(ec_key())

    assert repr(key) == f"<ES256 key {key.thumbprint}>"


def test_several_keys_in_one_text_are_refused() -> None:
    """If a text holds several private keys, none of them is chosen silently."""
    problem = parse_key(pem(ec_key()) + pem(ec_key(number=1)), kid=None, algorithm=None)

    assert problem == "is several keys in one text; give one of them"


# Thumbprints of public keys


@pytest.mark.parametrize("key", [rsa_key(), ec_key("ES384")], ids=["rsa", "ec"])
def test_every_form_of_a_public_key_has_its_thumbprint(key: PrivateKey) -> None:
    """PEM, DER, a JWK and an object of one public key have the thumbprint of the key."""
    forms: tuple[object, ...] = (
        public_pem(key),
        public_pem(key).decode().replace("\n", "\\n"),
        public_der(key),
        public_jwk(key, kid="1", use="sig"),
        json.dumps(public_jwk(key)),
        key.public_key(),
    )

    for form in forms:
        assert public_thumbprint(form) == (loaded(key).thumbprint, None)


def test_a_private_key_is_no_public_key() -> None:
    """A private key, in any form, is refused as a public key."""
    for form in (pem(ec_key()), jwk(ec_key()), ec_key()):
        assert public_thumbprint(form) == (None, "is a private key; give the public key")


@pytest.mark.parametrize("form", [b"", b"x", 5, {"kty": "oct", "k": "AAAA"}, {"kty": "EC"}])
def test_anything_else_is_no_public_key(form: object) -> None:
    """What is not a public key is refused with the forms of one."""
    thumbprint, problem = public_thumbprint(form)

    assert thumbprint is None
    assert str(problem).startswith("is no public key of RSA or of an elliptic curve; give PEM")
