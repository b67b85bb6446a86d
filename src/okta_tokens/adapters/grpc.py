"""Let the channels of `grpc.aio` carry the token.

Example:
    ```python
    tls = grpc.ssl_channel_credentials()

    async with token_channel(orders, "api.acme.com:443", tls) as channel:
        answer = await channel.unary_unary("/acme.Orders/List")(b"")
    ```
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from typing import TypeVar

try:
    import grpc
    from grpc import aio
except ModuleNotFoundError as error:
    error.add_note("it comes with the extra: pip install 'okta-tokens[grpc]'")
    raise

from okta_tokens import AccessToken, TokenSource
from okta_tokens.errors import ConfigurationError

__all__ = ["token_channel", "token_interceptors"]

T = TypeVar("T")
Request = TypeVar("Request")
Response = TypeVar("Response")

_METADATUM = "authorization"
# What gRPC itself says, without having sent anything.
_NO_CREDENTIALS_IN_CLEAR = "Call credentials"
_TOO_LITTLE_SECURITY = "sufficient security level"
_PLAINTEXT = (
    "the channel is not encrypted, so nothing was sent: a token must not travel in clear; make it "
    "with secure_channel and grpc.ssl_channel_credentials(), or, for a server on this machine, "
    "grpc.local_channel_credentials()"
)


def token_channel(
    source: TokenSource,
    target: str,
    credentials: grpc.ChannelCredentials,
    *,
    options: Sequence[tuple[str, str | int]] | None = None,
    compression: grpc.Compression | None = None,
    interceptors: Iterable[aio.ClientInterceptor] = (),
) -> aio.Channel:
    """Return a channel whose every call carries a token.

    It is `grpc.aio.secure_channel(target, credentials, …)`, and calls on it behave as
    `token_interceptors` says, whose limits it shares save one: it does not lose memory. Call this
    in the event loop that will use it, and close it, best by `async with`.

    Args:
        source: Gives the tokens.
        target: The server, as gRPC takes it: `api.acme.com:443`. The tokens go there, and only
            there.
        credentials: How the connection is secured: `grpc.ssl_channel_credentials()`, or
            `grpc.local_channel_credentials()` for a server on this machine.
        options: The channel's; see gRPC.
        compression: The channel's; see gRPC.
        interceptors: More of them, which see each call before the token does, and once.

    Raises:
        ConfigurationError: If the source is none, its tokens are bound to a key, or the credentials
            are none.
    """
    tokens = _Tokens("token_channel", source)
    if not _is(grpc.ChannelCredentials, credentials):
        message = (
            "token_channel: credentials must be a grpc.ChannelCredentials: "
            "grpc.ssl_channel_credentials(), or, on this machine, grpc.local_channel_credentials()"
        )
        raise ConfigurationError(message)
    return aio.secure_channel(
        target,
        grpc.composite_channel_credentials(credentials, grpc.metadata_call_credentials(tokens)),
        options,
        compression,
        [*interceptors, *_interceptors(tokens, None)],
    )


def token_interceptors(source: TokenSource) -> list[aio.ClientInterceptor]:
    """Return interceptors that make every call on a `grpc.aio` channel carry a token.

    They are for channels that somebody else makes; else `token_channel` is better. Put them last,
    so that other interceptors see each call once. gRPC attaches the token itself, as credentials of
    the call, to calls on secure channels alone.

    - A call on a plaintext channel is refused, before anything is sent.
    - So is one that has `authorization` metadata, or `credentials`, of its own.
    - Without a token nothing is sent; the error of the fetch is raised, where the call's own errors
      are raised. Waiting for the token counts against the call's `timeout`.
    - `UNAUTHENTICATED` is tried once more with another token, within what is left of the `timeout`,
      if the call has one request, and no response has arrived. A stream of requests cannot be sent
      again; the token is reported to the source all the same. What is refused again, and
      `PERMISSION_DENIED`, is handed over as it is.

    Cancellation ends the call wherever it is, and leaves a fetch of the token to the others that
    wait for it.

    What gRPC's interceptors cannot do: `time_remaining()` raises `NotImplementedError`, as on every
    channel with interceptors; and `initial_metadata()` and `wait_for_connection()` of a call with
    one request wait for its first response. With credentials of its calls, though not of its
    channel, grpcio (1.85) loses some 80 bytes of memory for each call.

    Args:
        source: Gives the tokens.

    Raises:
        ConfigurationError: If the source is none, or its tokens are bound to a key (`dpop`), since
            proofs are for HTTP; at a call, if it is refused.
        TokenProviderError: At a call, as from `TokenSource.get_token`.
    """
    tokens = _Tokens("token_interceptors", source)
    return _interceptors(tokens, grpc.metadata_call_credentials(tokens))


def _interceptors(
    tokens: _Tokens, credentials: grpc.CallCredentials | None
) -> list[aio.ClientInterceptor]:
    """Return one for each kind of call: gRPC takes an object for one kind only."""
    kinds = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
    return [kind(tokens, credentials) for kind in kinds]


class _Tokens(grpc.AuthMetadataPlugin):
    """Hands tokens to gRPC, which asks for each call, in a thread of its own.

    It hands out the one that the last call waited for: newer ones are as good for earlier calls.

    Args:
        adapter: Whose it is, for messages.
        source: Gives the tokens.

    Raises:
        ConfigurationError: If the source is none, or its tokens are bound to a key.
    """

    _held: tuple[AccessToken, asyncio.AbstractEventLoop]
    """The token that was got last, and where. No call gets as far as gRPC before."""

    def __init__(self, adapter: str, source: TokenSource) -> None:
        if not _is(TokenSource, source):
            message = f"{adapter}: takes a TokenSource: provider.source(client, scopes)"
            raise ConfigurationError(message)
        if source.key.client.dpop is not None:
            message = (
                f"{adapter}: the client's tokens are bound to a key, and gRPC knows no proofs; "
                "take a client without dpop"
            )
            raise ConfigurationError(message)
        self.source = source

    async def get_token(self) -> AccessToken:
        """Return a valid token, which gRPC is handed from now on.

        Raises:
            TokenProviderError: As from `TokenSource.get_token`.
        """
        token = await self.source.get_token()
        self._held = token, asyncio.get_running_loop()
        return token

    def __call__(
        self,
        context: grpc.AuthMetadataContext,  # noqa: ARG002 - gRPC passes it
        callback: grpc.AuthMetadataPluginCallback,
    ) -> None:
        """Hand over the token, or another one if a call waited for longer than it lived."""
        token, loop = self._held
        if token.remaining() > 0:
            callback(((_METADATUM, token.authorization),), None)
            return
        renewal = self._renew(callback)
        try:
            asyncio.run_coroutine_threadsafe(renewal, loop)
        except RuntimeError as error:  # the loop is closed
            renewal.close()
            callback((), error)

    async def _renew(self, callback: grpc.AuthMetadataPluginCallback) -> None:
        """Hand over a new token; if there is none, gRPC ends the call without sending it."""
        try:
            token = await self.get_token()
        except BaseException as error:
            callback((), RuntimeError(f"no token: {error}"))
            raise
        callback(((_METADATUM, token.authorization),), None)


class _Call:
    """One call on its way: what it carries, and what becomes of a refusal.

    Args:
        tokens: Where its tokens come from.
        credentials: What attaches them, unless the channel does.
        details: The call as its caller wants it.

    Raises:
        ConfigurationError: If it carries credentials already.
    """

    __slots__ = ("_credentials", "_deadline", "_details", "_token", "_tokens", "_tried_again")

    _token: AccessToken

    def __init__(
        self,
        tokens: _Tokens,
        credentials: grpc.CallCredentials | None,
        details: aio.ClientCallDetails,
    ) -> None:
        names = {name.lower() for name, _ in details.metadata or ()}
        if details.credentials is not None or _METADATUM in names:
            message = (
                "the call has credentials, or authorization metadata, of its own, so nothing was "
                "sent; leave them out, or make it on a channel without the adapter"
            )
            raise ConfigurationError(message)
        self._tokens = tokens
        self._credentials = credentials
        self._details = details
        self._deadline = None
        if details.timeout is not None:
            self._deadline = asyncio.get_running_loop().time() + details.timeout
        self._tried_again = False

    async def authorize(self) -> None:
        """Get a token.

        Raises:
            AioRpcError: If there was none before the call's deadline.
            TokenProviderError: As from `TokenSource.get_token`.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                self._token = await self._tokens.get_token()
        except TimeoutError:
            pass
        else:
            return
        status = grpc.StatusCode.DEADLINE_EXCEEDED
        message = "Deadline Exceeded: no token arrived in time"
        raise aio.AioRpcError(status, aio.Metadata(), aio.Metadata(), message)

    async def send(
        self,
        continuation: Callable[[aio.ClientCallDetails, Request], Awaitable[T]],
        request: Request,
    ) -> T:
        """Begin the call, with the token.

        Raises:
            ConfigurationError: If the channel is not encrypted.
        """
        details = self._details
        try:
            return await continuation(
                aio.ClientCallDetails(
                    method=details.method,
                    timeout=self._time_left(),
                    metadata=details.metadata,
                    credentials=self._credentials,
                    wait_for_ready=details.wait_for_ready,
                ),
                request,
            )
        except aio.UsageError as error:
            if _NO_CREDENTIALS_IN_CLEAR not in str(error):
                raise
        raise ConfigurationError(_PLAINTEXT)

    def report(self, status: grpc.StatusCode | None, details: str | None) -> None:
        """Tell the source if the token was rejected.

        Args:
            status: How the call ended.
            details: What was said about it.
        """
        if status is grpc.StatusCode.UNAUTHENTICATED and not _is_local(details):
            self._tokens.source.invalidate(self._token)

    def report_end_of(self, rpc: aio.Call) -> None:
        """Do the same for a call that is done."""
        self.report(_at_once(rpc.code()), _at_once(rpc.details()))

    async def is_worth_another_try(self, error: aio.AioRpcError) -> bool:
        """Get another token after a failure; False if that will not mend it.

        Raises:
            ConfigurationError: If the channel is not encrypted.
            Exception: As from `authorize`.
        """
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED or self._tried_again:
            return False
        if _is_local(error.details()):
            raise ConfigurationError(_PLAINTEXT) from None
        self._tried_again = True
        refused = self._token
        await self.authorize()
        return self._token.value != refused.value

    def _time_left(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - asyncio.get_running_loop().time())


