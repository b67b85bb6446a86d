"""The access token."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, Instant, current_instant
from okta_tokens._runtime.immutable import Immutable
from okta_tokens._runtime.unserializable import Unserializable

_set = object.__setattr__  # the class refuses changes


class AccessToken(Immutable, Unserializable):
    """An access token (RFC 6749 section 5.1). Its repr does not show the value.

    The provider makes it. All callers that request the same key get the same object. It is
    immutable and hashable. No serializer writes it: only `value` may leave the process, and has to
    stay secret.
    """

    __slots__ = (
        "_boot_expiry",
        "_clock",
        "_identity",
        "_leeway",
        "_scope",
        "_wall_expiry",
        "key",
        "token_type",
        "value",
    )

    value: str
    """The token itself. It is opaque, even if it happens to be a JWT."""
    token_type: str
    """`Bearer`, or `DPoP` if the token is bound to the client's key."""
    key: TokenKey
    """The key that was requested: the client and the requested scopes."""
    _boot_expiry: float
    _wall_expiry: float
    _leeway: float
    _scope: str
    _clock: Clock
    _identity: StoreIdentity | None

    def __init__(
        self,
        value: str,
        token_type: str,
        scope: str,
        key: TokenKey,
        *,
        expiry: Instant,
        leeway: float,
        clock: Clock,
        identity: StoreIdentity | None = None,
    ) -> None:
        """Make a token.

        Args:
            value: The token itself.
            token_type: `Bearer` or `DPoP`.
            scope: The granted scopes in alphabetical order, joined by spaces.
            key: The requested key.
            expiry: When the token expires.
            leeway: Seconds before the expiry in which the token is not handed out.
            clock: Tells the time.
            identity: Names the token in a shared store, with the credential that fetched it.
        """
        _set(self, "value", value)
        _set(self, "token_type", token_type)
        _set(self, "_scope", scope)
        _set(self, "key", key)
        _set(self, "_boot_expiry", expiry.boot)
        _set(self, "_wall_expiry", expiry.wall)
        _set(self, "_leeway", leeway)
        _set(self, "_clock", clock)
        _set(self, "_identity", identity)

    def __repr__(self) -> str:
        """Return the type and the scopes, without the value."""
        return f"AccessToken(token_type={self.token_type!r}, scopes={self.scopes!r})"

    def __format__(self, spec: str) -> str:
        """Refuse to become a part of a text: `f"Bearer {token}"` would send no token.

        Raises:
            TypeError: Always.
        """
        del self, spec  # an error tracker records the locals of the frame that raises
        message = (
            "a token is not formatted; use token.authorization for the header, token.value for the "
            "token itself, or repr(token) for a log"
        )
        raise TypeError(message)

    def __eq__(self, other: object) -> bool:
        """Compare the value, the type, the granted scopes and the key."""
        if self is other:
            return True
        return isinstance(other, AccessToken) and self._compared() == other._compared()

    def __hash__(self) -> int:
        """Return a hash that is the same for equal tokens."""
        return hash(self._compared())

    def _compared(self) -> tuple[Hashable, ...]:
        return (self.value, self.token_type, self._scope, self.key)

    @property
    def scopes(self) -> frozenset[str]:
        """The granted scopes."""
        return frozenset(self._scope.split())

    @property
    def authorization(self) -> str:
        """The value of the `Authorization` header: the type, a space, the token.

        A request with a token that is bound to a key also needs a proof: see `TokenSource.headers`.
        """
        return f"{self.token_type} {self.value}"

    @property
    def expires_at(self) -> datetime:
        """The time at which the token expires, in UTC, counted from before it was requested."""
        return datetime.fromtimestamp(self._wall_expiry, UTC)

    def remaining(self) -> float:
        """Return the seconds until the token expires by the stricter of two clocks, or 0.0."""
        now = current_instant(self._clock)
        return max(0.0, min(self._boot_expiry - now.boot, self._wall_expiry - now.wall))

    def _usable_for(self, boot: float, wall: float) -> float:
        """Return the seconds until the leeway begins, by the stricter of two clocks.

        Args:
            boot: The current boot time, in seconds.
            wall: The current wall time, in seconds since the epoch.
        """
        return min(self._boot_expiry - boot, self._wall_expiry - wall) - self._leeway
