"""The gate: which tickets it admits, in which order, and that no place is ever lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from okta_tokens._runtime.gate import Gate, Lane
from tests.clock import settle

URGENT, FOREGROUND, BACKGROUND = Lane

lanes = pytest.mark.parametrize("lane", Lane, ids=lambda lane: lane.name.lower())


class Building:
    """A gate, and a task for each ticket that stays inside until it is cancelled."""

    def __init__(self, places: int, within: Gate | None = None) -> None:
        self.places = places
        self.gate = Gate(places, within)
        self.inside: list[int] = []
        self.lanes: dict[int, Lane] = {}
        self._visits: dict[int, asyncio.Task[None]] = {}

    def come(self, *tickets: int, lane: Lane = FOREGROUND, owner: str = "") -> None:
        """Let tickets enter, in this order."""
        for ticket in tickets:
            self.lanes[ticket] = lane
            self._visits[ticket] = asyncio.create_task(self._visit(ticket, owner))

    async def _visit(self, ticket: int, owner: str) -> None:
        await self.gate.enter(ticket, self.lanes[ticket], owner)
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

    def promote(self, *tickets: int, lane: Lane = FOREGROUND) -> None:
        """Move some tickets to an earlier lane, which may be waiting or inside."""
        for ticket in tickets:
            self.lanes[ticket] = min(lane, self.lanes.get(ticket, lane))
            self.gate.promote(ticket, lane)

    async def order(self, *tickets: int) -> list[int]:
        """Return the order of admission if each ticket leaves as soon as it is inside."""
        order = []
        await settle()
        while self.inside:
            order += self.inside
            self.go(*self.inside)
            await settle()
        assert sorted(order) == sorted(tickets)
        return order

    async def all_places_are_back(self) -> bool:
        """Tell whether the empty gate admits as many tickets of each lane as a new gate."""
        self.go(*self._visits)
        await settle()
        assert self.gate.is_empty
        counts = []
        for lane in Lane:
            tickets = [-1 - number for number in range(2 * self.places)]
            self.come(*tickets, lane=lane)
            await settle()
            counts.append(len(self.inside))
            self.go(*tickets)
            await settle()
        return counts == [most(self.places, lane) for lane in Lane] and self.gate.is_empty


def most(places: int, lane: Lane) -> int:
    """Return how many places the tickets of one lane may have."""
    return max(1, places // 2 if lane is BACKGROUND else places - 1)


@asynccontextmanager
async def building(places: int) -> AsyncIterator[Building]:
    """Make a gate, and check at the end that no place was lost."""
    building = Building(places)
    yield building
    assert await building.all_places_are_back()


@asynccontextmanager
async def buildings(*places: int, within: int) -> AsyncIterator[list[Building]]:
    """Make gates within one of a number of places, and check at the end that no place was lost."""
    outer = Gate(within)
    inner = [Building(number, outer) for number in places]
    yield inner
    for building in inner:
        building.go(*building.lanes)
    await settle()
    assert all(building.gate.is_empty for building in inner)
    assert outer.is_empty


# Which tickets are admitted


@lanes
@pytest.mark.parametrize("places", [1, 2, 3, 7, 8])
async def test_each_lane_has_a_limit(places: int, lane: Lane) -> None:
    """The background gets half of the places, each other lane all but one, and each at least one.

    One more ticket is admitted for each that leaves.
    """
    limit = most(places, lane)
    async with building(places) as it:
        it.come(*range(places + 2), lane=lane)
        await settle()
        first = (it.inside.copy(), len(it.gate))
        it.go(0)
        await settle()

        assert first == ([*range(limit)], places + 2 - limit)
        assert it.inside == [*range(1, limit + 1)]
        assert len(it.gate) == places + 1 - limit


@pytest.mark.parametrize("lane", [URGENT, BACKGROUND])
@pytest.mark.parametrize("places", [2, 3, 8])
async def test_one_place_is_always_for_the_other_lanes(places: int, lane: Lane) -> None:
    """However many foreground tickets come, a ticket of another lane is admitted at once."""
    async with building(places) as it:
        it.come(*range(100))
        await settle()
        it.come(100, lane=lane)
        await settle()

        assert it.inside == [*range(places - 1), 100]


@pytest.mark.parametrize("places", [2, 3, 8])
async def test_one_place_is_always_for_the_foreground(places: int) -> None:
    """However many tickets of the other lanes come, a foreground ticket is admitted at once."""
    async with building(places) as it:
        it.come(*range(50), lane=BACKGROUND)
        it.come(*range(50, 100), lane=URGENT)
        await settle()
        it.come(100)
        await settle()

        assert len(it.inside) == places
        assert it.inside[-1] == 100


async def test_with_one_place_the_foreground_and_the_other_lanes_take_turns() -> None:
    """If there is one place, no lane starves."""
    async with building(1) as it:
        it.come(0, 1, 2, 3)
        it.come(10, 11, lane=BACKGROUND)
        it.come(20, lane=URGENT)

        assert await it.order(0, 1, 2, 3, 10, 11, 20) == [0, 20, 1, 10, 2, 11, 3]


async def test_a_free_place_is_taken_without_waiting() -> None:
    """If a place is free, to enter takes no turn of the event loop."""
    gate = Gate(4)
    for lane in Lane:
        with pytest.raises(StopIteration):
            gate.enter(lane.name, lane, "owner").send(None)

    assert len(gate._inside) == 3


async def test_an_urgent_ticket_takes_a_place_that_is_closed_to_the_background() -> None:
    """An urgent ticket passes background tickets that wait, and takes a place of the foreground."""
    async with building(4) as it:
        it.come(1, 2, 3, lane=BACKGROUND)
        await settle()
        it.come(4, lane=URGENT)
        await settle()

        assert it.inside == [1, 2, 4]


async def test_the_earlier_lanes_are_admitted_first() -> None:
    """A place that becomes free goes to the earliest lane, also if others have waited longer."""
    async with building(2) as it:
        it.come(0)
        it.come(1, lane=BACKGROUND)
        await settle()
        it.come(2, lane=BACKGROUND)
        it.come(3)
        it.come(4, lane=URGENT)
        await settle()
        it.go(1)
        await settle()
        assert it.inside == [0, 4]
        it.go(0)
        await settle()
        assert it.inside == [4, 3]


# In which order


@lanes
async def test_each_lane_keeps_the_order_of_arrival(lane: Lane) -> None:
    """The tickets of one owner are admitted in the order of arrival."""
    async with building(1) as it:
        it.come(*range(6), lane=lane)

        assert await it.order(*range(6)) == [*range(6)]


@lanes
async def test_owners_take_turns(lane: Lane) -> None:
    """An owner with a thousand tickets is followed by each other owner after one of them."""
    async with building(1) as it:
        it.come(*range(1_000), lane=lane, owner="many")
        await settle()
        it.come(2_000, 2_001, lane=lane, owner="two")
        it.come(3_000, lane=lane, owner="one")
        order = await it.order(*range(1_000), 2_000, 2_001, 3_000)

        assert order[:7] == [0, 1, 2_000, 3_000, 2, 2_001, 3]


async def test_an_owner_whose_tickets_have_left_is_passed_over() -> None:
    """An owner whose last ticket was cancelled in the line has no turn."""
    async with building(1) as it:
        it.come(0)
        await settle()
        it.come(1, owner="left")
        it.come(2, owner="stays")
        await settle()
        it.go(1)

        assert await it.order(0, 2) == [0, 2]


@lanes
async def test_a_late_ticket_does_not_pass_tickets_that_wait(lane: Lane) -> None:
    """A free place goes to the ticket that waited, also if another comes in the same turn."""
    async with building(2) as it:
        it.come(0, 1, lane=lane)
        await settle()
        it.go(0)
        it.come(2, lane=lane)
        await settle()

        assert it.inside == [1]


# Promotion


async def test_a_ticket_that_is_promoted_in_the_line_joins_the_earlier_lane() -> None:
    """A promoted ticket passes those of its lane, and follows those of the earlier lane."""
    async with building(2) as it:
        it.come(0, lane=BACKGROUND)
        it.come(1)
        await settle()
        it.come(2, 3, lane=BACKGROUND)
        it.come(4)
        await settle()
        it.promote(3)
        it.go(1)
        await settle()
        assert it.inside == [0, 4]
        it.go(4)
        await settle()

        assert it.inside == [0, 3]


@pytest.mark.parametrize("lane", [URGENT, FOREGROUND])
async def test_a_ticket_that_is_promoted_in_the_line_takes_a_free_place(lane: Lane) -> None:
    """A ticket that is promoted in the line gets a place that was closed to it before."""
    async with building(4) as it:
        it.come(0, 1, 2, lane=BACKGROUND)
        await settle()
        it.promote(2, lane=lane)
        await settle()

        assert it.inside == [0, 1, 2]


async def test_a_ticket_that_is_promoted_inside_makes_room_for_another_one() -> None:
    """A ticket that moves to the foreground inside no longer counts against the background."""
    async with building(4) as it:
        it.come(0, 1, 2, 3, 4, lane=BACKGROUND)
        await settle()
        it.promote(0)
        await settle()
        then = it.inside.copy()
        it.go(0)
        await settle()

        assert then == [0, 1, 2]
        assert it.inside == [1, 2]


async def test_a_ticket_that_becomes_urgent_inside_makes_no_room() -> None:
    """A background ticket that becomes urgent inside counts against the background as before."""
    async with building(4) as it:
        it.come(0, 1, 2, lane=BACKGROUND)
        await settle()
        it.promote(0, lane=URGENT)
        await settle()

        assert it.inside == [0, 1]


async def test_only_an_earlier_lane_is_a_promotion() -> None:
    """A ticket keeps its lane if the other lane is later or the same; an unknown one is ignored."""
    async with building(2) as it:
        it.come(0, 1, 2, lane=BACKGROUND)
        await settle()
        it.promote(0)
        await settle()
        it.promote(1, lane=URGENT)
        for ticket in (0, 1, 2, 99):
            it.promote(ticket, lane=BACKGROUND)
        it.promote(1)
        await settle()

        assert it.inside == [0, 1]
        assert len(it.gate) == 1


async def test_a_promotion_to_the_same_lane_changes_no_order() -> None:
    """A ticket that waits, and is promoted to the lane in which it waits, keeps its turn."""
    async with building(2) as it:
        it.come(0, 1, 2, lane=BACKGROUND)
        await settle()
        it.promote(1, lane=BACKGROUND)
        it.go(0)
        await settle()

        assert it.inside == [1]


# A gate within another gate


async def test_gates_within_one_share_its_places() -> None:
    """However many gates stand within one, it admits only as many tickets as it has places for."""
    async with buildings(3, 3, within=4) as (first, second):
        first.come(1, 2, lane=URGENT)
        second.come(3, 4, lane=URGENT)
        await settle()
        assert (first.inside, second.inside) == ([1, 2], [3])
        assert (len(first.gate), len(second.gate)) == (1, 1)

        first.go(1)
        await settle()
        assert (first.inside, second.inside) == ([2], [3, 4])


async def test_a_place_that_the_outer_gate_lacks_is_not_taken() -> None:
    """If the outer gate has no place, a ticket that cannot wait takes none of the inner gate."""
    outer = Gate(2)
    gate = Gate(2, outer)
    assert outer.try_enter("other", FOREGROUND)

    assert not gate.try_enter("ticket", FOREGROUND)
    assert gate.is_empty

    outer.leave("other")
    assert gate.try_enter("ticket", FOREGROUND)
    assert not outer.is_empty


async def test_gates_within_one_take_turns() -> None:
    """A gate with many tickets does not hold up the one ticket of another gate."""
    async with buildings(9, 9, within=3) as (crowded, quiet):
        crowded.come(1, 2, 3, 4, 5)
        quiet.come(6)
        await settle()
        crowded.go(1)
        await settle()
        crowded.go(2)
        await settle()

        assert (crowded.inside, quiet.inside) == ([3], [6])


async def test_a_ticket_that_is_cancelled_between_two_gates_leaves_both() -> None:
    """A ticket that waits for a place of the outer gate gives its inner place back if it leaves."""
    async with buildings(3, 3, within=2) as (first, second):
        first.come(1)
        await settle()
        second.come(2)
        await settle()
        assert len(second.gate) == 1

        second.go(2)
        await settle()
        assert second.gate.is_empty
        assert len(second.gate) == 0


async def test_a_ticket_is_promoted_in_both_gates() -> None:
    """A ticket that waits for the outer gate joins the earlier lane there."""
    async with buildings(4, 4, within=3) as (first, second):
        first.come(1, lane=BACKGROUND)
        await settle()
        second.come(2, lane=BACKGROUND)
        await settle()
        assert second.inside == []

        second.promote(2)
        await settle()
        assert (first.inside, second.inside) == ([1], [2])


# Leaving


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


@lanes
async def test_a_ticket_that_is_cancelled_in_the_line_is_skipped(lane: Lane) -> None:
    """A cancelled ticket gets no place, and the ticket behind it gets the next place."""
    async with building(1) as it:
        it.come(0, 1, 2, lane=lane)
        await settle()
        it.go(1)
        await settle()
        waiting = len(it.gate)
        it.go(0)
        await settle()

        assert waiting == 1
        assert it.inside == [2]


@pytest.mark.parametrize("admitted_first", [False, True])
@lanes
async def test_a_cancellation_at_the_moment_of_admission_passes_the_place_on(
    lane: Lane, *, admitted_first: bool
) -> None:
    """If a ticket is cancelled in the turn of its admission, the next ticket gets its place."""
    async with building(1) as it:
        it.come(0, 1, 2, lane=lane)
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
@lanes
async def test_no_place_is_lost_when_a_ticket_is_cancelled(places: int, lane: Lane) -> None:
    """A task that is cancelled in any turn between its first and its last gives its place back."""
    other = BACKGROUND if lane is FOREGROUND else FOREGROUND
    for turns in range(8):
        async with building(places) as it:
            it.come(*range(places), lane=lane)
            await settle()
            it.come(50, 51, lane=lane)
            it.come(52, lane=other)
            for turn in range(8):
                if turn == 1:
                    it.go(0)
                if turn == 2:
                    it.promote(50, lane=URGENT)
                if turn == turns:
                    it.go(50)
                await asyncio.sleep(0)
            await settle()
            it.go(*range(places))
            await settle()

            assert {51, 52} & {*it.inside}, turns
            assert 50 not in it.inside, turns


# A model


@dataclass
class Model:
    """The rules of a gate, as simple as possible."""

    places: int
    lanes: dict[int, Lane] = field(default_factory=dict)
    inside: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    """In the order in which the tickets joined their lanes."""
    turns: list[tuple[Lane, int]] = field(default_factory=list)
    """The owners with tickets in a lane, in the order of their turns."""
    foreground_was_last: bool = False

    def come(self, ticket: int, lane: Lane) -> None:
        """Let a ticket enter."""
        self.lanes[ticket] = lane
        self.waiting.append(ticket)
        self.admit()

    def go(self, ticket: int) -> None:
        """Remove a ticket from the line or from inside."""
        (self.inside if ticket in self.inside else self.waiting).remove(ticket)
        self.admit()

    def promote(self, ticket: int, lane: Lane) -> None:
        """Move a ticket to an earlier lane; in the line it moves behind the tickets of that one."""
        if lane < self.lanes[ticket]:
            self.lanes[ticket] = lane
            if ticket in self.waiting:
                self.waiting.remove(ticket)
                self.waiting.append(ticket)
        self.admit()

    def admit(self) -> None:
        """Admit tickets as long as one may enter."""
        while True:
            wanted = [(self.lanes[ticket], owner_of(ticket)) for ticket in self.waiting]
            self.turns = [turn for turn in self.turns if turn in wanted]
            self.turns += [turn for turn in dict.fromkeys(wanted) if turn not in self.turns]
            if not (entering := self.may_enter()):
                return
            ticket = entering[0]
            self.waiting.remove(ticket)
            self.inside.append(ticket)
            lane = self.lanes[ticket]
            self.foreground_was_last = lane is FOREGROUND
            self.turns.remove((lane, owner_of(ticket)))

    def may_enter(self) -> list[int]:
        """Return the tickets that may enter, in the order in which they would."""
        foreground = sum(self.lanes[ticket] is FOREGROUND for ticket in self.inside)
        others = len(self.inside) - foreground
        if foreground + others == self.places:
            return []

        def in_turn(ticket: int) -> tuple[bool, Lane, int, int]:
            lane = self.lanes[ticket]
            waits = (lane is FOREGROUND) == self.foreground_was_last and self.places == 1
            turn = self.turns.index((lane, owner_of(ticket)))
            return waits, lane, turn, self.waiting.index(ticket)

        able = [
            ticket
            for ticket in self.waiting
            if (foreground if self.lanes[ticket] is FOREGROUND else others)
            < most(self.places, self.lanes[ticket])
        ]
        return sorted(able, key=in_turn)


def owner_of(ticket: int) -> int:
    """Return the owner of a ticket: there are three."""
    return ticket % 3


steps = st.lists(
    st.tuples(
        st.sampled_from(["come", "go", "promote", "pass a turn"]),
        st.integers(0, 11),
        st.sampled_from(Lane),
    ),
    max_size=40,
)
quick = settings(derandomize=True, database=None, deadline=None, max_examples=150)
Plan = list[tuple[str, int, Lane]]


@quick
@given(places=st.integers(1, 5), plan=steps)
async def test_the_gate_follows_its_rules_step_by_step(places: int, plan: Plan) -> None:
    """After each step the same tickets are inside, and as many wait, as the rules say."""
    it, model = Building(places), Model(places)
    present: list[int] = []
    for ticket, (step, choice, lane) in enumerate(plan):
        if step == "come":
            present.append(ticket)
            it.come(ticket, lane=lane, owner=str(owner_of(ticket)))
            model.come(ticket, lane)
        elif present and step == "go":
            gone = present.pop(choice % len(present))
            it.go(gone)
            model.go(gone)
        elif present and step == "promote":
            it.promote(present[choice % len(present)], lane=lane)
            model.promote(present[choice % len(present)], lane)
        await settle(4)

        assert sorted(it.inside) == sorted(model.inside)
        assert len(it.gate) == len(model.waiting)
    assert await it.all_places_are_back()


@quick
@given(places=st.integers(1, 5), plan=steps)
@example(
    places=2,
    plan=[
        ("come", 0, BACKGROUND),
        ("come", 0, BACKGROUND),
        ("go", 1, URGENT),
        ("promote", 1, FOREGROUND),
        ("come", 0, BACKGROUND),
    ],
)
@example(
    places=1,
    plan=[
        *[("come", 0, BACKGROUND)] * 3,
        ("pass a turn", 0, URGENT),
        ("go", 0, URGENT),
        ("go", 0, URGENT),
    ],
)
async def test_no_wake_up_is_lost_when_steps_coincide(places: int, plan: Plan) -> None:
    """If steps come in the same turn, the limits hold, and no ticket waits for a free place."""
    it = Building(places)
    present: list[int] = []

    def check_bounds() -> None:
        assert len(it.inside) <= places

    for ticket, (step, choice, lane) in enumerate(plan):
        if step == "come":
            present.append(ticket)
            it.come(ticket, lane=lane, owner=str(owner_of(ticket)))
        elif present and step == "go":
            it.go(present.pop(choice % len(present)))
        elif present and step == "promote":
            it.promote(present[choice % len(present)], lane=lane)
        else:
            await asyncio.sleep(0)
        check_bounds()
    await settle()

    check_bounds()
    waiting = [ticket for ticket in present if ticket not in it.inside]
    assert len(it.gate) == len(waiting)
    model = Model(places, it.lanes, it.inside.copy(), waiting)
    model.admit()
    assert model.inside == it.inside
    assert await it.all_places_are_back()
