"""The `okta-tokens` command: fetch a token, find out why not, run the sandbox, watch the demo."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from okta_tokens import __version__
from okta_tokens.cli import _demo, _doctor, _get, _sandbox, _store_key
from okta_tokens.cli._console import (
    BROKEN_PIPE,
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    MISCONFIGURED,
    complain,
)

__all__ = ["main"]

_DESCRIPTION = """\
Okta access tokens from the client-credentials flow.

  okta-tokens demo      see what the package does, on a server of its own; takes half a minute
  okta-tokens sandbox   run that server, an Okta-like one on this machine, for work without a tenant
  okta-tokens get       fetch one token, and print it
  okta-tokens doctor    tell why that does not work
  okta-tokens store-key make a key for a store that several processes share
"""

_COMMANDS = (_get, _doctor, _sandbox, _store_key, _demo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments, without the program's name; those of the process if None.

    Returns:
        The exit code.

    Raises:
        SystemExit: If the arguments cannot be understood, or ask for help or the version.
    """
    try:
        try:
            arguments = _parser().parse_args(argv)
            code: int = arguments.run(arguments)
        finally:
            print(end="", flush=True)  # here, where a reader that has gone can be dealt with
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more when it ends, and would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return BROKEN_PIPE
    except OSError as error:
        complain(error.strerror or str(error))
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
