"""What happens in a provider: one frozen event for each thing, and who hears of it.

An observer is any callable that takes an event. Events hold no secret and no token value. They are
delivered in order, soon after what they tell of, from the event loop and never from within a call
that gets a token; so an observer should be quick. One that raises harms nobody.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar, dataclass_transform

import structlog

from okta_tokens._model.scopes import format_scopes
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
    "log_event",
]

Level = Literal["debug", "info", "warning", "error"]
E = TypeVar("E")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def _event(kind: type[E]) -> type[E]:
    """Make a frozen dataclass, which compares and prints as `Event` does.

    What `dataclass` would generate for that, in twenty classes, is a quarter of the time that this
    package takes to import.
    """
    return dataclass(frozen=True, kw_only=True, eq=False, repr=False)(kind)


@_event
class Event:
    """Something that happened; the base of all events."""

    name: ClassVar[str]
    """What a log line is called; constant."""
    level: ClassVar[Level]
    """How much it matters."""

    def __eq__(self, other: object) -> bool:
        """Compare by kind and by value."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        """Return a hash that fits the equality."""
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        """Return the call that makes an equal event."""
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


@_event
class KeyEvent(Event):
    """Something that happened to one key."""

    key: TokenKey
    """Which token it is about."""


@_event
class TokenRequested(KeyEvent):
    """A request is about to be sent."""

    name: ClassVar[str] = "okta_tokens.token_requested"
    level: ClassVar[Level] = "debug"

    attempt: int
    """Which request of this fetch it is, from 1."""
    renewal: bool
    """True if nobody waits for it."""


@_event
class TokenFetched(KeyEvent):
    """A token arrived and is handed out from now on."""

    name: ClassVar[str] = "okta_tokens.token_fetched"
    level: ClassVar[Level] = "info"

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


@_event
class TokenAdopted(KeyEvent):
    """A token that another process had fetched was found in the store, and is handed out."""

    name: ClassVar[str] = "okta_tokens.token_adopted"
    level: ClassVar[Level] = "info"

    lifetime: float
    """Seconds from its request to expiry."""
    remaining: float
    """Seconds until it expires."""
    scopes: frozenset[str]
    """What the token holds."""
    waiters: int
    """How many callers waited for it."""


@_event
class AttemptFailed(KeyEvent):
    """One request failed; the fetch it belongs to may go on."""

    name: ClassVar[str] = "okta_tokens.attempt_failed"
    level: ClassVar[Level] = "debug"

    error: FetchError
    """Why."""


@_event
class FetchFailed(KeyEvent):
    """A fetch failed while no usable token was held: callers get the error."""

    name: ClassVar[str] = "okta_tokens.fetch_failed"
    level: ClassVar[Level] = "error"

    error: TokenProviderError
    """Why."""
    waiters: int
    """How many callers get it now."""
    cooldown: float
    """Seconds for which later callers get it at once."""


@_event
class RenewalScheduled(KeyEvent):
    """A renewal is due in a while."""

    name: ClassVar[str] = "okta_tokens.renewal_scheduled"
    level: ClassVar[Level] = "debug"

    after: float
    """Seconds until then."""


@_event
class RenewalFailed(KeyEvent):
    """A renewal failed; the token that is held is handed out as before."""

    name: ClassVar[str] = "okta_tokens.renewal_failed"
    level: ClassVar[Level] = "warning"

    error: TokenProviderError
    """Why."""
    failures: int
    """How many failed in a row."""
    remaining: float
    """Seconds for which the token will still be handed out."""
    after: float | None
    """Seconds until the next try; None if it waits until somebody asks."""


@_event
class RenewalPostponed(KeyEvent):
    """A renewal moved to the end of a pause that Okta asked for."""

    name: ClassVar[str] = "okta_tokens.renewal_postponed"
    level: ClassVar[Level] = "debug"

    after: float
    """Seconds until the next try."""


@_event
class KeyIdle(KeyEvent):
    """A token is not renewed, since nobody has used it since the last time."""

    name: ClassVar[str] = "okta_tokens.key_idle"
    level: ClassVar[Level] = "debug"


@_event
class KeyForgotten(KeyEvent):
    """A key that holds no usable token was dropped; whoever asks for it again waits for a fetch."""

    name: ClassVar[str] = "okta_tokens.key_forgotten"
    level: ClassVar[Level] = "debug"


@_event
class KeyEvicted(KeyEvent):
    """A key made room for another one: `max_tokens` was reached."""

    name: ClassVar[str] = "okta_tokens.key_evicted"
    level: ClassVar[Level] = "debug"


@_event
class TokenInvalidated(KeyEvent):
    """A token was dropped because somebody rejected it."""

    name: ClassVar[str] = "okta_tokens.token_invalidated"
    level: ClassVar[Level] = "info"

    damping: float
    """Seconds for which its replacement will be kept, even if it is rejected too."""


@_event
class InvalidationIgnored(KeyEvent):
    """A token that replaced a rejected one was rejected as well, and is kept for a while.

    It is told once for each token. The API that rejects both is misconfigured: a third token would
    not help.
    """

    name: ClassVar[str] = "okta_tokens.invalidation_ignored"
    level: ClassVar[Level] = "warning"

    remaining: float
    """Seconds for which the token will be kept all the same."""


@_event
class TokenRevoked(KeyEvent):
    """Okta revoked a token, since somebody asked for it."""

    name: ClassVar[str] = "okta_tokens.token_revoked"
    level: ClassVar[Level] = "info"


@_event
class UnusualRequest(KeyEvent):
    """A token is asked for, for the first time, in a way that Okta usually refuses."""

    name: ClassVar[str] = "okta_tokens.unusual_request"
    level: ClassVar[Level] = "warning"

    advice: str
    """What is unusual, and what is usual."""


@_event
class RequestsPaused(Event):
    """Okta answered 429: no request goes to these servers of the domain for a while."""

    name: ClassVar[str] = "okta_tokens.requests_paused"
    level: ClassVar[Level] = "warning"

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


@_event
class StoreFailed(Event):
    """The shared store failed, or did not answer: the provider goes on as if there were none.

    There is one such event until it works again.
    """

    name: ClassVar[str] = "okta_tokens.store_failed"
    level: ClassVar[Level] = "warning"

    reason: str
    """The type of the error, or that there was no answer in time."""
    after: float
    """In how many seconds it is tried again."""


@_event
class StoreRecovered(Event):
    """The shared store works again."""

    name: ClassVar[str] = "okta_tokens.store_recovered"
    level: ClassVar[Level] = "info"

    seconds: float
    """For how long it did not."""


@_event
class StoreEntryIgnored(KeyEvent):
    """What is in the store under a key's name cannot be used: it was tampered with, or is garbage.

    There is one such event a minute at most.
    """

    name: ClassVar[str] = "okta_tokens.store_entry_ignored"
    level: ClassVar[Level] = "warning"


@_event
class ProviderClosed(Event):
    """The provider was closed."""

    name: ClassVar[str] = "okta_tokens.provider_closed"
    level: ClassVar[Level] = "info"


@_event
class ProviderFailed(Event):
    """The provider's own background work ended by an error, a defect of this package's."""

    name: ClassVar[str] = "okta_tokens.provider_failed"
    level: ClassVar[Level] = "error"

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


def log_event(event: Event) -> None:
    """Log an event: the observer that every provider has.

    If the application has configured structlog, its configuration is used; otherwise the line goes
    to the standard library's logger `okta_tokens`, which is silent until the application says
    otherwise.

    Args:
        event: What happened.
    """
    logger = event_logger()
    if logger is not _WRAPPED_LOGGER or _STANDARD_LOGGER.isEnabledFor(_NUMBERS[event.level]):
        getattr(logger, event.level)(event.name, **_log_fields(event))


_NUMBERS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_STANDARD_LOGGER = logging.getLogger("okta_tokens")
_STANDARD_LOGGER.addHandler(logging.NullHandler())
_WRAPPED_LOGGER: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    _STANDARD_LOGGER,
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)


def event_logger() -> structlog.stdlib.BoundLogger:
    """Return the application's logger if it has configured structlog, else the quiet one."""
    if structlog.is_configured():
        logger: structlog.stdlib.BoundLogger = structlog.get_logger("okta_tokens").bind()
        # Of an asynchronous logger the synchronous one that it wraps.
        return getattr(logger, "sync_bl", logger)
    return _WRAPPED_LOGGER


def _log_fields(event: Event) -> dict[str, object]:
    """Return an event's fields as plain values."""
    log: dict[str, object] = {}
    for name, value in vars(event).items():
        if isinstance(value, TokenKey):
            log |= _key_fields(value)
        elif isinstance(value, TokenProviderError):
            log |= _error_fields(value)
        elif isinstance(value, frozenset):
            log[name] = format_scopes(value)
        else:
            log[name] = round(value, 3) if isinstance(value, float) else value
    return log


def _key_fields(key: TokenKey) -> dict[str, object]:
    return {
        "domain": key.domain,
        "authorization_server": key.authorization_server,
        "client_id": key.client_id,
        "requested": format_scopes(key.scopes),
    }


def _error_fields(error: TokenProviderError) -> dict[str, object]:
    log: dict[str, object] = {"error": type(error).__name__, "reason": str(error.args[0])}
    for name in ("status", "error", "attempts", "retryable", "request_id", "error_id"):
        if (value := getattr(error, name, None)) is not None:
            log["code" if name == "error" else name] = value
    return log
