"""The `okta-tokens` command: get a token, diagnose failures, run the sandbox, show the demo."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from okta_tokens import __version__
from okta_tokens.cli import _get, _store_key
from okta_tokens.cli._console import (
    BROKEN_PIPE,
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    MISCONFIGURED,
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

  okta-tokens demo       show what the package does, on its own local server; takes half a minute
  okta-tokens sandbox    run or steer that server, which behaves like Okta, without an Okta org
  okta-tokens get        fetch one token and print it
  okta-tokens doctor     find out why a token cannot be fetched
  okta-tokens store-key  generate a key for a store that several processes share
"""

_COMMANDS = (_get, doctor_command, sandbox_command, _store_key, demo_command)


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
    try:
        try:
            arguments = _make_parser().parse_args(argv)
            code: int = arguments.run(arguments)
        finally:
            print(end="", flush=True)  # here, where a closed pipe can be handled
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes again when it ends, and would print a traceback.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return BROKEN_PIPE
    except OSError as error:
        print_error(error.strerror or str(error))
        return FAILED
    return code


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="okta-tokens",
        description=_DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"okta-tokens {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)

    def show_help(_: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return MISCONFIGURED

    parser.set_defaults(run=show_help)
    return parser
