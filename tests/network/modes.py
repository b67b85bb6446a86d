"""Modes of the proxy: each handles one exchange in its own way, valid or faulty."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from tests.network.proxy import Connection, Mode, pass_through

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_PAUSE = 0.002


def chunked(body: bytes) -> bytes:
    """Return a body in two chunks, with chunk extensions and a trailer."""
    half = len(body) // 2
    chunks = (body[:half], body[half:])
    return (
        b"".join(b"%x;name=value\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        + b"0\r\nX-Trailer: yes\r\n\r\n"
    )


def only_once(mode: Mode) -> Mode:
    """Return a mode that handles the first exchange by another mode, and forwards the others."""

    async def first(connection: Connection) -> None:
        connection.proxy.mode = pass_through
        await mode(connection)

    return first


# Unusual, but complete


async def byte_by_byte(connection: Connection) -> None:
    """Send each byte in its own segment."""
    head, body = await connection.fetch_response()
    await connection.trickle(head + body)


async def in_slow_pieces(connection: Connection) -> None:
    """Pause before the response, and inside it at the borders of its parts."""
    head, body = await connection.fetch_response()
    for piece in (b"", head[:9], head[9:-2], head[-2:], body[:40], body[40:]):
        await asyncio.sleep(_PAUSE)
        await connection.send(piece)


async def in_chunks(connection: Connection) -> None:
    """Send the body chunked."""
    _, body = await connection.fetch_response()
    await connection.send(_OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body))


async def gzip_encoded(connection: Connection) -> None:
    """Compress the body, although the client does not accept an encoding."""
    _, body = await connection.fetch_response()
    body = gzip.compress(body)
    await connection.send(
        _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


async def http_1_0(connection: Connection) -> None:
    """Respond by HTTP/1.0: the end of the connection ends the body."""
    _, body = await connection.fetch_response()
    await connection.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
    connection.close()


async def after_interim_responses(connection: Connection) -> None:
    """Send two interim responses before the final one."""
    head, body = await connection.fetch_response()
    await connection.send(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    )
    await connection.send(head + body)


async def then_close(connection: Connection) -> None:
    """Close the connection after the response, without `Connection: close`."""
    head, body = await connection.fetch_response()
    await connection.send(head + body)
    connection.close()


async def duplicated(connection: Connection) -> None:
    """Send each response twice."""
    head, body = await connection.fetch_response()
    await connection.send((head + body) * 2)


# Silence


async def silence(connection: Connection) -> None:
    """Send nothing, neither a response nor a handshake."""
    await connection.stall()


def silence_after(share: float) -> Mode:
    """Return a mode that stops after a share of the response, and keeps the connection."""

    async def mode(connection: Connection) -> None:
        head, body = await connection.fetch_response()
        response = head + body
        await connection.send(response[: int(len(response) * share)])
        await connection.stall()

    return mode


async def endless_interim_responses(connection: Connection) -> None:
    """Send interim responses without an end."""
    await connection.fetch_response()
    connection.proxy.stalled += 1
    await connection.flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n", _PAUSE)


async def slow_headers(connection: Connection) -> None:
    """Send a header byte by byte without an end."""
    await connection.fetch_response()
    connection.proxy.stalled += 1
    await connection.flood(_OK + b"X-Loris: ", b"o", _PAUSE)


# Breaks


async def drop(connection: Connection) -> None:
    """Close the connection after the request; on accept, before the request."""
    if not connection.proxy.on_accept:
        await connection.request()
    connection.close()


async def reset(connection: Connection) -> None:
    """Reset the connection after the request; on accept, before the request."""
    if not connection.proxy.on_accept:
        await connection.request()
    connection.reset()


def cut(piece: str, *, by_reset: bool = False, chunk: bool = False) -> Mode:
    """Return a mode that ends the connection inside the head or the body of the response."""

    async def mode(connection: Connection) -> None:
        head, body = await connection.fetch_response()
        if chunk:
            head, body = _OK + b"Transfer-Encoding: chunked\r\n\r\n", chunked(body)
        await connection.send(head[:60] if piece == "head" else head + body[: len(body) // 2])
        if by_reset:
            await asyncio.sleep(_PAUSE)  # a reset would discard bytes that were not yet received
            connection.reset()
        else:
            connection.close()

    return mode


# TLS


async def plain_http(connection: Connection) -> None:
    """Respond by plain HTTP to any bytes, also to a TLS handshake."""
    await connection.wait_for_data()
    await connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await connection.stall()


async def forged_record(connection: Connection) -> None:
    """Insert a forged TLS record into the response."""
    head, body = await connection.fetch_response()
    await connection.send(head + body[:9])
    await connection.send_forged_record()
    await connection.stall()


# Invalid responses


def respond(head: bytes, body: bytes | None = None) -> Mode:
    """Return a mode that sends a head and a body (`None`: the sandbox's), and closes."""

    async def mode(connection: Connection) -> None:
        _, original = await connection.fetch_response()
        await connection.send(head + (original if body is None else body))
        connection.close()

    return mode


def respond_with_headers(*lines: bytes) -> Mode:
    """Return a mode that responds with 200, some headers and the sandbox's body."""
    return respond(_OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def redirect(status: int, location: str) -> Mode:
    """Return a mode that responds with a redirect, and keeps the connection."""

    async def mode(connection: Connection) -> None:
        await connection.request()
        lines = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        await connection.send(lines.encode())

    return mode


async def endless_headers(connection: Connection) -> None:
    """Send headers without an end."""
    await connection.fetch_response()
    await connection.flood(_OK, b"X-Header: again\r\n" * 1000)


async def endless_line(connection: Connection) -> None:
    """Send a single header without an end."""
    await connection.fetch_response()
    await connection.flood(_OK + b"X-Header: ", b"again and " * 1000)


async def endless_body(connection: Connection) -> None:
    """Send chunks of blanks without an end."""
    await connection.fetch_response()
    chunk = b"1000\r\n%b\r\n" % (b" " * 0x1000)
    await connection.flood(_OK + b"Transfer-Encoding: chunked\r\n\r\n", chunk)


async def gzip_bomb(connection: Connection) -> None:
    """Send blanks without an end, compressed to a thousandth of their size."""
    await connection.fetch_response()
    press = zlib.compressobj(wbits=31)
    head = press.compress(b" ") + press.flush(zlib.Z_FULL_FLUSH)
    # A block after a full flush depends on no earlier block, so that it may be repeated.
    blanks = press.compress(b" " * 0x100_000) + press.flush(zlib.Z_FULL_FLUSH)
    await connection.flood(_OK + b"Content-Encoding: gzip\r\n\r\n" + head, blanks)
