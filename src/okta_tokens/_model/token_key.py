"""The key of a token: the client that requests it, and the scopes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self, cast

from okta_tokens._model import key_identity
from okta_tokens._model.client import OktaClient
from okta_tokens._model.key_identity import Identified, error_text, pickled_values
from okta_tokens._model.scopes import parse_scopes
from okta_tokens.errors import ConfigurationError


@dataclass(frozen=True, slots=True, eq=False)
class TokenKey(Identified):
    """Everything that decides which token Okta issues, or who may have the token.

    `str()` describes the key as error texts do; it contains no secret.

    Args:
        client: The client, including its authentication and its DPoP key.
        scopes: The requested scopes.
    """

    client: OktaClient
    scopes: frozenset[str]

    def __post_init__(self) -> None:
        """Compute the hash once."""
        self._compute_hash()

    def _identity(self) -> tuple[Hashable, ...]:
        own = [getattr(self, field.attribute) for field in key_identity.KEY_IDENTITY]
        return (self.client, *own)

    def __copy__(self) -> Self:
        """Return the key itself, because it is immutable."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the key itself, because it is immutable."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the key without the client's credential and private key.

        The unpickled key describes the token as before, but its client gets no token. It is not
        equal to this key, since the credential is part of a key.
        """
        client = pickled_values(self.client, key_identity.CLIENT_IDENTITY)
        own = pickled_values(self, key_identity.KEY_IDENTITY)
        return _rebuild, (type(self.client), client, own)

    def __str__(self) -> str:
        """Return the client, its server and the scopes, as error texts show them."""
        return error_text(self)

    @property
    def domain(self) -> str:
        """The Okta host, `host[:port]`."""
        return self.client.domain

    @property
    def authorization_server(self) -> str | None:
        """The id of the custom authorization server; `None` for the org authorization server."""
        return self.client.authorization_server

    @property
    def client_id(self) -> str:
        """The client's id."""
        return self.client.client_id

    @property
    def token_type(self) -> str:
        """The type of the requested token: `Bearer`, or `DPoP` if it is bound to a key."""
        return "Bearer" if self.client.dpop is None else "DPoP"


def token_key(client: object, scopes: object) -> TokenKey | ConfigurationError:
    """Return the key of the token that a caller requests, or the error that says what is wrong.

    The error is returned, not raised: callers do pass a token or a secret by mistake, and an error
    tracker records the locals of the frame that raises.

    Args:
        client: The client. It is checked, because callers pass the domain by mistake.
        scopes: The scopes in any spelling that `parse_scopes` knows.

    Returns:
        The key. Or a `ConfigurationError`: the client is not an `OktaClient`, a scope is not a
        scope name, or no scope is requested from the org authorization server.
    """
    if type(client) is not OktaClient and not issubclass(type(client), OktaClient):
        message = f"client: must be an OktaClient, not {type(client).__name__}"
        return ConfigurationError(message)
    names = parse_scopes(scopes)
    if isinstance(names, ConfigurationError):
        return names
    client = cast("OktaClient", client)
    if not names and client.authorization_server is None:
        message = "scopes: the org authorization server has no default scopes; name at least one"
        return ConfigurationError(message)
    return TokenKey(client, names)


def _rebuild(kind: type[OktaClient], client: dict[str, Any], own: dict[str, Any]) -> TokenKey:
    return TokenKey(kind._of(**client), **own)
