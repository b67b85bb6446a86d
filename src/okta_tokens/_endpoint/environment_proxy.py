"""The proxy of the environment: the variables, read as curl reads them."""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from okta_tokens.errors import ConfigurationError

_REMEDY = (
    "set it to http://host:port, add the domain to NO_PROXY, or give the provider a session that "
    "uses the proxy"
)


def environment_proxy(
    origin: str,
    proxies: Callable[[], dict[str, str]] = getproxies,
    bypass: Callable[[str], object] = proxy_bypass,
) -> str | ConfigurationError | None:
    """Return the proxy that the environment names for an origin.

    The provider's own session reads nothing else from the environment. Plain http uses no proxy,
    which could read the secret and the token.

    Args:
        origin: The domain with its scheme.
        proxies: Returns the values of `HTTPS_PROXY` and similar variables, by scheme.
        bypass: Tells whether `NO_PROXY` names a host.

    Returns:
        The URL of the proxy; `host:port` means `http://host:port`, and `ALL_PROXY` stands in for a
        missing `HTTPS_PROXY`. None if there is no proxy. Or the error, which is not raised here,
        since the URL of a proxy may hold a password.
    """
    url = urlsplit(origin)
    if url.scheme != "https" or bypass(url.netloc):
        return None
    found = proxies()
    value = found.get("https") or found.get("all")
    if not value:
        return None
    proxy = value if "://" in value else f"http://{value}"
    problem = _problem(proxy)
    return ConfigurationError(f"{_source(value)}: {problem}; {_REMEDY}") if problem else proxy


def _problem(proxy: str) -> str:
    """Return why a proxy cannot be used, without its URL; an empty text if it can."""
    scheme = proxy.partition("://")[0].lower()
    if scheme.startswith("socks"):
        return "SOCKS proxies are not supported"
    if scheme not in {"http", "https"}:
        return "the URL of the proxy begins with neither http:// nor https://"
    try:
        parts = urlsplit(proxy)
        is_valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    is_clean = proxy.isascii() and proxy.isprintable() and not set(proxy) & set(" \"'")
    return "" if is_valid and is_clean else "it is not the URL of a proxy"


def _source(value: str) -> str:
    """Return the variable that has a value; urllib asks the operating system for others."""
    names = (name for name in os.environ if name.lower() in {"https_proxy", "all_proxy"})
    found = (name for name in names if os.environ[name] == value)
    return next(found, "the proxy in this machine's settings")
