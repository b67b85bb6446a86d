"""Client assertions: their claims, their signatures, and rotated keys."""

from __future__ import annotations

import asyncio
import copy
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from okta_tokens import ClientSecretJWT, PrivateKeyJWT, TokenRequest
from okta_tokens._auth.authentication import ClientAuthentication, authenticate
from okta_tokens._auth.client_assertion import KeyCallable, _Material
from okta_tokens._auth.signing import KeyMaterial
from okta_tokens.errors import ConfigurationError, CredentialError
from tests.keys import ec_key, jwk, pem, public_pem, rsa_key, verified
from tests.runtime.test_redaction import frames_of, locals_with

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d-1234567890-abcdefghijklmnopqrs"
URL = "https://acme.okta.com/oauth2/default/v1/token"
NOW = 1_800_000_000.75
PEM = pem(ec_key()).decode()
BODY_OF_PEM = PEM.split("\n")[1]
"""A text that no message and no frame may contain."""


async def request(method: ClientAuthentication, url: str = URL) -> TokenRequest:
    """Return a request with the credential of a method."""
    made = TokenRequest(url, "0oa1", {}, {}, NOW)
    assert await authenticate(method, made) is None
    return made


async def failure(method: ClientAuthentication) -> CredentialError:
    """Return the error of a method that fails."""
    error = await authenticate(method, TokenRequest(URL, "0oa1", {}, {}, NOW))
    assert error is not None
    return error


def parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of an assertion."""
    head, claims, _ = assertion.split(".")
    return json.loads(urlsafe_b64decode(head + "==")), json.loads(urlsafe_b64decode(claims + "=="))


def refusal(make: Callable[..., object], *args: object, **options: object) -> str:
    """Return the message of a refused method, and check that no frame contains a secret."""
    with pytest.raises(ConfigurationError) as caught:
        make(*args, **options)
    assert locals_with(caught.value, BODY_OF_PEM) == []
    assert locals_with(caught.value, SECRET) == []
    return str(caught.value)


# Claims and header


@pytest.mark.parametrize(
    "method",
    [PrivateKeyJWT(PEM), ClientSecretJWT(SECRET), PrivateKeyJWT(rsa_key())],
    ids=["ec", "secret", "rsa"],
)
async def test_the_claims_are_what_okta_documents(method: ClientAuthentication) -> None:
    """Issuer and subject are the client, and the audience is the URL of the request."""
    for url in (URL, "https://acme.okta.com/oauth2/v1/revoke"):
        made = await request(method, url)
        _, claims = parts(made.form["client_assertion"])

        assert made.form["client_assertion_type"] == (
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        )
        assert {*made.form} == {"client_assertion", "client_assertion_type", "client_id"}
        assert made.headers == {}
        assert (claims["iss"], claims["sub"], claims["aud"]) == ("0oa1", "0oa1", url)
        assert {*claims} == {"iss", "sub", "aud", "iat", "exp", "jti"}


async def test_the_times_are_those_of_the_servers_clock() -> None:
    """It expires 300 s from now and was issued 5 s to 60 s ago, by the server's clock."""
    _, claims = parts((await request(PrivateKeyJWT(PEM))).form["client_assertion"])

    assert claims["exp"] == 1_800_000_300
    assert 5 <= 1_800_000_000 - claims["iat"] <= 60
    assert type(claims["exp"]) is type(claims["iat"]) is int


async def test_every_assertion_has_an_id_of_its_own() -> None:
    """Okta accepts an id only once, so each request has a new id."""
    method = PrivateKeyJWT(PEM)
    made = [parts((await request(method)).form["client_assertion"])[1] for _ in range(50)]

    assert len({claims["jti"] for claims in made}) == 50


async def test_the_header_names_the_key() -> None:
    """The header contains `kid` only if the id of the key is known."""
    assert parts((await request(PrivateKeyJWT(PEM))).form["client_assertion"])[0] == {
        "alg": "ES256",
        "typ": "JWT",
    }
    for method in (PrivateKeyJWT(PEM, kid="k1"), PrivateKeyJWT(jwk(ec_key(), kid="k1"))):
        head, _ = parts((await request(method)).form["client_assertion"])
        assert head == {"alg": "ES256", "typ": "JWT", "kid": "k1"}


async def test_it_is_signed_with_the_key() -> None:
    """The key signs with the chosen algorithm."""
    made = await request(PrivateKeyJWT(rsa_key(), algorithm="RS512"))

    assert verified(made.form["client_assertion"], rsa_key()).header["alg"] == "RS512"


