"""The identity of a key: every value that decides which token Okta issues, or who may have it.

`IDENTITY` is the only list of these values. Its consumers are equality, hash and repr of clients
and keys, pickles of keys, the identity of a token in a shared store, `TokenProvider.inspect`, log
lines and error texts. To add a value, give `OktaClient` a parameter and an attribute, and add a
field to `IDENTITY`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple, TypeVar

from okta_tokens._auth.authentication import shown
from okta_tokens._auth.dpop import DPoP
from okta_tokens._model.parameters import Parameters
from okta_tokens._runtime.immutable import Immutable

T = TypeVar("T")
Owner = Literal["client", "key"]
Plain = str | tuple[str, ...] | None
"""A value that people may see."""


class IdentityField(NamedTuple):
    """One value that distinguishes a key from other keys.

    No argument has a default, so a new field has to decide about every consumer.

    Args:
        owner: Which object has the value: the `OktaClient` or the `TokenKey`.
        parameter: The parameter of the owner's constructor that takes the value.
        attribute: The owner's attribute that holds the value. Equality and hash compare it.
        pickled: Turns the value into what the pickle of a key contains instead.
        public: Turns the value into what people may see; `None` if the value is secret.
        stored: Turns the value into the JSON value that identifies the token in a shared store;
            `None` if the identity does not depend on the value.
        status: The name of the public value in `KeyStatus`; `None` if it is not shown there.
        log: The name of the public value in log lines; `None` if it is not logged.
        text: Returns the words of an error text that describe the value, from the `TokenKey`, or
            an empty text; `None` if an error text never mentions the value.
    """

    owner: Owner
    parameter: str
    attribute: str
    pickled: Callable[[Any], object]
    public: Callable[[Any], Plain] | None
    stored: Callable[[Any], object] | None
    status: str | None
    log: str | None
    text: Callable[[Any], str] | None

    def value(self, key: Any) -> Any:  # noqa: ANN401 - a TokenKey, which is built on this module
        """Return the value of a key.

        Args:
            key: The `TokenKey`.
        """
        return getattr(key.client if self.owner == "client" else key, self.attribute)


def _unchanged(value: T) -> T:
    return value


def _host(origin: str) -> str:
    return origin.partition("://")[2]


def _without_credential(authentication: object) -> object:
    # Few programs pickle a key.
    from okta_tokens._auth.absent_secret import AbsentSecret  # noqa: PLC0415

    return AbsentSecret(text=repr(authentication), algorithm=None, thumbprint=None)


def _without_key(dpop: DPoP | None) -> object:
    if dpop is None:
        return None
    from okta_tokens._auth.absent_secret import AbsentSecret  # noqa: PLC0415 - as above

    return AbsentSecret(text=repr(dpop), algorithm=dpop.algorithm, thumbprint=dpop.thumbprint)


def _thumbprint(dpop: DPoP | None) -> str | None:
    return None if dpop is None else dpop.thumbprint


def _scopes(scope: str) -> tuple[str, ...]:
    return tuple(scope.split())


def _names(parameters: Parameters | None) -> tuple[str, ...]:
    return () if parameters is None else parameters.names


def _fields(parameters: Parameters | None) -> object:
    return None if parameters is None else parameters.fields


IDENTITY: tuple[IdentityField, ...] = (
    IdentityField(
        owner="client",
        parameter="domain",
        attribute="origin",
        pickled=_unchanged,
        public=_host,
        stored=_unchanged,
        status="domain",
        log="domain",
        text=lambda key: f"client {key.client_id} at {key.domain}",
    ),
    IdentityField(
        owner="client",
        parameter="authorization_server",
        attribute="authorization_server",
        pickled=_unchanged,
        public=_unchanged,
        stored=_unchanged,
        status="authorization_server",
        log="authorization_server",
        text=lambda key: f"authorization server {key.authorization_server or 'of the org'}",
    ),
    IdentityField(
        owner="client",
        parameter="client_id",
        attribute="client_id",
        pickled=_unchanged,
        public=_unchanged,
        stored=_unchanged,
        status="client_id",
        log="client_id",
        text=None,  # The words for the domain contain the client id.
    ),
    IdentityField(
        owner="client",
        parameter="authentication",
        attribute="authentication",
        pickled=_without_credential,
        public=shown,
        stored=_unchanged,  # `stored_values` gets the credential itself: a callable's rotates.
        status="authentication",
        log=None,  # Log lines name the client.
        text=None,
    ),
    IdentityField(
        owner="client",
        parameter="dpop",
        attribute="dpop",
        pickled=_without_key,
        public=_thumbprint,
        stored=_thumbprint,
        status="dpop_thumbprint",
        log=None,  # Log lines and error texts name the client, which has one DPoP key.
        text=None,
    ),
    IdentityField(
        owner="key",
        parameter="scopes",
        attribute="scope",
        pickled=_unchanged,
        public=_scopes,
        stored=_scopes,
        status="scopes",
        log="requested",  # Events have a field `scopes` for the granted scopes.
        text=lambda key: f"scopes {key.scope or '(default)'}",
    ),
    IdentityField(
        owner="client",
        parameter="parameters",
        attribute="parameters",
        pickled=_unchanged,  # `Parameters` pickles its names only.
        public=_names,
        stored=_fields,
        status="parameters",
        log=None,  # Error texts and `TokenProvider.inspect` name them.
        text=lambda key: f"parameters {key.client.parameters!r}" if key.client.parameters else "",
    ),
    IdentityField(
        owner="client",
        parameter="allow_http",
        attribute="allow_http",
        pickled=_unchanged,
        public=None,
        stored=None,  # The origin has the scheme; so it is with the other consumers.
        status=None,
        log=None,
        text=None,
    ),
)
CLIENT_IDENTITY = tuple(field for field in IDENTITY if field.owner == "client")
KEY_IDENTITY = tuple(field for field in IDENTITY if field.owner == "key")

_set = object.__setattr__  # the classes refuse changes


class Identified(Immutable, ABC):
    """An immutable value that is compared by its fields of `IDENTITY`.

    The hash is computed once: clients and keys are looked up in dictionaries on every call for a
    token. The compared values are not kept, which would cost each key a tuple.
    """

    __slots__ = ("_hash",)

    _hash: int

    def __eq__(self, other: object) -> bool:
        """Compare every value that decides which token Okta issues, or who may have it."""
        if self is other:
            return True
        if not isinstance(other, Identified):
            return NotImplemented
        return self._hash == other._hash and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Return the hash that was computed once."""
        return self._hash

    @abstractmethod
    def _identity(self) -> tuple[Hashable, ...]:
        """Return the values that are compared."""

    def _compute_hash(self) -> None:
        """Compute the hash, when every compared value is set."""
        _set(self, "_hash", hash(self._identity()))


