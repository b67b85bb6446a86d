"""The additional fields of a token request."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import cast

import pytest

from okta_tokens import ClientSecretBasic, OktaClient
from okta_tokens.errors import ConfigurationError
from tests.support import CLIENT_ID, SECRET, world

BASIC = ClientSecretBasic(SECRET)


def client(parameters: object) -> OktaClient:
    """Return a client with parameters."""
    return OktaClient(
        "acme.okta.com", CLIENT_ID, BASIC, parameters=cast("Mapping[str, str]", parameters)
    )


def refusal(parameters: object) -> str:
    """Return the message with which parameters are refused."""
    with pytest.raises(ConfigurationError) as caught:
        client(parameters)
    return str(caught.value).removeprefix("OktaClient: parameters: ")


async def test_parameters_belong_to_the_key() -> None:
    """Tokens with other values of the fields, or without fields, are other tokens."""
    async with world() as here:
        one, two, none = (
            OktaClient(here.sandbox.origin, CLIENT_ID, BASIC, parameters=parameters)
            for parameters in ({"resource": ("https://a", "https://b&c")}, {"resource": "x"}, None)
        )
        tokens = {(await here.provider.get_token(each, "a")).value for each in (one, two, none)}

        assert len(tokens) == 3
        assert (await here.provider.get_token(one, "a")).value in tokens
        assert here.sandbox.token_requests == 3


def test_parameters_are_copied() -> None:
    """A later change of the mapping changes no client; equal parameters make equal clients."""
    given = {"b": "2", "a": "1"}
    made = client(given)
    given["a"] = "3"

    assert made == client({"a": "1", "b": "2"})
    assert hash(made) == hash(client({"a": ("1",), "b": "2"}))
    assert made != client(given)
    assert client({}) == client(None)
    assert repr(made).endswith("parameters=<a, b>)")


class Endless(Mapping[str, str]):
    """A mapping without an end."""

    def __getitem__(self, name: str) -> str:
        """Return a value."""
        return name

    def __iter__(self) -> Iterator[str]:
        """Yield names for ever."""
        return map(str, count())

    def __len__(self) -> int:
        """Return some length."""
        return 1


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        (5, "must be a mapping from names to strings or tuples of strings"),
        ([("a", "b")], "must be a mapping from names to strings or tuples of strings"),
        ({"a": 5}, "must be a mapping from names to strings or tuples of strings"),
        ({"a": ["b"]}, "must be a mapping from names to strings or tuples of strings"),
        ({5: "a"}, "must be a mapping from names to strings or tuples of strings"),
        ({"scope": "a"}, "scope: set by this package; remove it"),
        (
            {"grant_type": "x", "client_secret": "y"},
            "client_secret and grant_type: set by this package; remove it",
        ),
        ({" ": "a"}, "a name is empty or not printable ASCII; correct it"),
        ({"\n": "a"}, "a name is empty or not printable ASCII; correct it"),
        ({"a": ()}, "a tuple is empty; remove the name, or give a value"),
        ({"a": "b" * 8_192}, "more than 64 fields, or more than 8 KiB together; send fewer"),
        ({"a": ("b",) * 65}, "more than 64 fields, or more than 8 KiB together; send fewer"),
        (Endless(), "more than 64 fields, or more than 8 KiB together; send fewer"),
    ],
)
def test_parameters_that_cannot_be_sent(parameters: object, problem: str) -> None:
    """Fields of the package itself, and what is no field, are refused without their values."""
    assert refusal(parameters) == problem
