"""The values of entries, and what the entries of an identity mean together.

A record of this package has exactly the values that its function here takes. An entry with other
values is as unreadable as one that cannot be decrypted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from okta_tokens._sharing.fleet_protocol import (
    DomainState,
    SharedFailure,
    SharedRejection,
    StoredState,
)
from okta_tokens._sharing.store_protocol import SharedToken, UnreadableEntry
from okta_tokens.stores._sealing import Drawer

T = TypeVar("T")

_SCALARS = {str, int, float, bool, type(None)}


class Found(NamedTuple):
    """What the server returned about an identity under one key."""

    drawer: Drawer
    """The key and the identity."""
    entries: dict[str, tuple[bytes, int]]
    """The entries by name, each with the milliseconds until its end; they are negative if there is
    no entry, or the entry has no end."""
    discarded: Sequence[bytes] = ()
    """What stands for the discarded tokens."""


def fields_of(outcome: SharedToken | SharedFailure) -> tuple[object, ...]:
    """Return the values of the entry of a token or of a failure.

    Args:
        outcome: The token or the failure.
    """
    if isinstance(outcome, SharedToken):
        scopes = sorted(outcome.scopes)
        return outcome.value, outcome.token_type, scopes, outcome.lifetime, outcome.expires_at
    return tuple(outcome._replace(facts=dict(outcome.facts)))


def make_token(*fields: Any) -> SharedToken:  # noqa: ANN401 - as they were decrypted
    """Return the token of an entry with these values.

    Raises:
        TypeError: If there is no such token; likewise `ValueError`.
    """
    value, token_type, scopes, lifetime, expires_at = fields
    return SharedToken(
        _text(value),
        _text(token_type),
        frozenset(map(_text, scopes)),
        _number(lifetime),
        _number(expires_at),
    )


def make_failure(*fields: Any) -> SharedFailure:  # noqa: ANN401 - as they were decrypted
    """Return the failure of an entry with these values.

    Raises:
        TypeError: If there is no such failure; likewise `ValueError`.
    """
    kind, message, facts, failures, failed_at, until, renew_at, processes = fields
    if not all(type(fact) in _SCALARS for fact in dict(facts).values()):
        raise TypeError
    return SharedFailure(
        _text(kind),
        _text(message),
        facts,
        int(_number(failures)),
        _number(failed_at),
        _number(until),
        _number(renew_at),
        tuple(map(_text, processes)),
    )


def make_rejection(damping: object, rejected_at: object) -> SharedRejection:
    """Return the rejection of an entry with these values.

    Raises:
        TypeError: If there is no such rejection; likewise `ValueError`.
    """
    return SharedRejection(_number(damping), _number(rejected_at))


def make_moment(moment: object) -> float:
    """Return the moment of an entry of a pause or of a clearing, in seconds since the epoch.

    Raises:
        TypeError: If there is no such moment; likewise `ValueError`.
    """
    return _number(moment)


def read_state(found: Sequence[Found], held: Sequence[str]) -> StoredState:
    """Return what is stored about an identity, whichever keys encrypted it.

    A token that can be used is returned, whatever another entry contains.

    Args:
        found: What the server returned for each key.
        held: What stands for the token that the process holds; empty if it holds none.

    Raises:
        UnreadableEntry: If an entry cannot be used, and there is no token.
    """
    reader = _Reader(found)
    discarded = {digest.decode("latin-1") for one in found for digest in one.discarded}
    tokens = [
        (token, seconds)
        for token, seconds in reader.read("token", make_token)
        if discarded.isdisjoint(one.drawer.digest(token.value) for one in found)
    ]
    failures = [*reader.read("failure", make_failure)]
    rejections = [rejection for rejection, _ in reader.read("rejection", make_rejection)]
    token, seconds = max(tokens, key=lambda it: it[0].expires_at, default=(None, 0.0))
    if token is None and reader.problem is not None:
        raise reader.problem
    last = max(failures, key=lambda it: it[0].failed_at, default=(None, math.inf))
    failure, failure_seconds = last
    return StoredState(
        token,
        seconds,
        failure,
        max(rejections, key=lambda rejection: rejection.rejected_at, default=None),
        not discarded.isdisjoint(held),
        failure_seconds,
    )


def read_domain(found: Sequence[Found]) -> DomainState:
    """Return what is stored about a part of a domain, whichever keys encrypted it.

    Args:
        found: What the server returned for each key.

    Raises:
        UnreadableEntry: If an entry cannot be used.
    """
    reader = _Reader(found)
    pauses = [(seconds, until) for until, seconds in reader.read("pause", make_moment)]
    cleared = [at for at, _ in reader.read("cleared", make_moment)]
    if reader.problem is not None:
        raise reader.problem
    return DomainState(max(pauses, default=None), max(cleared, default=None))


class _Reader:
    """Opens entries, and remembers whether one of them cannot be used.

    Args:
        found: What the server returned for each key.
    """

    def __init__(self, found: Sequence[Found]) -> None:
        self._found = found
        self.problem: UnreadableEntry | None = None

    def read(self, kind: str, make: Callable[..., T]) -> Iterator[tuple[T, float]]:
        """Yield the records of a kind, each with the seconds until its end.

        Args:
            kind: What the entries contain.
            make: Makes a record of the values of an entry.
        """
        for drawer, entries, _ in self._found:
            for name, (entry, milliseconds) in entries.items():
                if name.startswith(drawer.name(kind)) and entry and milliseconds > 0:
                    record = self._open(drawer, name, entry, make)
                    if record is not None:
                        yield record, milliseconds / 1000

    def _open(self, drawer: Drawer, name: str, entry: bytes, make: Callable[..., T]) -> T | None:
        try:
            return drawer.open(name, entry, make)
        except UnreadableEntry as error:
            self.problem = error
            return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return value
