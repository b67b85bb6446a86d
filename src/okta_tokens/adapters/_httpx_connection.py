"""How the plain http requests of httpx and httpx2 reach their server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from okta_tokens.adapters._origins import Origin
from okta_tokens.errors import ConfigurationError

_VIA_PROXY = (
    "TokenAuth: a plain http request goes through a proxy of the client or of the environment, "
    "which would get the token in clear text, so nothing was sent; use https, or make the client "
    "without the proxy"
)

Watcher = Callable[[str, MutableMapping[str, Any]], Awaitable[None] | None]
"""What httpx calls for each step of a request: the extension `trace` of requests."""


async def ignore_step(step: str, details: object) -> None:
    """Do nothing about a step of a request of an asynchronous client."""


def ignore_step_in_thread(step: str, details: object) -> None:
    """Do nothing about a step of a request of a synchronous client."""


class Connection:
    """How a plain http request reaches its server: through no proxy, and this machine by address.

    While httpx sends the request, its URL has the address in place of the name, and its `Host`
    header has the name.

    Args:
        request: The request, which is changed.
        origin: The origin of its URL.
        addresses: The addresses of the name; none if the URL has an address, or is https.
        ignore: What the kind of the client needs as the extension `trace`; it does nothing.
    """

    __slots__ = ("_address", "_host", "_is_plain_http", "_watcher")

    def __init__(
        self,
        request: Any,  # noqa: ANN401 - it is changed
        origin: Origin,
        addresses: Sequence[str],
        ignore: Watcher,
    ) -> None:
        self._is_plain_http = origin.scheme == "http"
        if self._is_plain_http:
            self._host = self._address = request.url.host
            if addresses:
                self._address = addresses[0]
            self._watcher = request.extensions.get("trace")
            request.extensions["trace"] = _watch(
                self._watcher or ignore,
                until_sent=self._watcher is None,
                extensions=request.extensions,
            )
            _replace_host(request, self._host, self._address)

    def restore(self, request: Any) -> None:  # noqa: ANN401 - it is changed
        """Undo the changes to the request, which httpx copies into redirected ones."""
        if self._is_plain_http:
            request.extensions.pop("trace", None)
            if self._watcher is not None:
                request.extensions["trace"] = self._watcher
            _replace_host(request, self._address, self._host)


def _replace_host(request: Any, old: str, new: str) -> None:  # noqa: ANN401 - it is changed
    if old != new and request.url.host == old:
        request.url = request.url.copy_with(host=new)


def _watch(watcher: Watcher, *, until_sent: bool, extensions: MutableMapping[str, Any]) -> Watcher:
    """Return what httpx calls for each step of a request: it refuses to send a token to a proxy.

    Args:
        watcher: Is called for each step; a synchronous client wants its result, an asynchronous one
            awaits it.
        until_sent: Whether nothing is watched after the check, since each step costs microseconds.
        extensions: The extensions of the request.
    """

    def watch(step: str, details: MutableMapping[str, Any]) -> Awaitable[None] | None:
        if step.startswith("socks"):
            raise ConfigurationError(_VIA_PROXY)
        if step.endswith("send_request_headers.started"):
            _check_target(details["request"])
            if until_sent:
                extensions.pop("trace", None)
        return watcher(step, details)

    return watch


def _check_target(request: Any) -> None:  # noqa: ANN401 - a request of httpcore, which httpx uses
    """Check that a request with a token goes to a server: a proxy gets the whole URL."""
    has_token = any(name.lower() == b"authorization" for name, _ in request.headers)
    if has_token and not request.url.target.startswith(b"/"):
        raise ConfigurationError(_VIA_PROXY)
