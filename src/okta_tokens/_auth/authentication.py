"""Client authentication: each method is a callable that adds a credential to a token request."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from types import MethodType
from typing import Generic, Protocol, TypeVar

from okta_tokens._runtime.redaction import sanitize
from okta_tokens.errors import CredentialError

S = TypeVar("S", bound=Hashable)


@dataclass(slots=True)
class TokenRequest:
    """A request to an authorization server that is being built.

    Args:
        url: The URL of the endpoint.
        client_id: The id of the client that sends the request.
        form: The fields of the body.
        headers: The headers.
        now: The current time by the server's clock, in seconds since the epoch, estimated from its
            last response.
        secrets: Every secret in the request, as it is sent. No message repeats one of them.
        credential: A value that differs between two credentials. After a refusal with
            `invalid_client` the request is built again and sent once more if it has another
            credential.
    """

    url: str
    client_id: str
    form: dict[str, str] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    now: float = field(repr=False)
    secrets: list[str] = field(default_factory=list, repr=False)
    credential: Hashable = field(default=None, repr=False)


class ClientAuthentication(Protocol):
    """A method of client authentication (RFC 6749 section 2.3).

    A method is part of the token key. So it is hashable, two methods are equal only if they send
    the same credential, and the repr contains no secret.
    """

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the credential to a request; the provider calls this for every request it sends.

        The call runs on the event loop and within `RetryPolicy.request_timeout`. If it is cancelled
        or times out, no request is sent.

        Args:
            request: The request, which is changed in place.

        Raises:
            CredentialError: If the credential is not available.
        """

    def __hash__(self) -> int:
        """Return a hash that is the same for equal methods."""


class Credential(Generic[S]):
    """A credential that is a value, or a callable that returns the value for each request.

    Two credentials are equal if they are of one type and their values are equal, or their callables
    are the same object. Bound methods are compared by their object and function.
    """

    __slots__ = ("_source",)

    _source: S

    def __eq__(self, other: object) -> bool:
        """Compare values by value and callables by identity."""
        if type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        """Return a hash that is the same for equal credentials."""
        return hash((type(self), self._identity()))

    def _identity(self) -> Hashable:
        source = self._source
        by_identity = callable(source) and not isinstance(source, MethodType)
        return id(source) if by_identity else source


async def call(source: Callable[[], object]) -> object:
    """Return the result of a callable, whether it is plain or async.

    Args:
        source: The callable. Cancellation passes through to it if it is async.
    """
    result = source()
    return await result if inspect.isawaitable(result) else result


def name_of(source: object) -> str:
    """Return the name of a callable for a repr.

    Args:
        source: The callable.
    """
    return str(getattr(source, "__qualname__", type(source).__qualname__))


async def authenticate(
    method: ClientAuthentication, request: TokenRequest
) -> CredentialError | None:
    """Add a client's credential to a request, and turn every failure into a `CredentialError`.

    Args:
        method: The client's authentication.
        request: The request, which is changed in place.

    Returns:
        `None`, or the error. The error is returned, not raised, because this frame has seen
        secrets.
    """
    try:
        await method(request)
    except CredentialError as error:
        clean = sanitize(error, request.secrets)
        return error if clean is error else _callable_failed(error, request)
    except BaseException as error:
        if ends_the_task(error):
            raise
        return _callable_failed(error, request)
    return None


def ends_the_task(error: BaseException) -> bool:
    """Tell whether an error ends the task or the program, and is not a failure of the called code.

    A `CancelledError` that was raised without a cancellation of this task is such a failure.

    Args:
        error: What the called code raised.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)


def _callable_failed(error: BaseException, request: TokenRequest) -> CredentialError:
    failure = CredentialError(
        "the callable for the client's secret, key or signature raised "
        f"{type(error).__name__}; fix the callable, or pass the secret or key itself",
        retryable=True,
    )
    failure.__cause__ = sanitize(error, request.secrets)
    return failure
