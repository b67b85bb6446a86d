"""Replay protection: remember what may be used only once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final


class ReplayCache:
    """The ids that were used, each kept for as long as it could be used again.

    If the cache exceeds its limit, it keeps only the newest half.
    """

    LIMIT: Final = 100_000
    """The largest number of ids in the cache."""

    _SWEEP_FLOOR: Final = 1024

    def __init__(self) -> None:
        self._used: dict[Hashable, float] = {}
        self._sweep_at = self._SWEEP_FLOOR

    def __len__(self) -> int:
        return len(self._used)

    def use(self, used_id: Hashable, *, expires_at: float, now: float) -> bool:
        """Record a use of an id, and return whether it is the first one.

        Args:
            used_id: What may be used only once.
            expires_at: When the id becomes unusable in any case, in seconds since the epoch.
            now: Seconds since the epoch.
        """
        if self._used.get(used_id, now) > now:
            return False
        if len(self._used) >= self._sweep_at:
            self._sweep(now)
        self._used[used_id] = expires_at
        return True

    def _sweep(self, now: float) -> None:
        unexpired = [(used_id, expiry) for used_id, expiry in self._used.items() if expiry > now]
        self._used = dict(unexpired[-self.LIMIT // 2 :])
        self._sweep_at = max(self._SWEEP_FLOOR, 2 * len(self._used))
