"""A secret that a person put into the place of another setting is printed nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from okta_tokens import (
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    DPoP,
    OktaClient,
    PrivateKeyJWT,
    RetryPolicy,
    TokenProvider,
)
from okta_tokens.errors import ConfigurationError, CredentialError, TransportError
from okta_tokens.sandbox import Sandbox
from okta_tokens.stores.redis import RedisTokenStore, generate_key
from tests.frames import shown_in_frames
from tests.keys import ec_key, pem

ID = "0oa1b2C3d4E5f6G7h8I9"
ORDINARY = "a-secret-of-my-own"
GENERATED = "hQ7_x2Vd9LkTz4RmPw8sYb3NcJf6GuE1aXoKi5-vD0tBqZyC"
PEM = pem(ec_key()).decode()
JWT = f"eyJhbGciOiJSUzI1NiIsImtpZCI6ImExIn0.{'eyJpc3MiOiJodHRwczovL2Fj' * 4}.{'c2lnbmF0dXJl' * 29}"


def refusal(make: Callable[[], object], *secrets: str) -> str:
    """Return the message with which values are refused; fail if it or a frame has a secret."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    for secret in secrets:
        assert secret not in f"{caught.value} {caught.value!r}"
        assert shown_in_frames(caught.value, secret) == []
    return str(caught.value)


METHODS = (ClientSecretBasic, ClientSecretPost, ClientSecretJWT)


@pytest.mark.parametrize("secret", [ORDINARY, GENERATED, "x" * 32, "1oa1b2C3"])
@pytest.mark.parametrize("method", METHODS)
def test_a_client_id_and_a_secret_in_each_others_place_are_refused(
    method: type[ClientSecretBasic | ClientSecretPost | ClientSecretJWT], secret: str
) -> None:
    """If the secret begins as Okta's client ids do, and the client id does not, both are wrong."""
    client_id = ID + "a" * 12 if method is ClientSecretJWT else ID

    message = refusal(
        lambda: OktaClient("acme.okta.com", secret, method(client_id)), secret, client_id
    )

    assert message.startswith("OktaClient: client_id: ")


@pytest.mark.parametrize(
    ("client_id", "secret"),
    [(ID, ORDINARY), (ID, ID), ("my-own-id", ORDINARY), ("my-own-id", f"0oa{GENERATED}")],
)
def test_what_may_be_right_is_accepted(client_id: str, secret: str) -> None:
    """A client id that an administrator chose, and a long secret with any beginning, are valid."""
    assert OktaClient("acme.okta.com", client_id, ClientSecretBasic(secret)).client_id == client_id


def test_the_two_variables_in_each_others_place_are_named() -> None:
    """The environment's error names both variables, and shows neither value."""
    environ = {
        "OKTA_CLIENT_ORGURL": "acme.okta.com",
        "OKTA_CLIENT_CLIENTID": ORDINARY,
        "OKTA_CLIENT_SECRET": ID,
    }

    assert refusal(lambda: OktaClient.from_env(environ), ORDINARY, ID) == (
        "environment: OKTA_CLIENT_CLIENTID: holds the secret, and OKTA_CLIENT_SECRET the client "
        "id; exchange them"
    )


@pytest.mark.parametrize("method", METHODS)
async def test_a_callable_that_returns_the_client_id_is_refused(
    method: type[ClientSecretBasic | ClientSecretPost | ClientSecretJWT],
) -> None:
    """The error of the first attempt shows neither value, and no request is sent."""
    client_id = ID + "a" * 12
    async with Sandbox() as okta, TokenProvider(retry=RetryPolicy(attempts=1)) as provider:
        client = OktaClient(okta.origin, ORDINARY, method(lambda: client_id))
        with pytest.raises(CredentialError) as caught:
            await provider.get_token(client, "a")

    assert str(caught.value).startswith("the callable for the client secret returned a client id")
    assert caught.value.key is None
    assert ORDINARY not in str(caught.value)
    assert ID not in str(caught.value)
    assert okta.token_requests == 0


def client(**options: Any) -> OktaClient:  # noqa: ANN401 - invalid values, too
    """Return a client in which one value is replaced."""
    values = {
        "domain": "acme.okta.com",
        "client_id": ID,
        "authentication": ClientSecretBasic(ORDINARY),
        **options,
    }
    return OktaClient(**values)


