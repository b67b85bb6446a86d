"""Connections to Redis or Valkey: one client for each event loop of each process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Redis, RedisCluster, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError  # noqa: A004 - redis-py raises no other one

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._model.urls import is_loopback
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.stores._subscription import Channels, RedisSubscription

_MAX_RESPONSE = 256 * 1024
"""Bytes: four times the longest entry that is read; a response holds three, and a hundred names."""
_MIN_PART = 64
"""Bytes that a part of a response counts at least, so that a response has no millions of parts."""
_FOR_VERSION_3 = ("maint", "oss_", "orig_")
"""How the arguments begin that a connection with version 2 of the protocol refuses."""


class BoundedParser(_AsyncRESP2Parser):
    """A parser of responses that reads no more than 256 KiB of one.

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


class TLSConnection(SSLConnection):
    """A connection over TLS that reads replaced files of certificates and keys when it connects.

    The connections of redis-py read the files only the first time. If the new files do not fit each
    other, because only one of them is replaced so far, the connection uses the earlier ones.
    """

    _files_read: Sequence[tuple[int, int, int] | None] = ()

    def _connection_arguments(self) -> Any:  # noqa: ANN401 - as in redis-py
        """Return the arguments with which the connection is made."""
        tls = self.ssl_context
        files = [_version_of(path) for path in (tls.certfile, tls.keyfile, tls.ca_certs) if path]
        if files != self._files_read:
            earlier, tls.context = tls.context, None
            try:
                _ = tls.get()
            except OSError:  # also what OpenSSL raises
                tls.context = earlier
            else:
                self._files_read = files
        return super()._connection_arguments()


def _version_of(path: str) -> tuple[int, int, int] | None:
    """Return what changes when a file, or the file that a link leads to, is replaced."""
    with suppress(OSError):
        status = Path(path).stat()
        return status.st_mtime_ns, status.st_ino, status.st_size
    return None


class Connections(Unserializable):
    """The connections of a store.

    A connection belongs to one event loop of one process. The connections of another event loop or
    process are left alone: to close them here would disturb their owner. An event loop that ends
    closes its connections itself, as far as it closes its asynchronous generators.

    Args:
        url_or_client: The URL of a server, or a client of redis-py that the user made.
        timeout: How long connecting may take, in seconds.
    """

    def __init__(self, url_or_client: object, timeout: float) -> None:
        self._url_or_client = url_or_client
        self._timeout = timeout
        self._owned: dict[tuple[int, asyncio.AbstractEventLoop], _Owned] = {}

    @property
    def is_cluster(self) -> bool:
        """Whether the user's client is one for a cluster."""
        return issubclass(type(self._url_or_client), RedisCluster)

    async def client(self) -> Any:  # noqa: ANN401 - a client for one server, or for a cluster
        """Return the user's client, or the one that belongs to this process and event loop."""
        if not isinstance(self._url_or_client, str):
            return self._url_or_client
        return (await self._here()).client

    async def subscription(
        self, names: Callable[[StoreIdentity], Iterable[str]]
    ) -> RedisSubscription | None:
        """Return a subscription that has no connection yet, and is closed with the others.

        Args:
            names: Returns the channels of an identity.

        Returns:
            The subscription; `None` if the user's client is of no kind that is known here.
        """
        owned = await self._here()
        if not issubclass(type(owned.client), Redis | RedisCluster):
            return None
        channels = Channels(names, owned.locate, self.is_cluster)
        subscription = RedisSubscription(channels, owned.forget)
        owned.subscriptions.add(subscription)
        return subscription

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
        """Return the user's client, or a new one, which has no connection yet."""
        source = self._url_or_client
        return connect(source, self._timeout) if isinstance(source, str) else source

    async def aclose(self) -> None:
        """Close the connections of this process and its event loop, but not the user's client."""
        owned = self._owned.pop(_owner(), None)
        if owned is not None:
            await owned.aclose()

    async def _here(self) -> _Owned:
        """Return what this process has on its event loop."""
        owner = _owner()
        owned = self._owned.get(owner)
        if owned is None:
            self._forget_closed_loops()
            is_own = isinstance(self._url_or_client, str)
            owned = self._owned[owner] = _Owned(self._any_client(), is_own=is_own)
            await owned.open()
        return owned

    def _forget_closed_loops(self) -> None:
        """Forget the clients of the event loops that are closed; other threads may do the same."""
        for owner in [*self._owned]:
            process, loop = owner
            if process == os.getpid() and loop.is_closed():
                self._owned.pop(owner, None)


