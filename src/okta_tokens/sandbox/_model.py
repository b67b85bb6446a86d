"""What the server remembers: tokens it issued, requests it received."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class IssuedToken:
    """A token that was issued.

    Args:
        value: What the client sends.
        client_id: Whom it was issued to.
        authorization_server: Who issued it; ``None`` is the org server.
        scopes: What it is good for, in the order of the request.
        issued_at: Seconds since the epoch.
        expires_at: Seconds since the epoch.
        jkt: The thumbprint of the key that it is bound to (RFC 9449 §6), or ``None``.
        revoked: Whether it was revoked.
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
    """The issued tokens, each remembered for an hour past its expiry."""

    REMEMBERED: Final = 3600.0
    """Seconds past expiry in which a token still counts as expired, not as unknown."""

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
        """Issue and remember a token that lives from `now` for `lifetime` seconds.

        Args:
            client_id: Whom it is issued to.
            authorization_server: Who issues it; ``None`` is the org server.
            scopes: What it is good for.
            now: Seconds since the epoch.
            lifetime: Seconds.
            jkt: The thumbprint of the key that it is bound to, or ``None``.
            value: What the client is to send; opaque if not given.
        """
        if len(self._tokens) >= self._sweep_at:
            self._sweep(now)
        value = value or secrets.token_urlsafe(48)
        expiry = now + lifetime
        token = IssuedToken(value, client_id, authorization_server, scopes, now, expiry, jkt)
        self._tokens[value] = token
        return token

    def find(self, value: str) -> IssuedToken | None:
        """Return the token with this value, live or not."""
        return self._tokens.get(value)

    def revoke(self, value: str) -> bool:
        """Revoke the token with this value; return whether it was known and not yet revoked."""
        token = self._tokens.get(value)
        if token is None or token.revoked:
            return False
        token.revoked = True
        return True

    def revoke_all(self, client_id: str | None = None) -> int:
        """Revoke all tokens, or all of one client; return how many."""
        return sum(
            self.revoke(token.value)
            for token in self._tokens.values()
            if client_id is None or token.client_id == client_id
        )

    def _sweep(self, now: float) -> None:
        oldest = now - self.REMEMBERED
        self._tokens = {v: t for v, t in self._tokens.items() if t.expires_at > oldest}
        self._sweep_at = max(self._SWEEP_FLOOR, 2 * len(self._tokens))


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request to a token, revocation or introspection endpoint. Holds no secret and no token.

    Args:
        at: When it arrived, in seconds since the epoch.
        path: The path, without the query.
        client_id: The client id it carried, or ``None``.
        method: How the client authenticated: ``client_secret_basic``, ``client_secret_post``,
            ``client_secret_jwt``, ``private_key_jwt``, ``client_assertion`` if that could not be
            told apart, ``multiple``, or ``None``.
        scopes: The scopes it asked for, in its order.
        user_agent: The ``User-Agent`` header.
        retry_for: The ``X-Okta-Retry-For`` header.
        retry_count: The ``X-Okta-Retry-Count`` header.
        request_id: The ``X-Okta-Request-Id`` it was answered with.
        status: The status it was answered with; ``None`` if the connection was dropped instead.
        error: The error code in the answer, or ``None``.
        algorithm: The ``alg`` of the client assertion, or ``None``.
        kid: The ``kid`` of the client assertion, or ``None``.
        proof: Whether it carried a DPoP proof, good or bad.
        jkt: The thumbprint of the key that signed the proof, or ``None``.
        nonce: Whether the proof carried a nonce, known or not.
    """

    at: float
    path: str
    client_id: str | None
    method: str | None
    scopes: tuple[str, ...]
    user_agent: str | None
    retry_for: str | None
    retry_count: str | None
    request_id: str
    status: int | None
    error: str | None
    algorithm: str | None = None
    kid: str | None = None
    proof: bool = False
    jkt: str | None = None
    nonce: bool = False
