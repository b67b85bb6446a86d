"""Run the Okta-like server until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from types import FrameType

from okta_tokens.cli._console import MISCONFIGURED, print_error, printable
from okta_tokens.cli.sandbox.address import reachable, steering_command
from okta_tokens.cli.sandbox.report import counter_lines
from okta_tokens.cli.sandbox.shell import assignment, removal
from okta_tokens.sandbox import DEFAULT_CLIENT, ReceivedRequest, Sandbox, SandboxClient

_SECRET = "OKTA_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_KEY = "OKTA_CLIENT_PRIVATEKEY"


def run(arguments: argparse.Namespace) -> int:
    """Run the sandbox until SIGINT or SIGTERM.

    Args:
        arguments: The parsed command line.

    Returns:
        The exit code.
    """
    try:
        with warnings.catch_warnings(record=True, action="always") as caught:
            sandbox = _sandbox(arguments)
    except (ValueError, ImportError) as error:
        print_error(str(error), "  (see okta-tokens sandbox --help)")
        return MISCONFIGURED
    for warning in caught:
        print_error(f"WARNING: {warning.message}")
    asyncio.run(_serve(sandbox, arguments))
    print_error("the sandbox has stopped; its counters:", *counter_lines(sandbox.counts()))
    return 0


def _sandbox(arguments: argparse.Namespace) -> Sandbox:
    scopes = DEFAULT_CLIENT.scopes
    if arguments.scope is not None:
        scopes = " ".join(arguments.scope).split()
    secret = os.environ.get(_SECRET) or DEFAULT_CLIENT.secrets[0]
    client = SandboxClient(
        arguments.client_id,
        [] if arguments.public_key else [secret],
        keys=arguments.public_key or (),
        scopes=scopes,
        integration=True,
        dpop=arguments.require_dpop,
    )
    sandbox = Sandbox(
        [client],
        authorization_servers=arguments.authorization_server or ["default"],
        default_scopes=arguments.default_scopes.split(),
        lifetime=arguments.lifetime,
        lifetimes=dict(arguments.lifetimes),
        rate_limit=arguments.rate_limit,
        concurrency_limit=arguments.concurrency_limit,
        host=arguments.host,
        port=arguments.port,
        on_request=_print_request,
        control=True,
        on_control=_print_command,
        signed_tokens=arguments.signed_tokens,
    )
    sandbox.latency = arguments.latency
    sandbox.outage_windows = arguments.outage
    for failure, times in arguments.fault:
        if times is None:
            sandbox.fault = failure
        else:
            sandbox.fail_next(*[failure] * times)
    return sandbox


async def _serve(sandbox: Sandbox, arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    with _on_stop_signals(lambda: loop.call_soon_threadsafe(stopped.set)):
        async with sandbox:
            print(*_announcement(sandbox, arguments), sep="\n", flush=True)
            await stopped.wait()


@contextmanager
def _on_stop_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Call a function on SIGINT and SIGTERM.

    The event loop's own signal handlers do not exist on every system.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _announcement(sandbox: Sandbox, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield lines that a shell can evaluate, with comments for the reader."""
    client = sandbox.client(arguments.client_id)
    assign = partial(assignment, arguments.shell)
    origin, resource = (
        url.replace(sandbox.host, reachable(sandbox.host), 1)
        for url in (sandbox.origin, sandbox.resource_url)
    )
    yield "# The sandbox is running. Press Ctrl-C to stop it. Paste this into another terminal:"
    yield assign("OKTA_CLIENT_ORGURL", origin)
    yield assign("OKTA_CLIENT_CLIENTID", client.client_id)
    if client.keys:
        yield removal(arguments.shell, _SECRET)
        yield f"# The client signs: set {_KEY} to its private key or to the key file's path."
        if kid := client.keys[0].get("kid"):
            yield assign(f"{_KEY}ID", str(kid))
    elif os.environ.get(_SECRET):
        yield f"# {_SECRET}: use the same value as in this terminal. It is not printed here."
    else:
        yield assign(_SECRET, client.secrets[0])
    if client.dpop:
        yield assign("OKTA_CLIENT_DPOPENABLED", "true")
    if arguments.authorization_server:
        yield assign("OKTA_CLIENT_AUTHORIZATIONSERVER", arguments.authorization_server[0])
    yield assign("OKTA_CLIENT_SCOPES", " ".join(sorted(client.scopes)))
    outage = steering_command("fault outage 30s", sandbox.host, sandbox.port)
    yield f"# To rehearse an outage: {outage}"
    yield f"# A resource that accepts the tokens: {resource}"


def _print_request(request: ReceivedRequest) -> None:
    status = "dropped" if request.status is None else str(request.status)
    _print_line(
        request.at,
        f"{request.path} {request.client_id or '(no known client)'} "
        f"{request.method or '(no authentication)'}{' with DPoP' if request.proof else ''} "
        f"[{' '.join(request.scopes)}] {status} {request.error or ''}",
    )


def _print_command(message: str) -> None:
    _print_line(time.time(), f"control: {message}")


def _print_line(at: float, line: str) -> None:
    """Print a line with a time. A closed standard error is no reason to fail the request."""
    moment = datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
    with suppress(OSError):
        print(moment, printable(line.rstrip()), file=sys.stderr, flush=True)
