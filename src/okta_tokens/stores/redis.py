"""Share tokens through Redis or Valkey, encrypted.

Example:
    ```python
    from okta_tokens.stores.redis import RedisTokenStore

    # `okta-tokens store-key` prints a key. The first key of the list encrypts.
    keys = os.environ["TOKEN_STORE_KEYS"].split()

    async with (
        RedisTokenStore("rediss://tokens.acme.internal", keys=keys) as store,
        TokenProvider(store=store) as provider,
    ):
        ...
    ```
"""

from __future__ import annotations

import asyncio
import math
import os
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

try:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    from okta_tokens.stores._sealing import (
        Sealer,
        describe,
        generate_key,
        load_keys,
        open_token,
        seal_token,
    )
except ModuleNotFoundError as error:
    error.add_note("it comes with the extra: pip install 'okta-tokens[redis]'")
    raise

from okta_tokens._model.token_key import TokenKey
from okta_tokens._sharing.store import SharedToken, UnreadableEntry
from okta_tokens.errors import ConfigurationError

__all__ = ["RedisTokenStore", "generate_key"]

_MAX_ENTRY = 65_536
"""Bytes: four times what Okta's longest tokens take. More is none of ours, and is not read."""

_DELETE_IF_SAME = """
if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end
return 0
"""
_EXTEND = """
if redis.call("pttl", KEYS[1]) < tonumber(ARGV[1]) then
    redis.call("set", KEYS[1], ARGV[2], "px", ARGV[1])
end
return 0
"""


