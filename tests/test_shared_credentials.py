"""The credential is part of a token's identity in a store: no process gets another one's token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from okta_tokens import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJWT,
    ClientSecretPost,
    OktaClient,
    PrivateKeyJWT,
    RetryPolicy,
    TokenKey,
    TokenRequest,
)
from okta_tokens._auth.authentication import resolve
from okta_tokens._model.store_identity import token_identity
from okta_tokens.errors import CredentialError, OAuthError
from okta_tokens.events import TokenAdopted, TokenNotShared
from okta_tokens.sandbox import SandboxClient
from okta_tokens.stores import StoreIdentity
from tests.clock import settle
from tests.keys import ec_key, pem, public_pem
from tests.stores.support import MemoryTokenStore
from tests.support import CLIENT_ID, SCOPES, SECRET, World, world
from tests.test_sharing import another_process

OTHER_SECRET = "another-secret-of-the-client"


def sharing() -> AbstractAsyncContextManager[World]:
    """Run a provider with a store; the client has two secrets, as during a rotation."""
    app = SandboxClient(CLIENT_ID, [SECRET, OTHER_SECRET], scopes=SCOPES)
    return world(store=MemoryTokenStore, app=app)


def with_authentication(here: World, method: ClientAuthentication, **options: Any) -> OktaClient:  # noqa: ANN401 - passed on
    """Return the client of a world with another authentication."""
    return OktaClient(here.sandbox.origin, CLIENT_ID, method, **options)


class WithAudience(ClientSecretPost):
    """A method that adds a field to the form."""

    def __init__(self, audience: str) -> None:
        super().__init__(SECRET)
        self.audience = audience

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the credential and the field."""
        await super().__call__(request)
        request.form["audience"] = self.audience


