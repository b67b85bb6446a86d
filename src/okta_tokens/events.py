"""The events of a provider: one frozen class for each kind of event, and what an observer is.

An observer is any callable that takes an event. The provider delivers events in order, one turn of
the event loop after they happen, and never from inside a call that gets a token. An observer runs
on the event loop, so it must return quickly. If an observer raises, the provider logs the error and
continues. Events hold no secret and no token value.
"""

from __future__ import annotations

import re
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Literal, Protocol, dataclass_transform

from okta_tokens._model.token_key import TokenKey
from okta_tokens.errors import FetchError, ProviderStateError, TokenProviderError

__all__ = [
    "AttemptFailed",
    "Event",
    "FetchFailed",
    "InvalidationIgnored",
    "KeyEvent",
    "KeyEvicted",
    "KeyForgotten",
    "KeyIdle",
    "Observer",
    "ProviderClosed",
    "ProviderFailed",
    "RenewalFailed",
    "RenewalPostponed",
    "RenewalScheduled",
    "RequestsPaused",
    "StoreEntryIgnored",
    "StoreFailed",
    "StoreRecovered",
    "TokenAdopted",
    "TokenFetched",
    "TokenInvalidated",
    "TokenRequested",
    "TokenRevoked",
    "UnusualRequest",
]

Level = Literal["debug", "info", "warning", "error"]

_INNER_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")

# `Event` defines the comparison and the repr once. If `dataclass` generated them for each of twenty
# classes, the package would take a quarter longer to import.
_frozen_dataclass = dataclass(frozen=True, kw_only=True, eq=False, repr=False)


@dataclass_transform(frozen_default=True, kw_only_default=True)
@_frozen_dataclass
class Event:
    """Something that happened in a provider; the base of all events.

    A subclass is made a frozen dataclass whose fields are passed by name. A subclass that states a
    `level` also gets its `name`: `class TokenFetched(KeyEvent, level="info")` is logged as
    `okta_tokens.token_fetched`.
    """

    name: ClassVar[str]
    """The name of the event in logs; constant."""
    level: ClassVar[Level]
    """The level at which the event is logged."""
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # lets `asdict` take any event

    def __init_subclass__(cls, *, level: Level | None = None) -> None:
        """Make the subclass a frozen dataclass and set its name and level.

        Args:
            level: The level at which the event is logged; `None` for a base of several events.
        """
        if level is not None:
            cls.name = f"okta_tokens.{_INNER_CAPITAL.sub('_', cls.__name__).lower()}"
            cls.level = level
        _frozen_dataclass(cls)

    def __eq__(self, other: object) -> bool:
        """Compare the type and every field."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        """Return a hash that agrees with `__eq__`."""
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        """Return the call that makes an equal event."""
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


class KeyEvent(Event):
    """Something that happened to one key."""

    key: TokenKey
    """Which token it is about."""


class TokenRequested(KeyEvent, level="debug"):
    """A request is about to be sent."""

    attempt: int
    """Which request of this fetch it is, from 1."""
    renewal: bool
    """True if nobody waits for it."""


class TokenFetched(KeyEvent, level="info"):
    """A token arrived and is handed out from now on."""

    lifetime: float
    """Seconds from the request to expiry."""
    duration: float
    """Seconds from the request to the answer."""
    scopes: frozenset[str]
    """What the token holds."""
    missing_scopes: frozenset[str]
    """What was asked for and not granted."""
    waiters: int
    """How many callers waited for it."""
    request_id: str | None
    """The answer's `X-Okta-Request-Id`."""


class TokenAdopted(KeyEvent, level="info"):
    """A token that another process had fetched was found in the store, and is handed out."""

    lifetime: float
    """Seconds from its request to expiry."""
    remaining: float
    """Seconds until it expires."""
    scopes: frozenset[str]
    """What the token holds."""
    waiters: int
    """How many callers waited for it."""


class AttemptFailed(KeyEvent, level="debug"):
    """One request failed; the fetch it belongs to may go on."""

    error: FetchError
    """Why."""


class FetchFailed(KeyEvent, level="error"):
    """A fetch failed while no usable token was held: callers get the error."""

    error: TokenProviderError
    """Why."""
    waiters: int
    """How many callers get it now."""
    cooldown: float
    """Seconds for which later callers get it at once."""


class RenewalScheduled(KeyEvent, level="debug"):
    """A renewal is due in a while."""

    after: float
    """Seconds until then."""


class RenewalFailed(KeyEvent, level="warning"):
    """A renewal failed; the token that is held is handed out as before."""

    error: TokenProviderError
    """Why."""
    failures: int
    """How many failed in a row."""
    remaining: float
    """Seconds for which the token will still be handed out."""
    after: float | None
    """Seconds until the next try; None if it waits until somebody asks."""


class RenewalPostponed(KeyEvent, level="debug"):
    """A renewal moved to the end of a pause that Okta asked for."""

    after: float
    """Seconds until the next try."""


class KeyIdle(KeyEvent, level="debug"):
    """A token is not renewed, since nobody has used it since the last time."""


class KeyForgotten(KeyEvent, level="debug"):
    """A key that holds no usable token was dropped; whoever asks for it again waits for a fetch."""


class KeyEvicted(KeyEvent, level="debug"):
    """A key made room for another one: `max_tokens` was reached."""


class TokenInvalidated(KeyEvent, level="info"):
    """A token was dropped because somebody rejected it."""

    damping: float
    """Seconds for which its replacement will be kept, even if it is rejected too."""


class InvalidationIgnored(KeyEvent, level="warning"):
    """A token that replaced a rejected one was rejected as well, and is kept for a while.

    It is told once for each token. The API that rejects both is misconfigured: a third token would
    not help.
    """

    remaining: float
    """Seconds for which the token will be kept all the same."""


class TokenRevoked(KeyEvent, level="info"):
    """Okta revoked a token, since somebody asked for it."""


class UnusualRequest(KeyEvent, level="warning"):
    """A token is asked for, for the first time, in a way that Okta usually refuses."""

    advice: str
    """What is unusual, and what is usual."""


class RequestsPaused(Event, level="warning"):
    """Okta answered 429: no request goes to these servers of the domain for a while."""

    origin: str
    """The domain, with its scheme."""
    org_server: bool
    """True for the org's own authorization server, False for all custom ones."""
    seconds: float
    """How long."""
    concurrency: bool
    """True if too many requests were under way at once."""
    request_id: str | None
    """The answer's `X-Okta-Request-Id`."""


class StoreFailed(Event, level="warning"):
    """The shared store failed, or did not answer: the provider goes on as if there were none.

    There is one such event until it works again.
    """

    reason: str
    """The type of the error, or that there was no answer in time."""
    after: float
    """In how many seconds it is tried again."""


class StoreRecovered(Event, level="info"):
    """The shared store works again."""

    seconds: float
    """For how long it did not."""


class StoreEntryIgnored(KeyEvent, level="warning"):
    """What is in the store under a key's name cannot be used: it was tampered with, or is garbage.

    There is one such event a minute at most.
    """


class ProviderClosed(Event, level="info"):
    """The provider was closed."""


class ProviderFailed(Event, level="error"):
    """The provider's own background work ended by an error, a defect of this package's."""

    error: ProviderStateError
    """What callers get from now on; its cause is chained."""


class Observer(Protocol):
    """Hears of everything that happens in a provider."""

    def __call__(self, event: Event, /) -> None:
        """Take note of an event.

        Args:
            event: One of the classes of this module; an observer ignores those that it does not
                know, since there may be more of them one day.
        """
