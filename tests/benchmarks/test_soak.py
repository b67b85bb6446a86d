"""The soak: what it would notice, if anything piled up or went wrong."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from random import Random

import aiohttp
import pytest

from benchmarks.figures import Figure
from benchmarks.probe import Probe
from benchmarks.server import CLIENT_ID, SECRET, serve
from benchmarks.soak import Plan, Sample, _Caller, _Key, _Tally, judge, soak
from okta_tokens import AccessToken
from okta_tokens._endpoint.endpoint import Endpoint
from okta_tokens._endpoint.token_request import TokenFlight
from okta_tokens._endpoint.token_response import TokenResponse
from okta_tokens.errors import FetchError, TransportError
from tests.support import World, world

PLAN = Plan(ticks=8, tick=0.1, keys=8, callers=40, lifetime=1, pause=0.1, at_once=1)


def counted_wrong(figures: Iterable[Figure]) -> set[str]:
    """Return the counts that miss their limit, without what is told of their cause."""
    return {it.what.partition(",")[0] for it in figures if it.counted and not it.holds}


async def test_what_piles_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and file descriptors that fetches leave behind are found, and nothing else is."""
    tasks: list[asyncio.Task[None]] = []
    fetch = Endpoint.fetch

    async def leaking(self: Endpoint, flight: TokenFlight) -> TokenResponse | FetchError:
        tasks.append(asyncio.create_task(asyncio.sleep(3600)))
        for _ in range(4):
            files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        return await fetch(self, flight)

    monkeypatch.setattr(Endpoint, "fetch", leaking)
    with ExitStack() as files:
        figures = await soak(PLAN)
        for task in tasks:
            task.cancel()

    assert counted_wrong(figures) == {
        "tasks beside callers and flights: the fewest of the last half",
        "file descriptors: the most of the last half",
        "file descriptors left after closing",
        "tasks left after closing",
    }
    assert sum(it.value for it in figures if it.what.startswith("faults that they met")) > 0


@pytest.mark.parametrize(
    ("memory", "holds"),
    [
        ([40.0, 60.0, 90.0, 90.0, 90.0, 90.0], True),  # what it takes at first is no growth
        ([40.0, 40.0, 40.0, 40.0, 40.5, 40.9], True),
        ([40.0, 40.0, 40.0, 40.0, 40.6, 41.2], False),
        ([40.0] * 150 + [40.0] * 149 + [45.0], True),  # one sample decides nothing
        ([40.0] * 150 + [40.0] * 75 + [42.0] * 75, False),
    ],
    ids=["at first", "a little", "steadily", "for a moment", "at one blow"],
)
def test_memory_that_grows_is_noticed(memory: list[float], holds: bool) -> None:  # noqa: FBT001 - one of two verdicts
    """More than a mebibyte over the last half is a count that is wrong."""
    samples = [
        Sample(second, int(used * 2**20), tasks=2, files=9, entries=8, timers=0, heap=8)
        for second, used in enumerate(memory)
    ]
    plan = Plan(ticks=len(memory), judges_memory=True)

    assert counted_wrong(judge(samples, plan)) == (
        set() if holds else {"growth of the resident memory over the last half"}
    )


def test_memory_is_not_judged_by_seconds() -> None:
    """A short soak tells of the growth, and holds it to nothing."""
    samples = [Sample(second, second * 2**30, 2, 9, 8, 0, 8) for second in range(4)]

    assert counted_wrong(judge(samples, PLAN)) == set()


@pytest.mark.parametrize(
    ("what", "at_most"),
    [
        ("entries", PLAN.max_tokens),
        ("timers", 0),
        ("heap", 4 * PLAN.keys),
    ],
)
def test_too_much_at_any_moment_is_noticed(what: str, at_most: int) -> None:
    """What the provider holds has a bound that no sample may exceed."""
    usual = Sample(0, 0, tasks=2, files=9, entries=8, timers=0, heap=8)
    most = usual._replace(at=1, **{what: at_most})
    more = usual._replace(at=1, **{what: at_most + 1})

    assert counted_wrong(judge([usual, usual, most, usual._replace(at=2)], PLAN)) == set()
    assert len(counted_wrong(judge([usual, usual, more, usual._replace(at=2)], PLAN))) == 1


