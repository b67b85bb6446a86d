"""A gate: it admits a bounded number of tickets, the urgent ones first."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable


class Gate:
    """A bounded number of places. Urgent tickets come first; others take at most half of them.

    The state changes only between awaits, on one event loop. Each of the two queues keeps the order
    of arrival.

    Args:
        places: How many tickets may be inside at the same time; at least one. Half of them, rounded
            down but at least one, are open to tickets that are not urgent.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._free_for_others = max(1, places // 2)
        self._urgent: dict[Hashable, asyncio.Future[None]] = {}
        self._others: dict[Hashable, asyncio.Future[None]] = {}
        self._inside: dict[Hashable, bool] = {}
        """Whether each ticket inside is urgent."""

    def __len__(self) -> int:
        """Return the number of tickets that wait for a place."""
        return len(self._urgent) + len(self._others)

    async def enter(self, ticket: Hashable, *, urgent: bool) -> None:
        """Take a place; wait for one only if none is free or other tickets wait.

        If this coroutine is cancelled, the ticket leaves the queue, or gives back its place.

        Args:
            ticket: Identifies the place. A ticket that waits or is inside must not enter again.
            urgent: Whether a caller waits for this ticket.
        """
        if self._may_enter(urgent=urgent) and not self._urgent and (urgent or not self._others):
            self._take_place(ticket, urgent=urgent)
            return
        admitted = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others)[ticket] = admitted
        try:
            await admitted
        except asyncio.CancelledError:
            self.leave(ticket)
            raise

    def leave(self, ticket: Hashable) -> None:
        """Give back the ticket's place, or leave the queue; do nothing for an unknown ticket."""
        self._urgent.pop(ticket, None)
        self._others.pop(ticket, None)
        urgent = self._inside.pop(ticket, None)
        if urgent is not None:
            self._free += 1
            self._free_for_others += not urgent
            self._admit()

    def promote(self, ticket: Hashable) -> None:
        """Make a ticket urgent.

        Three cases: a ticket inside stops counting against the half for other tickets; a ticket in
        the queue moves to the end of the urgent queue; an urgent or unknown ticket stays as it is.
        """
        if self._inside.get(ticket) is False:
            self._inside[ticket] = True
            self._free_for_others += 1
        elif (admitted := self._others.pop(ticket, None)) is not None:
            self._urgent[ticket] = admitted
        self._admit()

    def _may_enter(self, *, urgent: bool) -> bool:
        return self._free > 0 and (urgent or self._free_for_others > 0)

    def _take_place(self, ticket: Hashable, *, urgent: bool) -> None:
        self._free -= 1
        self._free_for_others -= not urgent
        self._inside[ticket] = urgent

    def _admit(self) -> None:
        """Admit waiting tickets as long as there are places for them."""
        for queue, urgent in ((self._urgent, True), (self._others, False)):
            while queue and self._may_enter(urgent=urgent):
                ticket = next(iter(queue))
                admitted = queue.pop(ticket)
                if not admitted.done():
                    self._take_place(ticket, urgent=urgent)
                    admitted.set_result(None)
