"""The token, and the key under which it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn, Self

from okta_tokens._auth.client_assertion import PrivateKeyJWT
from okta_tokens._model.client import OktaClient
from okta_tokens._model.scopes import parse_scopes
from okta_tokens._runtime.clock import Clock, read
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


_OPENID_SCOPES = {"openid", "profile", "email", "address", "phone", "offline_access"}


def advice_for(key: TokenKey) -> list[str]:
    """Return why Okta will probably refuse what is asked for; nothing if it looks right.

    They are no errors: an org may be set up in a way that this does not know of.

    Args:
        key: What is asked for.
    """
    found = []
    of_okta = {scope for scope in key.scopes if scope.startswith("okta.")}
    if key.authorization_server is None:
        if of_okta != key.scopes:
            found.append(
                "the org's own authorization server grants okta.* scopes alone; name a custom one"
            )
        if not isinstance(key.client.authentication, PrivateKeyJWT):
            found.append(
                "the org's own authorization server takes PrivateKeyJWT alone, save from API "
                "service integrations"
            )
    elif of_okta:
        found.append(
            "a custom authorization server grants no okta.* scopes; authorization_server=None is "
            "the org's own"
        )
    if not _OPENID_SCOPES.isdisjoint(key.scopes):
        found.append("scopes of OpenID Connect are for people, and here is none")
    return found


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token (RFC 6749 section 5.1). Its repr does not show the value.

    Made by the provider; one object serves every caller of its key.
    """

    value: str = field(repr=False)
    """The token itself: opaque, also where it happens to be a JWT."""
    token_type: str
    """`Bearer`, or `DPoP` for one that is bound to the client's key."""
    scopes: frozenset[str]
    """The scopes that were granted."""
    key: TokenKey = field(repr=False)
    """Under which key it is kept."""
    _boot_expiry: float = field(repr=False, compare=False)
    _wall_expiry: float = field(repr=False, compare=False)
    _leeway: float = field(repr=False, compare=False)
    _clock: Clock = field(repr=False, compare=False)

    def __copy__(self) -> Self:
        """Return itself: it is immutable."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: it is immutable."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: its key holds the client's secret, and its clock is this process's.

        Raises:
            TypeError: Always. What may leave the process is `value`.
        """
        message = "an AccessToken is not pickled; take its value, and keep that safe"
        raise TypeError(message)

    @property
    def authorization(self) -> str:
        """The ready `Authorization` header: the type, a space, the value.

        A request with a token that is bound to a key needs a proof as well: see
        `TokenSource.headers`.
        """
        return f"{self.token_type} {self.value}"

    @property
    def expires_at(self) -> datetime:
        """When it expires, in UTC, counted from before it was requested."""
        return datetime.fromtimestamp(self._wall_expiry, UTC)

    def remaining(self) -> float:
        """Return the seconds until it expires, by the stricter of two clocks; 0.0 afterwards."""
        now = read(self._clock)
        return max(0.0, min(self._boot_expiry - now.boot, self._wall_expiry - now.wall))

    def _usable_for(self, boot: float, wall: float) -> float:
        """Return for how many seconds it may still be handed out: until its leeway, by both clocks.

        Args:
            boot: The present moment, in seconds of boot time.
            wall: The same, in seconds of wall time.
        """
        return min(self._boot_expiry - boot, self._wall_expiry - wall) - self._leeway
