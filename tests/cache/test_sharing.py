"""One process fetches a token, the others adopt it; and each does without the store if it must."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, RefreshPolicy, TokenKey
from okta_tokens._cache.sharing import Sharing
from okta_tokens._endpoint.operation import TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._runtime.clock import current_instant
from okta_tokens._runtime.flight import Flight
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._sharing.guarded_store import GuardedStore
from okta_tokens.errors import FetchError, TransportError
from okta_tokens.events import Event, StoreEntryIgnored, StoreFailed, StoreRecovered
from okta_tokens.stores import SharedToken
from tests.clock import ManualClock, settle
from tests.stores.support import MemoryTokenStore

KEY = TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("s")), frozenset({"a"}))
OTHER = TokenKey(KEY.client, frozenset({"b"}))
LIFETIME = 300.0
NOBODY = ().__contains__
"""Nothing was rejected."""

LEAD = 60.0
"""What `RefreshPolicy` makes of it."""


@dataclass
class StubEndpoint:
    """What a process knows of Okta, and how Okta answers it."""

    clock: ManualClock
    name: str
    clock_offset: float = 0.0
    takes: float = 0.1
    """Seconds that a request takes."""
    error: FetchError | None = None
    requests: int = 0
    pauses: list[float] = field(default_factory=list)

    def server_time(self) -> float:
        """Return what this process takes for Okta's time."""
        return self.clock.wall_time() + self.clock_offset

    def adopt_pause(self, key: TokenKey, seconds: float) -> None:
        """Record a pause."""
        assert key in (KEY, OTHER)
        self.pauses.append(seconds)

    async def fetch(self, flight: TokenFlight) -> TokenResponse | FetchError:
        """Response a request, after a while."""
        self.requests += 1
        value = f"{self.name}'s {self.requests}"
        sent = current_instant(self.clock)
        await self.clock.sleep_until(self.clock.boot_time() + self.takes)
        if self.error is not None:
            return self.error
        return TokenResponse(value, "Bearer", LIFETIME, flight.key.scopes, sent, "req1")


@dataclass
class StubRegistry:
    """A registry with one endpoint for both keys."""

    only_endpoint: StubEndpoint

    def endpoint(self, key: TokenKey) -> StubEndpoint:
        """Return the endpoint."""
        assert key in (KEY, OTHER)
        return self.only_endpoint


@dataclass
class Process:
    """One of the processes that share a store."""

    sharing: Sharing
    store: GuardedStore
    endpoint: StubEndpoint
    clock: ManualClock
    events: list[Event]
    schedule: Schedule

    def begin(
        self, key: TokenKey = KEY, *rejected: str
    ) -> asyncio.Task[TokenResponse | FetchError]:
        """Begin a fetch."""
        return asyncio.create_task(self.sharing.fetch(Flight(key), rejected.__contains__))

    def share_pause(self, key: TokenKey, seconds: float) -> None:
        """Let the other processes pause, as an endpoint does after a 429."""
        self.store.publish_pause(key, seconds, until=self.endpoint.server_time() + seconds)

    async def fetch(self, key: TokenKey = KEY, *rejected: str) -> TokenResponse | FetchError:
        """Fetch, and let the time pass that it takes."""
        fetching = self.begin(key, *rejected)
        for _ in range(400):
            await settle()
            if fetching.done():
                return fetching.result()
            await self.clock.advance(0.05)
        raise AssertionError("the fetch does not end")


@dataclass
class World:
    """A clock and a store, for any number of processes."""

    clock: ManualClock
    store: MemoryTokenStore

    @asynccontextmanager
    async def process(self, name: str = "one", draw: float = 0.5) -> AsyncIterator[Process]:
        """Run a process, whose random numbers are all the same."""
        events: list[Event] = []
        complaints: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: complaints.append(told))
        schedule = Schedule(self.clock)
        endpoint = StubEndpoint(self.clock, name)
        store = GuardedStore(
            self.store,
            clock=self.clock,
            schedule=schedule,
            random=lambda: draw,
            emit=events.append,
        )
        sharing = Sharing(
            store,
            clock=self.clock,
            refresh=RefreshPolicy(),
            registry=StubRegistry(endpoint),  # type: ignore[arg-type]  # as much as it uses
            random=lambda: draw,
        )
        store.attach(loop, copy_context())
        running = asyncio.create_task(schedule.run())
        try:
            yield Process(sharing, store, endpoint, self.clock, events, schedule)
        finally:
            self.store.hangs = False
            await store.aclose()
            running.cancel()
            await asyncio.wait([running])
            gc.collect()  # what nobody asked a task about is told when the task goes
            loop.set_exception_handler(None)
        assert complaints == []


