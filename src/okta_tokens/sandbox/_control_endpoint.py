"""The control endpoint: who may steer a running sandbox, and how."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from aiohttp import web

import okta_tokens.sandbox._okta_errors as okta_errors
from okta_tokens.sandbox._control import CommandError, apply, report
from okta_tokens.sandbox._request_parsing import receive_body
from okta_tokens.sandbox._responses import ErrorResponse, Response, json_response
from okta_tokens.sandbox._state import SandboxState

CONTROL: Final = "/control"
"""The path of the control endpoint. Each command has a path below it."""

_FOREIGN_HEADERS: Final = ("Origin", "Forwarded", "X-Forwarded-For", "Via")
"""What a browser adds for a web page, and what a proxy adds for another machine."""


async def handle_control(request: web.BaseRequest, state: SandboxState) -> Response | ErrorResponse:
    """Report the state of the sandbox, or obey a command.

    A client that may not steer gets the response to an unknown path. A web page that a browser on
    this machine shows may not: its requests have an ``Origin``, or a ``Host`` that the page chose,
    or a content type that a page can send without asking.
    """
    if not state.control or not _is_from_this_machine(request, state.host):
        return okta_errors.PATH_NOT_FOUND
    path = request.rel_url.raw_path
    if request.method == "GET" and path == CONTROL:
        return json_response(report(state))
    if request.method == "POST" and request.content_type == "application/json":
        return _obey(state, path.removeprefix(f"{CONTROL}/"), await receive_body(request))
    return okta_errors.PATH_NOT_FOUND


def _obey(state: SandboxState, name: str, body: bytes) -> Response | ErrorResponse:
    try:
        result = apply(state, name, body)
    except CommandError as error:
        return okta_errors.invalid_request(str(error))
    if result is None:
        return okta_errors.PATH_NOT_FOUND
    if state.on_control is not None:
        state.on_control(result.message)
    return json_response({"message": result.message, **result.answer})


def _is_from_this_machine(request: web.BaseRequest, listening: str) -> bool:
    """Return whether a program on this machine sent a request, and no web page made it do so.

    Args:
        request: The request.
        listening: The address, or the name, that the sandbox listens on.
    """
    peer, own = request.get_extra_info("peername"), request.get_extra_info("sockname")
    hosts = request.headers.getall("Host", [])
    return (
        bool(peer and own)  # there are none after the client has disconnected
        and not any(header in request.headers for header in _FOREIGN_HEADERS)
        and len(hosts) == 1
        and may_steer(str(peer[0]), str(own[0]), hosts[0], listening)
    )


def may_steer(peer: str, own: str, host: str, listening: str) -> bool:
    """Return whether a connection is this machine's own, and its ``Host`` names this machine.

    A connection from a machine to itself has the same address at both ends, if it is not the
    loopback address. The name of another ``Host`` may belong to a web page that resolves its own
    name to this machine (DNS rebinding).

    Args:
        peer: The address of the client.
        own: The address at which the connection arrived.
        host: The ``Host`` header.
        listening: The address, or the name, that the sandbox listens on.
    """
    client, server, named = _address(peer), _address(own), _without_port(host)
    if client is None or not (client.is_loopback or client == server):
        return False
    if named and named.lower() in {"localhost", listening.lower()}:
        return True
    address = _address(named)
    return address is not None and (address.is_loopback or address == server)


def _without_port(host: str) -> str:
    """Return the host of a ``Host`` header, an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, an IPv4 address for one that is written in IPv6; ``None`` for a name."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
