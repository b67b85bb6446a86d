"""`okta-tokens demo`: the main job, before your eyes, with figures."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from okta_tokens.cli import _fleet_demo
from okta_tokens.cli._acts import ACTS, Act
from okta_tokens.cli._arguments import count
from okta_tokens.cli._console import EXIT_CODES, FAILED
from okta_tokens.cli._display import choose_display
from okta_tokens.cli._figures import Figure, summary
from okta_tokens.cli._scene import Display, Plan
from okta_tokens.cli._stage import open_stage

_DESCRIPTION = """\
See what the package does, on an Okta-like server of its own on this machine. It needs no Okta, no
configuration and no network, and takes less than half a minute.

  1  10,000 coroutines ask for a token that nobody holds: one request.
  2  Short-lived tokens are renewed while hundreds of coroutines keep asking: nobody waits.
  3  The token endpoint fails, for less than the token's life: nobody notices.

The figures at the end were counted by the server, except whether callers waited or got an error,
which only they can tell. The exit code is 1 if one of them is wrong.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments.

    Args:
        commands: Those of the program.
    """
    parser = commands.add_parser(
        "demo",
        help="see what the package does, on a server of its own",
        description=_DESCRIPTION,
        epilog=f"example:\n  okta-tokens demo\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="print lines; so it does without a terminal, and without rich, the extra 'cli'",
    )
    parser.add_argument(
        "--fleet",
        type=count,
        metavar="N",
        help="instead, let N processes share tokens through Valkey or Redis",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Perform the demo.

    Args:
        arguments: The parsed command line.

    Returns:
        The exit code.
    """
    if arguments.fleet is not None:
        return asyncio.run(_fleet_demo.perform(arguments.fleet))
    return asyncio.run(perform(Plan(), choose_display(plain=arguments.plain)))


async def perform(plan: Plan, display: Display, acts: Mapping[str, Act] = ACTS) -> int:
    """Perform acts, one after the other, on one stage, and print their figures.

    Args:
        plan: How large and how long they are.
        display: Where they are shown.
        acts: By their titles.

    Returns:
        The exit code.
    """
    figures: dict[str, list[Figure]] = {}
    async with open_stage(plan, display) as stage, stage.shown():
        display.say(f"an Okta-like sandbox listens at {stage.sandbox.origin}")
        for number, (name, act) in enumerate(acts.items(), start=1):
            title = f"{number}. {name}"
            display.act(title)
            figures[title] = await act(stage)
    print("\nWhat the sandbox counted, and how the callers fared:")
    print(*summary(figures), sep="\n")
    return 0 if all(figure.right for group in figures.values() for figure in group) else FAILED