Get = Callable[[World, AccessToken], Awaitable[AccessToken]]


async def at_once(_: World, token: AccessToken) -> AccessToken:
    """Bring the token at once."""
    return token


async def late(_: World, token: AccessToken) -> AccessToken:
    """Bring the token some time later."""
    await asyncio.sleep(0)
    return token


async def too_late(here: World, token: AccessToken) -> AccessToken:
    """Bring a token that has expired."""
    here.clock._move(here.clock.boot_time() + token.remaining())
    return token


async def typed(_: World, __: AccessToken) -> AccessToken:
    """Raise what callers know."""
    raise TransportError("no answer")


async def untyped(_: World, __: AccessToken) -> AccessToken:
    """Raise what nobody knows."""
    raise LookupError


@pytest.mark.parametrize(
    ("get", "noticed"),
    [
        (at_once, set()),
        (late, {"calls that waited"}),
        (typed, {"calls that waited"}),
        (untyped, {"errors of no type that they got"}),
        (too_late, {"calls that brought an expired token"}),
    ],
)
async def test_what_callers_notice_is_counted(get: Get, noticed: set[str]) -> None:
    """While a usable token is held, any wait and any error is one too many."""
    tally = _Tally()

    async def present(_: AccessToken, __: float) -> None:
        await asyncio.sleep(0)

    async with world() as here:
        source = here.source()
        token = await source.get_token()

        def get_once() -> Awaitable[AccessToken]:
            caller.dismissed = True
            return get(here, token)

        key = _Key(source, get_once, leeway=5.0)
        key.got(token)
        caller = _Caller(key, 0.0, present, tally, Random(2))  # noqa: S311 - nobody's security
        await caller.live()

    assert counted_wrong(tally.figures()) == noticed
    assert tally.gets == 1


async def test_a_token_that_was_dropped_need_not_be_held() -> None:
    """Who waited together with whoever rejected a token may still get it, which proves nothing."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        key = _Key(source, source.get_token, leeway=5.0)
        key.got(token)
        held = key.usable
        dropped = key.invalidate(token)
        key.got(token)

        assert (held, dropped, key.usable) == (True, True, False)


async def test_a_server_fails_as_it_is_told() -> None:
    """Faults meet as many requests as they shall, and each answer takes as long as it shall."""
    async with serve() as server, aiohttp.ClientSession() as session:

        async def ask() -> int | None:
            headers = {"Authorization": aiohttp.encode_basic_auth(CLIENT_ID, SECRET)}
            form = {"grant_type": "client_credentials", "scope": "s0"}
            try:
                async with session.post(server.token_url, data=form, headers=headers) as response:
                    return response.status
            except aiohttp.ClientError:
                return None

        await server.fail_next("500", 2)
        queued = [await ask() for _ in range(3)]
        await server.fail("drop")
        lasting = [await ask() for _ in range(2)]
        await server.fail_next("503", 1)
        await server.fail(None)
        await server.delay(0.1, 0.2)
        begun = time.monotonic()
        over = await ask()
        took = time.monotonic() - begun
        met = {name: times for name, times in (await server.faults()).items() if times}

    assert (queued, lasting, over) == ([500, 500, 200], [None, None], 200)
    assert took >= 0.1
    assert met["500"] == 2
    assert met["drop"] >= 2  # aiohttp repeats a request whose connection was kept and is closed
    assert met.keys() == {"500", "drop"}


async def test_a_cancellation_reaches_what_a_probe_awaits() -> None:
    """A caller that is probed leaves as any other one does."""
    ended = asyncio.Event()

    async def get() -> AccessToken:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()
        raise AssertionError("nobody answers")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Probe(get())

    assert ended.is_set()
