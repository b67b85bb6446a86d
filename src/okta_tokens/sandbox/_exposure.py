"""What it means if other machines can reach the sandbox."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def exposure(host: str, *, tls: bool) -> str | None:
    """Return a warning if other machines may reach a host, or `None` if only this machine can.

    Args:
        host: The address to listen on. A name other than `localhost` may be any machine's.
        tls: Whether the sandbox serves HTTPS.
    """
    if _is_this_machine(host):
        return None
    plain = "" if tls else " It speaks plain http, so they can also read secrets and tokens."
    return (
        f"The sandbox listens on {host or 'all addresses'}, where other machines can reach it. "
        "The secret of its default client is known to everyone, so anyone on the network can get "
        f"tokens that the sandbox signs.{plain} Listen on 127.0.0.1. For access from elsewhere, "
        "use an SSH tunnel, or a network that only your own containers share."
    )


def _is_this_machine(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # Python 3.11 does not see through it
    return address.is_loopback
