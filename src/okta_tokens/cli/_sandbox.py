"""`okta-tokens sandbox`: the Okta-like server, until somebody stops it."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from types import FrameType

from okta_tokens.cli._arguments import count, delay, fault, lifetime, port, window
from okta_tokens.cli._console import EXIT_CODES, MISCONFIGURED, complain, printable
from okta_tokens.cli._public_keys import public_keys
from okta_tokens.sandbox import DEFAULT_CLIENT, ReceivedRequest, Sandbox, SandboxClient

_PORT = 6582  # OKTA on the keys of a telephone
_SECRET = "OKTA_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_KEY = "OKTA_CLIENT_PRIVATEKEY"
_EVERYWHERE = {"//0.0.0.0:": "//127.0.0.1:", "//[::]:": "//[::1]:"}

_DESCRIPTION = """\
Run an Okta-like authorization server on this machine, until it is interrupted.

It is as strict as Okta is, refuses in Okta's words, and lets things go wrong on demand. What it
prints to standard output sets the environment that `okta-tokens get` and OktaClient.from_env()
read. Each token request makes a line on standard error. It keeps everything in memory, and is no
authorization server for anything real.
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

Then, in another terminal, paste the export lines, and:
  okta-tokens get
  curl -H "$(okta-tokens get --header)" http://127.0.0.1:{_PORT}/resource

The client's secret is that of {_SECRET} if it is set, else a well-known one; with
--public-key it has none, as in Okta.

{EXIT_CODES}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments.

    Args:
        commands: Those of the program.
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
        help="where to listen; %(default)s if not given. okta-tokens itself speaks plain http to "
        "its own machine only",
    )
    parser.add_argument(
        "--port", type=port, default=_PORT, help="%(default)s if not given; 0 takes a free one"
    )
    _add_proofs(parser.add_argument_group("how clients prove who they are"))
    _add_grants(parser.add_argument_group("what is granted"))
    _add_trouble(parser.add_argument_group("what goes wrong"))
    parser.set_defaults(run=run)


