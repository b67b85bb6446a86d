"""The key of a token: everything that changes which token Okta issues, or who may have it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from okta_tokens._model.client import OktaClient
from okta_tokens._model.scopes import parse_scopes
from okta_tokens.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Everything that changes which token comes back, or who may have it.

    Args:
        client: The client, its authentication included.
        scopes: The scopes that are asked for.
    """

    client: OktaClient
    scopes: frozenset[str]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compute the hash once."""
        object.__setattr__(self, "_hash", hash((self.client, self.scopes)))

    def __hash__(self) -> int:
        """Return the hash, which was computed once."""
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild by the constructor: hashes of strings differ between processes."""
        return (TokenKey, (self.client, self.scopes))

    @property
    def domain(self) -> str:
        """The Okta host, `host[:port]`."""
        return self.client.domain

    @property
    def authorization_server(self) -> str | None:
        """The custom authorization server's id; None is the org's own."""
        return self.client.authorization_server

    @property
    def client_id(self) -> str:
        """The client's id."""
        return self.client.client_id

    @property
    def token_type(self) -> str:
        """What kind of token is asked for: `Bearer`, or `DPoP` for one that is bound to a key."""
        return "Bearer" if self.client.dpop is None else "DPoP"


def token_key(client: object, scopes: str | Iterable[str]) -> TokenKey:
    """Return the key of what a caller asks for.

    Args:
        client: Who asks; checked, since it is easily taken for the domain.
        scopes: As the caller spells them.

    Raises:
        ConfigurationError: If the client is none, a scope is no scope name, or none is asked of the
            org's own authorization server.
    """
    if not isinstance(client, OktaClient):
        message = f"client: must be an OktaClient, not {type(client).__name__}"
        raise ConfigurationError(message)
    names = parse_scopes(scopes)
    if not names and client.authorization_server is None:
        message = "scopes: the org's own authorization server has no default scopes; name some"
        raise ConfigurationError(message)
    return TokenKey(client, names)
