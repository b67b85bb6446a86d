"""One gRPC call with a token: its deadline, its credentials, and its retry after a rejection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

import grpc
from grpc import aio

from okta_tokens import AccessToken
from okta_tokens.adapters._grpc_credentials import AUTHORIZATION, TokenPlugin
from okta_tokens.errors import ConfigurationError

T = TypeVar("T")
RequestT = TypeVar("RequestT")

# Parts of gRPC's own messages about a channel that is not encrypted. It has sent nothing then.
_CREDENTIALS_ON_PLAINTEXT = "Call credentials"
_INSUFFICIENT_SECURITY = "sufficient security level"
_PLAINTEXT = (
    "the channel is not encrypted, so nothing was sent: a token must not travel in clear text; "
    "make the channel with secure_channel and grpc.ssl_channel_credentials(), or, for a server on "
    "this machine, grpc.local_channel_credentials()"
)


class AuthorizedCall:
    """A call that carries a token.

    Args:
        plugin: Provides the tokens.
        credentials: The call credentials that attach the token; `None` if the channel has them.
        details: The call as its caller made it.

    Raises:
        ConfigurationError: If the call already has credentials.
    """

    __slots__ = ("_credentials", "_deadline", "_details", "_plugin", "_retried", "_token")

    _token: AccessToken

    def __init__(
        self,
        plugin: TokenPlugin,
        credentials: grpc.CallCredentials | None,
        details: aio.ClientCallDetails,
    ) -> None:
        keys = {key.lower() for key, _ in details.metadata or ()}
        if details.credentials is not None or AUTHORIZATION in keys:
            message = (
                "the call has credentials or authorization metadata of its own, so nothing was "
                "sent; remove them, or make the call on a channel without the adapter"
            )
            raise ConfigurationError(message)
        self._plugin = plugin
        self._credentials = credentials
        self._details = details
        self._deadline = None
        if details.timeout is not None:
            self._deadline = asyncio.get_running_loop().time() + details.timeout
        self._retried = False

    async def get_token(self) -> None:
        """Get a token before the deadline of the call.

        Raises:
            AioRpcError: If no token arrived before the deadline.
            TokenProviderError: As for `TokenSource.get_token`.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                self._token = await self._plugin.get_token()
        except TimeoutError:
            pass
        else:
            return
        status = grpc.StatusCode.DEADLINE_EXCEEDED
        message = "Deadline Exceeded: no token arrived in time"
        raise aio.AioRpcError(status, aio.Metadata(), aio.Metadata(), message)

    async def send(
        self,
        continuation: Callable[[aio.ClientCallDetails, RequestT], Awaitable[T]],
        request: RequestT,
    ) -> T:
        """Start the call with the token.

        Args:
            continuation: What gRPC gave to the interceptor: it starts a call.
            request: The request, or the iterator of requests.

        Returns:
            The call as gRPC returns it.

        Raises:
            ConfigurationError: If the channel is not encrypted.
        """
        details = self._details
        try:
            return await continuation(
                aio.ClientCallDetails(
                    method=details.method,
                    timeout=self._remaining_time(),
                    metadata=details.metadata,
                    credentials=self._credentials,
                    wait_for_ready=details.wait_for_ready,
                ),
                request,
            )
        except aio.UsageError as error:
            if _CREDENTIALS_ON_PLAINTEXT not in str(error):
                raise
        raise ConfigurationError(_PLAINTEXT)

    def record_status(self, status: grpc.StatusCode | None, details: str | None) -> None:
        """Invalidate the token if the server rejected it.

        Args:
            status: The status of the call.
            details: The message of the status.
        """
        if status is grpc.StatusCode.UNAUTHENTICATED and not _is_local(details):
            self._plugin.source.invalidate(self._token)

    def record_end(self, call: aio.Call) -> None:
        """Invalidate the token if the server rejected it; the call is done.

        Args:
            call: The call as gRPC returned it.
        """
        self.record_status(_result_at_once(call.code()), _result_at_once(call.details()))

    async def prepare_retry(self, error: aio.AioRpcError) -> bool:
        """Get another token after an error; `False` if another token does not help.

        Args:
            error: How the call failed.

        Raises:
            AioRpcError: As for `get_token`.
            ConfigurationError: If the channel is not encrypted.
            TokenProviderError: As for `get_token`.
        """
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED or self._retried:
            return False
        if _is_local(error.details()):
            raise ConfigurationError(_PLAINTEXT) from None
        self._retried = True
        rejected = self._token
        await self.get_token()
        return self._token.value != rejected.value

    def _remaining_time(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - asyncio.get_running_loop().time())


def _result_at_once(coroutine: Coroutine[object, object, T]) -> T | None:
    """Return the result of a coroutine that does not suspend; `None` if it suspends.

    A task would run only after the caller has seen the status, and may have made another call.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    return None


def _is_local(details: str | None) -> bool:
    """Tell whether gRPC itself ended the call, without sending the token to an insecure server."""
    return details is not None and _INSUFFICIENT_SECURITY in details
