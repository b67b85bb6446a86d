"""Parse URLs and hosts, and find the parts that a DPoP proof contains (RFC 9449 section 4.2)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, quote, unquote, urlsplit

DEFAULT_PORTS = {"https": 443, "http": 80}
"""The port of a URL without a port, by scheme."""

_HOST_PORT = re.compile(r"(\[[^\[\]]*:[^\[\]]*\]|[^:\[\]]*)(:[0-9]+)?")
_LOOPBACK_6 = IPv6Address(1)
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2


def split(url: str) -> tuple[SplitResult, str] | None:
    """Return the parts of a URL and its origin.

    Python's own parser accepts an empty port, and text beside an address in brackets.

    Args:
        url: The URL with its scheme.

    Returns:
        The parts and the origin, or `None` if the host or the port is invalid. The origin is in
        lower case, without the default port of its scheme.
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
    """Return the method, the origin and the path of a request.

    Args:
        method: The HTTP method, as a caller gave it.
        url: The absolute URL, as a caller gave it. Query and fragment are ignored.

    Returns:
        Method, origin and path, or `None` if the method or the URL is invalid.
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


def unescape_path(path: str) -> str:
    """Return a path without percent escapes, as Okta compares it with the `htu` of a proof.

    Characters that are not allowed in a URI, or that would end the path, stay escaped.

    Args:
        path: The path of the request's URL.
    """
    return "".join(quote(char) if char in ' %"#?' else char for char in unquote(path))


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


def loopback_addresses(host: str) -> tuple[str, ...]:
    """Return the addresses under which a host is this machine, in the order to try them.

    `localhost` and the names under `.localhost` are never looked up (RFC 6761 section 6.3), since
    the name server could choose who gets what is sent in clear text. Only the usual forms of an
    address count: not `127.1`, not `localhost.` with a final dot, not the IPv6 form of an IPv4
    address, and no address with a zone. Systems and libraries read those differently.

    Args:
        host: A host name in lower case, or an address without brackets.

    Returns:
        `127.0.0.1` and `::1` for a name, the address itself, in its short form, for a loopback
        address, and nothing for any other host.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return ("127.0.0.1", "::1")
    address = ip_address(host) if is_address(host) else None
    if address == _LOOPBACK_6 or (isinstance(address, IPv4Address) and address.is_loopback):
        return (address.compressed,)
    return ()


def leaves_in_clear_text(origin: str) -> bool:
    """Tell whether what is sent to an origin leaves this machine in clear text.

    Args:
        origin: A valid origin in lower case.
    """
    url = urlsplit(origin)
    return url.scheme == "http" and not is_loopback(url.hostname or "")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, as `loopback_addresses` finds it.

    Args:
        host: A host name in lower case, or an address without brackets.
    """
    return bool(loopback_addresses(host))
