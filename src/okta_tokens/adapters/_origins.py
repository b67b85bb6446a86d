"""Origins (RFC 6454): where an adapter may send tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from okta_tokens.errors import ConfigurationError

DEFAULT_PORTS = {"https": 443, "http": 80}
_WEB_SOCKETS = {"wss": "https", "ws": "http"}

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_FORM = "must be a scheme, a host and perhaps a port, such as https://api.acme.com:8443"
_IN_CLEAR = "must be https, since a token must not travel in clear; http is for this machine alone"


class Origin(NamedTuple):
    """A scheme, a host and a port."""

    scheme: str
    """`https` or `http`."""
    host: str
    """In small letters; an IPv6 address stands without its brackets."""
    port: int

    def __str__(self) -> str:
        """Return it as the beginning of a URL; its port only if the scheme has another one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def origin_of(scheme: str, host: str, port: int | None) -> Origin:
    """Return the origin of a request's URL; a web socket is of the origin that its handshake has.

    Args:
        scheme: The URL's.
        host: The URL's, in small letters, and without brackets.
        port: The URL's; None if it names none.
    """
    scheme = _WEB_SOCKETS.get(scheme, scheme)
    return Origin(scheme, host, DEFAULT_PORTS.get(scheme, 0) if port is None else port)


def parse_origins(adapter: str, origins: Iterable[str]) -> frozenset[Origin]:
    """Return the origins that a user allows.

    Args:
        adapter: Who asks, for the message.
        origins: As users write them: `https://api.acme.com`, `http://127.0.0.1:8080`.

    Raises:
        ConfigurationError: If there is none, or one of them is no origin, or is plain http and not
            on this machine.
    """
    given = [origins] if isinstance(origins, str) else [*origins]
    if not given:
        message = f"{adapter}: name the origins that may have the token: origins=[…]"
        raise ConfigurationError(message)
    parsed = [_parse(text) for text in given]
    problems = [it for it in parsed if isinstance(it, str)]
    if problems:
        message = f"{adapter}: each of the origins {'; '.join(dict.fromkeys(problems))}"
        raise ConfigurationError(message)
    return frozenset(it for it in parsed if isinstance(it, Origin))


def _parse(text: object) -> Origin | str:
    """Return an origin, or what one must be, which this is not; the problem repeats no value."""
    match = _ORIGIN.fullmatch(text.lower()) if isinstance(text, str) else None
    if match is None:
        return _FORM
    scheme, host, port = match["scheme"], match["host"].strip("[]"), match["port"]
    origin = Origin(scheme, host, DEFAULT_PORTS[scheme] if port is None else int(port))
    if not 0 < origin.port < 65536 or (":" in host and not _is_address(host)):  # noqa: PLR2004 - TCP
        return _FORM
    if scheme != "https" and not _is_loopback(host):
        return _IN_CLEAR
    return origin._replace(host=ip_address(host).compressed) if ":" in host else origin


def _is_loopback(host: str) -> bool:
    if _is_address(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
