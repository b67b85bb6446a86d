"""The `okta-tokens` command: get a token, diagnose failures, run the sandbox, show the demo."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from okta_tokens import __version__
from okta_tokens.cli import _get, _store_key
from okta_tokens.cli._console import (
    BROKEN_PIPE,
    EXIT_CODES_HELP,
    FAILED,
    INTERRUPTED,
    MISCONFIGURED,
    escape_unencodable,
    print_error,
    silence_log,
)
from okta_tokens.cli._parser import Parser
from okta_tokens.cli.demo import command as demo_command
from okta_tokens.cli.doctor import command as doctor_command
from okta_tokens.cli.sandbox import command as sandbox_command

__all__ = ["main"]

_DESCRIPTION = """\
Okta access tokens from the client-credentials flow.

try it, without an Okta org:
  demo       show what the package does, on its own local server
             okta-tokens demo
  sandbox    run that server, which behaves like Okta, or steer a running one
             okta-tokens sandbox --scope orders:read

use it:
  get        fetch one token and print it
             okta-tokens get --scope orders:read

operate it:
  doctor     find out why a token cannot be fetched
             okta-tokens doctor --scope orders:read
  store-key  generate a key for a store that several processes share
             okta-tokens store-key

To see all flags of a command, give it --help.
"""

_COMMANDS = (_get, doctor_command, sandbox_command, _store_key, demo_command)

_CLOSED_PIPE = (errno.EPIPE, errno.EINVAL) if os.name == "nt" else (errno.EPIPE,)
"""The errors of writing to a pipe that the reader has closed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments, without the program's name. If None, the process's own arguments.

    Returns:
        The exit code.

    Raises:
        SystemExit: If the arguments are invalid, or ask for help or the version.
    """
    silence_log()
    escape_unencodable()
    try:
        try:
            arguments = _make_parser().parse_args(argv)
            code: int = arguments.run(arguments)
        finally:
            print(end="", flush=True)  # here, where a closed pipe can be handled
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno not in _CLOSED_PIPE:
            print_error(error.strerror or str(error))
            return FAILED
        # The interpreter flushes again when it ends, and would print a traceback.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return BROKEN_PIPE
    return code


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="okta-tokens",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description=_DESCRIPTION,
        epilog=EXIT_CODES_HELP,
    )
    parser.add_argument("--version", action="version", version=f"okta-tokens {__version__}")
    # The description lists the commands, in groups.
    commands = parser.add_subparsers(prog="okta-tokens", metavar="COMMAND", help=argparse.SUPPRESS)
    for command in _COMMANDS:
        command.add_parser(commands)

    def show_help(_: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return MISCONFIGURED

    parser.set_defaults(run=show_help)
    return parser
