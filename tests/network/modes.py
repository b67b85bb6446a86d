"""What may befall an exchange on its way."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from tests.network.proxy import Mode, Wire, honest

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_PAUSE = 0.002


def chunked(body: bytes) -> bytes:
    """Return a body in two chunks, with all that a chunk may have, and a trailer."""
    half = len(body) // 2
    chunks = (body[:half], body[half:])
    return (
        b"".join(b"%x;name=value\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        + b"0\r\nX-Trailer: yes\r\n\r\n"
    )


def once(mode: Mode) -> Mode:
    """Let something befall one exchange, and none after it."""

    async def first(wire: Wire) -> None:
        wire.proxy.mode = honest
        await mode(wire)

    return first


# What is no trouble


async def in_single_bytes(wire: Wire) -> None:
    """Send each byte in a segment of its own."""
    head, body = await wire.answer()
    await wire.trickle(head + body)


async def slow_but_complete(wire: Wire) -> None:
    """Wait before the answer, and within it wherever something may be half read."""
    head, body = await wire.answer()
    for piece in (b"", head[:9], head[9:-2], head[-2:], body[:40], body[40:]):
        await asyncio.sleep(_PAUSE)
        await wire.send(piece)


async def in_chunks(wire: Wire) -> None:
    """Send the body chunked."""
    _, body = await wire.answer()
    await wire.send(_OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body))


async def compressed(wire: Wire) -> None:
    """Compress what was not to be compressed."""
    _, body = await wire.answer()
    body = gzip.compress(body)
    await wire.send(
        _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


async def as_of_old(wire: Wire) -> None:
    """Speak HTTP/1.0: the body ends where the connection does."""
    _, body = await wire.answer()
    await wire.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
    wire.close()


async def after_hints(wire: Wire) -> None:
    """Send two interim answers before the real one."""
    head, body = await wire.answer()
    await wire.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    await wire.send(head + body)


async def and_hang_up(wire: Wire) -> None:
    """Close the connection after the answer, without having said so."""
    head, body = await wire.answer()
    await wire.send(head + body)
    wire.close()


async def twice(wire: Wire) -> None:
    """Send each answer twice."""
    head, body = await wire.answer()
    await wire.send((head + body) * 2)


# Silence


async def silence(wire: Wire) -> None:
    """Say nothing; at once, that is not even to read the request."""
    await wire.hold()


def silence_after(share: float) -> Mode:
    """Say nothing more after a share of the answer."""

    async def mode(wire: Wire) -> None:
        head, body = await wire.answer()
        answer = head + body
        await wire.send(answer[: int(len(answer) * share)])
        await wire.hold()

    return mode


async def endless_hints(wire: Wire) -> None:
    """Answer, again and again, that the answer will come."""
    await wire.answer()
    wire.proxy.stalled += 1
    await wire.flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n", _PAUSE)


async def slow_headers(wire: Wire) -> None:
    """Send headers, byte by byte, without an end."""
    await wire.answer()
    wire.proxy.stalled += 1
    await wire.flood(_OK + b"X-Loris: ", b"o", _PAUSE)


# Breaks


async def drop(wire: Wire) -> None:
    """Close the connection; at once, that is before the request."""
    if not wire.proxy.at_once:
        await wire.request()
    wire.close()


async def reset(wire: Wire) -> None:
    """Reset the connection; at once, that is before the request."""
    if not wire.proxy.at_once:
        await wire.request()
    wire.reset()


def cut(piece: str, *, by_reset: bool = False, chunk: bool = False) -> Mode:
    """Break the connection within the head or the body of the answer."""

    async def mode(wire: Wire) -> None:
        head, body = await wire.answer()
        if chunk:
            head, body = _OK + b"Transfer-Encoding: chunked\r\n\r\n", chunked(body)
        await wire.send(head[:60] if piece == "head" else head + body[: len(body) // 2])
        if by_reset:
            await asyncio.sleep(_PAUSE)  # a reset overtakes what is on its way
            wire.reset()
        else:
            wire.close()

    return mode


# TLS


async def in_plain(wire: Wire) -> None:
    """Answer in plain HTTP to whatever comes, be it the beginning of TLS."""
    await wire.listen()
    await wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await wire.hold()


async def spoilt(wire: Wire) -> None:
    """Tamper with what is encrypted, within the answer."""
    head, body = await wire.answer()
    await wire.send(head + body[:9])
    await wire.tamper()
    await wire.hold()


# Nonsense


def saying(head: bytes, body: bytes | None = None) -> Mode:
    """Answer with a head of one's own, then with a body, the true one if None, and close."""

    async def mode(wire: Wire) -> None:
        _, true = await wire.answer()
        await wire.send(head + (true if body is None else body))
        wire.close()

    return mode


def with_header(*lines: bytes) -> Mode:
    """Answer 200 with the true body and some headers."""
    return saying(_OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def redirecting(status: int, location: str) -> Mode:
    """Send the client elsewhere, and keep the connection."""

    async def mode(wire: Wire) -> None:
        await wire.request()
        lines = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        await wire.send(lines.encode())

    return mode


async def endless_headers(wire: Wire) -> None:
    """Send one header after the other."""
    await wire.answer()
    await wire.flood(_OK, b"X-Header: again\r\n" * 1000)


async def endless_line(wire: Wire) -> None:
    """Send a header that has no end."""
    await wire.answer()
    await wire.flood(_OK + b"X-Header: ", b"again and " * 1000)


async def endless_body(wire: Wire) -> None:
    """Send chunk after chunk of blanks."""
    await wire.answer()
    chunk = b"1000\r\n%b\r\n" % (b" " * 0x1000)
    await wire.flood(_OK + b"Transfer-Encoding: chunked\r\n\r\n", chunk)


async def bomb(wire: Wire) -> None:
    """Send blanks without an end, a thousand times smaller than they are."""
    await wire.answer()
    press = zlib.compressobj(wbits=31)
    head = press.compress(b" ") + press.flush(zlib.Z_FULL_FLUSH)
    # What follows a full flush depends on nothing before it, and may follow itself.
    blanks = press.compress(b" " * 0x100_000) + press.flush(zlib.Z_FULL_FLUSH)
    await wire.flood(_OK + b"Content-Encoding: gzip\r\n\r\n" + head, blanks)
