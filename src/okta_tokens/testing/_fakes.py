"""Tokens and a source of tokens that need no Okta."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable
from typing import TypeGuard

from okta_tokens import (
    AccessToken,
    ClientSecretBasic,
    Clock,
    OktaClient,
    SystemClock,
    TokenKey,
    TokenSource,
)
from okta_tokens._model.token_key import token_key
from okta_tokens._runtime.arguments import checked, number_of, text_of
from okta_tokens._runtime.clock import Instant, current_instant
from okta_tokens.errors import ConfigurationError, TokenProviderError

_CLIENT = OktaClient("okta.example", "fake-client", ClientSecretBasic("fake-secret"))
"""The client of every fake token. No name under `example` exists (RFC 2606)."""

_MAX_LIFETIME = 10 * 365 * 86_400
_CLOCK = ("boot_time", "wall_time", "sleep_until")


def fake_token(
    value: str = "fake-token",
    *,
    lifetime: float = 3600.0,
    scopes: str | Iterable[str] = (),
    clock: Clock | None = None,
) -> AccessToken:
    """Return a bearer token that no server issued.

    It differs from a real token only in its key, whose client does not exist.

    Example:
        ```python
        token = fake_token("my-token", scopes="orders:read", lifetime=60)
        ```

    Args:
        value: The value of the token, which need not look real.
        lifetime: The seconds until it expires; 0 for an expired token.
        scopes: The requested and granted scopes, in one string or as an iterable.
        clock: Tells the time; the machine's own clocks by default.

    Raises:
        ConfigurationError: If an argument is invalid.
    """
    key, seconds = token_key(_CLIENT, scopes), number_of(lifetime)
    if isinstance(key, ConfigurationError):
        del value, scopes  # an error tracker records the locals of the frame that raises
        raise key
    text = text_of(value)
    if not text:
        del value, text
        message = "value: must be a string that is not empty"
        raise ConfigurationError(message)
    if seconds is None or not 0 <= seconds <= _MAX_LIFETIME:
        message = "lifetime: must be a number of seconds between 0 and ten years"
        raise ConfigurationError(message)
    clock = SystemClock() if clock is None else clock
    if not checked(lambda: all(callable(getattr(clock, name)) for name in _CLOCK), problem=False):
        message = "clock: must be a Clock; pass a ManualClock, or None for the machine's own clocks"
        raise ConfigurationError(message)
    expiry = current_instant(clock).later(seconds)
    return AccessToken(text, "Bearer", key.scope, key, expiry=expiry, leeway=0.0, clock=clock)


class FakeTokenSource(TokenSource):
    """A `TokenSource` without a provider, for tests of code that takes a source.

    It hands out its token, also if that has expired, and sends nothing. Use it from any thread and
    on any event loop, also with the adapters. It is neither copied nor pickled, as every source.

    If a caller invalidates the current token, or calls `refresh`, the next token has another
    value: `fake-token`, then `fake-token-2`, then `fake-token-3`. So code that repeats a request
    after a 401 finds another token, as with a provider.

    Example:
        ```python
        source = FakeTokenSource()
        service = OrderService(source)

        source.error = TransportError("no connection", retryable=True)

        with pytest.raises(TransportError):
            await service.list_orders()
        ```

    Args:
        token: The token, or its value; by default `fake_token()`.
        error: Raised instead of handing out the token, until the test sets it to `None`.

    Raises:
        ConfigurationError: If the token or the error is invalid.
    """

    __slots__ = ("_error", "_first", "_lock", "_number", "_token", "calls", "invalidated")

    calls: int
    """How often code has asked for a token: calls that returned one, or raised `error`."""
    invalidated: list[AccessToken | str]
    """What callers passed to `invalidate`, in order."""
    _first: AccessToken
    """The token that the test set."""
    _token: AccessToken
    """The token that replaced it, or itself."""

    def __init__(
        self, token: AccessToken | str | None = None, *, error: BaseException | None = None
    ) -> None:
        self._lock = threading.Lock()
        self.calls = 0
        self.invalidated = []
        self.token = fake_token() if token is None else token
        self.error = error

    @property
    def token(self) -> AccessToken:
        """The current token; a test may set another one, or the value of another one."""
        return self._token

    @token.setter
    def token(self, token: AccessToken | str) -> None:
        text = text_of(token)
        made = token if text is None else fake_token(text)
        if not _is_token(made):
            del token, made
            message = "token: must be an AccessToken or a string; pass fake_token()"
            raise ConfigurationError(message)
        with self._lock:
            self._token = self._first = made
            self._number = 1

    @property
    def error(self) -> BaseException | None:
        """What each call raises that would hand out a token; a test may set it at any time.

        Each call raises its own copy of an error of `okta_tokens.errors`.
        """
        return self._error

    @error.setter
    def error(self, error: BaseException | None) -> None:
        if error is not None and not issubclass(type(error), BaseException):
            message = "error: must be an exception, or None"
            raise ConfigurationError(message)
        self._error = error

    @property
    def key(self) -> TokenKey:
        """The key of the current token."""
        return self._token.key

    async def get_token(self) -> AccessToken:
        """Return the current token, without suspending.

        Raises:
            BaseException: The `error`, if it is set.
        """
        return self._hand_out()

    async def refresh(self) -> AccessToken:
        """Replace the current token by one with another value, and return it.

        Raises:
            BaseException: The `error`, if it is set; the token is not replaced then.
        """
        if self._error is None:
            self._replace(self._token.value)
        return self._hand_out()

    def peek(self) -> AccessToken | None:
        """Return the current token, or `None` while `error` is set, which is not counted."""
        with self._lock:
            if self._error is not None:
                return None
            self.calls += 1
            return self._token

    def get_token_from_thread(self, timeout: float = 60.0) -> AccessToken:
        """Return the current token, without waiting.

        Args:
            timeout: As for `TokenSource.get_token_from_thread`.

        Raises:
            BaseException: The `error`, if it is set.
            ConfigurationError: If the timeout is not a positive number.
        """
        if not (number_of(timeout) or 0) > 0:
            message = "timeout: must be a positive, finite number of seconds"
            raise ConfigurationError(message)
        return self._hand_out()

    def invalidate(
        self, token: AccessToken | str, *, api: str | None = None, challenge: str | None = None
    ) -> bool:
        """Record a rejected token; if it is the current one, the next one has another value.

        Args:
            token: The rejected token, or its value.
            api: As for `TokenProvider.invalidate`; ignored.
            challenge: As for `TokenProvider.invalidate`; ignored.

        Returns:
            True if it was the current token.
        """
        del api, challenge  # which the events of a provider tell
        self.invalidated.append(token)
        return self._replace(token.value if _is_token(token) else token)

    def __repr__(self) -> str:
        """Return the key of the source, without the token."""
        return f"<FakeTokenSource {self.key!r}>"

    def _hand_out(self) -> AccessToken:
        with self._lock:
            self.calls += 1
            error, token = self._error, self._token
        if error is None:
            return token
        raise copy.copy(error) if isinstance(error, TokenProviderError) else error

    def _replace(self, value: object) -> bool:
        """Replace the current token by one with another value, if it has a given value."""
        with self._lock:
            if value != self._token.value:
                return False
            self._number += 1
            self._token = _with_value(self._first, f"{self._first.value}-{self._number}")
        return True

    def _server_time(self) -> float:
        return self._token._clock.wall_time()


def _is_token(token: object) -> TypeGuard[AccessToken]:
    return issubclass(type(token), AccessToken)


def _with_value(token: AccessToken, value: str) -> AccessToken:
    """Return a token that differs from another one only in its value."""
    return AccessToken(
        value,
        token.token_type,
        token._scope,
        token.key,
        expiry=Instant(token._boot_expiry, token._wall_expiry),
        leeway=token._leeway,
        clock=token._clock,
    )