class Wrapped:
    """A method of the user's own, which states its identity if it has one."""

    def __init__(self, audience: str, credential_identity: object = None) -> None:
        self.audience = audience
        self.credential_identity = credential_identity

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the credential and the field."""
        await ClientSecretBasic(SECRET)(request)
        request.form["audience"] = self.audience


class Broken(Wrapped):
    """A method whose identity cannot be read."""

    @property
    def credential_identity(self) -> str:
        """Fail."""
        raise LookupError

    @credential_identity.setter
    def credential_identity(self, _: object) -> None: ...


@pytest.mark.parametrize("wrong", ["this-is-not-the-secret", lambda: "this-is-not-the-secret"])
async def test_a_wrong_secret_gets_no_token_of_the_right_one(
    wrong: str | Callable[[], str],
) -> None:
    """A client with a wrong secret is refused, also while its key cools down."""
    async with sharing() as here, another_process(here) as other:
        await here.source().get_token()
        await settle()
        client = with_authentication(here, ClientSecretBasic(wrong))

        for _ in range(3):
            with pytest.raises(OAuthError, match="invalid_client"):
                await other.provider.get_token(client, "a")
            await here.clock.advance(1.5)

        assert other.seen(TokenAdopted) == []


async def test_methods_share_no_tokens() -> None:
    """Two methods of authentication with one secret have two entries."""
    async with sharing() as here, another_process(here) as other:
        token = await here.source().get_token()
        await settle()

        client = with_authentication(here, ClientSecretPost(SECRET))
        assert (await other.provider.get_token(client, "a")).value != token.value


async def test_a_callable_shares_with_the_same_value() -> None:
    """A secret from a callable and the same secret as a value have one entry."""
    async with sharing() as here, another_process(here) as other:
        token = await here.source().get_token()
        await settle()

        client = with_authentication(here, ClientSecretBasic(lambda: SECRET))
        assert (await other.provider.get_token(client, "a")).value == token.value


async def test_a_callable_is_called_once_for_a_flight() -> None:
    """One value of the callable serves the look-up and the first attempt."""
    calls = []

    async def secret() -> str:
        calls.append("called")
        return SECRET

    async with sharing() as here:
        client = with_authentication(here, ClientSecretBasic(secret))
        await here.provider.get_token(client, "a")

        assert calls == ["called"]
        assert here.sandbox.token_requests == 1


async def test_a_failing_callable_uses_the_last_identity() -> None:
    """While its callable fails, a process finds tokens of the credential that it had last."""
    fails = False

    def secret() -> str:
        if fails:
            raise LookupError
        return SECRET

    async with sharing() as here, another_process(here, RetryPolicy(attempts=1)) as other:
        client = with_authentication(here, ClientSecretBasic(secret))
        token = await here.provider.get_token(client, "a")
        here.provider.invalidate(token)
        fails = True
        await settle()
        shared = await other.provider.get_token(
            with_authentication(here, ClientSecretBasic(SECRET)), "a"
        )
        await settle()

        assert (await here.provider.get_token(client, "a")).value == shared.value
        with pytest.raises(CredentialError, match="LookupError"):
            await other.provider.get_token(client, "a")


async def test_a_failing_callable_uses_the_identity_of_an_adopted_token() -> None:
    """A process that only adopted a token finds the next one although its callable fails."""
    fails = False

    def secret() -> str:
        if fails:
            raise LookupError
        return SECRET

    async with sharing() as here, another_process(here) as other:
        owner = with_authentication(here, ClientSecretBasic(SECRET))
        client = with_authentication(here, ClientSecretBasic(secret))
        first = await other.provider.get_token(owner, "a")
        await settle()
        adopted = await here.provider.get_token(client, "a")
        assert adopted.value == first.value
        fails = True
        other.provider.invalidate(first)
        here.provider.invalidate(adopted)
        await settle()
        second = await other.provider.get_token(owner, "a")
        await settle()

        assert (await here.provider.get_token(client, "a")).value == second.value


async def test_a_callable_that_hangs_is_given_up() -> None:
    """A callable that returns nothing in time ends the look-up, and fails the first attempt."""
    calls = []

    async def secret() -> str:
        calls.append("called")
        if len(calls) == 1:
            await here.clock.sleep_until(float("inf"))
        return SECRET

    async with sharing() as here:
        client = with_authentication(here, ClientSecretBasic(secret))
        fetching = asyncio.create_task(here.provider.get_token(client, "a"))
        await here.advance(30)

        await fetching
        assert len(calls) == 2


async def test_a_rotated_secret_is_published_under_its_own_identity() -> None:
    """A token that the second attempt fetched with a new secret is shared under the new secret."""
    secrets = iter(["an-old-and-revoked-secret", SECRET])
    async with sharing() as here, another_process(here) as other:
        client = with_authentication(here, ClientSecretBasic(lambda: next(secrets)))
        token = await here.provider.get_token(client, "a")
        await settle()

        again = with_authentication(here, ClientSecretBasic(SECRET))
        assert (await other.provider.get_token(again, "a")).value == token.value
        assert here.store is not None
        assert len(here.store.tokens) == 1
        assert here.store.leases == {}


async def test_a_rejection_after_a_rotation_finds_the_token() -> None:
    """A token remembers the credential that fetched it, so its rejection removes its entry."""
    present = SECRET
    async with sharing() as here:
        client = with_authentication(here, ClientSecretBasic(lambda: present))
        token = await here.provider.get_token(client, "a")
        await settle()
        present = OTHER_SECRET

        here.provider.invalidate(token)
        await settle()

        assert here.store is not None
        assert here.store.tokens == {}


@pytest.mark.parametrize(
    ("one", "two", "events"),
    [
        (WithAudience("orders"), WithAudience("billing"), 1),
        (Wrapped("orders"), Wrapped("orders"), 1),
        (Wrapped("orders", 1), Wrapped("orders", 1), 1),
        (Wrapped("orders", ""), Wrapped("orders", ""), 1),
        (Broken("orders"), Broken("orders"), 1),
        (Wrapped("orders", "orders"), Wrapped("billing", "billing"), 0),
    ],
    ids=["subclass", "nothing stated", "no text", "empty", "broken", "two identities"],
)
async def test_custom_methods_share_only_what_they_state(
    one: ClientAuthentication, two: ClientAuthentication, events: int
) -> None:
    """Custom methods share a token only if both state the same; one event says what is missing."""
    async with sharing() as here, another_process(here) as other:
        for scopes in ("a", "a b"):
            await here.provider.get_token(with_authentication(here, one), scopes)
            await settle()
            await other.provider.get_token(with_authentication(here, two), scopes)

        assert other.seen(TokenAdopted) == []
        key = other.provider.source(with_authentication(here, two), "a").key
        assert other.seen(TokenNotShared) == [TokenNotShared(key=key)] * events


class Unavailable:
    """A method of the user's own that has no credential."""

    async def __call__(self, request: TokenRequest, /) -> None:
        """Fail."""
        message = "the vault is sealed"
        raise CredentialError(message)


