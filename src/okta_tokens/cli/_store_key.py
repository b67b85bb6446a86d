"""`okta-tokens store-key`: generate a key for a shared store."""

from __future__ import annotations

import argparse

from okta_tokens.cli._console import EXIT_CODES_HELP, MISCONFIGURED, print_error

_DESCRIPTION = """\
Print a new key for okta_tokens.stores.redis.RedisTokenStore: 32 random bytes in URL-safe base64.
A process that has the key can read the tokens in the store, so keep the key with your other
secrets.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments.

    Args:
        commands: The program's commands.
    """
    parser = commands.add_parser(
        "store-key",
        description=_DESCRIPTION,
        epilog=f"example:\n  okta-tokens store-key\n\n{EXIT_CODES_HELP}",
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print a new key.

    Returns:
        The exit code.
    """
    try:
        from okta_tokens.stores.redis import generate_key  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        print_error(
            f"store-key needs {error.name}, which is not installed; run "
            "pip install 'okta-tokens[redis]'"
        )
        return MISCONFIGURED
    print(generate_key())
    return 0
