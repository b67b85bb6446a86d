"""`okta-tokens store-key`: make a key for a shared store."""

from __future__ import annotations

import argparse

from okta_tokens.cli._console import EXIT_CODES, MISCONFIGURED, complain

_DESCRIPTION = """\
Print a new key for okta_tokens.stores.redis.RedisTokenStore: 32 random bytes in URL-safe base64.
A process that has the key can read the tokens in the store, so keep it with your other secrets.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments.

    Args:
        commands: Those of the program.
    """
    parser = commands.add_parser(
        "store-key",
        help="make a key for a store that processes share",
        description=_DESCRIPTION,
        epilog=f"example:\n  okta-tokens store-key\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print a key.

    Returns:
        The exit code.
    """
    try:
        from okta_tokens.stores.redis import generate_key  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        complain(f"{error.name} is missing: pip install 'okta-tokens[redis]'")
        return MISCONFIGURED
    print(generate_key())
    return 0
