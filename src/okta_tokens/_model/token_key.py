"""The key of a token: the client that requests it, and the scopes."""

from __future__ import annotations

from collections.abc import Hashable
from operator import attrgetter
from typing import Any, cast

from okta_tokens._model import key_identity
from okta_tokens._model.client import OktaClient
from okta_tokens._model.key_identity import Identified, error_text, pickled_values
from okta_tokens._model.scopes import format_scopes, parse_scopes
from okta_tokens.errors import ConfigurationError

_set = object.__setattr__  # the class refuses changes


class TokenKey(Identified):
    """Everything that decides which token Okta issues, or who may have the token.

    `str()` describes the key as error texts do; it contains no secret. A key is immutable.

    Args:
        client: The client, including its authentication and its DPoP key.
        scopes: The requested scopes.
    """

    # One string of scopes needs a third of the memory of a set, and the garbage collector never
    # visits it. There are many keys, and only few of their scopes are ever looked at.
    __slots__ = ("client", "scope")

    client: OktaClient
    """The client."""
    scope: str
    """The requested scopes as the request names them: in alphabetical order, joined by spaces."""

    def __init__(self, client: OktaClient, scopes: frozenset[str]) -> None:
        _set(self, "client", client)
        _set(self, "scope", format_scopes(scopes))
        self._compute_hash()

    @property
    def scopes(self) -> frozenset[str]:
        """The requested scopes."""
        return frozenset(self.scope.split())

    def _identity(self) -> tuple[Hashable, ...]:
        return self.client, _own_identity(self)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the key without the client's credential and private key.

        The unpickled key describes the token as before, but its client gets no token. It is not
        equal to this key, since the credential is part of a key.
        """
        client = pickled_values(self.client, key_identity.CLIENT_IDENTITY)
        own = pickled_values(self, key_identity.KEY_IDENTITY)
        return _rebuild, (type(self.client), client, own)

    def __repr__(self) -> str:
        """Return the call that makes an equal key, without the client's secret."""
        return f"TokenKey(client={self.client!r}, scopes={self.scopes!r})"

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


_own_identity = attrgetter(*(field.attribute for field in key_identity.KEY_IDENTITY))


def _rebuild(kind: type[OktaClient], client: dict[str, Any], own: dict[str, str]) -> TokenKey:
    return TokenKey(kind._of(**client), frozenset(own["scope"].split()))
