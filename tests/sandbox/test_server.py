"""A sandbox starts, stops, and starts again."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial

import aiohttp
import pytest
import trustme

import okta_tokens.sandbox
from okta_tokens.sandbox import Fault, Sandbox
from tests.sandbox.support import TOKEN, Harness, basic, form, run_sandbox, until


def test_the_module_exports_five_names() -> None:
    """The public names of the module are these."""
    assert sorted(okta_tokens.sandbox.__all__) == [
        "DEFAULT_CLIENT",
        "Fault",
        "ReceivedRequest",
        "Sandbox",
        "SandboxClient",
    ]


async def test_a_sandbox_is_started_once(harness: Harness) -> None:
    """Starting a running sandbox is an error; closing a closed one does nothing."""
    with pytest.raises(RuntimeError, match="already running"):
        await harness.sandbox.start()

    await harness.sandbox.aclose()
    await harness.sandbox.aclose()


async def test_a_closed_sandbox_starts_again_on_its_port_with_its_tokens(harness: Harness) -> None:
    """A restarted sandbox has the same origin, and accepts the tokens that it issued."""
    token, origin = await harness.token(), harness.sandbox.origin
    await harness.sandbox.aclose()
    with pytest.raises(aiohttp.ClientConnectionError):
        await harness.request_token()

    await harness.sandbox.start()
    assert harness.sandbox.origin == origin
    assert (await harness.call_resource(token)).status == 200
    assert origin in repr(harness.sandbox)


async def test_a_port_in_use_is_an_error_after_which_start_can_be_repeated(
    harness: Harness,
) -> None:
    """If the port is in use, `start` raises; it succeeds when the port is free."""
    other = Sandbox(port=harness.sandbox.port)
    with pytest.raises(OSError, match="address already in use"):
        await other.start()

    await harness.sandbox.aclose()
    async with other:
        assert other.origin == harness.sandbox.origin


@pytest.mark.parametrize("fault", [None, Fault.drip(60)])
async def test_closing_does_not_wait_for_slow_responses(
    harness: Harness, fault: Fault | None
) -> None:
    """Closing cancels the requests that latency or a fault slows down."""
    harness.sandbox.latency = 60 if fault is None else 0
    harness.sandbox.fault = fault
    request = asyncio.create_task(harness.request_token())
    await until(lambda: harness.sandbox.active == 1)

    async with asyncio.timeout(2):
        await harness.sandbox.aclose()
    with pytest.raises(aiohttp.ClientError):
        await request
    assert harness.sandbox.active == 0


async def test_cancelling_the_close_still_closes(harness: Harness) -> None:
    """If `aclose` is cancelled, the sandbox is closed nevertheless."""
    closing = asyncio.create_task(harness.sandbox.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])

    with pytest.raises(aiohttp.ClientConnectorError):
        await harness.request_token()


async def test_a_request_is_handled_after_the_client_disconnects(harness: Harness) -> None:
    """The server does not notice that a client disconnected, and issues the token."""
    harness.sandbox.latency = 0.05
    request = asyncio.create_task(harness.request_token())
    await until(lambda: harness.sandbox.active == 1)
    request.cancel()
    await asyncio.wait([request])

    await until(lambda: harness.sandbox.active == 0)
    assert harness.sandbox.tokens_issued == 1


async def test_a_sandbox_with_a_tls_context_serves_https() -> None:
    """With a TLS context the origin is https, and a client that trusts the CA gets a token."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async with run_sandbox(partial(Sandbox, ssl_context=context)) as harness:
        response = await harness.send(TOKEN, form(), headers=basic(), ssl=trusting)
        assert harness.sandbox.origin.startswith("https://127.0.0.1:")
        assert response.status == 200

        harness.sandbox.fault = Fault.drop()
        with pytest.raises(aiohttp.ClientError):
            await harness.send(TOKEN, form(), headers=basic(), ssl=trusting)


async def test_a_thousand_concurrent_calls_succeed(harness: Harness) -> None:
    """A thousand concurrent calls each get a response, in the event loop of the server."""
    token = await harness.token()
    responses = await asyncio.gather(*(harness.call_resource(token) for _ in range(1000)))

    assert {response.status for response in responses} == {200}
    assert harness.sandbox.resource_calls == 1000
