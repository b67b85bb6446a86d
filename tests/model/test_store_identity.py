"""The identity in a store: opaque, and a name only under a key of the store."""

from __future__ import annotations

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey
from okta_tokens._model.store_identity import StoreIdentity, domain_identity
from tests.runtime.test_redaction import locals_with
from tests.stores.support import identity_of

SECRET = "Canary-Secret-4f9b2c7d8e1a"


def new_identity(secret: str = SECRET) -> StoreIdentity:
    """Return the identity of a token that is fetched with a secret."""
    client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(secret))
    return identity_of(TokenKey(client, frozenset({"a"})))


def test_equal_values_make_equal_identities() -> None:
    """Identities are equal, with the same hash, if everything that distinguishes tokens is."""
    assert new_identity() == new_identity()
    assert hash(new_identity()) == hash(new_identity())
    assert new_identity() != new_identity("other")
    assert new_identity() != "another"


def test_an_identity_reveals_nothing() -> None:
    """Two identities that differ by a secret look the same, without a key."""
    assert repr(new_identity()) == repr(new_identity("other")) == "<StoreIdentity>"


def test_a_name_depends_on_the_key() -> None:
    """A name is 43 characters that depend on key, kind and values, and on nothing else."""
    identity, one, two = new_identity(), b"1" * 32, b"2" * 32
    names = [
        identity.name(one, "token"),
        identity.name(two, "token"),
        identity.name(one, "lease"),
        identity.name(one, "token", "value"),
        identity.name(one, "token", "value", ""),
        new_identity("other").name(one, "token"),
    ]

    assert len({*names}) == len(names)
    assert {len(name) for name in names} == {43}
    assert names[0] == new_identity().name(one, "token")


@pytest.mark.parametrize("key", [b"", b"1" * 31])
def test_a_store_without_a_key_gets_no_name(key: bytes) -> None:
    """A key that could be guessed is refused, and no frame of the error shows the token."""
    with pytest.raises(ValueError, match="key: must have at least 32 bytes") as caught:
        new_identity().name(key, "discarded", "Canary-Token")

    assert locals_with(caught.value, "Canary") == []


def test_a_domain_has_two_parts() -> None:
    """All custom authorization servers of a domain have one identity, its own server another."""
    keys = [
        TokenKey(
            OktaClient(domain, "0oa1", ClientSecretBasic("s"), authorization_server=server),
            frozenset({"a"}),
        )
        for domain in ("a.okta.com", "b.okta.com")
        for server in ("default", "aus1", None)
    ]

    assert len({domain_identity(key) for key in keys}) == 4
