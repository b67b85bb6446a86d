"""Calls from other event loops and threads, before the start and after the end."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from okta_tokens import AccessToken, ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.errors import ProviderStateError
from okta_tokens.sandbox import Sandbox
from tests.support import UVLOOP, at_once, default_client, run_script, world


async def test_the_tests_run_on_the_chosen_event_loop() -> None:
    """The tests run on uvloop if, and only if, the environment says so."""
    kinds = {kind.__module__ for kind in type(asyncio.get_running_loop()).__mro__}

    assert ("uvloop" in kinds) == UVLOOP


# Before the start and after the end


async def use(provider: TokenProvider) -> AccessToken:
    """Return a token that a provider has fetched from a sandbox that is closed by now."""
    async with Sandbox() as sandbox:
        await provider.start()
        return await provider.get_token(default_client(sandbox), "customScope")


def new() -> TokenProvider:
    """Return a new provider."""
    return TokenProvider()


def closed_new() -> TokenProvider:
    """Return a provider that was closed before its start."""
    provider = TokenProvider()
    asyncio.run(provider.aclose())
    return provider


def closed() -> TokenProvider:
    """Return a provider that was used and closed."""

    async def main() -> TokenProvider:
        provider = TokenProvider()
        await use(provider)
        await provider.aclose()
        return provider

    return asyncio.run(main())


def ended_with_its_loop() -> TokenProvider:
    """Return a provider that was used and that `asyncio.run` closed."""
    provider = TokenProvider()
    asyncio.run(use(provider))
    return provider


ACME = OktaClient("acme.okta.com", "0oa1b2c3", ClientSecretBasic("unused-secret"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (new, "enter it with `async with`, or await its start"),
        (closed_new, "make another one"),
        (closed, "make another one"),
        (ended_with_its_loop, "keep its event loop|on an event loop that lasts"),
    ],
    ids=["new", "closed-new", "closed", "ended-with-its-loop"],
)
def test_each_use_before_the_start_or_after_the_end_is_an_error(
    make: Callable[[], TokenProvider], reason: str
) -> None:
    """Before its start and after its end each call of a provider says what to do."""
    provider, token = make(), asyncio.run(a_token())
    source = provider.source(ACME, "a")
    uses: list[Callable[[], Awaitable[object]]] = [
        source.get_token,
        source.access_token,
        partial(provider.get_token, ACME, "a"),
        partial(provider.get_token, ACME, ["a"]),
        partial(provider.warm, source),
        partial(provider.warm),
    ]
    if make is not new:
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
    """Return a token of another provider."""
    async with world() as here:
        return await here.source().get_token()


# Two event loops


async def test_a_call_from_another_event_loop_is_an_error() -> None:
    """A call from another event loop that is not a hit within a window raises a clear error."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        here.clock.wall += 2  # after the end of the window

        def call() -> None:
            asyncio.run(asyncio.wait_for(source.get_token(), 5))

        with pytest.raises(ProviderStateError) as caught:
            await asyncio.to_thread(call)
        assert str(caught.value) == (
            "the provider belongs to another event loop; call "
            "`await asyncio.to_thread(source.get_token_from_thread)` here, or make a provider in "
            "each loop"
        )
        with pytest.raises(ProviderStateError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, here.provider.warm(source))
        with pytest.raises(ProviderStateError, match="already started"):
            await asyncio.to_thread(asyncio.run, here.provider.start())
        with pytest.raises(ProviderStateError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, here.provider.aclose())

        assert at_once(source.get_token()) is token


async def test_a_call_from_another_event_loop_evicts_nothing() -> None:
    """A call from another event loop is refused before it changes the cache."""
    async with world(max_tokens=1) as here:
        token = await here.source("a").get_token()

        def call() -> None:
            asyncio.run(here.provider.get_token(here.client, "b"))

        with pytest.raises(ProviderStateError, match="another event loop"):
            await asyncio.to_thread(call)

        assert [status.scopes for status in here.provider.inspect()] == [("a",)]
        assert at_once(here.provider.get_token(here.client, "a")) is token


async def test_another_event_loop_gets_a_token_as_the_error_advises() -> None:
    """A coroutine of another event loop gets a token through a thread, as the error advises."""
    async with world() as here:
        source = here.source()

        async def call() -> AccessToken:
            return await asyncio.to_thread(source.get_token_from_thread)

        assert await asyncio.to_thread(asyncio.run, call()) is at_once(source.get_token())


async def test_two_providers_are_independent() -> None:
    """Each provider has its own cache, and closing one does not affect the other."""
    async with Sandbox() as sandbox, TokenProvider() as one:
        client = default_client(sandbox)
        async with TokenProvider() as other:
            mine = await one.get_token(client, "customScope")
            theirs = await other.get_token(client, "customScope")

        assert mine.value != theirs.value
        assert at_once(one.get_token(client, "customScope")) is mine


# An event loop that is closed before its provider


@pytest.mark.parametrize("moment", ["idle", "in a flight"])
def test_a_loop_that_is_closed_before_its_provider_is_an_error(tmp_path: Path, moment: str) -> None:
    """If the loop is closed before the provider, each later call raises an error and none hangs."""
    script = """
    async def uses(provider, source, client, token):
        for use in (
            source.get_token,
            source.access_token,
            partial(provider.get_token, client, "customScope"),
            partial(provider.get_token, client, "never requested"),
            partial(provider.warm, source),
            provider.start,
            provider.aclose,
        ):
            await expect_state_error(use, "close each provider before its event loop")
        assert not provider.invalidate(token) and not source.invalidate(token.value)
        provider.source(client, "another")
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

    # Each of these may be the first call after the loop was closed. Two of them emit an event.
    firsts = (
        lambda provider, source, client, token: source.invalidate(token),
        lambda provider, source, client, token: provider.invalidate(token),
        lambda provider, source, client, token: provider.source(client, "another"),
        lambda *arguments: asyncio.run(uses(*arguments)),
    )
    for first in firsts:
        callers = []
        loop = asyncio.new_event_loop()
        arguments = loop.run_until_complete(main())
        loop.close()
        first(*arguments)
        asyncio.run(uses(*arguments))
    os.write(1, b"the end")
    """
    done = run_script(tmp_path / "closing.py", script, moment)

    assert (done.returncode, done.stdout) == (0, "the end"), done.stderr
    assert "Event loop is closed" not in done.stderr


# Providers without references


async def test_an_unreferenced_provider_lives_as_long_as_its_loop() -> None:
    """A provider without references runs until its loop ends, and is freed then."""

    async def forget() -> weakref.ref[TokenProvider]:
        provider = TokenProvider()
        await use(provider)
        reference = weakref.ref(provider)
        del provider
        gc.collect()
        assert reference() is not None
        return reference

    reference = await asyncio.to_thread(asyncio.run, forget())
    gc.collect()

    assert reference() is None


@pytest.mark.parametrize("make", [new, closed, closed_new])
def test_a_provider_that_does_not_run_is_freed(make: Callable[[], TokenProvider]) -> None:
    """A provider that does not run is freed with its last reference."""
    reference = weakref.ref(make())
    gc.collect()

    assert reference() is None
