"""One gRPC call with a token: its deadline, its credentials, and its retry after a rejection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

import grpc
from grpc import aio

from okta_tokens import AccessToken
from okta_tokens.adapters._grpc_credentials import AUTHORIZATION, TokenPlugin
from okta_tokens.errors import ConfigurationError

T = TypeVar("T")
RequestT = TypeVar("RequestT")

# Parts of gRPC's own messages about a channel that is not encrypted. It has sent nothing then. A
# server can send the same text, but only after gRPC has requested the token from the plugin.
_CREDENTIALS_ON_PLAINTEXT = "Call credentials"
_INSUFFICIENT_SECURITY = "sufficient security level"
_PLAINTEXT = (
    "the channel is not encrypted, so nothing was sent: a token must not travel in clear text; "
    "make the channel with secure_channel and grpc.ssl_channel_credentials(), or, for a server on "
    "this machine, grpc.local_channel_credentials(), or, for a service mesh that adds TLS, with "
    "token_channel(…, None, allow_http=True)"
)


class _Masked(str):
    """A text that is not shown: gRPC's frames have the metadata of their calls as locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return no part of the text."""
        return "<token>"


class AuthorizedCall:
    """A call that carries a token.

    Args:
        plugin: Provides the tokens.
        credentials: The call credentials that attach the token; `None` if the channel has them.
        details: The call as its caller made it.
    """

    __slots__ = (
        "_credentials",
        "_deadline",
        "_details",
        "_last_request",
        "_plugin",
        "_retried",
        "_token",
    )

    _token: AccessToken
    _last_request: object
    """The last request for a token that gRPC had made before this call was sent."""

    def __init__(
        self,
        plugin: TokenPlugin,
        credentials: grpc.CallCredentials | None,
        details: aio.ClientCallDetails,
    ) -> None:
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
            ConfigurationError: If the call already has credentials.
            TokenProviderError: As for `TokenSource.get_token`.
        """
        if self._has_credentials():
            message = (
                "the call has credentials or authorization metadata of its own, so nothing was "
                "sent; remove them, or make the call on a channel without the adapter"
            )
            raise ConfigurationError(message)
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
            ConfigurationError: If the channel is not encrypted and that is not allowed, or if a
                proxy could read the token.
        """
        if self._plugin.clear_text_to is not None:
            self._plugin.check_clear_text()
        self._last_request = self._plugin.last_request
        try:
            return await continuation(
                aio.ClientCallDetails(
                    method=self._details.method,
                    timeout=self._remaining_time(),
                    metadata=self._metadata(),
                    credentials=self._credentials,
                    wait_for_ready=self._details.wait_for_ready,
                ),
                request,
            )
        except aio.UsageError as error:
            if _CREDENTIALS_ON_PLAINTEXT not in str(error):
                raise
        raise ConfigurationError(_PLAINTEXT)

    def record_status(self, status: grpc.StatusCode | None) -> None:
        """Invalidate the token if the server rejected it.

        Args:
            status: The status of the call.
        """
        if status is grpc.StatusCode.UNAUTHENTICATED and self._was_sent():
            self._plugin.source.invalidate(self._token)

    def record_end(self, call: aio.Call) -> None:
        """Invalidate the token if the server rejected it; the call is done.

        Args:
            call: The call as gRPC returned it.
        """
        self.record_status(_result_at_once(call.code()))

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
        if not self._was_sent():
            if _INSUFFICIENT_SECURITY in (error.details() or ""):
                raise ConfigurationError(_PLAINTEXT) from None
            return False
        self._retried = True
        rejected = self._token
        await self.get_token()
        return self._token.value != rejected.value

    def _has_credentials(self) -> bool:
        if self._details.credentials is not None:
            return True
        keys = {os.fsdecode(key).lower() for key, _ in self._details.metadata or ()}  # or bytes
        return AUTHORIZATION in keys

    def _metadata(self) -> aio.Metadata | None:
        """Return the metadata of the call, with the token if gRPC's core does not request it."""
        metadata = self._details.metadata
        if self._plugin.clear_text_to is None:
            return metadata
        return aio.Metadata(*(metadata or ()), (AUTHORIZATION, _Masked(self._token.authorization)))

    def _was_sent(self) -> bool:
        """Tell whether gRPC may have sent the token: it has requested a token since `send`."""
        is_in_metadata = self._plugin.clear_text_to is not None
        return is_in_metadata or self._plugin.last_request is not self._last_request

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