MISPLACED: dict[str, Callable[[str], object]] = {
    "domain": lambda secret: client(domain=secret),
    "user of the domain": lambda secret: client(domain=f"https://me:{secret}@acme.okta.com"),
    "path of the domain": lambda secret: client(domain=f"https://acme.okta.com/{secret}"),
    "query of the domain": lambda secret: client(domain=f"https://acme.okta.com?{secret}"),
    "part of the domain": lambda secret: client(domain=f"{secret}.okta.com"),
    "client_id": lambda secret: client(client_id=secret),
    "client_id and secret": lambda secret: client(client_id=f"{ID}:{secret}"),
    "authentication": lambda secret: client(authentication=secret),
    "authorization_server": lambda secret: client(authorization_server=secret),
    "dpop": lambda secret: client(dpop=secret),
    "path": OktaClient.from_file,
    "allow_http": lambda secret: client(allow_http=secret),
    "algorithm": lambda secret: PrivateKeyJWT(ec_key(), algorithm=secret),
    "algorithm of a secret": lambda secret: ClientSecretJWT(ORDINARY * 2, algorithm=secret),
    "algorithm of DPoP": lambda secret: DPoP(algorithm=secret),
    "client": lambda secret: TokenProvider().source(secret, "a"),  # type: ignore[arg-type]  # deliberately
    "scopes": lambda secret: TokenProvider().source(client(), secret),
    "one of the scopes": lambda secret: TokenProvider().source(client(), f"a {secret} b"),
    "item of the scopes": lambda secret: TokenProvider().source(client(), ["a", secret]),
    "prefix": lambda secret: RedisTokenStore(
        "redis://localhost", keys=generate_key(), prefix=secret
    ),
    "url": lambda secret: RedisTokenStore(secret, keys=generate_key()),
    "keys": lambda secret: RedisTokenStore("redis://localhost", keys=secret),
    "store": lambda secret: TokenProvider(store=secret),  # type: ignore[arg-type]  # deliberately
    "user_agent": lambda secret: TokenProvider(user_agent=secret),
    "session": lambda secret: TokenProvider(session=secret),  # type: ignore[arg-type]  # deliberately
}
"""Makes with a secret in the place of another value."""


@pytest.mark.parametrize("secret", [GENERATED, PEM, JWT], ids=["secret", "key", "token"])
@pytest.mark.parametrize("place", MISPLACED)
def test_a_misplaced_secret_is_refused_and_not_shown(place: str, secret: str) -> None:
    """A generated secret, a private key or a token in a wrong place is an error without it."""
    refusal(lambda: MISPLACED[place](secret), secret, secret[:40], repr(secret)[1:40])


@pytest.mark.parametrize("secret", [PEM, PEM.replace("\n", "\\n"), "k" * 300])
def test_a_private_key_is_no_key_id(secret: str) -> None:
    """The id of a key is sent in the clear, so a key in its place is refused."""

    async def sign(data: bytes) -> bytes:
        return data

    for make in (
        lambda: PrivateKeyJWT(ec_key(), kid=secret),
        lambda: PrivateKeyJWT.from_signer(sign, kid=secret, algorithm="RS256"),
    ):
        assert "kid must be the id of the key" in refusal(make, secret, secret[30:60])


def test_a_key_of_the_store_is_no_prefix() -> None:
    """The prefix is not encrypted, so a key in its place is refused."""
    key = generate_key()

    message = refusal(
        lambda: RedisTokenStore("redis://localhost", keys=generate_key(), prefix=key), key
    )

    assert message.startswith("prefix: must be up to 128 printable ASCII characters")


async def test_a_token_as_a_scope_is_in_no_frame_of_get_token(closed_port: int) -> None:
    """`get_token` refuses a token in the place of the scopes without a frame that has it.

    The cache lacks the token, and the `KeyError` that says so is the context of the error.
    """
    known = client(domain=f"http://127.0.0.1:{closed_port}")
    async with TokenProvider(retry=RetryPolicy(attempts=1)) as provider:
        with pytest.raises(TransportError):
            await provider.get_token(known, "a")
        for scopes in (JWT, [JWT], {JWT}, f"a {JWT}"):
            with pytest.raises(ConfigurationError, match="looks like a token") as caught:
                await provider.get_token(known, scopes)

            assert shown_in_frames(caught.value, JWT) == []
            assert JWT not in repr(caught.value.__context__)
    with pytest.raises(Exception, match="closed") as closed:
        await provider.get_token(client(), JWT)
    assert shown_in_frames(closed.value, JWT) == []
