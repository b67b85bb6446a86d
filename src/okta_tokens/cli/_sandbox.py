"""`okta-tokens sandbox`: run the Okta-like server until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from types import FrameType

from okta_tokens.cli._arguments import (
    FAULTS,
    count,
    delay,
    fault,
    lifetime,
    port,
    window,
)
from okta_tokens.cli._console import EXIT_CODES, MISCONFIGURED, print_error, printable
from okta_tokens.cli._public_keys import public_keys
from okta_tokens.sandbox import DEFAULT_CLIENT, ReceivedRequest, Sandbox, SandboxClient

_PORT = 6582  # OKTA on a telephone keypad
_SECRET = "OKTA_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_KEY = "OKTA_CLIENT_PRIVATEKEY"
_ALL_INTERFACES = {"//0.0.0.0:": "//127.0.0.1:", "//[::]:": "//[::1]:"}

_DESCRIPTION = """\
Run an Okta-like authorization server on this machine until it is interrupted.

The sandbox is as strict as Okta, refuses requests in Okta's words, and simulates failures on
demand. Its standard output sets the environment variables for `okta-tokens get` and
OktaClient.from_env(). Each token request prints one line to standard error. The sandbox keeps
everything in memory. Use it for tests and development only.
"""

_EXAMPLES = f"""\
examples:
  okta-tokens sandbox
  okta-tokens sandbox --scope "orders:read orders:write" --lifetime 60 --latency 0.1-0.5
  okta-tokens sandbox --fault 503:2 --fault drop:1     (the first three requests fail)
  okta-tokens sandbox --outage 30:20                   (503 from second 30 to second 50)
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem
  openssl pkey -in key.pem -pubout -out public.pem
  okta-tokens sandbox --public-key public.pem --require-dpop

Then paste the export lines into another terminal, and run:
  okta-tokens get
  okta-tokens get --header | curl -H @- http://127.0.0.1:{_PORT}/resource

If {_SECRET} is set, the client has that secret. Otherwise it has a well-known secret.
With --public-key it has no secret, as in Okta.

