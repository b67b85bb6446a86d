"""How an answer gets to the client: whole, or the way a fault spoils it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from aiohttp import web

from okta_tokens.sandbox._answers import Answer
from okta_tokens.sandbox._faults import Fault

_CHUNK: Final = 16 * 1024
_HUGE_HEAD: Final = b'{"padding":"'
_HUGE_TAIL: Final = b'"}'


async def deliver(
    request: web.BaseRequest, answer: Answer, headers: Mapping[str, str], fault: Fault | None
) -> web.StreamResponse:
    """Send `answer`, or let the caller send it where nothing spoils it.

    Args:
        request: What is answered.
        answer: The answer.
        headers: The headers of every answer; the answer's own win.
        fault: What spoils it on its way, or ``None``.

    Returns:
        The response, sent as far as the fault demands.

    Cancellation leaves the answer half sent; the server closes the connection then.
    """
    merged = {"Content-Type": answer.content_type, **headers, **answer.headers}
    if fault is None or (not fault.seconds_per_byte and fault.cut is None and fault.size is None):
        return web.Response(status=answer.status, body=answer.body, headers=merged)
    response = web.StreamResponse(status=answer.status, headers=merged)
    if fault.cut == 0:
        _drop(request)
        return response
    if fault.size is None:
        response.content_length = len(answer.body)
    # A client may leave before the end, and then there is nobody to tell.
    with suppress(ConnectionError):
        await response.prepare(request)
        for piece in _pieces(answer.body, fault):
            await response.write(piece)
            if fault.seconds_per_byte:
                await asyncio.sleep(fault.seconds_per_byte)
    if fault.cut is not None:
        _drop(request)
    return response


def _pieces(body: bytes, fault: Fault) -> Iterator[bytes]:
    if fault.size is not None:
        yield _HUGE_HEAD
        left = max(fault.size - len(_HUGE_HEAD) - len(_HUGE_TAIL), 0)
        while left:
            yield b"x" * min(left, _CHUNK)
            left -= min(left, _CHUNK)
        yield _HUGE_TAIL
    elif fault.cut is not None:
        yield body[: int(len(body) * fault.cut)]
    else:
        yield from (body[at : at + 1] for at in range(len(body)))


def _drop(request: web.BaseRequest) -> None:
    """Close the connection, once what was written is sent."""
    transport = request.transport
    if transport is not None:
        transport.close()
