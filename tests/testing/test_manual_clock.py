"""The clock that only the test moves, with providers on its own and on other event loops."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import pytest

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    Clock,
    OktaClient,
    TokenProvider,
    TokenSource,
)
from okta_tokens.errors import ConfigurationError, ProviderStateError, TransportError
from okta_tokens.sandbox import Fault, Sandbox
from okta_tokens.testing import ManualClock, _manual_clock
from tests.support import default_client, listen

T = TypeVar("T")


@pytest.fixture
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait for a watched provider last as long as it takes: a wrong one fails the test."""
    monkeypatch.setattr(_manual_clock, "_MAX_WAIT", math.inf)


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait for a watched provider end soon."""
    monkeypatch.setattr(_manual_clock, "_MAX_WAIT", 0.05)


@contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def service(clock: ManualClock) -> AsyncIterator[tuple[Sandbox, TokenProvider, TokenSource]]:
    """Run a sandbox and a watched provider, whose token an hour long is held."""
    async with (
        Sandbox(lifetime=3600, wall_time=clock.wall_time) as okta,
        TokenProvider(clock=clock) as provider,
    ):
        clock.watch(provider)
        source = provider.source(default_client(okta), "orders:read")
        await source.get_token()
        yield okta, provider, source


def usable(source: TokenSource) -> AccessToken:
    """Return the token that a source holds; fail if it holds none that has not expired."""
    token = source.peek()
    assert token is not None
    assert token.remaining() > 0
    return token


@pytest.mark.usefixtures("no_limit")
def test_a_thread_moves_the_clock_of_a_provider_elsewhere() -> None:
    """When a synchronous test moves the clock, the provider has renewed once, and is quiet."""
    clock = ManualClock()

    def run(loop: asyncio.AbstractEventLoop, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return asyncio.run_coroutine_threadsafe(wait(), loop).result(20)

    with loop_in_a_thread() as loop:
        running = service(clock)
        okta, provider, source = run(loop, running.__aenter__())
        for number in range(1, 4):
            first = usable(source)

            clock.advance_from_thread(3600)

            assert (okta.token_requests, provider.stats().in_flight) == (number + 1, 0)
            assert usable(source) != first
        run(loop, running.__aexit__(None, None, None))


@pytest.mark.usefixtures("no_limit")
async def test_a_watched_provider_is_waited_for() -> None:
    """When `advance` returns, the requests that it caused are answered."""
    clock = ManualClock()
    async with service(clock) as (okta, _, source):
        first = usable(source)
        okta.latency = 0.05

        await clock.advance(3600)

        assert okta.token_requests == 2
        assert usable(source) != first


@pytest.mark.usefixtures("no_limit")
async def test_a_fetch_that_waits_for_the_clock_is_not_waited_for() -> None:
    """A fetch in its back-off goes on when the clock moves, and its caller gets the error."""
    clock = ManualClock()
    async with TokenProvider(clock=clock) as provider, Sandbox() as okta:
        clock.watch(provider)
        okta.fault = Fault.status(500)
        call = asyncio.ensure_future(provider.get_token(default_client(okta), "orders:read"))

        await clock.advance(0)
        assert okta.token_requests == 1
        okta.fault = None
        await clock.advance(60)

        assert call.done()
        assert okta.token_requests == 2


async def test_a_server_that_never_answers_does_not_stop_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For such a fetch `advance` waits a limited time, and that once, so time-outs come."""
    monkeypatch.setattr(_manual_clock, "_MAX_WAIT", 0.5)

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    clock = ManualClock()
    async with listen(be_silent) as port, TokenProvider(clock=clock) as provider:
        clock.watch(provider)
        acme = OktaClient(f"http://127.0.0.1:{port}", "id", ClientSecretBasic("secret"))
        call = asyncio.ensure_future(provider.get_token(acme, "orders:read"))
        begun = time.monotonic()

        await clock.advance(120)  # with a stop for each attempt

        assert 0.5 <= time.monotonic() - begun < 2
        with pytest.raises(TransportError, match="no response"):
            await call


@pytest.mark.usefixtures("no_limit")
def test_a_sleeper_elsewhere_wakes_at_its_instant() -> None:
    """The clock stops at the instant of each sleeper of another thread, and waits for its work."""
    clock = ManualClock(boot=0)
    instants: list[float] = []

    async def sleep() -> None:
        for second in range(1, 6):
            await clock.sleep_until(second)
            instants.append(clock.boot)

    with loop_in_a_thread() as loop:
        asleep = asyncio.run_coroutine_threadsafe(sleep(), loop)
        while not clock._sleepers:
            pass
        clock.advance_from_thread(4.5)
        assert instants == [1, 2, 3, 4]
        clock.advance_from_thread(4.5)
        asleep.result(5)

    assert (instants, clock.boot, clock.wall) == ([1, 2, 3, 4, 5], 9, 1_800_000_009)


