"""The call credentials of the gRPC adapter: gRPC's core requests the token of each call here."""

from __future__ import annotations

import asyncio
import os

import grpc

from okta_tokens import AccessToken, AnyTokenSource
from okta_tokens._runtime.unserializable import Unserializable
from okta_tokens.adapters._sources import check_source, of_provider
from okta_tokens.errors import ConfigurationError

AUTHORIZATION = "authorization"
"""The key of the metadata that carry the token."""


_TLS = "https://"
"""How gRPC's name of a service begins if the connection is encrypted; otherwise with `://`."""

_PROXIES_BY_NAME = ("grpc_proxy", "https_proxy", "http_proxy")
_PROXIES_BY_ADDRESS = ("GRPC_ADDRESS_HTTP_PROXY",)
"""The variables in which gRPC looks for a proxy; `grpc.enable_http_proxy` applies to the first."""


_PROXY = (
    "no token: the connection is not encrypted and may go through a proxy (grpc_proxy, "
    "https_proxy, http_proxy or GRPC_ADDRESS_HTTP_PROXY), which would get the token in clear text, "
    "so nothing was sent; unset the variable, use grpc.ssl_channel_credentials(), or, for a server "
    "on this machine, make the channel with token_channel, which ignores the first three"
)


class TokenPlugin(Unserializable, grpc.AuthMetadataPlugin):
    """The plugin from which gRPC gets the token of each call, in a thread of gRPC's own.

    It returns the token that the last call waited for: a newer token is as good for earlier calls.

    Args:
        adapter: The name of the adapter, for messages.
        source: Provides the tokens.
        has_proxy: Whether the channel was given a proxy.
        is_direct: Whether the channel ignores `grpc_proxy`, `https_proxy` and `http_proxy`.
        clear_text_to: The origin of a server to which the user allows tokens in clear text, empty
            for this machine; `None` for every other channel.

    Raises:
        ConfigurationError: If the source is invalid, or if its tokens are bound to a key.
    """

    last_request: object = None
    """The last request of gRPC for a token; each request is another object.

    gRPC requests the token of a call only after it has found that the connection is secure enough,
    and before it sends anything of the call."""
    _held: tuple[AccessToken, asyncio.AbstractEventLoop]
    """The last token, and the event loop of the call that waited for it. It is set before any call
    reaches gRPC."""

    def __init__(
        self,
        adapter: str,
        source: AnyTokenSource,
        *,
        has_proxy: bool = False,
        is_direct: bool = False,
        clear_text_to: str | None = None,
    ) -> None:
        check_source(adapter, source)
        if source.key.client.dpop is not None:
            message = (
                f"{adapter}: the tokens of this client are bound to a key (dpop), and gRPC has no "
                "proofs for them; pass the source of a client without dpop"
            )
            raise ConfigurationError(message)
        self.source = source
        self._of_provider = of_provider(source)
        self._proxies = _PROXIES_BY_ADDRESS if is_direct else _PROXIES_BY_NAME + _PROXIES_BY_ADDRESS
        self._has_proxy = has_proxy
        self.clear_text_to = clear_text_to
        """The origin to which each call takes its token in clear text, empty for this machine;
        `None` if gRPC's core requests the token."""
        self._check_proxies()

    async def get_token(self) -> AccessToken:
        """Return a valid token, and make it the one that gRPC gets.

        Raises:
            TokenProviderError: As for `TokenSource.get_token`.
        """
        token = await self.source.get_token()
        self._held = token, asyncio.get_running_loop()
        return token

    def check_clear_text(self) -> None:
        """Emit, once, that tokens go to the server in clear text.

        Raises:
            ConfigurationError: If a proxy could read them.
        """
        self._check_proxies()
        if self._has_proxy:
            raise ConfigurationError(_PROXY)
        if self.clear_text_to and self._of_provider is not None:
            self._of_provider._warn_of_plain_http(self.clear_text_to)

    def __call__(
        self,
        context: grpc.AuthMetadataContext,
        callback: grpc.AuthMetadataPluginCallback,
    ) -> None:
        """Pass the token to gRPC, or another one if this one expired while the call waited.

        If a proxy could read the token, gRPC gets an error, and sends nothing.
        """
        self.last_request = object()
        self._check_proxies()
        if self._has_proxy and not context.service_url.startswith(_TLS):
            callback((), RuntimeError(_PROXY))
            return
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

    def _check_proxies(self) -> None:
        """Remember whether the environment names a proxy; a channel keeps the one it found."""
        self._has_proxy = self._has_proxy or any(map(os.environ.get, self._proxies))

    async def _fetch(self, callback: grpc.AuthMetadataPluginCallback) -> None:
        """Pass another token to gRPC; without one, gRPC ends the call and sends nothing."""
        try:
            token = await self.get_token()
        except BaseException as error:
            callback((), RuntimeError(f"no token: {error}"))
            raise
        callback(((AUTHORIZATION, token.authorization),), None)
