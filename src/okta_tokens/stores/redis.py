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

import asyncio
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
    from redis.client import NEVER_DECODE

    from okta_tokens.stores._connection import Connections, connect
    from okta_tokens.stores._records import (
        Found,
        fields_of,
        make_moment,
        make_token,
        read_domain,
        read_state,
    )
    from okta_tokens.stores._sealing import (
        Drawer,
        generate_key,
        is_key,
        key_problem,
        load_keys,
    )
except ModuleNotFoundError as _error:
    _error.add_note("RedisTokenStore needs an extra. Run: pip install 'okta-tokens[redis]'")
    raise

from okta_tokens._model.store_identity import StoreIdentity
from okta_tokens._runtime.arguments import checked, looks_secret, number_of, text_of
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens._sharing.fleet_protocol import (
    DomainState,
    SharedFailure,
    SharedRejection,
    StoredState,
    Subscription,
)
from okta_tokens._sharing.store_protocol import SharedToken, UnreadableEntry
from okta_tokens.errors import ConfigurationError
from okta_tokens.stores import _scripts as scripts

__all__ = ["RedisTokenStore", "generate_key"]

_PREFIX = re.compile(r"[\x21-\x7e]{0,128}")
_GLOB = re.compile(r"[*?^\[\]\\-]")  # the characters that have a meaning in a pattern of names
_ESCAPED = r"\\\g<0>"

_STATE = ("token", "failure", "rejection")
"""What is stored about an identity, besides its lease and the discarded tokens."""


