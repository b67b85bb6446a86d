"""Clients are validated when they are registered."""

from __future__ import annotations

from typing import Any

import pytest

from okta_tokens.sandbox import SandboxClient
from tests.sandbox.jwts import ec_key, public, rsa_key


@pytest.mark.parametrize(
    "bad",
    [
        {"client_id": ""},
        {"client_id": "a:b"},
        {"client_id": "a\nb"},
        {"secrets": []},
        {"secrets": ["one", "two", "three"]},
        {"secrets": "one"},
        {"secrets": [""]},
        {"secrets": ["caf\u00e9"]},
        {"scopes": ['a"b']},
        {"methods": []},
        {"methods": ["none"]},
        {"keys": [ec_key().as_dict(private=True)]},
        {"keys": [{"kty": "oct", "k": "AAAA"}]},
        {"keys": [public(ec_key(str(number))) for number in range(51)]},
        {"keys": [public(ec_key()), public(rsa_key())]},
        {"keys": [public(ec_key()), public(rsa_key(), kid=None)]},
    ],
    ids=range(16),
)
def test_a_client_that_okta_would_not_register_is_refused(bad: dict[str, Any]) -> None:
    """A client with a value that Okta does not know is a `ValueError`."""
    with pytest.raises(ValueError, match=r"client_id|secret|scope|methods|key|kid"):
        SandboxClient(**({"client_id": "app", "secrets": ["one"]} | bad))


def test_scopes_may_be_spelled_as_a_string() -> None:
    """Scopes are a collection, or one string with spaces between them."""
    assert SandboxClient("app", ["one"], scopes="a b") == SandboxClient(
        "app", ("one",), scopes=["b", "a"]
    )


def test_fifty_keys_and_no_secret_are_fine() -> None:
    """A client may have keys alone, up to fifty of them, and is hashable with them."""
    keys = [public(ec_key(str(number))) for number in range(50)]
    client = SandboxClient("app", keys=keys)

    assert (len(client.keys), client.secrets) == (50, ())
    assert hash(client) == hash(SandboxClient("app", keys=keys))


def test_the_methods_are_those_that_secrets_and_keys_allow() -> None:
    """Without a word about methods, secrets allow three of them and keys the fourth."""
    secret = {"client_secret_basic", "client_secret_post", "client_secret_jwt"}
    keys = [public(ec_key())]

    assert SandboxClient("app", ["one"]).methods == secret
    assert SandboxClient("app", keys=keys).methods == {"private_key_jwt"}
    assert SandboxClient("app", ["one"], keys=keys).methods == {*secret, "private_key_jwt"}
    chosen = SandboxClient("app", ["one"], methods=["private_key_jwt"])
    assert chosen.methods == {"private_key_jwt"}


def test_neither_secrets_nor_keys_are_in_a_repr() -> None:
    """No repr shows a secret, nor the many characters of a key."""
    client = SandboxClient("app", ["canary"], keys=[public(ec_key("canary"))])

    assert "canary" not in repr(client)
