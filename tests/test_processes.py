"""Other processes, other event loops, other threads: an error that says what to do instead."""

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
from okta_tokens.errors import ProviderStateError
from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox
from tests.support import at_once, world


async def test_a_second_event_loop_is_told_so() -> None:
    """A call from another loop that finds no token, or an open window, raises a clear error."""
    async with world() as here:
        source = here.source()
        token = await source.get_token()
        here.clock.wall += 2  # beyond the window in which a hit looks at one clock alone

        def elsewhere() -> None:
            asyncio.run(asyncio.wait_for(source.get_token(), 5))

        with pytest.raises(ProviderStateError, match="another event loop"):
            await asyncio.to_thread(elsewhere)
        with pytest.raises(ProviderStateError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, here.provider.aclose())

        assert at_once(source.get_token()) is token


async def test_a_thread_may_ask_through_the_loop() -> None:
    """What the error advises works: `asyncio.run_coroutine_threadsafe` from another thread."""
    async with world() as here:
        loop, source = asyncio.get_running_loop(), here.source()

        def elsewhere() -> str:
            return asyncio.run_coroutine_threadsafe(source.access_token(), loop).result(5)

        assert await asyncio.to_thread(elsewhere) == (await source.get_token()).value


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_so(tmp_path: Path) -> None:
    """A child gets an error instead of its parent's tokens, and leaves the parent's alone."""
    script = """
    import asyncio, os
    from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider
    from okta_tokens.errors import ProviderStateError
    from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox

    async def in_child(source, provider):
        try:
            await source.get_token()
        except ProviderStateError as error:
            assert "after the fork" in str(error), error
        else:
            return 3
        await provider.aclose()
        return 0

    sandbox, provider = Sandbox(), TokenProvider()
    with asyncio.Runner() as runner:
        runner.run(sandbox.start())
        runner.run(provider.start())
        secret = ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
        client = OktaClient(sandbox.origin, DEFAULT_CLIENT.client_id, secret)
        source = provider.source(client, "customScope")
        token = runner.run(source.get_token())
        child = os.fork()
        if child == 0:
            os._exit(asyncio.run(in_child(source, provider)))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        assert runner.run(source.get_token()) is token
        assert runner.run(provider.get_token(client, "orders:read")).value
        assert sandbox.token_requests == 2
        runner.run(provider.aclose())
        runner.run(sandbox.aclose())
    """
    path = tmp_path / "forking.py"
    path.write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )

    assert done.returncode == 0, done.stderr


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
