"""Tokens for threads: `peek` and `get_token_from_thread`."""

import asyncio
import sys
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    OktaClient,
    TokenProvider,
    TokenSource,
    _lifecycle,
)
from okta_tokens._cache.entry import USED
from okta_tokens.errors import ConfigurationError, OAuthError, ProviderStateError
from okta_tokens.events import KeyIdle
from okta_tokens.sandbox import Sandbox
from tests.clock import settle
from tests.runtime.test_redaction import locals_with
from tests.support import SECRET, UVLOOP, default_client, run_script, until, world

NO_TOKEN_HERE = (
    "get_token_from_thread: this is the thread of the provider's event loop, which fetches no "
    "token while the thread waits, and no usable token is held; await get_token instead, or let "
    "`await provider.warm(source)` fetch the token before, for a source with keep_fresh=True"
)


# peek


async def test_any_thread_sees_the_token_that_is_held() -> None:
    """`peek` returns the token that `get_token` returns, or `None` if there is none."""
    async with world() as here:
        source = here.source()
        before = await asyncio.to_thread(source.peek)
        token = await source.get_token()

        assert before is None
        assert here.sandbox.token_requests == 1
        assert source.peek() is token
        assert await asyncio.to_thread(source.peek) is token


@pytest.mark.parametrize("clock", ["boot", "wall"])
async def test_either_clock_hides_a_token_from_peek(clock: str) -> None:
    """`peek` returns no token that is past its leeway by boot time or by wall time."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        here.sandbox.latency = 30  # longer than the test: no renewal brings another token
        setattr(here.clock, clock, getattr(here.clock, clock) + 3594)
        assert await asyncio.to_thread(source.peek) is token
        setattr(here.clock, clock, getattr(here.clock, clock) + 2)

        assert await asyncio.to_thread(source.peek) is None


async def test_peek_is_a_use() -> None:
    """A token that only threads look at is renewed, and counts as used when the cache is full."""
    async with world() as here:
        source = here.source()
        first = await source.get_token()
        await here.advance(3540)
        source._entry.used = 0
        second = await asyncio.to_thread(source.peek)
        marked = source._entry.used
        await here.advance(3540)

        assert second is not first
        assert marked == USED
        assert source.peek() is not second
        assert here.seen(KeyIdle) == []


async def test_peek_starts_a_renewal_that_is_due() -> None:
    """An idle token that a thread uses again is renewed, by one request for any number of uses."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        source._entry.used = 0
        await here.advance(3500)
        idle = len(here.seen(KeyIdle))
        requests = here.sandbox.token_requests
        with ThreadPoolExecutor(1) as thread:
            peeks = [thread.submit(source.peek) for _ in range(100)]
            peeked = {peek.result() for peek in peeks}  # the event loop waits meanwhile
        await here.requests(requests + 1)
        await here.quiet()

        assert idle == 1
        assert peeked == {token}
        assert here.sandbox.token_requests == requests + 1
        assert source.peek() is not token


async def test_a_renewal_that_is_no_longer_due_is_left_alone() -> None:
    """If the token is gone when the event loop looks at a thread's use of it, nothing is sent."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        source._entry.used = 0
        await here.advance(3500)
        with ThreadPoolExecutor(1) as thread:
            peeked = thread.submit(source.peek).result(5)  # the event loop waits meanwhile
        dropped = source.invalidate(token)
        await settle()

        assert (peeked, dropped) == (token, True)
        assert here.sandbox.token_requests == 1
        assert here.is_idle()


async def test_peek_finds_the_entry_that_took_the_place_of_its_own() -> None:
    """A source whose entry was evicted sees the token of the key that another source fetched."""
    async with world(max_tokens=1) as here:
        source = here.source("a")
        await source.get_token()
        await here.source("b").get_token()
        evicted = source.peek()
        token = await here.source("a").get_token()

        assert evicted is None
        assert await asyncio.to_thread(source.peek) is token


@pytest.fixture
def _quick_switches() -> Iterator[None]:
    """Let threads take turns every 10 µs: by default a busy one keeps another waiting for 5 ms."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_quick_switches")
