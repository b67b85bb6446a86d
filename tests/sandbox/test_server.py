"""A sandbox starts, stops, starts again, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial

import aiohttp
import pytest
import trustme

import okta_tokens.sandbox
from okta_tokens.sandbox import Fault, Sandbox
from tests.sandbox.support import TOKEN, Harness, basic, form, harness, until


def test_the_public_names_are_these() -> None:
    """The module exports what it says it does, and nothing else."""
    assert sorted(okta_tokens.sandbox.__all__) == [
        "DEFAULT_CLIENT",
        "Fault",
        "ReceivedRequest",
        "Sandbox",
        "SandboxClient",
    ]


async def test_a_sandbox_is_started_once(here: Harness) -> None:
    """Starting a running sandbox is an error, closing a closed one is fine."""
    with pytest.raises(RuntimeError, match="running already"):
        await here.sandbox.start()

    await here.sandbox.aclose()
    await here.sandbox.aclose()


async def test_it_starts_again_on_its_port_with_its_tokens(here: Harness) -> None:
    """A restarted sandbox is reached at the same origin and still knows what it issued."""
    token, origin = await here.token(), here.sandbox.origin
    await here.sandbox.aclose()
    with pytest.raises(aiohttp.ClientConnectionError):
        await here.ask()

    await here.sandbox.start()
    assert here.sandbox.origin == origin
    assert (await here.call(token)).status == 200
    assert origin in repr(here.sandbox)


async def test_a_port_in_use_is_an_error_that_leaves_nothing_behind(here: Harness) -> None:
    """A sandbox that cannot listen raises, and can be started once the port is free."""
    other = Sandbox(port=here.sandbox.port)
    with pytest.raises(OSError, match="address already in use"):
        await other.start()

    await here.sandbox.aclose()
    async with other:
        assert other.origin == here.sandbox.origin


@pytest.mark.parametrize("fault", [None, Fault.drip(60)])
async def test_closing_does_not_wait_for_slow_answers(here: Harness, fault: Fault | None) -> None:
    """Requests that are slow on purpose are cut off when the sandbox closes."""
    here.sandbox.latency = 60 if fault is None else 0
    here.sandbox.fault = fault
    asking = asyncio.create_task(here.ask())
    await until(lambda: here.sandbox.active == 1)

    async with asyncio.timeout(2):
        await here.sandbox.aclose()
    with pytest.raises(aiohttp.ClientError):
        await asking
    assert here.sandbox.active == 0


async def test_cancelling_the_close_still_closes(here: Harness) -> None:
    """A close that is cancelled is finished first."""
    closing = asyncio.create_task(here.sandbox.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])

    with pytest.raises(aiohttp.ClientConnectorError):
        await here.ask()


async def test_a_client_that_leaves_still_gets_its_request_served(here: Harness) -> None:
    """A server does not notice that a client gave up: the token is issued all the same."""
    here.sandbox.latency = 0.05
    asking = asyncio.create_task(here.ask())
    await until(lambda: here.sandbox.active == 1)
    asking.cancel()
    await asyncio.wait([asking])

    await until(lambda: here.sandbox.active == 0)
    assert here.sandbox.tokens_issued == 1


async def test_it_serves_https_with_a_certificate() -> None:
    """With a TLS context the origin is https, and a client that trusts its CA gets a token."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async with harness(partial(Sandbox, ssl_context=context)) as here:
        reply = await here.send(TOKEN, form(), headers=basic(), ssl=trusting)
        assert here.sandbox.origin.startswith("https://127.0.0.1:")
        assert reply.status == 200

        here.sandbox.fault = Fault.drop()
        with pytest.raises(aiohttp.ClientError):
            await here.send(TOKEN, form(), headers=basic(), ssl=trusting)


async def test_a_thousand_calls_at_once_are_all_served(here: Harness) -> None:
    """Many callers at once each get their answer, on one event loop with the server."""
    token = await here.token()
    replies = await asyncio.gather(*(here.call(token) for _ in range(1000)))

    assert {reply.status for reply in replies} == {200}
    assert here.sandbox.resource_calls == 1000