@pytest.fixture
def world() -> World:
    """A fleet without processes."""
    clock = ManualClock()
    return World(clock, MemoryTokenStore(clock))


async def value(fetching: asyncio.Task[TokenResponse | FetchError]) -> str:
    """Return the value of the token that a fetch brings."""
    outcome = await fetching
    assert isinstance(outcome, TokenResponse)
    return outcome.value


async def test_one_fetches_and_the_others_adopt(world: World) -> None:
    """Of many that begin together one asks Okta, and all of them get its token."""
    async with world.process("one") as one, world.process("two") as two:
        fetches = [process.begin() for process in (one, two, two, one)]
        await world.clock.advance(1)

        assert {await value(fetching) for fetching in fetches} == {"one's 1"}
        assert (one.endpoint.requests, two.endpoint.requests) == (1, 0)
        assert world.store.leases == {}


async def test_who_comes_later_asks_the_store_once(world: World) -> None:
    """A process that starts while a fresh token is kept asks for nothing else."""
    async with world.process("one") as one, world.process("two") as two:
        first = await one.fetch()
        world.store.calls.clear()
        await world.clock.advance(100)

        grant = await two.fetch()

        assert isinstance(first, TokenResponse)
        assert isinstance(grant, TokenResponse)
        assert grant == replace(first, sent=grant.sent, request_id=None, adopted=True)
        assert world.store.calls == ["load"]
        assert two.endpoint.requests == 0


async def test_another_key_is_another_token(world: World) -> None:
    """A token is adopted for its own key alone."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()

        assert (await value(two.begin(KEY))) == "one's 1"
        grant = await two.fetch(OTHER)
        assert isinstance(grant, TokenResponse)
        assert grant.value == "two's 1"


@pytest.mark.parametrize(
    ("age", "adopted"), [(0, True), (LIFETIME - LEAD - 1, True), (LIFETIME - LEAD + 1, False)]
)
async def test_only_a_fresh_token_is_adopted(world: World, age: float, *, adopted: bool) -> None:
    """A token that would be due for renewal here is not adopted: a new one serves all."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        await world.clock.advance(age)

        grant = await two.fetch()

        assert isinstance(grant, TokenResponse)
        assert grant.adopted is adopted
        assert two.endpoint.requests == (not adopted)


@pytest.mark.parametrize(
    ("offset", "remaining"), [(0.0, 200.0), (120.0, 80.0), (-120.0, 200.0), (-1e9, 200.0)]
)
async def test_the_strictest_clock_decides(world: World, offset: float, remaining: float) -> None:
    """A machine whose clock is late goes by the store's, one whose clock is early by its own."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        await world.clock.advance(99.9)
        two.endpoint.clock_offset = offset

        grant = await two.fetch()

        assert isinstance(grant, TokenResponse)
        left = grant.sent.boot + grant.lifetime - world.clock.boot_time()
        assert left == pytest.approx(remaining, abs=0.2)


async def test_an_end_is_told_by_oktas_clock(world: World) -> None:
    """Two machines whose clocks are wrong, and who know it, agree on when a token ends."""
    async with world.process("one") as one, world.process("two") as two:
        one.endpoint.clock_offset = two.endpoint.clock_offset = 100
        await one.fetch()

        grant = await two.fetch()

        assert isinstance(grant, TokenResponse)
        left = grant.sent.boot + grant.lifetime - world.clock.boot_time()
        assert left == pytest.approx(LIFETIME, abs=0.3)


async def test_no_more_life_is_adopted_than_was_granted(world: World) -> None:
    """A store that keeps a token for too long, or for ever, does not make it live longer."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        ((name, (token, _)),) = world.store.tokens.items()
        for kept in (math.inf, 1e9):
            world.store.tokens[name] = replace(token, expires_at=math.inf), kept

            grant = await two.fetch()

            assert isinstance(grant, TokenResponse)
            assert grant.sent.boot + grant.lifetime - world.clock.boot_time() <= LIFETIME