async def test_a_thread_peeks_while_the_event_loop_changes_everything() -> None:
    """Whatever the event loop does meanwhile, a thread gets a usable token of its key or `None`."""
    async with world(lifetime=20, max_tokens=2) as here:
        source = here.source("a")
        key, clock, done = source.key, here.clock, threading.Event()
        seen: dict[str, int] = {}

        def peek() -> int:
            peeks = 0
            while not done.is_set():
                now = clock.boot_time(), clock.wall_time()
                token = source.peek()
                if token is not None:
                    assert token.key == key
                    assert token._usable_for(*now) > 0
                    seen[token.value] = peeks
                peeks += 1
            return peeks

        peeks = asyncio.get_running_loop().run_in_executor(None, peek)
        for turn in range(60):
            token = await source.get_token()
            await asyncio.sleep(0.001)
            match turn % 3:
                case 0:
                    await here.advance(16)  # renews it
                case 1:
                    source.invalidate(token)
                case _:
                    await here.source("b").get_token()
                    await here.source("c").get_token()  # evicts it
        done.set()

        assert await peeks > 1_000
        assert len(seen) > 20


# get_token_from_thread


async def test_threads_share_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that have no token wait for the event loop, which fetches one for all of them."""
    monkeypatch.setattr(_lifecycle, "_CHECK_INTERVAL", 0.05)  # each thread looks several times
    async with world() as here:
        source = here.source()
        here.sandbox.latency = 0.2
        calls = (asyncio.to_thread(source.get_token_from_thread) for _ in range(4))
        tokens = await asyncio.gather(*calls, source.get_token())

        assert {*map(id, tokens)} == {id(source.peek())}
        assert here.sandbox.token_requests == 1


async def test_a_held_token_needs_no_event_loop() -> None:
    """With a token held, a thread waits for nothing, not even the event loop's own thread."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        with ThreadPoolExecutor(1) as thread:  # the event loop waits meanwhile
            assert thread.submit(source.get_token_from_thread).result(5) is token

        assert source.get_token_from_thread() is token


async def test_the_thread_of_the_event_loop_cannot_wait_for_it() -> None:
    """Without a token, the event loop's own thread gets an error that says why, at once."""
    async with world() as here:
        source = here.source()
        with pytest.raises(ProviderStateError) as caught:
            source.get_token_from_thread()

        assert str(caught.value) == NO_TOKEN_HERE
        assert here.sandbox.token_requests == 0


def test_a_thread_whose_event_loop_rests_cannot_wait_for_it() -> None:
    """Between two runs of its event loop, a thread gets the same error: nothing runs the loop."""
    loop = asyncio.new_event_loop()
    provider = loop.run_until_complete(TokenProvider().start())
    source = provider.source(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET)), "a")
    try:
        with pytest.raises(ProviderStateError) as caught:
            source.get_token_from_thread()
    finally:
        loop.run_until_complete(provider.aclose())
        loop.close()

    assert str(caught.value) == NO_TOKEN_HERE


async def test_a_thread_gets_the_errors_of_get_token() -> None:
    """A thread gets an error of its own for a failed fetch."""
    async with world(authentication=ClientSecretBasic("wrong-secret-of-the-test")) as here:
        source = here.source()
        errors = await asyncio.gather(
            *(asyncio.to_thread(source.get_token_from_thread) for _ in range(2)),
            return_exceptions=True,
        )

        assert [type(error) for error in errors] == [OAuthError, OAuthError]
        assert errors[0] is not errors[1]
        assert here.sandbox.token_requests == 1


async def test_a_thread_that_waits_too_long_leaves_the_fetch_alone() -> None:
    """After its timeout a thread gets a `TimeoutError`, and the fetch goes on."""
    async with world() as here:
        source = here.source()
        here.sandbox.latency = 0.5
        with pytest.raises(TimeoutError) as caught:
            await asyncio.to_thread(source.get_token_from_thread, 0.1)
        in_flight = here.provider.stats().in_flight
        await here.quiet()

        assert str(caught.value) == (
            "get_token_from_thread: no result in time; a fetch continues, so call it again later, "
            "or raise its timeout"
        )
        assert in_flight == 1
        assert source.peek() is not None


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "60", None, True])
async def test_the_timeout_of_a_thread_is_checked(seconds: Any) -> None:  # noqa: ANN401 - invalid
    """A timeout that is not a positive, finite number is an error, also if a token is held."""
    async with world() as here:
        source = here.source()
        await source.get_token()
        with pytest.raises(ConfigurationError) as caught:
            source.get_token_from_thread(seconds)

        assert str(caught.value) == "timeout: must be a positive, finite number of seconds"


