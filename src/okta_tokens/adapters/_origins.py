"""Origins (RFC 6454): where an adapter may send tokens."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from okta_tokens.errors import ConfigurationError

DEFAULT_PORTS = {"https": 443, "http": 80}


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
    try:
        parts = urlsplit(str(text))
        origin = Origin(
            parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        )
    except ValueError:
        return _FORM
    return _problem(parts, origin) or origin


_FORM = "must be a scheme, a host and perhaps a port, such as https://api.acme.com:8443"


def _problem(parts: SplitResult, origin: Origin) -> str | None:
    bare = f"{parts.scheme}://{parts.netloc}" in {parts.geturl(), parts.geturl().rstrip("/")}
    given = parts.netloc.lower().removesuffix(":443").removesuffix(":80")
    written = str(origin).partition("://")[2]
    if not bare or not origin.host or not parts.netloc.isascii() or origin.port == 0:
        return _FORM
    if given not in {written, written.removesuffix(":443").removesuffix(":80")}:
        return _FORM  # a user name, an empty port, or what Python's parser passes over
    if origin.scheme == "https" or (origin.scheme == "http" and is_loopback(origin.host)):
        return None
    return "must be https, since a token must not travel in clear; http is for this machine alone"


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine.

    Args:
        host: A name, or an address without brackets.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