@pytest.mark.parametrize(
    "change", [{"token_type": "DPoP"}, {"expires_at": -math.inf}, {"expires_at": math.nan}]
)
async def test_a_token_that_is_none_is_not_adopted(world: World, change: dict[str, object]) -> None:
    """A token of another type, or without a sensible end, is fetched anew."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        ((name, (token, end)),) = world.store.tokens.items()
        world.store.tokens[name] = replace(token, **change), end  # type: ignore[arg-type]  # as listed

        await two.fetch()

        assert two.endpoint.requests == 1
        assert two.events == [StoreEntryIgnored(key=KEY)] * ("token_type" in change)


async def test_a_rejected_token_is_kept_no_longer(world: World) -> None:
    """Whoever finds a token that was rejected here removes it, for all."""
    async with world.process("one") as one:
        await one.fetch()

        assert await one.sharing.adopt(Flight(KEY), ["one's 1"].__contains__) is None
        await settle()

        assert world.store.tokens == {}


async def test_a_rejected_token_is_not_adopted_again(world: World) -> None:
    """What was rejected here is fetched anew, and nobody else adopts it either."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()

        grant = await two.fetch(KEY, "one's 1")
        assert isinstance(grant, TokenResponse)
        assert grant.value == "two's 1"
        await settle()
        assert (await value(one.begin())) == "two's 1"


async def test_a_token_that_is_rejected_meanwhile_is_not_adopted(world: World) -> None:
    """What is rejected while a flight waits for others is no token for that flight either."""
    async with world.process("one") as one, world.process("two") as two:
        await world.store.acquire(KEY, 1)
        rejected: list[str] = []
        flight: TokenFlight = Flight(KEY)
        flight.wanted = True
        fetching = asyncio.create_task(two.sharing.fetch(flight, rejected.__contains__))
        await world.clock.advance(0.5)
        rejected.append("one's 1")
        saved = SharedToken(
            "one's 1", "Bearer", frozenset(), LIFETIME, two.endpoint.server_time() + 200
        )
        await world.store.save(KEY, saved, 200)

        await world.clock.advance(5)

        assert await value(fetching) == "two's 1"
        assert one.endpoint.requests == 0


