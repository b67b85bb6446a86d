"""The gate: which tickets it admits, in which order, and that no place is ever lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from okta_tokens._runtime.gate import Gate
from tests.clock import settle


class Building:
    """A gate, and a task for each ticket that stays inside until it is cancelled."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.gate = Gate(places)
        self.inside: list[int] = []
        self.urgent: set[int] = set()
        self._visits: dict[int, asyncio.Task[None]] = {}

    def come(self, *tickets: int, urgent: bool = True) -> None:
        """Let tickets enter, in this order."""
        for ticket in tickets:
            if urgent:
                self.urgent.add(ticket)
            self._visits[ticket] = asyncio.create_task(self._visit(ticket))

    async def _visit(self, ticket: int) -> None:
        await self.gate.enter(ticket, urgent=ticket in self.urgent)
        self.inside.append(ticket)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.inside.remove(ticket)
            self.gate.leave(ticket)

    def go(self, *tickets: int) -> None:
        """Cancel the tasks of some tickets, which may be waiting or inside."""
        for ticket in tickets:
            self._visits[ticket].cancel()

    def promote(self, *tickets: int) -> None:
        """Make some tickets urgent, which may be waiting or inside."""
        for ticket in tickets:
            self.urgent.add(ticket)
            self.gate.promote(ticket)

    async def all_places_are_back(self) -> bool:
        """Tell whether the empty gate admits as many tickets of each kind as a new gate."""
        self.go(*self._visits)
        await settle()
        counts = []
        for urgent in (False, True):
            tickets = [-1 - number for number in range(2 * self.places)]
            self.come(*tickets, urgent=urgent)
            await settle()
            counts.append(len(self.inside))
            self.go(*tickets)
            await settle()
        return counts == [max(1, self.places // 2), self.places] and len(self.gate) == 0


@asynccontextmanager
async def building(places: int) -> AsyncIterator[Building]:
    """Make a gate, and check at the end that no place was lost."""
    building = Building(places)
    yield building
    assert await building.all_places_are_back()
    assert len(building.gate._inside) == 0


@pytest.mark.parametrize("places", [1, 2, 3, 8])
async def test_no_more_tickets_are_inside_than_there_are_places(places: int) -> None:
    """The gate admits as many tickets as it has places, and one more for each that leaves."""
    async with building(places) as it:
        it.come(*range(places + 2))
        await settle()
        first = (it.inside.copy(), len(it.gate))
        it.go(0)
        await settle()

        assert first == ([*range(places)], 2)
        assert it.inside == [*range(1, places + 1)]
        assert len(it.gate) == 1


@pytest.mark.parametrize(("places", "half"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3), (8, 4)])
async def test_tickets_that_are_not_urgent_take_half_of_the_places(places: int, half: int) -> None:
    """Tickets that are not urgent get at most half of the places, but at least one."""
    async with building(places) as it:
        it.come(*range(places + 1), urgent=False)
        await settle()
        others = it.inside.copy()
        it.go(0)
        await settle()

        assert others == [*range(half)]
        assert it.inside == [*range(1, half + 1)]


async def test_a_free_place_is_taken_without_waiting() -> None:
    """If a place is free, to enter takes no turn of the event loop."""
    gate = Gate(2)
    for ticket, urgent in enumerate((False, True)):
        with pytest.raises(StopIteration):
            gate.enter(ticket, urgent=urgent).send(None)

    assert len(gate._inside) == 2


async def test_an_urgent_ticket_passes_tickets_that_wait() -> None:
    """An urgent ticket takes at once a free place that is closed to the other tickets."""
    async with building(2) as it:
        it.come(1, 2, urgent=False)
        await settle()
        it.come(3)
        await settle()

        assert it.inside == [1, 3]


async def test_urgent_tickets_are_admitted_first() -> None:
    """A place that becomes free goes to an urgent ticket, also if others have waited longer."""
    async with building(1) as it:
        it.come(0)
        await settle()
        it.come(1, urgent=False)
        it.come(2)
        order = []
        for ticket in (0, 2, 1):
            await settle()
            order += it.inside
            it.go(ticket)

        assert order == [0, 2, 1]


@pytest.mark.parametrize("urgent", [False, True])
async def test_each_queue_keeps_the_order_of_arrival(*, urgent: bool) -> None:
    """Among urgent tickets, and among the others, the gate keeps the order of arrival."""
    async with building(1) as it:
        it.come(*range(6), urgent=urgent)
        order = []
        for ticket in range(6):
            await settle()
            order += it.inside
            it.go(ticket)

        assert order == [*range(6)]


@pytest.mark.parametrize("urgent", [False, True])
async def test_a_late_ticket_does_not_pass_tickets_that_wait(*, urgent: bool) -> None:
    """A free place goes to the ticket that waited, also if another comes in the same turn."""
    async with building(2) as it:
        it.come(0, 1, 2, urgent=urgent)
        await settle()
        it.go(0)
        it.come(3, urgent=urgent)
        await settle()

        assert it.inside == ([1, 2] if urgent else [1])
        it.go(1)
        await settle()
        assert it.inside == ([2, 3] if urgent else [2])


async def test_a_ticket_that_is_promoted_in_the_queue_joins_the_urgent_tickets() -> None:
    """A promoted ticket passes those that are not urgent, and follows those that were urgent."""
    async with building(1) as it:
        it.come(0)
        await settle()
        it.come(1, 2, urgent=False)
        it.come(3)
        await settle()
        it.promote(2)
        order = []
        for ticket in (0, 3, 2, 1):
            await settle()
            order += it.inside
            it.go(ticket)

        assert order == [0, 3, 2, 1]


async def test_a_ticket_that_is_promoted_in_the_queue_takes_a_free_place() -> None:
    """A ticket that becomes urgent in the queue gets a place that was closed to it before."""
    async with building(2) as it:
        it.come(0, 1, urgent=False)
        await settle()
        it.promote(1)
        await settle()

        assert it.inside == [0, 1]


async def test_a_ticket_that_is_promoted_inside_makes_room_for_another_one() -> None:
    """A ticket that becomes urgent inside stops counting against the half of the others."""
    async with building(4) as it:
        it.come(0, 1, 2, 3, 4, urgent=False)
        await settle()
        it.promote(0)
        await settle()
        then = it.inside.copy()
        it.go(0)
        await settle()

        assert then == [0, 1, 2]
        assert it.inside == [1, 2]


async def test_a_ticket_that_is_promoted_inside_takes_no_room_from_later_tickets() -> None:
    """After a promotion inside, the full half of the places is open to other tickets."""
    async with building(8) as it:
        it.come(0, 1, urgent=False)
        await settle()
        it.promote(0)
        it.come(2, 3, 4, 5, urgent=False)
        await settle()

        assert it.inside == [0, 1, 2, 3, 4]


async def test_to_promote_an_urgent_or_unknown_ticket_changes_nothing() -> None:
    """To promote a ticket again, or a ticket that is not there, admits no ticket."""
    async with building(2) as it:
        it.come(0, 1, 2, urgent=False)
        await settle()
        it.promote(0)
        for ticket in (0, 0, 99):
            it.promote(ticket)
        await settle()

        assert it.inside == [0, 1]
        assert len(it.gate) == 1


async def test_leaving_twice_gives_one_place_back() -> None:
    """To leave again, or with an unknown ticket, gives no place back."""
    async with building(1) as it:
        it.come(0, 1)
        await settle()
        it.gate.leave(99)
        it.gate.leave(0)
        it.gate.leave(0)
        it.go(0)
        it.come(2)
        await settle()

        assert it.inside == [1]


@pytest.mark.parametrize("urgent", [False, True])
async def test_a_ticket_that_is_cancelled_in_the_queue_is_skipped(*, urgent: bool) -> None:
    """A cancelled ticket gets no place, and the ticket behind it gets the next place."""
    async with building(1) as it:
        it.come(0, 1, 2, urgent=urgent)
        await settle()
        it.go(1)
        await settle()
        waiting = len(it.gate)
        it.go(0)
        await settle()

        assert waiting == 1
        assert it.inside == [2]


@pytest.mark.parametrize("admitted_first", [False, True])
@pytest.mark.parametrize("urgent", [False, True])
async def test_a_cancellation_at_the_moment_of_admission_passes_the_place_on(
    *, urgent: bool, admitted_first: bool
) -> None:
    """If a ticket is cancelled in the turn of its admission, the next ticket gets its place."""
    async with building(1) as it:
        it.come(0, 1, 2, urgent=urgent)
        await settle()
        if admitted_first:
            it.gate.leave(0)
            it.go(1)
        else:
            it.go(1)
            it.gate.leave(0)
        it.go(0)
        await settle()

        assert it.inside == [2]


@pytest.mark.parametrize("places", [1, 3])
@pytest.mark.parametrize("urgent", [False, True])
async def test_no_place_is_lost_when_a_ticket_is_cancelled(places: int, *, urgent: bool) -> None:
    """A task that is cancelled in any turn between its first and its last gives its place back."""
    for turns in range(8):
        async with building(places) as it:
            it.come(*range(places), urgent=urgent)
            await settle()
            it.come(50, 51, urgent=urgent)
            it.come(52, urgent=not urgent)
            for turn in range(8):
                if turn == 1:
                    it.go(0)
                if turn == 2:
                    it.promote(50)
                if turn == turns:
                    it.go(50)
                await asyncio.sleep(0)
            await settle()
            it.go(*range(places))
            await settle()

            assert {51, 52} & {*it.inside}, turns
            assert 50 not in it.inside, turns


@dataclass
class Model:
    """The rules of a gate, as simple as possible."""

    places: int
    inside: list[int] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    urgent: set[int] = field(default_factory=set)

    def come(self, ticket: int, *, urgent: bool) -> None:
        """Let a ticket enter."""
        self.queue.append(ticket)
        if urgent:
            self.urgent.add(ticket)
        self.admit()

    def go(self, ticket: int) -> None:
        """Remove a ticket from the queue or from inside."""
        (self.inside if ticket in self.inside else self.queue).remove(ticket)
        self.admit()

    def promote(self, ticket: int) -> None:
        """Make a ticket urgent; in the queue it moves behind the urgent tickets."""
        if ticket not in self.urgent and ticket in self.queue:
            self.queue.remove(ticket)
            self.queue.append(ticket)
        self.urgent.add(ticket)
        self.admit()

    def admit(self) -> None:
        """Admit tickets as long as one may enter."""
        while entering := self.may_enter():
            self.queue.remove(entering[0])
            self.inside.append(entering[0])

    def may_enter(self) -> list[int]:
        """Return the tickets that may enter, in the order in which they would."""
        if len(self.inside) >= self.places:
            return []
        others = [ticket for ticket in self.inside if ticket not in self.urgent]
        room = len(others) < max(1, self.places // 2)
        return [
            *(ticket for ticket in self.queue if ticket in self.urgent),
            *(ticket for ticket in self.queue if ticket not in self.urgent and room),
        ]


steps = st.lists(
    st.tuples(
        st.sampled_from(["come", "come urgently", "go", "promote", "pass a turn"]),
        st.integers(0, 11),
    ),
    max_size=40,
)
quick = settings(derandomize=True, database=None, deadline=None, max_examples=100)


@quick
@given(places=st.integers(1, 5), plan=steps)
async def test_the_gate_follows_its_rules_step_by_step(
    places: int, plan: list[tuple[str, int]]
) -> None:
    """After each step the same tickets are inside, and as many wait, as the rules say."""
    it, model = Building(places), Model(places)
    present: list[int] = []
    for ticket, (step, choice) in enumerate(plan):
        if step.startswith("come"):
            present.append(ticket)
            it.come(ticket, urgent=step == "come urgently")
            model.come(ticket, urgent=step == "come urgently")
        elif present and step == "go":
            gone = present.pop(choice % len(present))
            it.go(gone)
            model.go(gone)
        elif present and step == "promote":
            it.promote(present[choice % len(present)])
            model.promote(present[choice % len(present)])
        await settle(4)

        assert sorted(it.inside) == sorted(model.inside)
        assert len(it.gate) == len(model.queue)
    assert await it.all_places_are_back()


@quick
@given(places=st.integers(1, 5), plan=steps)
@example(places=2, plan=[("come", 0), ("come", 0), ("go", 1), ("promote", 1), ("come", 0)])
@example(places=1, plan=[*[("come", 0)] * 3, ("pass a turn", 0), ("go", 0), ("go", 0)])
async def test_no_wake_up_is_lost_when_steps_coincide(
    places: int, plan: list[tuple[str, int]]
) -> None:
    """If steps come in the same turn, the limits hold, and no ticket waits for a free place."""
    it = Building(places)
    present: list[int] = []

    def check_bounds() -> None:
        others = [ticket for ticket in it.inside if ticket not in it.urgent]
        assert len(it.inside) <= places
        assert len(others) <= max(1, places // 2)

    for ticket, (step, choice) in enumerate(plan):
        if step.startswith("come"):
            present.append(ticket)
            it.come(ticket, urgent=step == "come urgently")
        elif present and step == "go":
            it.go(present.pop(choice % len(present)))
        elif present and step == "promote":
            it.promote(present[choice % len(present)])
        else:
            await asyncio.sleep(0)
        check_bounds()
    await settle()

    check_bounds()
    waiting = [ticket for ticket in present if ticket not in it.inside]
    assert len(it.gate) == len(waiting)
    assert not Model(places, it.inside, waiting, it.urgent).may_enter()
    assert await it.all_places_are_back()
