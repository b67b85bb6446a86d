"""The call credentials of the gRPC adapter: gRPC's core requests the token of each call here."""

from __future__ import annotations

import asyncio

import grpc

from okta_tokens import AccessToken, TokenSource
from okta_tokens.adapters._sources import check_source
from okta_tokens.errors import ConfigurationError

AUTHORIZATION = "authorization"
"""The key of the metadata that carry the token."""


class TokenPlugin(grpc.AuthMetadataPlugin):
    """The plugin from which gRPC gets the token of each call, in a thread of gRPC's own.

    It returns the token that the last call waited for: a newer token is as good for earlier calls.

    Args:
        adapter: The name of the adapter, for messages.
        source: Provides the tokens.

    Raises:
        ConfigurationError: If the source is invalid, or if its tokens are bound to a key.
    """

    _held: tuple[AccessToken, asyncio.AbstractEventLoop]
    """The last token, and the event loop of the call that waited for it. It is set before any call
    reaches gRPC."""

    def __init__(self, adapter: str, source: TokenSource) -> None:
        check_source(adapter, source)
        if source.key.client.dpop is not None:
            message = (
                f"{adapter}: the tokens of this client are bound to a key (dpop), and gRPC has no "
                "proofs for them; pass the source of a client without dpop"
            )
            raise ConfigurationError(message)
        self.source = source

    async def get_token(self) -> AccessToken:
        """Return a valid token, and make it the one that gRPC gets.

        Raises:
            TokenProviderError: As for `TokenSource.get_token`.
        """
        token = await self.source.get_token()
        self._held = token, asyncio.get_running_loop()
        return token

    def __call__(
        self,
        context: grpc.AuthMetadataContext,  # noqa: ARG002 - gRPC passes it
        callback: grpc.AuthMetadataPluginCallback,
    ) -> None:
        """Pass the token to gRPC, or another one if this one expired while the call waited."""
        token, loop = self._held
        if token.remaining() > 0:
            callback(((AUTHORIZATION, token.authorization),), None)
            return
        fetch = self._fetch(callback)
        try:
            asyncio.run_coroutine_threadsafe(fetch, loop)
        except RuntimeError as error:  # the loop is closed
            fetch.close()
            callback((), error)

    async def _fetch(self, callback: grpc.AuthMetadataPluginCallback) -> None:
        """Pass another token to gRPC; without one, gRPC ends the call and sends nothing."""
        try:
            token = await self.get_token()
        except BaseException as error:
            callback((), RuntimeError(f"no token: {error}"))
            raise
        callback(((AUTHORIZATION, token.authorization),), None)
