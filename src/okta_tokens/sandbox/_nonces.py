"""The nonces that DPoP proofs must carry (RFC 9449 §8)."""

from __future__ import annotations

import secrets
from typing import Final

from okta_tokens.sandbox._answers import DPOP_NONCE, Refusal

ACCEPTED_LIFETIMES: Final = 3
"""How many lifetimes an old nonce is accepted: Okta's live a day, and work for three."""


def use_dpop_nonce(description: str, nonce: str) -> Refusal:
    """Return the refusal of a proof without a nonce that is known, which tells a new one."""
    return Refusal(400, "use_dpop_nonce", description, headers={DPOP_NONCE: nonce})


class Nonces:
    """The nonces of one server: a current one, and older ones that are accepted for a while.

    Args:
        lifetime: Seconds after which a nonce is replaced.
    """

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._generated: dict[str, float] = {}

    def current(self, now: float) -> str:
        """Return the nonce to use at `now`, a new one if the latest has had its time."""
        if self._generated:
            nonce, generated = next(reversed(self._generated.items()))
            if now < generated + self._lifetime:
                return nonce
        return self.rotate(now)

    def accepts(self, nonce: str | None, now: float) -> bool:
        """Return whether a proof with this nonce is accepted at `now`."""
        generated = self._generated.get(nonce or "")
        return generated is not None and now < generated + ACCEPTED_LIFETIMES * self._lifetime

    def rotate(self, now: float, *, forget: bool = False) -> str:
        """Generate and return a new nonce; the old ones stay accepted unless they are forgotten."""
        oldest = now - ACCEPTED_LIFETIMES * self._lifetime
        kept = {} if forget else self._generated
        self._generated = {nonce: at for nonce, at in kept.items() if at > oldest}
        nonce = secrets.token_urlsafe(16)
        self._generated[nonce] = now
        return nonce
