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
        now = current_instant(self._clock)
        return max(0.0, min(self._boot_expiry - now.boot, self._wall_expiry - now.wall))

    def _usable_for(self, boot: float, wall: float) -> float:
        """Return for how many seconds it may still be handed out: until its leeway, by both clocks.

        Args:
            boot: The present moment, in seconds of boot time.
            wall: The same, in seconds of wall time.
        """
        return min(self._boot_expiry - boot, self._wall_expiry - wall) - self._leeway
