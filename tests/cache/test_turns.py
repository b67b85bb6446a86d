"""Turns: one process at a time sends a request, and its failures hold back those whom they concern.

The processes are real providers in virtual time, each with its own way to Okta.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, RetryPolicy
from okta_tokens._model.store_identity import part_identity
from okta_tokens.errors import (
    CredentialError,
    OAuthError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from okta_tokens.events import (
    FetchFailed,
    KeyRecovered,
    LastRenewalFailed,
    RenewalAdopted,
    RenewalFailed,
    RenewalPostponed,
    StoreEntryIgnored,
    TokenAdopted,
)
from okta_tokens.stores import SharedFailure
from tests.cache.fleet import Process, World, in_virtual_time
from tests.simulation.machine import NEW_YEAR
from tests.stores.support import BasicMemoryStore, MemoryTokenStore, identity_of

if TYPE_CHECKING:
    from collections.abc import Sequence

ONCE = RetryPolicy(attempts=1)


def memory(world: World) -> MemoryTokenStore:
    """Return the store of a world, which has the optional parts."""
    assert isinstance(world.store, MemoryTokenStore)
    return world.store


async def errors_of(fleet: Sequence[Process]) -> list[str]:
    """Let a caller of each process ask for a token, and return the types of the errors."""
    found = await asyncio.gather(*(process.get() for process in fleet), return_exceptions=True)
    return ["" if isinstance(one, AccessToken) else type(one).__name__ for one in found]


# Failures that every process would meet


@in_virtual_time
async def test_an_outage_costs_the_fleet_the_attempts_of_one_process(world: World) -> None:
    """One process makes every attempt of a fetch, longer than a lease lasts; all get its error."""
    world.store.lease = 2.0
    async with world.fleet(5) as fleet:
        world.fail("unavailable")
        errors = await asyncio.gather(*(process.error() for process in fleet))

        assert {type(error) for error in errors} == {ServerError}
        assert len({error.request_id for error in errors}) == 1
        assert [error.attempts for error in errors] == [6] * 5
        assert sorted(len(process.line.sent) for process in fleet) == [0, 0, 0, 0, 6]
        assert world.sent[-1] - world.sent[0] > world.store.lease
        failed = [event for process in fleet for event in process.seen(FetchFailed)]
        assert sorted(event.adopted for event in failed) == [False, True, True, True, True]
        cooldowns = [event.cooldown for event in failed]
        assert max(cooldowns) - min(cooldowns) < 0.3

        await errors_of(fleet)
        assert len(world.sent) == 6


@in_virtual_time
async def test_after_the_cool_down_one_process_tries_for_all(world: World) -> None:
    """The cool-down of the fleet doubles; after it one process fetches, and all get the token."""
    async with world.fleet(4, retry=ONCE) as fleet:
        world.fail("wrong secret")
        cooldowns = []
        for number in range(1, 4):
            errors = await asyncio.gather(*(process.error() for process in fleet))
            assert {type(error) for error in errors} == {OAuthError}
            assert len(world.sent) == number
            (own,) = [
                event
                for process in fleet
                for event in process.seen(FetchFailed)[number - 1 :]
                if not event.adopted
            ]
            cooldowns.append(own.cooldown)
            await asyncio.sleep(own.cooldown + 0.1)
        for number, cooldown in enumerate(cooldowns, 1):
            assert 2**number / 2 <= cooldown <= 2**number

        world.fail(None)
        assert await errors_of(fleet) == [""] * 4
        assert len(world.sent) == 4
        assert all(process.seen(KeyRecovered) for process in fleet)


@in_virtual_time
async def test_a_late_process_serves_the_rest_of_the_cool_down(world: World) -> None:
    """A process that starts during the cool-down of the fleet sends no request before its end."""
    async with world.fleet(2, retry=ONCE) as (first, late):
        world.fail("unavailable")
        await first.error()
        (failed,) = first.seen(FetchFailed)
        await asyncio.sleep(failed.cooldown / 2)

        await late.error()

        assert late.line.sent == []
        (adopted,) = late.seen(FetchFailed)
        assert adopted.cooldown == pytest.approx(failed.cooldown / 2, abs=0.2)


@in_virtual_time
async def test_the_renewals_of_a_fleet_wait_for_one_back_off(world: World) -> None:
    """While Okta fails, one renewal at a time is tried for all, and no caller notices."""
    async with world.fleet(6) as fleet:
        await errors_of(fleet)
        world.fail("unavailable")
        for _ in range(30):
            await asyncio.sleep(110)
            assert await errors_of(fleet) == [""] * 6
        world.fail(None)
        await asyncio.sleep(70)
        await errors_of(fleet)
        await asyncio.sleep(70)

        failed = [event for process in fleet for event in process.seen(RenewalFailed)]
        postponed = [event for process in fleet for event in process.seen(RenewalPostponed)]
        assert len(world.sent) == 1 + len(failed) + 1
        assert {event.adopted for event in failed} == {False}
        assert {event.status for event in postponed} == {503}
        assert len(postponed) <= 6 * len(failed)
        assert not any(process.seen(LastRenewalFailed) for process in fleet)
        assert sum(len(process.seen(RenewalAdopted)) for process in fleet) == 5


@in_virtual_time
async def test_the_last_renewal_is_tried_once_for_all(world: World) -> None:
    """In the last chance one process tries although the back-off lasts; the others believe it."""
    async with world.fleet(8) as fleet:
        await errors_of(fleet)
        await asyncio.sleep(2_900)
        world.fail("unavailable")
        for _ in range(20):
            await asyncio.sleep(35)
            await errors_of(fleet)

        last_chance = 3_600 - 5 - 10
        assert sum(last_chance - 1 <= instant < 3_595 for instant in world.sent) in {1, 2}
        failed = [event for process in fleet for event in process.seen(LastRenewalFailed)]
        assert {event.adopted for event in failed} == {False, True}


@in_virtual_time
async def test_a_renewal_leaves_the_cool_down_of_others_alone(world: World) -> None:
    """A renewal that fails in its last chance does not let processes without a token try again."""
    async with world.fleet(2, retry=ONCE) as (rich, poor):
        await rich.get()
        await asyncio.sleep(2_900)
        world.fail("unavailable")
        store = memory(world)
        store.tokens.clear()
        await asyncio.sleep(674)
        until = 0.0
        while world.loop.time() < 3_594:
            await poor.error()
            await asyncio.sleep(0.2)
            ((record, _),) = store.failures.values()
            assert record.until > until - 0.001 or until <= world.loop.time() + NEW_YEAR
            until = max(until, record.until)
        assert rich.seen(LastRenewalFailed)


@in_virtual_time
async def test_the_wait_that_a_server_asks_for_holds_for_the_fleet(world: World) -> None:
    """After a `Retry-After` of a proxy no process sends a request before the moment it names."""
    async with world.fleet(3, retry=ONCE) as fleet:
        world.fail("unavailable")
        for process in fleet:
            process.line.retry_after = 40
        while world.loop.time() < 60:
            await errors_of(fleet)
            await asyncio.sleep(1)

        first, second = world.sent
        assert second - first == pytest.approx(40, abs=2)


# Failures that may be one process's own


@in_virtual_time
async def test_a_broken_process_passes_its_turn_on(world: World) -> None:
    """The failure of one process's network delays no other one, and its callers adopt the token."""
    async with world.fleet(3) as fleet:
        broken = fleet[0]
        broken.line.fail("refused")
        begun = world.loop.time()
        getting = asyncio.create_task(broken.get())
        await asyncio.sleep(0.05)
        tokens = await asyncio.gather(getting, *(process.get() for process in fleet[1:]))

        assert len({token.value for token in tokens}) == 1
        assert len(broken.line.sent) == 1
        assert world.loop.time() - begun < 0.6
        assert broken.seen(TokenAdopted)
        assert not broken.seen(FetchFailed)
        assert memory(world).failures == {}