class _Owned:
    """The connections of a store that belong to one event loop of one process.

    Args:
        client: The client.
        is_own: Whether the client is not the user's, and is closed with the rest.
    """

    def __init__(self, client: Any, *, is_own: bool) -> None:  # noqa: ANN401 - any client of redis-py
        self.client = client
        self.subscriptions: set[RedisSubscription] = set()
        self._is_own = is_own
        self._has_lost = False
        self._kept_open = self._keep_open()

    async def open(self) -> None:
        """Let the event loop call `aclose` at its end, and when the store is no longer used."""
        await anext(self._kept_open)

    async def aclose(self) -> None:
        """Close the subscriptions and the client."""
        await self._kept_open.aclose()

    async def _keep_open(self) -> AsyncGenerator[None, None]:
        """Close the connections when the generator is closed, as event loops do at their end."""
        try:
            yield
        finally:
            for subscription in [*self.subscriptions]:
                await subscription.aclose()
            if self._is_own:
                await self.client.aclose()

    async def locate(self, channel: str) -> tuple[str, Callable[[], Any]]:
        """Return the server that has a channel, and what makes a connection to it.

        Args:
            channel: The name of the channel.
        """
        if not issubclass(type(self.client), RedisCluster):
            return "", partial(_listening, self.client.connection_pool)
        await self.client.initialize()
        if self._has_lost:  # let the client follow the changes of the cluster
            await self.client.pttl(channel)
        node = self.client.get_node_from_key(channel)
        return node.name, partial(_listening, node, redis_connect_func=None)

    def forget(self, subscription: RedisSubscription) -> None:
        """Leave a subscription alone, which has ended.

        Args:
            subscription: The subscription.
        """
        self.subscriptions.discard(subscription)
        self._has_lost = True


def _listening(source: Any, **more: object) -> Any:  # noqa: ANN401 - no types in redis-py
    """Return a connection that is not open, for messages.

    Args:
        source: A pool, or a node of a cluster, that makes such connections for commands.
        **more: More arguments of the connection.
    """
    arguments = {
        name: value
        for name, value in source.connection_kwargs.items()
        if not name.startswith(_FOR_VERSION_3)
    }
    timeout = arguments.get("socket_connect_timeout") or arguments.get("socket_timeout")
    arguments |= {
        "parser_class": BoundedParser,
        "protocol": 2,
        "socket_connect_timeout": timeout,
        "socket_timeout": None,  # with one, a cancelled call may not have sent its command
        **more,
    }
    return source.connection_class(**arguments)


def connect(url: str, timeout: float) -> Redis:
    """Return a client for a server; it opens its first connection with its first command.

    Args:
        url: The URL of the server, as redis-py defines it.
        timeout: How long connecting may take, in seconds.

    Raises:
        ValueError: If the URL is invalid.
    """
    client: Redis = Redis.from_url(
        url,
        # With a timeout for responses, redis-py on Python 3.11 swallows a cancellation that comes
        # while it sends a command. The store has a timeout for each command.
        socket_timeout=None,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1),  # the server may have closed an idle connection
        parser_class=BoundedParser,
        protocol=2,  # version 3 begins a connection with one more command
        driver_info=None,  # likewise: redis-py would send its name and version
    )
    if client.connection_pool.connection_class is SSLConnection:
        client.connection_pool.connection_class = TLSConnection
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
