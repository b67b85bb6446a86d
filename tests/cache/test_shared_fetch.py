"""Sharing: one process fetches a token, the others adopt it, and each works without the store."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from multidict import CIMultiDict

from okta_tokens import (
    AccessToken,
    ClientAuthentication,
    ClientSecretBasic,
    OktaClient,
    RefreshPolicy,
    RetryPolicy,
    TokenKey,
)
from okta_tokens._auth.authentication import resolve
from okta_tokens._cache import store_reader
from okta_tokens._cache.entry import Entry
from okta_tokens._cache.shared_fetch import SharedFetch
from okta_tokens._endpoint.response import Response
from okta_tokens._endpoint.token_request import FetchOperation, TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens._runtime.clock import Instant, current_instant
from okta_tokens._runtime.schedule import Schedule
from okta_tokens._runtime.single_flight import Flight
from okta_tokens._sharing.guarded_store import GuardedStore
from okta_tokens.errors import CredentialError, FetchError, TransportError
from okta_tokens.events import Event, StoreEntryIgnored, StoreFailed, StoreRecovered
from okta_tokens.stores import SharedToken, StoreIdentity
from tests.clock import ManualClock, settle
from tests.stores.support import BasicMemoryStore, MemoryTokenStore, identity_of

RESPONSE = Response(200, CIMultiDict(), b"", Instant(0.0, 0.0), 0.0)
KEY = TokenKey(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic("s")), frozenset({"a"}))
OTHER = TokenKey(KEY.client, frozenset({"b"}))
LIFETIME = 300.0

LEAD = 60.0
"""The lead that `RefreshPolicy` computes from the lifetime, in seconds."""


@dataclass
class StubPauses:
    """The pauses of the domain of one process."""

    adopted: list[float] = field(default_factory=list)

    def adopt(self, key: TokenKey, seconds: float) -> None:
        """Record a pause."""
        assert key in (KEY, OTHER)
        self.adopted.append(seconds)


@dataclass
class StubEndpoint:
    """The endpoint of one process, with the responses that a test chooses."""

    clock: ManualClock
    name: str
    clock_offset: float = 0.0
    is_clock_known: bool = True
    takes: float = 0.1
    """The duration of a request, in seconds."""
    error: FetchError | None = None
    requests: int = 0
    pauses: StubPauses = field(default_factory=StubPauses)

    def server_time(self) -> float:
        """Return Okta's time as this process knows it."""
        return self.clock.wall_time() + self.clock_offset

    async def resolve(self, operation: FetchOperation) -> ClientAuthentication | None:
        """Return the client's authentication with its credential."""
        operation.resolved = await resolve(operation.key.client.authentication, "0oa1")
        return None if isinstance(operation.resolved, CredentialError) else operation.resolved

    async def run(self, operation: FetchOperation, _: object) -> TokenResponse | FetchError:
        """Return a new token, or the error, after the duration of a request."""
        credential = operation.known_authentication() or await operation.resolve()
        if isinstance(credential, CredentialError):
            return credential
        self.requests += 1
        value = f"{self.name}'s {self.requests}"
        sent = current_instant(self.clock)
        await self.clock.sleep_until(self.clock.boot_time() + self.takes)
        if self.error is not None:
            return self.error
        return TokenResponse(value, "Bearer", LIFETIME, operation.key.scope, sent, RESPONSE)


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

    sharing: SharedFetch
    store: GuardedStore
    endpoint: StubEndpoint
    clock: ManualClock
    events: list[Event]
    schedule: Schedule

    def begin(
        self, key: TokenKey = KEY, flight: TokenFlight | None = None
    ) -> asyncio.Task[TokenResponse | FetchError]:
        """Start a fetch in a task."""
        return asyncio.create_task(self._fetch(flight or Flight(key)))

    async def _fetch(self, flight: TokenFlight) -> TokenResponse | FetchError:
        result, _ = await self.sharing.fetch(flight, Entry(flight.key))
        return result

    async def adopt(self, flight: TokenFlight | None = None) -> TokenResponse | None:
        """Adopt a token for a flight, by default for one without a waiter."""
        return await self.sharing.adopt(flight or Flight(KEY), Entry(KEY))

    def reject(self, value: str, key: TokenKey = KEY, lifetime: float = LIFETIME) -> None:
        """Let no process adopt a token of a key any more."""
        token = AccessToken(
            value,
            "Bearer",
            "",
            key,
            expiry=current_instant(self.clock).later(lifetime),
            leeway=0.0,
            clock=self.clock,
            identity=identity_of(key),
        )
        self.sharing.discard(token)

    def share_pause(self, key: TokenKey, seconds: float) -> None:
        """Share a pause with the other processes, as an endpoint does after a 429."""
        self.store.publish_pause(key, seconds, until=self.endpoint.server_time() + seconds)

    async def fetch(self, key: TokenKey = KEY) -> TokenResponse | FetchError:
        """Fetch, and move the clock until the fetch ends."""
        fetching = self.begin(key)
        for _ in range(400):
            await settle()
            if fetching.done():
                return fetching.result()
            await self.clock.advance(0.05)
        raise AssertionError("the fetch does not end")


