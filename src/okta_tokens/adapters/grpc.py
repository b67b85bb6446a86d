"""Let the channels of `grpc.aio` carry the token.

Example:
    ```python
    tls = grpc.ssl_channel_credentials()

    async with token_channel(orders, "api.acme.com:443", tls) as channel:
        response = await channel.unary_unary("/acme.Orders/List")(b"")
    ```
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeGuard

try:
    import grpc
    from grpc import aio
except ModuleNotFoundError as _error:
    _error.add_note("install the extra: pip install 'okta-tokens[grpc]'")
    raise

from okta_tokens import AnyTokenSource
from okta_tokens._model.urls import is_loopback
from okta_tokens.adapters._grpc_credentials import TokenPlugin
from okta_tokens.adapters._grpc_interceptors import make_interceptors
from okta_tokens.adapters._origins import check_allow_http
from okta_tokens.errors import ConfigurationError

__all__ = ["token_channel", "token_interceptors"]

_LOCAL_TARGET = re.compile(
    r"unix(-abstract)?:.*|(dns:(///)?|ipv[46]:)?(?P<host>\[[^\]]+\]|[^:/\[\]]+)(:[0-9]+)?"
)
_NAME_SCHEME = re.compile(r"^(dns|ipv[46]):")
_PROXY_OPTIONS = {"grpc.http_proxy", "grpc.address_http_proxy"}


def token_channel(
    source: AnyTokenSource,
    target: str,
    credentials: grpc.ChannelCredentials | None,
    *,
    options: Sequence[tuple[str, str | int]] | None = None,
    compression: grpc.Compression | None = None,
    interceptors: Iterable[aio.ClientInterceptor] = (),
    allow_http: bool = False,
) -> aio.Channel:
    """Return a channel on which every call carries a token.

    The channel is `grpc.aio.secure_channel(target, credentials, …)`. Its calls behave as
    `token_interceptors` says, and have the same limits, except that no memory is lost. Call this in
    the event loop that will use the channel, and close the channel, preferably with `async with`.

    If the target is on this machine, the channel ignores the proxies of the environment.

    Args:
        source: Provides the tokens.
        target: The server, in gRPC's form: `api.acme.com:443`. Tokens are sent only there.
        credentials: How the connection is secured: `grpc.ssl_channel_credentials()`, or
            `grpc.local_channel_credentials()` for a server on this machine. `None` for an insecure
            channel, with `allow_http=True`.
        options: The options of the channel, as for gRPC.
        compression: The compression of the channel, as for gRPC.
        interceptors: Further interceptors. They see each call once, before it gets its token.
        allow_http: Whether `credentials` may be `None`, so that the token leaves the process in
            clear text: for a service mesh that adds TLS outside the process. The channel ignores
            `grpc_proxy`, `https_proxy` and `http_proxy`, and another proxy is an error. The first
            call to a server on another machine emits an event, `PlainHttpUsed`.

    Raises:
        ConfigurationError: If the source, the credentials or `allow_http` are invalid, if the
            tokens of the source are bound to a key, or if the options of an insecure channel name a
            proxy.
    """
    check_allow_http("token_channel", allow_http)
    is_local, clear_text_to = _is_local(target), None
    if credentials is None and allow_http:
        clear_text_to = "" if is_local else _origin(target)
    is_direct = is_local or clear_text_to is not None
    if is_direct:
        options = [("grpc.enable_http_proxy", 0), *(options or ())]  # gRPC uses the first value
    has_proxy = any(name in _PROXY_OPTIONS for name, _ in options or ())
    plugin = TokenPlugin(
        "token_channel",
        source,
        has_proxy=has_proxy,
        is_direct=is_direct,
        clear_text_to=clear_text_to,
    )
    interceptors = [*interceptors, *make_interceptors(plugin, None)]
    if clear_text_to is not None:
        if has_proxy:
            message = (
                "token_channel: the options name a proxy, which would get the token in clear text; "
                "remove the option, or pass grpc.ssl_channel_credentials()"
            )
            raise ConfigurationError(message)
        return aio.insecure_channel(target, options, compression, interceptors)
    if not _is_channel_credentials(credentials):
        message = (
            "token_channel: credentials must be a grpc.ChannelCredentials; pass "
            "grpc.ssl_channel_credentials(), or grpc.local_channel_credentials() for a server on "
            "this machine, or None and allow_http=True for a service mesh that adds TLS"
        )
        raise ConfigurationError(message)
    return aio.secure_channel(
        target,
        grpc.composite_channel_credentials(credentials, grpc.metadata_call_credentials(plugin)),
        options,
        compression,
        interceptors,
    )


def token_interceptors(source: AnyTokenSource) -> list[aio.ClientInterceptor]:
    """Return interceptors that make every call on a `grpc.aio` channel carry a token.

    They are for channels that other code makes; otherwise use `token_channel`. Put them last, so
    that other interceptors see each call once. gRPC itself attaches the token, as credentials of
    the call, and does so only on secure channels.

    - A call on a plaintext channel raises an error before anything is sent. If the environment
      names a proxy for gRPC, a call on a channel with `grpc.local_channel_credentials()` ends with
      `UNAVAILABLE`, because the proxy would get the token.
    - A call that has `authorization` metadata or `credentials` of its own raises an error, too.
    - Without a token nothing is sent; the error of the fetch is raised where the call's own errors
      are raised. Waiting for the token counts against the `timeout` of the call; without one,
      `RetryPolicy.max_wait` limits the wait.
    - After `UNAUTHENTICATED` the call is retried once with another token, within the remaining
      `timeout`, if it has a single request and no response has arrived. A stream of requests cannot
      be sent again, but the token is invalidated all the same. A second `UNAUTHENTICATED`, and
      `PERMISSION_DENIED`, are returned unchanged.

    Cancellation ends the call in every phase; a fetch of the token continues for the other callers.

    gRPC's interceptors have limits: `time_remaining()` raises `NotImplementedError`, as on every
    channel with interceptors; `initial_metadata()` and `wait_for_connection()` of a call with one
    request wait for its first response. If calls have credentials and the channel has none, grpcio
    (1.85) loses about 80 bytes of memory for each call.

    Args:
        source: Provides the tokens.

    Raises:
        ConfigurationError: If the source is invalid, or if its tokens are bound to a key (`dpop`),
            because proofs are for HTTP; for a call, as the list above says.
        TokenProviderError: For a call, as for `TokenSource.get_token`.
    """
    plugin = TokenPlugin("token_interceptors", source)
    return make_interceptors(plugin, grpc.metadata_call_credentials(plugin))


def _is_local(target: str) -> bool:
    """Tell whether a target is this machine; gRPC accepts more forms than are known here."""
    match = _LOCAL_TARGET.fullmatch(target)
    return match is not None and (
        match["host"] is None or is_loopback(match["host"].strip("[]").lower())
    )


def _origin(target: str) -> str:
    """Return the origin of a target, as events name it."""
    return f"http://{_NAME_SCHEME.sub('', target.rpartition('/')[2]).lower()}"


def _is_channel_credentials(credentials: object) -> TypeGuard[grpc.ChannelCredentials]:
    return isinstance(credentials, grpc.ChannelCredentials)
