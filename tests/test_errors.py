"""The errors: their tree, their texts, their copies and their pickles."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import UTC, datetime
from types import MappingProxyType
from typing import cast

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenKey, errors
from okta_tokens.errors import (
    ConfigurationError,
    CredentialError,
    FetchError,
    FetchFacts,
    InvalidResponseError,
    OAuthError,
    ProviderStateError,
    RateLimitedError,
    ServerError,
    StoreError,
    TokenProviderError,
    TransportError,
)

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
RETRY_AT = datetime(2027, 1, 15, 8, 0, 31, tzinfo=UTC)


def new_key(*scopes: str, server: str | None = "default") -> TokenKey:
    """Return a key."""
    basic = ClientSecretBasic(SECRET)
    client = OktaClient("acme.okta.com", "0oa1", basic, authorization_server=server)
    return TokenKey(client, frozenset(scopes))


FACTS = FetchFacts(
    key=new_key("b", "a"),
    attempts=3,
    retryable=True,
    request_id="reqAb12",
    error_id="oaeAb12",
    headers=MappingProxyType({"Server": "nginx"}),
)

FETCH_ERRORS = [
    FetchError("why", **FACTS),
    CredentialError("why", **FACTS),
    TransportError("why", **FACTS),
    RateLimitedError("why", retry_at=RETRY_AT, **FACTS),
    ServerError("why", status=503, **FACTS),
    OAuthError("why", error="invalid_scope", description="No.", status=400, **FACTS),
    InvalidResponseError("why", status=302, **FACTS),
]


def kind_of(error: BaseException) -> str:
    """Return the name of an error's type."""
    return type(error).__name__


def test_the_tree() -> None:
    """Each error is a subclass of the error that stands for the caller's decision."""
    tree = {
        name: [
            each.__name__
            for each in getattr(errors, name).__mro__
            if each.__module__ == errors.__name__
        ]
        for name in errors.__all__
        if name.endswith("Error")
    }
    base, fetch = "TokenProviderError", "FetchError"

    assert tree == {
        "TokenProviderError": [base],
        "ConfigurationError": ["ConfigurationError", base],
        "ProviderStateError": ["ProviderStateError", base],
        "StoreError": ["StoreError", base],
        "FetchError": [fetch, base],
        "CredentialError": ["CredentialError", fetch, base],
        "TransportError": ["TransportError", fetch, base],
        "RateLimitedError": ["RateLimitedError", fetch, base],
        "ServerError": ["ServerError", fetch, base],
        "OAuthError": ["OAuthError", fetch, base],
        "InvalidResponseError": ["InvalidResponseError", fetch, base],
    }


def test_every_error_is_public() -> None:
    """The module exports every error, and its docstring shows every error."""
    kinds = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, TokenProviderError)
    }

    assert kinds == {name for name in errors.__all__ if name.endswith("Error")}
    assert all(name in (errors.__doc__ or "") for name in kinds)


def test_a_configuration_error_is_a_value_error() -> None:
    """`except ValueError` also catches an invalid configuration."""
    assert issubclass(ConfigurationError, ValueError)
    assert not issubclass(ProviderStateError, ValueError)
    assert not issubclass(StoreError, ValueError)
    assert not issubclass(FetchError, ValueError)


def test_defaults() -> None:
    """An error without facts has only its message."""
    error = FetchError("why")

    assert (error.key, error.attempts, error.retryable) == (None, 0, False)
    assert (error.request_id, error.error_id, error.headers) == (None, None, {})
    assert str(error) == "why"


@pytest.mark.parametrize("error", FETCH_ERRORS, ids=kind_of)
def test_facts(error: FetchError) -> None:
    """Every fetch error takes the same facts."""
    assert {name: getattr(error, name) for name in FACTS} == FACTS
    assert error.args == ("why",)


def test_own_facts() -> None:
    """The errors of a response have attributes of their own."""
    limited, server, oauth, invalid = FETCH_ERRORS[3:]

    assert vars(limited)["retry_at"] == RETRY_AT
    assert vars(server)["status"] == 503
    assert vars(invalid)["status"] == 302
    assert (vars(oauth)["error"], vars(oauth)["description"]) == ("invalid_scope", "No.")
    assert vars(oauth)["status"] == 400


