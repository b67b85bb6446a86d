"""Connections to Redis or Valkey: one client for each event loop of each process."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Redis, RedisCluster, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError  # noqa: A004 - redis-py raises no other one

from okta_tokens._model.urls import is_loopback
from okta_tokens._runtime.unserializable import Unserializable

_MAX_RESPONSE = 128 * 1024
"""Bytes: twice the longest entry that is read."""
_MIN_PART = 64
"""Bytes that a part of a response counts at least, so that a response has no millions of parts."""


class BoundedParser(_AsyncRESP2Parser):
    """A parser of responses that reads no more than 128 KiB of one.

    The parsers of redis-py read as many bytes as the server announces.
    """

    _left = 0

    async def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as in redis-py
        """Read one response.

        Raises:
            ConnectionError: If the response is too long.
        """
        self._left = _MAX_RESPONSE
        return await super().read_response(*args, **options)

    async def _read(self, length: int) -> bytes:
        self._spend(length)
        return await super()._read(length)

    async def _readline(self) -> bytes:
        line = await super()._readline()
        self._spend(len(line))
        return line

    def _spend(self, length: int) -> None:
        self._left -= max(length, _MIN_PART)
        if self._left < 0:
            message = f"the response of the store is longer than {_MAX_RESPONSE} bytes"
            raise ConnectionError(message)


class Connections(Unserializable):
    """The connections of a store.

    A connection belongs to one event loop of one process. The connections of another event loop or
    process are left alone: to close them here would disturb their owner.

    Args:
        url_or_client: The URL of a server, or a client of redis-py that the user made.
        timeout: How long connecting, and waiting for a response, may take, in seconds.
    """

    def __init__(self, url_or_client: object, timeout: float) -> None:
        self._url_or_client = url_or_client
        self._timeout = timeout
        self._clients: dict[tuple[int, asyncio.AbstractEventLoop], Redis] = {}

    @property
    def client(self) -> Any:  # noqa: ANN401 - a client for one server, or for a cluster
        """The user's client, or a client that belongs to this process and its event loop."""
        if not isinstance(self._url_or_client, str):
            return self._url_or_client
        owner = _owner()
        client = self._clients.get(owner)
        if client is None:
            client = self._clients[owner] = connect(self._url_or_client, self._timeout)
        return client

    @property
    def host_without_tls(self) -> str | None:
        """The first host, except this machine, to which the connections have no TLS, or `None`."""
        return _host_without_tls(self._any_client())

    @property
    def host(self) -> str:
        """The host and port of the first server, or the path of its socket."""
        _, nodes = _nodes_of(self._any_client())
        arguments = nodes[0].connection_kwargs
        path = arguments.get("path")
        return path or f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}"

    def _any_client(self) -> Any:  # noqa: ANN401 - any client of redis-py
        """Return a client that may belong to no event loop, to read its settings."""
        source = self._url_or_client
        return connect(source, self._timeout) if isinstance(source, str) else source

    async def aclose(self) -> None:
        """Close the connections of this process and its event loop, but not the user's client."""
        client = self._clients.pop(_owner(), None)
        if client is not None:
            await client.aclose()


def connect(url: str, timeout: float) -> Redis:
    """Return a client for a server; it opens its first connection with its first command.

    Args:
        url: The URL of the server, as redis-py defines it.
        timeout: How long connecting, and waiting for a response, may take, in seconds.

    Raises:
        ValueError: If the URL is invalid.
    """
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1),  # the server may have closed an idle connection
        parser_class=BoundedParser,
        protocol=2,  # version 3 begins a connection with one more command
        driver_info=None,  # likewise: redis-py would send its name and version
    )
    return client


def _host_without_tls(client: Any) -> str | None:  # noqa: ANN401 - any client of redis-py
    """Return the first host, except this machine, to which a client has no TLS."""
    kind, nodes = _nodes_of(client)
    if issubclass(kind, SSLConnection):
        return None
    hosts = (node.connection_kwargs.get("host", "localhost") for node in nodes)
    return next((host for host in hosts if not is_loopback(host.lower())), None)


def _nodes_of(client: Any) -> tuple[type, list[Any]]:  # noqa: ANN401 - any client of redis-py
    """Return the class of a client's connections, and what has the arguments of each server.

    Three cases: a client for a cluster names the nodes to begin with. A client for Sentinel names
    the sentinels, which know the server. Any other client names one host, or none: a Unix socket.
    """
    pool = None if issubclass(type(client), RedisCluster) else client.connection_pool
    nodes = client.startup_nodes if pool is None else [pool]
    kind = nodes[0].connection_class
    if isinstance(pool, SentinelConnectionPool):
        nodes = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    return kind, nodes


def _owner() -> tuple[int, asyncio.AbstractEventLoop]:
    return os.getpid(), asyncio.get_running_loop()
