"""The nonces that DPoP proofs must contain (RFC 9449 §8)."""

from __future__ import annotations

import secrets
from typing import Final

ACCEPTED_LIFETIMES: Final = 3
"""For how many lifetimes a nonce is accepted. Okta replaces one daily and accepts it for three."""


class Nonces:
    """The nonces of one server: the current one, and older ones that are still accepted.

    Args:
        lifetime: Seconds after which a nonce is replaced.
    """

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._generated: dict[str, float] = {}

    def current(self, now: float) -> str:
        """Return the nonce to use at `now`; generate a new one if the latest is too old."""
        if self._generated:
            nonce, generated_at = next(reversed(self._generated.items()))
            if now < generated_at + self._lifetime:
                return nonce
        return self.rotate(now)

    def accepts(self, nonce: str | None, now: float) -> bool:
        """Return whether the server accepts a proof with this nonce at `now`."""
        generated_at = self._generated.get(nonce or "")
        return generated_at is not None and now < generated_at + ACCEPTED_LIFETIMES * self._lifetime

    def rotate(self, now: float, *, forget: bool = False) -> str:
        """Generate and return a new nonce.

        Args:
            now: Seconds since the epoch.
            forget: Whether the server stops accepting the old nonces at once.
        """
        oldest = now - ACCEPTED_LIFETIMES * self._lifetime
        kept = {} if forget else self._generated
        self._generated = {nonce: at for nonce, at in kept.items() if at > oldest}
        nonce = secrets.token_urlsafe(16)
        self._generated[nonce] = now
        return nonce
