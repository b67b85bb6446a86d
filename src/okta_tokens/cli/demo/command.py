"""`okta-tokens demo`: run the scenarios and print their figures."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from okta_tokens.cli._arguments import count
from okta_tokens.cli._console import EXIT_CODES, FAILED
from okta_tokens.cli.demo import fleet
from okta_tokens.cli.demo.display import Display, choose_display
from okta_tokens.cli.demo.figures import Figure, all_right, summary
from okta_tokens.cli.demo.harness import open_harness
from okta_tokens.cli.demo.plan import Plan
from okta_tokens.cli.demo.scenarios import SCENARIOS, Scenario

_DESCRIPTION = """\
Show what the package does, on its own Okta-like server on this machine. The demo needs no Okta, no
configuration and no network, and takes less than 30 seconds.

  1  10,000 coroutines request a token while the cache is empty: one token request.
  2  Short-lived tokens are renewed while hundreds of coroutines use them: no caller waits.
  3  The token endpoint fails for less than the token's life: no caller notices.

At the end the demo prints figures. The server counted them, except whether callers waited or got an
error, which only the callers can count. The exit code is 1 if a figure is wrong.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its arguments.

    Args:
        commands: The program's commands.
    """
    parser = commands.add_parser(
        "demo",
        help="show what the package does, on its own local server",
        description=_DESCRIPTION,
        epilog=f"examples:\n  okta-tokens demo\n  okta-tokens demo --fleet 20\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="print lines instead of a live table; the default without a terminal or without rich "
        "(the extra 'cli')",
    )
    parser.add_argument(
        "--fleet",
        type=count,
        metavar="N",
        help="run another demo: N processes share tokens through Valkey or Redis",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo.

    Args:
        arguments: The parsed command line.

    Returns:
        The exit code.
    """
    if arguments.fleet is not None:
        return asyncio.run(fleet.run_fleet(arguments.fleet))
    return asyncio.run(run_scenarios(Plan(), choose_display(plain=arguments.plain)))


async def run_scenarios(
    plan: Plan, display: Display, scenarios: Mapping[str, Scenario] = SCENARIOS
) -> int:
    """Run scenarios one after the other in one harness, and print their figures.

    Args:
        plan: The size of the demo.
        display: Shows what happens.
        scenarios: The scenarios, by their titles.

    Returns:
        The exit code.
    """
    figures: dict[str, list[Figure]] = {}
    async with open_harness(plan, display) as harness, harness.displayed():
        display.show_line(f"an Okta-like sandbox listens at {harness.sandbox.origin}")
        for number, (name, scenario) in enumerate(scenarios.items(), start=1):
            title = f"{number}. {name}"
            display.show_title(title)
            figures[title] = await scenario(harness)
    print("\nThe counters of the sandbox and of the callers:")
    print(*summary(figures), sep="\n")
    return 0 if all_right(figures) else FAILED
