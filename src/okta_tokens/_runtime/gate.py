"""A gate: it admits a bounded number of tickets, by lane, and fairly to their owners."""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Hashable, Sequence


class Lane(enum.IntEnum):
    """The lane in which a ticket waits for a place; the earlier lanes come first."""

    URGENT = 0
    """Background work that must begin now."""
    FOREGROUND = 1
    """Work that a caller waits for."""
    BACKGROUND = 2
    """Work that can wait."""


class Gate:
    """A bounded number of places, for tickets of three lanes and any number of owners.

    Each place goes to the first lane that may have another one, so that no lane starves:

    - The foreground leaves one place to the two other lanes, which leave one to the foreground.
    - The background gets a place only while the two other lanes have less than half of the places
      together, rounded down but at least one.
    - If there is only one place, the foreground and the two other lanes take turns.

    Within a lane the owners take turns. Each owner's tickets keep the order of arrival. The state
    changes only between awaits, on one event loop.

    A gate may stand within another one. A ticket that has a place then also needs one of the other
    gate, where the gates within it are the owners and take turns.

    Args:
        places: How many tickets may be inside at the same time; at least one.
        within: The gate within which this one stands, or None.
    """

    def __init__(self, places: int, within: Gate | None = None) -> None:
        self._within = within
        self._places = places
        self._all_but_one = max(1, places - 1)
        self._half = max(1, places // 2)
        self._lines = [_Line() for _ in Lane]
        self._waiting: dict[Hashable, tuple[Lane, Hashable, asyncio.Future[None]]] = {}
        self._inside: dict[Hashable, Lane] = {}
        self._foreground_inside = 0
        self._foreground_was_last = False

    def __len__(self) -> int:
        """Return the number of tickets that wait for a place, here or where this gate stands."""
        return len(self._waiting) + (0 if self._within is None else len(self._within))

    @property
    def is_empty(self) -> bool:
        """Whether no ticket is inside or waits."""
        return not self._inside and not self._waiting

    def try_enter(self, ticket: Hashable, lane: Lane) -> bool:
        """Take a place if no ticket waits and the lane may have one now.

        Args:
            ticket: As for `enter`.
            lane: The lane of the ticket.

        Returns:
            Whether the ticket has a place.
        """
        if self._waiting or not self._may_enter(lane):
            return False
        if self._within is not None and not self._within.try_enter(ticket, lane):
            return False
        self._take_place(ticket, lane)
        return True

    async def enter(self, ticket: Hashable, lane: Lane, owner: Hashable) -> None:
        """Take a place; suspend only if the lane may have no place now.

        If this coroutine is cancelled, the ticket leaves the line, or gives back its place.

        Args:
            ticket: Identifies the place. A ticket that waits or is inside must not enter again.
            lane: The lane in which the ticket waits.
            owner: Whose ticket it is.
        """
        try:
            if self._may_enter(lane):  # if so, no ticket waits that may enter
                self._take_place(ticket, lane)
            else:
                admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting[ticket] = lane, owner, admitted
                self._lines[lane].add(ticket, owner)
                await admitted
            if self._within is not None:
                await self._within.enter(ticket, self._inside[ticket], self)
        except asyncio.CancelledError:
            self.leave(ticket)
            raise

    def leave(self, ticket: Hashable) -> None:
        """Give back the ticket's place, or leave the line; do nothing for an unknown ticket."""
        if self._within is not None:
            self._within.leave(ticket)
        if (waiting := self._waiting.pop(ticket, None)) is not None:
            lane, owner, _ = waiting
            self._lines[lane].remove(ticket, owner)
        elif (inside := self._inside.pop(ticket, None)) is not None:
            self._foreground_inside -= inside is Lane.FOREGROUND
            if self._waiting:
                self._admit()

    def promote(self, ticket: Hashable, lane: Lane) -> None:
        """Move a ticket to an earlier lane.

        Three cases: a ticket inside counts as one of that lane from now on; a ticket that waits
        moves to the end of its owner's tickets in that lane; an unknown ticket, or one whose lane
        is not later, stays as it is.
        """
        if (waiting := self._waiting.get(ticket)) is not None and lane < waiting[0]:
            previous, owner, admitted = waiting
            self._lines[previous].remove(ticket, owner)
            self._lines[lane].add(ticket, owner)
            self._waiting[ticket] = lane, owner, admitted
        elif lane < (inside := self._inside.get(ticket, lane)):
            self._inside[ticket] = lane
            self._foreground_inside += (lane is Lane.FOREGROUND) - (inside is Lane.FOREGROUND)
        if self._within is not None:
            self._within.promote(ticket, lane)
        self._admit()

    def _may_enter(self, lane: Lane) -> bool:
        foreground = self._foreground_inside
        others = len(self._inside) - foreground
        if foreground + others == self._places:
            return False
        if lane is Lane.FOREGROUND:
            return foreground < self._all_but_one
        return others < (self._half if lane is Lane.BACKGROUND else self._all_but_one)

    def _take_place(self, ticket: Hashable, lane: Lane) -> None:
        self._inside[ticket] = lane
        self._foreground_was_last = lane is Lane.FOREGROUND
        self._foreground_inside += self._foreground_was_last

    def _admit(self) -> None:
        """Admit waiting tickets as long as there are places for them."""
        while self._waiting and (lane := self._next_lane()) is not None:
            ticket = self._lines[lane].pop()
            admitted = self._waiting.pop(ticket)[2]
            if not admitted.done():
                self._take_place(ticket, lane)
                admitted.set_result(None)

    def _next_lane(self) -> Lane | None:
        """Return the lane in which a ticket waits that gets the next place, or None."""
        order: Sequence[Lane] = _ORDER
        if self._places == 1:
            order = _OTHERS_FIRST if self._foreground_was_last else _FOREGROUND_FIRST
        for lane in order:
            if self._lines[lane].owners and self._may_enter(lane):
                return lane
        return None


_ORDER = tuple(Lane)
_OTHERS_FIRST = (Lane.URGENT, Lane.BACKGROUND, Lane.FOREGROUND)
_FOREGROUND_FIRST = (Lane.FOREGROUND, Lane.URGENT, Lane.BACKGROUND)


class _Line:
    """The tickets that wait in one lane: their owners take turns."""

    def __init__(self) -> None:
        self.owners: OrderedDict[Hashable, OrderedDict[Hashable, None]] = OrderedDict()
        """The tickets of each owner who has one."""

    def add(self, ticket: Hashable, owner: Hashable) -> None:
        """Add a ticket behind the owner's other tickets."""
        self.owners.setdefault(owner, OrderedDict())[ticket] = None

    def remove(self, ticket: Hashable, owner: Hashable) -> None:
        """Remove a ticket that waits."""
        tickets = self.owners[owner]
        del tickets[ticket]
        if not tickets:
            del self.owners[owner]

    def pop(self) -> Hashable:
        """Remove the first ticket of the owner whose turn it is, who then is the last one."""
        owner, tickets = self.owners.popitem(last=False)
        ticket, _ = tickets.popitem(last=False)
        if tickets:
            self.owners[owner] = tickets
        return ticket