async def test_assertion_and_secret_are_secrets_of_the_request() -> None:
    """The assertion and the secret that signed it are in `secrets`."""
    made = await request(PrivateKeyJWT(PEM))
    assert made.secrets == [made.form["client_assertion"]]

    made = await request(ClientSecretJWT(SECRET))
    assert made.secrets == [SECRET, made.form["client_assertion"]]
    assert SECRET not in str(made.form)


# Signed with a secret


@pytest.mark.parametrize(
    ("algorithm", "digest"), [("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")]
)
async def test_a_secret_signs_by_hmac(algorithm: str, digest: str) -> None:
    """The signature is the HMAC of the first two parts with the secret."""
    made = await request(ClientSecretJWT(SECRET, algorithm=algorithm))
    signed, _, signature = made.form["client_assertion"].rpartition(".")

    assert parts(made.form["client_assertion"])[0] == {"alg": algorithm, "typ": "JWT"}
    assert urlsafe_b64decode(signature + "==") == hmac.digest(
        SECRET.encode(), signed.encode(), digest
    )


@pytest.mark.parametrize(("algorithm", "shortest"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
async def test_a_short_secret_is_refused(algorithm: str, shortest: int) -> None:
    """A secret, also of a callable, has at least as many characters as the hash has bytes."""
    short = SECRET[: shortest - 1]
    message = f"is too short for {algorithm}; use a secret of at least {shortest} characters"

    assert refusal(ClientSecretJWT, short, algorithm=algorithm) == (
        f"ClientSecretJWT: the secret {message}"
    )
    assert str(await failure(ClientSecretJWT(lambda: short, algorithm=algorithm))) == (
        f"the callable for the client secret returned a value that {message}"
    )
    assert ClientSecretJWT(SECRET[:shortest], algorithm=algorithm).algorithm == algorithm


def test_other_bad_secrets_are_refused_too() -> None:
    """The other rules for secrets apply, too."""
    assert refusal(ClientSecretJWT, "") == (
        "ClientSecretJWT: the secret is empty; copy the client secret from your app"
    )
    assert refusal(ClientSecretJWT, 5) == (
        "ClientSecretJWT: the secret is not a string; pass the client secret as a string"
    )
    assert refusal(ClientSecretJWT, SECRET, algorithm="RS256") == (
        "ClientSecretJWT: the algorithm must be one of HS256, HS384, HS512"
    )


def test_secrets_are_compared() -> None:
    """Two methods are equal if secret and algorithm are; the repr contains neither."""
    one = ClientSecretJWT(SECRET)

    assert one == ClientSecretJWT(SECRET)
    assert hash(one) == hash(ClientSecretJWT(SECRET))
    assert one != ClientSecretJWT(SECRET, algorithm="HS512")
    assert one != ClientSecretJWT(SECRET[::-1])
    assert repr(one) == "ClientSecretJWT(<secret>)"


# Signed with a private key


async def give_later() -> KeyMaterial:
    """Return the key in a later step of the event loop."""
    await asyncio.sleep(0)
    return PEM


@pytest.mark.parametrize(
    "source",
    [lambda: PEM, give_later, ec_key, lambda: jwk(ec_key())],
    ids=["plain", "async", "object", "jwk"],
)
async def test_a_callable_returns_the_key(source: KeyCallable) -> None:
    """A callable is plain or async, and returns a key in any form."""
    made = await request(PrivateKeyJWT(source))

    assert verified(made.form["client_assertion"], ec_key()).claims["iss"] == "0oa1"


async def test_a_rotated_key_is_picked_up() -> None:
    """A callable is called for every assertion, and may return the id with the key."""
    keys: list[KeyMaterial | tuple[KeyMaterial, str]] = [
        (pem(ec_key()), "first"),
        (pem(rsa_key()), "second"),
        jwk(ec_key(number=1), kid="third"),
        pem(ec_key()),
    ]
    method = PrivateKeyJWT(lambda: keys.pop(0), kid="given")

    for key, kid in (
        (ec_key(), "first"),
        (rsa_key(), "second"),
        (ec_key(number=1), "given"),
        (ec_key(), "given"),
    ):
        made = await request(method)
        assert verified(made.form["client_assertion"], key).header["kid"] == kid
    assert keys == []


async def test_a_jwk_that_is_changed_in_place_is_another_key() -> None:
    """A callable may return the same mapping with another key in it."""
    held = dict(jwk(ec_key(), kid="1"))
    method = PrivateKeyJWT(lambda: held)
    before = (await request(method)).credential
    held.update(jwk(ec_key(number=1), kid="2"))
    made = await request(method)

    assert verified(made.form["client_assertion"], ec_key(number=1)).header["kid"] == "2"
    assert made.credential != before


async def test_the_same_key_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is the same as before is not checked again, because that takes long."""
    method = PrivateKeyJWT(lambda: PEM)
    first = (await request(method)).credential
    monkeypatch.setattr(
        "okta_tokens._auth.client_assertion.load_key", lambda *_, **__: "was loaded again"
    )

    assert (await request(method)).credential is first


async def test_a_key_file_is_read_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replaced key file is used for the next request; a missing key file is an error."""
    monkeypatch.chdir(tmp_path)
    path, file = Path("key.pem"), tmp_path / "key.pem"
    file.write_text(PEM)
    method = PrivateKeyJWT(path, kid="k")
    assert verified((await request(method)).form["client_assertion"], ec_key()).header["kid"] == "k"

    file.write_bytes(pem(rsa_key()))
    assert verified((await request(method)).form["client_assertion"], rsa_key()).claims
    file.unlink()
    error = await failure(method)

    assert str(error) == (
        "the private key cannot be read from key.pem: no such file or directory; check the path"
    )
    assert repr(method) == f"PrivateKeyJWT({path!r})"


async def test_a_rotated_key_file_brings_its_id(tmp_path: Path) -> None:
    """If no `kid` is passed, each JWK that the file has in turn is used with its own `kid`."""
    file = tmp_path / "key.json"
    file.write_text(json.dumps(jwk(ec_key(), kid="1")))
    method = PrivateKeyJWT(file)

    for key, kid in ((ec_key(), "1"), (ec_key(number=1), "2"), (ec_key(number=1), "3")):
        file.write_text(json.dumps(jwk(key, kid=kid)))
        made = await request(method)

        assert verified(made.form["client_assertion"], key).header["kid"] == kid


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ("", "is empty; check where it comes from"),
        (public_pem(rsa_key()), "is a public key; give the private key"),
        ((PEM, "kid", "more"), "has no known form"),
        (None, "has no known form"),
    ],
    ids=["empty", "public", "tuple", "none"],
)
async def test_a_callable_that_returns_no_key(result: object, problem: str) -> None:
    """A value that is not a key fails the request; the error is final and has no frames."""
    error = await failure(PrivateKeyJWT(cast("KeyCallable", lambda: result)))

    assert str(error).startswith(f"the private key from its callable {problem}")
    assert not error.retryable
    assert list(frames_of(error)) == []