async def test_only_that_token_is_discarded(world: World) -> None:
    """A late rejection of a token that was replaced meanwhile leaves its successor alone."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        two.sharing.discard(KEY, "another")
        await settle()
        assert world.store.tokens != {}

        two.sharing.discard(KEY, "one's 1")
        await settle()
        assert world.store.tokens == {}


async def test_the_others_go_on_when_the_one_dies(world: World) -> None:
    """If who has the lease dies, one of the others takes it when it ends, and the rest adopt."""
    async with world.process("one") as one, world.process("two") as two:
        dying = one.begin()
        await settle()
        waiting = [two.begin(), two.begin()]
        await world.clock.advance(0.05)
        dying.cancel()

        await world.clock.advance(world.store.lease + 0.5)

        assert {await value(fetching) for fetching in waiting} == {"two's 1"}
        assert two.endpoint.requests == 1


@pytest.mark.parametrize(
    ("draw", "gaps"),
    [(0.0, [0.01, 0.02, 0.04, 0.08, 0.125, 0.125]), (1.0, [0.02, 0.04, 0.08, 0.16, 0.25, 0.25])],
)
async def test_who_waits_looks_less_and_less_often(
    world: World, draw: float, gaps: list[float]
) -> None:
    """Looks for what another process fetches begin close together, and end up far apart."""
    async with world.process(draw=draw) as one:
        await world.store.acquire(KEY, 1)
        instants = []
        acquire = world.store.acquire

        async def watched(key: TokenKey, seconds: float) -> str | None:
            instants.append(world.clock.boot_time())
            return await acquire(key, seconds)

        world.store.acquire = watched  # type: ignore[method-assign]  # for the moment
        fetching = one.begin()
        await world.clock.advance(1.5)

        await fetching
        assert [after - before for before, after in pairwise(instants[:7])] == pytest.approx(gaps)


async def test_nobody_waits_for_ever(world: World) -> None:
    """Who never gets the lease, and never a token, asks Okta after two leases."""
    async with world.process() as one:
        await world.store.acquire(KEY, math.inf)
        fetching = one.begin()

        await world.clock.advance(2 * world.store.lease - 0.1)
        assert one.endpoint.requests == 0
        await world.clock.advance(1)

        assert await value(fetching) == "one's 1"


async def test_after_a_failure_another_one_tries(world: World) -> None:
    """A fetch that fails gives the lease back, so that the others need not wait for its end."""
    async with world.process("one") as one, world.process("two") as two:
        one.endpoint.error = TransportError("no answer")
        failing, waiting = one.begin(), two.begin()

        await world.clock.advance(1)

        assert await failing is one.endpoint.error
        assert await value(waiting) == "two's 1"


async def test_a_pause_is_shared(world: World) -> None:
    """Who is asked to pause lets the others know, before they ask Okta."""
    async with world.process("one") as one, world.process("two") as two:
        one.share_pause(KEY, 30)
        one.share_pause(OTHER, 20)
        await settle()

        await two.fetch()

        assert two.endpoint.pauses == [pytest.approx(30)]


@pytest.mark.parametrize(("offset", "seconds"), [(0, 29.9), (20, 9.9), (120, 0.0), (-120, 29.9)])
async def test_a_pause_is_as_long_as_both_clocks_say(
    world: World, offset: float, seconds: float
) -> None:
    """What somebody put back into the store is no pause when its time is over by Okta's clock."""
    async with world.process("one") as one, world.process("two") as two:
        one.share_pause(KEY, 30)
        await settle()
        await world.clock.advance(0.1)
        two.endpoint.clock_offset = offset

        await two.fetch()

        assert two.endpoint.pauses == [pytest.approx(seconds)]


async def test_a_pause_that_cannot_be_read_is_none(world: World) -> None:
    """Garbage in a pause's place keeps nobody waiting."""
    async with world.process() as one:
        world.store.garbled = True

        await one.fetch()

        assert one.endpoint.pauses == [0.0]
        one.sharing.discard(KEY, "x")
        await settle()
        assert one.events == [StoreEntryIgnored(key=KEY)]


async def test_a_lease_outlasts_a_pause(world: World) -> None:
    """During a pause nobody takes the lease from who waits for its end to ask Okta."""
    async with world.process("one") as one, world.process("two") as two:
        one.share_pause(KEY, 30)
        await settle()
        one.endpoint.takes = 30.1
        first, second = one.begin(), two.begin()

        await world.clock.advance(8)
        assert two.endpoint.requests == 0
        await world.clock.advance(30)

        assert await value(first) == "one's 1"
        assert isinstance(await second, TokenResponse)


# Without the store


async def test_a_store_that_fails_costs_nothing(world: World) -> None:
    """If the store raises an error, the fetch goes on at once, as if there were no store."""
    async with world.process() as one:
        world.store.error = ConnectionError("redis://:password@host")
        fetching = one.begin()

        await world.clock.advance(one.endpoint.takes)

        assert await value(fetching) == "one's 1"
        assert one.events == [StoreFailed(reason="ConnectionError", after=1.5)]


async def test_a_store_that_hangs_costs_its_time_out(world: World) -> None:
    """If the store does not answer, the fetch goes on after one short time-out in all."""
    async with world.process() as one:
        world.store.hangs = True
        fetching = one.begin()

        await world.clock.advance(world.store.timeout - 0.01)
        assert one.endpoint.requests == 0
        await world.clock.advance(0.02 + one.endpoint.takes)

        assert await value(fetching) == "one's 1"
        assert one.events == [StoreFailed(reason="no response within 0.25 s", after=1.5)]