@in_virtual_time
async def test_two_broken_processes_hold_no_third_one_back(world: World) -> None:
    """Two processes that fail in turn give up after their own attempts; a third one fetches."""
    async with world.fleet(3) as (one, two, healthy):
        for process in (one, two):
            process.line.fail("refused")
        assert await errors_of([one, two]) == ["TransportError"] * 2
        assert len(one.line.sent) == len(two.line.sent) == 6
        assert not any(event.adopted for event in one.seen(FetchFailed) + two.seen(FetchFailed))

        await healthy.get()
        await asyncio.sleep(2)
        assert await errors_of([one, two]) == ["", ""]


@in_virtual_time
async def test_three_processes_convince_the_fleet(world: World) -> None:
    """Once three processes failed, all wait together; they get the error after as many rounds."""
    async with world.fleet(10) as fleet:
        world.fail("refused")
        errors = await asyncio.gather(*(process.error() for process in fleet))

        assert {type(error) for error in errors} == {TransportError}
        assert len(world.sent) == 3 + 5 * 2
        assert world.sent[-1] - world.sent[0] > sum((0.25, 0.5, 1, 2, 4)) / 2
        assert sum(process.seen(FetchFailed)[0].adopted for process in fleet) >= 8
        await errors_of(fleet)
        assert len(world.sent) == 13

        world.fail(None)
        await asyncio.sleep(2)
        assert await errors_of(fleet) == [""] * 10
        assert len(world.sent) == 14