@dataclass
class World:
    """A clock and a store for any number of processes."""

    clock: ManualClock
    store: BasicMemoryStore

    def without_notifications(self) -> None:
        """Let the store send no notifications."""
        assert isinstance(self.store, MemoryTokenStore)
        self.store.notifies = False

    @asynccontextmanager
    async def process(self, name: str = "one", draw: float = 0.5) -> AsyncIterator[Process]:
        """Run a process in which every draw from the unit interval is the same."""
        events: list[Event] = []
        errors: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context))
        schedule = Schedule(self.clock)
        endpoint = StubEndpoint(self.clock, name)
        store = GuardedStore(
            self.store,
            clock=self.clock,
            schedule=schedule,
            random=lambda: draw,
            emit=events.append,
        )
        sharing = SharedFetch(
            store,
            clock=self.clock,
            refresh=RefreshPolicy(),
            retry=RetryPolicy(),
            registry=StubRegistry(endpoint),  # type: ignore[arg-type]  # all that SharedFetch uses
            random=lambda: draw,
            emit=events.append,
        )
        store.attach(loop)
        running = asyncio.create_task(schedule.run())
        try:
            yield Process(sharing, store, endpoint, self.clock, events, schedule)
        finally:
            self.store.hangs = False
            await store.aclose()
            running.cancel()
            await asyncio.wait([running])
            gc.collect()  # asyncio reports an unretrieved error when its task is freed
            loop.set_exception_handler(None)
        assert errors == []


@pytest.fixture
def world() -> World:
    """Return a store that no process uses yet."""
    clock = ManualClock()
    return World(clock, MemoryTokenStore(clock))


async def token_value(fetching: asyncio.Task[TokenResponse | FetchError]) -> str:
    """Return the value of the token that a fetch returns."""
    result = await fetching
    assert isinstance(result, TokenResponse)
    return result.value


async def test_one_process_fetches_and_the_others_adopt(world: World) -> None:
    """If two processes fetch at the same time, one of them requests a token and both get it."""
    async with world.process("one") as one, world.process("two") as two:
        fetches = [process.begin() for process in (one, two, two, one)]
        await world.clock.advance(1)

        assert {await token_value(fetching) for fetching in fetches} == {"one's 1"}
        assert (one.endpoint.requests, two.endpoint.requests) == (1, 0)
        assert world.store.leases == {}


async def test_a_later_process_loads_the_token_with_one_call(world: World) -> None:
    """A process that finds a fresh token makes one call, and once a minute looks for clearings."""
    async with world.process("one") as one, world.process("two") as two:
        first = await one.fetch()
        world.store.calls.clear()
        await world.clock.advance(100)

        response = await two.fetch()

        assert isinstance(first, TokenResponse)
        assert isinstance(response, TokenResponse)
        assert response == replace(first, sent=response.sent, response=None)
        assert world.store.calls == ["look", "look_at_domain", "subscribe"]
        world.store.calls.clear()
        await two.fetch()
        assert world.store.calls == ["look"]
        assert two.endpoint.requests == 0


async def test_a_token_is_adopted_only_for_its_key(world: World) -> None:
    """A process adopts a token only for the token's own key."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()

        assert (await token_value(two.begin(KEY))) == "one's 1"
        response = await two.fetch(OTHER)
        assert isinstance(response, TokenResponse)
        assert response.value == "two's 1"


@pytest.mark.parametrize(
    ("age", "adopted"), [(0, True), (LIFETIME - LEAD - 1, True), (LIFETIME - LEAD + 1, False)]
)
async def test_a_renewal_adopts_only_a_fresh_token(
    world: World, age: float, *, adopted: bool
) -> None:
    """A renewal does not adopt a token that is due for renewal here."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        await world.clock.advance(age)

        response = await two.fetch()

        assert isinstance(response, TokenResponse)
        assert response.adopted is adopted
        assert two.endpoint.requests == (not adopted)


