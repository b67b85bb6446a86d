"""The soak notices leaks, errors and waits."""

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
from benchmarks.soak import Plan, Sample, _Caller, _CallerCounts, _Key, evaluate, soak
from okta_tokens import AccessToken
from okta_tokens._endpoint.endpoint import Endpoint
from okta_tokens._endpoint.token_request import Operation, T
from okta_tokens.errors import FetchError, TransportError
from tests.support import World, world

PLAN = Plan(ticks=8, tick=0.1, keys=8, callers=40, lifetime=1, pause=0.1, max_faults=1)


def counted_wrong(figures: Iterable[Figure]) -> set[str]:
    """Return the names of the counts that miss their limit, up to the first comma."""
    return {
        figure.name.partition(",")[0] for figure in figures if figure.counted and not figure.holds
    }


async def test_leaks_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the leaked tasks and file descriptors miss their limits."""
    tasks: list[asyncio.Task[None]] = []
    run = Endpoint.run

    async def leaking(self: Endpoint, operation: Operation[T]) -> T | FetchError:
        tasks.append(asyncio.create_task(asyncio.sleep(3600)))
        for _ in range(4):
            files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        return await run(self, operation)

    monkeypatch.setattr(Endpoint, "run", leaking)
    with ExitStack() as files:
        figures = await soak(PLAN)
        for task in tasks:
            task.cancel()

    assert counted_wrong(figures) == {
        "growth of the tasks: the minimum of the last half less that of the first",
        "growth of the file descriptors: the maximum of the last half less that of the first",
        "file descriptors left after closing",
        "tasks left after closing",
    }
    faults = [figure for figure in figures if figure.name.startswith("requests that met a fault")]
    assert sum(figure.value for figure in faults) > 0


@pytest.mark.parametrize(
    ("memory", "holds"),
    [
        ([40.0, 60.0, 90.0, 90.0, 90.0, 90.0], True),  # growth in the first half is allowed
        ([40.0, 40.0, 40.0, 40.0, 40.5, 40.9], True),
        ([40.0, 40.0, 40.0, 40.0, 40.6, 41.2], False),
        ([40.0] * 150 + [40.0] * 149 + [45.0], True),  # a single sample has little weight
        ([40.0] * 150 + [40.0] * 75 + [42.0] * 75, False),
    ],
    ids=["at first", "a little", "steadily", "in one sample", "in one step"],
)
def test_memory_that_grows_is_noticed(memory: list[float], holds: bool) -> None:  # noqa: FBT001 - the expected verdict
    """A growth of more than a mebibyte over the last half misses its limit."""
    samples = [
        Sample(second, int(used * 2**20), tasks=2, files=9, entries=8, timers=0, heap=8)
        for second, used in enumerate(memory)
    ]
    plan = Plan(ticks=len(memory), limits_memory=True)

    assert counted_wrong(evaluate(samples, plan)) == (
        set() if holds else {"growth of the resident memory over the last half"}
    )


def test_a_short_soak_does_not_limit_memory() -> None:
    """A short soak reports the growth of the memory without a limit."""
    samples = [Sample(second, second * 2**30, 2, 9, 8, 0, 8) for second in range(4)]

    assert counted_wrong(evaluate(samples, PLAN)) == set()


@pytest.mark.parametrize(
    ("field", "at_most"),
    [
        ("entries", PLAN.max_tokens),
        ("timers", 0),
        ("heap", 4 * PLAN.keys + 16),
    ],
)
def test_a_single_excessive_sample_is_noticed(field: str, at_most: int) -> None:
    """Entries and timers have limits that no sample may exceed."""
    usual = Sample(0, 0, tasks=2, files=9, entries=8, timers=0, heap=8)
    most = usual._replace(at=1, **{field: at_most})
    more = usual._replace(at=1, **{field: at_most + 1})

    assert counted_wrong(evaluate([usual, usual, most, usual._replace(at=2)], PLAN)) == set()
    assert len(counted_wrong(evaluate([usual, usual, more, usual._replace(at=2)], PLAN))) == 1


Get = Callable[[World, AccessToken], Awaitable[AccessToken]]


async def hit(_: World, token: AccessToken) -> AccessToken:
    """Return the token without suspending."""
    return token


async def wait(_: World, token: AccessToken) -> AccessToken:
    """Return the token after a turn of the event loop."""
    await asyncio.sleep(0)
    return token


async def expire(here: World, token: AccessToken) -> AccessToken:
    """Return the token after its expiry."""
    here.clock._move(here.clock.boot_time() + token.remaining())
    return token


async def fail(_: World, __: AccessToken) -> AccessToken:
    """Raise an error that callers expect."""
    raise TransportError("no response")


async def fail_unexpectedly(_: World, __: AccessToken) -> AccessToken:
    """Raise an error that no caller expects."""
    raise LookupError


@pytest.mark.parametrize(
    ("get", "noticed"),
    [
        (hit, set()),
        (wait, {"calls that waited"}),
        (fail, {"calls that waited"}),
        (fail_unexpectedly, {"untyped errors that callers got"}),
        (expire, {"calls that returned an expired token"}),
    ],
)
async def test_what_callers_notice_is_counted(get: Get, noticed: set[str]) -> None:
    """While a usable token is held, every wait and every error misses a limit."""
    counts = _CallerCounts()

    async def use(_: AccessToken, __: float) -> None:
        await asyncio.sleep(0)

    async with world() as here:
        source = here.source()
        token = await source.get_token()

        def get_once() -> Awaitable[AccessToken]:
            caller.stopped = True
            return get(here, token)

        key = _Key(source, get_once, leeway=5.0)
        key.note_token(token)
        caller = _Caller(key, 0.0, use, counts, Random(2))  # noqa: S311 - no cryptography
        await caller.run()

    assert counted_wrong(counts.figures()) == noticed
    assert counts.calls == 1


async def test_a_dropped_token_need_not_be_held() -> None:
    """A waiter may still get a token that another caller has rejected; it need not be held."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        key = _Key(source, source.get_token, leeway=5.0)
        key.note_token(token)
        held = key.usable
        dropped = key.invalidate(token)
        key.note_token(token)

        assert (held, dropped, key.usable) == (True, True, False)