{EXIT_CODES}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments.

    Args:
        commands: The program's commands.
    """
    parser = commands.add_parser(
        "sandbox",
        help="run an Okta-like authorization server on this machine",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; default: %(default)s. On an address that other machines "
        "can reach, anyone on the network gets tokens. okta-tokens itself uses plain http for its "
        "own machine only",
    )
    parser.add_argument(
        "--port",
        type=port,
        default=_PORT,
        help="the port to listen on; default: %(default)s; 0 means any free port",
    )
    _add_authentication(parser.add_argument_group("client authentication"))
    _add_tokens(parser.add_argument_group("tokens"))
    _add_failures(parser.add_argument_group("failures"))
    parser.set_defaults(run=run)


def _add_authentication(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--client-id", metavar="ID", default=DEFAULT_CLIENT.client_id, help="the client's id")
    add(
        "--public-key",
        metavar="FILE",
        type=public_keys,
        action="extend",
        help="PEM, a JWK or a JWK Set: the client signs with the private key instead of sending a "
        "secret (private_key_jwt); may be repeated if each key is a JWK with a kid",
    )
    add(
        "--require-dpop",
        action="store_true",
        help="refuse token requests without a DPoP proof, as Okta does for a new app. A request "
        "with a proof always gets a token that is bound to the proof's key",
    )


def _add_tokens(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--authorization-server",
        metavar="ID",
        action="append",
        help="the id of a custom authorization server; may be repeated; if not given: default",
    )
    add(
        "--scope",
        metavar="NAMES",
        action="append",
        help="the client's scopes, separated by spaces; may be repeated; default: "
        f"{' '.join(sorted(DEFAULT_CLIENT.scopes))}",
    )
    add(
        "--default-scopes",
        metavar="NAMES",
        default="",
        help="scopes that a request without scopes is granted; without any, such a "
        "request is refused",
    )
    add(
        "--lifetime",
        metavar="SECONDS",
        type=count,
        default=3600,
        help="the lifetime of a token; default: %(default)s",
    )
    add(
        "--lifetimes",
        metavar="NAMES=SECONDS",
        type=lifetime,
        action="append",
        default=[],
        help='the lifetime of a token with exactly these scopes, for example "a b=5"; may be '
        "repeated",
    )
    add(
        "--signed-tokens",
        action="store_true",
        help="issue JWTs that the keys at /oauth2/default/v1/keys verify, instead of opaque tokens",
    )


def _add_failures(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--rate-limit",
        metavar="N",
        type=count,
        help="respond 429 after N token requests in a minute",
    )
    add(
        "--concurrency-limit",
        metavar="N",
        type=count,
        help="respond 429 to more than N concurrent token requests",
    )
    add(
        "--latency",
        metavar="SECONDS",
        type=delay,
        default=0.0,
        help="the delay before each token response: 0.2, or 0.1-0.5 for a random delay",
    )
    add(
        "--outage",
        metavar="START:SECONDS",
        type=window,
        action="append",
        default=[],
        help="respond 503 from START seconds after the start, for SECONDS; may be repeated",
    )
    add(
        "--fault",
        metavar="NAME[:N]",
        type=fault,
        action="append",
        default=[],
        help="fail the next N token requests, or every one if N is not given: a 5xx status, "
        f"{', '.join([*FAULTS][:-1])} or {[*FAULTS][-1]}; may be repeated",
    )


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
    print_error("the sandbox has stopped; its counters:", *_counter_lines(sandbox))
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
    origin, resource = _reachable(sandbox.origin), _reachable(sandbox.resource_url)
    yield "# The sandbox is running. Press Ctrl-C to stop it. Paste this into another terminal:"
    yield f"export OKTA_CLIENT_ORGURL={shlex.quote(origin)}"
    yield f"export OKTA_CLIENT_CLIENTID={shlex.quote(client.client_id)}"
    if client.keys:
        yield f"unset {_SECRET}"
        yield f"# The client signs: set {_KEY} to its private key or to the key file's path."
        if kid := client.keys[0].get("kid"):
            yield f"export {_KEY}ID={shlex.quote(str(kid))}"
    elif os.environ.get(_SECRET):
        yield f"# {_SECRET}: use the same value as in this terminal. It is not printed here."
    else:
        yield f"export {_SECRET}={shlex.quote(client.secrets[0])}"
    if client.dpop:
        yield "export OKTA_CLIENT_DPOPENABLED=true"
    if arguments.authorization_server:
        server = arguments.authorization_server[0]
        yield f"export OKTA_CLIENT_AUTHORIZATIONSERVER={shlex.quote(server)}"
    scopes = " ".join(sorted(client.scopes))
    yield f"export OKTA_CLIENT_SCOPES={shlex.quote(scopes)}"
    yield f"# A resource that accepts the tokens: {resource}"


def _reachable(url: str) -> str:
    """Return a URL with the loopback address in place of the address of all interfaces."""
    for all_interfaces, loopback in _ALL_INTERFACES.items():
        url = url.replace(all_interfaces, loopback)
    return url


def _print_request(request: ReceivedRequest) -> None:
    """Print a line about a request. A closed standard error is no reason to fail the request."""
    time = datetime.fromtimestamp(request.at).astimezone().strftime("%H:%M:%S")
    status = "dropped" if request.status is None else str(request.status)
    line = (
        f"{time} {request.path} {request.client_id or '(no known client)'} "
        f"{request.method or '(no authentication)'}{' with DPoP' if request.proof else ''} "
        f"[{' '.join(request.scopes)}] {status} {request.error or ''}"
    )
    with suppress(OSError):
        print(printable(line.rstrip()), file=sys.stderr, flush=True)


def _counter_lines(sandbox: Sandbox) -> Iterator[str]:
    for name, value in sandbox.counts().items():
        shown = value if isinstance(value, int) else _counts_by_kind(value)
        yield f"  {name.replace('_', ' '):20} {shown}"


def _counts_by_kind(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} x {kind}" for kind, number in numbers.items()) or "none"
