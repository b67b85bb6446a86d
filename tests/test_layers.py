"""How many functions of the package a fetch passes on its way."""

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.connector import Connection

import okta_tokens
from tests.support import world

PACKAGE = str(Path(okta_tokens.__file__).parent)


def own_functions() -> list[str]:
    """Return the functions of the package that are being called, from the inner to the outer."""
    found = []
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            found.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return found


async def test_a_cold_fetch_passes_at_most_twelve_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From `get_token` to the socket there are at most twelve functions of the package."""
    to_flight: list[str] = []
    to_socket: list[str] = []
    send = aiohttp.ClientRequest.send

    async def recording(request: aiohttp.ClientRequest, connection: Connection) -> Any:
        to_socket[:] = own_functions()
        return await send(request, connection)

    def factory(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        to_flight[:] = to_flight or own_functions()
        return asyncio.Task(work, loop=loop, **options)

    monkeypatch.setattr(aiohttp.ClientRequest, "send", recording)
    async with world() as here:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        try:
            await here.provider.get_token(here.client, "a b")
        finally:
            loop.set_task_factory(None)

    assert to_flight[-1] == "TokenProvider.get_token"
    assert to_socket[-1] == "SingleFlight._run"
    assert len(to_flight) + len(to_socket) <= 12, (to_flight, to_socket)
