"""Check the store: collect the facts, and interpret them.

A problem of the store is a warning at most, because the provider works without the store.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from okta_tokens.doctor._diagnosis import Result, passed, warned
from okta_tokens.doctor._network_checks import reason
from okta_tokens.stores import SharedToken, StoreIdentity, TokenStore, UnreadableEntry

P = ParamSpec("P")
T = TypeVar("T")

STORE = "store"

_PROBE_LIFETIME = 5.0  # seconds
_MAX_SHARE_OF_TIMEOUT = 0.5
_WITHOUT_IT = "each process works without the store"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What a round trip through a store has shown.

    Args:
        timeout: How long a provider waits for a call, in seconds.
        slowest: How long the slowest call took, in seconds.
        error: Why a call failed; None if none failed.
        returned: Whether the store returned what was saved.
        host_without_tls: Another machine to which the connections have no TLS, if any.
        tokens: How many stored tokens were looked at; None if the store does not let them be.
        unreadable: How many of these tokens the keys of the store do not decrypt.
    """

    timeout: float
    slowest: float = 0.0
    error: BaseException | None = None
    returned: bool = False
    host_without_tls: str | None = None
    tokens: int | None = None
    unreadable: int = 0


async def probe(store: TokenStore, step_timeout: float) -> StoreFacts:
    """Look at the tokens of other processes, save a value without a secret, and load it.

    The store removes the value after five seconds.

    Args:
        store: The store.
        step_timeout: How long each call may take, in seconds.
    """
    probe_id = uuid.uuid4().hex
    identity = StoreIdentity("okta-tokens doctor", probe_id)
    token = SharedToken(
        probe_id, "Bearer", frozenset(), _PROBE_LIFETIME, time.time() + _PROBE_LIFETIME
    )
    durations: list[float] = []

    async def call(method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        began = time.monotonic()
        try:
            return await asyncio.wait_for(method(*args, **kwargs), step_timeout)
        finally:
            durations.append(time.monotonic() - began)

    error: Exception | None = None
    loaded: tuple[SharedToken, float] | None = None
    tokens, unreadable = None, 0
    try:
        await call(store.load, identity)  # connects
        tokens, unreadable = await _count_tokens(store, step_timeout)
        await call(store.save, identity, token, _PROBE_LIFETIME)
        loaded = await call(store.load, identity)
    except Exception as caught:  # noqa: BLE001 - it is a fact like any other
        error = caught
    return StoreFacts(
        timeout=store.timeout,
        slowest=max(durations),
        error=error,
        returned=loaded is not None and loaded[0] == token,
        host_without_tls=getattr(store, "host_without_tls", None),
        tokens=tokens,
        unreadable=unreadable,
    )


async def _count_tokens(store: TokenStore, step_timeout: float) -> tuple[int | None, int]:
    """Return how many tokens were looked at, and how many of them no key of the store decrypts."""
    count_tokens = getattr(store, "count_tokens", None)
    if count_tokens is None:
        return None, 0
    try:
        tokens, unreadable = await asyncio.wait_for(count_tokens(), step_timeout)
    except Exception:  # noqa: BLE001 - the right may be missing, which a provider does not need
        return None, 0
    return tokens, unreadable


def check_store(facts: StoreFacts) -> Result:
    """Check that the store works in time, and that other processes have the same keys.

    Args:
        facts: What a round trip has shown.
    """
    if isinstance(facts.error, UnreadableEntry) or (facts.error is None and not facts.returned):
        detail = f"the store did not return what was saved; {_WITHOUT_IT}"
        remedy = (
            "check that the server has memory left, that reads go to its primary, and that no "
            "other program changes the entries"
        )
        return warned(STORE, detail, remedy)
    if facts.error is not None:
        detail = f"the store is unavailable: {_reason(facts.error)}; {_WITHOUT_IT}"
        remedy = "check the URL, the network, and the rights of the store's user on the server"
        return warned(STORE, detail, remedy)
    if facts.tokens and facts.unreadable == facts.tokens:
        detail = (
            f"no key of this store decrypts any of the {facts.tokens} stored tokens that were "
            "looked at: their processes and this one share nothing"
        )
        remedy = (
            "give processes that share tokens the same keys, and other processes another prefix"
        )
        return warned(STORE, detail, remedy)
    took = f"the slowest call took {1000 * facts.slowest:.0f} ms"
    if facts.slowest > _MAX_SHARE_OF_TIMEOUT * facts.timeout:
        limit = f"a provider waits {1000 * facts.timeout:.0f} ms, then works without the store"
        remedy = "check the server's load and the network; or raise the store's timeout"
        return warned(STORE, f"{took}; {limit}", remedy)
    return passed(STORE, "; ".join([took, *_remarks(facts)]))


def _remarks(facts: StoreFacts) -> list[str]:
    remarks = []
    if facts.host_without_tls is not None:
        remarks.append(f"no TLS to {facts.host_without_tls}, but tokens are stored encrypted")
    if facts.tokens == 0:
        remarks.append("no token is stored")
    elif facts.tokens is not None:
        read = facts.tokens - facts.unreadable
        remarks.append(f"its keys decrypt {read} of {facts.tokens} stored tokens")
    return remarks


def _reason(error: BaseException) -> str:
    """Return the class of an error, and the reason of the network error that caused it.

    The text of the error itself may hold anything, also a URL with a password.
    """
    if isinstance(error, TimeoutError):
        return "timed out"
    cause: BaseException | None = error
    while cause is not None and getattr(cause, "errno", None) is None:
        cause = cause.__cause__ or cause.__context__
    name = type(error).__name__
    return name if cause is None else f"{name} ({reason(cause)})"
