"""Client assertions: what they say, who signs them, and how a new key is picked up."""

from __future__ import annotations

import asyncio
import copy
import hmac
import json
import pickle
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from okta_tokens import ClientSecretJWT, PrivateKeyJWT, TokenRequest
from okta_tokens._auth.authentication import ClientAuthentication, authenticate
from okta_tokens._auth.client_assertion import KeyCallable
from okta_tokens._auth.signing import KeyMaterial
from okta_tokens.errors import ConfigurationError, CredentialError
from tests.keys import ec_key, jwk, pem, public_pem, rsa_key, verified
from tests.runtime.test_redaction import frames_of, locals_with

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d-1234567890-abcdefghijklmnopqrs"
URL = "https://acme.okta.com/oauth2/default/v1/token"
NOW = 1_800_000_000.75
PEM = pem(ec_key()).decode()
BODY_OF_PEM = PEM.split("\n")[1]
"""What no message and no frame may hold."""


async def request(method: ClientAuthentication, url: str = URL) -> TokenRequest:
    """Return a request that a method has edited."""
    made = TokenRequest(url, "0oa1", {}, {}, NOW)
    assert await authenticate(method, made) is None
    return made


async def failure(method: ClientAuthentication) -> CredentialError:
    """Return why a method failed."""
    error = await authenticate(method, TokenRequest(URL, "0oa1", {}, {}, NOW))
    assert error is not None
    return error


def parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of an assertion."""
    head, claims, _ = assertion.split(".")
    return json.loads(urlsafe_b64decode(head + "==")), json.loads(urlsafe_b64decode(claims + "=="))


def refusal(make: Callable[..., object], *args: object, **options: object) -> str:
    """Return the message with which a method is refused; it has left nothing behind."""
    with pytest.raises(ConfigurationError) as caught:
        make(*args, **options)
    assert locals_with(caught.value, BODY_OF_PEM) == []
    assert locals_with(caught.value, SECRET) == []
    return str(caught.value)


# What an assertion says


@pytest.mark.parametrize(
    "method",
    [PrivateKeyJWT(PEM), ClientSecretJWT(SECRET), PrivateKeyJWT(rsa_key())],
    ids=["ec", "secret", "rsa"],
)
async def test_the_claims_are_what_okta_documents(method: ClientAuthentication) -> None:
    """Issuer and subject are the client, the audience is the URL of this very request."""
    for url in (URL, "https://acme.okta.com/oauth2/v1/revoke"):
        made = await request(method, url)
        _, claims = parts(made.form["client_assertion"])

        assert made.form["client_assertion_type"] == (
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        )
        assert {*made.form} == {"client_assertion", "client_assertion_type"}
        assert made.headers == {}
        assert (claims["iss"], claims["sub"], claims["aud"]) == ("0oa1", "0oa1", url)
        assert {*claims} == {"iss", "sub", "aud", "iat", "exp", "jti"}


async def test_the_times_are_those_of_the_servers_clock() -> None:
    """It expires five minutes from now, and was issued a little before, by the server's clock."""
    _, claims = parts((await request(PrivateKeyJWT(PEM))).form["client_assertion"])

    assert claims["exp"] == 1_800_000_300
    assert 5 <= 1_800_000_000 - claims["iat"] <= 60
    assert type(claims["exp"]) is type(claims["iat"]) is int


async def test_every_assertion_has_an_id_of_its_own() -> None:
    """Okta takes an id once, so each request has a new one."""
    method = PrivateKeyJWT(PEM)
    made = [parts((await request(method)).form["client_assertion"])[1] for _ in range(50)]

    assert len({claims["jti"] for claims in made}) == 50


async def test_the_header_tells_the_key() -> None:
    """`kid` is in the header if it is known, and not in the header if it is not."""
    assert parts((await request(PrivateKeyJWT(PEM))).form["client_assertion"])[0] == {
        "alg": "ES256",
        "typ": "JWT",
    }
    for method in (PrivateKeyJWT(PEM, kid="k1"), PrivateKeyJWT(jwk(ec_key(), kid="k1"))):
        head, _ = parts((await request(method)).form["client_assertion"])
        assert head == {"alg": "ES256", "typ": "JWT", "kid": "k1"}


async def test_it_is_signed_with_the_key() -> None:
    """The signature is that of the key, by its algorithm or the one that was chosen."""
    made = await request(PrivateKeyJWT(rsa_key(), algorithm="RS512"))

    assert verified(made.form["client_assertion"], rsa_key()).header["alg"] == "RS512"


