"""How a client proves who it is: each method is a callable that edits a token request."""

from __future__ import annotations

import asyncio
import inspect
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from types import MethodType
from typing import Generic, Protocol, TypeVar, cast

from okta_tokens._runtime.redaction import sanitize
from okta_tokens.errors import ConfigurationError, CredentialError

S = TypeVar("S", bound=Hashable)
SecretCallable = Callable[[], str | Awaitable[str]]

_PLACEHOLDER = re.compile(r"\$?\{[^{}]*\}|<[^<>]*>")


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


class ClientSecret(Credential[str | SecretCallable]):
    """A secret, or the callable that is asked for it.

    Args:
        secret: As for `ClientSecretBasic`.

    Raises:
        ConfigurationError: As for `ClientSecretBasic`.
    """

    __slots__ = ()

    def __init__(self, secret: str | SecretCallable) -> None:
        problem = None if callable(secret) else self._problem(secret)
        if problem is None:
            self._source = secret
            return
        message = f"{type(self).__name__}: the secret {problem}"
        del self, secret  # an error tracker records the locals of the frame that raises
        raise ConfigurationError(message)

    def __repr__(self) -> str:
        """Return the method's name, and the callable if there is one; never the secret."""
        shown = "<secret>" if isinstance(self._source, str) else f"<{name_of(self._source)}>"
        return f"{type(self).__name__}({shown})"

    def _problem(self, secret: object) -> str | None:
        return secret_problem(secret)

    async def _read(self) -> str:
        """Return the secret; ask for it if it is a callable.

        Raises:
            CredentialError: If the callable raises, or returns something that is no secret.
        """
        if isinstance(self._source, str):
            return self._source
        secret = await ask(self._source)
        problem = self._problem(secret)
        if problem is None:
            return cast("str", secret)
        message = f"the callable that should return the client secret returned one that {problem}"
        raise CredentialError(message)


class ClientSecretBasic(ClientSecret):
    """Send the client id and secret as HTTP Basic credentials: `client_secret_basic`.

    This is the default of Okta's apps. Id and secret are sent as they are (RFC 7617), as Okta
    documents it, not form-encoded first (RFC 6749 section 2.3.1); for secrets that Okta generates
    the two are the same. For one of your own that holds `%`, `+` or `:`, `ClientSecretPost` is the
    method on which all servers agree.

    Args:
        secret: The client secret: a string, or a callable without arguments, plain or async, that
            returns it. A callable is asked for every request, on the event loop and within the
            request's time-out, so that a rotated secret needs no restart. Meanwhile the request
            holds one of its domain's places, so it should be quick, and not wait for a token of
            the same domain.

    Raises:
        ConfigurationError: If the secret is no string, empty, a placeholder, not printable ASCII,
            or begins or ends with white space.
    """

    __slots__ = ()

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add the `Authorization` header.

        Args:
            request: Edited in place.

        Raises:
            CredentialError: If the secret cannot be had.
        """
        secret = await self._read()
        credentials = b64encode(f"{request.client_id}:{secret}".encode()).decode()
        request.headers["Authorization"] = f"Basic {credentials}"
        request.secrets += [secret, credentials]
        request.credential = secret


class ClientSecretPost(ClientSecret):
    """Send the client id and secret in the body: `client_secret_post` (RFC 6749 section 2.3.1).

    Args:
        secret: As for `ClientSecretBasic`.

    Raises:
        ConfigurationError: As for `ClientSecretBasic`.
    """

    __slots__ = ()

    async def __call__(self, request: TokenRequest, /) -> None:
        """Add `client_id` and `client_secret` to the form.

        Args:
            request: Edited in place.

        Raises:
            CredentialError: If the secret cannot be had.
        """
        secret = await self._read()
        request.form["client_id"] = request.client_id
        request.form["client_secret"] = secret
        request.secrets.append(secret)
        request.credential = secret


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


def secret_problem(secret: object) -> str | None:
    """Return what is wrong with a secret, as the end of a sentence that begins with its role."""
    if not isinstance(secret, str):
        return "must be a string"
    if not secret.strip():
        return "is empty"
    if secret != secret.strip():
        return "begins or ends with white space; was it read from a file with its line break?"
    if _PLACEHOLDER.fullmatch(secret):
        return "is a placeholder; put the real one in its place"
    if not (secret.isascii() and secret.isprintable()):
        return "holds a character that is not printable ASCII"
    return None