async def test_a_callable_that_raises() -> None:
    """The message names the type of the callable's error, which is the cause."""

    def broken() -> str:
        raise OSError("vault is sealed")

    error = await failure(PrivateKeyJWT(broken))

    assert str(error) == (
        "the callable for the client's secret, key or signature raised OSError; fix the "
        "callable, or pass the secret or key itself"
    )
    assert error.retryable
    assert str(error.__cause__) == "vault is sealed"


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        (public_pem(rsa_key()), {}, "the key is a public key; give the private key"),
        (
            pem(ec_key(), b"x"),
            {},
            "the key is encrypted; decrypt it with `openssl pkey -in FILE -out key.pem`, or give a",
        ),
        (PEM[:-20], {}, "the key is cut off: its last line, which begins with -----END, is"),
        (
            Path("nowhere/key.pem"),
            {},
            "the key cannot be read from nowhere/key.pem: no such file or directory; check the",
        ),
        (
            PEM,
            {"algorithm": "RS256"},
            "the key does not fit the algorithm; use ES256",
        ),
        (PEM, {"algorithm": "HS256"}, "the algorithm must be one of RS256, RS384, RS512, ES256,"),
        (PEM, {"kid": ""}, "kid must be a string that is not empty, or None"),
        (PEM, {"kid": 5}, "kid must be a string that is not empty, or None"),
    ],
)
def test_a_bad_key_is_refused_at_once(
    key: object, options: Mapping[str, object], message: str
) -> None:
    """An invalid key is refused when the method is made, and no frame contains it."""
    assert refusal(PrivateKeyJWT, key, **options).startswith(f"PrivateKeyJWT: {message}")


# Signed by a service


def signer(
    result: Callable[[bytes], object],
) -> Callable[[bytes], Awaitable[bytes]]:
    """Return an async callable that returns a signature."""

    async def sign(signing_input: bytes) -> bytes:
        await asyncio.sleep(0)
        return cast("bytes", result(signing_input))

    return sign


async def test_a_service_signs() -> None:
    """A service gets the signing input and returns the signature."""
    rsa = PrivateKeyJWT.from_signer(
        signer(lambda data: rsa_key().sign(data, padding.PKCS1v15(), hashes.SHA256())),
        kid="in the vault",
        algorithm="RS256",
    )
    made = await request(rsa)
    assert verified(made.form["client_assertion"], rsa_key()).header["kid"] == "in the vault"

    curve = PrivateKeyJWT.from_signer(
        signer(lambda data: ec_key().sign(data, ec.ECDSA(hashes.SHA256()))),
        kid=None,
        algorithm="ES256",
    )
    made = await request(curve)
    assert "kid" not in verified(made.form["client_assertion"], ec_key()).header


