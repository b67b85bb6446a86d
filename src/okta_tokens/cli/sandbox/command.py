"""`okta-tokens sandbox`: the arguments that start the server, and the actions that steer it."""

from __future__ import annotations

import argparse

from okta_tokens.cli._arguments import count, delay, fault, lifetime, port, window
from okta_tokens.cli._console import EXIT_CODES_HELP
from okta_tokens.cli._public_keys import public_keys
from okta_tokens.cli.sandbox import serve, steer
from okta_tokens.cli.sandbox.address import HOST, PORT
from okta_tokens.cli.sandbox.shell import DEFAULT_SHELL, SHELLS
from okta_tokens.sandbox import DEFAULT_CLIENT, Fault

_DESCRIPTION = """\
Run an Okta-like authorization server on this machine until it is interrupted, or steer one that is
running.

The sandbox is as strict as Okta, refuses requests in Okta's words, and
simulates failures on demand. Its standard output sets the environment variables
for `okta-tokens get` and OktaClient.from_env(). Each token request prints one
line to standard error. The sandbox keeps everything in memory. Use it for tests
and development only.

With an action, the command steers the sandbox that already runs on --port.
"""

_EXAMPLES = f"""\
examples:
  okta-tokens sandbox
  okta-tokens sandbox --scope "orders:read a" --lifetime 60 --latency 0.1-0.5
  okta-tokens sandbox --fault 503:2 --fault drop:1
      three token requests fail
  okta-tokens sandbox --outage 30:20
      503 in seconds 30 to 50
  okta-tokens sandbox --public-key public.pem --require-dpop
      the client signs; make the files of its key with:
      openssl ecparam -name prime256v1 -genkey -noout -out key.pem
      openssl pkey -in key.pem -pubout -out public.pem

Then paste the export lines into another terminal, and run:
  okta-tokens get
  okta-tokens get --header | curl -H @- http://127.0.0.1:{PORT}/resource
  okta-tokens sandbox fault outage 30s
      503 for thirty seconds

If OKTA_CLIENT_SECRET is set, the client has that secret. Otherwise it has a
well-known secret. With --public-key it has no secret, as in Okta.

{EXIT_CODES_HELP}"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments.

    Args:
        commands: The program's commands.
    """
    parser = commands.add_parser(
        "sandbox",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--host",
        default=HOST,
        help="the address to listen on, or to find the sandbox to steer; default: %(default)s. "
        "On an address that other machines can reach, anyone on the network gets tokens. "
        "okta-tokens itself uses plain http for its own machine only",
    )
    parser.add_argument(
        "--port",
        type=port,
        default=PORT,
        help="the port to listen on, or to find the sandbox to steer; default: %(default)s; "
        "0 means any free port",
    )
    parser.add_argument(
        "--shell",
        metavar="SHELL",
        choices=SHELLS,
        default=DEFAULT_SHELL,
        help=f"what evaluates the printed lines: {' or '.join(SHELLS)}; default: %(default)s",
    )
    _add_authentication(parser.add_argument_group("client authentication"))
    _add_tokens(parser.add_argument_group("tokens"))
    _add_failures(parser.add_argument_group("failures"))
    parser.set_defaults(run=serve.run)
    steer.add_actions(parser)


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
        f"{', '.join(Fault.names()[:-1])} or {Fault.names()[-1]}; may be repeated",
    )