@pytest.mark.parametrize("error", FETCH_ERRORS, ids=kind_of)
def test_the_text(error: FetchError) -> None:
    """The text is the message, then what identifies the failed request."""
    assert str(error) == (
        "why [client 0oa1 at acme.okta.com; authorization server default; scopes a b; "
        "3 attempts; request id reqAb12; error id oaeAb12]"
    )


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (FetchFacts(attempts=1), "why"),
        (FetchFacts(attempts=2), "why [2 attempts]"),
        (FetchFacts(request_id="reqAb12"), "why [request id reqAb12]"),
        (FetchFacts(error_id="oaeAb12"), "why [error id oaeAb12]"),
        (FetchFacts(headers={"Server": "nginx"}), "why"),
        (
            FetchFacts(key=new_key(server=None)),
            "why [client 0oa1 at acme.okta.com; authorization server of the org; scopes (default)]",
        ),
    ],
    ids=["one-attempt", "attempts", "request-id", "error-id", "headers", "org-server"],
)
def test_parts_of_the_text(facts: FetchFacts, text: str) -> None:
    """Missing facts and a single attempt are left out of the text."""
    assert str(FetchError("why", **facts)) == text


def test_the_text_follows_the_attributes() -> None:
    """Facts that are set after an error was made are part of its text."""
    error = TransportError("why")
    error.key = new_key("a")
    error.attempts = 2

    assert str(error).endswith("scopes a; 2 attempts]")


@pytest.mark.parametrize("error", FETCH_ERRORS, ids=kind_of)
def test_no_secret(error: FetchError) -> None:
    """Neither text, repr nor attributes of an error show the secret of its key."""
    assert SECRET not in f"{error} {error!r} {vars(error)}"


@pytest.mark.parametrize("error", FETCH_ERRORS, ids=kind_of)
def test_copies(error: FetchError) -> None:
    """A copy is another object of the same type, with the same text and attributes."""
    twin = copy.copy(error)

    assert twin is not error
    assert type(twin) is type(error)
    assert twin.args == error.args
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)


def test_copies_have_their_own_traceback() -> None:
    """A copy of a raised error has its cause, but not its traceback and context."""
    cause = OSError("broken pipe")
    with pytest.raises(TransportError) as caught:
        raise TransportError("why") from cause
    error = caught.value
    error.__context__ = KeyError("elsewhere")

    twin = copy.copy(error)

    assert error.__traceback__ is not None
    assert twin.__traceback__ is None
    assert twin.__context__ is None
    assert twin.__cause__ is cause


def test_copies_do_not_share_attributes() -> None:
    """A change of a copy does not change the original."""
    error = FetchError("why", attempts=1)
    twin = copy.copy(error)
    twin.attempts = 7

    assert error.attempts == 1


@pytest.mark.parametrize("error", FETCH_ERRORS, ids=kind_of)
def test_pickles(error: FetchError) -> None:
    """A pickled error has everything except its key and headers."""
    stream = pickle.dumps(error)
    twin = cast("FetchError", pickle.loads(stream))  # noqa: S301 - our own bytes

    assert type(twin) is type(error)
    assert vars(twin) == {**vars(error), "key": None, "headers": {}}
    assert str(twin) == "why [3 attempts; request id reqAb12; error id oaeAb12]"
    assert SECRET.encode() not in stream


def test_the_other_errors_are_pickled() -> None:
    """The errors that are not about a fetch can be copied and pickled."""
    for error in (ConfigurationError("why"), ProviderStateError("why"), TokenProviderError("why")):
        twin = cast("Exception", pickle.loads(pickle.dumps(error)))  # noqa: S301 - our own bytes

        assert (type(twin), twin.args) == (type(error), ("why",))
        assert copy.copy(error).args == ("why",)


def test_copies_have_their_own_notes() -> None:
    """A note on one copy does not appear on the original."""
    error = ServerError("down", status=503)
    error.add_note("common")
    twin = copy.copy(error)
    twin.add_note("mine")

    assert error.__notes__ == ["common"]
    assert twin.__notes__ == ["common", "mine"]
