"""The identity of a key: one list of values that every consumer follows."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from collections.abc import Hashable

import pytest
import structlog

from okta_tokens import ClientSecretBasic, DPoP, KeyStatus, OktaClient, TokenKey, _status
from okta_tokens._cache.entry import Entry
from okta_tokens._logging import log_event
from okta_tokens._model import key_identity
from okta_tokens._model.key_identity import CLIENT_IDENTITY, IDENTITY, IdentityField
from okta_tokens._model.store_identity import token_identity
from okta_tokens._runtime.clock import Instant
from okta_tokens._status import key_status
from okta_tokens.errors import FetchError
from okta_tokens.events import KeyIdle
from okta_tokens.stores.redis import RedisTokenStore, generate_key

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"
STORE = RedisTokenStore("redis://localhost", keys=generate_key())
RESOURCE = IdentityField(
    owner="client",
    parameter="resource",
    attribute="resource",
    pickled=str,
    public=str,
    stored=str,
    status="resource",
    log="resource",
    text=lambda key: f"resource {key.client.resource}",
)


class ExtendedClient(OktaClient):
    """A client with one more value that decides which token Okta issues."""

    __slots__ = ("resource",)

    resource: str

    def __init__(self, *arguments: str, resource: str = "a", **options: object) -> None:
        object.__setattr__(self, "resource", resource)
        super().__init__(*arguments, **options)  # type: ignore[arg-type]  # passed on as they are


class ExtendedStatus(KeyStatus):
    """The status of a key with the same value."""

    resource: str


@pytest.fixture
def extended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a field to the identity, and the value to client and status; change nothing else."""
    monkeypatch.setattr(key_identity, "IDENTITY", (*IDENTITY, RESOURCE))
    monkeypatch.setattr(key_identity, "CLIENT_IDENTITY", (*CLIENT_IDENTITY, RESOURCE))
    monkeypatch.setattr(_status, "KeyStatus", ExtendedStatus)


def new_key(resource: str = "a") -> TokenKey:
    """Return a key of an extended client."""
    values: list[Hashable] = ["acme.okta.com", "0oa1", ClientSecretBasic(SECRET)]
    client = ExtendedClient(*values, resource=resource)  # type: ignore[arg-type]  # as above
    return TokenKey(client, frozenset({"read"}))


def pickled(key: TokenKey) -> TokenKey:
    """Return the key that another process would get."""
    twin = pickle.loads(pickle.dumps(key))  # noqa: S301 - our own bytes
    assert isinstance(twin, TokenKey)
    return twin


def status_of(key: TokenKey) -> dict[str, object]:
    """Return what `inspect` shows of a key."""
    now = Instant(0.0, 0.0)
    return dataclasses.asdict(key_status(Entry(key), None, now, 0.0))


def store_name(key: TokenKey) -> str:
    """Return the name of a key's token in a shared store."""
    identity = token_identity(key, key.client.authentication)
    assert identity is not None
    return STORE._drawers(identity)[0].name("token")


def logged(key: TokenKey) -> dict[str, object]:
    """Return the fields of a log line about a key."""
    with structlog.testing.capture_logs() as lines:
        log_event(KeyIdle(key=key))
    structlog.reset_defaults()  # in older releases, `capture_logs` leaves structlog configured
    (line,) = lines
    return dict(line)


@pytest.mark.usefixtures("extended")
def test_every_consumer_follows_a_new_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that is added to the identity reaches every consumer of a key."""
    one, same, other = new_key("a"), new_key("a"), new_key("b")
    monkeypatch.setattr(structlog, "is_configured", lambda: True)

    assert one == same
    assert one != other
    assert one.client != other.client
    assert (hash(one), hash(one.client)) == (hash(same), hash(same.client))
    assert hash(one) != hash(other)
    assert hash(one.client) != hash(other.client)
    assert isinstance(pickled(other).client, ExtendedClient)
    assert repr(pickled(other)) == repr(other)
    assert repr(other.client).endswith(", resource='b')")
    assert store_name(one) == store_name(same)
    assert store_name(one) != store_name(other)
    assert status_of(other)["resource"] == "b"
    assert logged(other)["resource"] == "b"
    assert "resource b" in str(FetchError("why", key=other))


def test_every_parameter_of_a_client_and_a_key_is_a_field() -> None:
    """A parameter of `OktaClient` or `TokenKey` cannot be added without a field of the identity."""
    parameters = {
        "client": {*inspect.signature(OktaClient).parameters},
        "key": {*inspect.signature(TokenKey).parameters} - {"client"},
    }

    assert parameters == {
        owner: {field.parameter for field in IDENTITY if field.owner == owner}
        for owner in parameters
    }


def test_nothing_shows_the_credential() -> None:
    """No status, log line, error text or pickle depends on the credential."""
    dpop = DPoP()
    shown = []
    for secret in (SECRET, "another"):
        client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(secret), dpop=dpop)
        key = TokenKey(client, frozenset({"b", "a"}))
        shown.append(
            f"{key_identity.status_fields(key)} {key_identity.log_fields(key)} {key} "
            f"{pickle.dumps(key)!r}"
        )

    assert shown[0] == shown[1]
    assert SECRET not in shown[0]


def test_the_names_that_people_see() -> None:
    """The identity in a store, status, log line and error text have these names and values."""
    dpop = DPoP()
    client = OktaClient(
        "http://localhost:80",
        "0oa1",
        ClientSecretBasic(SECRET),
        authorization_server=None,
        dpop=dpop,
        parameters={"resource": ("https://b", "https://a"), "audience": SECRET},
    )
    key = TokenKey(client, frozenset({"b", "a"}))

    assert key_identity.stored_values(key, "the credential") == (
        *("http://localhost", None, "0oa1", "the credential", dpop.thumbprint),
        ("a", "b"),
        (("audience", (SECRET,)), ("resource", ("https://b", "https://a"))),
    )
    assert key_identity.status_fields(key) == {
        "domain": "localhost",
        "authorization_server": None,
        "client_id": "0oa1",
        "authentication": "ClientSecretBasic(<secret>)",
        "dpop_thumbprint": dpop.thumbprint,
        "scopes": ("a", "b"),
        "parameters": ("audience", "resource"),
    }
    assert key_identity.log_fields(key) == {
        "domain": "localhost",
        "authorization_server": None,
        "client_id": "0oa1",
        "requested": "a b",
    }
    assert str(key) == (
        "client 0oa1 at localhost; authorization server of the org; scopes a b; parameters "
        "<audience, resource>"
    )
    assert SECRET not in repr(client)
    assert pickle.loads(pickle.dumps(key)).client.parameters.fields == (  # noqa: S301 - our own
        ("audience", ()),
        ("resource", ()),
    )


def test_what_is_compared() -> None:
    """An instance equals itself, a client never equals a key, and other types are not compared."""
    client = OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET))
    key = TokenKey(client, frozenset())

    assert client != key
    assert key != client
    assert client.__eq__(client) is True
    assert key.__eq__((client, frozenset())) is NotImplemented