def constructor_arguments(
    instance: object, fields: tuple[IdentityField, ...]
) -> dict[str, Hashable]:
    """Return the identity of a client, or what a key adds to it, by constructor parameter.

    Args:
        instance: The `OktaClient` or the `TokenKey`.
        fields: The fields that the instance has.
    """
    return {field.parameter: getattr(instance, field.attribute) for field in fields}


def pickled_values(instance: object, fields: tuple[IdentityField, ...]) -> dict[str, object]:
    """Return the identity of a client, or what a key adds to it, by attribute, without secrets.

    Args:
        instance: The `OktaClient` or the `TokenKey`.
        fields: The fields that the instance has.
    """
    return {field.attribute: field.pickled(getattr(instance, field.attribute)) for field in fields}


def stored_values(key: object, credential: object) -> tuple[object, ...]:
    """Return what identifies a key's token in a shared store, as JSON values.

    Args:
        key: The `TokenKey`.
        credential: What identifies the present credential of the key's client, as a JSON value.
    """
    return tuple(
        field.stored(credential if field.parameter == "authentication" else field.value(key))
        for field in IDENTITY
        if field.stored
    )


def status_fields(key: object) -> dict[str, Any]:
    """Return the fields of `KeyStatus` that identify a key.

    Args:
        key: The `TokenKey`.
    """
    return {
        field.status: field.public(field.value(key))
        for field in IDENTITY
        if field.status and field.public
    }


def log_fields(key: object) -> dict[str, object]:
    """Return the fields of a log line that identify a key; several values are joined by spaces.

    Args:
        key: The `TokenKey`.
    """
    values = {
        field.log: field.public(field.value(key))
        for field in IDENTITY
        if field.log and field.public
    }
    return {
        name: " ".join(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def error_text(key: object) -> str:
    """Return the words of an error text that identify a key.

    Args:
        key: The `TokenKey`.
    """
    texts = (field.text(key) for field in IDENTITY if field.text)
    return "; ".join(text for text in texts if text)