async def test_no_text_may_repeat_an_assertion_or_a_secret() -> None:
    """What was sent, and what it was signed with, are secrets of the request."""
    made = await request(PrivateKeyJWT(PEM))
    assert made.secrets == [made.form["client_assertion"]]

    made = await request(ClientSecretJWT(SECRET))
    assert made.secrets == [SECRET, made.form["client_assertion"]]
    assert SECRET not in str(made.form)


# With the secret


@pytest.mark.parametrize(
    ("algorithm", "digest"), [("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")]
)
async def test_a_secret_signs_by_hmac(algorithm: str, digest: str) -> None:
    """The signature is the HMAC of the first two parts, with the secret's characters."""
    made = await request(ClientSecretJWT(SECRET, algorithm=algorithm))
    signed, _, signature = made.form["client_assertion"].rpartition(".")

    assert parts(made.form["client_assertion"])[0] == {"alg": algorithm, "typ": "JWT"}
    assert urlsafe_b64decode(signature + "==") == hmac.digest(
        SECRET.encode(), signed.encode(), digest
    )


@pytest.mark.parametrize(("algorithm", "shortest"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
async def test_a_short_secret_is_refused(algorithm: str, shortest: int) -> None:
    """A secret has at least as many characters as the hash has bytes, also one of a callable."""
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
    """What is no secret for the other methods is none for this one."""
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
    """Two are equal if secret and algorithm are, and show neither."""
    one = ClientSecretJWT(SECRET)

    assert one == ClientSecretJWT(SECRET)
    assert hash(one) == hash(ClientSecretJWT(SECRET))
    assert one != ClientSecretJWT(SECRET, algorithm="HS512")
    assert one != ClientSecretJWT(SECRET[::-1])
    assert repr(one) == "ClientSecretJWT(<secret>)"
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes


# Whose key


async def give_slowly() -> KeyMaterial:
    """Return the key, some time later."""
    await asyncio.sleep(0)
    return PEM


@pytest.mark.parametrize(
    "source",
    [lambda: PEM, give_slowly, ec_key, lambda: jwk(ec_key())],
    ids=["plain", "async", "object", "jwk"],
)
async def test_a_callable_is_asked_for_the_key(source: KeyCallable) -> None:
    """A callable may be plain or async, and returns a key in any form."""
    made = await request(PrivateKeyJWT(source))

    assert verified(made.form["client_assertion"], ec_key()).claims["iss"] == "0oa1"


async def test_a_rotated_key_is_picked_up() -> None:
    """A callable is asked for every assertion, and the id of the key travels with it."""
    keys: list[KeyMaterial | tuple[KeyMaterial, str]] = [
        (pem(ec_key()), "first"),
        (pem(rsa_key()), "second"),
        jwk(ec_key(number=1), kid="third"),
        pem(ec_key()),
    ]
    method = PrivateKeyJWT(lambda: keys.pop(0), kid="told")

    for key, kid in (
        (ec_key(), "first"),
        (rsa_key(), "second"),
        (ec_key(number=1), "told"),
        (ec_key(), "told"),
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


async def test_a_key_that_stays_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To check a key takes long, so one that is the same as before is not checked again."""
    method = PrivateKeyJWT(lambda: PEM)
    first = (await request(method)).credential
    monkeypatch.setattr(
        "okta_tokens._auth.client_assertion.load_key", lambda *_, **__: "was read again"
    )

    assert (await request(method)).credential is first


async def test_a_key_file_is_read_every_time(tmp_path: Path) -> None:
    """A key file that is replaced is picked up; one that is gone is an error that says so."""
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    method = PrivateKeyJWT(path, kid="k")
    assert verified((await request(method)).form["client_assertion"], ec_key()).header["kid"] == "k"

    path.write_bytes(pem(rsa_key()))
    assert verified((await request(method)).form["client_assertion"], rsa_key()).claims
    path.unlink()
    error = await failure(method)

    assert str(error) == (
        "the private key from its file is empty, or its file cannot be read; check the path and "
        "the permissions of the file"
    )
    assert repr(method) == f"PrivateKeyJWT({path!r})"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            "",
            "is empty, or its file cannot be read; check the path and the permissions of the file",
        ),
        (public_pem(rsa_key()), "is a public key; give the private key"),
        ((PEM, "kid", "more"), "has no known form"),
        (None, "has no known form"),
    ],
    ids=["empty", "public", "tuple", "none"],
)
async def test_a_callable_that_returns_no_key(answer: object, problem: str) -> None:
    """What is no key fails the request, for good, and leaves nothing of it behind."""
    error = await failure(PrivateKeyJWT(cast("KeyCallable", lambda: answer)))

    assert str(error).startswith(f"the private key from its callable {problem}")
    assert not error.retryable
    assert list(frames_of(error)) == []


async def test_a_callable_that_raises() -> None:
    """An error of the callable is told by its type, and chained."""

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
            "the key is encrypted; decrypt it, or give a callable that does",
        ),
        (PEM[:-70], {}, "the key has no known form; give PEM"),
        (
            Path("nowhere/key.pem"),
            {},
            "the key is empty, or its file cannot be read; check the path",
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
    """What can be known at construction is told there, and the key is not left behind."""
    assert refusal(PrivateKeyJWT, key, **options).startswith(f"PrivateKeyJWT: {message}")


# Where a service signs


def signer(
    answer: Callable[[bytes], object],
) -> Callable[[bytes], Awaitable[bytes]]:
    """Return an async callable that signs."""

    async def sign(signing_input: bytes) -> bytes:
        await asyncio.sleep(0)
        return cast("bytes", answer(signing_input))

    return sign


async def test_a_key_may_stay_where_it_is() -> None:
    """A service may sign: it gets the signing input, and its answer is the signature."""
    rsa = PrivateKeyJWT.from_signer(
        signer(lambda it: rsa_key().sign(it, padding.PKCS1v15(), hashes.SHA256())),
        kid="in the vault",
        algorithm="RS256",
    )
    made = await request(rsa)
    assert verified(made.form["client_assertion"], rsa_key()).header["kid"] == "in the vault"

    curve = PrivateKeyJWT.from_signer(
        signer(lambda it: ec_key().sign(it, ec.ECDSA(hashes.SHA256()))), kid=None, algorithm="ES256"
    )
    made = await request(curve)
    assert "kid" not in verified(made.form["client_assertion"], ec_key()).header


@pytest.mark.parametrize("answer", [b"", b"x", "x" * 64, None])
async def test_a_service_that_returns_no_signature(answer: object) -> None:
    """What cannot be a signature fails the request, and says whose fault it is."""
    method = PrivateKeyJWT.from_signer(signer(lambda _: answer), kid=None, algorithm="ES256")
    error = await failure(method)

    assert str(error) == (
        "the callable that signs returned no signature of ES256; return the signature of its "
        "argument as bytes"
    )


def test_a_signer_is_refused_at_once() -> None:
    """What cannot sign, or not by any algorithm of Okta's, is refused."""
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


# As a part of the key


def give() -> str:
    """Return the key."""
    return PEM


class Vault:
    """Has a key."""

    def read(self) -> str:
        """Return it."""
        return PEM

    async def sign(self, signing_input: bytes) -> bytes:
        """Sign with it."""
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
    """Keys are compared by value, callables by identity, each with its id and its algorithm."""
    for number, make in enumerate(SAME):
        for other, make_other in enumerate(SAME):
            assert (make() == make_other()) == (number == other)
        assert hash(make()) == hash(make())
        assert make() != 5


def test_a_key_in_another_form_is_the_same() -> None:
    """The same key as PEM, as an object and as a JWK is the same credential."""
    assert PrivateKeyJWT(PEM) == PrivateKeyJWT(ec_key()) == PrivateKeyJWT(jwk(ec_key()))


def test_key_files_are_compared_by_path(tmp_path: Path) -> None:
    """One file is one credential, whatever is in it."""
    (tmp_path / "a").write_text(PEM)
    (tmp_path / "b").write_text(PEM)

    assert PrivateKeyJWT(tmp_path / "a") == PrivateKeyJWT(tmp_path / "a")
    assert PrivateKeyJWT(tmp_path / "a") != PrivateKeyJWT(tmp_path / "b")


@pytest.mark.parametrize(
    "make", [SAME[0], SAME[1], SAME[4], SAME[5]], ids=["pem", "jwk", "rsa", "callable"]
)
def test_copies(make: Callable[[], PrivateKeyJWT]) -> None:
    """A copy, also one that was pickled, is equal."""
    original = make()
    travelled = cast("object", pickle.loads(pickle.dumps(original)))  # noqa: S301 - our own bytes

    assert copy.copy(original) == original
    assert copy.deepcopy(original) == original
    assert travelled == original


def test_the_repr_shows_which_key_and_nothing_of_it() -> None:
    """The repr tells the thumbprint, the callable or the signer."""
    shown = [repr(make()) for make in SAME]

    assert shown[0].startswith("PrivateKeyJWT(<ES256 key ")
    assert shown[5] == "PrivateKeyJWT(<give>)"
    assert shown[8] == "PrivateKeyJWT(<ES256 by Vault.sign>)"
    assert BODY_OF_PEM not in "".join(shown)