@pytest.mark.parametrize("by", ["source", "provider"])
async def test_a_thread_drops_a_token_on_the_event_loop(by: str) -> None:
    """`invalidate` works from any thread: the event loop drops the token, and the thread waits."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        drop = source.invalidate if by == "source" else here.provider.invalidate
        threads = list[int]()
        here.provider._manager.invalidation._emit = lambda _: threads.append(threading.get_ident())  # type: ignore[assignment]
        results = [await asyncio.to_thread(drop, token) for _ in range(2)]

        assert results == [True, False]
        assert threads == [threading.get_ident()]
        assert source.peek() is None


@pytest.mark.parametrize("by", ["source", "provider", "value"])
async def test_an_error_of_a_thread_that_drops_a_token_does_not_hold_it(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No frame of the error of a thread whose call was cancelled has the token."""

    def cancelled(coroutine: Coroutine[Any, Any, Any], _loop: object) -> Future[Any]:
        coroutine.close()
        future = Future[Any]()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future

    async with world() as here:
        source = here.source()
        token = await source.get_token()
        owner: Any = here.provider if by == "provider" else source
        monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", cancelled)
        with pytest.raises(ProviderStateError, match=r"^invalidate: the call was ca") as caught:
            await asyncio.to_thread(owner.invalidate, token.value if by == "value" else token)

        assert locals_with(caught.value, token.value) == []


# The end, while a thread waits


async def waiting(source: TokenSource) -> asyncio.Future[AccessToken]:
    """Return the call of a thread that waits for a token by now."""
    call = asyncio.get_running_loop().run_in_executor(None, source.get_token_from_thread)
    await asyncio.sleep(0.05)
    return call


async def test_closing_wakes_a_thread() -> None:
    """A thread that waits gets an error when the provider is closed."""
    async with world() as here:
        here.sandbox.latency = 30
        call = await waiting(here.source())
        await here.requests(1)
        await here.provider.aclose()

        with pytest.raises(ProviderStateError, match="closed"):
            await asyncio.wait_for(call, 5)


async def test_a_thread_whose_call_is_cancelled_gets_an_error() -> None:
    """A thread gets an error if other code cancels its call on the event loop."""
    async with world() as here:
        here.sandbox.latency = 30
        others = asyncio.all_tasks()
        call = await waiting(here.source())
        await here.requests(1)
        for task in asyncio.all_tasks() - others:
            if "get_token" in repr(task.get_coro()):
                task.cancel()

        with pytest.raises(ProviderStateError) as caught:
            await asyncio.wait_for(call, 5)
        assert str(caught.value) == (
            "get_token_from_thread: the call was cancelled on the provider's event loop; call it "
            "again"
        )


def in_a_thread(source: TokenSource, timeout: float = 60) -> Future[AccessToken]:
    """Return the call of another thread, which has begun."""
    executor = ThreadPoolExecutor(1)
    try:
        return executor.submit(source.get_token_from_thread, timeout)
    finally:
        executor.shutdown(wait=False)


def test_the_end_of_the_loop_wakes_a_thread() -> None:
    """When `asyncio.run` returns, a thread that waits gets an error, and one that comes later."""
    calls: list[Future[AccessToken]] = []

    async def main() -> TokenSource:
        async with Sandbox() as sandbox:
            sandbox.latency = 30
            provider = await TokenProvider().start()
            source = provider.source(default_client(sandbox), "customScope")
            calls.append(in_a_thread(source))
            await until(lambda: sandbox.token_requests == 1)
            return source

    source = asyncio.run(main())
    for call in (calls[0], in_a_thread(source)):
        with pytest.raises(ProviderStateError, match=r"cancelled|event loop .* has ended"):
            call.result(5)
    with pytest.raises(ProviderStateError, match="event loop of the provider has ended"):
        source.peek()


def test_a_loop_that_never_runs_again_wakes_a_thread() -> None:
    """A thread that waits for a loop which rests gets an error once the loop is closed."""
    loop = asyncio.new_event_loop()
    provider = loop.run_until_complete(TokenProvider().start())
    source = provider.source(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET)), "a")
    call = in_a_thread(source)
    with pytest.raises(TimeoutError):
        call.result(0.1)
    loop.close()

    with pytest.raises(ProviderStateError, match="event loop of the provider has ended"):
        call.result(5)


