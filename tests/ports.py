"""Ports that are reserved for a test."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port of the loopback interface on which no server listens.

    The port stays bound, so the system does not give it to another process. The test itself can
    listen on it with a server that sets SO_REUSEADDR, because the reserving socket does not listen.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
