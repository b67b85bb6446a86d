"""A bounded number of places, some of them for those whom somebody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable


class Gate:
    """Let a bounded number in; the urgent ones first, the others into half of the places at most.

    It changes only between awaits, on one event loop. Within each of the two queues the order is
    that of arrival.

    Args:
        places: How many may be in at once; at least one.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._free_for_others = max(1, places // 2)
        self._urgent: dict[Hashable, asyncio.Future[None]] = {}
        self._others: dict[Hashable, asyncio.Future[None]] = {}
        self._inside: dict[Hashable, bool] = {}

    def __len__(self) -> int:
        """Return how many wait to be let in."""
        return len(self._urgent) + len(self._others)

    async def enter(self, ticket: Hashable, *, urgent: bool) -> None:
        """Wait for a place; one that is free is taken without waiting.

        Cancellation gives the place up, or the wait for it.

        Args:
            ticket: Who wants it; once at a time.
            urgent: Whether somebody waits for them.
        """
        if self._may_enter(urgent=urgent) and not self._urgent and (urgent or not self._others):
            self._take(ticket, urgent=urgent)
            return
        admitted = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others)[ticket] = admitted
        try:
            await admitted
        except asyncio.CancelledError:
            self.leave(ticket)
            raise

    def leave(self, ticket: Hashable) -> None:
        """Give a place up, or the wait for one."""
        self._urgent.pop(ticket, None)
        self._others.pop(ticket, None)
        urgent = self._inside.pop(ticket, None)
        if urgent is not None:
            self._free += 1
            self._free_for_others += not urgent
            self._admit()

    def promote(self, ticket: Hashable) -> None:
        """Make somebody urgent, wherever they are."""
        if self._inside.get(ticket) is False:
            self._inside[ticket] = True
            self._free_for_others += 1
        elif (admitted := self._others.pop(ticket, None)) is not None:
            self._urgent[ticket] = admitted
        self._admit()

    def _may_enter(self, *, urgent: bool) -> bool:
        return self._free > 0 and (urgent or self._free_for_others > 0)

    def _take(self, ticket: Hashable, *, urgent: bool) -> None:
        self._free -= 1
        self._free_for_others -= not urgent
        self._inside[ticket] = urgent

    def _admit(self) -> None:
        """Let in whoever may enter now."""
        for queue, urgent in ((self._urgent, True), (self._others, False)):
            while queue and self._may_enter(urgent=urgent):
                ticket = next(iter(queue))
                admitted = queue.pop(ticket)
                if not admitted.done():
                    self._take(ticket, urgent=urgent)
                    admitted.set_result(None)
