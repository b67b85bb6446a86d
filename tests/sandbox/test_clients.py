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
        {"secrets": []},
        {"secrets": ["one", "two", "three"]},
        {"secrets": "one"},
        {"secrets": ["caf\u00e9"]},
        {"scopes": ['a"b']},
        {"methods": []},
        {"methods": ["none"]},
        {"keys": [ec_key().as_dict(private=True)]},
        {"keys": [public(ec_key(str(number))) for number in range(51)]},
        {"keys": [public(ec_key()), public(rsa_key())]},
        {"keys": [public(ec_key()), public(rsa_key(), kid=None)]},
    ],
    ids=range(13),
)
def test_a_client_with_an_invalid_value_is_a_value_error(bad: dict[str, Any]) -> None:
    """A value that Okta does not allow is a `ValueError`."""
    with pytest.raises(ValueError, match=r"client_id|secret|scope|methods|key|kid"):
        SandboxClient(**({"client_id": "app", "secrets": ["one"]} | bad))


def test_scopes_may_be_spelled_as_a_string() -> None:
    """Scopes are a collection of names, or one string of names separated by spaces."""
    assert SandboxClient("app", ["one"], scopes="a b") == SandboxClient(
        "app", ("one",), scopes=["b", "a"]
    )


def test_fifty_keys_without_a_secret_are_allowed() -> None:
    """A client may have up to fifty keys and no secret, and is hashable."""
    keys = [public(ec_key(str(number))) for number in range(50)]
    client = SandboxClient("app", keys=keys)

    assert (len(client.keys), client.secrets) == (50, ())
    assert hash(client) == hash(SandboxClient("app", keys=keys))


def test_the_default_methods_follow_from_secrets_and_keys() -> None:
    """Secrets allow three methods, keys the fourth, unless `methods` is given."""
    secret = {"client_secret_basic", "client_secret_post", "client_secret_jwt"}
    keys = [public(ec_key())]

    assert SandboxClient("app", ["one"]).methods == secret
    assert SandboxClient("app", keys=keys).methods == {"private_key_jwt"}
    assert SandboxClient("app", ["one"], keys=keys).methods == {*secret, "private_key_jwt"}
    chosen = SandboxClient("app", ["one"], methods=["private_key_jwt"])
    assert chosen.methods == {"private_key_jwt"}


def test_neither_secrets_nor_keys_are_in_a_repr() -> None:
    """The repr of a client shows neither its secrets nor its keys."""
    client = SandboxClient("app", ["canary"], keys=[public(ec_key("canary"))])

    assert "canary" not in repr(client)
