"""The access token."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn, Self

from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.clock import Clock, current_instant


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token (RFC 6749 section 5.1). Its repr does not show the value.

    The provider makes it. All callers that request the same key get the same object.
    """

    value: str = field(repr=False)
    """The token itself. It is opaque, even if it happens to be a JWT."""
    token_type: str
    """`Bearer`, or `DPoP` if the token is bound to the client's key."""
    scopes: frozenset[str]
    """The granted scopes."""
    key: TokenKey = field(repr=False)
    """The key that was requested: the client and the requested scopes."""
    _boot_expiry: float = field(repr=False, compare=False)
    _wall_expiry: float = field(repr=False, compare=False)
    _leeway: float = field(repr=False, compare=False)
    _clock: Clock = field(repr=False, compare=False)

    def __copy__(self) -> Self:
        """Return the token itself, because it is immutable."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the token itself, because it is immutable."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse pickling: the key contains the client's secret, and the clock is of this process.

        Raises:
            TypeError: Always. Only `value` may leave the process.
        """
        message = "an AccessToken cannot be pickled; pass its value instead, and keep it secret"
        raise TypeError(message)

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