@in_virtual_time
async def test_a_process_that_failed_lets_others_take_the_next_turn(world: World) -> None:
    """A process that failed waits until each other one can have looked, also if it is alone."""
    async with world.fleet(1) as (process,):
        world.fail("refused")
        await process.error()

        assert world.sent[1] - world.sent[0] >= process.line.takes + 0.3


@in_virtual_time
async def test_what_sent_no_request_is_not_shared(world: World) -> None:
    """A process whose callers cannot wait for the end of a pause shares no failure."""
    async with world.fleet(1, retry=RetryPolicy(max_wait=5)) as (process,):
        part = part_identity(process.client)
        await world.store.pause(part, 60, world.loop.time() + NEW_YEAR + 60)
        assert type(await process.error()) is RateLimitedError
        await asyncio.sleep(0.1)

        assert process.line.sent == []
        assert memory(world).failures == {}
        assert memory(world).leases == {}


@in_virtual_time
async def test_one_broken_process_is_one_witness(world: World) -> None:
    """However often a process fails, three different ones must fail before the fleet waits."""
    async with world.fleet(2) as (one, two):
        world.fail("refused")
        await one.error()
        ((record, _),) = memory(world).failures.values()
        assert len(record.processes) == 1
        await two.error()
        ((record, _),) = memory(world).failures.values()

        assert len({*record.processes}) == len(record.processes) == 2
        assert record.failures == 0
        assert record.until == record.renew_at == record.failed_at
        assert record.facts["attempts"] == 2


@in_virtual_time
async def test_requests_that_hang_end_in_the_time_of_one_fetch(world: World) -> None:
    """If every request hangs, the callers get the error after the time of one fetch."""
    async with world.fleet(6) as fleet:
        for process in fleet:
            process.line.takes = 1e6
        begun = world.loop.time()
        assert await errors_of(fleet) == ["TransportError"] * 6

        assert world.loop.time() - begun == pytest.approx(30, abs=1)
        assert len(world.sent) == 3


@in_virtual_time
async def test_a_failing_credential_passes_the_turn_on(world: World) -> None:
    """A process whose secret is not available gives the lease back, and shares no failure."""
    async with world.fleet(2) as (one, two):
        secrets = iter(["secret"])
        secret = ClientSecretBasic(partial(next, secrets))
        one.client = OktaClient("acme.okta.com", "0oa1", secret)
        one.line.fail("refused")

        assert type(await one.error()) is CredentialError
        assert len(one.line.sent) == 1
        ((record, _),) = memory(world).failures.values()
        assert record.kind == "TransportError"
        begun = world.loop.time()
        await two.get()
        assert world.loop.time() - begun < 0.2


@in_virtual_time
async def test_the_failure_of_a_rotated_secret_is_not_that_of_the_old_one(world: World) -> None:
    """A failure is shared only if the last request had the credential of the identity."""
    async with world.fleet(1, retry=ONCE) as (process,):
        secrets = iter(["old", "new", "new"])
        process.client = OktaClient(
            "acme.okta.com", "0oa1", ClientSecretBasic(lambda: next(secrets))
        )
        process.line.fail("wrong secret")
        await process.error()
        await asyncio.sleep(0.1)

        assert len(process.line.sent) == 2
        assert memory(world).failures == {}
        assert memory(world).leases == {}


# What ends a turn


@in_virtual_time
async def test_a_process_that_is_closed_gives_its_turn_back(world: World) -> None:
    """Closing a provider gives its lease back, so that another process goes on at once."""
    async with world.fleet(1) as (other,):
        async with world.fleet(1) as (closing,):
            closing.line.takes = 1e6
            getting = asyncio.create_task(closing.get())
            await asyncio.sleep(0.1)
        await asyncio.wait([getting])
        assert getting.exception() is not None
        begun = world.loop.time()

        await other.get()

        assert world.loop.time() - begun < 0.2


@in_virtual_time
async def test_a_lying_record_is_ignored(world: World) -> None:
    """A failure that no process of this package wrote holds no process back."""
    async with world.fleet(1) as (process,):
        identity = identity_of(process.source().key)
        now = world.loop.time() + NEW_YEAR
        lie = SharedFailure("KeyError", "x", {}, 1, now, now + 30, now + 30)
        memory(world).failures[identity] = lie, 1e9

        await process.get()

        assert process.seen(StoreEntryIgnored)


async def alone_together(world: World) -> None:
    """Each process of a fleet makes its own attempts, one after the other."""
    async with world.fleet(2) as fleet:
        world.fail("refused")
        assert await errors_of(fleet) == ["TransportError"] * 2
        assert [len(process.line.sent) for process in fleet] == [6, 6]
        assert not any(process.seen(FetchFailed)[0].adopted for process in fleet)
        assert world.store.leases == {}


def test_a_store_that_shares_no_failures_works_as_ever() -> None:
    """With a store without the optional part each process fails by itself."""
    in_virtual_time(alone_together, BasicMemoryStore)()
