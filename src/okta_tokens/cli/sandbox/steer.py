"""Steer a running sandbox: faults, latency, lifetimes, clock, tokens and secrets."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable, Mapping

from okta_tokens.cli._arguments import (
    changed_latency,
    count,
    duration,
    fault_name,
    offset,
    port,
    whole_duration,
)
from okta_tokens.cli._console import EXIT_CODES_HELP, MISCONFIGURED, print_error, printable
from okta_tokens.cli.sandbox.address import steering_command
from okta_tokens.cli.sandbox.control_client import ControlClient, ControlError
from okta_tokens.cli.sandbox.report import status_lines
from okta_tokens.cli.sandbox.shell import SHELLS, assignment
from okta_tokens.sandbox import Fault

_SECRET = "OKTA_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_SHARED = {"host", "port", "shell"}


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Add the actions.

    Args:
        parser: The parser of `okta-tokens sandbox`, with all flags of the server.
    """
    serving = vars(parser.parse_args([]))
    actions = parser.add_subparsers(title="actions on a running sandbox", metavar="[ACTION]")

    def add(
        name: str, description: str, example: str, run: Callable[[argparse.Namespace], None]
    ) -> argparse.ArgumentParser:
        action = actions.add_parser(
            name,
            help=description,
            description=f"{description[0].upper()}{description[1:]}, on a running sandbox.",
            epilog=f"example:\n  okta-tokens sandbox {example}\n\n{EXIT_CODES_HELP}",
        )
        suppressed = argparse.SUPPRESS  # so that the flag may also stand before the action
        action.add_argument("--host", default=suppressed, help="the address of the sandbox")
        action.add_argument("--port", type=port, default=suppressed, help="the port of the sandbox")
        action.set_defaults(run=lambda arguments: _run(arguments, serving, run))
        return action

    status = add("status", "show counters, faults and settings", "status", _status)
    status.add_argument("--json", action="store_true", help="print one document for machines")

    fault = add("fault", "make token requests fail, or end every fault", "fault outage 30s", _fault)
    names = ", ".join(Fault.names())
    fault.add_argument(
        "name", metavar="NAME", type=fault_name, help=f"{names}, a 5xx status, or none to end all"
    )
    extent = fault.add_mutually_exclusive_group()
    _add_duration(extent)
    extent.add_argument("--next", metavar="N", type=count, help="fail the next N token requests")

    latency = add("latency", "delay token responses", "latency 2s 1m", _latency)
    latency.add_argument(
        "value",
        metavar="LATENCY",
        type=changed_latency,
        help="2s, 100ms-500ms for a random delay, or 0",
    )
    _add_duration(latency)

    lifetime = add("lifetime", "set the lifetime of new tokens", "lifetime 60s", _lifetime)
    lifetime.add_argument("value", metavar="LIFETIME", type=whole_duration, help="60s, 1h")

    clock = add("clock", "move the clock of the sandbox", "clock +5m", _clock)
    clock.add_argument(
        "value", metavar="OFFSET", type=offset, help="+5m is ahead, -5m is behind, 0 is right"
    )

    add("revoke", "revoke every token", "revoke", _revoke)

    secret = add("secret", "replace the secret of a client", "secret --keep-old", _secret)
    secret.add_argument(
        "--client-id", metavar="ID", dest="of_client", help="the client; default: the only one"
    )
    secret.add_argument(
        "--keep-old", action="store_true", help="the newest of the old secrets stays active"
    )
    secret.add_argument(
        "--shell",
        metavar="SHELL",
        choices=SHELLS,
        default=argparse.SUPPRESS,
        help=f"what evaluates the printed line: {' or '.join(SHELLS)}",
    )
    source = secret.add_mutually_exclusive_group()
    source.add_argument(
        "--from-env", action="store_true", help=f"take the new secret from {_SECRET}"
    )
    source.add_argument(
        "--from-stdin", action="store_true", help="read the new secret from standard input"
    )


def _add_duration(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "duration",
        metavar="DURATION",
        nargs="?",
        type=duration,
        help="30s, 2m, 1h, 500ms or a number of seconds; if not given: until you end it",
    )


def _run(
    arguments: argparse.Namespace,
    serving: Mapping[str, object],
    action: Callable[[argparse.Namespace], None],
) -> int:
    """Run an action.

    Args:
        arguments: The parsed command line.
        serving: The default of each flag of the server.
        action: The action.

    Returns:
        The exit code.
    """
    for name, default in serving.items():
        if name not in {*_SHARED, "run"} and getattr(arguments, name) != default:
            flag = f"--{name.replace('_', '-')}"
            print_error(f"{flag} is for the start of a sandbox. Remove {flag}.")
            return MISCONFIGURED
    try:
        action(arguments)
    except ControlError as error:
        print_error(str(error))
        return error.exit_code
    return 0


def _client(arguments: argparse.Namespace) -> ControlClient:
    return ControlClient(arguments.host, arguments.port)


def _send(
    arguments: argparse.Namespace,
    name: str,
    end: str | None = None,
    /,
    **members: object,
) -> None:
    """Send a command, and print what it did and how to end it.

    Args:
        arguments: The parsed command line.
        name: The name of the command.
        end: The action that ends the effect; `None` if there is none.
        members: The members of the command.
    """
    print(printable(_client(arguments).send(name, members)["message"]))
    if end is not None:
        print("To end it:", steering_command(end, arguments.host, arguments.port))


def _fault(arguments: argparse.Namespace) -> None:
    _send(
        arguments,
        "fault",
        None if arguments.name == "none" else "fault none",
        name=arguments.name,
        seconds=arguments.duration,
        requests=arguments.next,
    )


def _latency(arguments: argparse.Namespace) -> None:
    _send(
        arguments,
        "latency",
        "latency 0" if arguments.value else None,
        latency=arguments.value,
        seconds=arguments.duration,
    )


def _lifetime(arguments: argparse.Namespace) -> None:
    _send(arguments, "lifetime", seconds=arguments.value)


def _clock(arguments: argparse.Namespace) -> None:
    _send(arguments, "clock", "clock 0" if arguments.value else None, offset=arguments.value)


def _revoke(arguments: argparse.Namespace) -> None:
    _send(arguments, "revoke")


def _secret(arguments: argparse.Namespace) -> None:
    """Replace a secret, and print lines that a shell can evaluate.

    Only a secret that the sandbox made is printed.
    """
    given = _given_secret(arguments)
    members = {
        "client_id": arguments.of_client,
        "keep_old": arguments.keep_old,
        "secret": given,
    }
    result = _client(arguments).send("secret", members)
    print("#", printable(result["message"]))
    if given is None:
        print(assignment(arguments.shell, _SECRET, result["secret"]))


def _given_secret(arguments: argparse.Namespace) -> str | None:
    if arguments.from_env:
        if not os.environ.get(_SECRET):
            raise ControlError(f"{_SECRET} is not set. Set it to the new secret.", MISCONFIGURED)
        return os.environ[_SECRET]
    if not arguments.from_stdin:
        return None
    typed = getpass.getpass("New secret: ") if sys.stdin.isatty() else sys.stdin.readline()
    return typed.strip()


def _status(arguments: argparse.Namespace) -> None:
    report = _client(arguments).report()
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    for shown in status_lines(report):
        print(printable(shown))