@pytest.mark.parametrize(("offset", "remaining"), [(0.0, 200.0), (120.0, 80.0), (-120.0, 200.0)])
async def test_the_strictest_clock_decides(world: World, offset: float, remaining: float) -> None:
    """The least remaining life counts: by the store's clock or by this machine's."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        await world.clock.advance(99.9)
        two.endpoint.clock_offset = offset

        response = await two.fetch()

        assert isinstance(response, TokenResponse)
        left = response.sent.boot + response.lifetime - world.clock.boot_time()
        assert left == pytest.approx(remaining, abs=0.2)


async def test_expiry_is_shared_by_oktas_clock(world: World) -> None:
    """Two machines with the same wrong clock, and its offset, agree on when a token expires."""
    async with world.process("one") as one, world.process("two") as two:
        one.endpoint.clock_offset = two.endpoint.clock_offset = 100
        await one.fetch()

        response = await two.fetch()

        assert isinstance(response, TokenResponse)
        left = response.sent.boot + response.lifetime - world.clock.boot_time()
        assert left == pytest.approx(LIFETIME, abs=0.3)


async def test_an_adopted_token_lives_no_longer_than_its_lifetime(world: World) -> None:
    """A store that keeps a token too long does not lengthen the token's life."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        ((name, (token, _)),) = world.store.tokens.items()
        for kept in (math.inf, 1e9):
            token.expires_at = math.inf
            world.store.tokens[name] = token, kept

            response = await two.fetch()

            assert isinstance(response, TokenResponse)
            assert response.sent.boot + response.lifetime - world.clock.boot_time() <= LIFETIME


@pytest.mark.parametrize(
    "change", [{"token_type": "DPoP"}, {"expires_at": -math.inf}, {"expires_at": math.nan}]
)
async def test_an_invalid_token_is_not_adopted(world: World, change: dict[str, object]) -> None:
    """A token of another type, or without a valid expiry, is not adopted."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        ((token, _),) = world.store.tokens.values()
        for attribute, value in change.items():
            setattr(token, attribute, value)

        await two.fetch()

        assert two.endpoint.requests == 1
        assert two.events == [StoreEntryIgnored(key=KEY)] * ("token_type" in change)


async def test_a_rejected_token_is_removed_from_the_store(world: World) -> None:
    """A process removes a rejected token from the store, as often as the token is put back."""
    async with world.process("one") as one:
        await one.fetch()
        saved = dict(world.store.tokens)
        one.reject("one's 1")
        await settle()
        assert world.store.tokens == {}

        world.store.discarded.clear()
        world.store.tokens.update(saved)
        assert await one.adopt() is None
        await settle()
        assert world.store.tokens == {}


async def test_a_rejected_token_is_not_adopted_again(world: World) -> None:
    """A token that was rejected here is replaced, and other processes adopt its replacement."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()

        two.reject("one's 1")
        response = await two.fetch()
        assert isinstance(response, TokenResponse)
        assert response.value == "two's 1"
        await settle()
        assert (await token_value(one.begin())) == "two's 1"


