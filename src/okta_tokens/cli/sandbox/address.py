"""Where a sandbox listens, and how a command line names the place."""

from __future__ import annotations

HOST = "127.0.0.1"
PORT = 6582  # OKTA on a telephone keypad

_ALL_INTERFACES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - they are replaced


def reachable(host: str) -> str:
    """Return an address, or the loopback address in place of the address of all interfaces."""
    return _ALL_INTERFACES.get(host, host)


def steering_command(action: str, host: str, port: int) -> str:
    """Return the command line that steers the sandbox at an address.

    Args:
        action: The action with its arguments.
        host: The address on which the sandbox listens.
        port: The port on which the sandbox listens.
    """
    elsewhere = f" --host {host}" * (reachable(host) != HOST) + f" --port {port}" * (port != PORT)
    return f"okta-tokens sandbox {action}{elsewhere}"