class _Interceptor:
    """What interceptors of all kinds have in common."""

    def __init__(self, tokens: _Tokens, credentials: grpc.CallCredentials | None) -> None:
        self._tokens = tokens
        self._credentials = credentials

    async def _begin(self, details: aio.ClientCallDetails) -> _Call:
        call = _Call(self._tokens, self._credentials, details)
        await call.authorize()
        return call


class _UnaryUnary(_Interceptor, aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, Request], Awaitable[aio.UnaryUnaryCall[Request, Response]]
        ],
        client_call_details: aio.ClientCallDetails,
        request: Request,
    ) -> aio.UnaryUnaryCall[Request, Response]:
        call = await self._begin(client_call_details)
        while True:
            rpc = await call.send(continuation, request)
            try:
                await rpc
            except aio.AioRpcError as error:
                call.report(error.code(), error.details())
                if await call.is_worth_another_try(error):
                    continue
            return rpc


class _UnaryStream(_Interceptor, aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, Request], Awaitable[aio.UnaryStreamCall[Request, Response]]
        ],
        client_call_details: aio.ClientCallDetails,
        request: Request,
    ) -> AsyncIterator[Response] | aio.UnaryStreamCall[Request, Response]:
        call = await self._begin(client_call_details)
        while True:
            rpc = await call.send(continuation, request)
            rpc.add_done_callback(call.report_end_of)
            responses = aiter(rpc)
            try:
                first = await anext(responses)
            except StopAsyncIteration:
                return rpc
            except aio.AioRpcError as error:
                if not await call.is_worth_another_try(error):
                    raise
            else:
                return _beginning_with(first, responses)