async def test_as_many_rejections_as_fit_are_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process remembers rejected tokens until they expire; too many push out the oldest."""
    monkeypatch.setattr(store_reader, "_MAX_DISCARDED", 8)
    async with world.process("one") as one:
        await one.fetch()
        ((identity, saved),) = world.store.tokens.items()
        for value in ("one's 1", *map(str, range(7))):
            one.reject(value)
        await settle()

        async def is_adopted() -> bool:
            """Put the token back, and forget in the store that it was discarded."""
            world.store.discarded.clear()
            world.store.tokens[identity] = saved
            adopted = await one.adopt()
            await settle()
            return adopted is not None

        assert not await is_adopted()
        for number in range(100, 108):
            one.reject(str(number))
        await settle()
        assert await is_adopted()
        assert len(one.sharing._reader._discarded) == 8
        await world.clock.advance(2 * LIFETIME)
        await world.clock.advance(2 * LIFETIME)
        assert len(one.sharing._reader._discarded) == 0


async def test_a_token_that_is_rejected_during_a_flight_is_not_adopted(world: World) -> None:
    """A flight that waits for another process does not adopt a token that is rejected meanwhile."""
    async with world.process("one") as one, world.process("two") as two:
        await world.store.acquire(identity_of(KEY), 1)
        flight: TokenFlight = Flight(KEY)
        flight.wanted = True
        fetching = two.begin(flight=flight)
        await world.clock.advance(0.5)
        two.reject("one's 1")
        world.store.discarded.clear()
        saved = SharedToken(
            "one's 1", "Bearer", frozenset(), LIFETIME, two.endpoint.server_time() + 200
        )
        await world.store.save(identity_of(KEY), saved, 200)

        await world.clock.advance(5)

        assert await token_value(fetching) == "two's 1"
        assert one.endpoint.requests == 0


async def test_a_rejection_is_remembered_beyond_the_tokens_end(world: World) -> None:
    """A store remembers a rejected token for 5 minutes after its end, by whoever rejects it."""
    async with world.process("one") as one:
        for lifetime, value in ((LIFETIME, "valid"), (-10.0, "expired")):
            one.reject(value, lifetime=lifetime)
        await settle()
        ends = [end - world.clock.boot for end in world.store.discarded.values()]
        assert ends == [LIFETIME + 300, 300]

        await one.fetch()
        ((name, (token, _)),) = world.store.tokens.items()
        one.reject(token.value)
        await settle()
        world.store.discarded.clear()
        world.store.tokens[name] = token, world.clock.boot + 100
        assert await one.adopt() is None
        await settle()
        assert [end - world.clock.boot for end in world.store.discarded.values()] == [400]


@pytest.mark.parametrize("by", ["store", "token"])
@pytest.mark.parametrize(("left", "adopted"), [(LEAD, False), (LEAD + 0.125, True)])
async def test_a_token_that_has_just_its_lead_left_is_due(
    world: World, by: str, left: float, *, adopted: bool
) -> None:
    """A token is fresh only if more than its lead is left, by the store and by Okta's clock."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        ((name, (token, _)),) = world.store.tokens.items()
        seconds = {"store": LIFETIME, "token": LIFETIME} | {by: left}
        token.expires_at = world.clock.wall + seconds["token"]
        world.store.tokens[name] = token, world.clock.boot + seconds["store"]

        response = await two.adopt()

        assert (response is not None) is adopted