class RedisTokenStore(Unserializable):
    """A store that shares encrypted tokens through Redis or Valkey.

    A process with one of the keys can read and forge the stored tokens. Use one store only for
    processes that may have each other's tokens. A process with access to the server but without a
    key learns how many tokens there are, and can delete them, so that they are fetched again.

    `TokenStore`, `FleetStore` and `NotifyingStore` document the methods, their arguments and units.
    A cancelled call closes its connection, so that no other call gets its response.

    Each event loop has connections of its own. `aclose` closes them, and so does `asyncio.run` at
    its end; an event loop that is run in another way needs `loop.shutdown_asyncgens()`.

    Args:
        url_or_client: The URL of the server, `redis://…`, `rediss://…` or `unix://…`, with the
            credentials in it, as redis-py defines it. Or an asynchronous client of redis-py, which
            may be one for Sentinel or Cluster; the store does not close it, and the client decides
            how long a response may be. With a URL the store reads 256 KiB of a response at most.
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
        all entries of the server until it has found enough tokens, so it is for diagnosis only, and
        has no time limit. It needs the right to use `SCAN`.

        Args:
            limit: How many tokens to look at.

        Returns:
            The number of tokens that were looked at, and how many of them no key decrypts.
        """
        names: list[str] = []
        client = await self._connections.client()
        pattern = f"{_GLOB.sub(_ESCAPED, self._prefix)}{{*}}:token"
        async for name in client.scan_iter(match=pattern, count=1000):
            names.append(name if isinstance(name, str) else name.decode())
            if len(names) == limit:
                break
        entries = [(name, (await self._run(scripts.READ, [name]))[0][0]) for name in names]
        stored = [(name, entry) for name, entry in entries if entry]
        return len(stored), sum(not self._decrypts(name, entry) for name, entry in stored)

    async def load(self, identity: StoreIdentity) -> tuple[SharedToken, float] | None:
        """Return the stored token of an identity, whichever of the store's keys encrypted it."""
        state = await self.look(identity, None)
        return None if state.token is None else (state.token, state.seconds)

    async def look(self, identity: StoreIdentity, held: str | None) -> StoredState:
        """Return what is stored about an identity, whichever of the store's keys encrypted it.

        It sends one command for each key.
        """
        drawers = self._drawers(identity)
        digests = [] if held is None else [drawer.digest(held) for drawer in drawers]
        del held  # a cancellation passes the frames that await
        return read_state([await self._look(drawer) for drawer in drawers], digests)

    async def save(self, identity: StoreIdentity, token: SharedToken, seconds: float) -> None:
        """Store a token, encrypted with the first key."""
        await self.settle(identity, token, seconds, None)

    async def settle(
        self,
        identity: StoreIdentity,
        outcome: SharedToken | SharedFailure,
        seconds: float,
        lease: str | None,
    ) -> None:
        """Store the outcome, encrypted with the first key, end the lease, and notify.

        It sends one command for each key, for the first key last.
        """
        first, *others = self._drawers(identity)
        is_token = isinstance(outcome, SharedToken)
        name = first.name("token" if is_token else "failure")
        entry = first.seal(name, *fields_of(outcome))
        obsolete = ["failure"] if is_token else []
        for drawer in others:
            names = [drawer.name(kind) for kind in ("lease", *obsolete)]
            await self._run(scripts.END_LEASE, names, lease or "")
        names = [first.name("lease"), name, *(first.name(kind) for kind in obsolete)]
        notice = self._notice(first)
        await self._run(scripts.SETTLE, names, lease or "", entry, _milliseconds(seconds), *notice)

    async def discard(self, identity: StoreIdentity, value: str, seconds: float) -> None:
        """Remove a token, whichever key encrypted it, and store that it was discarded.

        The record has a name of its own, so a process does not adopt the token if the entry is put
        back.
        """
        rejecting = self.reject(identity, value, seconds, None)
        del value  # a cancellation passes the frames that await
        await rejecting

    async def reject(
        self,
        identity: StoreIdentity,
        value: str,
        seconds: float,
        rejection: SharedRejection | None,
    ) -> None:
        """Discard a token, whichever key encrypted it, store the rejection, and notify."""
        first, *others = self._drawers(identity)
        digest, wanted = first.digest(value), sha256(value.encode()).digest()
        del value  # a cancellation passes the frames that await
        names = [first.name("token"), first.name("discarded")]
        entry = b""
        if rejection is not None:
            names.append(first.name("rejection"))
            entry = first.seal(names[-1], *rejection)
        arguments = [digest, _milliseconds(seconds), *self._notice(first), entry]
        stored = [(first, await self._run(scripts.DISCARD, names, *arguments))]
        for drawer in others:
            ((entry, _),) = await self._run(scripts.READ, [drawer.name("token")])
            stored.append((drawer, entry))
        for drawer, entry in stored:
            if entry and _digest(drawer, entry) == wanted:
                await self._run(scripts.DELETE_IF_EQUAL, [drawer.name("token")], entry)

    async def acquire(self, identity: StoreIdentity, seconds: float) -> str | None:
        """Take the lease of an identity under every key.

        All processes try the keys in the same order, so one of two that have the same keys in
        another order gets all of them.
        """
        lease = uuid.uuid4().hex
        names = self._leases(identity)
        for at, name in enumerate(names):
            if not await self._execute("SET", name, lease, "NX", "PX", _milliseconds(seconds)):
                for taken in names[:at]:
                    await self._run(scripts.END_LEASE, [taken], lease)
                return None
        return lease

    async def extend(self, identity: StoreIdentity, lease: str, seconds: float) -> None:
        """Make a lease longer, unless it has ended."""
        for name in self._leases(identity):
            await self._run(scripts.EXTEND_LEASE, [name], lease, _milliseconds(seconds))

    async def release(self, identity: StoreIdentity, lease: str) -> None:
        """End a lease, unless it has ended, and notify."""
        first, *others = self._drawers(identity)
        for drawer in others:
            await self._run(scripts.END_LEASE, [drawer.name("lease")], lease)
        await self._run(scripts.END_LEASE, [first.name("lease")], lease, *self._notice(first))

    async def pause(self, identity: StoreIdentity, seconds: float, until: float) -> None:
        """Store a pause for a part of a domain, unless a longer pause is stored."""
        drawer = self._drawers(identity)[0]
        name = drawer.name("pause")
        entry = drawer.seal(name, until)
        await self._run(scripts.SET_IF_LONGER, [name], _milliseconds(seconds), entry)

    async def paused(self, identity: StoreIdentity) -> tuple[float, float] | None:
        """Return the stored pause of a part of a domain, whichever key encrypted it."""
        found = [await self._read(one, one.name("pause")) for one in self._drawers(identity)]
        return read_domain(found).pause

    async def look_at_domain(self, domain: StoreIdentity, client: StoreIdentity) -> DomainState:
        """Return what is stored about a part of a domain, whichever key encrypted it.

        It sends one command for each key.
        """
        found = [
            await self._read(
                one, one.name("pause"), one.name("cleared"), one.name_with("cleared", client)
            )
            for one in self._drawers(domain)
        ]
        return read_domain(found)

    async def clear(
        self, domain: StoreIdentity, client: StoreIdentity | None, at: float, seconds: float
    ) -> None:
        """Store, encrypted with the first key, that tokens were cleared, and notify."""
        drawer = self._drawers(domain)[0]
        name = drawer.name("cleared") if client is None else drawer.name_with("cleared", client)
        entry = drawer.seal(name, at)
        is_replaced = False
        while not is_replaced:  # another process may replace the entry at the same time
            ((stored, _),) = await self._run(scripts.READ, [name])
            later = None
            with suppress(UnreadableEntry):
                later = drawer.open(name, stored, make_moment)
            if later is not None and later > at:
                return
            arguments = [stored, entry, _milliseconds(seconds), *self._notice(drawer)]
            is_replaced = await self._run(scripts.REPLACE, [name], *arguments)

    async def subscribe(self, *identities: StoreIdentity) -> Subscription | None:
        """Open a connection for the notifications of identities, one for each server of a cluster.

        A cancelled call closes the connection.
        """
        subscription = await self._connections.subscription(self._channels)
        if subscription is not None:
            try:
                await subscription.add(*identities)
            except BaseException:
                await subscription.aclose()
                raise
        return subscription

    def _channels(self, identity: StoreIdentity) -> list[str]:
        return [drawer.name("changed") for drawer in self._drawers(identity)]

    def _notice(self, drawer: Drawer) -> tuple[str, str]:
        """Return the command that notifies, and the channel."""
        return "spublish" if self._connections.is_cluster else "publish", drawer.name("changed")

    def _leases(self, identity: StoreIdentity) -> list[str]:
        """Return the names of the leases, in an order that does not depend on that of the keys."""
        return sorted(drawer.name("lease") for drawer in self._drawers(identity))

    def _decrypts(self, name: str, entry: bytes) -> bool:
        for sealer in self._sealers:
            with suppress(UnreadableEntry):
                sealer.open(name, entry)
                return True
        return False

    async def _look(self, drawer: Drawer) -> Found:
        """Return what is stored about an identity under one key."""
        names = [drawer.name(kind) for kind in _STATE]
        discarded, *entries = await self._run(scripts.LOOK, [drawer.name("discarded"), *names])
        return Found(drawer, dict(zip(names, entries, strict=True)), discarded)

    async def _read(self, drawer: Drawer, *names: str) -> Found:
        """Return some of the entries about an identity under one key."""
        entries = await self._run(scripts.READ, [*names])
        return Found(drawer, dict(zip(names, entries, strict=True)))

    async def _run(self, script: str, names: list[str], *arguments: object) -> Any:  # noqa: ANN401
        """Run a script, and return what the server returns, without decoding texts."""
        return await self._execute("EVAL", script, len(names), *names, *arguments)

    async def _execute(self, *command: object) -> Any:  # noqa: ANN401 - no types in redis-py
        client = await self._connections.client()
        async with asyncio.timeout(self.timeout):
            return await client.execute_command(*command, **{NEVER_DECODE: True})

    def _drawers(self, identity: StoreIdentity) -> list[Drawer]:
        """Return the entries about an identity under each key."""
        return [Drawer(sealer, self._prefix, identity) for sealer in self._sealers]


def _digest(drawer: Drawer, entry: bytes) -> bytes | None:
    """Return a digest of the value of a stored token, or `None`.

    Raises:
        UnreadableEntry: If the entry cannot be used.
    """
    token = drawer.open(drawer.name("token"), entry, make_token)
    return None if token is None else sha256(token.value.encode()).digest()


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
