"""How many functions of the package a fetch passes on its way."""

import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.connector import Connection

import okta_tokens
from okta_tokens._runtime.single_flight import SingleFlight
from tests.support import world

PACKAGE = str(Path(okta_tokens.__file__).parent)


def own_functions() -> list[str]:
    """Return the functions of the package that are being called, from the inner to the outer."""
    frames = (frame for frame, _ in traceback.walk_stack(None))
    return [
        frame.f_code.co_qualname for frame in frames if frame.f_code.co_filename.startswith(PACKAGE)
    ]


async def test_a_cold_fetch_passes_at_most_twelve_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From `get_token` to the socket there are at most twelve functions of the package."""
    to_flight: list[str] = []
    to_socket: list[str] = []
    run, send = SingleFlight._run, aiohttp.ClientRequest.send

    def starting(flights: SingleFlight[Any, Any], flight: Any) -> Coroutine[Any, Any, None]:  # noqa: ANN401 - passed on
        to_flight[:] = own_functions()
        return run(flights, flight)

    async def sending(
        request: aiohttp.ClientRequest, connection: Connection
    ) -> aiohttp.ClientResponse:
        to_socket[:] = own_functions()
        return await send(request, connection)

    monkeypatch.setattr(SingleFlight, "_run", starting)
    monkeypatch.setattr(aiohttp.ClientRequest, "send", sending)
    async with world() as here:
        await here.provider.get_token(here.client, "a b")

    assert (to_flight[0], to_flight[-1]) == ("SingleFlight.start", "TokenProvider.get_token")
    assert (to_socket[0], to_socket[-1]) == ("Exchange.send", "SingleFlight._run")
    assert len(to_flight) + len(to_socket) <= 12, (to_flight, to_socket)