async def test_only_the_discarded_token_is_removed(world: World) -> None:
    """A late rejection of a token that was replaced does not remove its replacement."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        two.reject("another")
        await settle()
        assert world.store.tokens != {}

        two.reject("one's 1")
        await settle()
        assert world.store.tokens == {}


async def test_another_process_takes_over_an_expired_lease(world: World) -> None:
    """If the process with the lease dies, another process fetches when the lease ends."""
    async with world.process("one") as one, world.process("two") as two:
        cancelled = one.begin()
        await settle()
        waiting = [two.begin(), two.begin()]
        await world.clock.advance(0.05)
        cancelled.cancel()

        await world.clock.advance(world.store.lease + 0.5)

        assert {await token_value(fetching) for fetching in waiting} == {"two's 1"}
        assert two.endpoint.requests == 1


@pytest.mark.parametrize(
    ("draw", "gaps"),
    [(0.0, [0.01, 0.02, 0.04, 0.08, 0.125, 0.125]), (1.0, [0.02, 0.04, 0.08, 0.16, 0.25, 0.25])],
)
async def test_a_waiting_process_polls_more_and_more_slowly(
    world: World, draw: float, gaps: list[float]
) -> None:
    """The time between two polls doubles from 20 ms up to 250 ms, less a random part."""
    world.without_notifications()
    async with world.process(draw=draw) as one:
        await world.store.acquire(identity_of(KEY), 1)
        instants = []
        acquire = world.store.acquire

        async def watched(identity: StoreIdentity, seconds: float) -> str | None:
            instants.append(world.clock.boot_time())
            return await acquire(identity, seconds)

        world.store.acquire = watched  # type: ignore[method-assign]  # to observe the calls
        fetching = one.begin()
        await world.clock.advance(1.5)

        await fetching
        assert [after - before for before, after in pairwise(instants[:7])] == pytest.approx(gaps)


@pytest.mark.parametrize(
    ("kind", "patience"),
    [(BasicMemoryStore, 10.0), (MemoryTokenStore, 50.0)],
    ids=["two leases", "as long as a caller waits, less one request"],
)
async def test_a_process_does_not_wait_forever_for_a_lease(
    kind: type[BasicMemoryStore], patience: float
) -> None:
    """A process that gets neither the lease nor a token requests a token all the same."""
    clock = ManualClock()
    world = World(clock, kind(clock))
    async with world.process() as one:
        await world.store.acquire(identity_of(KEY), math.inf)
        fetching = one.begin()

        await world.clock.advance(patience - 0.1)
        assert one.endpoint.requests == 0
        await world.clock.advance(1)

        assert await token_value(fetching) == "one's 1"


async def test_a_failed_fetch_releases_the_lease(world: World) -> None:
    """A fetch that fails releases its lease, so that another process can fetch at once."""
    async with world.process("one") as one, world.process("two") as two:
        one.endpoint.error = TransportError("no response")
        failing, waiting = one.begin(), two.begin()

        await world.clock.advance(1)

        assert await failing is one.endpoint.error
        assert await token_value(waiting) == "two's 1"


async def test_a_pause_is_shared(world: World) -> None:
    """A pause that one process shares is adopted by the others for the same half of the domain."""
    async with world.process("one") as one, world.process("two") as two:
        one.share_pause(KEY, 30)
        one.share_pause(OTHER, 20)
        await settle()

        await two.fetch()

        assert two.endpoint.pauses.adopted == [pytest.approx(30)]


@pytest.mark.parametrize(
    ("is_known", "offset", "seconds"),
    [
        (True, 0, 29.9),
        (True, 20, 9.9),
        (True, 120, 0.0),
        (True, -120, 29.9),
        (False, 120, 29.9),
        (False, -120, 29.9),
        (False, 400, 0.0),
    ],
)
async def test_the_strictest_clock_ends_a_pause(
    world: World, *, is_known: bool, offset: float, seconds: float
) -> None:
    """A shared pause ends when the store's clock or Okta's clock says so.

    If a process does not know Okta's clock, its own one only tells that a pause is one of the past.
    """
    async with world.process("one") as one, world.process("two") as two:
        one.share_pause(KEY, 30)
        await settle()
        await world.clock.advance(0.1)
        two.endpoint.clock_offset, two.endpoint.is_clock_known = offset, is_known

        await two.fetch()

        assert two.endpoint.pauses.adopted == [pytest.approx(seconds)]


async def test_a_pause_is_no_longer_than_the_readers_policy_allows(world: World) -> None:
    """Neither the time that a store tells nor another process's policy makes a pause longer."""
    async with world.process("one") as one, world.process("two") as two:
        one.share_pause(KEY, 1_000)
        await settle()
        two.endpoint.is_clock_known = False

        await two.fetch()

        assert two.endpoint.pauses.adopted == [RetryPolicy().max_pause]


async def test_an_unreadable_pause_is_no_pause(world: World) -> None:
    """A pause that cannot be read does not pause the domain."""
    async with world.process() as one:
        world.store.garbled = True

        await one.fetch()

        assert one.endpoint.pauses.adopted == [0.0]
        one.reject("x")
        await settle()
        assert one.events == [StoreEntryIgnored(key=KEY)]


async def test_a_lease_outlasts_a_pause(world: World) -> None:
    """A lease that is taken during a pause lasts until a request after the pause can finish."""
    async with world.process("one") as one, world.process("two") as two:
        one.share_pause(KEY, 30)
        await settle()
        one.endpoint.takes = 30.1
        first, second = one.begin(), two.begin()

        await world.clock.advance(8)
        assert two.endpoint.requests == 0
        await world.clock.advance(30)

        assert await token_value(first) == "one's 1"
        assert isinstance(await second, TokenResponse)


# Without the store


async def test_a_store_that_fails_costs_no_time(world: World) -> None:
    """If the store raises an error, the fetch continues at once without the store."""
    async with world.process() as one:
        world.store.error = ConnectionError("redis://:password@host")
        fetching = one.begin()

        await world.clock.advance(one.endpoint.takes)

        assert await token_value(fetching) == "one's 1"
        assert one.events == [StoreFailed(host=None, reason="ConnectionError", after=1.5)]
        one.endpoint.error = TransportError("no response")
        assert await one.fetch() is one.endpoint.error


