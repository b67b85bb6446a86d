"""The interceptors of the gRPC adapter: one for each of the four kinds of calls."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

import grpc
from grpc import aio

from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.adapters._grpc_call import AuthorizedCall
from okta_tokens.adapters._grpc_credentials import TokenPlugin

T = TypeVar("T")
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


def make_interceptors(
    plugin: TokenPlugin, credentials: grpc.CallCredentials | None
) -> list[aio.ClientInterceptor]:
    """Return one interceptor for each kind of call: gRPC uses an object for one kind only.

    Args:
        plugin: Provides the tokens.
        credentials: The call credentials that attach the token; `None` if the channel has them.
    """
    kinds = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
    return [kind(plugin, credentials) for kind in kinds]


class _Interceptor(Unserializable):
    """What the interceptors of all kinds share."""

    def __init__(self, plugin: TokenPlugin, credentials: grpc.CallCredentials | None) -> None:
        self._plugin = plugin
        self._credentials = credentials

    def _authorize(self, details: aio.ClientCallDetails) -> AuthorizedCall:
        return AuthorizedCall(self._plugin, self._credentials, details)


class _UnaryUnary(_Interceptor, aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, RequestT], Awaitable[aio.UnaryUnaryCall[RequestT, ResponseT]]
        ],
        client_call_details: aio.ClientCallDetails,
        request: RequestT,
    ) -> aio.UnaryUnaryCall[RequestT, ResponseT]:
        authorized = self._authorize(client_call_details)
        del client_call_details  # an error tracker records the locals of frames, and these print
        await authorized.get_token()
        while True:
            call = await authorized.send(continuation, request)
            try:
                await call
            except aio.AioRpcError as error:
                authorized.record_status(error.code())
                if await authorized.prepare_retry(error):
                    continue
            return call


class _UnaryStream(_Interceptor, aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, RequestT], Awaitable[aio.UnaryStreamCall[RequestT, ResponseT]]
        ],
        client_call_details: aio.ClientCallDetails,
        request: RequestT,
    ) -> AsyncIterator[ResponseT] | aio.UnaryStreamCall[RequestT, ResponseT]:
        authorized = self._authorize(client_call_details)
        del client_call_details  # an error tracker records the locals of frames, and these print
        await authorized.get_token()
        while True:
            call = await authorized.send(continuation, request)
            call.add_done_callback(authorized.record_end)
            responses = aiter(call)
            try:
                first = await anext(responses)
            except StopAsyncIteration:
                return call
            except aio.AioRpcError as error:
                if not await authorized.prepare_retry(error):
                    raise
            else:
                return _prepend(first, responses)


class _StreamUnary(_Interceptor, aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, AsyncIterable[RequestT] | Iterable[RequestT]],
            Awaitable[aio.StreamUnaryCall[RequestT, ResponseT]],
        ],
        client_call_details: aio.ClientCallDetails,
        request_iterator: AsyncIterable[RequestT] | Iterable[RequestT],
    ) -> aio.StreamUnaryCall[RequestT, ResponseT]:
        authorized = self._authorize(client_call_details)
        del client_call_details  # an error tracker records the locals of frames, and these print
        await authorized.get_token()
        call = await authorized.send(continuation, request_iterator)
        call.add_done_callback(authorized.record_end)
        return call


class _StreamStream(_Interceptor, aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: Callable[
            [aio.ClientCallDetails, AsyncIterable[RequestT] | Iterable[RequestT]],
            Awaitable[aio.StreamStreamCall[RequestT, ResponseT]],
        ],
        client_call_details: aio.ClientCallDetails,
        request_iterator: AsyncIterable[RequestT] | Iterable[RequestT],
    ) -> aio.StreamStreamCall[RequestT, ResponseT]:
        authorized = self._authorize(client_call_details)
        del client_call_details  # an error tracker records the locals of frames, and these print
        await authorized.get_token()
        call = await authorized.send(continuation, request_iterator)
        call.add_done_callback(authorized.record_end)
        return call


async def _prepend(first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    yield first
    async for response in rest:
        yield response