def _add_proofs(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--client-id", metavar="ID", default=DEFAULT_CLIENT.client_id, help="of the one client")
    add(
        "--public-key",
        metavar="FILE",
        type=public_keys,
        action="extend",
        help="PEM, a JWK or a JWK Set: the client signs with the private key instead of sending a "
        "secret (private_key_jwt); may be repeated, if each is a JWK with a kid",
    )
    add(
        "--require-dpop",
        action="store_true",
        help="refuse token requests without a DPoP proof, as Okta does for a new app; with one the "
        "token is bound to its key in any case",
    )


def _add_grants(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--authorization-server",
        metavar="ID",
        action="append",
        help="a custom authorization server; may be repeated; default if not given",
    )
    add(
        "--scope",
        metavar="NAMES",
        action="append",
        help="scopes that the client may have, separated by spaces; may be repeated; "
        f"{' '.join(sorted(DEFAULT_CLIENT.scopes))} if not given",
    )
    add(
        "--default-scopes",
        metavar="NAMES",
        default="",
        help="what a request without scopes is granted; without any it is refused",
    )
    add(
        "--lifetime",
        metavar="SECONDS",
        type=count,
        default=3600,
        help="how long a token lives; %(default)s if not given",
    )
    add(
        "--lifetimes",
        metavar="NAMES=SECONDS",
        type=lifetime,
        action="append",
        default=[],
        help='how long a token with just these scopes lives, like "a b=5"; may be repeated',
    )
    add(
        "--signed-tokens",
        action="store_true",
        help="tokens are JWTs that the keys at /oauth2/default/v1/keys verify; opaque if not given",
    )


def _add_trouble(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--rate-limit", metavar="N", type=count, help="token requests in a minute, then 429")
    add("--concurrency-limit", metavar="N", type=count, help="token requests at once, then 429")
    add(
        "--latency",
        metavar="SECONDS",
        type=delay,
        default=0.0,
        help="before each answer to a token request: 0.2, or 0.1-0.5 for anything between",
    )
    add(
        "--outage",
        metavar="START:SECONDS",
        type=window,
        action="append",
        default=[],
        help="so long after the start answer 503, for so long; may be repeated",
    )
    add(
        "--fault",
        metavar="NAME[:N]",
        type=fault,
        action="append",
        default=[],
        help="what goes wrong with the next N token requests, or without N with each: a 5xx "
        "status, html, junk, empty, huge, drip, drop, truncate, redirect, rate-limit or "
        "concurrency-limit; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the sandbox until SIGINT or SIGTERM.

    Args:
        arguments: The parsed command line.

    Returns:
        The exit code.
    """
    try:
        sandbox = _sandbox(arguments)
    except (ValueError, ImportError) as error:
        complain(str(error), "  (see okta-tokens sandbox --help)")
        return MISCONFIGURED
    asyncio.run(_serve(sandbox, arguments))
    complain("the sandbox has stopped; it counted", *_counts(sandbox))
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
        on_request=_log,
        signed_tokens=arguments.signed_tokens,
    )
    sandbox.latency = arguments.latency
    sandbox.outage_windows = arguments.outage
    for kind, times in arguments.fault:
        if times is None:
            sandbox.fault = kind
        else:
            sandbox.fail_next(*[kind] * times)
    return sandbox


async def _serve(sandbox: Sandbox, arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    with _signals_call(lambda: loop.call_soon_threadsafe(stopped.set)):
        async with sandbox:
            print(*_announcement(sandbox, arguments), sep="\n", flush=True)
            await stopped.wait()


@contextmanager
def _signals_call(stop: Callable[[], object]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call a function; not by the loop, which cannot on every system."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announcement(sandbox: Sandbox, arguments: argparse.Namespace) -> Iterator[str]:
    """Return what a shell can evaluate, with comments for people."""
    client = sandbox.client(arguments.client_id)
    origin, resource = _reachable(sandbox.origin), _reachable(sandbox.resource_url)
    yield "# The sandbox is running; Ctrl-C stops it. For another terminal:"
    yield f"export OKTA_CLIENT_ORGURL={shlex.quote(origin)}"
    yield f"export OKTA_CLIENT_CLIENTID={shlex.quote(client.client_id)}"
    if client.keys:
        yield f"unset {_SECRET}"
        yield f"# The client signs: {_KEY} is its private key, or the path of the file."
        if kid := client.keys[0].get("kid"):
            yield f"export {_KEY}ID={shlex.quote(str(kid))}"
    elif os.environ.get(_SECRET):
        yield f"# {_SECRET} is the one of this terminal, and not repeated here."
    else:
        yield f"export {_SECRET}={shlex.quote(client.secrets[0])}"
    if client.dpop:
        yield "export OKTA_CLIENT_DPOPENABLED=true"
    if arguments.authorization_server:
        server = arguments.authorization_server[0]
        yield f"export OKTA_CLIENT_AUTHORIZATIONSERVER={shlex.quote(server)}"
    scopes = " ".join(sorted(client.scopes))
    yield f"export OKTA_CLIENT_SCOPES={shlex.quote(scopes)}"
    yield f"# A resource that accepts its tokens: {resource}"


def _reachable(url: str) -> str:
    """Return a URL with this machine in place of an address that means all of its interfaces."""
    for everywhere, here in _EVERYWHERE.items():
        url = url.replace(everywhere, here)
    return url


def _log(request: ReceivedRequest) -> None:
    """Print a line about a request; a reader that has gone is no reason to refuse it."""
    clock = datetime.fromtimestamp(request.at).astimezone().strftime("%H:%M:%S")
    status = "dropped" if request.status is None else str(request.status)
    line = (
        f"{clock} {request.path} {request.client_id or '(no client)'} "
        f"{request.method or '(no authentication)'}{' with DPoP' if request.proof else ''} "
        f"[{' '.join(request.scopes)}] {status} {request.error or ''}"
    )
    with suppress(OSError):
        print(printable(line.rstrip()), file=sys.stderr, flush=True)


def _counts(sandbox: Sandbox) -> Iterator[str]:
    for name, counted in sandbox.counts().items():
        number = counted if isinstance(counted, int) else _by_kind(counted)
        yield f"  {name.replace('_', ' '):20} {number}"


def _by_kind(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} x {kind}" for kind, number in numbers.items()) or "none"
