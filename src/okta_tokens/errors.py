"""Every error that this package raises, by the decision a caller can make.

::

    TokenProviderError
    ├── ConfigurationError (also ValueError)   wrong before any request: fix the configuration
    ├── ProviderStateError                     not started, closed, another loop, another process,
    │                                          or the provider's own work died
    └── FetchError                             no token was to be had; `retryable`: later may help
        ├── CredentialError                    the secret or key could not be had, or does not
        │                                      sign: our side, before the request
        ├── TransportError                     no answer: connect, TLS, time-out
        ├── RateLimitedError                   429, or a pause longer than the caller may wait
        ├── ServerError                        5xx
        ├── OAuthError                         Okta refused: fix the client, the scopes, the policy
        └── InvalidResponseError               any other answer that cannot be used

No message and no attribute holds a secret, a token or an answer's body. Each of the callers that
share a failed fetch gets its own copy: a shared one would collect the traceback of them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, Self, TypedDict, Unpack

__all__ = [
    "ConfigurationError",
    "CredentialError",
    "FetchError",
    "InvalidResponseError",
    "KeyDescription",
    "OAuthError",
    "ProviderStateError",
    "RateLimitedError",
    "ServerError",
    "TokenProviderError",
    "TransportError",
]

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class KeyDescription(Protocol):
    """What an error tells of the token that was asked for; a `TokenKey` has all of it."""

    @property
    def domain(self) -> str:
        """The Okta host, `host[:port]`."""

    @property
    def authorization_server(self) -> str | None:
        """The custom authorization server's id; None is the org's own."""

    @property
    def client_id(self) -> str:
        """The client's id."""

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that were asked for."""


class TokenProviderError(Exception):
    """The base of all errors here; never raised itself."""

    def __copy__(self) -> Self:
        """Return an equal error with a traceback of its own, for one more caller."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        if hasattr(self, "__notes__"):
            twin.__notes__ = [*self.__notes__]
        twin.__cause__ = self.__cause__
        return twin


class ConfigurationError(TokenProviderError, ValueError):
    """Something is wrong that no request can mend; the message lists every problem found."""


class ProviderStateError(TokenProviderError):
    """The provider cannot do this now, or not here.

    It is not started, closed, closed while the caller waited, used from another event loop or in a
    forked process, or its own background work died; then the cause is chained.
    """


class FetchFacts(TypedDict, total=False):
    """The keyword arguments that every `FetchError` takes."""

    key: KeyDescription | None
    attempts: int
    retryable: bool
    request_id: str | None
    error_id: str | None
    headers: Mapping[str, str]


class FetchError(TokenProviderError):
    """No token could be fetched.

    Args:
        message: What is wrong and what to do about it.
        **facts: `key`, the token that was asked for; `attempts`, the requests made for it;
            `retryable`, True if the same request may succeed later without anybody changing
            anything; `request_id`, the answer's `X-Okta-Request-Id`, which is what Okta's support
            asks for; `error_id`, the `errorId` in the answer's body; `headers`, the answer's
            headers without cookies, empty if there was no answer.
    """

    def __init__(self, message: str, **facts: Unpack[FetchFacts]) -> None:
        super().__init__(message)
        self.key = facts.get("key")
        self.attempts = facts.get("attempts", 0)
        self.retryable = facts.get("retryable", False)
        self.request_id = facts.get("request_id")
        self.error_id = facts.get("error_id")
        self.headers = facts.get("headers", _NO_HEADERS)

    def __str__(self) -> str:
        """Return the message, then what identifies the failed request."""
        facts = []
        if self.key is not None:
            facts += [
                f"client {self.key.client_id} at {self.key.domain}",
                f"authorization server {self.key.authorization_server or 'of the org'}",
                f"scopes {' '.join(sorted(self.key.scopes)) or '(default)'}",
            ]
        if self.attempts > 1:
            facts.append(f"{self.attempts} attempts")
        if self.request_id:
            facts.append(f"request id {self.request_id}")
        if self.error_id:
            facts.append(f"error id {self.error_id}")
        message = str(self.args[0])
        return f"{message} [{'; '.join(facts)}]" if facts else message

    def __reduce__(self) -> tuple[object, ...]:
        """Leave out what cannot or must not travel to another process: the key and the headers."""
        state = {**self.__dict__, "key": None, "headers": {}}
        return (_rebuild, (type(self), self.args), state)


def _rebuild(kind: type[FetchError], args: tuple[object, ...]) -> FetchError:
    return kind.__new__(kind, *args)


class CredentialError(FetchError):
    """The secret or key could not be had, or is of no use: our side, before any request.

    The callable that should return it, or sign, raised (then its error is chained), or returned
    something that is no secret, key or signature; or a key file cannot be read.
    """


class TransportError(FetchError):
    """No answer came: no connection, TLS failed, the connection broke, or time ran out."""


class RateLimitedError(FetchError):
    """Okta answered 429, or its pause is longer than the caller may wait.

    Args:
        message: What is wrong and what to do about it.
        retry_at: When the pause ends, in UTC.
        **facts: As for `FetchError`.
    """

    def __init__(self, message: str, *, retry_at: datetime, **facts: Unpack[FetchFacts]) -> None:
        super().__init__(message, **facts)
        self.retry_at = retry_at


class ServerError(FetchError):
    """Okta, or something before it, answered 5xx.

    Args:
        message: What is wrong and what to do about it.
        status: The HTTP status.
        **facts: As for `FetchError`.
    """

    def __init__(self, message: str, *, status: int, **facts: Unpack[FetchFacts]) -> None:
        super().__init__(message, **facts)
        self.status = status


class OAuthError(FetchError):
    """Okta refused the request (RFC 6749 section 5.2, or Okta's own error format).

    Args:
        message: What is wrong and what to do about it.
        error: The code: `error`, or `errorCode` where Okta uses its own format.
        description: Okta's words: `error_description` or `errorSummary`; may be empty.
        status: The HTTP status.
        **facts: As for `FetchError`.
    """

    def __init__(
        self,
        message: str,
        *,
        error: str,
        description: str,
        status: int,
        **facts: Unpack[FetchFacts],
    ) -> None:
        super().__init__(message, **facts)
        self.error = error
        self.description = description
        self.status = status


class InvalidResponseError(FetchError):
    """The answer cannot be used: not JSON, a redirect, no usable `expires_in`, the wrong type.

    Args:
        message: What is wrong and what to do about it.
        status: The HTTP status.
        **facts: As for `FetchError`.
    """

    def __init__(self, message: str, *, status: int, **facts: Unpack[FetchFacts]) -> None:
        super().__init__(message, **facts)
        self.status = status
