"""Ports of a test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Return a port of loopback that nobody else is given, and nobody listens on.

    It stays bound, which keeps the system from giving it to another process; a server that sets
    SO_REUSEADDR may listen on it, since whoever holds it does not listen.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