@pytest.mark.parametrize("result", [b"", b"x", "x" * 64, None])
async def test_a_service_that_returns_no_signature(result: object) -> None:
    """A value that cannot be a signature fails the request, and the message names the callable."""
    method = PrivateKeyJWT.from_signer(signer(lambda _: result), kid=None, algorithm="ES256")
    error = await failure(method)

    assert str(error) == (
        "the callable that signs returned no signature of ES256; return the signature of its "
        "argument as bytes"
    )


def test_a_signer_is_refused_at_once() -> None:
    """A signer that is not callable, or has an invalid algorithm or id, is refused."""
    sign = signer(lambda _: b"")

    assert refusal(PrivateKeyJWT.from_signer, sign, kid=None, algorithm="none").startswith(
        "PrivateKeyJWT: the algorithm must be one of RS256,"
    )
    assert refusal(PrivateKeyJWT.from_signer, "sign", kid=None, algorithm="ES256") == (
        "PrivateKeyJWT: sign must be an async callable that takes and returns bytes"
    )
    assert refusal(PrivateKeyJWT.from_signer, sign, kid="", algorithm="ES256").startswith(
        "PrivateKeyJWT: kid must be"
    )


# Identity


def give() -> str:
    """Return the key."""
    return PEM


class Vault:
    """An object that has a key."""

    def read(self) -> str:
        """Return the key."""
        return PEM

    async def sign(self, signing_input: bytes) -> bytes:
        """Return a signature."""
        return signing_input


VAULT = Vault()

SAME: list[Callable[[], PrivateKeyJWT]] = [
    lambda: PrivateKeyJWT(PEM),
    lambda: PrivateKeyJWT(jwk(ec_key(), kid="1")),
    lambda: PrivateKeyJWT(PEM, kid="2"),
    lambda: PrivateKeyJWT(rsa_key()),
    lambda: PrivateKeyJWT(rsa_key(), algorithm="RS512"),
    lambda: PrivateKeyJWT(give),
    lambda: PrivateKeyJWT(give, kid="1"),
    lambda: PrivateKeyJWT(VAULT.read),
    lambda: PrivateKeyJWT.from_signer(VAULT.sign, kid=None, algorithm="ES256"),
    lambda: PrivateKeyJWT.from_signer(VAULT.sign, kid="1", algorithm="ES256"),
    lambda: PrivateKeyJWT.from_signer(Vault.sign.__get__(VAULT), kid="1", algorithm="ES384"),
]


def test_equality() -> None:
    """Keys are compared by value and callables by identity, with their ids and algorithms."""
    for number, make in enumerate(SAME):
        for other, make_other in enumerate(SAME):
            assert (make() == make_other()) == (number == other)
        assert hash(make()) == hash(make())
        assert make() != 5


def test_a_key_in_another_form_is_the_same() -> None:
    """The same key as PEM, as an object and as a JWK makes equal methods."""
    assert PrivateKeyJWT(PEM) == PrivateKeyJWT(ec_key()) == PrivateKeyJWT(jwk(ec_key()))


def test_key_files_are_compared_by_path(tmp_path: Path) -> None:
    """Key files are compared by path, not by content."""
    (tmp_path / "a").write_text(PEM)
    (tmp_path / "b").write_text(PEM)

    assert PrivateKeyJWT(tmp_path / "a") == PrivateKeyJWT(tmp_path / "a")
    assert PrivateKeyJWT(tmp_path / "a") != PrivateKeyJWT(tmp_path / "b")


@pytest.mark.parametrize(
    "make", [SAME[0], SAME[1], SAME[4], SAME[5]], ids=["pem", "jwk", "rsa", "callable"]
)
def test_copies(make: Callable[[], PrivateKeyJWT]) -> None:
    """A copy is the original itself."""
    original = make()

    assert copy.copy(original) is copy.deepcopy([original])[0] is original


def test_the_repr_identifies_the_key() -> None:
    """The repr contains the thumbprint, the callable or the signer, but nothing of the key."""
    shown = [repr(make()) for make in SAME]

    assert shown[0].startswith("PrivateKeyJWT(<ES256 key ")
    assert shown[5] == "PrivateKeyJWT(<give>)"
    assert shown[8] == "PrivateKeyJWT(<ES256 by Vault.sign>)"
    assert BODY_OF_PEM not in "".join(shown)


def test_key_material_is_not_shown() -> None:
    """The material of a key that a worker thread loads does not show the key."""
    assert repr(_Material(PEM, "k", "ES256")) == "<key material for ES256>"
