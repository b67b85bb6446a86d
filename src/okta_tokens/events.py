"""The events of a provider: one frozen class for each kind of event, and what an observer is.

An observer is any callable that takes an event. The provider delivers events in order, one turn of
the event loop after they happen, and never from inside a call that gets a token. An observer runs
on the event loop, so it must return quickly. If an observer raises, the provider logs the error and
continues. Events hold no secret and no token value.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Protocol

from okta_tokens._model.token_key import TokenKey
from okta_tokens._runtime.record import Record
from okta_tokens.errors import FetchError, ProviderStateError, TokenProviderError

__all__ = [
    "AttemptFailed",
    "CacheFull",
    "ClientNotReused",
    "ClockDiffers",
    "Event",
    "FailureEvent",
    "FetchEvent",
    "FetchFailed",
    "InvalidationIgnored",
    "KeyEvent",
    "KeyEvicted",
    "KeyForgotten",
    "KeyIdle",
    "KeyRecovered",
    "LastRenewalFailed",
    "NotificationsRefused",
    "Observer",
    "PlainHttpUsed",
    "ProviderClosed",
    "ProviderFailed",
    "ProviderNotReused",
    "ProviderStarted",
    "RenewalAdopted",
    "RenewalFailed",
    "RenewalPostponed",
    "RenewalScheduled",
    "RequestsPaused",
    "ScopesNotGranted",
    "SlowCallable",
    "SlowResponses",
    "StoreEntryIgnored",
    "StoreFailed",
    "StoreRecovered",
    "StoreWithoutTls",
    "TokenAdopted",
    "TokenFetched",
    "TokenInvalidated",
    "TokenNotShared",
    "TokenRenewed",
    "TokenRequested",
    "TokenRevoked",
    "TokenWithdrawn",
    "UnsuitableLifetime",
    "UnusualRequest",
]

Level = Literal["debug", "info", "warning", "error"]

Reason = Literal["missing", "due", "expired", "rejected", "forced", "revocation"]
"""Why a request is made. `missing`: no token is held. `due`: the token will expire soon. `expired`:
the token is past its leeway. `rejected`: an API rejected the last token. `forced`: a caller wants
another token (`TokenSource.refresh`). `revocation`: the request revokes a token."""

_INNER_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class Event(Record):
    """Something that happened in a provider; the base of all events.

    A subclass is a frozen dataclass whose fields are passed by name. A subclass that states a
    `level` also gets its `name`: `class TokenFetched(KeyEvent, level="info")` is logged as
    `okta_tokens.token_fetched`.
    """

    name: ClassVar[str]
    """The name of the event in logs; constant."""
    level: ClassVar[Level]
    """The level at which the event is logged."""

    def __init_subclass__(cls, *, level: Level | None = None) -> None:
        """Set the name and level of the subclass.

        Args:
            level: The level at which the event is logged; `None` for a base of several events.
        """
        super().__init_subclass__()
        if level is not None:
            cls.name = f"okta_tokens.{_INNER_CAPITAL.sub('_', cls.__name__).lower()}"
            cls.level = level


class KeyEvent(Event):
    """Something that happened to one key; the base of all events about a key."""

    key: TokenKey
    """The key of the token."""


class FetchEvent(KeyEvent):
    """Something that happened to a fetch, a renewal or an attempt; the base of these events."""

    reason: Reason
    """Why the token is fetched."""
    waited: float
    """Seconds that the caller who came first has waited by now; 0.0 if no caller waits."""


class FailureEvent(FetchEvent):
    """A fetch, a renewal or an attempt that failed; the base of these events."""

    error: TokenProviderError
    """Why it failed."""
    duration: float
    """Seconds from its start to its end; of a fetch or a renewal with every attempt and wait."""

    @property
    def status(self) -> int | None:
        """The HTTP status of the last response; `None` if there was none."""
        return getattr(self.error, "status", None)

    @property
    def error_type(self) -> str:
        """The error code of the response (RFC 6749 section 5.2), or the class of the error."""
        code = getattr(self.error, "error", None)
        return code if isinstance(code, str) and code else type(self.error).__name__


class TokenRequested(FetchEvent, level="debug"):
    """The provider is about to send a token request."""

    attempt: int
    """The number of the attempt in this fetch or renewal, from 1."""
    renewal: bool
    """True if no caller waits for the token."""


class TokenFetched(FetchEvent, level="info"):
    """A token arrived; callers get it from now on."""

    lifetime: float
    """Seconds from the request to expiry."""
    duration: float
    """Seconds from the request to the response."""
    scopes: frozenset[str]
    """The granted scopes."""
    missing_scopes: frozenset[str]
    """The scopes that were requested and not granted."""
    waiters: int
    """The number of callers that waited for the token."""
    request_id: str | None
    """The response's `X-Okta-Request-Id`."""


class TokenRenewed(TokenFetched, level="debug"):
    """A token arrived in time to replace a usable one; callers get it from now on."""


class ScopesNotGranted(KeyEvent, level="warning"):
    """A token arrived without some of the requested scopes; told once for each change."""

    missing_scopes: frozenset[str]
    """The scopes that were requested and not granted."""
    scopes: frozenset[str]
    """The granted scopes."""


