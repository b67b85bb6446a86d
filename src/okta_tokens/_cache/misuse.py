"""Habits that defeat the cache, and settings that do not fit: what to tell about them, and when.

Everything here decides in plain functions when a token is requested or has arrived, so a hit costs
nothing more. Nothing here keeps a secret, a client or a provider.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from operator import attrgetter
from typing import TypeVar

from okta_tokens._auth.authentication import is_compared_by_value, longest_block
from okta_tokens._emitter import Emitter
from okta_tokens._model.advice import advice_for
from okta_tokens._model.client import OktaClient
from okta_tokens._model.key_identity import IDENTITY
from okta_tokens._model.policies import RefreshPolicy, RetryPolicy
from okta_tokens._model.token_key import TokenKey
from okta_tokens.events import (
    CacheFull,
    ClientNotReused,
    ProviderNotReused,
    SlowCallable,
    SlowResponses,
    UnsuitableLifetime,
    UnusualRequest,
)

T = TypeVar("T")

_MAX_CAUSES = 1_000
"""How many causes are told, and how many kinds of tokens are remembered."""

_MAX_CLIENTS = 2
"""How many clients may differ only by a credential without equality, or by their DPoP key: the old
one and the new one of a service that replaces its client."""

_MAX_BLOCK = 0.05
"""Seconds for which a callable may block the event loop."""

_CREDENTIAL = {"authentication", "dpop"}
_all_but_credential = attrgetter(
    *(
        f"client.{field.attribute}" if field.owner == "client" else field.attribute
        for field in IDENTITY
        if field.parameter not in _CREDENTIAL
    )
)

_PROVIDER = (
    "another provider of this process fetched a token for this client and these scopes, which is "
    "still valid; each provider has a cache of its own, so a provider for each call, or for each "
    "asyncio.run, makes every call a token request. Make one provider when the process starts, and "
    "close it at the end; other threads get its tokens from source.peek() and "
    "source.get_token_from_thread()"
)
_CLIENT = (
    "this is the third client with this id that differs from the others only by {part}, so none "
    "gets a token of the others, and each call may be a token request. Make the OktaClient once, "
    "where the process starts, and pass it on"
)
_FULL = (
    "the cache holds TokenProvider's max_tokens keys, so a usable token was dropped to make room "
    "for another one, and the next caller who needs it waits for a token request. Make each "
    "OktaClient once, and request few combinations of scopes; if the service needs more tokens, "
    "raise max_tokens"
)
_CREDENTIAL_DIFFERS = (
    "its credential, which cannot be compared (a callable that is another object each time, or an "
    "authentication without __eq__ and __hash__)"
)
_DPOP_DIFFERS = "its DPoP key (each DPoP() makes a new key)"
_CALLABLE = (
    "a plain callable for the client's secret, key or signature blocked the event loop for "
    "{seconds:.3f} s, in which no other coroutine ran. Let it run in a thread: pass "
    "`lambda: asyncio.to_thread(read_secret)` in place of `read_secret`, or an async callable"
)
_LIFETIME = (
    "RefreshPolicy.min_lead ({min_lead:g} s) is more than half of the lifetime of the token "
    "({lifetime:g} s), so the renewal begins at most {lead:g} s before expiry, and callers notice "
    "a longer outage. Raise the lifetime in the authorization server's access policy, or make "
    "min_lead at most {lead:g}"
)
_RESPONSES = (
    "token responses of {origin} take {duration:.3g} s, more than {limit:.3g} s: a quarter of the "
    "lead, or half of RetryPolicy.request_timeout ({timeout:g} s). Renewals start earlier for "
    "that, and a slower response is a failure. Check the network and the proxies on the way, or "
    "raise RetryPolicy.request_timeout and RefreshPolicy.min_lead"
)


class Misuse:
    """What was told about the habits of one process, as one provider sees them.

    Args:
        refresh: When tokens are renewed.
        retry: How long a request may take.
        emit: Called with every event.
        is_diagnostic: Whether this is the doctor's provider, which does not count as a second one.
    """

    def __init__(
        self,
        refresh: RefreshPolicy,
        retry: RetryPolicy,
        emit: Emitter,
        *,
        is_diagnostic: bool = False,
    ) -> None:
        self._is_diagnostic = is_diagnostic
        self._refresh = refresh
        self._retry = retry
        self._emit = emit
        self._owner = object()  # stands for the provider, and does not keep it alive
        self._told = _Told()
        # By kind of token: the hashes of the clients without equality that requested it.
        self._clients: OrderedDict[int, set[int]] = OrderedDict()
        self.told_full = False
        """Whether it was told that the cache has too few places."""
        self._usual_client: OktaClient | None = None
        """The last client that may be made again without harm, since its credential is a value."""
        # By domain: the time of the responses that was told.
        self._slow: dict[str, float] = {}
        self._limit = 0.0, 0.0  # for the lifetime of the last token

    def check_request(self, key: TokenKey) -> None:
        """Judge a key whose first token is about to be requested.

        Args:
            key: The key.
        """
        if advice := "; ".join(advice_for(key)):
            self._emit(UnusualRequest(key=key, advice=advice))
        client = key.client
        if client is self._usual_client:  # most services have one
            return
        by_value = is_compared_by_value(client.authentication)
        if by_value and client.dpop is None:
            self._usual_client = client
            return
        # A secret that is a value may rotate, so only the DPoP key counts beside it.
        variant = hash(client.dpop if by_value else client)
        clients = _recall(self._clients, _kind_of(key), set())
        if len(clients) > _MAX_CLIENTS:
            return
        clients.add(variant)
        if len(clients) > _MAX_CLIENTS and self._told.is_new(ClientNotReused, *_client_of(key)):
            part = _DPOP_DIFFERS if by_value else _CREDENTIAL_DIFFERS
            self._emit(ClientNotReused(key=key, advice=_CLIENT.format(part=part)))

    def tell_full(self, key: TokenKey) -> None:
        """Tell, once, that the cache has too few places.

        Args:
            key: The key of a usable token that was dropped.
        """
        self.told_full = True
        self._emit(CacheFull(key=key, advice=_FULL))

    def check_callable(self, key: TokenKey) -> None:
        """Judge how long the callable of a client blocked the event loop.

        Args:
            key: A key of the client.
        """
        if key.client is self._usual_client:
            return
        seconds = longest_block(key.client.authentication)
        if seconds > _MAX_BLOCK and self._told.is_new(SlowCallable, *_client_of(key)):
            advice = _CALLABLE.format(seconds=seconds)
            self._emit(SlowCallable(key=key, seconds=seconds, advice=advice))

    def check_lifetime(self, key: TokenKey, lifetime: float) -> None:
        """Judge whether the policy can keep its lead.

        Args:
            key: The key of a new token.
            lifetime: The token's lifetime, in seconds.
        """
        min_lead = self._refresh.min_lead
        if min_lead <= lifetime / 2:
            return
        if self._told.is_new(UnsuitableLifetime, *_client_of(key), round(lifetime)):
            advice = _LIFETIME.format(min_lead=min_lead, lifetime=lifetime, lead=lifetime / 2)
            self._emit(UnsuitableLifetime(key=key, lifetime=lifetime, advice=advice))

    def check_provider(self, key: TokenKey, *, now: float, usable_until: float) -> None:
        """Judge whether another provider has a token like the one that this provider has fetched.

        Args:
            key: The key of the token.
            now: The present moment, in seconds of boot time.
            usable_until: When the token becomes unusable, in seconds of boot time.
        """
        if self._is_diagnostic:
            return
        if FETCHES.record(key, self._owner, now=now, usable_until=usable_until):
            self._emit(ProviderNotReused(key=key, advice=_PROVIDER))

    def check_response_time(self, key: TokenKey, duration: float, lifetime: float) -> None:
        """Judge a domain; tell again that it is slow only after its responses took half the time.

        Args:
            key: The key of a token that was fetched from the domain.
            duration: How long the latest token responses took, in seconds.
            lifetime: The token's lifetime, in seconds.
        """
        if lifetime != self._limit[0]:
            limit = min(self._refresh.lead(lifetime) / 4, self._retry.request_timeout / 2)
            self._limit = lifetime, limit
        limit = self._limit[1]
        if duration <= limit and not self._slow:
            return
        origin = key.client.origin
        told = self._slow.get(origin)
        if told is not None and duration < told / 2:
            del self._slow[origin]
        elif told is None and duration > limit and len(self._slow) < _MAX_CAUSES:
            self._slow[origin] = duration
            advice = _RESPONSES.format(
                origin=origin,
                duration=duration,
                limit=limit,
                timeout=self._retry.request_timeout,
            )
            self._emit(SlowResponses(key=key, duration=duration, advice=advice))


class _Told:
    """The causes that were told: each is new once, and no cause is new after 1,000 of them."""

    def __init__(self) -> None:
        self._causes: set[tuple[Hashable, ...]] = set()

    def is_new(self, *cause: Hashable) -> bool:
        """Tell whether a cause was not told before, and count it as told from now on."""
        if cause in self._causes or len(self._causes) >= _MAX_CAUSES:
            return False
        self._causes.add(cause)
        return True


class Fetches:
    """The latest fetches of all providers of this process; any thread may record one."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: in a forked child, where another thread may have held the lock."""
        self._lock = threading.Lock()
        # By kind of token: which provider fetched it, and until when it is usable.
        self._latest: OrderedDict[int, tuple[object, float]] = OrderedDict()
        self._told = _Told()

    def record(self, key: TokenKey, owner: object, *, now: float, usable_until: float) -> bool:
        """Record a fetch; tell, once for each client, whether another provider's token is usable.

        Args:
            key: The key of the token.
            owner: Stands for the provider.
            now: The present moment, in seconds of boot time.
            usable_until: When the token becomes unusable, in seconds of boot time.
        """
        kind = _kind_of(key)
        with self._lock:
            other, until = _recall(self._latest, kind, (owner, now))
            self._latest[kind] = owner, usable_until
            return other is not owner and now < until and self._told.is_new(*_client_of(key))


FETCHES = Fetches()
# Where there is no fork, there is nothing to register.
getattr(os, "register_at_fork", dict)(after_in_child=FETCHES.clear)


def _client_of(key: TokenKey) -> tuple[str, str | None, str]:
    return key.client.origin, key.authorization_server, key.client_id


def _kind_of(key: TokenKey) -> int:
    """Return the hash of everything that decides about a token, except the credential."""
    return hash(_all_but_credential(key))


def _recall(table: OrderedDict[int, T], kind: int, default: T) -> T:
    """Return what a table has for a kind of token; only the latest 1,000 kinds have a place."""
    value = table.setdefault(kind, default)
    table.move_to_end(kind)
    if len(table) > _MAX_CAUSES:
        table.popitem(last=False)
    return value