async def test_an_error_of_a_custom_method_reaches_the_caller() -> None:
    """If a custom method has no credential, no request is sent, and the caller gets its error."""
    async with sharing() as here:
        client = with_authentication(here, Unavailable())
        with pytest.raises(CredentialError, match="the vault is sealed"):
            await here.provider.get_token(client, "a")

        assert here.sandbox.token_requests == 0


async def test_a_rejected_token_that_is_not_shared_needs_no_store() -> None:
    """The rejection of a token without an identity reaches no store."""
    async with sharing() as here:
        client = with_authentication(here, Wrapped("orders"))
        token = await here.provider.get_token(client, "a")

        assert here.provider.invalidate(token)
        await settle()
        assert here.store is not None
        assert here.store.calls == []


async def test_custom_methods_share_what_they_state() -> None:
    """Two processes whose custom methods state the same identity share a token."""
    async with sharing() as here, another_process(here) as other:
        tokens = set()
        for each in (here, other):
            client = with_authentication(here, Wrapped("orders", "orders"))
            tokens.add((await each.provider.get_token(client, "a")).value)
            await settle()

        assert len(tokens) == 1


def test_a_subclass_that_sends_more_is_equal_only_to_itself() -> None:
    """Two clients whose methods add different fields are two keys in memory, too."""
    methods = [WithAudience("orders"), WithAudience("billing")]
    clients = [OktaClient("acme.okta.com", "0oa1", method) for method in (*methods, *methods)]

    assert len({*clients}) == 2


async def never(_: bytes) -> bytes:
    """Fail: no look-up may call the service that signs."""
    raise AssertionError


def remote(kid: str | None, **options: Any) -> PrivateKeyJWT:  # noqa: ANN401 - passed on
    """Return a method whose key is elsewhere."""
    return PrivateKeyJWT.from_signer(never, kid=kid, algorithm="ES256", **options)


async def identity(method: ClientAuthentication) -> StoreIdentity | None:
    """Return the identity of a token that a method fetches."""
    key = TokenKey(OktaClient("acme.okta.com", "0oa1", method), frozenset({"a"}))
    resolved = await resolve(method, "0oa1")
    assert not isinstance(resolved, CredentialError)
    return token_identity(key, resolved)


async def test_keys_are_identified_by_their_public_part(tmp_path: Path) -> None:
    """A private key, its file, a callable and a service with the public key are one identity."""
    path = tmp_path / "key.pem"
    path.write_bytes(pem(ec_key()))
    same = [
        PrivateKeyJWT(ec_key(), kid="1"),
        PrivateKeyJWT(path),
        PrivateKeyJWT(lambda: (pem(ec_key()), "2")),
        remote(None, public_key=ec_key().public_key()),
        remote("3", public_key=public_pem(ec_key()).decode()),
    ]
    others: list[ClientAuthentication] = [
        PrivateKeyJWT(ec_key(number=2), kid="1"),
        remote("1", public_key=public_pem(ec_key(number=3))),
        remote("1"),
        remote("2"),
        ClientSecretJWT(SECRET * 2),
        ClientSecretJWT(SECRET * 3),
    ]

    assert len({await identity(method) for method in same}) == 1
    identities = {await identity(method) for method in (same[0], *others)}
    assert len(identities - {None}) == 1 + len(others)


async def test_a_remote_key_without_an_identity_is_not_shared() -> None:
    """A signature service without a public key and a `kid` could have any key."""
    assert await identity(remote(None)) is None


async def test_a_callable_that_hangs_is_named() -> None:
    """With a store, too, a callable that does not return in time is a `CredentialError`."""

    async def hang() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    retry = RetryPolicy(attempts=1)
    method = ClientSecretBasic(hang)
    async with world(store=MemoryTokenStore, authentication=method, retry=retry) as here:
        caller = asyncio.ensure_future(here.source().get_token())
        await settle()
        await here.clock.advance(9.9)
        assert not caller.done()
        await here.clock.advance(0.2)
        with pytest.raises(CredentialError) as caught:
            await caller

        assert caught.value.args[0] == (
            "the callable for the client's secret or key returned nothing within 10 s "
            "(RetryPolicy.request_timeout); make it quicker"
        )
        assert caught.value.retryable
        assert here.sandbox.token_requests == 0
