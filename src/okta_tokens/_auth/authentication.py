"""How a client proves who it is: each method is a callable that edits a token request."""

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
    """One request to a token endpoint while it is put together.

    Args:
        url: Where it goes.
        client_id: Whose request it is.
        form: The fields of the body.
        headers: The headers.
        now: The present moment by the server's clock, in seconds since the epoch, as far as its
            last answer tells.
        secrets: Every secret in it, as it was sent: what no message may repeat.
        credential: What tells the credential from another one. A request that is refused with
            `invalid_client` is made once more; if that holds another credential, it is sent.
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

    It is hashable, and equal to another one only if both send the same credential: it is part of
    the token key. Its repr holds no secret.
    """

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the credential to a request that is about to be sent; called for every request.

        Args:
            request: Edited in place.

        Raises:
            CredentialError: If the credential cannot be had.
        """

    def __hash__(self) -> int:
        """Return a hash that fits the equality."""


class Credential(Generic[S]):
    """What methods have in common whose credential is a value, or a callable that is asked for it.

    Two are equal if they are of one kind, and their values are equal or their callables are the
    same; of a method the object counts.
    """

    __slots__ = ("_source",)

    _source: S

    def __eq__(self, other: object) -> bool:
        """Compare values by value and callables by identity; a method by its object's identity."""
        if type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        """Return a hash that fits the equality."""
        return hash((type(self), self._identity()))

    def _identity(self) -> Hashable:
        source = self._source
        by_identity = callable(source) and not isinstance(source, MethodType)
        return id(source) if by_identity else source


async def ask(source: Callable[[], object]) -> object:
    """Return what a callable returns, plain or async.

    Args:
        source: The callable.
    """
    answer = source()
    return await answer if inspect.isawaitable(answer) else answer


def name_of(source: object) -> str:
    """Return the name of a callable, for a repr.

    Args:
        source: The callable.
    """
    return str(getattr(source, "__qualname__", type(source).__qualname__))


async def authenticate(
    method: ClientAuthentication, request: TokenRequest
) -> CredentialError | None:
    """Let a method edit a request, and turn whatever goes wrong into one kind of error.

    Args:
        method: The client's authentication.
        request: Edited in place.

    Returns:
        None, or the error, which is returned and not raised since this frame has seen secrets.
    """
    try:
        await method(request)
    except CredentialError as error:
        clean = sanitize(error, request.secrets)
        return error if clean is error else _failed_to_answer(error, request)
    except BaseException as error:
        if ends_the_task(error):
            raise
        return _failed_to_answer(error, request)
    return None


def ends_the_task(error: BaseException) -> bool:
    """Tell whether an error is for the task or the program, and not one of the code that raised it.

    A cancellation that nobody sent to this task is such code's own trouble.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)


def _failed_to_answer(error: BaseException, request: TokenRequest) -> CredentialError:
    failure = CredentialError(
        "the callable for the client's secret, key or signature raised "
        f"{type(error).__name__}; mend it, or give the secret or key itself",
        retryable=True,
    )
    failure.__cause__ = sanitize(error, request.secrets)
    return failure
