"""Other event loops, other threads, before the start and after the end: who is told what."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import ProviderStateError
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox
from tests.support import UVLOOP, at_once, run_script, world

Stage = tuple[TokenProvider, TokenSource, AccessToken]


async def test_the_tests_run_on_the_event_loop_that_was_asked_for() -> None:
    """What is said to pass on uvloop ran on uvloop."""
    assert (type(asyncio.get_running_loop()).__module__ == "uvloop") == UVLOOP


# At every stage of a provider's life


async def use(provider: TokenProvider) -> AccessToken:
    """Return a token that a provider has fetched from a sandbox that is gone afterwards."""
    async with Sandbox() as sandbox:
        secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
        client = OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, secret)
        await provider.start()
        return await provider.get_token(client, "customScope")


def unstarted() -> TokenProvider:
    """Make one."""
    return TokenProvider()


def closed_unstarted() -> TokenProvider:
    """Make and close one."""
    provider = TokenProvider()
    asyncio.run(provider.aclose())
    return provider


def closed() -> TokenProvider:
    """Use and close one."""

    async def main() -> TokenProvider:
        provider = TokenProvider()
        await use(provider)
        await provider.aclose()
        return provider

    return asyncio.run(main())


def ended_with_its_loop() -> TokenProvider:
    """Use one, and leave the closing to `asyncio.run`."""
    provider = TokenProvider()
    asyncio.run(use(provider))
    return provider


ACME = OktaClient("acme.okta.com", "0oa1b2c3", ClientSecretBasic("a secret for nobody"))


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        (unstarted, "enter it with `async with`, or await its start"),
        (closed_unstarted, "make another one"),
        (closed, "make another one"),
        (ended_with_its_loop, "make another one"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_each_use_out_of_its_time_is_told_so(
    stage: Callable[[], TokenProvider], reason: str
) -> None:
    """Before its start and after its end a provider says what to do instead, whatever is asked."""
    provider, token = stage(), asyncio.run(a_token())
    source = provider.source(ACME, "a")
    uses: list[Callable[[], Awaitable[object]]] = [
        source.get_token,
        source.access_token,
        partial(provider.get_token, ACME, "a"),
        partial(provider.get_token, ACME, ["a"]),
        partial(provider.warm, source),
        partial(provider.warm),
    ]
    if stage is not unstarted:
        uses += [provider.start, provider.__aenter__]

    async def attempt(call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ProviderStateError, match=reason):
            await asyncio.wait_for(call(), 5)

    for call in uses:
        asyncio.run(attempt(call))
    assert not provider.invalidate(token)
    assert not source.invalidate(token)
    assert not source.invalidate(token.value)
    assert [status.remaining for status in provider.inspect()] in ([None], [None, None])
    assert provider.stats().in_flight == 0
    asyncio.run(provider.aclose())
    asyncio.run(provider.aclose())


async def a_token() -> AccessToken:
    """Return a token that another provider has."""
    async with world() as here:
        return await here.source().get_token()


# Two event loops


async def test_a_second_event_loop_is_told_so() -> None:
    """A call from another loop that finds no token, or an open window, raises a clear error."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        here.clock.wall += 2  # beyond the window in which a hit looks at one clock alone

        def elsewhere() -> None:
            asyncio.run(asyncio.wait_for(source.get_token(), 5))

        with pytest.raises(ProviderStateError) as caught:
            await asyncio.to_thread(elsewhere)
        assert str(caught.value) == (
            "the provider belongs to another event loop; make one in each loop, or call it from "
            "here with asyncio.run_coroutine_threadsafe"
        )
        with pytest.raises(ProviderStateError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, here.provider.warm(source))
        with pytest.raises(ProviderStateError, match="already started"):
            await asyncio.to_thread(asyncio.run, here.provider.start())
        with pytest.raises(ProviderStateError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, here.provider.aclose())

        assert at_once(source.get_token()) is token


