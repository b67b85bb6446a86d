"""What may be used once, and was."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final


class Replays:
    """Remembers what was used, as long as it could be used again; of very much, the latest half."""

    LIMIT: Final = 100_000
    """How much is remembered at most."""

    _SWEEP_FLOOR: Final = 1024

    def __init__(self) -> None:
        self._used: dict[Hashable, float] = {}
        self._sweep_at = self._SWEEP_FLOOR

    def __len__(self) -> int:
        return len(self._used)

    def use(self, once: Hashable, *, until: float, now: float) -> bool:
        """Use something; return whether that was its first use.

        Args:
            once: What may be used once.
            until: When it cannot be used any more in any case, in seconds since the epoch.
            now: Seconds since the epoch.
        """
        if self._used.get(once, now) > now:
            return False
        if len(self._used) >= self._sweep_at:
            self._sweep(now)
        self._used[once] = until
        return True

    def _sweep(self, now: float) -> None:
        latest = [(once, until) for once, until in self._used.items() if until > now]
        self._used = dict(latest[-self.LIMIT // 2 :])
        self._sweep_at = max(self._SWEEP_FLOOR, 2 * len(self._used))
