"""Every error that this package raises, by the decision a caller can make.

    TokenProviderError
    ├── ConfigurationError (also ValueError)   invalid before any request: fix the configuration
    ├── ProviderStateError                     not started, closed, another loop, another process,
    │                                          or an internal error of the provider
    ├── StoreError                             the store did not tell other processes: try again
    └── FetchError                             no token; `retryable`: a later call may succeed
        ├── CredentialError                    the secret, key or signature is not available:
        │                                      on our side, before the request
        ├── TransportError                     no response: connection, TLS, time-out
        ├── RateLimitedError                   429, or a pause longer than the caller may wait
        ├── ServerError                        5xx
        ├── OAuthError                         Okta refused: fix the client, the scopes, the policy
        └── InvalidResponseError               any other response that cannot be used

No message and no attribute contains a secret, a token or the body of a response. Callers that share
a failed fetch get a copy of the error each: a shared error would collect all their tracebacks.
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
    "FetchFacts",
    "InvalidResponseError",
    "KeyDescription",
    "OAuthError",
    "ProviderStateError",
    "RateLimitedError",
    "ServerError",
    "StoreError",
    "TokenProviderError",
    "TransportError",
]

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class KeyDescription(Protocol):
    """The requested token, as an error describes it; a `TokenKey` is one."""

    def __str__(self) -> str:
        """Return everything that identifies the key, in words, without secrets."""

    @property
    def domain(self) -> str:
        """The Okta host, `host[:port]`."""

    @property
    def authorization_server(self) -> str | None:
        """The id of the custom authorization server; `None` for the org authorization server."""

    @property
    def client_id(self) -> str:
        """The client's id."""

    @property
    def scopes(self) -> frozenset[str]:
        """The requested scopes."""


class TokenProviderError(Exception):
    """The base of all errors of this package; it is never raised itself."""

    def __copy__(self) -> Self:
        """Return an equal error with its own traceback, for another caller."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        if hasattr(self, "__notes__"):
            twin.__notes__ = [*self.__notes__]
        twin.__cause__ = self.__cause__
        return twin


class ConfigurationError(TokenProviderError, ValueError):
    """A setting is invalid, or settings contradict each other; the message lists every problem."""


class ProviderStateError(TokenProviderError):
    """The provider cannot be used now, or not here.

    It is not started, is closed, was closed while the caller waited, or is used from another event
    loop or in a forked process. Or its background work ended with an internal error, which is the
    error's cause.
    """


class StoreError(TokenProviderError):
    """The store failed to tell the other processes to drop tokens, so they still use them.

    The message names the type of the store's error.
    """


class FetchFacts(TypedDict, total=False):
    """The keyword arguments that every `FetchError` takes, which documents them."""

    key: KeyDescription | None
    attempts: int
    retryable: bool
    request_id: str | None
    error_id: str | None
    headers: Mapping[str, str]


class FetchError(TokenProviderError):
    """No token could be fetched.

    Args:
        message: What is wrong, and what to do.
        **facts: `key`, the requested token; `attempts`, the number of requests; `retryable`, `True`
            if the same call may succeed later without a change; `request_id`, the
            `X-Okta-Request-Id` of the response, which Okta's support asks for; `error_id`, the
            `errorId` in the body of the response; `headers`, the first 32 headers of the response
            without cookies, each cut to 256 characters, empty if there was no response. A text of
            the response that reveals a part of a secret is `[withheld]`.
    """

    def __init__(self, message: str, **facts: Unpack[FetchFacts]) -> None:
        super().__init__(message)
        self.key: KeyDescription | None = facts.get("key")
        self.attempts: int = facts.get("attempts", 0)
        self.retryable: bool = facts.get("retryable", False)
        self.request_id: str | None = facts.get("request_id")
        self.error_id: str | None = facts.get("error_id")
        self.headers: Mapping[str, str] = facts.get("headers", _NO_HEADERS)

    def __str__(self) -> str:
        """Return the message, then what identifies the failed request, in square brackets."""
        facts = []
        if self.key is not None:
            facts.append(str(self.key))
        if self.attempts > 1:
            facts.append(f"{self.attempts} attempts")
        if self.request_id:
            facts.append(f"request id {self.request_id}")
        if self.error_id:
            facts.append(f"error id {self.error_id}")
        message = str(self.args[0])
        return f"{message} [{'; '.join(facts)}]" if facts else message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the error without its key, which contains the secret, and without its headers."""
        state = {**self.__dict__, "key": None, "headers": {}}
        return (_rebuild, (type(self), self.args), state)


def _rebuild(kind: type[FetchError], args: tuple[object, ...]) -> FetchError:
    return kind.__new__(kind, *args)


class CredentialError(FetchError):
    """The secret, key or signature is not available: on our side, before any request.

    The callable for it raised (its error is the cause), or returned a value that is not a secret,
    key or signature; or a key file cannot be read.
    """


class TransportError(FetchError):
    """No response arrived: no connection, a TLS failure, a broken connection, or a time-out."""


class RateLimitedError(FetchError):
    """Okta responded with 429, or the pause is longer than the caller may wait.

    Args:
        message: What is wrong, and what to do.
        retry_at: The time at which the pause ends, in UTC.
        status: The HTTP status, 429; None if no request was sent.
        **facts: See `FetchError`.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_at: datetime,
        status: int | None = None,
        **facts: Unpack[FetchFacts],
    ) -> None:
        super().__init__(message, **facts)
        self.retry_at: datetime = retry_at
        self.status: int | None = status


class ServerError(FetchError):
    """Okta, or a proxy in front of it, responded with 5xx.

    Args:
        message: What is wrong, and what to do.
        status: The HTTP status.
        retry_at: The time, in UTC, before which the server wants no other request (`Retry-After`);
            None if it named none.
        **facts: See `FetchError`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_at: datetime | None = None,
        **facts: Unpack[FetchFacts],
    ) -> None:
        super().__init__(message, **facts)
        self.status: int = status
        self.retry_at: datetime | None = retry_at


class OAuthError(FetchError):
    """Okta refused the request (RFC 6749 section 5.2, or Okta: "Error codes").

    Args:
        message: What is wrong, and what to do.
        error: The code: `error`, or `errorCode` in Okta's own format.
        description: Okta's description: `error_description` or `errorSummary`, with the
            `errorCauses` after it; may be empty.
        status: The HTTP status. It may be 200: some servers send refusals so.
        advice: What to do, by the code, the description, the client's authentication and the kind
            of its authorization server. The message ends with it.
        **facts: See `FetchError`.
    """

    def __init__(
        self,
        message: str,
        *,
        error: str,
        description: str,
        status: int,
        advice: str = "",
        **facts: Unpack[FetchFacts],
    ) -> None:
        super().__init__(message, **facts)
        self.error: str = error
        self.description: str = description
        self.status: int = status
        self.advice: str = advice


class InvalidResponseError(FetchError):
    """The response cannot be used: not JSON, a redirect, no valid `expires_in`, the wrong type.

    Args:
        message: What is wrong, and what to do.
        status: The HTTP status.
        **facts: See `FetchError`.
    """

    def __init__(self, message: str, *, status: int, **facts: Unpack[FetchFacts]) -> None:
        super().__init__(message, **facts)
        self.status: int = status