def test_a_loop_that_closes_between_check_and_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is closed just after the check is an error like one that was closed before."""
    loop = asyncio.new_event_loop()
    provider = loop.run_until_complete(TokenProvider().start())
    source = provider.source(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET)), "a")
    schedule = asyncio.run_coroutine_threadsafe

    def close_first(
        coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop
    ) -> Future[Any]:
        loop.close()
        return schedule(coroutine, loop)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", close_first)

    with pytest.raises(ProviderStateError, match="event loop of the provider has ended"):
        in_a_thread(source).result(5)


async def test_a_closed_loop_is_asked_for_nothing() -> None:
    """What a thread leaves to an event loop that was just closed is dropped without an error."""
    async with world() as here:
        lifecycle, seen = here.provider._lifecycle, list[int]()
        loop = asyncio.new_event_loop()
        loop.close()
        lifecycle._loop, own = loop, lifecycle._loop
        lifecycle.call_soon(seen.append, 1)
        lifecycle._loop = own
        await settle()

        assert seen == []


# uvloop looks names up in threads of its own.
@pytest.mark.parametrize("need", ["a signature"] if UVLOOP else ["a name lookup", "a signature"])
def test_after_the_main_thread_an_error_says_why_there_is_no_token(
    tmp_path: Path, need: str
) -> None:
    """When the main thread has ended, a fetch that needs a thread of Python's says so."""
    script = """
    import threading
    from cryptography.hazmat.primitives.asymmetric import rsa
    from okta_tokens import PrivateKeyJWT

    def fetch():
        loop = asyncio.new_event_loop()
        threading.main_thread().join()
        loop.run_until_complete(main())
        loop.close()

    async def main():
        key = rsa.generate_private_key(65537, 2048)
        secret = ClientSecretBasic("a-secret-that-is-long-enough")
        authentication = PrivateKeyJWT(key) if sys.argv[1] == "a signature" else secret
        client = OktaClient("name.example.invalid", "0oa1b2c3", authentication)
        async with TokenProvider() as provider:
            try:
                await provider.get_token(client, "orders:read")
            except Exception as error:
                print(type(error).__name__, error)

    threading.Thread(target=fetch).start()
    """
    done = run_script(tmp_path / "exiting.py", script, need)

    what = {
        "a name lookup": "TransportError the request cannot be sent",
        "a signature": "CredentialError the credential cannot be used",
    }
    assert done.stderr == ""
    assert done.stdout.startswith(
        f"{what[need]}: the main thread has ended, and since then Python starts no thread for name "
        "lookups, files and signatures; let the main thread wait for the threads that need tokens"
    )


# Before the start and in a child process


@pytest.mark.parametrize("name", ["peek", "get_token_from_thread"])
def test_a_thread_needs_a_running_provider(name: str) -> None:
    """Before the start and after the end, both calls raise an error that says what to do."""
    provider = TokenProvider()
    source = provider.source(OktaClient("acme.okta.com", "0oa1", ClientSecretBasic(SECRET)), "a")
    call = getattr(source, name)
    with pytest.raises(ProviderStateError, match="the provider is not started"):
        call()
    asyncio.run(provider.aclose())
    with pytest.raises(ProviderStateError, match="the provider is closed"):
        call()


def test_a_child_process_peeks_at_no_token_of_its_parent(tmp_path: Path) -> None:
    """After a fork, `peek` in the child raises an error, and the parent's works on."""
    script = """
    async def main():
        async with Sandbox() as sandbox, TokenProvider() as provider:
            source = provider.source(client_of(sandbox), "customScope")
            token = await source.get_token()
            child = os.fork()
            if not child:
                try:
                    source.peek()
                except ProviderStateError as error:
                    os.write(1, str(error).encode())
                os._exit(0)
            os.waitpid(child, 0)
            assert source.peek() is token

    asyncio.run(main())
    """
    done = run_script(tmp_path / "forking.py", script)

    assert (done.returncode, done.stdout) == (
        0,
        "the provider was started in another process; make one in each process, after the fork",
    ), done.stderr