class RedisTokenStore:
    """Share tokens through Redis or Valkey, encrypted.

    Whoever has one of the keys can read and forge what is kept: one store is one trust domain, for
    processes that may have each other's tokens. Whoever has none, and reads or writes the store,
    learns how many tokens there are, and can make them be fetched anew.

    A call that is cancelled gives its connection up. The methods are those of `TokenStore`.

    Args:
        url_or_client: `redis://…`, `rediss://…` or `unix://…`, as redis-py has it, with the
            credentials in it; or an asynchronous client of redis-py's, also one for Sentinel or
            Cluster, which is never closed here.
        keys: One or more keys, each 32 bytes in URL-safe base64, as `okta-tokens store-key` or
            `cryptography.fernet.Fernet.generate_key()` makes them. The first seals, all open: to
            replace one, let every process know [old, new], then [new, old], then [new].
        prefix: What the names of all entries begin with.
        timeout: For how long a token request waits for the store, in seconds.
        lease: For how long the others wait for the process that fetches a token, before one of
            them fetches it, in seconds.

    Raises:
        ConfigurationError: If the URL, a key or a number is none.
    """

    def __init__(
        self,
        url_or_client: str | Redis | RedisCluster,
        *,
        keys: str | bytes | Sequence[str | bytes],
        prefix: str = "okta-tokens:",
        timeout: float = 0.5,
        lease: float = 5.0,
    ) -> None:
        sealers = load_keys(keys)
        problem = _problem(url_or_client, sealers, timeout=timeout, lease=lease)
        if problem is not None:
            # An error tracker records the locals of the frame that raises.
            del self, url_or_client, keys
            raise ConfigurationError(problem)
        self._sealers = sealers
        self._prefix = prefix
        self.timeout = timeout
        self.lease = lease
        self._given: Any = None if isinstance(url_or_client, str) else url_or_client
        self._url = url_or_client if isinstance(url_or_client, str) else ""
        # A connection belongs to one event loop of one process. Those of another one are left
        # alone: to close them here would reach into the other.
        self._clients: dict[tuple[int, asyncio.AbstractEventLoop], Redis] = {}

    async def aclose(self) -> None:
        """Close the connections, unless they are of a client that was given."""
        client = self._clients.pop(_here(), None)
        if client is not None:
            await client.aclose()

    async def __aenter__(self) -> Self:
        """Return itself; connections are opened as they are needed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.aclose()

    async def load(self, key: TokenKey) -> tuple[SharedToken, float] | None:
        """Return the token that is kept for a key, under the name of whichever of the keys."""
        unreadable: UnreadableEntry | None = None
        names = [self._name(sealer, "token", key) for sealer in self._sealers]
        answers = await self._read(*names)
        for sealer, name, entry, left in zip(
            self._sealers, names, answers[::2], answers[1::2], strict=True
        ):
            if not entry or left <= 0:
                continue
            try:
                token = open_token(sealer, name, entry)
            except UnreadableEntry as error:
                unreadable = error
            else:
                if token is not None:
                    return token, left / 1000
        if unreadable is not None:
            raise unreadable
        return None

    async def save(self, key: TokenKey, token: SharedToken, seconds: float) -> None:
        """Keep a token, sealed with the first key."""
        sealer = self._sealers[0]
        name = self._name(sealer, "token", key)
        entry = seal_token(sealer, name, token)
        await self._client.set(name, entry, px=_milliseconds(seconds))

    async def discard(self, key: TokenKey, value: str) -> None:
        """Keep a token no more, if it is still this one."""
        for sealer in self._sealers:
            name = self._name(sealer, "token", key)
            entry, _ = await self._read(name)
            token = open_token(sealer, name, entry) if entry else None
            if token is not None and token.value == value:
                await self._client.eval(_DELETE_IF_SAME, 1, name, entry)

    async def acquire(self, key: TokenKey, seconds: float) -> str | None:
        """Take the lease of a key, under the name of the first key."""
        lease = uuid.uuid4().hex
        name = self._name(self._sealers[0], "lease", key)
        taken = await self._client.set(name, lease, nx=True, px=_milliseconds(seconds))
        return lease if taken else None

    async def release(self, key: TokenKey, lease: str) -> None:
        """Give a lease back, if it is still this one."""
        name = self._name(self._sealers[0], "lease", key)
        await self._client.eval(_DELETE_IF_SAME, 1, name, lease)

    async def pause(self, key: TokenKey, seconds: float, until: float) -> None:
        """Let every process pause that would ask the same half of the key's domain."""
        sealer, name = self._sealers[0], self._pause_name(key)
        entry = sealer.seal(name, until)
        await self._client.eval(_EXTEND, 1, name, _milliseconds(seconds), entry)

    async def paused(self, key: TokenKey) -> tuple[float, float] | None:
        """Return how many seconds are left of such a pause, and its end; None if there is none."""
        sealer, name = self._sealers[0], self._pause_name(key)
        entry, left = await self._read(name)
        fields = sealer.open(name, entry) if entry and left > 0 else None
        return None if fields is None else (left / 1000, fields[0])

    async def _read(self, *names: str) -> list[Any]:
        """Return what is kept under each name, as much as can be one of ours, and its time left."""
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.getrange(name, 0, _MAX_ENTRY)
            pipeline.pttl(name)
        answers: list[Any] = await pipeline.execute()
        return answers

    @property
    def _client(self) -> Any:  # noqa: ANN401 - that of a single server, or of a cluster
        if self._given is not None:
            return self._given
        here = _here()
        client = self._clients.get(here)
        if client is None:
            client = self._clients[here] = _connect(self._url, self.timeout)
        return client

    def _name(self, sealer: Sealer, kind: str, key: TokenKey) -> str:
        return f"{self._prefix}{kind}:{sealer.name(kind, *describe(key))}"

    def _pause_name(self, key: TokenKey) -> str:
        half = key.authorization_server is None
        return f"{self._prefix}pause:{self._sealers[0].name('pause', key.client.origin, half)}"


def _here() -> tuple[int, asyncio.AbstractEventLoop]:
    return os.getpid(), asyncio.get_running_loop()


def _problem(
    url_or_client: object,
    sealers: list[Sealer],
    **seconds: object,
) -> str | None:
    """Return what is wrong with the arguments of a store, without repeating one; else None."""
    for name, value in seconds.items():
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            return f"{name}: must be a positive number of seconds"
    if not sealers:
        return (
            "keys: must be one or more different keys of 32 bytes in URL-safe base64; "
            "`okta-tokens store-key` makes one"
        )
    if isinstance(url_or_client, str):
        try:
            _ = _connect(url_or_client, 1.0)  # which opens nothing yet
        except ValueError:
            return "url: must be redis://, rediss:// or unix://, as redis-py has it"
    return None


def _connect(url: str, timeout: float) -> Redis:
    """Return a client that gives up soon: the provider has better to do than to wait."""
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1),  # a connection that was idle may be gone
        protocol=2,  # with which a connection begins without a word
        driver_info=None,
    )
    return client


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
