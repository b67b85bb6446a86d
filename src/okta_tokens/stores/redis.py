"""A store that shares encrypted tokens through Redis or Valkey.

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

import inspect
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

try:
    from redis.asyncio import Redis, RedisCluster

    from okta_tokens.stores._connection import Connections, connect
    from okta_tokens.stores._sealing import (
        Sealer,
        generate_key,
        is_key,
        key_problem,
        load_keys,
        open_token,
        seal_token,
    )
except ModuleNotFoundError as _error:
    _error.add_note("RedisTokenStore needs an extra. Run: pip install 'okta-tokens[redis]'")
    raise

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._runtime.arguments import checked, looks_secret, number_of, text_of
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens._sharing.store_protocol import SharedToken, UnreadableEntry
from okta_tokens.errors import ConfigurationError

__all__ = ["RedisTokenStore", "generate_key"]

_PREFIX = re.compile(r"[\x21-\x7e]{0,128}")
_GLOB = re.compile(r"[*?^\[\]\\-]")  # the characters that have a meaning in a pattern of names
_ESCAPED = r"\\\g<0>"

_MAX_ENTRY = 65_536
"""Bytes to read of an entry: four times what Okta's longest tokens need. A longer entry is not from
this package, and cannot be decrypted after it was cut."""

_DELETE_IF_EQUAL = """
if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end
return 0
"""
_SET_IF_LONGER = """
if redis.call("pttl", KEYS[1]) < tonumber(ARGV[1]) then
    redis.call("set", KEYS[1], ARGV[2], "px", ARGV[1])