async def test_a_second_event_loop_evicts_nothing() -> None:
    """A call from another loop is refused before it touches the cache, however full that is."""
    async with world(max_tokens=1) as here:
        token = await here.source("a").get_token()

        def elsewhere() -> None:
            asyncio.run(here.provider.get_token(here.client, "b"))

        with pytest.raises(ProviderStateError, match="another event loop"):
            await asyncio.to_thread(elsewhere)

        assert [status.scopes for status in here.provider.inspect()] == [("a",)]
        assert at_once(here.provider.get_token(here.client, "a")) is token


async def test_a_thread_may_ask_through_the_loop() -> None:
    """What the error advises works: `asyncio.run_coroutine_threadsafe` from another thread."""
    async with world() as here:
        loop, source = asyncio.get_running_loop(), here.source()

        def elsewhere() -> str:
            return asyncio.run_coroutine_threadsafe(source.access_token(), loop).result(5)

        assert await asyncio.to_thread(elsewhere) == (await source.get_token()).value


async def test_two_providers_live_side_by_side() -> None:
    """Each provider has its own cache; one's end is not the other's."""
    async with Sandbox() as sandbox, TokenProvider() as one:
        secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
        client = OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, secret)
        async with TokenProvider() as other:
            mine = await one.get_token(client, "customScope")
            theirs = await other.get_token(client, "customScope")

        assert mine.value != theirs.value
        assert at_once(one.get_token(client, "customScope")) is mine


# An event loop that is closed under its provider


@pytest.mark.parametrize("moment", ["idle", "in a flight"])
def test_a_loop_that_is_closed_first_is_told_of(tmp_path: Path, moment: str) -> None:
    """Whoever closes the loop before the provider is told by each later use, and hangs nowhere."""
    script = """
    async def uses(provider, source, client, token):
        for use in (
            source.get_token,
            source.access_token,
            partial(provider.get_token, client, "customScope"),
            partial(provider.get_token, client, "never asked for"),
            partial(provider.warm, source),
            provider.start,
            provider.aclose,
        ):
            await expect_state_error(use, "close each provider before its event loop")
        assert not provider.invalidate(token) and not source.invalidate(token.value)
        provider.source(client, "one more")
        provider.source(client, "kept", keep_fresh=True)
        assert all(status.remaining is None for status in provider.inspect())
        assert "loop closed" in repr(provider) and provider.stats()

    async def main():
        async with Sandbox() as sandbox:
            client = client_of(sandbox)
            provider = await TokenProvider(max_tokens=1).start()
            source = provider.source(client, "customScope")
            token = await source.get_token()
            if sys.argv[1] == "in a flight":
                source.invalidate(token)
                sandbox.latency = 30
                for _ in range(3):
                    callers.append(asyncio.create_task(source.get_token()))
                await until(lambda: sandbox.token_requests == 2)
            return provider, source, client, token

    # Whatever comes first has to notice. Two of these have an event to tell.
    firsts = (
        lambda provider, source, client, token: source.invalidate(token),
        lambda provider, source, client, token: provider.invalidate(token),
        lambda provider, source, client, token: provider.source(client, "one more"),
        lambda *stage: asyncio.run(uses(*stage)),
    )
    for first in firsts:
        callers = []
        loop = asyncio.new_event_loop()
        stage = loop.run_until_complete(main())
        loop.close()
        first(*stage)
        asyncio.run(uses(*stage))
    os.write(1, b"the end")
    """
    done = run_script(tmp_path / "closing.py", script, moment)

    assert (done.returncode, done.stdout) == (0, "the end"), done.stderr
    assert "Event loop is closed" not in done.stderr


# Providers that are forgotten


async def test_a_forgotten_provider_lives_as_long_as_its_loop() -> None:
    """One that nobody holds any more goes on till its loop ends, and is freed with it."""

    async def forget() -> weakref.ref[TokenProvider]:
        provider = TokenProvider()
        await use(provider)
        known = weakref.ref(provider)
        del provider
        gc.collect()
        assert known() is not None
        return known

    known = await asyncio.to_thread(asyncio.run, forget())
    gc.collect()

    assert known() is None


@pytest.mark.parametrize("stage", [unstarted, closed, closed_unstarted])
def test_a_provider_that_does_not_run_is_freed(stage: Callable[[], TokenProvider]) -> None:
    """No register of ours keeps a provider that nobody holds any more."""
    known = weakref.ref(stage())
    gc.collect()

    assert known() is None
