"""Notifications: the connections that receive them, and the identities that they are about.

A connection that receives notifications is no connection of the client's pool: a task reads from it
all the time. The task ends, and closes the connection, when the subscription is closed, when the
connection is lost, or when the event loop cancels its tasks at its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import Context
from typing import Any, NamedTuple

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens._sharing.fleet_protocol import NotificationsRefusedError

PING_INTERVAL = 10.0
"""Seconds of silence after which a connection is tested; after as many more it is lost."""

_REFUSALS = {NoPermissionError, ResponseError}
"""Errors of a server that will not allow subscriptions later either. Their subclasses say, for
example, that another server of the cluster has the channel."""


class Channels(NamedTuple):
    """How a store reaches its channels."""

    names: Callable[[StoreIdentity], Iterable[str]]
    """Returns the channels of an identity."""
    locate: Callable[[str], Awaitable[tuple[str, Callable[[], Any]]]]
    """Returns the server of a channel, and what makes a connection of redis-py to it."""
    sharded: bool
    """Whether each server has channels of its own, as in a cluster."""


class RedisSubscription(Unserializable):
    """Receives the notifications of identities; `Subscription` documents the methods.

    Args:
        channels: How to reach the channels.
        forget: Called with the subscription when it has ended.
    """

    def __init__(self, channels: Channels, forget: Callable[[RedisSubscription], None]) -> None:
        self._channels = channels
        self._forget = forget
        self._opening = asyncio.Lock()
        self._listeners: dict[str, _Listener] = {}
        self._identities: dict[bytes, StoreIdentity] = {}
        self._confirmed: set[bytes] = set()
        self._waiting: dict[StoreIdentity, None] = {}
        self._changed = asyncio.Event()
        self._problem: Exception | None = None

    async def add(self, *identities: StoreIdentity) -> None:
        """Begin to receive the notifications of identities."""
        self._check()
        wanted = {name: one for one in identities for name in self._channels.names(one)}
        new = [name for name in wanted if name.encode() not in self._confirmed]
        self._identities |= {name.encode(): wanted[name] for name in new}
        try:
            await self._send("SUBSCRIBE", new)
        except ResponseError as error:
            if type(error) not in _REFUSALS:
                raise
            raise NotificationsRefusedError(str(error)) from None
        self._confirmed |= {name.encode() for name in new} & self._identities.keys()

    async def remove(self, *identities: StoreIdentity) -> None:
        """Receive no more notifications of identities."""
        self._check()
        names = [name for one in identities for name in self._channels.names(one)]
        known = [name for name in names if self._identities.pop(name.encode(), None) is not None]
        self._confirmed.difference_update(name.encode() for name in known)
        await self._send("UNSUBSCRIBE", known)

    async def next(self) -> StoreIdentity:
        """Wait for the next notification, and return the identity that it is about."""
        while not self._waiting:
            self._check()
            self._changed.clear()
            await self._changed.wait()
        identity = next(iter(self._waiting))
        del self._waiting[identity]
        return identity

    async def aclose(self) -> None:
        """Close the connections."""
        self._end(ConnectionError("the subscription is closed"))
        for listener in [*self._listeners.values()]:
            await listener.closed()

    async def _send(self, command: str, names: list[str]) -> None:
        """Send a command for channels to their servers, and wait until all have responded."""
        sharded = self._channels.sharded
        groups = [[name] for name in names] if sharded else [names] if names else []
        try:
            responses = []
            for group in groups:
                listener = await self._listener(group[0])
                responses.append(await listener.send(f"S{command}" if sharded else command, *group))
            await asyncio.gather(*responses)
        except Exception as error:
            self._end(error)
            raise

    async def _listener(self, name: str) -> _Listener:
        """Return the open connection to the server of a channel."""
        async with self._opening:
            server, connect = await self._channels.locate(name)
            listener = self._listeners.get(server)
            if listener is None:
                listener = _Listener(connect(), self._receive, self._end)
                await listener.open()
                self._listeners[server] = listener
                if self._problem is not None:  # since the connection was begun
                    listener.close()
            self._check()
            return listener

    def _receive(self, channel: bytes) -> None:
        identity = self._identities.get(channel)
        if identity is not None:
            self._waiting[identity] = None
            self._changed.set()

    def _end(self, problem: Exception) -> None:
        """End the subscription, for its first problem."""
        if self._problem is None:
            self._problem = problem
            self._changed.set()
            self._forget(self)
            for listener in self._listeners.values():
                listener.close()

    def _check(self) -> None:
        if self._problem is not None:
            message = f"the subscription has ended ({type(self._problem).__name__})"
            raise ConnectionError(message) from self._problem


class _Listener:
    """A connection to one server that receives the messages of channels.

    Args:
        connection: The connection, which is not open.
        receive: Called with the channel of each message.
        end: Called when the connection was lost.
    """

    def __init__(
        self,
        connection: Any,  # noqa: ANN401 - of redis-py, which has no types here
        receive: Callable[[bytes], None],
        end: Callable[[Exception], None],
    ) -> None:
        self._connection = connection
        self._receive = receive
        self._end = end
        self._commands: deque[_Command] = deque()
        self._is_reading = False
        self._is_closing = False
        self._is_tested = False
        self._task: asyncio.Task[None]

    async def open(self) -> None:
        """Connect, and begin to read."""
        await self._connection.connect()
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._read(), context=Context())

    async def send(self, name: str, *channels: str) -> asyncio.Future[None]:
        """Send a command, and return what is done when the server has responded.

        Args:
            name: The name of the command.
            *channels: The channels, each of which has a response.
        """
        command = _Command(name, len(channels))
        self._commands.append(command)
        # redis-py closes the connection if the command cannot be sent whole.
        await self._connection.send_command(name, *channels, check_health=False)
        return command.done

    def close(self) -> None:
        """Begin to close the connection, unless its end has begun."""
        self._is_closing = True  # a task that is cancelled before it begins closes nothing
        if self._is_reading:
            self._is_reading = False
            self._task.cancel()

    async def closed(self) -> None:
        """Wait until the connection is closed."""
        await asyncio.wait([self._task])

    async def _read(self) -> None:
        """Read until the connection is lost or closed."""
        problem: Exception = ConnectionError("the connection is closed")
        self._is_reading = True
        try:
            while not self._is_closing:
                await self._read_one()
        except (RedisError, OSError) as error:
            problem = error
        except Exception as error:  # noqa: BLE001 - whatever the server sent
            problem = ConnectionError(
                f"the server sent an invalid response ({type(error).__name__})"
            )
        finally:
            self._is_reading = False
            self._end(problem)
            for command in self._commands:
                command.fail(problem)
            with suppress(RedisError):
                await self._connection.disconnect()

    async def _read_one(self) -> None:
        try:
            response = await self._connection.read_response(
                disable_decoding=True, timeout=PING_INTERVAL, disconnect_on_error=False
            )
        except ResponseError as error:
            self._is_tested = False
            self._first().fail(error)
            self._commands.popleft()
            return
        if response is None:
            await self._test()
            return
        self._is_tested = False
        kind, channel = response[:2] if isinstance(response, list) else (response, b"")
        if kind in {b"message", b"smessage"}:
            self._receive(channel)
        elif self._first().accept(kind):
            self._commands.popleft()

    async def _test(self) -> None:
        """Ask the server for a response, after a silence."""
        if self._is_tested:
            message = f"the server was silent for {2 * PING_INTERVAL:g} s"
            raise ConnectionError(message)
        self._is_tested = True
        _ = await self.send("PING")

    def _first(self) -> _Command:
        if not self._commands:
            message = "the server sent a response without a command: the channel's slot was moved"
            raise ConnectionError(message)
        return self._commands[0]


class _Command:
    """A command that was sent.

    Args:
        name: The name of the command.
        channels: The number of its channels; each has a response.
    """

    def __init__(self, name: str, channels: int) -> None:
        self._kind = b"pong" if name == "PING" else name.lower().encode()
        self._left = max(channels, 1)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the server has responded."""
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())

    def accept(self, kind: bytes) -> bool:
        """Note a response, and tell whether it was the last one.

        Args:
            kind: The kind of the response.

        Raises:
            ConnectionError: If it is the response of another command.
        """
        if kind.lower() != self._kind:
            message = "the server sent the response of another command"
            raise ConnectionError(message)
        self._left -= 1
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)
        return self._left == 0

    def fail(self, error: Exception) -> None:
        """Note that the server refused the command, or that the connection was lost.

        Args:
            error: Why.
        """
        if not self.done.done():
            self.done.set_exception(error)