end
return 0
"""


class RedisTokenStore(Unserializable):
    """A store that shares encrypted tokens through Redis or Valkey.

    A process with one of the keys can read and forge the stored tokens. Use one store only for
    processes that may have each other's tokens. A process with access to the server but without a
    key learns how many tokens there are, and can delete them, so that they are fetched again.

    `TokenStore` documents the methods, their arguments and units. A cancelled call closes its
    connection, so that no other call gets its response.

    Args:
        url_or_client: The URL of the server, `redis://…`, `rediss://…` or `unix://…`, with the
            credentials in it, as redis-py defines it. Or an asynchronous client of redis-py, which
            may be one for Sentinel or Cluster; the store does not close it, and the client decides
            how long a response may be. With a URL the store reads 128 KiB of a response at most.
        keys: One key, or a list of keys, each 32 bytes in URL-safe base64 (44 characters), as
            `okta-tokens store-key` or `cryptography.fernet.Fernet.generate_key()` makes them. The
            first key encrypts, every key decrypts. To replace a key, deploy [old, new], then [new,
            old], then [new].
        prefix: The beginning of the names of all entries: up to 128 printable ASCII characters.
        timeout: How long a token request waits for the store, in seconds.
        lease: How long other processes wait for the process that fetches a token, in seconds. Then
            one of them fetches the token.

    Raises:
        ConfigurationError: If the URL, a key, the prefix or a number is invalid.
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
        numbers = {"timeout": number_of(timeout), "lease": number_of(lease)}
        problem = _problem(url_or_client, prefix, numbers)
        problem = problem or (None if sealers else key_problem(keys))
        if problem is not None:
            # An error tracker records the local variables of the frame that raises.
            del self, url_or_client, keys, sealers, prefix, timeout, lease, numbers
            raise ConfigurationError(problem)
        self._sealers = sealers
        self._prefix = text_of(prefix) or ""
        self.timeout: float = numbers["timeout"] or 0.0
        self.lease: float = numbers["lease"] or 0.0
        self._connections = Connections(text_of(url_or_client) or url_or_client, self.timeout)

    @property
    def host(self) -> str:
        """The host and port of the server, or of the first one, or the path of its socket."""
        return self._connections.host

    @property
    def host_without_tls(self) -> str | None:
        """The host of the server, if it is another machine and the connection has no TLS."""
        return self._connections.host_without_tls

    async def aclose(self) -> None:
        """Close the store's own connections; a client that was passed in stays open."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        """Return the store; it connects when a provider first uses it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store's own connections."""
        await self.aclose()

    async def count_tokens(self, limit: int = 100) -> tuple[int, int]:
        """Count stored tokens, and those that none of the store's keys decrypts.

        A process with other keys does not see the tokens of this one. The call reads the names of
        all entries of the server until it has found enough tokens, so it is for diagnosis only. It
        needs the right to use `SCAN`.

        Args:
            limit: How many tokens to look at.

        Returns:
            The number of tokens that were looked at, and how many of them no key decrypts.
        """
        names: list[str] = []
        pattern = f"{_GLOB.sub(_ESCAPED, self._prefix)}token:*"
        async for name in self._client.scan_iter(match=pattern, count=1000):
            names.append(name if isinstance(name, str) else name.decode())
            if len(names) == limit:
                break
        replies = await self._read(*names)
        entries = [(name, entry) for name, (entry, _) in zip(names, replies, strict=True) if entry]
        return len(entries), sum(not self._decrypts(name, entry) for name, entry in entries)

    async def load(self, identity: StoreIdentity) -> tuple[SharedToken, float] | None:
        """Return the stored token of an identity, whichever of the store's keys encrypted it."""
        unreadable: UnreadableEntry | None = None
        names = [self._name(sealer, identity, "token") for sealer in self._sealers]
        replies = await self._read(*names)
        for sealer, name, (entry, seconds) in zip(self._sealers, names, replies, strict=True):
            try:
                token = open_token(sealer, name, entry) if entry and seconds > 0 else None
            except UnreadableEntry as error:
                unreadable = error
            else:
                if token is not None:
                    was_discarded = await self._was_discarded(identity, token.value)
                    return None if was_discarded else (token, seconds)
        if unreadable is not None:
            raise unreadable
        return None

    async def save(self, identity: StoreIdentity, token: SharedToken, seconds: float) -> None:
        """Store a token, encrypted with the first key."""
        sealer = self._sealers[0]
        name = self._name(sealer, identity, "token")
        entry = seal_token(sealer, name, token)
        await self._client.set(name, entry, px=_milliseconds(seconds))

    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None:
        """Remove a token, whichever key encrypted it, and store that it was discarded.

        The record has a name of its own, so a process does not adopt the token if the entry is put
        back.
        """
        sealer = self._sealers[0]
        name = self._name(sealer, identity, "discarded", value)
        wanted = sha256(value.encode()).digest()
        del value  # a cancellation passes the frames that await
        await self._client.set(name, sealer.seal(name), px=_milliseconds(seconds))
        for sealer in self._sealers:
            name = self._name(sealer, identity, "token")
            ((entry, _),) = await self._read(name)
            token = open_token(sealer, name, entry) if entry else None
            if token is not None and sha256(token.value.encode()).digest() == wanted:
                await self._client.eval(_DELETE_IF_EQUAL, 1, name, entry)

    async def acquire(self, identity: StoreIdentity, seconds: float) -> str | None:
        """Take the lease of an identity, under the name that the first key derives."""
        lease = uuid.uuid4().hex
        name = self._name(self._sealers[0], identity, "lease")
        acquired = await self._client.set(name, lease, nx=True, px=_milliseconds(seconds))
        return lease if acquired else None

    async def release(self, identity: StoreIdentity, lease: str) -> None:
        """End a lease, unless it has ended."""
        name = self._name(self._sealers[0], identity, "lease")
        await self._client.eval(_DELETE_IF_EQUAL, 1, name, lease)

    async def pause(self, identity: StoreIdentity, seconds: float, until: float) -> None:
        """Store a pause for a part of a domain, unless a longer pause is stored."""
        sealer = self._sealers[0]
        name = self._name(sealer, identity, "pause")
        entry = sealer.seal(name, until)
        await self._client.eval(_SET_IF_LONGER, 1, name, _milliseconds(seconds), entry)

    async def paused(self, identity: StoreIdentity) -> tuple[float, float] | None:
        """Return the stored pause of a part of a domain."""
        sealer = self._sealers[0]
        name = self._name(sealer, identity, "pause")
        ((entry, seconds),) = await self._read(name)
        fields = sealer.open(name, entry) if entry and seconds > 0 else None
        return None if fields is None else (seconds, fields[0])

    def _decrypts(self, name: str, entry: bytes) -> bool:
        for sealer in self._sealers:
            with suppress(UnreadableEntry):
                sealer.open(name, entry)
                return True
        return False

    async def _was_discarded(self, identity: StoreIdentity, value: str) -> bool:
        """Tell whether a token was discarded, whichever key encrypted the record.

        Raises:
            UnreadableEntry: If there is a record that cannot be decrypted.
        """
        names = [self._name(sealer, identity, "discarded", value) for sealer in self._sealers]
        del value  # a cancellation passes the frames that await
        for sealer, name, (entry, _) in zip(
            self._sealers, names, await self._read(*names), strict=True
        ):
            if entry:
                sealer.open(name, entry)
                return True
        return False

    async def _read(self, *names: str) -> list[tuple[bytes, float]]:
        """Return, for each name, the first bytes of its entry and the seconds until its end.

        The seconds are negative if there is no entry, or the entry has no end.
        """
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.getrange(name, 0, _MAX_ENTRY)
            pipeline.pttl(name)
        replies: list[Any] = await pipeline.execute()
        ends = (milliseconds / 1000 for milliseconds in replies[1::2])
        return [*zip(replies[::2], ends, strict=True)]

    @property
    def _client(self) -> Any:  # noqa: ANN401 - a client for one server, or for a cluster
        return self._connections.client

    def _name(self, sealer: Sealer, identity: StoreIdentity, kind: str, *values: str) -> str:
        return f"{self._prefix}{kind}:{sealer.name(identity, kind, *values)}"


def _problem(
    url_or_client: object, prefix: object, numbers: Mapping[str, float | None]
) -> str | None:
    """Return what is wrong with arguments of a store, without their values, or `None`."""
    for name, value in numbers.items():
        if value is None or value <= 0:
            return f"{name}: must be a positive, finite number of seconds; pass, for example, 0.5"
    text = text_of(prefix)
    if text is None or not _PREFIX.fullmatch(text) or looks_secret(text) or is_key(text):
        return (
            "prefix: must be up to 128 printable ASCII characters without spaces, and no secret, "
            "since it is not encrypted; pass, for example, okta-tokens:"
        )
    url = text_of(url_or_client)
    if url is None:
        problem = "url_or_client: must be a URL, or an asynchronous client of redis-py"
        return None if checked(partial(_is_client, url_or_client), problem=False) else problem
    if not checked(partial(_is_url, url), problem=False):
        return (
            "url_or_client: the URL is invalid; pass redis://, rediss:// or unix:// with a "
            "host and port, as `from_url` of redis-py defines it"
        )
    return None


def _is_client(client: Any) -> bool:  # noqa: ANN401 - what the user gave
    return inspect.iscoroutinefunction(client.execute_command)


def _is_url(url: str) -> bool:
    _ = connect(url, 1.0)
    return True


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