async def test_a_server_has_the_requested_faults() -> None:
    """Faults affect the requested number of requests, and responses have the latency."""
    async with serve() as server, aiohttp.ClientSession() as session:

        async def request() -> int | None:
            headers = {"Authorization": aiohttp.encode_basic_auth(CLIENT_ID, SECRET)}
            form = {"grant_type": "client_credentials", "scope": "s0"}
            try:
                async with session.post(server.token_url, data=form, headers=headers) as response:
                    return response.status
            except aiohttp.ClientError:
                return None

        await server.fail_next("500", 2)
        queued = [await request() for _ in range(3)]
        await server.fail("drop")
        lasting = [await request() for _ in range(2)]
        await server.fail_next("503", 1)
        await server.fail(None)
        await server.delay(0.1, 0.2)
        begun = time.monotonic()
        over = await request()
        took = time.monotonic() - begun
        met = {name: times for name, times in (await server.faults()).items() if times}

    assert (queued, lasting, over) == ([500, 500, 200], [None, None], 200)
    assert took >= 0.1
    assert met["500"] == 2
    assert met["drop"] >= 2  # aiohttp repeats a request whose connection was kept and is closed
    assert met.keys() == {"500", "drop"}


async def test_a_cancellation_reaches_the_awaitable_of_a_probe() -> None:
    """If a probe is cancelled, the awaitable inside is cancelled as well."""
    ended = asyncio.Event()

    async def get() -> AccessToken:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()
        raise AssertionError("the future has no result")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Probe(get())

    assert ended.is_set()
