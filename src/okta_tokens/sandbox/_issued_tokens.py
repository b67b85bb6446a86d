"""The tokens that the server issued."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class IssuedToken:
    """A token that the server issued.

    Args:
        value: The token as the client sends it.
        client_id: The client that received the token.
        authorization_server: The id of the issuing authorization server; ``None`` is the org
            server.
        scopes: The scopes, in the order of the request.
        issued_at: Seconds since the epoch.
        expires_at: Seconds since the epoch.
        jkt: The thumbprint of the key that the token is bound to (RFC 9449 §6), or ``None``.
        revoked: Whether the token was revoked.
    """

    value: str = field(repr=False)
    client_id: str
    authorization_server: str | None
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float
    jkt: str | None = None
    revoked: bool = False

    @property
    def token_type(self) -> str:
        """``DPoP`` if the token is bound to a key, else ``Bearer``."""
        return "Bearer" if self.jkt is None else "DPoP"

    def live(self, now: float) -> bool:
        """Return whether the token is neither expired nor revoked at `now`."""
        return not self.revoked and now < self.expires_at


class TokenRegistry:
    """The issued tokens. The registry remembers each one for an hour after its expiry."""

    REMEMBERED: Final = 3600.0
    """Seconds after its expiry for which a token counts as expired rather than unknown."""

    _SWEEP_FLOOR: Final = 1024

    def __init__(self) -> None:
        self._tokens: dict[str, IssuedToken] = {}
        self._sweep_at = self._SWEEP_FLOOR

    def __len__(self) -> int:
        return len(self._tokens)

    def issue(
        self,
        client_id: str,
        authorization_server: str | None,
        scopes: tuple[str, ...],
        *,
        now: float,
        lifetime: int,
        jkt: str | None = None,
        value: str | None = None,
    ) -> IssuedToken:
        """Issue and remember a token.

        Args:
            client_id: The client that receives the token.
            authorization_server: The id of the issuing authorization server; ``None`` is the org
                server.
            scopes: The scopes of the token.
            now: Seconds since the epoch.
            lifetime: Seconds.
            jkt: The thumbprint of the key that the token is bound to, or ``None``.
            value: The token as the client sends it; ``None`` generates an opaque one.
        """
        if len(self._tokens) >= self._sweep_at:
            self._sweep(now)
        value = value or secrets.token_urlsafe(48)
        expiry = now + lifetime
        token = IssuedToken(value, client_id, authorization_server, scopes, now, expiry, jkt)
        self._tokens[value] = token
        return token

    def find(self, value: str) -> IssuedToken | None:
        """Return the token with this value, live or not; ``None`` if it is unknown."""
        return self._tokens.get(value)

    def values(self) -> list[IssuedToken]:
        """Return every remembered token, live or not."""
        return list(self._tokens.values())

    def revoke(self, value: str) -> bool:
        """Revoke the token with this value; return whether it was known and not yet revoked."""
        token = self._tokens.get(value)
        if token is None or token.revoked:
            return False
        token.revoked = True
        return True

    def revoke_all(self, client_id: str | None = None) -> int:
        """Revoke every token, or every token of one client; return the number of revoked tokens."""
        return sum(
            self.revoke(token.value)
            for token in self.values()
            if client_id is None or token.client_id == client_id
        )

    def _sweep(self, now: float) -> None:
        oldest = now - self.REMEMBERED
        self._tokens = {
            value: token for value, token in self._tokens.items() if token.expires_at > oldest
        }
        self._sweep_at = max(self._SWEEP_FLOOR, 2 * len(self._tokens))