@pytest.mark.parametrize("takes", [0.2, 0.1, 0.07])
async def test_a_slow_store_costs_no_more_than_one_that_hangs(world: World, takes: float) -> None:
    """However many calls a fetch makes before it may ask Okta, they share one time-out."""
    async with world.process() as one:
        world.store.takes = takes
        fetching = one.begin()

        await world.clock.advance(world.store.timeout + 0.01)
        assert one.endpoint.requests == 1
        await world.clock.advance(1)

        assert await value(fetching) == "one's 1"


async def test_a_failing_store_is_left_alone_for_a_while(world: World) -> None:
    """After a failure nobody asks the store until a break is over; breaks double, up to 30 s."""
    async with world.process() as one:
        world.store.error = ConnectionError()
        breaks = []
        for _ in range(7):
            begun = world.clock.boot_time()
            world.store.calls.clear()
            while not world.store.calls:
                await world.clock.advance(0.5)
                await one.fetch()
            breaks.append(world.clock.boot_time() - begun)

        assert breaks == sorted(breaks)
        assert 0.7 < breaks[1] < 3
        assert 22 < breaks[-1] < 31
        assert [type(event) for event in one.events] == [StoreFailed]


async def test_after_a_break_one_asks(world: World) -> None:
    """When a break is over one fetch looks whether the store works, and the others go on alone."""
    async with world.process() as one:
        world.store.error = ConnectionError()
        await one.fetch()
        await world.clock.advance(5)
        world.store.error, world.store.hangs = None, True
        world.store.calls.clear()

        fetches = [one.begin() for _ in range(10)]
        await settle()

        assert world.store.calls == ["load"]
        assert one.endpoint.requests == 10
        await world.clock.advance(1)
        assert len({await value(fetching) for fetching in fetches}) == 10


async def test_one_asks_a_second(world: World) -> None:
    """Until it is known whether the store works again, another one looks each second."""
    async with world.process() as one:
        world.store.timeout = 10
        world.store.error = ConnectionError()
        await one.fetch()
        await world.clock.advance(5)
        world.store.error, world.store.hangs = None, True
        world.store.calls.clear()

        fetches = []
        for _ in range(6):
            fetches.append(one.begin())
            await world.clock.advance(0.5)

        assert world.store.calls == ["load"] * 3
        await world.clock.advance(12)
        await asyncio.gather(*fetches)


async def test_a_call_that_ended_leaves_nothing(world: World) -> None:
    """What ends a call that takes too long is called off as soon as the store has answered."""
    async with world.process() as one:
        await one.fetch()
        await settle()

        assert len(one.schedule) == 0


async def test_what_nobody_waits_for_has_the_context_of_all(world: World) -> None:
    """What happens for all happens in nobody's context."""
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")
    seen = []
    discard = world.store.discard

    async def watched(key: TokenKey, value: str) -> None:
        seen.append(whose.get())
        await discard(key, value)

    world.store.discard = watched  # type: ignore[method-assign]  # for the moment
    async with world.process() as one:
        whose.set("a caller's")
        one.sharing.discard(KEY, "x")

    assert seen == ["nobody's"]


async def test_a_store_that_works_again_is_used_again(world: World) -> None:
    """After an outage tokens are shared again, and an event says so."""
    async with world.process("one") as one, world.process("two") as two:
        world.store.error = ConnectionError()
        begun = world.clock.boot_time()
        await one.fetch()
        await two.fetch()
        world.store.error = None
        await world.clock.advance(5)
        ended = world.clock.boot_time()

        await one.fetch()
        grant = await two.fetch()

        assert isinstance(grant, TokenResponse)
        assert grant.adopted
        failed, recovered = one.events
        assert isinstance(failed, StoreFailed)
        assert recovered == StoreRecovered(seconds=ended - begun)


async def test_a_look_is_all_that_it_says(world: World) -> None:
    """Whoever just looks finds what others saved, asks Okta for nothing, and takes no lease."""
    async with world.process("one") as one, world.process("two") as two:
        assert await two.sharing.adopt(Flight(KEY), NOBODY) is None
        await one.fetch()

        grant = await two.sharing.adopt(Flight(KEY), NOBODY)

        assert grant is not None
        assert grant.value == "one's 1"
        world.store.error = ConnectionError()
        for _ in range(2):
            assert await two.sharing.adopt(Flight(KEY), NOBODY) is None
        assert two.endpoint.requests == 0
        assert world.store.leases == {}


