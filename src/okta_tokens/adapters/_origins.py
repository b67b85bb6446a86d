"""Origins (RFC 6454): where an adapter may send tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from okta_tokens._model.urls import DEFAULT_PORTS, is_address, is_loopback, loopback_addresses
from okta_tokens._runtime.arguments import looks_secret
from okta_tokens.errors import ConfigurationError

_HTTP_SCHEMES = {"wss": "https", "ws": "http"}
"""The scheme of a web socket's handshake, by the web socket's scheme."""

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_WITH_PATH = re.compile(r"(https?://[0-9a-z._-]+(?::[0-9]{1,5})?)/?[/?#].+", re.IGNORECASE)
_WITHOUT_SCHEME = re.compile(r"[0-9a-z_-]+(\.[0-9a-z_-]+)+(:[0-9]{1,5})?/?", re.IGNORECASE)
_INVALID = (
    "each must be a scheme, a host and an optional port; write it like https://api.acme.com:8443"
)
_PLAINTEXT = (
    "each must be https, because a token must not travel in clear text; use https (http is for a "
    "server on this machine), or pass allow_http=True for a service mesh that adds TLS"
)


class Origin(NamedTuple):
    """A scheme, a host and a port."""

    scheme: str
    """`https` or `http`."""
    host: str
    """In lower case; an IPv6 address has no brackets."""
    port: int

    def __str__(self) -> str:
        """Return the beginning of a URL, without the port if it is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def request_origin(scheme: str, host: str, port: int | None) -> Origin:
    """Return the origin of a request's URL; for a web socket, the origin of its handshake.

    Args:
        scheme: The scheme of the URL.
        host: The host of the URL, in lower case and without brackets.
        port: The port of the URL; `None` if the URL has none.
    """
    scheme = _HTTP_SCHEMES.get(scheme, scheme)
    return Origin(scheme, host, DEFAULT_PORTS.get(scheme, 0) if port is None else port)


def addresses_of_name(origin: Origin) -> tuple[str, ...]:
    """Return the addresses to which plain http goes instead of to a name, in the order to try them.

    Args:
        origin: An allowed origin.

    Returns:
        Nothing if the host is an address, and nothing for https: if a name server lies, the
        certificate does not match.
    """
    addresses = loopback_addresses(origin.host) if origin.scheme == "http" else ()
    return () if is_address(origin.host) else addresses


def parse_origins(
    adapter: str, origins: Iterable[str], *, allow_http: object = False
) -> frozenset[Origin]:
    """Return the origins that a user allows.

    Args:
        adapter: The name of the adapter, for the message.
        origins: What the user gave, such as `https://api.acme.com` and `http://127.0.0.1:8080`.
        allow_http: What the user gave: whether plain http is valid for another machine.

    Raises:
        ConfigurationError: If there is no origin, or if one is invalid, or is plain http and
            neither on this machine nor allowed; or if `allow_http` is not `True` or `False`.
    """
    check_allow_http(adapter, allow_http)
    texts = [origins] if isinstance(origins, str) else [*origins]
    if not texts:
        message = (
            f"{adapter}: origins is empty, so no request could carry the token; name the origins "
            "that may receive it, such as https://api.acme.com"
        )
        raise ConfigurationError(message)
    parsed = [_parse_origin(text, allow_http=allow_http is True) for text in texts]
    problems = [result for result in parsed if isinstance(result, str)]
    if problems:
        message = f"{adapter}: origins: {'; '.join(dict.fromkeys(problems))}"
        raise ConfigurationError(message)
    return frozenset(result for result in parsed if isinstance(result, Origin))


def check_allow_http(adapter: str, allow_http: object) -> None:
    """Check a setting that allows plain http: no other value counts as true.

    Args:
        adapter: The name of the adapter, for the message.
        allow_http: What the user gave.

    Raises:
        ConfigurationError: If it is neither `True` nor `False`.
    """
    if type(allow_http) is not bool:
        message = f"{adapter}: allow_http must be True or False"
        raise ConfigurationError(message)


def _parse_origin(text: object, *, allow_http: bool) -> Origin | str:
    """Return an origin, or what is wrong with it.

    The problem repeats no path, no user name, and no text that looks like a secret.
    """
    if not isinstance(text, str):
        return _INVALID
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return _why_invalid(text)
    scheme, host, port = match["scheme"], match["host"].strip("[]"), match["port"]
    origin = Origin(scheme, host, DEFAULT_PORTS[scheme] if port is None else int(port))
    if not 0 < origin.port < 65536 or (":" in host and not is_address(host)):  # noqa: PLR2004 - TCP
        return _INVALID
    is_local = is_loopback(host)
    if scheme == "http" and not is_local and (not allow_http or is_loopback(host.rstrip("."))):
        return _PLAINTEXT  # `localhost.` would be looked up
    return origin._replace(host=ip_address(host).compressed) if ":" in host else origin


def _why_invalid(text: str) -> str:
    if looks_secret(text):
        return _INVALID
    if match := _WITH_PATH.fullmatch(text):
        return f"{match[1]} has a path, a query or a fragment; name only {match[1]}"
    if _WITHOUT_SCHEME.fullmatch(text):
        return f"{text} has no scheme; write https://{text}"
    return _INVALID
