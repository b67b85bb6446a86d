"""Send responses, and inject faults while they are sent: slow, cut off, or endless bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from aiohttp import web

from okta_tokens.sandbox._faults import Fault
from okta_tokens.sandbox._responses import Response

_CHUNK: Final = 16 * 1024
_HUGE_HEAD: Final = b'{"padding":"'
_HUGE_TAIL: Final = b'"}'


async def send_response(
    request: web.BaseRequest, response: Response, headers: Mapping[str, str], fault: Fault | None
) -> web.StreamResponse:
    """Send a response, with the transport fault that `fault` describes.

    Four cases:
    - No fault, or a fault without a transport fault: aiohttp sends the returned response.
    - The cut is at 0: the connection closes, and nothing is sent.
    - The cut is later: the head and a part of the body are sent, then the connection closes.
    - Otherwise: the body is sent byte by byte, or a generated body replaces it.

    Args:
        request: The request to respond to.
        response: The response.
        headers: The headers of every response; those in `response` override them.
        fault: The fault, or ``None``.

    Returns:
        The aiohttp response, already sent unless this is the first case.

    Cancellation leaves the response incomplete; the server then closes the connection.
    """
    merged = {"Content-Type": response.content_type, **headers, **response.headers}
    if fault is None or (not fault.seconds_per_byte and fault.cut is None and fault.size is None):
        return web.Response(status=response.status, body=response.body, headers=merged)
    stream = web.StreamResponse(status=response.status, headers=merged)
    if fault.cut == 0:
        _close_connection(request)
        return stream
    if fault.size is None:
        stream.content_length = len(response.body)
    # The client may disconnect before the end of the body. That is not an error.
    with suppress(ConnectionError):
        await stream.prepare(request)
        for chunk in _chunks(response.body, fault):
            await stream.write(chunk)
            if fault.seconds_per_byte:
                await asyncio.sleep(fault.seconds_per_byte)
    if fault.cut is not None:
        _close_connection(request)
    return stream


def _chunks(body: bytes, fault: Fault) -> Iterator[bytes]:
    if fault.size is not None:
        yield _HUGE_HEAD
        remaining = max(fault.size - len(_HUGE_HEAD) - len(_HUGE_TAIL), 0)
        while remaining:
            yield b"x" * min(remaining, _CHUNK)
            remaining -= min(remaining, _CHUNK)
        yield _HUGE_TAIL
    elif fault.cut is not None:
        yield body[: int(len(body) * fault.cut)]
    else:
        yield from (body[at : at + 1] for at in range(len(body)))


def _close_connection(request: web.BaseRequest) -> None:
    """Close the connection after the data that was written is sent."""
    transport = request.transport
    if transport is not None:
        transport.close()