async def test_who_waits_adopts_what_can_be_used(world: World) -> None:
    """A token that is due for renewal is good enough for a caller who has none."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        await world.clock.advance(LIFETIME - LEAD + 1)
        flight: TokenFlight = Flight(KEY)
        flight.wanted = True

        grant = await two.sharing.fetch(flight, NOBODY)

        assert isinstance(grant, TokenResponse)
        assert grant.value == "one's 1"
        await world.clock.advance(LEAD - 6)
        assert await two.sharing.adopt(flight, NOBODY) is None


async def test_an_entry_that_cannot_be_read_is_replaced(world: World) -> None:
    """Garbage in the store is no outage: the token is fetched, and put in its place."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        world.store.garbled = True

        for _ in range(2):
            grant = await two.fetch()
            assert isinstance(grant, TokenResponse)
            assert not grant.adopted
        world.store.garbled = False

        assert (await value(one.begin())) == "two's 2"
        assert two.events == [StoreEntryIgnored(key=KEY)]
        await world.clock.advance(60)
        world.store.garbled = True
        await two.fetch()
        assert two.events == [StoreEntryIgnored(key=KEY)] * 2


async def test_the_store_dies_while_others_fetch(world: World) -> None:
    """Who waits for another process asks Okta as soon as the store fails."""
    async with world.process() as one:
        await world.store.acquire(KEY, math.inf)
        fetching = one.begin()
        await world.clock.advance(1)
        world.store.error = ConnectionError()

        await world.clock.advance(0.5)

        assert await value(fetching) == "one's 1"


async def test_the_store_gets_slow_while_others_fetch(world: World) -> None:
    """Each look for what another process fetches may take one time-out in all."""
    async with world.process(draw=0.0) as one:
        await world.store.acquire(KEY, math.inf)
        fetching = one.begin()
        await world.clock.advance(1)
        world.store.takes = 0.2

        await world.clock.advance(0.125 + world.store.timeout)  # to the next look, and for it

        assert one.endpoint.requests == 1
        world.store.takes = 0.0
        await world.clock.advance(1)
        assert await value(fetching) == "one's 1"


async def test_closing_waits_for_what_is_saved(world: World) -> None:
    """What a process that lives for seconds fetched is kept for the others, if it can be."""
    async with world.process() as one:
        fetching = one.begin()
        await world.clock.advance(one.endpoint.takes)
        await fetching

    assert len(world.store.tokens) == 1
    assert world.store.leases == {}


async def test_closing_does_not_wait_for_a_store_that_hangs(world: World) -> None:
    """A store that does not answer holds up nobody's end for long, and nothing is left running."""
    async with world.process() as one:
        world.store.timeout = 0.01
        one.sharing.discard(KEY, "x")
        await settle()
        world.store.hangs = True
        one.sharing.discard(KEY, "x")
        await settle()

        await one.store.aclose()

        assert not one.store._background


async def test_what_nobody_waits_for_fails_quietly(world: World) -> None:
    """A store that fails when a token is discarded is one that failed: an event, and no more."""
    async with world.process() as one:
        world.store.error = ConnectionError()
        one.sharing.discard(KEY, "x")
        await settle()

        assert one.events == [StoreFailed(reason="ConnectionError", after=1.5)]


async def test_closing_insists(world: World) -> None:
    """A store that swallows a cancellation hears it again."""
    swallowed = []

    async def stubborn(key: TokenKey, value: str) -> None:
        for _ in range(2):
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                swallowed.append((key, value))

    world.store.discard = stubborn  # type: ignore[method-assign]  # for the moment
    async with world.process() as one:
        world.store.timeout = 0.01
        one.sharing.discard(KEY, "x")
        await settle()

        await asyncio.wait_for(one.store.aclose(), 5)

    assert swallowed == [(KEY, "x")] * 2
