"""URLs, and what of them a proof of possession names (RFC 9449 section 4.2)."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, unquote, urlsplit

DEFAULT_PORTS = {"https": 443, "http": 80}
"""The port of a URL that names none, by scheme."""

_HOST_PORT = re.compile(r"(\[[^\[\]]*:[^\[\]]*\]|[^:\[\]]*)(:[0-9]+)?")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2


def split(url: str) -> tuple[SplitResult, str] | None:
    """Return the parts of a URL, and its origin; None if its host or port is none.

    Python's own parser passes over an empty port, and what stands beside an address in brackets.

    Args:
        url: With its scheme.

    Returns:
        The origin is in small letters, and without the port that its scheme has anyway.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if not _HOST_PORT.fullmatch(parts.netloc.rpartition("@")[2]):
        return None
    name = f"[{host}]" if ":" in host else host
    if port not in {None, DEFAULT_PORTS.get(parts.scheme, 443)}:
        name = f"{name}:{port}"
    return parts, f"{parts.scheme}://{name}"


def request_target(method: object, url: object) -> tuple[str, str, str] | None:
    """Return the method, the origin and the path of a request; None if there is no such request.

    Args:
        method: What a caller gave as the HTTP method.
        url: What a caller gave as the absolute URL; its query and fragment count for nothing.
    """
    if not (isinstance(method, str) and _METHOD.fullmatch(method)):
        return None
    if not (isinstance(url, str) and _PRINTABLE.fullmatch(url)):
        return None
    parsed = split(url)
    if parsed is None:
        return None
    parts, origin = parsed
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return method.upper(), origin, parts.path or "/"


def as_okta_reads(path: str) -> str:
    """Return a path with its escapes undone, as Okta compares it with a proof.

    Only what could not stand in a URI, or would end the path, stays escaped.

    Args:
        path: As it stands in the URL of the request.
    """
    return "".join(quote(it) if it in ' %"#?' else it for it in unquote(path))


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address without a zone.

    Args:
        host: A host name, or an address without brackets.
    """
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host  # the zone of an IPv6 address may be any text


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: a loopback address, or a name under `localhost`.

    Args:
        host: A host name in lower case, or an address without brackets.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ip_address(host).is_loopback
