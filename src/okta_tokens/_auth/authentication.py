"""Client authentication: each method is a callable that adds a credential to a token request."""

from __future__ import annotations

import asyncio
import inspect
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable
from types import MethodType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

from okta_tokens._runtime.clock import stopwatch
from okta_tokens._runtime.interpreter_exit import NO_THREADS, refuses_threads
from okta_tokens._runtime.redaction import sanitize
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.errors import CredentialError

S = TypeVar("S", bound=Hashable)
Fields = tuple[tuple[str, tuple[str, ...]], ...]
"""Names, each with its values."""


class TokenRequest(Unserializable):
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
        parameters: Additional fields of the body, each with its values; see `OktaClient`.
    """

    __slots__ = (
        "client_id",
        "credential",
        "form",
        "headers",
        "now",
        "parameters",
        "secrets",
        "url",
    )

    def __init__(
        self,
        url: str,
        client_id: str,
        form: dict[str, str],
        headers: dict[str, str],
        now: float,
        secrets: list[str] | None = None,
        credential: Hashable = None,
        parameters: Fields = (),
    ) -> None:
        self.url: str = url
        self.client_id: str = client_id
        self.form: dict[str, str] = form
        self.headers: dict[str, str] = headers
        self.now: float = now
        self.secrets: list[str] = [] if secrets is None else secrets
        self.credential: Hashable = credential
        self.parameters: Fields = parameters

    def __repr__(self) -> str:
        """Return the URL and the client id, without form, headers and secrets."""
        return f"TokenRequest(url={self.url!r}, client_id={self.client_id!r})"


class ClientAuthentication(Protocol):
    """A method of client authentication (RFC 6749 section 2.3).

    A method is part of the token key. So it is hashable, two methods are equal only if they send
    the same credential and the same additional fields, and the repr contains no secret.

    Processes share the tokens of a method only if they can tell that they have the same credential.
    The methods of this package identify their credential by themselves. A class of your own has an
    attribute `credential_identity`, a string that is the same in every process for the same
    credential and the same additional fields, and differs for others; it may contain the secret,
    since a store gets only an HMAC of it. Without the attribute the tokens are not shared.
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


class Credential(Unserializable, Generic[S]):
    """A credential that is a value, or a callable that returns the value for each request.

    Two credentials are equal if they are of one type and their values are equal, or their callables
    are the same object. Bound methods are compared by their object and function.
    """

    __slots__ = ("_block", "_source")

    _source: S
    _block: float

    def __eq__(self, other: object) -> bool:
        """Compare values by value and callables by identity."""
        if type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        """Return a hash that is the same for equal credentials."""
        return hash((type(self), self._identity()))

    def _identity(self) -> Hashable:
        """Return what is compared."""
        return self._value()

    def _value(self) -> Hashable:
        source = self._source
        by_identity = callable(source) and not isinstance(source, MethodType)
        return id(source) if by_identity else source

    def _is_by_value(self) -> bool:
        """Tell whether two instances with the same credential are equal."""
        source = self._source
        inner = issubclass(type(source), Credential)
        return cast("Credential[Any]", source)._is_by_value() if inner else not callable(source)

    async def _call(self, *arguments: object) -> object:
        """Return the result of the callable, whether it is plain or async.

        Cancellation passes through to an async callable. What a plain callable does blocks the
        event loop, and the longest block is remembered.

        Args:
            *arguments: The arguments of the callable.
        """
        begun = stopwatch()
        try:
            result = cast("Callable[..., object]", self._source)(*arguments)
        finally:
            self._block = max(self._longest_block(), stopwatch() - begun)
        return await result if inspect.isawaitable(result) else result

    def _longest_block(self) -> float:
        """Return for how long the callable blocked the event loop at most, in seconds."""
        source = self._source
        if issubclass(type(source), Credential):
            return cast("Credential[Any]", source)._longest_block()
        seconds: float = getattr(self, "_block", 0.0)  # most credentials have no callable
        return seconds