class _StreamUnary(_Interceptor, aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, AsyncIterable[Request] | Iterable[Request]],
            Awaitable[aio.StreamUnaryCall[Request, Response]],
        ],
        client_call_details: aio.ClientCallDetails,
        request_iterator: AsyncIterable[Request] | Iterable[Request],
    ) -> aio.StreamUnaryCall[Request, Response]:
        call = await self._begin(client_call_details)
        rpc = await call.send(continuation, request_iterator)
        rpc.add_done_callback(call.report_end_of)
        return rpc


class _StreamStream(_Interceptor, aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, AsyncIterable[Request] | Iterable[Request]],
            Awaitable[aio.StreamStreamCall[Request, Response]],
        ],
        client_call_details: aio.ClientCallDetails,
        request_iterator: AsyncIterable[Request] | Iterable[Request],
    ) -> aio.StreamStreamCall[Request, Response]:
        call = await self._begin(client_call_details)
        rpc = await call.send(continuation, request_iterator)
        rpc.add_done_callback(call.report_end_of)
        return rpc


async def _beginning_with(first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    yield first
    async for response in rest:
        yield response


def _at_once(question: Coroutine[object, object, T]) -> T | None:
    """Return what a call that is done answers to a question; None if it would rather wait.

    A task would answer after the caller has seen the status, and perhaps has made another call.
    """
    try:
        question.send(None)
    except StopIteration as answer:
        result: T = answer.value
        return result
    question.close()
    return None


def _is_local(details: str | None) -> bool:
    """Tell whether gRPC kept the token to itself, since the connection is not secure."""
    return details is not None and _TOO_LITTLE_SECURITY in details


def _is(kind: type, thing: object) -> bool:
    return isinstance(thing, kind)