async def test_a_store_that_hangs_costs_one_timeout(world: World) -> None:
    """If the store does not respond, the fetch continues after one timeout."""
    async with world.process() as one:
        world.store.hangs = True
        fetching = one.begin()

        await world.clock.advance(world.store.timeout - 0.01)
        assert one.endpoint.requests == 0
        await world.clock.advance(0.02 + one.endpoint.takes)

        assert await token_value(fetching) == "one's 1"
        assert one.events == [StoreFailed(host=None, reason="no response within 0.25 s", after=1.5)]


@pytest.mark.parametrize("takes", [0.2, 0.07])
async def test_a_slow_store_costs_one_timeout(world: World, takes: float) -> None:
    """All calls that a fetch makes before its request share one timeout."""
    async with world.process() as one:
        world.store.takes = takes
        fetching = one.begin()

        await world.clock.advance(world.store.timeout + 0.01)
        assert one.endpoint.requests == 1
        await world.clock.advance(1)

        assert await token_value(fetching) == "one's 1"


async def test_after_a_break_one_fetch_probes_the_store(world: World) -> None:
    """After a break one fetch probes the store, and the others continue without it."""
    async with world.process() as one:
        world.store.error = ConnectionError()
        await one.fetch()
        await world.clock.advance(5)
        world.store.error, world.store.hangs = None, True
        world.store.calls.clear()

        fetches = [one.begin() for _ in range(10)]
        await settle()

        assert world.store.calls == ["look"]
        assert one.endpoint.requests == 10
        await world.clock.advance(1)
        assert len({await token_value(fetching) for fetching in fetches}) == 10


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
        response = await two.fetch()

        assert isinstance(response, TokenResponse)
        assert response.adopted
        failed, recovered = one.events
        assert isinstance(failed, StoreFailed)
        assert recovered == StoreRecovered(seconds=ended - begun)


async def test_adopting_sends_no_request_and_takes_no_lease(world: World) -> None:
    """`adopt` returns a token of another process or `None`, and sends Okta no request."""
    async with world.process("one") as one, world.process("two") as two:
        assert await two.adopt() is None
        await one.fetch()

        response = await two.adopt()

        assert response is not None
        assert response.value == "one's 1"
        world.store.error = ConnectionError()
        for _ in range(2):
            assert await two.adopt() is None
        assert two.endpoint.requests == 0
        assert world.store.leases == {}


async def test_a_fetch_adopts_a_usable_token(world: World) -> None:
    """A fetch for a waiter adopts a token that is due for renewal, but not one in its leeway."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        await world.clock.advance(LIFETIME - LEAD + 1)
        flight: TokenFlight = Flight(KEY)
        flight.wanted = True

        response = await two.begin(flight=flight)

        assert isinstance(response, TokenResponse)
        assert response.value == "one's 1"
        await world.clock.advance(LEAD - 6)
        assert await two.adopt(flight) is None


async def test_an_unreadable_entry_is_replaced(world: World) -> None:
    """An unreadable entry is no outage: a fetched token replaces it."""
    async with world.process("one") as one, world.process("two") as two:
        await one.fetch()
        world.store.garbled = True

        for _ in range(2):
            response = await two.fetch()
            assert isinstance(response, TokenResponse)
            assert not response.adopted
        world.store.garbled = False

        assert (await token_value(one.begin())) == "two's 2"
        assert two.events == [StoreEntryIgnored(key=KEY)]
        await world.clock.advance(60)
        world.store.garbled = True
        await two.fetch()
        assert two.events == [StoreEntryIgnored(key=KEY)] * 2


async def test_a_store_that_fails_during_the_wait_ends_the_wait(world: World) -> None:
    """A process that waits for another one requests a token as soon as the store fails."""
    world.without_notifications()
    async with world.process() as one:
        await world.store.acquire(identity_of(KEY), math.inf)
        fetching = one.begin()
        await world.clock.advance(1)
        world.store.error = ConnectionError()

        await world.clock.advance(0.5)

        assert await token_value(fetching) == "one's 1"


async def test_each_poll_has_one_timeout(world: World) -> None:
    """The calls of each poll share one timeout."""
    world.without_notifications()
    async with world.process(draw=0.0) as one:
        await world.store.acquire(identity_of(KEY), math.inf)
        fetching = one.begin()
        await world.clock.advance(1)
        world.store.takes = 0.2

        await world.clock.advance(0.125 + world.store.timeout)  # to the next poll, and its timeout

        assert one.endpoint.requests == 1
        world.store.takes = 0.0
        await world.clock.advance(1)
        assert await token_value(fetching) == "one's 1"