@pytest.mark.usefixtures("no_limit")
def test_an_event_loop_that_rests_is_not_waited_for() -> None:
    """Between two runs of an event loop the clock moves at once, and the loop goes on later."""
    clock = ManualClock()
    with asyncio.Runner() as runner:
        running = service(clock)
        okta, provider, source = runner.run(running.__aenter__())
        clock.advance_from_thread(3500)
        assert okta.token_requests == 1
        okta.latency = 0.05
        runner.run(_manual_clock.settle())
        assert provider.stats().in_flight == 1
        clock.advance_from_thread(1)
        runner.run(clock.advance(0))
        assert okta.token_requests == 2
        usable(source)
        runner.run(running.__aexit__(None, None, None))

    clock.advance_from_thread(1)


@pytest.mark.usefixtures("short_limit")
def test_a_blocked_event_loop_does_not_stop_the_clock() -> None:
    """If another thread's event loop is busy, the clock waits for a limited time, and moves on."""
    clock, free = ManualClock(boot=0), threading.Event()

    async def block() -> None:
        await clock.sleep_until(1)
        free.wait(20)

    with loop_in_a_thread() as loop:
        asleep = asyncio.run_coroutine_threadsafe(block(), loop)
        while not clock._sleepers:
            pass
        clock.advance_from_thread(2)
        assert not asleep.done()
        free.set()
        asleep.result(5)

    assert clock.boot == 2


def test_a_closed_event_loop_has_no_sleepers_to_wake() -> None:
    """A sleeper whose event loop was closed before it woke is passed over."""
    clock = ManualClock(boot=0)
    loop = asyncio.new_event_loop()
    asleep = loop.create_task(clock.sleep_until(1))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert len(clock._sleepers) == 1
    loop.close()

    clock.advance_from_thread(2)

    assert clock.boot == 2
    asleep._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be


def test_the_event_loop_of_the_thread_stays() -> None:
    """The event loop that a thread has set, but does not run, is the same afterwards."""
    loop = asyncio.new_event_loop()

    def run() -> asyncio.AbstractEventLoop:
        asyncio.set_event_loop(loop)
        ManualClock().advance_from_thread(1)
        return asyncio.get_event_loop()

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(run).result(5) is loop
    loop.close()


async def test_an_instant_that_has_passed_is_not_waited_for() -> None:
    """A sleep until the present or an earlier instant suspends once."""
    clock = ManualClock(boot=5)

    async with asyncio.timeout(5):
        await clock.sleep_until(5)
        await clock.sleep_until(-math.inf)


async def test_only_one_call_moves_the_clock() -> None:
    """A second call at the same time is an error; a cancelled one lets the next one move."""
    clock, idle = ManualClock(boot=0), asyncio.Event()

    async def wait() -> None:
        await idle.wait()

    first = asyncio.create_task(clock.advance(1, wait))
    await asyncio.sleep(0)
    with pytest.raises(ProviderStateError, match=r"^the clock is being moved; wait"):
        await clock.advance(1)
    first.cancel()
    await asyncio.wait([first])

    await clock.advance(2)

    assert clock.boot == 2


async def test_a_thread_with_an_event_loop_awaits() -> None:
    """In a thread that runs an event loop, the synchronous method says what to await."""
    with pytest.raises(ProviderStateError, match="await advance instead"):
        ManualClock().advance_from_thread(1)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, True, "1"])
async def test_time_moves_forward(seconds: float) -> None:
    """A number of seconds that is negative, or no finite number, is an error."""
    clock = ManualClock()

    with pytest.raises(ConfigurationError, match=r"^seconds: "):
        await clock.advance(seconds)

    assert clock.boot == 1_000


async def test_a_watched_provider_has_the_clock() -> None:
    """An object that is no provider, or a provider with another clock, is refused."""
    clock: Clock = ManualClock()

    for other in (None, TokenProvider(), TokenProvider(clock=clock)):
        with pytest.raises(ConfigurationError, match=r"^provider: .* TokenProvider\(clock=clock\)"):
            ManualClock().watch(other)  # type: ignore[arg-type]  # deliberately


def test_the_clock_keeps_no_provider() -> None:
    """A provider that is watched is freed when the test drops it."""
    clock = ManualClock()
    provider = TokenProvider(clock=clock)
    clock.watch(provider)
    reference = weakref.ref(provider)

    del provider
    gc.collect()

    assert reference() is None