class CredentialMethod(Credential[S]):
    """A method of client authentication of this package: it can tell its credential apart.

    A user's subclass that overrides `__call__` may send more than the credential. Its instances are
    equal only to themselves, and have no identity, unless the subclass says otherwise.
    """

    # Not an `ABC`, whose instance checks are slow: each fetch makes one.
    __slots__ = ()

    _is_customized: ClassVar[bool] = False
    _has_private_key: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Find out whether the subclass may send more than the credential."""
        super().__init_subclass__()
        is_foreign = cls.__module__.partition(".")[0] != __name__.partition(".")[0]
        cls._is_customized = cls._is_customized or (is_foreign and "__call__" in vars(cls))

    def _identity(self) -> Hashable:
        return id(self) if self._is_customized else self._value()

    @abstractmethod
    def _has_value(self) -> bool:
        """Tell whether this method has a value, and no callable or file."""

    @abstractmethod
    async def _resolve(self, client_id: str) -> Self:
        """Return this method with the value in the place of the callable or the file.

        Raises:
            CredentialError: If the value is not available.
        """

    @abstractmethod
    def _credential_identity(self) -> str | None:
        """Return what identifies the value in every process; `None` if only a call can tell."""


def name_of(source: object) -> str:
    """Return the name of a callable for a repr.

    Args:
        source: The callable.
    """
    return str(getattr(source, "__qualname__", type(source).__qualname__))


def shown(method: ClientAuthentication) -> str:
    """Return the method and its file or callable for people, or the type of a method of the user's.

    Args:
        method: The client's authentication.
    """
    kind = type(method)
    is_ours = issubclass(kind, CredentialMethod) and not kind._is_customized
    return repr(method) if is_ours else kind.__qualname__


def has_private_key(method: ClientAuthentication) -> bool:
    """Tell whether a method is `PrivateKeyJWT`, or a subclass, without loading that class.

    Args:
        method: The client's authentication.
    """
    kind = type(method)
    return issubclass(kind, CredentialMethod) and kind._has_private_key


def has_secret(method: ClientAuthentication) -> bool:
    """Tell whether a method is one of this package's three that need a client secret.

    Args:
        method: The client's authentication.
    """
    kind = type(method)
    return issubclass(kind, CredentialMethod) and not kind._has_private_key


def is_compared_by_value(method: ClientAuthentication) -> bool:
    """Tell whether two methods with the same credential are equal.

    Args:
        method: The client's authentication.
    """
    kind = type(method)
    if issubclass(kind, CredentialMethod) and kind.__eq__ is Credential.__eq__:
        return not kind._is_customized and cast("CredentialMethod[Any]", method)._is_by_value()
    return kind.__eq__ is not object.__eq__ and kind is not MethodType


def longest_block(method: ClientAuthentication) -> float:
    """Return for how long the callable of a method blocked the event loop at most, in seconds.

    Args:
        method: The client's authentication; 0.0 unless it is one of this package's.
    """
    is_ours = issubclass(type(method), CredentialMethod)
    return cast("CredentialMethod[Any]", method)._longest_block() if is_ours else 0.0


def is_resolved(method: ClientAuthentication) -> bool:
    """Tell whether `resolve` would return the method itself.

    Args:
        method: The client's authentication.
    """
    return not isinstance(method, CredentialMethod) or method._is_customized or method._has_value()


async def resolve(
    method: ClientAuthentication, client_id: str
) -> ClientAuthentication | CredentialError:
    """Call the callable of a method, or read its file, and return a method that has the value.

    Args:
        method: The client's authentication.
        client_id: The id of the client.

    Returns:
        A method that sends the value as often as it is called; the method itself if it has no
        callable, or is not one of this package's. Or the error, which is returned, not raised,
        because the frames below have seen secrets.
    """
    if not isinstance(method, CredentialMethod) or is_resolved(method):
        return method
    try:
        return await method._resolve(client_id)
    except BaseException as error:
        if ends_the_task(error):
            raise
        return _credential_error(error, ())


def credential_identity(method: ClientAuthentication) -> list[str] | None:
    """Return what identifies a credential in every process, as a JSON value.

    Args:
        method: A method as `resolve` returns it.

    Returns:
        The identity, which may contain the secret; `None` if the method has none.
    """
    try:
        identity = getattr(method, "credential_identity", None)
        is_ours = isinstance(method, CredentialMethod) and not method._is_customized
        if identity is None and is_ours:
            identity = cast("CredentialMethod[Any]", method)._credential_identity()
    except Exception:  # noqa: BLE001 - a property of the user's; without it the token is not shared
        return None
    if not isinstance(identity, str) or not identity:
        return None
    return [type(method).__qualname__, identity]


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
    except BaseException as error:
        if ends_the_task(error):
            raise
        return _credential_error(error, request.secrets)
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


def _credential_error(error: BaseException, secrets: Iterable[str]) -> CredentialError:
    """Return the error itself if it is a `CredentialError` without a secret, or one about it."""
    clean = sanitize(error, secrets)
    if isinstance(error, CredentialError) and clean is error:
        return error
    if refuses_threads(error):
        failure = CredentialError(f"the credential cannot be used: {NO_THREADS}")
    else:
        failure = CredentialError(
            "the callable for the client's secret, key or signature raised "
            f"{type(error).__name__}; fix the callable, or pass the secret or key itself",
            retryable=True,
        )
    failure.__cause__ = clean
    return failure