class TokenAdopted(FetchEvent, level="info"):
    """The provider found another process's token in the store; callers get it from now on."""

    duration: float
    """Seconds from the start of the fetch to its end."""
    lifetime: float
    """Seconds from the other process's request to expiry."""
    remaining: float
    """Seconds until the token expires."""
    scopes: frozenset[str]
    """The granted scopes."""
    waiters: int
    """The number of callers that waited for the token."""


class RenewalAdopted(TokenAdopted, level="debug"):
    """The provider found another process's token in the store in time to replace a usable one."""


class AttemptFailed(FailureEvent, level="debug"):
    """An attempt failed; the fetch may continue with another attempt."""

    error: FetchError
    """Why the attempt failed."""


class FetchFailed(FailureEvent, level="error"):
    """A fetch failed and no usable token is held, so callers get the error."""

    waiters: int
    """The number of callers that get the error now."""
    failures: int
    """The number of fetches of this key that failed in a row."""
    without_token: float
    """Seconds since the last usable token, or since the first failure if there was none."""
    cooldown: float
    """Seconds for which later callers get the error at once."""
    adopted: bool
    """True if another process sent the request, and shares the failure through the store."""


class KeyRecovered(KeyEvent, level="info"):
    """A token arrived after failed fetches or renewals."""

    failures: int
    """The number of fetches and renewals that had failed in a row."""
    seconds: float
    """Seconds since the first of them failed."""


class RenewalScheduled(KeyEvent, level="debug"):
    """The provider scheduled the renewal of a token."""

    after: float
    """Seconds until the renewal."""


class RenewalFailed(FailureEvent, level="warning"):
    """A renewal failed; callers still get the token that is held."""

    failures: int
    """The number of renewals of this token that failed in a row."""
    remaining: float
    """Seconds for which callers still get the token."""
    after: float | None
    """Seconds until the next renewal; `None` if it starts when a caller gets the token."""
    adopted: bool
    """True if another process sent the request, and shares the failure through the store."""


class LastRenewalFailed(RenewalFailed, level="error"):
    """A renewal failed, and none is scheduled for as long as callers still get the token.

    Callers will wait, or get the error, after `remaining` seconds.
    """


class RenewalPostponed(FetchEvent, level="debug"):
    """A renewal moved to the end of a pause that Okta asked for, or of a shared back-off.

    Processes that share a store wait together after the failed renewal of one of them.
    """

    status: int | None
    """The HTTP status of the response to this renewal, or to that of another process; `None` if
    there was no response."""
    after: float
    """Seconds until the renewal."""


class KeyIdle(KeyEvent, level="debug"):
    """The provider does not renew a token, because no caller used it since the last renewal."""


class KeyForgotten(KeyEvent, level="debug"):
    """The provider dropped a key that was unused or cleared; the next caller waits for a fetch."""


class KeyEvicted(KeyEvent, level="debug"):
    """The provider dropped a key to make room for another one: it holds `max_tokens` keys."""


class TokenInvalidated(KeyEvent, level="info"):
    """The provider dropped a token because a caller reported that an API rejected it."""

    api: str | None
    """The API that rejected the token, if the caller named it."""
    challenge: str | None
    """Its `WWW-Authenticate`, without secrets, if the caller passed it."""
    damping: float
    """Seconds for which the provider keeps the replacement, even if it is rejected, too."""


class TokenWithdrawn(KeyEvent, level="info"):
    """The provider dropped a token because another process rejected, revoked or cleared it.

    The processes share a store.
    """

    damping: float
    """Seconds for which the provider keeps the replacement, even if it is rejected, too; 0.0 if no
    API rejected the token."""


class InvalidationIgnored(KeyEvent, level="warning"):
    """A token that replaced a rejected one was rejected as well, and the provider keeps it.

    An API that rejects both tokens is misconfigured, and a third token would not help. The event
    comes with the first rejection of a token, the tenth, the hundredth, and so on.
    """

    api: str | None
    """The API that rejected the token, if the caller named it."""
    challenge: str | None
    """Its `WWW-Authenticate`, without secrets, if the caller passed it."""
    rejections: int
    """The number of rejections of this token."""
    kept_for: float
    """Seconds for which the provider keeps the token."""


class TokenRevoked(KeyEvent, level="info"):
    """Okta revoked a token at a caller's request."""


class UnusualRequest(KeyEvent, level="warning"):
    """A caller requested a token, for the first time, in a way that Okta usually refuses."""

    advice: str
    """What is unusual about the request, and what to change."""


class ProviderNotReused(KeyEvent, level="warning"):
    """A token was fetched although another provider of this process has fetched a usable one.

    The other provider may be closed: a provider that is made for each call is found, too. There is
    one such event for each client id and process.
    """

    advice: str
    """What is wrong, what it costs, and what to change."""


class ClientNotReused(KeyEvent, level="warning"):
    """A third client requests a token that differs from two others only by its credential.

    The credential cannot be compared, or is a DPoP key: a callable or a key that is made for each
    call. A secret that is a value may rotate. There is one such event for each client id.
    """

    advice: str
    """What is wrong, what it costs, and what to change."""


class CacheFull(KeyEvent, level="warning"):
    """The provider dropped a usable token to make room for another key.

    There is one such event for each provider.
    """

    advice: str
    """What is wrong, what it costs, and what to change."""


class SlowCallable(KeyEvent, level="warning"):
    """A plain callable for a secret, key or signature blocked the event loop for more than 50 ms.

    There is one such event for each client id.
    """

    seconds: float
    """For how long the callable blocked the event loop, in seconds."""
    advice: str
    """What is wrong, what it costs, and what to change."""


class UnsuitableLifetime(KeyEvent, level="warning"):
    """A token lives too short for `RefreshPolicy.min_lead`.

    There is one such event for each client id and lifetime.
    """

    lifetime: float
    """Seconds from the request to expiry."""
    advice: str
    """What is wrong, what it costs, and what to change."""


class SlowResponses(KeyEvent, level="warning"):
    """The token responses of a domain take so long that a failure is near.

    They take more than a quarter of the lead, or more than half of `RetryPolicy.request_timeout`.
    There is one such event for each domain, and another one only after its responses were twice as
    quick.
    """

    duration: float
    """How long the latest token responses took, in seconds."""
    advice: str
    """What is wrong, what it costs, and what to change."""


class RequestsPaused(Event, level="warning"):
    """The provider sends no request to this part of the domain.

    Okta responded with 429, or asked for the pause in a server error (`Retry-After`).
    """

    domain: str
    """The domain, `host[:port]`."""
    org_server: bool
    """True for the org authorization server, false for all custom authorization servers."""
    seconds: float
    """The length of the pause, in seconds."""
    concurrency: bool
    """True if too many requests were under way at the same time."""
    status: int
    """The HTTP status of the response."""
    waiters: int
    """The number of callers that wait for a token of the domain now."""
    request_id: str | None
    """The response's `X-Okta-Request-Id`."""


class ClockDiffers(Event, level="warning"):
    """This machine's clock and Okta's differ by more than 30 s; told once until they agree.

    The provider corrects what it signs. Other programs of this machine may fail: set its clock.
    """

    domain: str
    """The domain, `host[:port]`."""
    seconds: float
    """The seconds by which Okta's clock is ahead of this machine's."""


class PlainHttpUsed(Event, level="warning"):
    """Secrets or tokens leave this machine in clear text, because `allow_http=True` allows it.

    It happens before the first token request to an `http://` domain, and before the first request
    with a token to an `http://` origin of an adapter: once for each origin, and not for this
    machine.
    """

    origin: str
    """The origin: scheme, host and port."""


class StoreFailed(Event, level="warning"):
    """The shared store failed or timed out; the provider works without it.

    There is one such event until the store works again.
    """

    host: str | None
    """The store's server, if the store names it."""
    reason: str
    """The type of the error and of its causes, or that the store did not respond in time."""
    after: float
    """Seconds until the provider tries the store again."""


class StoreRecovered(Event, level="info"):
    """The shared store works again."""

    seconds: float
    """The number of seconds for which the store was unavailable."""


class StoreEntryIgnored(KeyEvent, level="warning"):
    """The store's entry for a key cannot be used: it was forged or damaged.

    There is at most one such event per minute.
    """


class StoreWithoutTls(Event, level="warning"):
    """The shared store is on another machine, and the connection to it has no TLS.

    There is one such event for each start of a provider.
    """

    host: str
    """The host of the store."""
    advice: str
    """What is wrong, what it costs, and what to change."""


class NotificationsRefused(Event, level="warning"):
    """The shared store works, but refuses to notify this process of what others do.

    The process looks into the store again and again while it waits for another one, and learns that
    another one rejected a token when it next looks. There is one such event for each provider.
    """

    host: str | None
    """The store's server, if the store names it."""
    advice: str
    """What is wrong, what it costs, and what to change."""


class TokenNotShared(KeyEvent, level="warning"):
    """The tokens of a client are not shared through the store, once for each client.

    Its authentication states no identity, so no process can tell whether it has the same
    credential. Give a class of your own a `credential_identity`; give
    `PrivateKeyJWT.from_signer` a `public_key` or a `kid`.
    """


class ProviderStarted(Event, level="info"):
    """The provider was started."""


class ProviderClosed(Event, level="info"):
    """The provider was closed."""


class ProviderFailed(Event, level="error"):
    """The provider's background task ended with an internal error of this package."""

    error: ProviderStateError
    """The error that callers get from now on, with its cause."""


class Observer(Protocol):
    """A callable that gets every event of a provider.

    An observer may also have a method `attach(provider)`. The provider calls it with itself when it
    starts, on its event loop, before the first event. If `attach` raises, the provider logs the
    error and continues.
    """

    def __call__(self, event: Event, /) -> None:
        """Handle an event.

        Args:
            event: An instance of one of the classes of this module. Ignore the classes that you do
                not know: a later version may add some.
        """
